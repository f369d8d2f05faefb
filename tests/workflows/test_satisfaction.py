"""The satisfaction register on real servers: figures of lived cases, schedules, a worker that dies.

Each test has a register of its own, because the tests share one Temporal server.
"""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from temporalio.client import ScheduleBackfill, ScheduleOverlapPolicy, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from gateway.schedules import ensure_schedules, report_now, schedule_id
from lifecycles import satisfaction_reports as reports
from lifecycles.lifecycle import lifecycle_of
from lifecycles.policies import pinned
from lifecycles.satisfaction_checks import quarter_of
from schemas.envelope import AppendRequest, Json
from schemas.satisfaction import (
    ComplaintCounts,
    Entered,
    Measured,
    SatisfactionState,
    Stage,
    What,
)
from tests.conftest import Database
from tests.workflows.desk import ORGANISATION, Desk, until
from tests.workflows.mortal_worker import When, mortal

HOUR = timedelta(hours=1)
FIRST = ("RegisterOpened", "MonthReported", "ComplaintsCollated")
"""What a first month's report causes, checks apart."""
Called = Sequence[tuple[str, str]]
"""District and result of each customer who was called."""


def register_of(desk: Desk) -> str:
    return f"satisfaction-{desk.names}"


def before(desk: Desk, what: What, at: datetime | None = None) -> reports.Period:
    calendar = pinned(desk.policy).policy.calendar
    return reports.period_before(what, calendar, at or datetime.now(UTC))


async def report(desk: Desk, what: What, at: datetime | None = None) -> Entered:
    return await report_now(
        desk.client,
        ORGANISATION,
        desk.policy,
        desk.task_queue,
        what,
        at=at,
        register_id=register_of(desk),
    )


async def called(desk: Desk, at: datetime, *calls: tuple[str, str]) -> None:
    """Repairs that happened then, told of now, and what their customers said when called."""

    async def one(district: str, result: str) -> None:
        case_id = await desk.opened(at=at, district=district)
        steps: list[tuple[int, str, dict[str, Any]]] = [
            (1, "TriageRepair", {"category": "no-gas", "severity": "common"}),
            (2, "DispatchCrew", {"crew": "k-1"}),
            (3, "RecordArrival", {"crew": "k-1"}),
            (4, "CompleteRepair", {"work": ["valve"]}),
        ]
        for hours, kind, body in steps:
            await desk.send(case_id, kind, at=at + hours * HOUR, **body)
        for attempt in range(3 if result == "unreachable" else 1):
            await desk.send(
                case_id,
                "RecordCallback",
                at=at + (5 + attempt) * HOUR,
                party="party-1",
                consent=result not in ("no_consent", "unreachable"),
                result=result,
            )

    await asyncio.gather(*(one(*call) for call in calls))


def counts(departments: Sequence[Measured]) -> dict[str, tuple[int, int, int, int | None]]:
    return {m.department: (m.asked, m.answered, m.satisfied, m.rate) for m in departments}


async def state_of(desk: Desk) -> SatisfactionState:
    return await desk.verified(register_of(desk))


def with_policy(desk: Desk, **satisfaction: Any) -> Desk:
    content = json.loads(desk.policy)
    content["satisfaction"] |= satisfaction
    desk.policy = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return desk


def without_checks(desk: Desk) -> Desk:
    """What is due for a month depends on the day on which a test runs."""
    (improve, *_) = json.loads(desk.policy)["satisfaction"]["commitments"]
    return with_policy(desk, commitments=[improve])


async def test_a_month_of_lived_repairs_is_reported_as_counted_by_hand(desk: Desk) -> None:
    desk = without_checks(desk)
    month = before(desk, "month")
    middle = month.since + 14 * 24 * HOUR
    await called(
        desk,
        middle,
        *[("north", "satisfied")] * 3,
        ("north", "not_satisfied"),
        ("north", "no_consent"),
        ("south", "unreachable"),
        ("south", "satisfied"),
    )
    # Neither of them was called within the month.
    await called(desk, month.since - 6 * HOUR, ("north", "not_satisfied"))
    await called(desk, month.until - 5 * HOUR, ("north", "not_satisfied"))

    entered = await report(desk, "month")
    assert (entered.accepted, entered.events) == (True, FIRST)
    state = await state_of(desk)
    assert state.stage == Stage.AT_REST
    (reported,) = state.months
    assert reported.month == f"{month.first:%Y-%m}"
    assert counts(reported.departments) == {
        "field-north": (5, 4, 3, 7500),
        "field-south": (2, 1, 1, 10_000),
    }
    north, south = reported.departments
    assert (north.low, north.high, north.on_target) == (3006, 9544, False)
    assert (south.low, south.high, south.on_target) == (2065, 10_000, True)

    again = await report(desk, "month")
    assert (again.accepted, again.events) == (True, ())
    assert len((await state_of(desk)).months) == 1

    # A call that is told of late changes the month's figures, and so they are reported anew.
    await called(desk, middle, ("south", "not_satisfied"))
    assert (await report(desk, "month")).events == ("MonthReported",)
    (reported,) = (await state_of(desk)).months
    assert counts(reported.departments)["field-south"] == (3, 2, 1, 5000)


