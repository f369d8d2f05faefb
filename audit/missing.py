"""What a log that came back from an older backup has lost, by the receipts in Temporal's histories.

Each answer to an append is a receipt: where the log took it, and its leaves. What was appended is
not in the history, but replaying it makes it again. So the receipts tell what is missing and in
which order, the replay what it was, and the leaves that it is the same.
"""

import json
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import NamedTuple

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from activities.canonical import SealedDecision, seal
from activities.database import Connection
from activities.event_log import leaves
from audit import log
from audit.findings import Finding
from audit.histories import CaseHistory, case_runs, fetched
from audit.replay import Attempt, Replaying
from schemas.base import CaseId, Organisation
from schemas.envelope import AppendRequest, Json, Recorded

AT_ONCE = 16
"""Histories that are fetched side by side."""
SLACK = timedelta(hours=1)
"""A run that ended so long before the log's last event has nothing that is missing."""

_LAST = "SELECT max(recorded_at) FROM events WHERE organisation = $1 AND position = $2"
_HELD = """
    SELECT command_id FROM decisions
    WHERE organisation = $1 AND stream = $2 AND command_id = ANY($3)
"""
_VERSION = "SELECT version FROM streams WHERE organisation = $1 AND stream = $2"


class Lost(NamedTuple):
    """An append that the log took and has lost."""

    run_id: str
    request: AppendRequest
    sealed: tuple[SealedDecision, ...]
    receipts: tuple[Recorded, ...]

    @property
    def events(self) -> int:
        return self.sealed[-1].version - self.request.expected_version

    @property
    def end(self) -> int:
        """The log's position after it."""
        return self.receipts[-1].position

    @property
    def start(self) -> int:
        return self.end - self.events


class Missing(NamedTuple):
    """What receipts and replays tell of a log that lost its end."""

    head: int
    """Where the log ends now."""
    appends: tuple[Lost, ...]
    """What it lost, in the order in which it took them."""
    findings: tuple[Finding, ...]
    """Why it cannot be restored; nothing if it can."""

    @property
    def until(self) -> int:
        """Where it ends when all of that is back."""
        return max((lost.end for lost in self.appends), default=self.head)


async def find_missing(
    connection: Connection,
    client: Client,
    organisation: Organisation,
    replaying: Replaying,
    report: Callable[[int, int], None] = lambda histories, lost: None,
) -> Missing:
    """What the log has lost, by the histories that Temporal has; `report` hears how far it is."""
    head = await log.head(connection, organisation)
    last: datetime | None = await connection.fetchval(_LAST, organisation, head)
    search = _Search(connection, organisation, head, replaying)
    since = None if last is None else last - SLACK
    async with aclosing(_histories(client, organisation, since)) as runs:
        async for run in runs:
            await search.look_at(run)
            report(search.seen, len(search.lost))
    appends = sorted(search.lost.values(), key=lambda lost: (lost.end, lost.events == 0))
    findings = [*search.findings, *_gaps(head, appends, search.found)]
    if not findings:
        findings = [f async for f in _misplaced(connection, organisation, appends)]
    return Missing(head, tuple(appends), tuple(findings))


