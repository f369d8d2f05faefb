"""`audit verify`: whether an organisation's log is whole, and is what was signed.

Two passes over one snapshot. The first, at full speed, goes through the events by position: every
hash, the Merkle tree, tiles, checkpoints and their signatures. The second goes through them case by
case: columns, decisions, policies, schemas, read models and outbox. Neither writes anything, and
neither needs more memory for a longer log.

What it can't see: whoever rewrites all of the database after the last checkpoint that is kept
elsewhere leaves a log that fits together. `audit replay` finds that, from what Temporal holds.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from activities.database import Connection
from audit import log
from audit.notes import Checkpoint, Verifier
from audit.verdict import Findings, Verdict
from audit.verify_cases import Counts, read_cases
from audit.verify_leaves import read_commands, read_events
from audit.verify_tree import WINDOW, Tree

_ENDS = """
    SELECT min(position) AS first, max(position) AS last FROM events WHERE organisation = $1
"""
_NEXT = "SELECT min(position) FROM events WHERE organisation = $1 AND position > $2"


class Progress(NamedTuple):
    """How far it is."""

    phase: str
    """`leaves`, `commands` or `cases`."""
    done: int
    """Events, or commands."""
    total: int
    """Of them; 0 where that is not known."""


Report = Callable[[Progress], None]


def _silent(progress: Progress) -> None:
    """Nobody looks."""


async def verify(
    connection: Connection,
    organisation: str,
    *,
    external: Sequence[Checkpoint] = (),
    verifiers: Sequence[Verifier] = (),
    origin: str | None = None,
    meaning: bool = True,
    report: Report = _silent,
) -> Verdict:
    """Read all of an organisation's log and say what is wrong with it; it only reads.

    `connection` is in a REPEATABLE READ transaction with `standpipe` as its search path, and nobody
    else uses it meanwhile. `external` are checkpoints that were kept elsewhere, their signatures
    verified already. `verifiers` are the log's keys: checkpoints in the database have to be signed
    by one of them. `origin` is what checkpoints are to call this log. Without `meaning` only the
    first pass is made: all that is hashed and signed.
    """
    findings = Findings()
    # Rows shall come as they are read, while this process is at work on those before.
    await connection.execute("SET max_parallel_workers_per_gather = 0")
    tree = Tree(
        *(connection, organisation, findings),
        external=external,
        verifiers=verifiers,
        origin=origin,
    )
    begin = time.perf_counter()
    leaves = _Leaves(connection, organisation, tree, findings, report)
    await leaves.read()
    commands = await read_commands(
        connection, organisation, findings, lambda n: report(Progress("commands", n, 0))
    )
    middle = time.perf_counter()
    counts = Counts()
    if meaning:
        counts = await read_cases(
            *(connection, organisation, leaves.last, findings),
            lambda n: report(Progress("cases", n, leaves.count)),
        )
    return Verdict(
        organisation=organisation,
        events=leaves.count,
        decisions=commands,
        cases=counts.cases,
        size=tree.size,
        root=tree.root().hex(),
        tiles=tree.tiles,
        checkpoints=tree.checkpoints,
        external=tree.external,
        covered=tree.covered,
        counts=dict(findings.counts),
        findings=tuple(findings.kept),
        leaves_seconds=middle - begin,
        meaning_seconds=time.perf_counter() - middle,
    )


class _Leaves:
    """The first pass: events by position, a window after the other, and the tree over them."""

    def __init__(
        self,
        connection: Connection,
        organisation: str,
        tree: Tree,
        findings: Findings,
        report: Report,
    ) -> None:
        self._connection = connection
        self._organisation = organisation
        self._tree = tree
        self._findings = findings
        self._report = report
        self._window: list[bytes] = []
        self._expected = 1
        self._total = 0
        self.count = 0
        self.last: int = 0
        """The last position that there is."""

    async def read(self) -> None:
        """Check every event, the tree, and where the log says that it ends."""
        self._total = await log.head(self._connection, self._organisation)
        await self._tree.begin()
        ends = await self._connection.fetchrow(_ENDS, self._organisation)
        assert ends is not None
        first: int | None = ends["first"]
        self.last = ends["last"] or 0
        at = None if first is None else min(1, first)
        while at is not None:
            before, end = self.count, at + WINDOW - 1 if at > 0 else 0
            await read_events(
                *(self._connection, self._organisation, at, end), self._take, self._findings
            )
            if self._window:
                await self._tree.grow(self._window)
                self._window = []
            at = end + 1
            if self.count == before or at > self.last:
                at = await self._connection.fetchval(_NEXT, self._organisation, end)
        await self._tree.end()
        if self._total != self.last:
            self._findings.add(
                "head",
                f"The log says that it ends at position {self._total}; its last event is at"
                f" {self.last}.",
                position=self.last,
            )

    def _take(self, positions: Sequence[int], leaves: Sequence[bytes]) -> None:
        if list(positions) == list(range(self._expected, self._expected + len(positions))):
            self._expected += len(positions)
            if self._tree.whole:
                self._window += leaves
        else:
            for position, leaf in zip(positions, leaves, strict=True):
                self._take_one(position, leaf)
        self.count += len(positions)
        self._report(Progress("leaves", self.count, self._total))

    def _take_one(self, position: int, leaf: bytes) -> None:
        expected = self._expected
        if position < expected:
            what = "The log begins at position 1." if position < 1 else "It stands here twice."
            self._findings.add("gap", what, position=position)
            return
        if position > expected:
            missing = (
                f"{expected} is"
                if position == expected + 1
                else (f"{expected} to {position - 1} are")
            )
            self._findings.add("gap", f"Position {missing} missing.", position=expected)
            self._tree.cut()
        if self._tree.whole:
            self._window.append(leaf)
        self._expected = position + 1
