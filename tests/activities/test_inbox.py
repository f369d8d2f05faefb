"""The supervisors' inbox: every approval that waits for a decision, the longest awaited first."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from activities.event_log import EventLog
from schemas.read_models import ApprovalRow
from tests.activities.appends import (
    ORGANISATION,
    START,
    approval,
    decision,
    event,
    promise,
    request,
    summary,
)

HOUR = timedelta(hours=1)


async def fill(
    log: EventLog, cases: dict[str, dict[str, Any]], organisation: str = ORGANISATION
) -> None:
    for stream, fields in cases.items():
        case = summary(kind=stream.partition("-")[0], **fields)
        await log.append_events(
            request(stream, 0, decision("a", event()), case=case, organisation=organisation)
        )


def names(rows: list[ApprovalRow]) -> list[str]:
    return [f"{row.case_id}/{row.id}" for row in rows]


@pytest.fixture
async def asked(log: EventLog) -> None:
    head = {"roles": ("supervisor", "division_head")}
    await fill(
        log,
        {
            "complaint-1": {
                "approvals": (
                    approval("extension-1", START + 2 * HOUR),
                    approval("extension-2", START - HOUR, state="approved", ended_at=START),
                    approval("closure-1", START - 3 * HOUR, kind="closure"),
                )
            },
            "complaint-2": {},
            "complaint-3": {"approvals": (approval("x-1", START, state="rejected"),)},
            "conduct-1": {"approvals": (approval("grade-1", START - HOUR, **head),)},
            "repair-1": {"district": None, "approvals": (approval("part-1", START + 2 * HOUR),)},
        },
    )
    await fill(log, {"complaint-1": {"approvals": (approval("x-1", START),)}}, "estate")


@pytest.mark.usefixtures("asked")
async def test_the_inbox_holds_what_is_asked_of_every_case_oldest_due_first(log: EventLog) -> None:
    rows = await log.approvals(ORGANISATION)
    assert names(rows) == [
        "complaint-1/closure-1",
        "conduct-1/grade-1",
        "complaint-1/extension-1",
        "repair-1/part-1",
    ]
    wanted = approval("closure-1", START - 3 * HOUR, kind="closure")
    assert rows[0] == ApprovalRow(
        **wanted.model_dump(), case_id="complaint-1", case_kind="complaint", district="east"
    )
    assert rows[3].district is None
    assert names(await log.approvals("estate")) == ["complaint-1/x-1"]
    assert await log.approvals("nobody") == []


@pytest.mark.usefixtures("asked")
async def test_a_role_sees_what_it_may_decide(log: EventLog) -> None:
    assert names(await log.approvals(ORGANISATION, role="division_head")) == ["conduct-1/grade-1"]
    assert len(await log.approvals(ORGANISATION, role="supervisor")) == 4
    assert await log.approvals(ORGANISATION, role="clerk") == []


@pytest.mark.usefixtures("asked")
async def test_what_was_decided_is_not_in_the_inbox_but_can_be_listed(log: EventLog) -> None:
    approved = await log.approvals(ORGANISATION, state="approved")
    assert [(row.id, row.ended_at) for row in approved] == [("extension-2", START)]
    assert names(await log.approvals(ORGANISATION, state="rejected")) == ["complaint-3/x-1"]
    assert await log.approvals(ORGANISATION, state="lapsed") == []
    assert len(await log.approvals(ORGANISATION, state=None)) == 6


@pytest.mark.usefixtures("asked")
async def test_the_inbox_is_read_page_by_page(log: EventLog) -> None:
    whole = await log.approvals(ORGANISATION)
    read: list[ApprovalRow] = []
    after = None
    # Two are due at the same instant, so one page ends between them.
    while page := await log.approvals(ORGANISATION, after=after, limit=1):
        read += page
        after = (page[-1].due, page[-1].case_id, page[-1].id)
    assert read == whole


async def test_an_approval_leaves_the_inbox_with_the_append_that_decides_it(log: EventLog) -> None:
    open_one = approval("extension-1", START)
    await fill(log, {"complaint-1": {"approvals": (open_one,)}})
    assert len(await log.approvals(ORGANISATION)) == 1
    decided = summary(approvals=(open_one.model_copy(update={"state": "approved"}),))
    await log.append_events(request("complaint-1", 1, decision("b", event()), case=decided))
    assert await log.approvals(ORGANISATION) == []


async def test_an_approval_keeps_its_facts_and_who_said_yes(
    log: EventLog, admin: asyncpg.Connection
) -> None:
    full = approval(
        "extension-1",
        START,
        given=({"subject": "s-2", "on_behalf_of": "s-3", "at": START},),
        delegations=(
            {"by": "s-3", "to": "s-2", "since": START, "until": START + HOUR, "reason": "leave"},
        ),
    )
    await fill(log, {"complaint-1": {"approvals": (full,)}})
    (row,) = await log.approvals(ORGANISATION)
    assert row.model_dump(include=set(type(full).model_fields)) == full.model_dump()
    seen = await admin.fetchrow("SELECT facts ->> 'place' AS place, barred, due FROM approvals")
    assert seen is not None
    assert tuple(seen) == ("东区", ["s-1", "s-9"], START)


async def test_the_inbox_does_not_look_through_all_cases(
    log: EventLog, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        """
        INSERT INTO cases (
            organisation, case_id, version, kind, stage, final, priority, commitments, approvals
        )
        SELECT 'town', 'complaint-' || n, 1, 'complaint', 'Closed', true, false, '[]',
            CASE WHEN n % 2000 = 0 THEN jsonb_build_array($1::jsonb) ELSE '[]' END
        FROM generate_series(1, 20000) n
        """,
        approval("extension-1", START).model_dump_json(),
    )
    await admin.execute("ANALYZE cases")
    plan = await admin.fetch(
        """
        EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off)
        SELECT * FROM approvals WHERE organisation = 'town' AND asks AND state = 'requested'
        """
    )
    text = "\n".join(row[0] for row in plan)
    assert "cases_asking" in text
    assert "Seq Scan" not in text
    assert len(await log.approvals(ORGANISATION)) == 10


async def test_a_staff_file_is_work_only_while_something_is_owed_or_asked(log: EventLog) -> None:
    kept = promise("apologise", START, state="kept", met_at=START, ended_at=START)
    broken = promise("apologise", START - HOUR, state="broken")
    nothing: dict[str, Any] = {"commitments": (kept,), "next_due_at": None}
    decided = approval("grade-1", START, state="rejected")
    await fill(
        log,
        {
            "conduct-marks-wait": nothing,
            "conduct-decided": nothing | {"approvals": (decided,)},
            "conduct-owed": {"commitments": (kept, promise("apologise", START + HOUR))},
            "conduct-late": {"commitments": (broken,)},
            "conduct-asked": nothing | {"approvals": (decided, approval("grade-2", START))},
            "conduct-left": {"closed_at": START, "commitments": (broken,)},
            "satisfaction-at-rest": nothing,
            "satisfaction-awaiting": {"commitments": (promise("improve", START + 2 * HOUR),)},
            "complaint-nothing-owed": nothing,
        },
    )
    assert [row.case_id for row in await log.worklist(ORGANISATION)] == [
        "conduct-late",
        "conduct-owed",
        "satisfaction-awaiting",
        "complaint-nothing-owed",
        "conduct-asked",
    ]