async def answered(desk: Desk, case_id: str, at: datetime, outcome: str = "upheld") -> None:
    """By the department, from the screening to the answer."""
    steps: list[tuple[str, dict[str, Any]]] = [
        ("ScreenComplaint", {"category": "late", "gravity": "light"}),
        ("HandOverComplaint", {"department": "field-service"}),
        ("AcknowledgeComplaint", {}),
        ("StartInvestigation", {}),
        ("AnswerComplaint", {"outcome": outcome, "answer": "letter-1", "reason": "no_ground"}),
    ]
    for kind, body in steps:
        await desk.send(case_id, kind, at=at, **body)


async def test_a_month_of_lived_complaints_is_collated_as_counted_by_hand(desk: Desk) -> None:
    desk = without_checks(desk)
    month = before(desk, "month")
    middle = month.since + 14 * 24 * HOUR
    # What other tests left in the same log is not ours.
    others = {(c.category, c.department): c for c in await complaints_in(desk, month)}

    quick = await desk.registered(at=middle)
    await answered(desk, quick, middle + 40 * HOUR)
    slow = await desk.registered(at=middle)
    await answered(desk, slow, middle + 60 * HOUR, "not_upheld")
    await desk.send(slow, "AppealComplaint", at=middle + 70 * HOUR, ground="no", evidence="l-2")
    overturned = {"outcome": "upheld", "reason": "wrong", "answer": "letter-3"}
    await desk.send(
        slow, "OverturnDecision", by="division_head", at=middle + 80 * HOUR, **overturned
    )
    await desk.registered(at=month.until - HOUR, category="bill")
    earlier = await desk.registered(at=month.since - 24 * HOUR)
    await answered(desk, earlier, month.since + HOUR, "partly_upheld")
    withdrawn = await desk.registered(at=middle, category="supply")
    await desk.send(withdrawn, "WithdrawComplaint", at=middle + HOUR, reason="settled")
    # After the month: only that it was registered before counts.
    later = await desk.registered(at=month.until - HOUR)
    await answered(desk, later, month.until + HOUR)

    entered = await report(desk, "month")
    assert (entered.accepted, entered.events) == (True, FIRST)
    (collated,) = (await state_of(desk)).collated
    assert collated.month == f"{month.first:%Y-%m}"
    assert {
        (c.category, c.department): more
        for c in collated.complaints
        if (more := more_than(others.get((c.category, c.department)), c))
    } == {
        ("bill", None): {"registered": 1, "open": 1},
        ("late", "field-service"): {
            "registered": 2,
            "in_time": 2,
            "late": 1,
            "upheld": 1,
            "partly_upheld": 1,
            "not_upheld": 1,
            "appealed": 1,
            "overturned": 1,
        },
        ("late", None): {"registered": 1, "open": 1},
        ("supply", None): {"registered": 1},
    }
    said = await desk.log.outbox(ORGANISATION, stream=register_of(desk))
    told = {row.message.recipient: row.message for row in said}
    assert told["division_head"].template == "complaints_collated"
    assert told["field-service"].template == "complaints_fed_back"
    assert told["division_head"].params["registered"] == sum(
        c.registered for c in collated.complaints
    )


async def complaints_in(desk: Desk, month: reports.Period) -> list[ComplaintCounts]:
    return await desk.log.complaints(ORGANISATION, month.since, month.until)


def more_than(before: ComplaintCounts | None, after: ComplaintCounts) -> dict[str, int]:
    """By how much the counts have grown."""
    known = before.model_dump() if before else {}
    grown = {
        name: n - known.get(name, 0) for name, n in after.model_dump().items() if type(n) is int
    }
    return {name: n for name, n in grown.items() if n}


