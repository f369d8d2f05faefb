"""Decides a whole log again, or one case of it: read in bulk, shared out to processes."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, aclosing
from multiprocessing import get_context
from typing import Any, NamedTuple

from activities.database import Connection
from audit import log, signatures
from audit.findings import Finding
from audit.log import RawCase
from audit.redecide import Again, Signed, decide_again
from schemas.base import Value
from schemas.envelope import Json

BATCH = 100
"""Cases at a time."""
KEPT = 1000
"""Findings that are kept in full; all are counted."""
WORTH_PROCESSES = 50_000
"""Of so many events on: below, starting them takes longer than they save."""

Report = Callable[[int, int], None]
"""Hears how many events were looked at, and how many findings there are."""

_OUTBOX = """
    SELECT position, recipient_kind, recipient, template, params FROM outbox
    WHERE organisation = $1 AND position = ANY($2) ORDER BY position, ordinal
"""


class Redecided(Value):
    """What deciding again came to."""

    findings: tuple[Finding, ...]
    """The first of them, in the log's order by case."""
    wrong: int
    """How many there are."""
    cases: int
    commands: int
    events: int
    signatures: int
    """Those that decisions rest on, all of them looked at."""
    position: int
    """The log's head at that moment."""


class _Batch(NamedTuple):
    """Cases and what the outbox holds for them: what a process is given."""

    organisation: str
    cases: Sequence[RawCase]
    outbox: Mapping[int, Sequence[Json]]


async def redecide_log(
    connection: Connection,
    organisation: str,
    stream: str | None = None,
    *,
    report: Report = lambda events, findings: None,
    processes: int = 1,
) -> Redecided:
    """Decide every case again, or the one of this name, at constant memory.

    The connection should see one moment of the log (REPEATABLE READ). With `processes`, a large
    log is shared out to so many.
    """
    head = await log.head(connection, organisation)
    found = _Found(connection, organisation, report)
    with ExitStack() as until:
        pool = None
        if stream is None and processes > 1 and head >= WORTH_PROCESSES:
            # Not forked: this one has threads.
            pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
            until.callback(pool.shutdown, cancel_futures=True)
        batches = _batches(connection, organisation, stream, found.damaged)
        await found.share_out(batches, pool, 2 * processes)
    return Redecided(
        findings=tuple(found.findings),
        wrong=found.wrong,
        cases=found.cases,
        commands=found.commands,
        events=found.events,
        signatures=found.signatures,
        position=head,
    )


class _Found:
    """What comes back, batch by batch, in the log's order."""

    def __init__(self, connection: Connection, organisation: str, report: Report) -> None:
        self._connection = connection
        self._organisation = organisation
        self._report = report
        self._keys: dict[str, Any] | None = None
        self.findings: list[Finding] = []
        self.wrong = 0
        self.cases = self.commands = self.events = self.signatures = 0

    async def share_out(
        self,
        batches: AsyncGenerator[_Batch],
        pool: ProcessPoolExecutor | None,
        ahead: int,
    ) -> None:
        """Keep the processes busy, and no more of the log in memory than that takes."""
        waiting: list[asyncio.Future[list[Again]]] = []
        loop = asyncio.get_running_loop()
        async with aclosing(batches):
            async for batch in batches:
                if pool is None:
                    await self._take(decide_batch(batch))
                    continue
                waiting.append(loop.run_in_executor(pool, decide_batch, batch))
                if len(waiting) >= ahead:
                    await self._take(await waiting.pop(0))
        for done in waiting:
            await self._take(await done)

    async def _take(self, done: Sequence[Again]) -> None:
        signed: list[Signed] = []
        for again in done:
            self.add(again.findings)
            self.commands += again.commands
            self.events += again.events
            signed += again.signed
        self.cases += len(done)
        self.signatures += len(signed)
        if signed:
            if self._keys is None:
                self._keys = await signatures.keys(self._connection, self._organisation)
            self.add(
                await signatures.doubted(self._connection, self._organisation, self._keys, signed)
            )
        self._report(self.events, self.wrong)

    def damaged(self, what: str) -> None:
        """A row that cannot be read; what follows from it cannot be decided again."""
        told = f"The row of {what} holds what nobody could have appended; it was left out."
        self.add([Finding(check="row", what=told)])

    def add(self, findings: Sequence[Finding]) -> None:
        self.wrong += len(findings)
        self.findings += findings[: KEPT - len(self.findings)]


def decide_batch(batch: _Batch) -> list[Again]:
    """Decide some cases again; this is what the processes do."""
    return [decide_again(case, batch.organisation, batch.outbox) for case in batch.cases]


async def _batches(
    connection: Connection,
    organisation: str,
    stream: str | None,
    damaged: Callable[[str], None],
) -> AsyncGenerator[_Batch]:
    cases: list[RawCase] = []
    read = log.cases(connection, organisation, stream, damaged=damaged)
    async with aclosing(read) as found:
        async for case in found:
            cases.append(case)
            if len(cases) == BATCH:
                yield await _with_outbox(connection, organisation, cases)
                cases = []
    if cases:
        yield await _with_outbox(connection, organisation, cases)


async def _with_outbox(
    connection: Connection, organisation: str, cases: Sequence[RawCase]
) -> _Batch:
    positions = [e.position for case in cases for d in case.decisions for e in d.events]
    words: dict[int, list[Json]] = {}
    for row in await connection.fetch(_OUTBOX, organisation, positions):
        words.setdefault(row["position"], []).append(
            {
                "to": row["recipient_kind"],
                "recipient": row["recipient"],
                "template": row["template"],
                "params": json.loads(row["params"]),
            }
        )
    return _Batch(organisation, cases, words)
