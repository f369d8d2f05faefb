"""The half-yearly assessments on real servers: counted from the log as it was, opened once."""

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import rfc8785
from temporalio.client import ScheduleBackfill, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from activities.cases import Cases
from activities.log_reader import LogReader
from gateway.policies import content_of
from gateway.schedules import assess_now, assessment_schedule, ensure_schedules
from gateway.terminal.assessments import progress_of
from lifecycles import assessment_runs as runs
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import lifecycle_of, plan
from lifecycles.policies import pinned
from schemas.assessment import Assessed, AssessmentState, Stage, assessment_id
from schemas.envelope import AppendRequest, Json
from tests.workflows.conftest import POLICIES
from tests.workflows.desk import ORGANISATION, OWED, Desk, until

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
WATER = content_of("water", POLICIES)
CALENDAR = pinned(WATER).policy.calendar
HALF = runs.half_year_before(CALENDAR, datetime.now(UTC) - 10 * DAY)
"""The last half-year that every run may count by now."""
END = HALF.ended


@pytest.fixture
def policy() -> str:
    return WATER


@dataclass
class Account:
    """An arrears case as the log has it: each command was told, and decided, when we say."""

    desk: Desk
    reader: str | None
    case_id: str = ""
    version: int = 0
    state: Any = None

    async def open(self, at: datetime, told: datetime | None = None, **body: Any) -> "Account":
        self.case_id = self.case_id or self.desk.name("arrears")
        self.state = self.desk.unborn(self.case_id)
        about = {"reader": self.reader, **body}
        await self.tell(self.desk.overdue(at, **about), told or at)
        return self

    async def tell(self, command: Json, told: datetime) -> "Account":
        lifecycle = lifecycle_of(self.case_id)
        sent = lifecycle.command(command)
        made = plan(lifecycle, self.state, self.version, [sent], told)
        assert not made.refused, made.refused
        result = await self.desk.log.append_events(
            AppendRequest(
                organisation=ORGANISATION,
                stream=self.case_id,
                expected_version=self.version,
                policy=None if self.version else self.desk.policy,
                decisions=tuple(step.decision() for step in made.steps),
                summary=lifecycle.summary(made.state),
            )
        )
        assert result.status == "appended"
        self.state, self.version = made.state, made.version
        return self

    async def paid(self, at: datetime, told: datetime, amount: int = OWED) -> "Account":
        """Money came in at an instant, of which the case heard later."""
        facts = {"payment": f"pay-{next(self.desk.numbers)}", "amount": amount, "currency": "CNY"}
        command = self.desk.command("RecordPayment", at=told, paid_at=at.isoformat(), **facts)
        return await self.tell(command, told)

    async def moved(self, at: datetime, told: datetime) -> "Account":
        facts = {"moved_at": at.isoformat(), "evidence": "letter-1"}
        return await self.tell(self.desk.command("RecordMoveOut", at=at, **facts), told)


async def owing(desk: Desk, reader: str | None, **body: Any) -> Account:
    """An account that has been overdue since a month before the half-year's end."""
    return await Account(desk, reader).open(END - 30 * DAY, **body)


async def run(desk: Desk, **options: Any) -> Assessed:
    handle = await assess_now(
        desk.client, ORGANISATION, desk.policy, desk.task_queue, HALF.name, **options
    )
    return await handle.result()


async def counted(log: LogReader) -> dict[str, tuple[str, ...]]:
    """Whom a run would assess on which accounts, by the log alone."""
    found: list[runs.Overdue] = []
    streams = log.arrears_then(ORGANISATION, runs.TELLING, END, HALF.counted)
    async for events in streams:
        one = runs.overdue(events, END, HALF.counted, 5000)
        found += [one] if one else []
    return {r.reader: r.cases for r in runs.by_reader(found).rounds}


def named(desk: Desk, number: int) -> str:
    """A reader of this test alone: the tests share one Temporal server."""
    return f"E-{desk.names}-{number}"


def case_of(desk: Desk, number: int) -> str:
    return assessment_id(ORGANISATION, named(desk, number), HALF.name)


async def state_of(desk: Desk, number: int) -> AssessmentState:
    return await desk.verified(case_of(desk, number))


