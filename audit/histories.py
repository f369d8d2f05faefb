"""Where the Temporal histories of a case's runs come from: the archive first, then the server."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from datetime import datetime
from hashlib import sha256
from typing import Literal, NamedTuple

from google.protobuf.message import DecodeError
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.cases import STANDS_IN
from activities.database import Connection
from audit.findings import Finding
from lifecycles.lifecycle import LIFECYCLES
from schemas.base import CaseId, Organisation

_ENDS = frozenset(
    EventType.Value(f"EVENT_TYPE_WORKFLOW_EXECUTION_{name}")
    for name in (
        *("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED", "TERMINATED", "CONTINUED_AS_NEW"),
    )
)
_ARCHIVED = """
    SELECT h.run_id, h.sha256, h.content, h.lock,
        ARRAY(
            SELECT convert_from(e.body, 'UTF8')::jsonb ->> 'sha256' FROM events e
            WHERE e.organisation = h.organisation AND e.stream = h.register
                AND e.type = 'HistoryArchived'
                AND e.command_id IN (
                    'archive/' || h.run_id,
                    'archive/' || h.run_id || '/' || left(encode(h.sha256, 'hex'), 16)
                )
        ) AS told
    FROM histories h
    WHERE h.organisation = $1 AND h.stream = $2
    ORDER BY h.closed_at, h.run_id
"""


class CaseHistory(NamedTuple):
    """One run of a case."""

    stream: CaseId
    run_id: str
    history: History
    source: Literal["archive", "temporal"]
    lock: str | None = None
    """SHA-256, in hex, of the lock file of whoever archived it."""

    @property
    def closed(self) -> bool:
        return bool(self.history.events) and self.history.events[-1].event_type in _ENDS

    @property
    def original(self) -> bool:
        """False: the run's own was gone; this run only read the log."""
        started = self.history.events[0].workflow_execution_started_event_attributes
        return STANDS_IN not in started.memo.fields


class Histories(NamedTuple):
    """The histories that there are of a case, the oldest first, and what is wrong with them."""

    runs: list[CaseHistory]
    findings: list[Finding]


async def histories_of(
    connection: Connection, client: Client | None, organisation: Organisation, stream: CaseId
) -> Histories:
    """Every run's history: archived, or else (with a client) as Temporal still has it."""
    found = await archived(connection, organisation, stream)
    return found if client is None else await with_temporals(client, stream, found)


async def with_temporals(client: Client, stream: CaseId, found: Histories) -> Histories:
    """Archived histories, and those of the other runs that the server still has."""
    known = {run.run_id for run in found.runs}
    async with aclosing(runs_of(client, stream)) as ids:
        missing = [(stream, id) async for id in ids if id not in known]
    runs = [*found.runs, *await fetched(client, missing)]
    runs.sort(key=lambda run: run.history.events[0].event_time.ToNanoseconds())
    return Histories(runs, found.findings)


async def archived(connection: Connection, organisation: Organisation, stream: CaseId) -> Histories:
    """Those in the archive; one that is not what the log says of it is a finding, and left out."""
    runs: list[CaseHistory] = []
    findings: list[Finding] = []
    for row in await connection.fetch(_ARCHIVED, organisation, stream):
        run_id: str = row["run_id"]
        history, wrong = None, None
        try:
            content = gzip.decompress(row["content"])
        except (OSError, EOFError, zlib.error):
            wrong = "cannot be unpacked"
        else:
            hash = sha256(content).digest()
            if hash != row["sha256"] or hash.hex() not in row["told"]:
                wrong = "is not the one whose hash the log tells"
            else:
                history = _parsed(content)
                wrong = None if history and history.events else "is none"
        if history is None or wrong:
            what = f"The archived history of run {run_id} {wrong}."
            findings.append(Finding(check="archive", what=what, stream=stream))
        else:
            runs.append(CaseHistory(stream, run_id, history, "archive", row["lock"]))
    return Histories(runs, findings)


async def runs_of(client: Client, stream: CaseId) -> AsyncGenerator[str]:
    """The ids of a case's runs that the server still has."""
    known: set[str] = set()
    async for run in client.list_workflows(f"WorkflowId = '{stream}'"):
        known.add(run.run_id)
        yield run.run_id
    # The server's list lags behind; the last run it always knows.
    try:
        last = (await client.get_workflow_handle(stream).describe()).run_id
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        return
    if last not in known:
        yield last


async def case_runs(
    client: Client, organisation: Organisation, since: datetime | None = None
) -> AsyncGenerator[tuple[CaseId, str]]:
    """Every run on the server that may be a case's; with `since`, only those that lived then."""
    kinds = ", ".join(f"'{kind.capitalize()}Workflow'" for kind in LIFECYCLES)
    # Somebody may have started one without saying whose it is.
    ours = f"(Organisation = '{organisation}' OR Organisation IS NULL)"
    query = f"WorkflowType IN ({kinds}) AND {ours}"
    if since is not None:
        query += f" AND (ExecutionStatus = 'Running' OR CloseTime >= '{since.isoformat()}')"
    async for run in client.list_workflows(query):
        yield run.id, run.run_id


async def fetched(client: Client, runs: Iterable[tuple[CaseId, str]]) -> list[CaseHistory]:
    """The histories of these runs, side by side; without those that the server has deleted."""

    async def fetch(stream: CaseId, run_id: str) -> CaseHistory | None:
        handle = client.get_workflow_handle(stream, run_id=run_id)
        try:
            events = (await handle.fetch_history()).events
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            return None
        return CaseHistory(stream, run_id, History(events=events), "temporal")

    found = await asyncio.gather(*(fetch(*run) for run in runs))
    return [run for run in found if run is not None]


def _parsed(content: bytes) -> History | None:
    try:
        return History.FromString(content)
    except DecodeError:
        return None
