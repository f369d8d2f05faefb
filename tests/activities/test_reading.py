"""What the log and its read models answer."""

from contextlib import aclosing
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from activities.event_log import EventLog
from schemas.base import Actor
from schemas.envelope import Message, OpenCase, Refusal
from schemas.read_models import CaseFilter
from tests.activities.appends import (
    ORGANISATION,
    POLICY,
    START,
    decision,
    event,
    promise,
    request,
    summary,
)

HOUR = timedelta(hours=1)


async def test_an_event_comes_back_as_it_was_with_all_that_is_known_of_it(log: EventLog) -> None:
    body = event(
        "Noted", note={"zh": "燃气\t\\n", "quote": '"', "lines": "a\nb\r\x01"}, n=[1, None]
    )
    await log.append_events(
        request("repair-1", 0, decision("a", event("RepairReported")), decision("b", body))
    )
    _, noted = await log.read_stream(ORGANISATION, "repair-1")
    assert noted.body == body
    assert (noted.position, noted.stream, noted.version) == (2, "repair-1", 2)
    assert (noted.type, noted.schema_version, noted.command_id) == ("Noted", 1, "b")
    assert noted.actor == Actor(subject="crew-7", role="crew", proof="token")
    assert noted.occurred_at.isoformat() == "2026-05-01T07:30:00+00:00"
    assert noted.decided_at == START
    assert noted.recorded_at > START
    assert type(noted).model_validate(noted.model_dump()) == noted


async def test_deciding_again_finds_commands_and_what_each_caused(log: EventLog) -> None:
    await log.append_events(
        request("repair-1", 0, decision("a", event(n=1), event(n=2)), decision("b", tool="wrench"))
    )
    first, second = await log.read_decisions(ORGANISATION, "repair-1")
    assert (first.command_id, first.version, first.position) == ("a", 2, 2)
    assert first.bodies == (event(n=1), event(n=2))
    assert first.events == ("CrewArrived", "CrewArrived")
    assert second.command == decision("b", tool="wrench").command
    assert (second.bodies, second.decided_at) == ((), START)


async def test_the_whole_log_is_read_in_order_by_position_and_by_case(log: EventLog) -> None:
    for version in range(3):
        for stream in ("repair-b", "repair-a", "repair-c"):
            await log.append_events(
                request(stream, version, decision(f"c{version}", event(n=version)))
            )
    assert [e.position async for e in log.scan(ORGANISATION)] == list(range(1, 10))
    assert [e.position async for e in log.scan(ORGANISATION, after=7)] == [8, 9]
    cases = [
        (events[0].stream, [e.version for e in events])
        async for events in log.scan_streams(ORGANISATION)
    ]
    assert cases == [(f"repair-{name}", [1, 2, 3]) for name in "abc"]
    assert [events async for events in log.scan_streams("estate")] == []


async def test_a_reader_may_stop_in_the_middle_of_a_long_scan(log: EventLog) -> None:
    # Far more than any buffer holds, so that PostgreSQL is still sending.
    for part in range(40):
        events = [event(filler="x" * 1000) for _ in range(100)]
        await log.append_events(request("repair-1", part * 100, decision(f"c{part}", *events)))
    for _ in range(20):
        async with aclosing(log.scan(ORGANISATION)) as scan:
            async for one in scan:
                if one.position == 3:
                    break
    assert len(await log.read_stream(ORGANISATION, "repair-1")) == 4000


async def test_open_cases_are_those_that_a_workflow_should_carry(log: EventLog) -> None:
    for stream, final in (("repair-1", False), ("repair-2", True), ("repair-3", False)):
        await log.append_events(
            request(stream, 0, decision("a", event()), case=summary(final=final))
        )
    assert await log.open_cases(ORGANISATION) == [
        OpenCase(organisation=ORGANISATION, case_id=stream, policy=POLICY)
        for stream in ("repair-1", "repair-3")
    ]
    assert await log.open_cases("estate") == []


async def fill(log: EventLog, cases: dict[str, dict[str, Any]]) -> None:
    for stream, fields in cases.items():
        await log.append_events(request(stream, 0, decision("a", event()), case=summary(**fields)))


async def test_cases_are_listed_page_by_page_and_filtered(log: EventLog) -> None:
    await fill(
        log,
        {
            "repair-1": {"district": "east", "stage": "Fixed"},
            "repair-2": {"district": "west", "priority": True},
            "repair-3": {"district": "east", "final": True},
            "repair-4": {"district": "east"},
        },
    )

    async def listed(filters: CaseFilter | None = None, **page: Any) -> list[str]:
        return [row.case_id for row in await log.list_cases(ORGANISATION, filters, **page)]

    assert await listed() == [f"repair-{n}" for n in (1, 2, 3, 4)]
    assert await listed(limit=2) == ["repair-1", "repair-2"]
    assert await listed(after="repair-2", limit=2) == ["repair-3", "repair-4"]
    assert await listed(CaseFilter(district="east", final=False)) == ["repair-1", "repair-4"]
    assert await listed(CaseFilter(priority=True)) == ["repair-2"]
    assert await listed(CaseFilter(stage="Fixed'; DROP TABLE cases")) == []
    (row,) = await log.list_cases(ORGANISATION, CaseFilter(stage="Fixed"))
    expected = summary(district="east", stage="Fixed")
    assert row.model_dump(exclude={"case_id", "version"}) == expected.model_dump()
    assert await log.case(ORGANISATION, "repair-1") == row
    assert await log.case(ORGANISATION, "repair-9") is None


