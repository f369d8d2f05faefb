"""Signs checkpoints of an organisation's log: the activity of its checkpoint workflow.

One activity serves for minutes on end (docs/decisions/0012). It adds new events to the tree's
tiles, and signs only what has grown out of everything that was signed before, in the database and
in the newest note outside of it. Otherwise it signs nothing and says so.
"""

import asyncio
import fcntl
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import asyncpg
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.database import Connection, DatabaseUnavailable, reached
from activities.files import replace
from activities.timestamps import Stamper, StampError
from audit import proofs
from audit.notes import Checkpoint, NoteError, Signer, sign, split
from audit.proofs import WIDTH, hashes_below
from audit.tree import Frontier, ProofError, verify_consistency
from schemas.base import Value
from schemas.checkpoints import CONTRADICTION, Checkpointing, Signed

AT_ONCE = 16
"""Tiles that are read from events, and written, at a time."""

_HEAD = "SELECT position FROM heads WHERE organisation = $1"
_WAITING = """
    SELECT h.position - l.size AS events, l.size,
        extract(epoch FROM clock_timestamp() - e.recorded_at)::float8 AS seconds
    FROM heads h
    CROSS JOIN LATERAL (
        SELECT coalesce(max(c.size), 0) AS size FROM checkpoints c
        WHERE c.organisation = h.organisation
    ) l
    LEFT JOIN events e ON e.organisation = h.organisation AND e.position = l.size + 1
    WHERE h.organisation = $1
"""
_TILES = """
    SELECT coalesce(max(number) + 1, 0) FROM tree_tiles WHERE organisation = $1 AND level = $2
"""
_RECORD_TILES = "SELECT record_tiles($1, $2, $3, $4, $5)"
_RECORD = "SELECT record_checkpoint($1, $2, $3, $4)"
_RECORD_STAMP = "SELECT record_timestamp($1, $2, $3, $4)"


DATABASE = "the database"


class Pace(Value):
    """How often a checkpoint is made; seconds."""

    stretch: float = 600.0
    """Then the workflow hears of it."""
    poll: float = 1.0
    """Between looks at where the log ends."""
    events: int = 256
    """So many new events are signed at once …"""
    every: float = 60.0
    """… and the first of fewer after so long."""


class Contradiction(Exception):
    """The log is not what was signed: nothing more may be. Names sizes and hashes alone."""


class NotKept(Exception):
    """The note could not be written outside the database; the same again is safe."""


class Mark(NamedTuple):
    """A tree that was signed: every later one has to have grown out of it."""

    size: int
    root: bytes
    where: str
    note: str


