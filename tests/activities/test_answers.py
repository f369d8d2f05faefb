"""What customers answered when they were called: counted by department, and who is to be called."""

from datetime import UTC, datetime, timedelta

import asyncpg

from activities.event_log import EventLog
from schemas.envelope import SatisfactionAnswer
from schemas.satisfaction import Tally
from tests.activities.appends import ORGANISATION, answer, decision, event, request, summary

MAY = datetime(2026, 4, 30, 16, 0, tzinfo=UTC)  # in Shanghai
JUNE = datetime(2026, 5, 31, 16, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


async def called(
    log: EventLog, stream: str, *answers: SatisfactionAnswer, organisation: str = ORGANISATION
) -> None:
    case = summary(kind=stream.partition("-")[0], answers=answers)
    await log.append_events(
        request(stream, 0, decision("a", event()), case=case, organisation=organisation)
    )


async def test_answers_are_counted_by_department_within_a_period(log: EventLog) -> None:
    await called(log, "repair-1", answer(MAY), answer(MAY + SECOND, "not_satisfied"))
    await called(log, "repair-2", answer(JUNE - SECOND, "unreachable"))
    await called(log, "complaint-1", answer(MAY + SECOND, "no_consent", "west"))
    await called(log, "repair-3")
    # Outside: just before, the first instant after, another organisation's.
    await called(log, "repair-4", answer(MAY - SECOND), answer(JUNE, "not_satisfied", "Zone"))
    await called(log, "repair-1", answer(MAY), organisation="estate")
    assert await log.satisfaction(ORGANISATION, MAY, JUNE) == [
        Tally(department="east", asked=3, answered=2, satisfied=1),
        Tally(department="west", asked=1, answered=0, satisfied=0),
    ]
    assert await log.satisfaction(ORGANISATION, JUNE, JUNE + SECOND) == [
        Tally(department="Zone", asked=1, answered=1, satisfied=0)
    ]
    assert await log.satisfaction("nobody", MAY, JUNE) == []


async def test_an_answer_counts_in_its_own_month_whatever_was_answered_later(
    log: EventLog,
) -> None:
    # Not in order: a call may be recorded late.
    await called(
        log,
        "repair-1",
        answer(JUNE + SECOND),
        answer(MAY + timedelta(microseconds=1)),
        answer(MAY + SECOND, "not_satisfied"),
    )
    (may,) = await log.satisfaction(ORGANISATION, MAY, JUNE)
    assert (may.asked, may.satisfied) == (2, 1)
    (june,) = await log.satisfaction(ORGANISATION, JUNE, JUNE + 2 * SECOND)
    assert (june.asked, june.satisfied) == (1, 1)


async def test_answers_can_be_looked_at_in_sql(log: EventLog, admin: asyncpg.Connection) -> None:
    await called(log, "complaint-1", answer(MAY), answer(JUNE, "unreachable", "west"))
    rows = await admin.fetch(
        "SELECT case_id, kind, at, department, result FROM satisfaction_answers ORDER BY at"
    )
    assert [tuple(row) for row in rows] == [
        ("complaint-1", "complaint", MAY, "east", "satisfied"),
        ("complaint-1", "complaint", JUNE, "west", "unreachable"),
    ]


async def test_a_months_answers_are_found_among_years_of_cases(
    log: EventLog, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        """
        INSERT INTO cases (
            organisation, case_id, version, kind, stage, final, priority, commitments, answers
        )
        SELECT 'town', 'repair-' || n, 1, 'repair', 'Closed', true, false, '[]',
            CASE WHEN n % 2 = 0 THEN jsonb_build_array(jsonb_build_object(
                'at', timestamptz '2026-06-10Z' - n * interval '1 hour',
                'department', 'east', 'result', 'satisfied'
            )) ELSE '[]' END
        FROM generate_series(1, 20000) n
        """
    )
    await admin.execute("ANALYZE cases")
    plan = await admin.fetch(
        """
        EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off)
        SELECT count(*) FROM satisfaction_answers
        WHERE organisation = 'town' AND last_at >= '2026-04-30 16:00Z'
        """
    )
    text = "\n".join(row[0] for row in plan)
    assert "cases_answered" in text
    assert "Seq Scan" not in text
    (may,) = await log.satisfaction(ORGANISATION, MAY, JUNE)
    assert may.asked == 31 * 12


async def test_follow_ups_that_became_due_are_found_by_business_time(log: EventLog) -> None:
    async def due(
        stream: str, *events: tuple[str, datetime], organisation: str = ORGANISATION
    ) -> None:
        bodies = [event(name, at=f"{at:%Y-%m-%dT%H:%M:%SZ}") for name, at in events]
        await log.append_events(
            request(stream, 0, decision("a", *bodies), organisation=organisation)
        )

    await due("repair-2", ("CallbackDue", MAY), ("CallbackDue", MAY + SECOND))
    await due("complaint-9", ("FollowUpDue", JUNE - SECOND))
    await due("complaint-10", ("FollowUpDue", MAY + SECOND))
    await due("repair-late", ("CallbackDue", JUNE))
    await due("repair-early", ("CallbackDue", MAY - SECOND))
    await due("repair-other", ("CrewArrived", MAY))
    await due("repair-3", ("CallbackDue", MAY), organisation="estate")
    found = await log.follow_ups_due(ORGANISATION, MAY, JUNE)
    assert found == ["complaint-10", "complaint-9", "repair-2"]
    assert await log.follow_ups_due(ORGANISATION, JUNE, JUNE + SECOND) == ["repair-late"]
    assert await log.follow_ups_due("nobody", MAY, JUNE) == []


async def test_follow_ups_are_found_without_reading_the_log(
    log: EventLog, admin: asyncpg.Connection
) -> None:
    for n in range(20):
        events = [event("CrewArrived") for _ in range(100)]
        await log.append_events(
            request(f"repair-{n}", 0, decision("a", *events, event("CallbackDue")))
        )
    await admin.execute("ANALYZE events")
    plan = await admin.fetch(
        """
        EXPLAIN SELECT stream FROM events
        WHERE organisation = 'town' AND type IN ('CallbackDue', 'FollowUpDue')
            AND occurred_at >= '2026-05-01Z' AND occurred_at < '2026-05-02Z'
        """
    )
    assert "events_follow_up" in "\n".join(row[0] for row in plan)
    found = await log.follow_ups_due(
        ORGANISATION, datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 2, tzinfo=UTC)
    )
    assert len(found) == 20
