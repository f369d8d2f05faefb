"""Proofs in an organisation's tree as the database keeps it: tiles, and fewer than 256 headers.

What is read is believed by nobody: whoever gets a proof checks it against a signed root.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from activities.canonical import leaf_hash
from activities.database import Connection
from audit.tree import (
    HASH_SIZE,
    Frontier,
    Node,
    ProofError,
    Span,
    consistency_path,
    hashes_of,
    inclusion_path,
    perfect,
)

WIDTH = 256
"""Hashes in a full tile."""
CHUNK = 4096
"""Events that are read at a time."""
_BITS = 8
"""Levels of the tree that a tile spans."""

_TILES = """
    SELECT t.level, t.number, t.hashes
    FROM unnest($2::int[], $3::bigint[]) AS w(level, number)
    JOIN tree_tiles t ON t.organisation = $1 AND t.level = w.level AND t.number = w.number
"""
_HEADERS = """
    SELECT e.position, e.header FROM events e
    WHERE e.organisation = $1 AND e.position > $2 AND e.position <= $3
    ORDER BY e.position
"""
_ROOTS = """
    SELECT t.number, t.root FROM tree_tiles t
    WHERE t.organisation = $1 AND t.level = $2 AND t.number >= $3 AND t.number < $4
    ORDER BY t.number
"""
_FULL = """
    SELECT coalesce(max(number) + 1, 0) FROM tree_tiles WHERE organisation = $1 AND level = 0
"""
_LATEST = "SELECT note FROM checkpoints WHERE organisation = $1 ORDER BY size DESC LIMIT 1"
_COVERING = """
    SELECT note FROM checkpoints WHERE organisation = $1 AND size >= $2 ORDER BY size LIMIT 1
