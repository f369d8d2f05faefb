"""Archives the Temporal history of every run of a case that has ended: the archiver's activity.

One activity works for minutes on end (docs/decisions/0012); what is to be done is in PostgreSQL. A
history's hash goes into the log first, then the history beside it: whoever dies between the two
finds the hash there and goes on. What the server has deleted already is made again: the case is
taken up from the log, ends at once, and that run's history stands in.
"""

import asyncio
import gzip
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

import asyncpg
from pydantic import BaseModel, ValidationError
from temporalio import activity
from temporalio.api.history.v1 import History
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.builds import lock_hash, makers
from activities.cases import STANDS_IN, Cases, Conflict
from activities.database import DatabaseUnavailable
from activities.histories import Due, Entry, Histories
from activities.log_reader import LogReader
from lifecycles.decisions import Rejected
from schemas.archive import Archived, Archiving, HistoryArchived, RecordHistory, register_id
from schemas.base import SYSTEM, Value
from schemas.envelope import Json, OpenCase

AT_ONCE = 8
"""So many commands one append of the register takes; Temporal lets ten wait for a workflow."""
READ = 10_000
"""Events of the log at a time."""
PAGE = 1000
RPC = timedelta(seconds=30)
REBUILDING = 20.0
"""Seconds until a run that stands in is looked for later."""
LONGEST_WAIT = timedelta(minutes=10)
AWAY = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)


class Pace(Value):
    """How often the archiver looks; seconds."""

    stretch: float = 600.0
    """Then its workflow hears of it."""
    poll: float = 2.0
    """Between looks at where the log ends."""
    sweep: float = 15.0
    """Between looks at Temporal's list of closed runs."""
    settle: float = 2.0
    """From the last event of a case until its run will have ended: several are archived at once."""
    overlap: float = 120.0
    """Temporal's list may lag by so much."""


class _Run(NamedTuple):
    """A closed run."""

    stream: str
    id: str
    closed_at: datetime


class _Answer(BaseModel):
    """Of an append, as a run's history holds it: no more of it matters here."""

    status: str
    version: int


