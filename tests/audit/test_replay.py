"""The log and Temporal's histories are two ledgers: whichever of them is altered, they disagree."""

import asyncio
import json
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from activities.builds import build_id
from activities.canonical import canonical
from audit import redecide_log as redecide_logs
from audit import replay_log
from audit.agreement import CaseReplayed, agree
from audit.histories import CaseHistory, archived, histories_of
from audit.log import RawCase, RawDecision
from audit.redecide_log import Redecided, redecide_log
from audit.replay import Attempt, Replaying
from audit.replay_log import CaseReplayer
from cli import app
from stack import Endpoints, connect_temporal, url_as
from tests.audit.told import rehashed, reworded
from tests.audit.towns import (
    Town,
    archive,
    copied,
    desk_on,
    lived,
    new_copy,
    new_database,
    only,
    superuser,
)
from tests.replay.test_replay import append_once_more
from tests.workflows.desk import ORGANISATION
from workflows.case import CaseWorkflow

LIVES = ("signed-cutoff", "astray", "merged", "told-late", "on-time", "refused", "unborn")


@pytest.fixture(scope="module")
def town(servers: Endpoints) -> Town:
    return asyncio.run(lived(servers, *LIVES))


@pytest.fixture
async def admin(town: Town) -> Any:
    connection = await superuser(town.admin_url)
    yield connection
    await connection.close()


async def agreed(town: Town, stream: str, case: RawCase | None, *runs: CaseHistory) -> CaseReplayed:
    """What comes of comparing such a case with such runs."""
    async with Replaying.begun() as replaying:
        done = [
            (run, await replaying.replay(stream, run.history)) for run in runs or town.runs[stream]
        ]
    return agree(ORGANISATION, stream, case, done)


async def test_every_case_agrees_with_its_histories(
    town: Town, servers: Endpoints, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_log, "case_runs", only(town.name))
    client = await connect_temporal(servers)
    async with Replaying.begun() as replaying:
        replayer = CaseReplayer(admin, client, ORGANISATION, replaying)
        done = {case.case: case async for case in replayer.replay_all() if case.events}
    assert list(done) == sorted(town.cases)
    assert [case for case in done.values() if case.findings] == []
    assert {c: case.events for c, case in done.items()} == {
        c: case.version for c, case in town.cases.items()
    }
    runs = [run for case in done.values() for run in case.runs]
    assert {(run.builds, run.sdk) for run in runs} == {((build_id(),), "1.35.0")}
    assert sum(run.appended for run in runs) >= 40
    assert done[town.of("signed-cutoff")].runs[0].unproven == 2
    assert [c for c, case in done.items() if case.notes] == [town.of("astray")]


async def test_what_a_run_did_not_write_is_said(town: Town) -> None:
    stream = town.of("astray")
    done = await agreed(town, stream, town.cases[stream])
    assert done.findings == ()
    assert len(done.runs) == 3
    begun, met = done.notes
    assert begun == "No history any more: event 5, which a run found in the log when it began."
    assert "Found in the log by a run that came to write: events 11-" in met


async def test_a_case_whose_first_runs_are_gone_says_which_events_they_wrote(town: Town) -> None:
    stream = town.of("merged", 2)
    first, second = town.runs[stream]
    case = town.cases[stream]
    done = await agreed(town, stream, case, second)
    assert done.findings == ()
    assert "which a run found in the log when it began" in done.notes[0]
    assert (await agreed(town, stream, case, first)).findings, (
        "the second run's events are nobody's"
    )
    gone = agree(ORGANISATION, stream, case, [])
    assert (gone.findings, gone.notes) == ((), (f"No history any more: events 1-{case.version}.",))


def altered(case: RawCase, place: int, decision: RawDecision | None) -> RawCase:
    """With another decision there, or none."""
    told = list(case.decisions)
    told[place : place + 1] = [] if decision is None else [decision]
    return case._replace(decisions=tuple(told))


