"""Readers' assessments (WAT-P1): their list, and who was overdue at an instant, from the log."""

from datetime import timedelta

import asyncpg
import pytest

from activities.event_log import EventLog
from activities.log_reader import _ARREARS_THEN, _ASSESSMENTS
from activities.log_scan import _EVENTS
from activities.rebuild import rebuild
from lifecycles.assessment_runs import ENDING, TELLING
from schemas.envelope import CaseSummary
from tests.activities.appends import (
    ORGANISATION,
    START,
    assessed,
    decision,
    event,
    request,
    summary,
)
from tests.conftest import Database


async def put(log: EventLog, stream: str, case: CaseSummary, *, after: int = 0) -> None:
    made = decision(f"c{after}", event())
    await log.append_events(request(stream, after, made, case=case))


async def test_the_list_is_read_page_by_page_and_is_right_with_the_append(log: EventLog) -> None:
    lines = {
        "assessment-1": assessed(half_year="2026-H1"),
        "assessment-2": assessed(half_year="2025-H2", reader="E-8"),
        "assessment-3": assessed(half_year="2026-H1", reader="E-9"),
    }
    for stream, line in lines.items():
        await put(log, stream, summary(kind="assessment", stage="Open", assessment=line))
    await put(log, "repair-1", summary())
    found = await log.assessments(ORGANISATION)
    assert [r.case_id for r in found] == ["assessment-2", "assessment-1", "assessment-3"]
    (first,) = await log.assessments(ORGANISATION, limit=1)
    rest = await log.assessments(ORGANISATION, after=(first.half_year, first.case_id))
    assert [first, *rest] == found
    assert await log.assessments(ORGANISATION, half_year="2025-H2") == [first]
    assert await log.assessments("estate") == []
    closed = summary(
        kind="assessment", stage="Closed", closed_at=START, assessment=assessed(amount=4)
    )
    await put(log, "assessment-1", closed, after=1)
    row = (await log.assessments(ORGANISATION))[1]
    assert (row.stage, row.closed_at, row.amount) == ("Closed", START, 4)


async def test_a_tampered_line_is_found_and_put_right(
    log: EventLog, database: Database, admin: asyncpg.Connection
) -> None:
    true = summary(kind="assessment", stage="Open", assessment=assessed())
    await put(log, "assessment-1", true)
    await admin.execute("UPDATE cases SET assessment = jsonb_set(assessment, '{amount}', '1')")
    result = await rebuild(database.admin_url, ORGANISATION, lambda *_: true, lambda _: None)
    assert [d.column for d in result.differences] == ["assessment"]
    assert (await log.assessments(ORGANISATION))[0].amount == 4000


@pytest.mark.parametrize("ending", ENDING)
async def test_an_arrears_case_that_had_ended_is_not_read_unless_that_was_told_later(
    log: EventLog, ending: str
) -> None:
    at, hour = "2026-05-01T07:30:00Z", timedelta(hours=1)
    opened = decision("open", event("ArrearsOpened", at=at), event("ContactRecorded", at=at))
    ended = decision("end", event(ending, at="2026-05-01T07:45:00Z"))
    late = ended.model_copy(update={"decided_at": START + 2 * hour})
    await log.append_events(request("arrears-1", 0, opened))
    await log.append_events(request("arrears-2", 0, opened))
    await log.append_events(request("arrears-2", 2, ended))
    await log.append_events(request("arrears-3", 0, opened))
    await log.append_events(request("arrears-3", 2, late))
    found = log.arrears_then(ORGANISATION, TELLING, START, START + hour)
    assert [(e[0].stream, [x.type for x in e]) async for e in found] == [
        ("arrears-1", ["ArrearsOpened"]),
        ("arrears-3", ["ArrearsOpened"]),
    ]
    before = log.arrears_then(ORGANISATION, TELLING, START - hour, START + hour)
    assert [e async for e in before] == []


async def test_the_list_and_the_count_do_not_look_through_all_that_ever_was(
    log: EventLog, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        """
        INSERT INTO cases (
            organisation, case_id, version, kind, stage, final, priority, commitments, assessment
        )
        SELECT 'town', 'assessment-' || n, 1, 'assessment', 'Closed', true, false, '[]',
            CASE WHEN n % 2000 = 0 THEN $1::jsonb END
        FROM generate_series(1, 20000) n
        """,
        assessed().model_dump_json(),
    )
    await admin.execute("ANALYZE cases")
    plan = await admin.fetch(
        f"EXPLAIN (COSTS off) {_ASSESSMENTS.format(columns='*')}",
        *(ORGANISATION, None, None, "", 100),
    )
    assert "cases_assessed" in "\n".join(row[0] for row in plan)
    assert len(await log.assessments(ORGANISATION)) == 10

    query = _EVENTS.format(where=_ARREARS_THEN, order="e.stream, e.version", limit="ALL")
    plan = await admin.fetch(
        f"EXPLAIN (COSTS off) {query}", ORGANISATION, list(TELLING), START, START
    )
    assert "events_arrears" in "\n".join(row[0] for row in plan)
