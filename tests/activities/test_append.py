"""Appends: once, in order, all or nothing; a case that is behind learns exactly what it missed."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from activities import canonical as exact
from activities.canonical import canonical, command_hash, seal
from activities.event_log import AppendInvalid, EventLog, LogBehindCase
from schemas.envelope import CaseSummary, Message
from tests.activities.appends import (
    ORGANISATION,
    POLICY,
    START,
    answer,
    approval,
    assessed,
    catch_up,
    commands,
    decision,
    event,
    held,
    part,
    promise,
    request,
    stop,
    summary,
)

WORD = Message(to="crew", recipient="crew-7", template="dispatch", params={"visit": 1})


async def test_an_append_tells_where_each_decision_stands(log: EventLog) -> None:
    await log.append_events(request("repair-0", 0, decision("x", event(), event())))
    result = await log.append_events(
        request(
            "repair-1",
            0,
            decision("a", event("RepairReported"), event("CommitmentStarted")),
            decision("b"),
            decision("c", event("CrewArrived")),
        )
    )
    assert (result.status, result.version, result.conflicts) == ("appended", 3, ())
    assert [(r.command_id, r.version, r.position, r.events) for r in result.recorded] == [
        ("a", 2, 4, ("RepairReported", "CommitmentStarted")),
        ("b", 2, 4, ()),
        ("c", 3, 5, ("CrewArrived",)),
    ]
    assert result.recorded[0].command_hash == command_hash(decision("a").command)


async def test_the_answer_is_a_receipt_for_every_leaf(
    log: EventLog, admin: asyncpg.Connection
) -> None:
    made = request("repair-1", 0, decision("a", event(), event(note="气")), decision("b"))
    result = await log.append_events(made)
    rows = await admin.fetch("SELECT leaf_hash FROM events_view ORDER BY position")
    assert [r.leaves for r in result.recorded] == [tuple(r["leaf_hash"] for r in rows), ()]
    assert "leaves" not in result.recorded[1].model_dump(mode="json")


async def test_a_retry_after_a_lost_reply_is_told_what_it_wrote(
    log: EventLog, admin: asyncpg.Connection
) -> None:
    wanted = request("repair-1", 0, decision("a", event(visit=1)), decision("b"))
    first = await log.append_events(wanted)
    again = await log.append_events(wanted)
    assert again.status == "behind"
    assert again.recorded == held(first.recorded)
    assert again.events == (event(visit=1),)
    assert again.conflicts == ()
    assert await admin.fetchval("SELECT count(*) FROM events") == 1
    assert await admin.fetchval("SELECT count(*) FROM decisions") == 2
    assert await admin.fetchval("SELECT position FROM heads") == 1


async def test_a_command_is_known_however_long_ago_it_was_done(log: EventLog) -> None:
    await log.append_events(request("repair-1", 0, decision("a", event(visit=1))))
    await log.append_events(request("repair-1", 1, decision("b", event(visit=2))))
    again = await log.append_events(request("repair-1", 2, decision("a", event(visit=3))))
    assert (again.status, again.version, again.events) == ("behind", 2, ())
    assert [(r.command_id, r.version) for r in again.recorded] == [("a", 1)]


async def test_the_same_id_with_other_content_is_a_conflict(log: EventLog) -> None:
    await log.append_events(request("repair-1", 0, decision("a", event(), tool="wrench")))
    result = await log.append_events(
        request("repair-1", 1, decision("a", event(), tool="spanner"), decision("b", event()))
    )
    assert (result.status, result.version, result.conflicts) == ("behind", 1, ("a",))
    assert commands(await log.append_events(catch_up("repair-1"))) == ["a"]


async def test_the_same_id_is_free_in_another_case_and_organisation(log: EventLog) -> None:
    for stream, organisation in (
        ("repair-1", "town"),
        ("repair-2", "town"),
        ("repair-1", "estate"),
    ):
        result = await log.append_events(
            request(stream, 0, decision("a", event()), organisation=organisation)
        )
        assert result.status == "appended"


async def test_a_case_that_is_behind_gets_exactly_what_it_missed(log: EventLog) -> None:
    missed = [event(word="ok"), event("Noted", note={"z": [1, None, True], "a": '燃气 " \\ \n'})]
    await log.append_events(request("repair-1", 0, decision("a", event("RepairReported"))))
    await log.append_events(request("repair-1", 1, decision("b", *missed), decision("c")))
    result = await log.append_events(request("repair-1", 1, decision("d", event("CrewArrived"))))
    assert (result.status, result.version) == ("behind", 3)
    assert result.events == tuple(missed)
    assert commands(result) == ["b", "c"]
    retried = await log.append_events(request("repair-1", 3, decision("d", event("CrewArrived"))))
    assert (retried.status, retried.version) == ("appended", 4)


async def test_catching_up_reads_all_and_writes_nothing(
    log: EventLog, admin: asyncpg.Connection
) -> None:
    empty = await log.append_events(catch_up("repair-1"))
    assert (empty.status, empty.version, empty.events, empty.recorded) == ("behind", 0, (), ())
    assert await admin.fetchval("SELECT count(*) FROM streams") == 0

    await log.append_events(request("repair-1", 0, decision("nothing")))
    await log.append_events(request("repair-1", 0, decision("a", event(visit=1))))
    await log.append_events(request("repair-1", 1, decision("b", event(visit=2)), decision("c")))
    all_of_it = await log.append_events(catch_up("repair-1"))
    assert (all_of_it.version, commands(all_of_it)) == (2, ["nothing", "a", "b", "c"])
    assert all_of_it.events == (event(visit=1), event(visit=2))
    rest = await log.append_events(catch_up("repair-1", after=1))
    assert (rest.events, commands(rest)) == ((event(visit=2),), ["b", "c"])
    nothing_new = await log.append_events(catch_up("repair-1", after=2))
    assert (nothing_new.status, nothing_new.events, commands(nothing_new)) == ("behind", (), ["c"])


async def test_a_log_from_an_older_backup_is_not_written_to(
    log: EventLog, admin: asyncpg.Connection
) -> None:
    await log.append_events(request("repair-1", 0, decision("a", event())))
    for wanted in (
        request("repair-1", 3, decision("b", event())),
        request("repair-2", 1, decision("b", event())),
        catch_up("repair-1", after=2),
    ):
        with pytest.raises(LogBehindCase, match=r"restore the log first \(standpipe audit"):
            await log.append_events(wanted)
    with pytest.raises(LogBehindCase, match="ends at version 1, the case is at 3"):
        await log.append_events(request("repair-1", 3, decision("b", event())))
    assert await admin.fetchval("SELECT count(*) FROM events") == 1


async def test_the_stored_bytes_are_exactly_those_that_the_auditor_makes(
    log: EventLog, admin: asyncpg.Connection
) -> None:
    wanted = request(
        "repair-1",
        0,
        decision("a", event("RepairReported", place="东区"), event(n=2**53 - 1)),
        decision("b"),
        decision("c:1/x.y_z#+-", event("CrewArrived", schema_version=2)),
    )
    await log.append_events(wanted)
    sealed = seal(wanted)
    rows = await admin.fetch("SELECT * FROM events ORDER BY position")
    expected = [(decided, one) for decided in sealed for one in decided.events]
    for row, (decided, one) in zip(rows, expected, strict=True):
        header = exact.header(ORGANISATION, "repair-1", decided, one)
        assert row["header"] == header
        assert row["body"] == one.body
        said = json.loads(header)
        assert row["event_id"] == one.event_id == exact.event_id("town", "repair-1", one.version)
        assert (row["type"], row["schema_version"]) == (said["type"], said["schema_version"])
        assert (row["version"], row["command_id"]) == (said["version"], said["command_id"])
        assert row["occurred_at"].isoformat() == "2026-05-01T07:30:00+00:00"
    leaves = await admin.fetch("SELECT leaf_hash FROM events_view ORDER BY position")
    assert [bytes.fromhex(leaf[0]) for leaf in leaves] == [
        exact.leaf_hash(row["header"]) for row in rows
    ]

    kept = await admin.fetch("SELECT * FROM decisions ORDER BY version, event_count = 0")
    assert [row["command"] for row in kept] == [canonical(d.command) for d in wanted.decisions]
    assert [row["command_hash"] for row in kept] == [d.command_hash for d in sealed]
    assert [(row["actor"], row["role"], row["proof"]) for row in kept] == [
        ("crew-7", "crew", "token")
    ] * 3
    assert {row["decided_at"] for row in kept} == {START}


async def test_a_policy_is_kept_once_by_its_hash(log: EventLog, admin: asyncpg.Connection) -> None:
    for stream in ("repair-1", "repair-2"):
        await log.append_events(request(stream, 0, decision("a", event())))
    await log.append_events(request("repair-1", 1, decision("b", event())))
    hashes = await admin.fetch("SELECT DISTINCT encode(policy, 'hex') FROM streams")
    assert await admin.fetchval("SELECT count(*) FROM policies") == 1
    assert [await log.policy(row[0]) for row in hashes] == [POLICY]
    assert await log.policy("00" * 32) is None


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ({"case": summary().model_copy(update={"stage": None})}, "null value"),
        ({"policy": None}, "needs its policy"),
        ({"id": 'a"b'}, "a name holds more"),
        ({"event": {"type": "Crew\tArrived"}}, "a name holds more"),
        ({"event": {"at": "2026-05-01T15:30:00+08:00"}}, "not in UTC"),
        ({"event": {"at": "yesterday"}}, "not in UTC"),
        ({"event": {"at": "2026-13-01T07:30:00Z"}}, "out of range"),
    ],
)
async def test_an_append_that_fails_leaves_nothing(
    log: EventLog, admin: asyncpg.Connection, broken: dict[str, Any], complaint: str
) -> None:
    bad = request(
        "repair-1",
        0,
        decision(broken.get("id", "a"), event(**broken.get("event", {})), messages=[(0, WORD)]),
        policy=broken.get("policy", POLICY),
        case=broken.get("case"),
    )
    with pytest.raises((AppendInvalid, asyncpg.PostgresError), match=complaint):
        await log.append_events(bad)
    for table in ("heads", "streams", "policies", "decisions", "events", "outbox", "cases"):
        assert await admin.fetchval(f"SELECT count(*) FROM {table}") == 0, table
    result = await log.append_events(request("repair-1", 0, decision("a", event())))
    assert (result.status, result.recorded[0].position) == ("appended", 1)


async def test_events_need_their_summary(log: EventLog) -> None:
    wanted = request("repair-1", 0, decision("a", event())).model_copy(update={"summary": None})
    with pytest.raises(AppendInvalid, match="summary"):
        await log.append_events(wanted)


async def test_the_case_and_its_messages_are_written_with_the_events(log: EventLog) -> None:
    due = START + timedelta(hours=6)
    await log.append_events(
        request("repair-1", 0, decision("a", event(), event(), messages=[(1, WORD), (1, WORD)]))
    )
    await log.append_events(
        request(
            "repair-1",
            2,
            decision("b", event()),
            decision("c", event(), messages=[(0, WORD.model_copy(update={"params": {}}))]),
            case=summary(stage="Fixed", commitments=(promise("fix", due),), next_due_at=None),
        )
    )
    row = await log.case(ORGANISATION, "repair-1")
    assert row is not None
    assert (row.stage, row.version, row.next_due_at) == ("Fixed", 4, None)
    assert row.commitments == (promise("fix", due),)

    events = {e.position: e for e in await log.tail(ORGANISATION, 0, 10)}
    said = await log.outbox(ORGANISATION)
    assert [(m.position, m.ordinal) for m in said] == [(2, 0), (2, 1), (4, 0)]
    assert [m.id for m in said] == [f"{events[m.position].event_id}/{m.ordinal}" for m in said]
    assert [m.message.params for m in said] == [{"visit": 1}, {"visit": 1}, {}]
    assert {m.state for m in said} == {"waiting"}


async def test_a_second_run_that_opens_the_same_case_is_behind(log: EventLog) -> None:
    # Different commands: only one can be the first word.
    wanted = [request("repair-1", 0, decision(f"run-{n}", event(run=n))) for n in range(8)]
    results = await asyncio.gather(*(log.append_events(one) for one in wanted))
    assert sorted(r.status for r in results) == ["appended"] + ["behind"] * 7
    winner = next(r for r in results if r.status == "appended")
    assert {held(r.recorded) for r in results} == {held(winner.recorded)}


async def test_two_organisations_count_their_own_positions(log: EventLog) -> None:
    positions: dict[str, list[int]] = {"town": [], "estate": []}
    for number in range(3):
        for organisation, kept in positions.items():
            result = await log.append_events(
                request(
                    f"repair-{number}",
                    0,
                    decision("a", event(), event()),
                    organisation=organisation,
                )
            )
            kept.append(result.recorded[0].position)
    assert positions == {"town": [2, 4, 6], "estate": [2, 4, 6]}
    assert [e.position for e in await log.tail("estate", 0, 100)] == [1, 2, 3, 4, 5, 6]


async def test_a_summary_of_a_worker_that_knows_fewer_columns_is_written_too(
    log: EventLog, pool: asyncpg.Pool
) -> None:
    full = summary(
        approvals=(approval("extension-1", START),), answers=(answer(START),), premises=("p-1",)
    )
    await log.append_events(request("repair-1", 0, decision("a", event()), case=full))
    kept = await log.case(ORGANISATION, "repair-1")
    assert kept is not None
    assert (kept.approvals, kept.answers) == (full.approvals, full.answers)
    assert kept.premises == full.premises

    class OlderSummary(CaseSummary):
        def model_dump_json(self, **options: Any) -> str:
            return super().model_dump_json(exclude={"approvals", "answers", "premises"}, **options)

    older = OlderSummary.model_validate(full.model_dump())
    for stream, version in (("repair-1", 1), ("repair-2", 0)):
        wanted = request(stream, version, decision("b", event()))
        await log.append_events(wanted.model_copy(update={"summary": older}))
        row = await log.case(ORGANISATION, stream)
        assert row is not None
        assert (row.version, row.approvals, row.answers) == (version + 1, (), ())
        assert row.premises == ()


async def test_every_column_of_a_case_is_written_again_when_it_changes(log: EventLog) -> None:
    await log.append_events(request("repair-1", 0, decision("a", event())))
    other = CaseSummary(
        kind="complaint",
        stage="Closed",
        final=True,
        owner_kind="person",
        owner="s-7",
        district="west",
        category="billing",
        severity="serious",
        priority=True,
        opened_at=START - timedelta(days=1),
        closed_at=START,
        next_due_at=None,
        next_deadline_at=None,
        commitments=(promise("answer", START),),
        approvals=(approval("extension-1", START),),
        answers=(answer(START),),
        premises=("p-1", "p-2"),
        stops=(stop(),),
        part_payments=(part(),),
        assessment=assessed(),
    )
    before = await log.case(ORGANISATION, "repair-1")
    await log.append_events(request("repair-1", 1, decision("b", event()), case=other))
    after = await log.case(ORGANISATION, "repair-1")
    assert before is not None
    assert after is not None
    columns = set(CaseSummary.model_fields)
    assert after.model_dump(include=columns) == other.model_dump()
    # So that this test finds a column that put_case forgets.
    assert [c for c in sorted(columns) if getattr(before, c) == getattr(other, c)] == []