async def test_an_altered_log_does_not_agree_however_well_it_hashes(town: Town) -> None:
    stream = town.of("on-time")
    case = town.cases[stream]
    triaged = case.decisions[1]
    later = triaged.decided_at.replace(year=2030)
    forgeries = {
        "another RepairTriaged at version 5": rehashed(reworded(triaged, 0, category="leak")),
        "decided at 2030": rehashed(triaged._replace(decided_at=later)),
        "another command": rehashed(triaged._replace(command=b"{}")),
        "at position 9999": triaged._replace(position=9999),
        "another header": triaged._replace(
            events=tuple(e._replace(header=e.header + b" ") for e in triaged.events)
        ),
        "has lost version 5": triaged._replace(events=()),
        "has it at version 6": triaged._replace(version=6),
        "The log has lost on-time": None,
    }
    async with Replaying.begun() as replaying:
        done = [(r, await replaying.replay(stream, r.history)) for r in town.runs[stream]]
    for why, decision in forgeries.items():
        found = agree(ORGANISATION, stream, altered(case, 1, decision), done).findings
        assert any(why in f.what for f in found), (why, found)
        assert {f.stream for f in found} == {stream}
    lost = agree(ORGANISATION, stream, None, done).findings
    assert len(lost) == len(case.decisions)
    other = agree(ORGANISATION, stream, case._replace(policy="{}"), done).findings
    assert [f.check for f in other] == ["policy"]


async def test_what_was_told_to_a_run_must_be_what_the_log_holds(town: Town) -> None:
    """Events that another run wrote are in this one's history as an answer."""
    stream = town.of("merged", 2)
    second = town.runs[stream][1]
    case = town.cases[stream]
    forged = altered(case, 0, rehashed(reworded(case.decisions[0], 0, district="south")))
    found = (await agreed(town, stream, forged, second)).findings
    assert any("told this run of another RepairReported" in f.what for f in found)


async def test_an_event_that_no_run_wrote_is_found(town: Town) -> None:
    stream = town.of("on-time")
    case = town.cases[stream]
    last = case.decisions[-1]
    forged = last.events[-1]._replace(
        version=case.version + 1, position=last.position + 1, command_id="c/0"
    )
    more = last._replace(
        command_id="c/0",
        events=(forged,),
        version=case.version + 1,
        event_count=1,
        position=last.position + 1,
    )
    silent = last._replace(command_id="c/1", events=(), event_count=0)
    for decision, what in ((more, f"this {forged.type}"), (silent, "c/1")):
        log = case._replace(decisions=(*case.decisions, decision))
        (finding,) = (await agreed(town, stream, log)).findings
        assert f"No run of the case wrote {what}, or knew of it." == finding.what


async def test_an_append_that_is_under_way_is_no_finding(town: Town) -> None:
    """Written, and its run does not know it yet; or asked for, and not written yet."""
    stream = town.of("on-time")
    case, (run,) = town.cases[stream], town.runs[stream]
    async with Replaying.begun() as replaying:
        done = await replaying.replay(stream, run.history)
    *before, last = done.attempts
    count = len(last.request.decisions)
    without = case._replace(decisions=case.decisions[:-count])
    unheard = done._replace(attempts=(*before, Attempt(last.request, None)))
    for log in (case, without):
        assert agree(ORGANISATION, stream, log, [(run, unheard)]).findings == ()
    forged = reworded(case.decisions[-1], 0, result="unreachable")
    assert agree(
        ORGANISATION, stream, altered(case, len(case.decisions) - 1, forged), [(run, unheard)]
    ).findings

    unknown = [(run, done._replace(attempts=tuple(before)))]
    head = without.decisions[-1].position
    assert agree(ORGANISATION, stream, case, unknown, known_until=head).findings == ()
    later = case.decisions[-1].events[0].position
    assert agree(ORGANISATION, stream, case, unknown, known_until=later).findings
    assert agree(ORGANISATION, stream, case, unknown).findings


