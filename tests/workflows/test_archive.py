"""Every run of a case that has ended is archived, once, under the hash that the log tells."""

import asyncio
import gzip
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from temporalio import workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import TimeSkipper, TimeSkippingConfig, WorkflowEnvironment
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker, WorkflowRunner

from activities.archive import Archiver, Pace
from activities.builds import build_id, lock_hash, makers
from activities.cases import Cases
from activities.database import DatabaseUnavailable, as_owner, open_pool
from activities.event_log import EventLog
from activities.histories import Histories
from gateway.archiver import archiver_id, ensure_archiver
from lifecycles import archive as rules
from schemas.archive import Archiving, register_id
from schemas.envelope import EventEnvelope, Json
from stack.temporal import SEARCH_ATTRIBUTES
from tests.conftest import Database
from tests.workflows.desk import Desk, until
from worker import WORKFLOWS, build_worker, sandboxed
from workflows.case import CaseWorkflow

HASTY = Pace(stretch=600, poll=0.05, sweep=0.2, settle=0.05)


@dataclass
class Office:
    """An organisation of its own: others' registers have their names on the same server."""

    client: Client
    skipper: TimeSkipper
    pool: asyncpg.Pool
    policy: str
    task_queue: str
    organisation: str
    admin_url: str

    @property
    def log(self) -> EventLog:
        return EventLog(self.pool)

    @property
    def cases(self) -> Cases:
        return Cases(self.client, self.log, self.organisation, self.task_queue)

    def archiver(self, pace: Pace = HASTY) -> Archiver:
        return Archiver(self.client, self.pool, self.organisation, self.task_queue, pace)

    def worker(
        self, archiver: Archiver | None = None, runner: WorkflowRunner | None = None
    ) -> Worker:
        return build_worker(
            self.client,
            self.log,
            organisation=self.organisation,
            task_queue=self.task_queue,
            runner=runner or sandboxed(),
            more_activities=[(archiver or self.archiver()).archive],
        )

    @asynccontextmanager
    async def archived(
        self, archiver: Archiver | None = None, runner: WorkflowRunner | None = None
    ) -> AsyncIterator[None]:
        """With a worker and the archiver at work."""
        async with self.worker(archiver, runner):
            await ensure_archiver(self.client, self.organisation, self.task_queue)
            yield
            await self.handle(archiver_id(self.organisation)).terminate()

    def handle(self, case_id: str) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(case_id)

    def command(self, kind: str, **body: Any) -> Json:
        who = {"subject": "clerk-1", "role": "clerk", "proof": "local"}
        return {"id": uuid4().hex, "actor": who, "body": {"type": kind, **body}}

    async def opened(self) -> str:
        case_id = f"repair-{uuid4().hex[:12]}"
        report = {"channel": "phone", "category": "no-gas", "district": "north", "party": "party-1"}
        recorded = {"recorded": ["name", "address", "phone"]}
        command = self.command("ReportRepair", **report, **recorded)
        await self.cases.open(case_id, self.policy, command)
        return case_id

    async def ended(self) -> str:
        """A case that is over."""
        case_id = await self.opened()
        await self.cases.send(case_id, self.command("CancelRepair", reason="mistake"))
        await self.handle(case_id).result()
        return case_id

    async def rows(self, case_id: str | None = None) -> list[asyncpg.Record]:
        """What is kept, in the order in which it came."""
        return await self.pool.fetch(
            "SELECT * FROM histories WHERE organisation = $1 AND ($2::text IS NULL OR stream = $2)"
            " ORDER BY recorded_at",
            self.organisation,
            case_id,
        )

    async def waiting(self) -> set[str]:
        rows = await self.pool.fetch("SELECT stream FROM archiving")
        return {row["stream"] for row in rows}

    async def idle(self, *but: str) -> None:
        """Wait until nothing else is to be archived."""

        async def done() -> bool:
            return await self.waiting() == {*but}

        await until(done)

    async def entries(self, *registers: str) -> list[EventEnvelope]:
        found: list[EventEnvelope] = []
        for register in registers or (register_id(self.organisation, datetime.now(UTC)),):
            found += await self.log.read_stream(self.organisation, register)
        return [event for event in found if event.type == "HistoryArchived"]

    async def kept(self, case_id: str, runs: int = 1) -> list[asyncpg.Record]:
        """The case's histories, once there are so many."""

        async def enough() -> bool:
            return len(await self.rows(case_id)) >= runs

        await until(enough, seconds=20)
        return await self.rows(case_id)

    async def deleted(self, *case_ids: str) -> None:
        """What retention does, sooner."""

        async def delete(case_id: str) -> None:
            execution = WorkflowExecution(workflow_id=case_id)
            await self.client.workflow_service.delete_workflow_execution(
                DeleteWorkflowExecutionRequest(
                    namespace=self.client.namespace, workflow_execution=execution
                )
            )
            await until(partial(self._gone, case_id))

        await asyncio.gather(*(delete(case_id) for case_id in case_ids))

    async def _gone(self, case_id: str) -> bool:
        try:
            await self.handle(case_id).describe()
        except RPCError as error:
            return error.status == RPCStatusCode.NOT_FOUND
        return False