async def test_a_months_checks_are_due_until_they_are_on_record(desk: Desk) -> None:
    content = json.loads(desk.policy)
    content["complaint"]["departments"] = ["field-north"]
    content["complaint"]["categories"] = {"late": {}}
    content["repair"]["intake_unit"] = "field-south"
    improve, own, companys = content["satisfaction"]["commitments"]
    lasting = [{**own, "duration": "P40D"}, {**companys, "duration": "P50D"}]
    content["satisfaction"] |= {
        "departments": {"north": "field-north", "south": "field-south"},
        "commitments": [improve, *lasting],
    }
    desk.policy = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    month = before(desk, "month")
    name, quarter = f"{month.first:%Y-%m}", quarter_of(f"{month.first:%Y-%m}")

    entered = await report(desk, "month")
    assert entered.events[:3] == FIRST
    state = await state_of(desk)
    assert state.stage == Stage.AWAITING
    (drawn,) = [b for b in await desk.bodies(register_of(desk)) if b["type"] == "CheckDrawn"]
    both = ("field-north", "field-south")
    assert drawn["drawn"] == min(
        both, key=lambda d: sha256(f"{drawn['seed']}/{d}".encode()).hexdigest()
    )
    expected = [("self", d, name) for d in both]
    expected += [("company", d, quarter) for d in both if quarter]
    expected.append(("company", drawn["drawn"], name))
    assert [(c.kind, c.department, c.period) for c in state.checks] == expected
    assert (await report(desk, "month")).events == ()  # with another seed

    # A department forgets, and is told of upwards; then all of it is done.
    await desk.later(register_of(desk), timedelta(days=45))
    types = await desk.types(register_of(desk))
    assert types.count("CommitmentBroken") >= 2
    for check in state.checks:
        record = desk.command("RecordCheck", by="clerk" if check.kind == "self" else "admin")
        record["body"] |= check.model_dump(include={"department", "kind", "period"})
        record["body"]["evidence"] = "minutes/1"
        await desk.cases.send(register_of(desk), record)
    assert await desk.handle(register_of(desk)).result() == "AtRest"
    assert (await desk.types(register_of(desk))).count("CheckRecorded") == len(expected)
    await state_of(desk)


async def test_a_days_sample_is_drawn_once_and_can_be_drawn_again_by_anybody(desk: Desk) -> None:
    day = before(desk, "sample")
    population = sorted([await repaired(desk, day.since + n * HOUR) for n in range(12)])
    await repaired(desk, day.since - 12 * HOUR)
    await repaired(desk, day.until - HOUR / 2)

    entered = await report(desk, "sample")
    assert entered.accepted, entered.reasons
    second = await report(desk, "sample")  # with another seed
    assert not second.accepted
    assert "that stands" in second.reasons[0]

    state = await state_of(desk)
    drawn = state.sample
    assert drawn is not None
    assert (drawn.since, drawn.until, drawn.population) == (day.since, day.until, 12)
    order = sorted(population, key=lambda c: sha256(f"{drawn.seed}/{c}".encode()).digest())
    assert drawn.drawn == tuple(order[:2])  # 10 % of 12, rounded up
    said = await desk.log.outbox(ORGANISATION, stream=register_of(desk))
    assert [row.message.params["call"] for row in said] == list(drawn.drawn)
    assert (await desk.types(register_of(desk))).count("SampleDrawn") == 1


async def repaired(desk: Desk, at: datetime) -> str:
    """A repair that was reported and done at that time, and was decided then too."""
    case_id = desk.name()
    story = [
        desk.report(at=at),
        desk.command("TriageRepair", at=at, category="no-gas", severity="common"),
        desk.command("DispatchCrew", at=at, crew="k-1"),
        desk.command("RecordArrival", at=at, crew="k-1"),
        desk.command("CompleteRepair", at=at + HOUR, work=["valve"]),
    ]
    made = desk.planned(case_id, story, at + HOUR)
    assert not made.refused
    await desk.log.append_events(
        AppendRequest(
            organisation=ORGANISATION,
            stream=case_id,
            expected_version=0,
            policy=desk.policy,
            decisions=tuple(step.decision() for step in made.steps),
            summary=lifecycle_of(case_id).summary(made.state),
        )
    )
    return case_id


async def test_lowest_twice_running_a_head_goes_and_the_register_rests_again(desk: Desk) -> None:
    desk = with_policy(without_checks(desk), fewest=1)
    last = before(desk, "year")
    earlier = before(desk, "year", last.since)
    for year in (earlier, last):
        await called(
            desk,
            year.since + 100 * 24 * HOUR,
            ("north", "not_satisfied"),
            ("north", "satisfied"),
            ("south", "satisfied"),
        )
    assert (await report(desk, "year", last.since + HOUR)).accepted
    register = register_of(desk)
    assert (await report(desk, "year")).events[:3] == (
        "YearRanked",
        "YellowCardGiven",
        "CommitmentStarted",
    )
    state = await state_of(desk)
    assert [r.department for r in state.removals] == ["field-north"]
    assert [c.year for c in state.cards] == [earlier.first.year, last.first.year]
    assert state.stage == Stage.AWAITING

    (asked,) = state.approvals
    await desk.send(
        register,
        "DecideApproval",
        by="division_head",
        approval=asked.id,
        decision="approve",
        facts_hash=asked.facts_hash,
    )
    await desk.send(
        register,
        "RecordImprovement",
        by="division_head",
        department="field-north",
        evidence="audit/1",
    )
    assert await desk.handle(register).result() == "AtRest"
    types = await desk.types(register)
    assert (types.count("HeadRemoved"), types.count("CommitmentKept")) == (1, 3)

    # Ended, it is taken up again from the log by whatever comes next.
    assert (await report(desk, "month")).events == FIRST[1:]
    assert (await state_of(desk)).stage == Stage.AT_REST