async def test_a_history_that_was_altered_does_not_agree(town: Town) -> None:
    """Both what was decided and the receipt stand in it; neither goes without the other."""
    stream = town.of("on-time")
    case = town.cases[stream]

    def receipt(change: Any) -> CaseHistory:
        run = copied(town.runs[stream][0])
        for event in run.history.events:
            details = event.marker_recorded_event_attributes.details
            if "result" in details:
                payload = details["result"].payloads[0]
                answer = json.loads(payload.data)
                change(answer["recorded"][0])
                payload.data = json.dumps(answer).encode()
                return run
        raise AssertionError("no receipt")

    async def found(run: CaseHistory) -> str:
        return " ".join(f.what for f in (await agreed(town, stream, case, run)).findings)

    first = receipt(lambda recorded: recorded.update(leaves=["00" * 32] * 4))
    assert "this build decides otherwise" in await found(first)
    moved = receipt(lambda recorded: recorded.update(position=recorded["position"] + 1))
    assert "but took it at" in await found(moved)
    renamed = receipt(lambda recorded: recorded.update(command_id="c/0"))
    assert "decides other commands" in await found(renamed)
    older = receipt(lambda recorded: recorded.pop("leaves"))
    assert await found(older) == "", "receipts of older builds have no leaves"


async def test_a_build_that_does_otherwise_is_found_in_temporals_words(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CaseWorkflow, "_turn", append_once_more)
    stream = town.of("on-time")
    done = await agreed(town, stream, town.cases[stream])
    assert any(f.check == "replay" and "ondetermini" in f.what for f in done.findings)


