"""Rebuilding the read models: what was changed behind the log's back is found and put right."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from activities.event_log import EventLog
from activities.rebuild import Difference, RebuildResult, rebuild
from schemas.envelope import CaseSummary, EventEnvelope, Json
from tests.activities.appends import (
    ORGANISATION,
    START,
    answer,
    approval,
    decision,
    event,
    promise,
    request,
    summary,
)
from tests.conftest import Database

ENDED = approval(
    "extension-1",
    START,
    state="approved",
    given=({"subject": "s-2", "on_behalf_of": None, "at": START},),
    delegations=({"by": "s-3", "to": "s-2", "since": START, "until": START, "reason": "leave"},),
    ended_at=START,
)


def project(events: list[EventEnvelope], policy: Json) -> CaseSummary:
    """A stand-in for a lifecycle: the last event says the stage."""
    assert policy["name"] == "gas"
    assert [e.version for e in events] == list(range(1, len(events) + 1))
    return summary(stage=events[-1].body["stage"], next_due_at=events[-1].occurred_at)


async def move(
    log: EventLog, stream: str, *stages: str, start: int = 0, organisation: str = ORGANISATION
) -> None:
    for version, stage in enumerate(stages, start):
        moved = event("Moved", stage=stage)
        await log.append_events(
            request(
                stream,
                version,
                decision(f"c{version}", moved),
                organisation=organisation,
                case=summary(stage=stage, next_due_at=moved["at"]),
            )
        )


async def run(database: Database, organisation: str = ORGANISATION) -> RebuildResult:
    return await rebuild(database.admin_url, organisation, project, lambda _: None)


async def test_read_models_that_agree_with_the_log_are_left_alone(
    log: EventLog, database: Database, admin: asyncpg.Connection
) -> None:
    for number in range(3):
        await move(log, f"repair-{number}", "Reported", "Fixed")
    rows = "SELECT xmin, * FROM cases ORDER BY case_id"
    before = await admin.fetch(rows)
    said: list[str] = []
    result = await rebuild(database.admin_url, ORGANISATION, project, said.append)
    assert result == RebuildResult(events=6, cases=3, differences=(), position=6)
    assert said == ["6 events, 3 cases, 0 of them differ"]
    assert await admin.fetch(rows) == before


async def test_every_difference_is_named_and_put_right(
    log: EventLog, database: Database, admin: asyncpg.Connection
) -> None:
    for number in range(4):
        await move(log, f"repair-{number}", "Reported", "Fixed")
    await move(log, "repair-0", "Reported", organisation="estate")
    rows = "SELECT * FROM cases ORDER BY organisation, case_id"
    before = await admin.fetch(rows)
    await admin.execute(
        "UPDATE cases SET stage = 'Closed', version = 9 WHERE organisation = 'town'"
        " AND case_id = 'repair-1'"
    )
    await admin.execute(
        "UPDATE cases SET commitments = '[]' WHERE organisation = 'town' AND case_id = 'repair-2'"
    )
    await admin.execute("DELETE FROM cases WHERE organisation = 'town' AND case_id = 'repair-3'")
    await admin.execute(
        "INSERT INTO cases (organisation, case_id, version, kind, stage, final, priority,"
        " commitments) VALUES ('town', 'repair-ghost', 1, 'repair', 'Fixed', false, false, '[]')"
    )

    result = await run(database)
    promised = summary().commitments[0].model_dump(mode="json")
    assert [(d.case_id, d.column, d.live, d.rebuilt) for d in result.differences] == [
        ("repair-1", "stage", "Closed", "Fixed"),
        ("repair-1", "version", 9, 2),
        ("repair-2", "commitments", [], [promised]),
        ("repair-3", "case_id", None, "repair-3"),
        ("repair-ghost", "case_id", "repair-ghost", None),
    ]
    assert await admin.fetch(rows) == before
    assert (await run(database)).differences == ()
    assert (await run(database, "estate")).cases == 1
    assert (await run(database, "nobody")) == RebuildResult(
        events=0, cases=0, differences=(), position=0
    )


@pytest.mark.parametrize(
    ("column", "tampered"),
    [
        ("approvals", """jsonb_set(approvals, '{0,given,0,subject}', '"s-1"')"""),
        ("approvals", """jsonb_set(approvals, '{1,facts,days}', '30')"""),
        ("approvals", "approvals - 1"),
        ("approvals", "'[]'"),
        ("answers", """jsonb_set(answers, '{0,result}', '"satisfied"')"""),
        ("answers", "answers || answers"),
    ],
)
async def test_a_tampered_approval_or_answer_is_found_and_put_right(
    log: EventLog, database: Database, admin: asyncpg.Connection, column: str, tampered: str
) -> None:
    true = summary(
        approvals=(ENDED, approval("extension-2", START)),
        answers=(answer(START, "not_satisfied"),),
    )
    for stream in ("repair-1", "repair-2"):
        await log.append_events(request(stream, 0, decision("a", event()), case=true))
    await admin.execute(f"UPDATE cases SET {column} = {tampered} WHERE case_id = 'repair-2'")
    forged = await log.case(ORGANISATION, "repair-2")
    result = await rebuild(database.admin_url, ORGANISATION, lambda *_: true, lambda _: None)
    assert [(d.case_id, d.column) for d in result.differences] == [("repair-2", column)]
    (difference,) = result.differences
    assert forged is not None
    assert difference.live == forged.model_dump(mode="json")[column]
    assert difference.rebuilt == true.model_dump(mode="json")[column]
    righted = await log.case(ORGANISATION, "repair-2")
    assert righted is not None
    assert (righted.approvals, righted.answers) == (true.approvals, true.answers)


async def test_cases_that_move_meanwhile_end_up_right(
    log: EventLog, database: Database, admin: asyncpg.Connection
) -> None:
    streams = [f"repair-{number}" for number in range(12)]
    for stream in streams:
        await move(log, stream, "Reported")
    await admin.execute("UPDATE cases SET stage = 'Wrong', district = 'nowhere'")
    done = False

    async def keep_moving(stream: str, version: int) -> int:
        while not done:
            await move(log, stream, f"Moved{version}", start=version)
            version += 1
        return version

    async def rebuild_often() -> list[Difference]:
        nonlocal done
        found = [d for _ in range(5) for d in (await run(database)).differences]
        done = True
        return found

    async with asyncio.timeout(120):
        differences, versions, _ = await asyncio.gather(
            rebuild_often(),
            asyncio.gather(*(keep_moving(stream, 1) for stream in streams[:6])),
            keep_moving("repair-new", 0),
        )
    # An append on its way is no difference: only what was planted is.
    assert {d.live for d in differences} == {"Wrong", "nowhere"}
    assert (await run(database)).differences == ()
    for stream, version in zip(streams[:6], versions, strict=True):
        row = await log.case(ORGANISATION, stream)
        assert row is not None
        assert (row.version, row.district) == (version, "east")


async def test_a_fold_that_fails_changes_nothing(
    log: EventLog, database: Database, admin: asyncpg.Connection
) -> None:
    await move(log, "repair-1", "Reported")
    await admin.execute("UPDATE cases SET stage = 'Wrong'")

    def fail(events: list[EventEnvelope], policy: Json) -> Any:
        raise LookupError("unknown event type")

    with pytest.raises(LookupError, match="unknown event type"):
        await rebuild(database.admin_url, ORGANISATION, fail, lambda _: None)
    assert await admin.fetchval("SELECT stage FROM cases") == "Wrong"


async def test_summaries_with_everything_in_them_compare_equal(
    log: EventLog, database: Database
) -> None:
    full = summary(
        final=True,
        priority=True,
        closed_at=START,
        commitments=(
            promise("attend", START, state="broken", met_at=START, ended_at=START, fired=3),
            promise("fix", START),
        ),
        approvals=(ENDED, approval("extension-2", START)),
        answers=(answer(START), answer(START + timedelta(microseconds=1), "unreachable")),
    )
    await log.append_events(request("repair-1", 0, decision("a", event()), case=full))
    result = await rebuild(
        database.admin_url, ORGANISATION, lambda events, policy: full, lambda _: None
    )
    assert (result.cases, result.differences) == (1, ())
