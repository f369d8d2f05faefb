"""The Merkle tree over a log's leaves as they come, and whatever it is compared with on the way:
the database's tiles and signed checkpoints, and checkpoints that were kept elsewhere.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from activities.database import Connection
from audit.notes import Checkpoint, NoteError, Verifier, open_text, split
from audit.proofs import WIDTH
from audit.tree import HASH_SIZE, Frontier, joined
from audit.verdict import Findings

WINDOW = WIDTH * WIDTH
"""Leaves that are compared at a time: as many as a tile of level 1 stands for."""

_TILES = """
    SELECT number, root, hashes FROM tree_tiles
    WHERE organisation = $1 AND level = $2 AND number BETWEEN $3 AND $4
"""
_LAST_TILES = """
    SELECT level, max(number) AS number FROM tree_tiles
    WHERE organisation = $1 GROUP BY level ORDER BY level
"""
_CHECKPOINTS = """
    SELECT size, root, note FROM checkpoints
    WHERE organisation = $1 AND size BETWEEN $2 AND $3 ORDER BY size
"""
_NEWEST = "SELECT max(size) FROM checkpoints WHERE organisation = $1"


class _Tile(NamedTuple):
    root: bytes
    hashes: bytes


class Tree:
    """It grows leaf by leaf until one is missing; then nothing after it can be compared."""

    def __init__(
        self,
        connection: Connection,
        organisation: str,
        findings: Findings,
        *,
        external: Sequence[Checkpoint],
        verifiers: Sequence[Verifier],
        origin: str | None,
    ) -> None:
        self._connection = connection
        self._organisation = organisation
        self._findings = findings
        self._verifiers = verifiers
        self._origin = origin
        self._external = defaultdict[int, list[Checkpoint]](list)
        for checkpoint in external:
            self._external[checkpoint.size].append(checkpoint)
        self._tiles_before = Frontier()  # of full tiles' roots
        self._tile = Frontier()  # the last, while it is not full
        self._row: list[bytes] = []
        self._above = defaultdict[int, list[bytes]](list)
        self._newest = 0
        self.whole = True
        """Whether no leaf is missing yet."""
        self.tiles = 0
        self.checkpoints = 0
        self.external = 0
        self.covered = 0

    @property
    def size(self) -> int:
        """Leaves that it has."""
        return self._tiles_before.size * WIDTH + self._tile.size

    def root(self) -> bytes:
        """Of the leaves that it has."""
        return joined((*self._tiles_before.hashes, *self._tile.hashes))

    async def begin(self) -> None:
        """Compare the empty tree, and see how far the database's tiles have to reach."""
        self._newest = await self._connection.fetchval(_NEWEST, self._organisation) or 0
        self._compare_external(0)

    async def grow(self, leaves: Sequence[bytes]) -> None:
        """Add the leaves that come next: a window's, or less at the end."""
        begin, end = self.size, self.size + len(leaves)
        rows = await self._connection.fetch(_CHECKPOINTS, self._organisation, begin + 1, end)
        signed = {row["size"]: (row["root"], row["note"]) for row in rows}
        full = defaultdict[int, dict[int, _Tile]](dict)
        at = begin
        for stop in _stops(begin, end, {*signed, *self._external}):
            part = leaves[at - begin : stop - begin]
            self._tile.extend(part)
            self._row += part
            at = stop
            if len(self._row) == WIDTH:
                self._fill(full)
            if stop in signed:
                self._compare_signed(stop, *signed[stop])
            self._compare_external(stop)
        for level, tiles in full.items():
            await self._compare_tiles(level, tiles)

    def cut(self) -> None:
        """A leaf is missing here."""
        self.whole = False

    async def end(self) -> None:
        """Say which tiles and checkpoints tell of more leaves than there are."""
        size = self.size
        why = f"the log has {size} events" if self.whole else f"position {size + 1} is missing"
        for beyond in sorted(s for s in self._external if s > size):
            for checkpoint in self._external[beyond]:
                self._findings.add(
                    "checkpoint",
                    f"A checkpoint kept elsewhere is of {beyond} events, with the root"
                    f" {checkpoint.root.hex()}; {why}.",
                    position=size + 1,
                )
        if not self.whole:
            return
        if self._newest > size:
            self._findings.add(
                "checkpoint",
                f"The database has a checkpoint of {self._newest} events; {why}.",
                position=size + 1,
            )
        for row in await self._connection.fetch(_LAST_TILES, self._organisation):
            level, number = row["level"], row["number"]
            if (number + 1) * WIDTH ** (level + 1) > size:
                self._findings.add(
                    "tree",
                    f"The tree has tile {number} of level {level}; {why}.",
                    position=size + 1,
                )

    def _fill(self, full: dict[int, dict[int, _Tile]]) -> None:
        """The last tile is full: it is one leaf of the level above."""
        level, row, root = 0, self._row, self._tile.root()
        self._tiles_before.push(root)
        self._tile, self._row = Frontier(), []
        number = self._tiles_before.size - 1
        full[0][number] = _Tile(root, b"".join(row))
        while True:
            level += 1
            above = self._above[level]
            above.append(root)
            if len(above) < WIDTH:
                return
            number //= WIDTH
            tile = Frontier()
            tile.extend(above)
            root = tile.root()
            full[level][number] = _Tile(root, b"".join(above))
            above.clear()

    async def _compare_tiles(self, level: int, tiles: dict[int, _Tile]) -> None:
        rows = await self._connection.fetch(
            _TILES, self._organisation, level, min(tiles), max(tiles)
        )
        kept = {row["number"]: (row["root"], row["hashes"]) for row in rows}
        span = WIDTH**level
        for number, tile in tiles.items():
            first = number * WIDTH * span
            if number not in kept:
                if first + WIDTH * span <= self._newest:
                    self._findings.add(
                        "tree",
                        f"Tile {number} of level {level} is missing, and a checkpoint covers it.",
                        position=first + 1,
                    )
                continue
            root, hashes = kept[number]
            self.tiles += 1
            if hashes != tile.hashes:
                self._differing(level, first, span, hashes, tile.hashes)
            if root != tile.root:
                self._findings.add(
                    "tree",
                    f"Tile {number} of level {level} has the root {tile.root.hex()}; the database"
                    f" says {root.hex()}.",
                    position=first + 1,
                )

    def _differing(self, level: int, first: int, span: int, known: bytes, hashes: bytes) -> None:
        if len(known) != len(hashes):
            self._findings.add(
                "tree", f"A tile of level {level} has {len(known)} bytes.", position=first + 1
            )
        for place in range(WIDTH):
            part = slice(place * HASH_SIZE, (place + 1) * HASH_SIZE)
            if known[part] != hashes[part]:
                begin, end = first + place * span + 1, first + (place + 1) * span
                where = f"position {begin}" if level == 0 else f"positions {begin} to {end}"
                self._findings.add(
                    "tree",
                    f"The tree kept {known[part].hex()} for {where}; the log leads to"
                    f" {hashes[part].hex()}.",
                    position=begin,
                )

    def _compare_signed(self, size: int, root: bytes, note: str) -> None:
        """A checkpoint of the database, at its size."""
        self.checkpoints += 1
        if root != self.root():
            self._findings.add(
                "checkpoint",
                f"The database has a checkpoint of {size} events with the root {root.hex()}; the"
                f" log leads to {self.root().hex()}.",
                position=size,
            )
        try:
            text = open_text(note, self._verifiers) if self._verifiers else split(note)[0]
            said = Checkpoint.parse(text)
        except NoteError as error:
            self._findings.add(
                "signature", f"The checkpoint of {size} events: {error}", position=size
            )
            return
        if (said.size, said.root) != (size, root):
            self._findings.add(
                "signature",
                f"The note of the checkpoint of {size} events is of {said.size}, with the root"
                f" {said.root.hex()}.",
                position=size,
            )
        self._check_origin(said)

    def _compare_external(self, size: int) -> None:
        for checkpoint in self._external.get(size, ()):
            self._check_origin(checkpoint)
            if checkpoint.root == self.root():
                self.external += 1
                self.covered = size
            else:
                self._findings.add(
                    "checkpoint",
                    f"A checkpoint kept elsewhere is of {size} events with the root"
                    f" {checkpoint.root.hex()}; the log leads to {self.root().hex()}: something"
                    f" after position {self.covered} was changed.",
                    position=size,
                )

    def _check_origin(self, checkpoint: Checkpoint) -> None:
        if self._origin is not None and checkpoint.origin != self._origin:
            self._findings.add(
                "origin",
                f"The checkpoint of {checkpoint.size} events is of another log than"
                f" {self._origin}.",
                position=checkpoint.size,
            )


def _stops(begin: int, end: int, sizes: set[int]) -> Iterator[int]:
    """Where a tile is full, or something is to be compared, or the leaves end."""
    tiles = range(begin - begin % WIDTH + WIDTH, end + 1, WIDTH)
    within = {size for size in sizes if begin < size <= end}
    last = {end} if end > begin else set[int]()
    return iter(sorted(within | last | set(tiles)))