async def test_what_is_written_behind_temporals_back_is_found(
    servers: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every right and every rule: only no run of the case knows of it."""
    monkeypatch.setattr(replay_log, "PATIENCE", (0.0,))
    client = await connect_temporal(servers)
    other = await new_database(servers)
    async with desk_on(client, other, "nobody's") as desk:
        stream = desk.name()
        await desk.append(stream, desk.report())
    admin = await superuser(other)
    async with Replaying.begun() as replaying:
        replayer = CaseReplayer(admin, client, ORGANISATION, replaying)
        nothing = await replayer.replay(stream)
        assert (nothing.findings, nothing.notes) == ((), ("No history any more: events 1-4.",))
        run = await client.start_workflow(
            "RepairWorkflow", {"case_id": 7}, id=stream, task_queue="nobody's"
        )
        behind = await replayer.replay(stream)
        await run.terminate()
    await admin.close()
    assert [f.version for f in behind.findings] == [1, 2, 3, 4]


async def test_the_whole_log_decides_again(town: Town, admin: asyncpg.Connection) -> None:
    seen: list[int] = []
    done = await redecide_log(admin, ORGANISATION, report=lambda events, _: seen.append(events))
    assert (done.findings, done.wrong) == ((), 0)
    assert done.events == done.position == sum(c.version for c in town.cases.values())
    assert done.commands == sum(len(c.decisions) for c in town.cases.values())
    assert done.signatures == 2, "given once, and rested upon once"
    assert seen[-1] == done.events
    one = await redecide_log(admin, ORGANISATION, town.of("on-time"))
    assert (one.cases, one.wrong) == (1, 0)


async def test_a_large_log_is_shared_out_to_processes(
    town: Town, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same result, findings included."""
    alone = await tampering(admin, "DELETE FROM outbox WHERE ordinal = 0")
    monkeypatch.setattr(redecide_logs, "WORTH_PROCESSES", 1)
    monkeypatch.setattr(redecide_logs, "BATCH", 2)
    assert await tampering(admin, "DELETE FROM outbox WHERE ordinal = 0", processes=2) == alone
    assert alone.wrong


async def test_a_row_that_cannot_be_read_is_a_finding(
    town: Town, admin: asyncpg.Connection
) -> None:
    stream = town.of("refused")
    done = await tampering(
        admin,
        "ALTER TABLE events DISABLE TRIGGER ALL;"
        f" UPDATE events SET occurred_at = 'infinity' WHERE stream = '{stream}' AND version = 1",
    )
    row, *unlawful = done.findings
    assert row.check == "row"
    assert stream in row.what
    assert {f.stream for f in unlawful} == {stream}


KEYS = "ALTER TABLE signing_keys DISABLE TRIGGER ALL; "
NONCES = "ALTER TABLE signature_nonces DISABLE TRIGGER ALL; "


@pytest.mark.parametrize(
    ("tampered", "why"),
    [
        (KEYS + "UPDATE signing_keys SET subject = 'somebody-1'", "never enrolled to who decides"),
        (KEYS + "DELETE FROM signing_keys", "never enrolled to who decides"),
        (KEYS + "UPDATE signing_keys SET lost_at = '2020-01-01', lost_by = 'a-1'", "reported lost"),
        (KEYS + "UPDATE signing_keys SET enrolled_at = now() + interval '9 years'", "afterwards"),
        (KEYS + "UPDATE signing_keys SET valid_until = '2020-01-01'", "too old (WAT-F25b)"),
        (NONCES + "DELETE FROM signature_nonces", "does not have this one"),
        (NONCES + "UPDATE signature_nonces SET command_id = 'c/0'", "does not have this one"),
        ("UPDATE outbox SET recipient = 'somebody'", "other messages than the outbox holds"),
        ("UPDATE outbox SET params = params || '{\"more\": 1}'", "other messages"),
        ("DELETE FROM outbox", "other messages than the outbox holds"),
    ],
)
async def test_signatures_and_messages_are_looked_up(
    town: Town, admin: asyncpg.Connection, tampered: str, why: str
) -> None:
    done = await tampering(admin, tampered)
    assert done.wrong
    assert all(why in finding.what for finding in done.findings), done.findings


async def test_a_signature_over_something_else_is_found(
    town: Town, admin: asyncpg.Connection
) -> None:
    """The command's signature is another; the events are as the rules then have it."""
    stream = town.of("signed-cutoff")
    given = next(d for d in town.cases[stream].decisions if b'"type":"DecideApproval"' in d.command)
    command, body = json.loads(given.command), json.loads(given.events[0].body)
    right = command["body"]["signature"]["signature"]
    wrong = ("A" if right[0] != "A" else "B") + right[1:]
    forged = given.command.replace(right.encode(), wrong.encode())
    event = canonical(json.loads(json.dumps(body).replace(right, wrong)))
    done = await tampering(
        admin,
        "ALTER TABLE decisions DISABLE TRIGGER ALL; ALTER TABLE events DISABLE TRIGGER ALL;"
        f" ALTER TABLE decisions DROP CONSTRAINT decisions_check;"
        f" UPDATE decisions SET command = '\\x{forged.hex()}' WHERE command_id = '{command['id']}';"
        f" UPDATE events SET body = '\\x{event.hex()}' WHERE position = {given.events[0].position}",
    )
    assert any("the signature is not over this decision" in f.what for f in done.findings)


async def tampering(admin: asyncpg.Connection, statements: str, *, processes: int = 1) -> Redecided:
    """Deciding again after a superuser has done that; it is undone then."""
    transaction = admin.transaction()
    await transaction.start()
    try:
        await admin.execute(statements)
        return await redecide_log(admin, ORGANISATION, processes=processes)
    finally:
        await transaction.rollback()


@pytest.fixture(scope="module")
def archives(town: Town, servers: Endpoints) -> str:
    """A copy of the log where two cases' histories are archived; its URL as superuser."""

    async def filled() -> str:
        url = await new_copy(servers, town.admin_url)
        for stream in (town.of("merged", 2), town.of("on-time")):
            for run in town.runs[stream]:
                await archive(url, run)
        return url

    return asyncio.run(filled())


async def test_an_archived_history_serves_as_well_as_temporals(town: Town, archives: str) -> None:
    stream = town.of("merged", 2)
    admin = await superuser(archives)
    async with Replaying.begun() as replaying:
        done = await CaseReplayer(admin, None, ORGANISATION, replaying).replay(stream)
    await admin.close()
    assert (done.findings, done.notes) == ((), ())
    assert [(run.run_id, run.source) for run in done.runs] == [
        (run.run_id, "archive") for run in town.runs[stream]
    ]


@pytest.mark.parametrize(
    ("tampered", "why"),
    [
        ("SET content = 'nothing'", "cannot be unpacked"),
        ("SET sha256 = sha256('nothing')", "is not the one whose hash the log tells"),
        ("SET register = 'archive-town--2001-01'", "is not the one whose hash the log tells"),
    ],
)
async def test_an_archived_history_must_be_the_one_that_the_log_tells_of(
    town: Town, archives: str, servers: Endpoints, tampered: str, why: str
) -> None:
    stream = town.of("on-time")
    admin = await superuser(archives)
    transaction = admin.transaction()
    await transaction.start()
    await admin.execute(f"ALTER TABLE histories DISABLE TRIGGER ALL; UPDATE histories {tampered}")
    found = await histories_of(admin, await connect_temporal(servers), ORGANISATION, stream)
    alone = await archived(admin, ORGANISATION, stream)
    await transaction.rollback()
    await admin.close()
    assert [f.check for f in found.findings] == ["archive"]
    assert why in found.findings[0].what
    assert [run.source for run in found.runs] == ["temporal"], "Temporal has it still"
    assert alone.runs == []


@pytest.fixture
def audited(town: Town, servers: Endpoints, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A terminal of an auditor's."""
    monkeypatch.setenv("STANDPIPE_DATABASE_URL", url_as(town.admin_url, role="standpipe_auditor"))
    monkeypatch.setenv("TEMPORAL_ADDRESS", servers.temporal_address)
    return CliRunner()


def test_an_auditor_decides_again_and_replays_from_the_terminal(
    town: Town, audited: CliRunner
) -> None:
    stream = town.of("astray")
    every = audited.invoke(app, ["audit", "redecide", "--all", "--json"])
    assert every.exit_code == 0, every.output
    assert json.loads(every.stdout)["signatures"] == 2
    one = audited.invoke(app, ["audit", "redecide", stream])
    assert one.exit_code == 0, one.output
    assert " of 1 case, " in one.stdout
    assert "Next, that these are the commands" in one.stdout
    again = audited.invoke(app, ["audit", "replay", stream])
    assert again.exit_code == 0, again.output
    assert "No history any more: event 5" in again.stdout.replace("\n", " ")
    assert build_id() in again.stdout
    archive = audited.invoke(app, ["audit", "replay", stream, "--archive-alone", "--json"])
    (case,) = json.loads(archive.stdout)["cases"]
    assert case["runs"] == []
    for wrong in (["redecide"], ["replay", "--all", stream], ["replay", "no case"]):
        assert audited.invoke(app, ["audit", *wrong]).exit_code == 2
    for unknown in ("redecide", "replay"):
        assert audited.invoke(app, ["audit", unknown, "repair-0"]).exit_code == 1


def test_the_terminal_says_what_is_wrong_and_ends_with_1(
    town: Town, audited: CliRunner, servers: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = town.of("on-time")

    async def tampered() -> str:
        url = await new_copy(servers, town.admin_url)
        admin = await superuser(url)
        await admin.execute(
            "ALTER TABLE events DISABLE TRIGGER ALL; UPDATE events SET body = convert_to(replace("
            "convert_from(body, 'UTF8'), 'no-gas', 'no-air'), 'UTF8') WHERE stream = '"
            f"{stream}' AND type = 'RepairTriaged'"
        )
        await admin.close()
        return url

    url = asyncio.run(tampered())
    monkeypatch.setenv("STANDPIPE_DATABASE_URL", url_as(url, role="standpipe_auditor"))
    monkeypatch.setattr(replay_log, "PATIENCE", ())
    for verb in ("redecide", "replay"):
        told = audited.invoke(app, ["audit", verb, stream, "--json"])
        assert told.exit_code == 1, told.output
        shown = audited.invoke(app, ["audit", verb, stream])
        assert shown.exit_code == 1
        assert stream in shown.stdout
