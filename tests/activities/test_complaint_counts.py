"""A month's complaints as they are counted from the log, by category and department (WIN-1.7)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from activities.event_log import EventLog
from activities.log_reader import _COMPLAINTS  # pyright: ignore[reportPrivateUsage]
from schemas.envelope import Json
from schemas.satisfaction import ComplaintCounts
from tests.activities.appends import ORGANISATION, decision, event, request, summary

MAY = datetime(2026, 4, 30, 16, 0, tzinfo=UTC)  # in Shanghai
JUNE = datetime(2026, 5, 31, 16, 0, tzinfo=UTC)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def it(name: str, at: datetime, **body: Any) -> Json:
    return event(name, at=f"{at:%Y-%m-%dT%H:%M:%SZ}", **body)


def registered(at: datetime, category: str = "late") -> Json:
    return it("ComplaintRegistered", at, category=category)


def handed(at: datetime, department: str = "counter") -> Json:
    return it("ComplaintHandedOver", at, department=department)


def answered(at: datetime, outcome: str = "upheld") -> Json:
    return it("ComplaintAnswered", at, outcome=outcome)


def late(at: datetime) -> Json:
    return it("CommitmentMetLate", at, commitment="answer")


async def told(
    log: EventLog, stream: str, *decisions: tuple[Json, ...], organisation: str = ORGANISATION
) -> None:
    made = [decision(f"c{n}", *events) for n, events in enumerate(decisions)]
    case = summary(kind="complaint")
    await log.append_events(request(stream, 0, *made, case=case, organisation=organisation))


async def counted(log: EventLog, since: datetime, until: datetime) -> dict[Any, dict[str, int]]:
    """What is not nothing, by category and department."""
    rows = await log.complaints(ORGANISATION, since, until)
    assert rows == sorted(rows, key=lambda c: (c.category, c.department or ""))
    return {
        (c.category, c.department): {
            name: n for name, n in c.model_dump().items() if isinstance(n, int) and n
        }
        for c in rows
    }


async def test_what_became_of_complaints_counts_in_the_month_in_which_it_did(
    log: EventLog,
) -> None:
    # Answered in time; in the month; appealed and overturned the month after.
    await told(
        log,
        "complaint-1",
        (registered(MAY),),
        (handed(MAY),),
        (answered(MAY + DAY), it("CommitmentKept", MAY + DAY, commitment="answer")),
        (it("ComplaintAppealed", JUNE + DAY),),
        (it("AppealDecided", JUNE + 2 * DAY, decision="overturned", outcome="not_upheld"),),
    )
    # Registered before, answered late within it, and confirmed.
    await told(
        log,
        "complaint-2",
        (registered(MAY - SECOND), handed(MAY - SECOND)),
        (answered(MAY + 5 * DAY, "not_upheld"), late(MAY + 5 * DAY)),
        (it("ComplaintAppealed", MAY + 6 * DAY),),
        (it("AppealDecided", MAY + 7 * DAY, decision="confirmed", outcome="not_upheld"),),
    )
    # Registered in its last second, answered after it.
    await told(log, "complaint-3", (registered(JUNE - SECOND),), (answered(JUNE, "partly_upheld"),))
    assert await counted(log, MAY, JUNE) == {
        ("late", None): {"registered": 1, "open": 1},
        ("late", "counter"): {
            "registered": 1,
            "in_time": 1,
            "late": 1,
            "upheld": 1,
            "not_upheld": 1,
            "appealed": 1,
        },
    }
    assert await counted(log, JUNE, JUNE + 30 * DAY) == {
        ("late", None): {"in_time": 1, "partly_upheld": 1},
        ("late", "counter"): {"appealed": 1, "overturned": 1},
    }
    assert await counted(log, MAY - DAY, MAY) == {("late", "counter"): {"registered": 1, "open": 1}}


async def test_whoever_waits_is_open_month_after_month_until_answered_or_ended(
    log: EventLog,
) -> None:
    old = MAY - 300 * DAY
    ends = ("ComplaintReferred", "ComplaintWithdrawn", "MergedAsRepeat", "ReferredExternal")
    for n, end in enumerate(ends):
        await told(log, f"complaint-{n}", (registered(old, "bill"),), (it(end, MAY + DAY),))
    await told(log, "complaint-forgotten", (registered(old, "attitude"),))
    # Answered, but not well enough; at the level above.
    await told(
        log,
        "complaint-redo",
        (registered(old, "reading"),),
        (answered(old + DAY),),
        (it("RedoOrdered", MAY + DAY),),
    )
    await told(
        log,
        "complaint-above",
        (registered(old, "supply"),),
        (answered(old + DAY),),
        (it("ComplaintAppealed", MAY + DAY),),
    )
    assert await counted(log, MAY - 30 * DAY, MAY) == {
        ("attitude", None): {"open": 1},
        ("bill", None): {"open": 4},
    }
    assert await counted(log, MAY, JUNE) == {
        ("attitude", None): {"open": 1},
        ("reading", None): {"open": 1},
        ("supply", None): {"open": 1, "appealed": 1},
    }


async def test_a_complaint_is_answered_once_and_has_the_last_outcome_of_the_month(
    log: EventLog,
) -> None:
    await told(
        log,
        "complaint-1",
        (registered(MAY),),
        (answered(MAY + DAY, "not_upheld"),),
        (it("RedoOrdered", MAY + 2 * DAY),),
        # Its promise was made anew and broken: the first answer was in time all the same.
        (answered(MAY + 9 * DAY, "upheld"), late(MAY + 9 * DAY)),
        (it("RedoOrdered", JUNE),),
        (answered(JUNE + DAY, "not_upheld"),),
    )
    once = {"registered": 1, "in_time": 1, "upheld": 1}
    assert await counted(log, MAY, JUNE) == {("late", None): once}
    assert await counted(log, JUNE, JUNE + 30 * DAY) == {}


async def test_category_and_department_are_those_of_the_months_end(log: EventLog) -> None:
    await told(
        log,
        "complaint-1",
        (registered(MAY, "attitude"),),
        (it("ComplaintScreened", MAY + DAY, category="bill"),),
        (handed(MAY + DAY, "counter"),),
        (it("ComplaintReturned", MAY + 2 * DAY, department="counter"),),
        (it("ReturnArbitrated", JUNE, department="billing"),),
        (it("ComplaintScreened", JUNE, category="reading"),),
    )
    await told(
        log,
        "complaint-2",
        (registered(MAY),),
        (handed(MAY),),
        (it("ComplaintReturned", MAY, department="counter"),),
        (handed(MAY, "metering"),),
    )
    assert await counted(log, MAY, JUNE) == {
        ("bill", None): {"registered": 1, "open": 1},
        ("late", "metering"): {"registered": 1, "open": 1},
    }
    assert await counted(log, JUNE, JUNE + DAY) == {
        ("late", "metering"): {"open": 1},
        ("reading", "billing"): {"open": 1},
    }


async def test_other_organisations_and_kinds_of_case_are_not_counted(log: EventLog) -> None:
    await told(log, "complaint-1", (registered(MAY),), organisation="estate")
    await told(log, "repair-1", (event("RepairReported"), late(MAY)))
    assert await log.complaints(ORGANISATION, MAY, JUNE) == []
    assert await log.complaints("nobody", MAY, JUNE) == []
    assert await log.complaints("estate", MAY, JUNE) == [
        ComplaintCounts(
            category="late",
            department=None,
            registered=1,
            in_time=0,
            late=0,
            open=1,
            upheld=0,
            partly_upheld=0,
            not_upheld=0,
            appealed=0,
            overturned=0,
        )
    ]


async def test_complaints_are_counted_without_reading_the_log(
    log: EventLog, admin: asyncpg.Connection
) -> None:
    for n in range(20):
        events = [event("CrewArrived") for _ in range(200)]
        await log.append_events(request(f"repair-{n}", 0, decision("a", *events)))
    for n in range(20):
        await told(log, f"complaint-{n}", (registered(MAY), handed(MAY)), (answered(MAY + DAY),))
    await admin.execute("VACUUM ANALYZE events")
    plan = await admin.fetch(
        f"EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) {_COMPLAINTS}",
        ORGANISATION,
        MAY,
        JUNE,
    )
    text = "\n".join(row[0] for row in plan)
    assert "Index Only Scan using events_complaint" in text
    assert "Seq Scan" not in text
    assert await counted(log, MAY, JUNE) == {
        ("late", "counter"): {"registered": 20, "in_time": 20, "upheld": 20}
    }
