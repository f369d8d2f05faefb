"""The log read in bulk is the log, row for row."""

from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

import asyncpg
import pytest

from activities.canonical import canonical, event_id
from activities.event_log import EventLog
from audit import log as reading
from audit.log import LogDamaged, RawEvent
from tests.activities.appends import ORGANISATION, POLICY, START, decision, event, request


async def chunks(
    admin: asyncpg.Connection, after: int = 0, until: int | None = None
) -> list[list[RawEvent]]:
    return [chunk async for chunk in reading.events(admin, ORGANISATION, after, until)]


async def test_events_come_in_lists_by_position_with_every_column(
    log: EventLog, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        word = event("CrewArrived", note="é\x07" * number)
        await log.append_events(
            request(f"repair-{number % 2}", number // 2, decision(f"c{number}", word))
        )
    await log.append_events(request("repair-1", 0, decision("c", event()), organisation="other"))
    monkeypatch.setattr(reading, "_EVENTS", reading._EVENTS.replace("LIMIT 5000", "LIMIT 3"))
    monkeypatch.setattr(reading, "CHUNK", 3)
    found = await chunks(admin)
    assert [[e.position for e in chunk] for chunk in found] == [[1, 2, 3], [4, 5, 6], [7]]
    rows = await admin.fetch(
        "SELECT * FROM events WHERE organisation = $1 ORDER BY position", ORGANISATION
    )
    for e, row in zip((e for chunk in found for e in chunk), rows, strict=True):
        assert e._asdict() == {name: row[name] for name in RawEvent._fields}
    first = found[0][0]
    assert first.event_id == event_id(ORGANISATION, "repair-0", 1)
    assert isinstance(first.event_id, UUID)
    assert first.occurred_at == datetime(2026, 5, 1, 7, 30, tzinfo=UTC)
    assert first.occurred_at.tzinfo is UTC
    assert [e.position for chunk in await chunks(admin, 2, 4) for e in chunk] == [3, 4]
    assert await chunks(admin, 7) == []
    assert await reading.head(admin, ORGANISATION) == 7
    assert await reading.head(admin, "nobody") == 0


async def test_a_case_comes_with_its_decisions_in_order_and_what_each_caused(
    log: EventLog, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append_events(
        request("repair-2", 0, decision("a", event(), event("JobAccepted")), decision("idle"))
    )
    await log.append_events(request("repair-1", 0, decision("a", event())))
    await log.append_events(request("repair-2", 2, decision("b", event("WorkStarted"))))
    monkeypatch.setattr(reading, "_STREAMS", reading._STREAMS.replace("LIMIT 200", "LIMIT 1"))
    monkeypatch.setattr(reading, "CASES", 1)
    one, two = [case async for case in reading.cases(admin, ORGANISATION)]
    assert (one.stream, one.kind, one.version) == ("repair-1", "repair", 1)
    assert (two.stream, two.version, two.policy) == ("repair-2", 3, POLICY)
    assert two.policy_hash == sha256(POLICY.encode()).digest()
    assert [
        (d.command_id, d.event_count, d.version, d.position, [e.type for e in d.events])
        for d in two.decisions
    ] == [
        ("a", 2, 2, 2, ["CrewArrived", "JobAccepted"]),
        ("idle", 0, 2, 2, []),
        ("b", 1, 3, 4, ["WorkStarted"]),
    ]
    first = two.decisions[0]
    assert (first.actor, first.role, first.proof) == ("crew-7", "crew", "token")
    assert first.decided_at == START
    assert first.command == canonical(decision("a").command)
    assert first.command_hash == sha256(first.command).digest()
    assert two.orphans == ()
    assert [c async for c in reading.cases(admin, ORGANISATION, "repair-1")] == [one]
    assert [c async for c in reading.cases(admin, ORGANISATION, "repair-3")] == []


async def test_what_nobody_could_have_appended_is_said_or_left_out(
    log: EventLog, admin: asyncpg.Connection
) -> None:
    await log.append_events(request("repair-1", 0, decision("a", event()), decision("b", event())))
    async with admin.transaction():
        await admin.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        await admin.execute("ALTER TABLE decisions DISABLE TRIGGER ALL")
        await admin.execute("ALTER TABLE decisions DROP CONSTRAINT decisions_check1")
        await admin.execute("UPDATE events SET occurred_at = 'infinity' WHERE version = 2")
        await admin.execute("UPDATE decisions SET command_id = 'c' WHERE command_id = 'a'")
        await admin.execute("ALTER TABLE policies DISABLE TRIGGER ALL")
        await admin.execute("DELETE FROM policies")
    with pytest.raises(LogDamaged, match="standpipe audit verify"):
        await chunks(admin)
    with pytest.raises(LogDamaged):
        [case async for case in reading.cases(admin, ORGANISATION)]
    said: list[str] = []
    (case,) = [case async for case in reading.cases(admin, ORGANISATION, damaged=said.append)]
    assert said == ["2 repair-1"]
    assert [(d.command_id, d.events) for d in case.decisions] == [("c", ()), ("b", ())]
    assert [e.command_id for e in case.orphans] == ["a"]
    assert case.policy is None