async def test_what_was_overdue_when_the_half_year_ended_is_counted_however_late(
    desk: Desk,
) -> None:
    one, two = named(desk, 1), named(desk, 2)
    still = await owing(desk, one)
    in_part = await (await owing(desk, one.lower())).paid(END - DAY, END - DAY, 1000)
    just_after = await (await owing(desk, one)).paid(END + MINUTE, END + 2 * MINUTE)
    told_too_late = await (await owing(desk, one)).paid(END - DAY, HALF.counted + MINUTE)
    await (await owing(desk, one)).paid(END - MINUTE, END + DAY)  # in time, booked later
    await (await owing(desk, one)).paid(END - DAY, END - DAY, OWED - 4999)  # below the threshold
    await Account(desk, one).open(END + MINUTE)  # overdue in the next half-year
    await Account(desk, one).open(END - DAY, told=HALF.counted)  # told too late
    await (await owing(desk, two)).moved(END - DAY, END - DAY)
    moved_later = await (await owing(desk, two)).moved(END - DAY, HALF.counted + DAY)
    nobodys = await owing(desk, None)
    # One account twice: its first case ended only afterwards, and the second was backdated.
    first = await owing(desk, two, account="A-twice")
    await first.moved(END + DAY, END + DAY)
    second = await Account(desk, two).open(END - DAY, told=END + 2 * DAY, account="A-twice")

    expected = {
        one: tuple(sorted(a.case_id for a in (still, in_part, just_after, told_too_late))),
        two: tuple(sorted([moved_later.case_id, second.case_id])),
    }
    assert await counted(desk.log) == expected
    done = await run(desk)
    assert (done.half_year, done.ended, done.known_until) == HALF
    assert (done.accounts, done.without_reader, done.readers) == (7, 1, 2)
    assert (done.opened, done.stood, done.refused) == (2, 0, ())
    for number in (1, 2):
        state = await state_of(desk, number)
        assert state.stage == Stage.OPEN
        assert state.accounts == expected[named(desk, number)]

    # Half a year later everybody has paid, and new accounts are overdue: it counts the same.
    now = datetime.now(UTC)
    for account in (still, in_part, nobodys):
        await account.paid(END - DAY, now)
    await Account(desk, one).open(now - DAY)
    assert await counted(desk.log) == expected
    again = await run(desk)
    assert again == done.model_copy(update={"opened": 0, "stood": 2})
    assert await desk.types(case_of(desk, 1)) == ["AssessmentOpened"]


async def test_a_history_that_was_imported_later_is_counted_when_that_is_asked_for(
    desk: Desk,
) -> None:
    await Account(desk, named(desk, 1)).open(END - DAY, told=HALF.counted + DAY)
    assert (await run(desk)).accounts == 0
    known = await run(desk, known_until=HALF.counted + 2 * DAY)
    assert (known.accounts, known.opened) == (1, 1)
    assert (await state_of(desk, 1)).known_until == HALF.counted + 2 * DAY
    with pytest.raises(WorkflowFailureError) as failed:
        await run(desk, known_until=datetime.now(UTC) + DAY)
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == "InvalidRun"


async def test_an_exclusion_by_two_people_is_not_counted_and_the_deadline_settles_it(
    desk: Desk,
) -> None:
    accounts = [await owing(desk, named(desk, 1)) for _ in range(3)]
    assert (await run(desk)).opened == 1
    case_id = case_of(desk, 1)
    why: dict[str, Any] = {"ground": "vacant", "evidence": "photo/1"}
    ids = [a.case_id for a in accounts]
    await desk.send(case_id, "RequestExclusion", accounts=ids[:1], **why)
    await desk.decide(case_id, by="station_head")
    with pytest.raises(Rejected):
        await desk.decide(case_id, by="division_head", who="station_head-1")
    await desk.decide(case_id, by="division_head")
    mine: dict[str, Any] = {"by": "reader", "who": named(desk, 1)}
    await desk.send(case_id, "RequestExclusion", accounts=ids[1:2], **why, **mine)
    (row,) = await desk.log.approvals(ORGANISATION, role="station_head")
    assert (row.case_id, row.kind, row.case_kind) == (case_id, "confirmation", "assessment")
    await desk.decide(case_id, by="station_head")
    state = await state_of(desk, 1)
    assert [a.state for a in state.approvals] == ["approved", "approved", "approved", "requested"]
    await desk.send(
        case_id, "WithdrawApproval", **mine, approval=state.approvals[-1].id, reason="mistake"
    )
    (line,) = await desk.log.assessments(ORGANISATION, half_year=HALF.name)
    assert (line.accounts, line.excluded, line.counted, line.amount) == (3, 1, 2, 400)
    await desk.later(case_id, 11 * DAY)
    assert await desk.handle(case_id).result() == "Closed"
    state = await state_of(desk, 1)
    assert state.settled is not None
    assert (state.settled.counted, state.settled.excluded, state.settled.amount) == (2, 1, 400)
    assert state.closed_at == state.objections_until
    (line,) = await desk.log.assessments(ORGANISATION)
    assert (line.stage, line.closed_at) == ("Closed", state.closed_at)
    payroll = [r.message for r in await desk.log.outbox(ORGANISATION, stream=case_id)]
    assert [m.params["amount"] for m in payroll if m.recipient == "water-payroll"] == [400]