"""


class Tile(NamedTuple):
    """A tile by its level and its number in that, as in C2SP tlog-tiles."""

    level: int
    number: int


Widths = Mapping[Tile, int]
Tiles = Mapping[Tile, Sequence[bytes]]
Reader = Callable[[Widths], Awaitable[Tiles]]
"""Reads tiles: of each at least so many hashes, or as many as there are."""


async def inclusion(
    connection: Connection, organisation: str, index: int, size: int
) -> list[bytes]:
    """The proof of a leaf in the tree of `size`, which a checkpoint covers. `ProofError` if not."""
    return await _hashes(reader(connection, organisation), inclusion_path(index, size), size)


async def consistency(
    connection: Connection, organisation: str, old_size: int, size: int
) -> list[bytes]:
    """The proof that the tree of `size` grew from that of `old_size`. Raises `ProofError`."""
    return await consistency_from(reader(connection, organisation), old_size, size)


async def consistency_from(read: Reader, old_size: int, size: int) -> list[bytes]:
    """The same from tiles wherever they are."""
    return await _hashes(read, consistency_path(old_size, size), size)


async def frontier(connection: Connection, organisation: str, size: int) -> Frontier:
    """The tree of `size`, to go on from there. Raises `ProofError` where events are missing.

    As far as there are tiles they are used; the rest is read from the events, however much it is.
    """
    full: int = await connection.fetchval(_FULL, organisation)
    nodes = perfect(Span(0, min(full, size // WIDTH) * WIDTH))
    tree = Frontier()
    with suppress(ProofError):  # the upper tiles are not written yet
        found = await _nodes(reader(connection, organisation), nodes, size)
        tree = Frontier.of(sum(1 << node.level for node in nodes), [found[node] for node in nodes])
    while tree.size < size:
        until = min(size, tree.size + CHUNK)
        leaves = await _leaves(connection, organisation, tree.size, until)
        if len(leaves) < until - tree.size:
            raise ProofError(f"Position {tree.size + len(leaves) + 1} is missing.")
        tree.extend(leaves)
    return tree


async def latest_checkpoint(connection: Connection, organisation: str) -> str | None:
    """The newest signed checkpoint; None before the first."""
    return await connection.fetchval(_LATEST, organisation)


async def checkpoint_covering(
    connection: Connection, organisation: str, position: int
) -> str | None:
    """The first signed checkpoint of a tree with this position in it; None if none is made yet."""
    return await connection.fetchval(_COVERING, organisation, position)


async def tile(
    connection: Connection, organisation: str, at: Tile, width: int
) -> list[bytes] | None:
    """The first `width` hashes of a tile; None where there are fewer."""
    hashes = (await _read(connection, organisation, {at: width}))[at]
    return hashes[:width] if len(hashes) >= width else None


def reader(connection: Connection, organisation: str) -> Reader:
    """Reads tiles from the database."""
    return partial(_read, connection, organisation)


async def _hashes(read: Reader, path: Sequence[Span], size: int) -> list[bytes]:
    nodes = [node for span in path for node in perfect(span)]
    found = await _nodes(read, nodes, size)
    return hashes_of(path, found.__getitem__)


async def _nodes(read: Reader, nodes: Sequence[Node], size: int) -> Mapping[Node, bytes]:
    """The hashes of perfect subtrees, whichever tiles they lie in."""
    widths: dict[Tile, int] = {}
    for node in nodes:
        at, offset, count = _place(node)
        widths[at] = max(widths.get(at, 0), offset + count)
    tiles = await read(widths)
    found: dict[Node, bytes] = {}
    for node in nodes:
        at, offset, count = _place(node)
        hashes = tiles[at][offset : offset + count]
        if len(hashes) < count:
            raise ProofError(
                f"The tree of {size} cannot be read: level {at.level} of it lacks hashes in tile"
                f" {at.number}. No checkpoint covers it yet, or the log was cut."
            )
        found[node] = _perfect_root(hashes)
    return found


async def _read(
    connection: Connection, organisation: str, widths: Widths
) -> dict[Tile, list[bytes]]:
    """Tiles, as full as they are; of one that is not full, at least the width that is asked."""
    rows = await connection.fetch(
        _TILES, organisation, [at.level for at in widths], [at.number for at in widths]
    )
    found = {Tile(row["level"], row["number"]): split_hashes(row["hashes"]) for row in rows}
    for at in widths.keys() - found.keys():
        found[at] = await _partial(connection, organisation, at, widths[at])
    return found


async def _partial(connection: Connection, organisation: str, at: Tile, width: int) -> list[bytes]:
    """The first hashes of a tile that is not full, up to the first that is not there."""
    start = at.number * WIDTH
    return await hashes_below(connection, organisation, at.level, start, width)


async def hashes_below(
    connection: Connection, organisation: str, level: int, start: int, count: int
) -> list[bytes]:
    """What the tiles of a level are made of, from the events or from the roots of those below.

    From number `start` on, up to the first that is missing.
    """
    if level == 0:
        return await _leaves(connection, organisation, start, start + count)
    rows = await connection.fetch(_ROOTS, organisation, level - 1, start, start + count)
    return _unbroken([(row["number"], row["root"]) for row in rows], start)


async def _leaves(connection: Connection, organisation: str, start: int, end: int) -> list[bytes]:
    rows = await connection.fetch(_HEADERS, organisation, start, end)
    return _unbroken([(row["position"] - 1, leaf_hash(row["header"])) for row in rows], start)


def _unbroken(known: Sequence[tuple[int, bytes]], start: int) -> list[bytes]:
    return [hash for place, (index, hash) in enumerate(known, start) if index == place]


def split_hashes(content: bytes) -> list[bytes]:
    """Hashes that stand one after the other."""
    return [content[at : at + HASH_SIZE] for at in range(0, len(content), HASH_SIZE)]


def _place(node: Node) -> tuple[Tile, int, int]:
    """In which tile a node lies, from which hash on, and how many of them it spans."""
    level, within = divmod(node.level, _BITS)
    count = 1 << within
    number, offset = divmod(node.number * count, WIDTH)
    return Tile(level, number), offset, count


def _perfect_root(hashes: Sequence[bytes]) -> bytes:
    subtree = Frontier()
    subtree.extend(hashes)
    return subtree.root()