@pytest.fixture
async def office(
    database: Database, temporal: Client, policy: str, task_queue: str
) -> AsyncIterator[Office]:
    skipper = TimeSkipper(temporal, config=TimeSkippingConfig(enabled=False))
    name = f"town-{uuid4().hex[:8]}"
    async with await open_pool(database.url()) as pool:
        yield Office(skipper.client, skipper, pool, policy, task_queue, name, database.admin_url)


@pytest.fixture
async def forgetful(office: Office) -> AsyncIterator[Office]:
    """On a server of its own, on which to delete a run takes seconds, not half a minute."""
    soon = (
        "history.transferProcessorUpdateAckInterval",
        "history.visibilityProcessorUpdateAckInterval",
    )
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).parent / "temporal"),
        dev_server_log_level="error",
        dev_server_extra_args=[
            word for name in soon for word in ("--dynamic-config-value", f'{name}="100ms"')
        ],
        data_converter=pydantic_data_converter,
        search_attributes=[SearchAttributeKey.for_keyword(name) for name in SEARCH_ATTRIBUTES],
    ) as server:
        yield replace(office, client=server.client)


def history_in(row: asyncpg.Record) -> History:
    return History.FromString(gzip.decompress(row["content"]))


async def test_the_history_of_a_case_that_ended_is_kept_as_temporal_gave_it(office: Office) -> None:
    async with office.archived():
        case_id = await office.ended()
        (row,) = await office.kept(case_id)
        (entry,) = await office.entries()
        await office.idle()
    described = await office.handle(case_id).describe()
    given = History(events=(await office.handle(case_id).fetch_history()).events)
    content = given.SerializeToString(deterministic=True)
    assert gzip.decompress(row["content"]) == content
    assert row["sha256"] == sha256(content).digest()
    assert (row["run_id"], row["closed_at"]) == (described.run_id, described.close_time)
    case = await office.log.case(office.organisation, case_id)
    assert case is not None
    assert row["version"] == case.version
    assert row["register"] == register_id(office.organisation, datetime.now(UTC))
    assert entry.command_id == f"archive/{described.run_id}"
    assert entry.actor.role == "system"
    told = {name: value for name, value in entry.body.items() if name != "at"}
    assert told == {
        "type": "HistoryArchived",
        "schema_version": 1,
        "case": case_id,
        "run": described.run_id,
        "sha256": row["sha256"].hex(),
        "bytes": len(content),
        "events": len(given.events),
        "build_id": build_id(),
        "sdk": makers(given.events).sdk,
        "lock": lock_hash(),
        "original": True,
    }
    assert [row[name] for name in ("events", "build_id", "sdk", "lock", "original")] == [
        told[name] for name in ("events", "build_id", "sdk", "lock", "original")
    ]
    assert b"party-1" in content