class Folder:
    """Where an organisation's newest note is kept outside the database."""

    def __init__(self, folder: Path, organisation: str) -> None:
        self.path = folder / organisation / "checkpoint"

    def read(self) -> Mark | None:
        """The newest note; None before the first. Contradiction if it is damaged."""
        try:
            note = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            note = ""
        except OSError as error:
            raise NotKept(f"{self.path} cannot be read: {error.strerror}.") from None
        try:
            # Whoever signed it: it only adds to what must hold, and keys are changed.
            checkpoint = Checkpoint.parse(split(note)[0])
        except NoteError as error:
            raise Contradiction(f"{self.path} is damaged: {error}") from None
        return Mark(checkpoint.size, checkpoint.root, str(self.path), note)

    def write(self, note: str, size: int) -> None:
        """Keep a note, unless a newer one is kept. Whoever reads it finds all of one or other."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with (self.path.parent / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                kept = self.read()
                if kept is None or kept.size < size:
                    replace(self.path, note)
        except OSError as error:
            raise NotKept(f"{self.path} cannot be written: {error.strerror}.") from None


async def check_marks(connection: Connection, organisation: str, kept: Mark | None) -> list[Mark]:
    """What was signed of a log, if the log still is it: the database's newest, then the `kept`.

    Read the kept one first: what a log is compared with must not be younger than what is read of
    it. Raises Contradiction.
    """
    marks: list[Mark] = []
    note = await proofs.latest_checkpoint(connection, organisation)
    if note is not None:
        try:
            newest = Checkpoint.parse(split(note)[0])
        except NoteError as error:
            raise Contradiction(f"The newest checkpoint is damaged: {error}") from None
        marks.append(Mark(newest.size, newest.root, DATABASE, note))
    if kept is not None:
        marks.append(kept)
    head = await connection.fetchval(_HEAD, organisation) or 0
    for mark in marks:
        await _check_mark(connection, organisation, head, mark)
    return marks


async def _check_mark(connection: Connection, organisation: str, head: int, mark: Mark) -> None:
    signed = f"a checkpoint over {mark.size} of them was signed (it is in {mark.where})"
    if mark.size > head:
        raise Contradiction(f"The log of {organisation} has {head} events, and {signed}.")
    try:
        tree = await proofs.frontier(connection, organisation, mark.size)
    except ProofError as error:
        raise Contradiction(
            f"Events of {organisation} are missing, and {signed}: {error}"
        ) from None
    if tree.root() != mark.root:
        raise Contradiction(
            f"The first {mark.size} events of {organisation} have the root {tree.root().hex()},"
            f" and {signed} with the root {mark.root.hex()}."
        )


class Checkpoints:
    """One organisation's checkpoints, as a worker signs them."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        organisation: str,
        signer: Signer,
        folder: Path,
        *,
        stamper: Stamper | None = None,
        pace: Pace | None = None,
    ) -> None:
        """`signer` has the log's origin for a name."""
        self._pool = pool
        self._organisation = organisation
        self._signer = signer
        self._folder = Folder(folder, organisation)
        self._stamper = stamper
        self._stamping: asyncio.Task[None] | None = None
        self._pace = pace or Pace()

    @activity.defn(name="sign_checkpoints")
    async def serve(self, of: Checkpointing) -> Signed:
        """Sign what is to be signed, for a stretch."""
        if of.organisation != self._organisation:
            raise ApplicationError("This worker serves another organisation.")
        try:
            return await self._stretch()
        except Contradiction as error:
            activity.logger.critical("No checkpoint is signed any more: %s", error)
            raise ApplicationError(str(error), type=CONTRADICTION, non_retryable=True) from None
        except NotKept as error:
            raise ApplicationError(str(error), type="NotKept") from None
        finally:
            await self.settle()

    async def make(self, beat: Callable[[], object] = lambda: None) -> Checkpoint | None:
        """Sign one now, if anything is new; the newest. Raises Contradiction and NotKept.

        `beat` is called now and then while a long log is read for the first time.
        """
        kept = await asyncio.to_thread(self._folder.read)
        async with reached(), self._pool.acquire() as connection:
            marks = await check_marks(connection, self._organisation, kept)
            head = await connection.fetchval(_HEAD, self._organisation) or 0
            if head == 0:
                return None
            mark = marks[0] if marks and marks[0].where == DATABASE else None
            if mark is None or mark.size < head:
                note = await self._sign(connection, head, marks, beat)
            else:
                note = mark.note
        checkpoint = Checkpoint.parse(split(note)[0])
        await asyncio.to_thread(self._folder.write, note, checkpoint.size)
        self._stamp(note, checkpoint.size)
        return checkpoint

    async def settle(self) -> None:
        """Break off a time stamp that is being asked for: the next checkpoint gets one."""
        if self._stamping is not None:
            self._stamping.cancel()
            with suppress(asyncio.CancelledError):
                await self._stamping
            self._stamping = None

    async def stamped(self) -> None:
        """Wait for the time stamp that is being asked for."""
        if self._stamping is not None:
            await self._stamping

    async def _stretch(self) -> Signed:
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._pace.stretch
        # At once, because a worker may have died between the row and the note outside.
        await self._check(first=True)
        signed: Checkpoint | None = None
        while loop.time() < ends and not activity.is_worker_shutdown():
            activity.heartbeat()
            if await self._due():
                signed = await self.make(activity.heartbeat)
            await asyncio.sleep(self._pace.poll)
        if signed is None:
            return await self._check()
        return Signed(size=signed.size, root=signed.root.hex())

    async def _check(self, *, first: bool = False) -> Signed:
        """Nothing is new, or it is not due yet: does the log still hold what was signed?"""
        kept = await asyncio.to_thread(self._folder.read)
        async with reached(), self._pool.acquire() as connection:
            marks = await check_marks(connection, self._organisation, kept)
        if not marks:
            return Signed(size=0)
        mark = marks[0]
        if first and mark.where == DATABASE:
            await asyncio.to_thread(self._folder.write, mark.note, mark.size)
        return Signed(size=mark.size, root=mark.root.hex())

    async def _due(self) -> bool:
        async with reached():
            row = await self._pool.fetchrow(_WAITING, self._organisation)
        if row is None or row["events"] == 0:
            return False
        if row["events"] < 0 or row["seconds"] is None:
            return True  # the log contradicts what was signed: let it be found out
        return row["events"] >= self._pace.events or row["seconds"] >= self._pace.every

    async def _sign(
        self,
        connection: Connection,
        head: int,
        marks: Sequence[Mark],
        beat: Callable[[], object],
    ) -> str:
        try:
            await _extend(connection, self._organisation, head, beat)
            tree = await proofs.frontier(connection, self._organisation, head)
            root = tree.root()
            for mark in marks:
                proof = await proofs.consistency(connection, self._organisation, mark.size, head)
                verify_consistency(mark.size, mark.root, head, root, proof)
            note = sign(Checkpoint(self._signer.name, head, root), self._signer)
            return await connection.fetchval(_RECORD, self._organisation, head, root, note)
        except ProofError as error:
            raise Contradiction(f"The log of {self._organisation} is not whole: {error}") from None
        except asyncpg.PostgresError as error:
            if error.sqlstate != "SP004":
                raise
            # Somebody else signed meanwhile, and what they signed counts from now on.
            raise DatabaseUnavailable(f"Another worker was faster: {error}.") from None

    def _stamp(self, note: str, size: int) -> None:
        """Ask for a time stamp beside all else; a slow authority stamps fewer checkpoints."""
        if self._stamper is None or (self._stamping is not None and not self._stamping.done()):
            return
        self._stamping = asyncio.create_task(self._stamped(self._stamper, note, size))

    async def _stamped(self, stamper: Stamper, note: str, size: int) -> None:
        try:
            answer = await stamper.stamp(note.encode())
            async with reached():
                await self._pool.execute(
                    _RECORD_STAMP, self._organisation, size, stamper.authority, answer
                )
        except (StampError, DatabaseUnavailable) as error:
            activity.logger.warning("The checkpoint of %s has no time stamp: %s", size, error)


async def _extend(
    connection: Connection, organisation: str, head: int, beat: Callable[[], object]
) -> None:
    """Keep every full tile of the tree over the first `head` events."""
    wanted, level = head // WIDTH, 0
    while wanted:
        kept: int = await connection.fetchval(_TILES, organisation, level)
        while kept < wanted:
            beat()
            count = min(AT_ONCE, wanted - kept)
            start = kept * WIDTH
            rows = await hashes_below(connection, organisation, level, start, count * WIDTH)
            if len(rows) < count * WIDTH:
                raise ProofError(f"hash {start + len(rows)} of level {level} is missing.")
            tiles = [rows[at : at + WIDTH] for at in range(0, len(rows), WIDTH)]
            await connection.execute(
                _RECORD_TILES,
                organisation,
                level,
                kept,
                [_root(each) for each in tiles],
                [b"".join(each) for each in tiles],
            )
            kept += count
        wanted, level = wanted // WIDTH, level + 1


def _root(hashes: Sequence[bytes]) -> bytes:
    tree = Frontier()
    tree.extend(hashes)
    return tree.root()