class _Search:
    """Looks through histories for what the log does not have."""

    def __init__(
        self, connection: Connection, organisation: Organisation, head: int, replaying: Replaying
    ) -> None:
        self._connection = connection
        self._organisation = organisation
        self._head = head
        self._replaying = replaying
        self.seen = 0
        self.lost: dict[tuple[CaseId, str], Lost] = {}
        """By case and first command: a run that was reset has what came before it as well."""
        self.found: dict[int, tuple[CaseId, str]] = {}
        """What runs found in the log that is not there now, by its last position."""
        self.findings: list[Finding] = []

    async def look_at(self, run: CaseHistory) -> None:
        self.seen += 1
        if not any(_is_beyond(event, self._head) for event in run.history.events):
            return
        replayed = await self._replaying.replay(run.stream, run.history)
        for attempt in replayed.attempts:
            if attempt.request.organisation == self._organisation:
                await self._take(run, attempt)
        if replayed.failure is not None:
            what = f"This build does not replay run {run.run_id}: {replayed.failure}"
            self.findings.append(Finding(check="replay", what=what, stream=run.stream))

    async def _take(self, run: CaseHistory, attempt: Attempt) -> None:
        request, answer = attempt
        if answer is None or all(r.position < self._head for r in answer.recorded):
            return
        held = await self._held(request.stream, [r.command_id for r in answer.recorded])
        if answer.status == "behind":
            for receipt in answer.recorded:
                if receipt.command_id not in held and receipt.events:
                    self.found[receipt.position] = request.stream, receipt.command_id
        if answer.status != "appended" or held:
            return
        sealed = tuple(seal(request))
        lost = Lost(run.run_id, request, sealed, answer.recorded)
        if [r.command_id for r in answer.recorded] != [d.command_id for d in sealed] or any(
            receipt.command_hash != decision.command_hash.hex()
            or receipt.leaves not in ((), leaves(request, decision))
            for receipt, decision in zip(answer.recorded, sealed, strict=True)
        ):
            what = "This build decides otherwise than was written then: use the one that wrote it."
            self.findings.append(finding(lost, what))
            return
        self.lost.setdefault((request.stream, sealed[0].command_id), lost)

    async def _held(self, stream: CaseId, command_ids: Sequence[str]) -> set[str]:
        rows = await self._connection.fetch(_HELD, self._organisation, stream, list(command_ids))
        return {row["command_id"] for row in rows}


async def _histories(
    client: Client, organisation: Organisation, since: datetime | None
) -> AsyncGenerator[CaseHistory]:
    waiting: list[tuple[CaseId, str]] = []
    async with aclosing(case_runs(client, organisation, since)) as runs:
        async for run in runs:
            waiting.append(run)
            if len(waiting) == AT_ONCE:
                for history in await fetched(client, waiting):
                    yield history
                waiting = []
    for history in await fetched(client, waiting):
        yield history


def _is_beyond(event: HistoryEvent, head: int) -> bool:
    """Whether it is an append's answer that tells of something beyond the log's head."""
    marker = event.marker_recorded_event_attributes
    if marker.marker_name != "core_local_activity" or "result" not in marker.details:
        return False
    try:
        data: Json = json.loads(marker.details["data"].payloads[0].data)
        if data["activity_type"] != "append_events":
            return False
        answer: Json = json.loads(marker.details["result"].payloads[0].data)
        # One without events has the position of what was there before it.
        return any(r["position"] >= head for r in answer["recorded"])
    except (ValueError, LookupError, TypeError):
        return True  # unreadable from outside: the replay will read it


def _gaps(
    head: int, appends: Sequence[Lost], found: dict[int, tuple[CaseId, str]]
) -> Iterator[Finding]:
    """Every position from the head on must be somebody's, once."""
    position = head
    for lost in appends:
        if lost.start > position:
            yield _nobodys(position + 1, lost.start, found)
        elif lost.start < position:
            what = (
                f"The log went on after it came back: {position} is taken, and so it cannot be"
                " given back. Bring the backup back once more, and restore before anybody works."
            )
            yield finding(lost, what)
        position = max(position, lost.end)
    if further := [p for p in found if p > position]:
        yield _nobodys(position + 1, max(further), found)


def _nobodys(first: int, last: int, found: dict[int, tuple[CaseId, str]]) -> Finding:
    known = [f"{stream} ({id})" for p, (stream, id) in sorted(found.items()) if first <= p <= last]
    whose = f", written by {', '.join(known)} just before its worker died" if known else ""
    return Finding(
        check="gap",
        what=f"No history tells what positions {first} to {last} held{whose}.",
        position=first,
    )


async def _misplaced(
    connection: Connection, organisation: Organisation, appends: Sequence[Lost]
) -> AsyncGenerator[Finding]:
    """Every case must go on from where the log has it."""
    versions: dict[CaseId, int] = {}
    for lost in appends:
        stream = lost.request.stream
        if stream not in versions:
            row = await connection.fetchval(_VERSION, organisation, stream)
            versions[stream] = row or 0
        if versions[stream] != lost.request.expected_version:
            what = (
                f"It follows version {lost.request.expected_version}, and the log has the case at"
                f" {versions[stream]}."
            )
            yield finding(lost, what)
        versions[stream] = lost.sealed[-1].version


def finding(lost: Lost, what: str) -> Finding:
    return Finding(
        check="restore",
        what=what,
        position=lost.end,
        stream=lost.request.stream,
        version=lost.sealed[-1].version,
    )