async def test_what_is_open_on_premises_is_found_in_the_log(log: EventLog) -> None:
    ended = START + timedelta(hours=1)
    await fill(
        log,
        {
            "repair-1": {"premises": ("p-1", "p-2")},
            "complaint-2": {"kind": "complaint", "premises": ("p-2",)},
            "repair-3": {"premises": ("p-2",), "final": True, "closed_at": ended},
            # It has ended, but another case has yet to hear of that.
            "repair-4": {"premises": ("p-2",), "closed_at": ended},
            "arrears-5": {"kind": "arrears", "premises": ("p-2",)},
            "repair-6": {"premises": ("p-3",)},
            "repair-7": {},
        },
    )
    await log.append_events(
        request(
            "repair-8",
            0,
            decision("a", event()),
            case=summary(premises=("p-2",)),
            organisation="other",
        )
    )
    assert await log.open_on(ORGANISATION, ["P-2"]) == ["complaint-2", "repair-1"]
    assert await log.open_on(ORGANISATION, ["p-1", "P-3"]) == ["repair-1", "repair-6"]
    assert await log.open_on(ORGANISATION, ["p-9"]) == []
    assert await log.open_on(ORGANISATION, []) == []


async def test_premises_are_on_nobodys_worklist(log: EventLog) -> None:
    await fill(log, {"premises-1": {"kind": "premises"}, "repair-1": {}})
    assert [row.case_id for row in await log.worklist(ORGANISATION)] == ["repair-1"]


async def test_the_worklist_puts_special_care_first_and_then_the_longest_owed(
    log: EventLog,
) -> None:
    def broken(hours: int, **fields: Any) -> Any:
        return promise("fix", START + hours * HOUR, state="broken", **fields)

    await fill(
        log,
        {
            "repair-soon": {"commitments": (promise("attend", START + HOUR),)},
            "repair-overdue": {"commitments": (broken(-2), promise("call", START + 9 * HOUR))},
            "repair-made-good": {
                "commitments": (
                    broken(-9, met_at=START, ended_at=START),
                    promise("call", START + 3 * HOUR),
                )
            },
            "repair-nothing-owed": {"commitments": (), "next_due_at": None},
            "repair-care": {
                "priority": True,
                "commitments": (promise("attend", START + 8 * HOUR),),
            },
            "repair-closed": {"closed_at": START},
            "repair-final": {"final": True},
        },
    )
    rows = await log.worklist(ORGANISATION)
    assert [(row.case_id.removeprefix("repair-"), row.waiting_since) for row in rows] == [
        ("care", START + 8 * HOUR),
        ("overdue", START - 2 * HOUR),
        ("soon", START + HOUR),
        ("made-good", START + 3 * HOUR),
        ("nothing-owed", None),
    ]
    assert len(await log.worklist(ORGANISATION, limit=2)) == 2


async def test_promises_can_be_counted_by_rule_in_sql(
    log: EventLog, admin: asyncpg.Connection
) -> None:
    await fill(log, {f"repair-{n}": {} for n in range(3)})
    rows = await admin.fetch(
        "SELECT rule, state, count(*), min(due) FROM commitments GROUP BY rule, state"
    )
    assert [tuple(row) for row in rows] == [("KUN-2.2.4b", "running", 3, START + 6 * HOUR)]


async def test_the_outbox_is_read_on_from_the_last_message(log: EventLog) -> None:
    def word(number: int) -> Message:
        return Message(to="party", recipient="party-1", template="told", params={"n": number})

    for number, stream in enumerate(("repair-1", "repair-2", "repair-1")):
        version = 1 if number == 2 else 0
        await log.append_events(
            request(
                stream,
                version,
                decision(f"c{number}", event(), messages=[(0, word(number)), (0, word(9))]),
            )
        )
    first = await log.outbox(ORGANISATION, limit=3)
    last = first[-1]
    rest = await log.outbox(ORGANISATION, after=(last.position, last.ordinal))
    assert [m.message.params["n"] for m in (*first, *rest)] == [0, 9, 1, 9, 2, 9]
    mine = await log.outbox(ORGANISATION, stream="repair-1")
    assert [m.message.params["n"] for m in mine] == [0, 9, 2, 9]
    assert await log.outbox("estate") == []


def refusal(**fields: Any) -> Refusal:
    return Refusal.model_validate(
        {
            "organisation": ORGANISATION,
            "stream": "repair-1",
            "command_id": "a",
            "command_type": "CloseRepair",
            "actor": "crew-7",
            "refused_at": START,
            "reasons": ("Fix it first.", "Call back first (KUN-5.6)."),
        }
        | fields
    )


async def test_a_refusal_is_kept_once_however_often_it_is_reported(log: EventLog) -> None:
    for _ in range(2):
        await log.record_refusal(refusal())
    await log.record_refusal(refusal(refused_at=START + HOUR))
    await log.record_refusal(refusal(stream="repair-2"))
    first, again, other = await log.refusals(ORGANISATION)
    assert first.reasons == ("Fix it first.", "Call back first (KUN-5.6).")
    assert (again.refused_at, other.stream) == (START + HOUR, "repair-2")
    assert await log.refusals(ORGANISATION, after=again.number) == [other]
    assert await log.refusals(ORGANISATION, stream="repair-2") == [other]


@pytest.mark.parametrize("rubbish", ["\x00", "\ud800", "x" * 10_000, ""])
async def test_a_refusal_of_rubbish_is_kept_too(log: EventLog, rubbish: str) -> None:
    await log.record_refusal(
        refusal().model_copy(
            update={
                "command_id": rubbish,
                "command_type": rubbish,
                "actor": rubbish,
                "reasons": (rubbish,),
            }
        )
    )
    (kept,) = await log.refusals(ORGANISATION)
    assert len(kept.command_id) <= 200