async def test_many_that_end_together_are_entered_together(office: Office) -> None:
    async with office.worker():
        ended = [await office.ended() for _ in range(16)]
    async with office.archived():
        for case_id in ended:
            await office.kept(case_id)
        entries = await office.entries()
    assert sorted(entry.body["case"] for entry in entries) == sorted(ended)
    appends = {entry.recorded_at for entry in entries}
    assert len(appends) <= 8


async def test_each_end_of_a_case_that_was_taken_up_again_is_archived(office: Office) -> None:
    async with office.archived():
        untouched = await office.opened()
        case_id = await office.ended()
        first = await office.handle(case_id).describe()
        await office.kept(case_id)
        reopened = office.command("ReopenCase", reason="leaks")
        await office.cases.send(case_id, reopened)
        await office.cases.send(case_id, office.command("CancelRepair", reason="mistake"))
        await office.handle(case_id).result()
        rows = await office.kept(case_id, 2)
        assert await office.rows(untouched) == []
    second = await office.handle(case_id).describe()
    assert [row["run_id"] for row in rows] == [first.run_id, second.run_id]
    assert rows[1]["version"] > rows[0]["version"] > 0


async def test_a_run_that_an_operator_reset_is_archived_while_its_case_goes_on(
    office: Office, policy: str
) -> None:
    async with office.archived():
        case_id = await office.opened()
        first = await office.handle(case_id).describe()
        desk = Desk(office.client, office.log, policy, office.task_queue)
        await desk.reset(case_id, 0, reapply=True)
        (row,) = await office.kept(case_id)
        assert (row["run_id"], row["original"]) == (first.run_id, True)
        assert (await office.handle(case_id).describe()).close_time is None