class Archiver:
    """One organisation's archiver."""

    def __init__(
        self,
        client: Client,
        pool: asyncpg.Pool,
        organisation: str,
        task_queue: str,
        pace: Pace | None = None,
    ) -> None:
        self._client = client
        self._log = LogReader(pool)
        self._cases = Cases(client, self._log, organisation, task_queue)
        self._histories = Histories(pool, organisation)
        self._organisation = organisation
        self._pace = pace or Pace()
        self._volume = (0, 0, 1)

    @activity.defn(name="archive_histories")
    async def archive(self, of: Archiving) -> Archived:
        """Archive what is to be archived, for a stretch."""
        if of.organisation != self._organisation:
            raise ApplicationError("This worker serves another organisation.")
        async with _beating():
            return await self._stretch()

    async def _stretch(self) -> Archived:
        loop = asyncio.get_running_loop()
        ends, sweeps_at = loop.time() + self._pace.stretch, loop.time()
        archived = rebuilt = 0
        while loop.time() < ends and not activity.is_worker_shutdown():
            settle = timedelta(seconds=self._pace.settle)
            more = await self._histories.find_ended(READ, settle)
            if loop.time() >= sweeps_at:
                await self._try_sweep()
                sweeps_at = loop.time() + self._pace.sweep
            due = await self._histories.due(AT_ONCE)
            done = await asyncio.gather(*(self._one(each) for each in due))
            archived += done.count("archived")
            rebuilt += done.count("rebuilt")
            if not due and not more:
                await asyncio.sleep(self._pace.poll)
        return Archived(histories=archived, rebuilt=rebuilt)

    async def _try_sweep(self) -> None:
        """The list is an index that may be away for itself; endings are told by the log, too."""
        try:
            await self._sweep()
        except RPCError as error:
            activity.logger.warning("Temporal's list of runs: %s", error.status.name)

    async def _sweep(self) -> None:
        """Note down what Temporal lists as closed: also runs that were reset, or went on as new."""
        now, since = datetime.now(UTC), await self._histories.swept_until()
        # A list of the runs themselves; the ids in it are checked against the log.
        query = f"Organisation = '{self._organisation}' AND CaseKind IS NOT NULL"
        query += " AND ExecutionStatus != 'Running'"
        if since is not None:
            overlap = timedelta(seconds=self._pace.overlap)
            query += f" AND CloseTime >= '{(since - overlap).isoformat()}'"
        found: list[tuple[str, str]] = []
        async for run in self._client.list_workflows(query, page_size=PAGE, rpc_timeout=RPC):
            found.append((run.id, run.run_id))
            if len(found) == PAGE:
                await self._histories.queue(found)
                found.clear()
        await self._histories.queue(found)
        await self._histories.swept(now)

    async def _one(self, due: Due) -> str:
        """Archive one; what fails is tried again later and holds up nothing else."""
        try:
            return await (self._run(due) if due.run_id else self._ended(due))
        except DatabaseUnavailable:
            raise
        except RPCError as error:
            if error.status in AWAY:
                raise
            what = error.status.name
        except Exception as error:  # noqa: BLE001 - it must not stop the others
            what = type(error).__name__
        # Not what it says: that may be anything.
        activity.logger.error("A history could not be archived: %s: %s", due.stream, what)
        return await self._later(due)

    async def _run(self, due: Due) -> str:
        """A certain run, which Temporal said has closed."""
        run = await self._described(due.stream, due.run_id)
        if run is not None and run.close_time is None:
            return await self._later(due)
        if run is not None:
            await self._archive(_Run(due.stream, due.run_id, run.close_time or run.start_time))
        await self._histories.done(due)
        return "archived" if run else "gone"

    async def _ended(self, due: Due) -> str:
        """The run that a case ended in, or one that stands in for it."""
        case = await self._log.case(self._organisation, due.stream)
        if case is None or not case.final:
            await self._histories.done(due)  # open again: its next end is told by the log
            return "open"
        run, how = await self._described(due.stream), "archived"
        if run is None and await self._histories.known(due.stream) < case.version:
            await self._rebuild(due.stream)
            run, how = await self._described(due.stream), "rebuilt"
        if run is not None and run.close_time is None:
            return await self._later(due)
        if run is not None and run.close_time is not None:
            await self._archive(_Run(due.stream, run.run_id, run.close_time))
        await self._histories.done(due, case.version)
        return how if run else "gone"

    async def _rebuild(self, stream: str) -> None:
        """The server has deleted it: have a run read the log to the end, and wait for that."""
        policy = await self._log.policy_of(self._organisation, stream)
        assert policy is not None, "a case has its policy"
        case = OpenCase(organisation=self._organisation, case_id=stream, policy=policy)
        await self._cases.take_up(case, stands_in=True)
        with suppress(TimeoutError, WorkflowFailureError):
            async with asyncio.timeout(REBUILDING):
                await self._client.get_workflow_handle(stream).result()

    async def _described(
        self, stream: str, run_id: str | None = None
    ) -> WorkflowExecutionDescription | None:
        """A run, the case's last one if none is named; None where the server has deleted it."""
        handle = self._client.get_workflow_handle(stream, run_id=run_id)
        try:
            return await handle.describe(rpc_timeout=RPC)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return None
            raise

    async def _later(self, due: Due) -> str:
        wait = timedelta(seconds=self._pace.settle or 0.1) * 2 ** min(due.attempts, 20)
        await self._histories.delay(due, min(wait, LONGEST_WAIT))
        return "later"

    async def _archive(self, run: _Run) -> None:
        """Fetch a run's history, tell the log its hash, keep it."""
        if await self._histories.has(run.stream, run.id):
            return
        handle = self._client.get_workflow_handle(run.stream, run_id=run.id)
        history = History(events=(await handle.fetch_history(rpc_timeout=RPC)).events)
        data = history.SerializeToString(deterministic=True)
        started = history.events[0].workflow_execution_started_event_attributes
        if started.continued_execution_run_id:
            # Sooner than the server's list may show it, and after it no longer does.
            await self._histories.queue([(run.stream, started.continued_execution_run_id)])
        made = makers(history.events)
        entry = await self._entered(
            RecordHistory(
                case=run.stream,
                run=run.id,
                sha256=sha256(data).hexdigest(),
                bytes=len(data),
                events=len(history.events),
                build_id=made.last,
                sdk=made.sdk or "unknown",
                lock=lock_hash(),
                original=STANDS_IN not in started.memo.fields,
            )
        )
        content = await asyncio.to_thread(gzip.compress, data, mtime=0)
        same = await self._histories.keep(
            entry, content, version=known_version(history), closed_at=run.closed_at
        )
        if not same:
            raise ApplicationError("Another history of this run is kept already.")

    async def _entered(self, history: RecordHistory) -> Entry:
        """The log's entry of a history: as it is, or as it is made now."""
        ids = [f"archive/{history.run}", f"archive/{history.run}/{history.sha256[:16]}"]
        entries = await self._histories.entries(ids)
        for entry in entries:
            if (entry.event.case, entry.event.sha256) == (history.case, history.sha256):
                return entry
        command: Json = {
            "id": ids[1] if entries else ids[0],
            "actor": SYSTEM.model_dump(mode="json"),
            "body": history.model_dump(mode="json"),
        }
        policy = await self._log.policy_of(self._organisation, history.case)
        assert policy is not None, "a case has its policy"
        while True:
            register = await self._register()
            try:
                await self._cases.open(register, policy, command)
            except Rejected:
                if await self._is_open(register):
                    raise
            except Conflict:
                if command["id"] == ids[1]:
                    raise
                command["id"] = ids[1]
            else:
                event = HistoryArchived(
                    at=datetime.now(UTC), **history.model_dump(exclude={"type"})
                )
                return Entry(register_id=register, event=event)

    async def _register(self) -> str:
        """The present month's register that is not full."""
        now = datetime.now(UTC)
        year, month, volume = self._volume
        if (year, month) != (now.year, now.month):
            volume = 1
        while not await self._is_open(found := register_id(self._organisation, now, volume)):
            volume += 1
        self._volume = (now.year, now.month, volume)
        return found

    async def _is_open(self, register: str) -> bool:
        case = await self._log.case(self._organisation, register)
        return case is None or case.closed_at is None


def known_version(history: History) -> int:
    """The version of the case that a run came to, by what its appends answered; 0: it made none."""
    known = 0
    for event in history.events:
        details = event.marker_recorded_event_attributes.details
        for payload in details["result"].payloads if "result" in details else ():
            with suppress(ValidationError):
                known = max(known, _Answer.model_validate_json(payload.data).version)
    return known


@asynccontextmanager
async def _beating() -> AsyncGenerator[None]:
    """Tells Temporal that this lives; each of its steps has a limit of its own."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(2)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