async def test_a_run_with_many_readers_is_short_in_its_history_and_done_once(desk: Desk) -> None:
    numbers = range(1, 31)
    await asyncio.gather(*(owing(desk, named(desk, n)) for n in numbers))
    handles = [
        await assess_now(desk.client, ORGANISATION, desk.policy, desk.task_queue, HALF.name)
        for _ in range(2)
    ]
    both = await asyncio.gather(*(h.result() for h in handles))
    assert [done.readers for done in both] == [30, 30]
    assert all(done.opened + done.stood == 30 and not done.refused for done in both)
    for n in numbers:
        assert await desk.types(case_of(desk, n)) == ["AssessmentOpened"]
    for handle in handles:
        assert len((await handle.fetch_history()).events) < 20


async def test_how_far_a_run_has_come_can_be_seen_meanwhile(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.gather(*(owing(desk, named(desk, n)) for n in (1, 2)))
    go_on = asyncio.Event()
    real = Cases.open

    async def slowly(cases: Cases, case_id: str, *rest: Any) -> Any:
        if case_id == case_of(desk, 2):
            await go_on.wait()
        return await real(cases, case_id, *rest)

    monkeypatch.setattr(Cases, "open", slowly)
    handle = await assess_now(desk.client, ORGANISATION, desk.policy, desk.task_queue, HALF.name)

    async def halfway() -> bool:
        return await progress_of(desk.client, handle) == (1, 2)

    await until(halfway, 90)
    go_on.set()
    assert (await handle.result()).opened == 2
    assert await progress_of(desk.client, handle) is None


async def test_what_cannot_be_opened_is_told_and_stops_nobody_else(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.gather(*(owing(desk, named(desk, n)) for n in (1, 1, 2)))
    real = runs.opening

    def too_many(of: Any, found: runs.Round) -> Any:
        if len(found.cases) > 1:
            found = found._replace(cases=found.cases * 6000)
        return real(of, found)

    monkeypatch.setattr(runs, "opening", too_many)
    done = await run(desk)
    assert (done.opened, [u.reader for u in done.refused]) == (1, [named(desk, 1)])
    assert "10000" in done.refused[0].reasons[0]
    monkeypatch.undo()
    assert (await run(desk)).opened == 1


async def test_the_schedule_counts_the_half_year_that_it_was_meant_for(desk: Desk) -> None:
    content = json.loads(desk.policy) | {"satisfaction": None}
    desk = replace(desk, policy=rfc8785.dumps(content).decode())
    await owing(desk, named(desk, 1))
    id = assessment_schedule(ORGANISATION)
    handle = desk.client.get_schedule_handle(id)
    try:
        where = (desk.client, ORGANISATION, desk.policy, desk.task_queue)
        assert await ensure_schedules(*where) == {id: "created"}
        assert await ensure_schedules(*where) == {id: "unchanged"}
        described = await handle.describe()
        assert described.schedule.spec.time_zone_name == "Asia/Shanghai"
        six = HALF.counted + timedelta(hours=6)
        await handle.backfill(ScheduleBackfill(start_at=six - DAY, end_at=six + DAY))

        async def settled() -> bool:
            return await desk.log.case(ORGANISATION, case_of(desk, 1)) is not None

        await until(settled)
        assert (await state_of(desk, 1)).half_year == HALF.name
        assert len((await handle.describe()).info.recent_actions) == 1
    finally:
        await handle.delete()


@pytest.mark.parametrize(
    "argument",
    [None, [], {"organisation": "town"}, {"organisation": "town", "policy": "{}"}, "gas"],
)
async def test_a_run_that_cannot_be_read_fails_and_says_why(desk: Desk, argument: Any) -> None:
    if argument == "gas":
        argument = {"organisation": ORGANISATION, "policy": content_of("gas", POLICIES)}
    with pytest.raises(WorkflowFailureError) as failed:
        await desk.client.execute_workflow(
            "AssessmentRunWorkflow",
            argument,
            id=f"run-{desk.names}",
            task_queue=desk.task_queue,
        )
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == "InvalidRun"