@pytest.mark.parametrize("listed", [True, False])
async def test_a_run_that_went_on_as_a_new_one_is_archived(
    office: Office, listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its case is open, as Temporal lists it; or with the run that it went on in."""

    def once(case: CaseWorkflow) -> bool:
        return not workflow.info().continued_run_id

    async def nothing_listed(archiver: Archiver) -> None:
        pass

    monkeypatch.setattr(CaseWorkflow, "_may_continue_as_new", once)
    if not listed:
        monkeypatch.setattr(Archiver, "_sweep", nothing_listed)
    async with office.archived(runner=UnsandboxedWorkflowRunner()):
        case_id = await office.opened()
        if listed:
            (first,) = await office.kept(case_id)
        await office.cases.send(case_id, office.command("CancelRepair", reason="mistake"))
        await office.handle(case_id).result()
        rows = {row["run_id"]: row for row in await office.kept(case_id, 2)}
    last = await office.handle(case_id).describe()
    first = rows[last.raw_description.workflow_execution_info.first_run_id]
    assert {first["run_id"], last.run_id} == rows.keys()
    ending = history_in(first).events[-1].event_type
    assert ending == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW


async def test_whoever_dies_between_log_and_archive_enters_nothing_twice(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where the next month has begun when another goes on."""
    keep, died = Histories.keep, False

    async def dies_first(histories: Histories, *given: Any, **more: Any) -> bool:
        nonlocal died
        if not died:
            died = True
            raise DatabaseUnavailable
        return await keep(histories, *given, **more)

    def register(organisation: str, at: datetime, volume: int = 1) -> str:
        return register_id(organisation, at + timedelta(days=32 * died), volume)

    monkeypatch.setattr(Histories, "keep", dies_first)
    monkeypatch.setattr("activities.archive.register_id", register)
    async with office.archived():
        case_id = await office.ended()
        (row,) = await office.kept(case_id)
    now = datetime.now(UTC)
    registers = [register_id(office.organisation, at) for at in (now, now + timedelta(days=32))]
    (entry,) = await office.entries(*registers)
    assert entry.stream == row["register"] == registers[0]
    assert entry.body["sha256"] == row["sha256"].hex()


async def test_archivers_that_work_side_by_side_enter_nothing_twice(office: Office) -> None:
    async with office.worker():
        ended = [await office.ended() for _ in range(8)]
        argument = Archiving(organisation=office.organisation).model_dump(mode="json")
        both = [
            await office.client.start_workflow(
                "ArchiverWorkflow",
                argument,
                id=f"{archiver_id(office.organisation)}-{number}",
                task_queue=office.task_queue,
            )
            for number in range(2)
        ]
        for case_id in ended:
            await office.kept(case_id)
        for one in both:
            await one.terminate()
    entries = await office.entries()
    assert sorted(entry.body["case"] for entry in entries) == sorted(ended)
    assert len(await office.rows()) == len(ended)


async def test_what_the_server_has_deleted_is_made_again_from_the_log_unless_it_is_archived(
    forgetful: Office,
) -> None:
    office = forgetful
    async with office.worker():
        case_id = await office.ended()
    async with office.archived():
        (first,) = await office.kept(case_id)
    async with office.worker():
        lost_id = await office.ended()
        lost = await office.handle(lost_id).describe()
    await office.deleted(case_id, lost_id)
    # As where the archiver's own notes are lost, too: all of the log is read again.
    async with as_owner(office.admin_url) as owner:
        await owner.execute("DELETE FROM archivers")
    async with office.archived():
        (row,) = await office.kept(lost_id)
        await office.idle()
    assert await office.rows(case_id) == [first]
    entries = {entry.body["case"]: entry.body for entry in await office.entries()}
    assert {case: body["original"] for case, body in entries.items()} == {
        case_id: True,
        lost_id: False,
    }
    assert not row["original"]
    assert row["run_id"] != lost.run_id
    history = history_in(row)
    replayer = Replayer(workflows=WORKFLOWS, data_converter=pydantic_data_converter)
    await replayer.replay_workflow(WorkflowHistory(lost_id, list(history.events)))
    learned = [
        json.loads(payload.data)["events"]
        for event in history.events
        for payload in event.marker_recorded_event_attributes.details["result"].payloads
    ]
    events = await office.log.read_stream(office.organisation, lost_id)
    assert learned == [[event.body for event in events]]


async def test_a_full_register_closes_and_is_archived_in_the_next(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "ROOM", 3)
    now = datetime.now(UTC)
    first, second = (register_id(office.organisation, now, volume) for volume in (1, 2))
    async with office.archived():
        for _ in range(3):
            await office.kept(await office.ended())
        (row,) = await office.kept(first)
    assert row["register"] == second
    case = await office.log.case(office.organisation, first)
    assert case is not None
    assert (case.stage, case.final) == ("Closed", True)
    assert await office.log.worklist(office.organisation) == []


async def test_a_history_that_cannot_be_archived_holds_up_no_other(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archiver._archive  # pyright: ignore[reportPrivateUsage]
    stuck: set[str] = set()

    async def fails(archiver: Archiver, run: Any) -> None:
        if run.stream in stuck:
            raise ValueError("no")
        await archive(archiver, run)

    monkeypatch.setattr(Archiver, "_archive", fails)
    async with office.worker():
        stuck.add(await office.ended())
        other = await office.ended()
    async with office.archived():
        await office.kept(other)
        await office.idle(*stuck)
        (case_id,) = stuck
        stuck.clear()
        await office.kept(case_id)


async def test_an_archiver_goes_on_for_as_many_stretches_as_it_takes(office: Office) -> None:
    async with office.archived(office.archiver(HASTY.model_copy(update={"stretch": 0.2}))):
        case_id = await office.ended()
        await office.kept(case_id)
        handle = office.handle(archiver_id(office.organisation))

        async def stretches() -> bool:
            history = await handle.fetch_history()
            done = EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
            return sum(event.event_type == done for event in history.events) > 2

        await until(stretches)