async def test_schedules_fire_catch_up_in_order_and_are_only_changed_when_they_must_be(
    desk: Desk,
) -> None:
    async def ensure(desk: Desk) -> list[str]:
        made = await ensure_schedules(
            desk.client, ORGANISATION, desk.policy, desk.task_queue, register_of(desk)
        )
        assert list(made) == [schedule_id(ORGANISATION, w) for w in ("sample", "month", "year")]
        return list(made.values())

    handles = [
        desk.client.get_schedule_handle(schedule_id(ORGANISATION, what))
        for what in ("sample", "month", "year")
    ]
    monthly = handles[1]
    try:
        assert await ensure(desk) == ["created"] * 3
        assert await ensure(desk) == ["unchanged"] * 3

        # As after an outage of months: each run reports the month that it was meant to report.
        last = before(desk, "month")
        second = before(desk, "month", last.since)
        third = before(desk, "month", second.since)
        fourth = before(desk, "month", third.since)
        await monthly.backfill(
            ScheduleBackfill(
                start_at=third.since,
                end_at=last.until,
                overlap=ScheduleOverlapPolicy.BUFFER_ALL,
            )
        )
        await until(lambda: runs_are(desk, monthly, 3))
        expected = [f"{month.first:%Y-%m}" for month in (fourth, third, second, last)]
        assert await months_of(desk) == expected[:3]

        await called(desk, last.since + 50 * HOUR, ("north", "satisfied"))
        for _ in range(2):
            await monthly.trigger(overlap=ScheduleOverlapPolicy.BUFFER_ALL)
        await until(lambda: runs_are(desk, monthly, 5))
        assert await months_of(desk) == expected
        state = await state_of(desk)
        assert counts(state.months[-1].departments) == {"field-north": (1, 1, 1, 10_000)}

        await monthly.pause(note="stock-taking")
        changed = with_policy(desk, sample=50)
        assert await ensure(changed) == ["updated"] * 3
        assert await ensure(changed) == ["unchanged"] * 3
        described = await monthly.describe()
        assert described.schedule.state.paused
        assert described.schedule.spec.time_zone_name == "Asia/Shanghai"
    finally:
        for handle in handles:
            await handle.delete()


async def months_of(desk: Desk) -> list[str]:
    """The months that the register reported, in their order."""
    bodies = await desk.bodies(register_of(desk))
    return [body["month"] for body in bodies if body["type"] == "MonthReported"]


async def runs_are(desk: Desk, schedule: Any, count: int) -> bool:
    info = (await schedule.describe()).info
    return info.num_actions == count and not info.running_actions


async def test_a_policy_without_satisfaction_has_no_schedules(idle_desk: Desk) -> None:
    content = json.loads(idle_desk.policy)
    content["satisfaction"] = None
    assert await ensure_schedules(idle_desk.client, "elsewhere", json.dumps(content), "none") == {}


@pytest.mark.parametrize(
    "argument", [{"organisation": "town"}, [], None, {"organisation": "town", "what": "week"}]
)
async def test_a_report_that_cannot_be_read_fails_and_says_why(desk: Desk, argument: Json) -> None:
    with pytest.raises(WorkflowFailureError) as failed:
        await desk.client.execute_workflow(
            "SatisfactionReportWorkflow",
            argument,
            id=f"report-{desk.names}",
            task_queue=desk.task_queue,
        )
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.type == "InvalidReport"


async def test_a_report_is_done_once_though_the_worker_dies_of_it(
    hasty_desk: Desk, database: Database
) -> None:
    async def one(when: When) -> None:
        name = f"{hasty_desk.names}-{when}"
        desk = without_checks(hasty_desk.called(name, task_queue=name))
        async with mortal(desk, database, 1, when) as process:
            reporting = asyncio.create_task(report(desk, "month"))
            async with asyncio.timeout(30):
                await process.here.wait()
        written = await desk.log.read_decisions(ORGANISATION, register_of(desk))
        assert len(written) == (when == "after")
        async with desk.worker(), asyncio.timeout(90):
            assert (await reporting).events == FIRST
            assert (await report(desk, "month")).events == ()
            assert await desk.types(register_of(desk)) == [*FIRST]
            await state_of(desk)

    await asyncio.gather(one("before"), one("after"))
