"""PostgreSQL comes back from an older backup: the log is given back what it lost, to the byte."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from activities.canonical import leaf_hash
from activities.rebuild import rebuild
from audit import log, missing, replay_log, restore
from audit.missing import Missing, find_missing
from audit.notes import Checkpoint, Signer, sign
from audit.redecide_log import redecide_log
from audit.replay import Replaying
from audit.replay_log import CaseReplayer
from audit.restore import NotRestored
from audit.tree import Frontier
from cli import app
from gateway.terminal.records import project
from stack import Endpoints, connect_temporal, url_as
from tests.audit.towns import desk_on, new_copy, new_database, only, superuser
from tests.workflows.desk import ORGANISATION, Desk, until

KEY = Signer("standpipe/town", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
HOUR = timedelta(hours=1)

EVENTS = """
    SELECT position, stream, version, event_id, type, schema_version, occurred_at, command_id,
        header, body
    FROM events ORDER BY position
"""
DECISIONS = """
    SELECT stream, command_id, command_hash, command, actor, role, proof, decided_at, event_count,
        version, position
    FROM decisions ORDER BY stream, command_id
"""
OUTBOX = "SELECT * FROM outbox ORDER BY position, ordinal"
NONCES = "SELECT nonce, stream, command_id FROM signature_nonces ORDER BY nonce"
STREAMS = "SELECT * FROM streams ORDER BY stream"
POLICIES = "SELECT * FROM policies ORDER BY hash"
CASES = "SELECT * FROM cases ORDER BY case_id"


class Disaster(NamedTuple):
    """A town that went on after its backup."""

    name: str
    live: str
    """The database as it was when it was lost."""
    backup: str
    """As it came back, never touched: take a copy."""
    going: str
    """A case that was open all the while."""


@pytest.fixture(scope="module")
def disaster(servers: Endpoints) -> Disaster:
    return asyncio.run(struck(servers))


async def struck(servers: Endpoints) -> Disaster:
    live, name = await new_database(servers), uuid4().hex[:6]
    client = await connect_temporal(servers)
    async with desk_on(client, live, f"before-{name}") as desk:
        desk = desk.called(name)
        over, going = await desk.opened(), await desk.opened()
        await desk.finish(over)
        await desk.send(going, "TriageRepair", category="no-gas", severity="common")
        owing = await desk.eligible(dn=50)
        backup = await new_copy(servers, live)

        await desk.send(owing, "RequestCutoff", reason="unpaid")
        await desk.decide(owing)
        new = await desk.opened()
        await desk.send(going, "TakeCase")
        await desk.send(going, "TakeCase")  # it is so already: a decision without events
        await asyncio.gather(
            desk.send(new, "TriageRepair", category="no-gas", severity="common"),
            desk.send(going, "DispatchCrew", crew="k-1"),
        )
        await desk.later(going, 5 * HOUR)  # rungs
        await desk.finish_after_triage(new)
    return Disaster(name, live, backup, going)


@pytest.fixture(autouse=True)
def ours(disaster: Disaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has cases of other tests, too."""
    for module in (missing, replay_log):
        monkeypatch.setattr(module, "case_runs", only(disaster.name))


@pytest.fixture
async def came_back(disaster: Disaster, servers: Endpoints) -> str:
    """The backup, to be restored; its URL as superuser."""
    return await new_copy(servers, disaster.backup)


@asynccontextmanager
async def worker_of(url: str) -> AsyncGenerator[asyncpg.Connection]:
    connection = await superuser(url_as(url, role="standpipe_worker"))
    try:
        yield connection
    finally:
        await connection.close()


async def lost(url: str, servers: Endpoints) -> Missing:
    client = await connect_temporal(servers)
    async with worker_of(url) as connection, Replaying.begun() as replaying:
        return await find_missing(connection, client, ORGANISATION, replaying)


async def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    connection = await superuser(url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def checkpoint(url: str, size: int | None = None) -> Checkpoint:
    """What was kept elsewhere of that log."""
    tree, connection = Frontier(), await superuser(url)
    async for chunk in log.events(connection, ORGANISATION, until=size):
        tree.extend(leaf_hash(event.header) for event in chunk)
    await connection.close()
    return Checkpoint("standpipe/town", tree.size, tree.root())


async def given_back(url: str, what: Missing, kept: Checkpoint | None = None) -> None:
    async with worker_of(url) as connection:
        await restore.restore(connection, ORGANISATION, what, kept)


async def test_the_log_comes_back_to_the_byte(
    disaster: Disaster, came_back: str, servers: Endpoints
) -> None:
    before, after = await rows(came_back, EVENTS), await rows(disaster.live, EVENTS)
    assert before == after[: len(before)]
    what = await lost(came_back, servers)
    assert (what.head, what.until, what.findings) == (len(before), len(after), ())
    assert any(not append.events for append in what.appends), "also what caused nothing"
    assert await rows(came_back, EVENTS) == before, "to look changes nothing"

    await given_back(came_back, what, await checkpoint(disaster.live))
    for query in (EVENTS, DECISIONS, OUTBOX, NONCES, STREAMS, POLICIES, CASES):
        assert await rows(came_back, query) == await rows(disaster.live, query), query
    assert len(await rows(came_back, NONCES)) == 1
    rebuilt = await rebuild(came_back, ORGANISATION, project, lambda _: None)
    assert (rebuilt.differences, rebuilt.position) == ((), len(after))

    again = await lost(came_back, servers)
    assert (again.appends, again.findings) == ((), ())
    admin, client = await superuser(came_back), await connect_temporal(servers)
    (finding,) = (await redecide_log(admin, ORGANISATION)).findings
    assert "key was never enrolled" in finding.what, "the register of keys is as old as the backup"
    async with Replaying.begun() as replaying:
        replayer = CaseReplayer(admin, client, ORGANISATION, replaying)
        assert [c async for c in replayer.replay_all() if c.findings or c.notes] == []
    await admin.close()


async def test_a_running_case_waits_for_the_log_and_goes_on(servers: Endpoints) -> None:
    live, name = await new_database(servers), uuid4().hex[:6]
    client = await connect_temporal(servers)
    async with desk_on(client, live, f"waits-{name}") as desk:
        case_id = await desk.called(name).opened()
        backup = await new_copy(servers, live)
        await desk.send(case_id, "TriageRepair", category="no-gas", severity="common")
    async with desk_on(client, backup, f"waits-{name}") as desk:
        sent = asyncio.create_task(desk.send(case_id, "DispatchCrew", crew="k-1"))

        async def told_to_restore() -> bool:
            return await desk.log.head(ORGANISATION) == 4 and await behind(desk, case_id)

        await until(told_to_restore)
        assert not sent.done()
        what = await lost_of(backup, servers, name)
        assert (what.head, what.until) == (4, 5)
        await given_back(backup, what)
        outcome = await sent
        assert (outcome.version, outcome.events[0]) == (7, "CrewDispatched")
        await desk.verified(case_id)


async def behind(desk: Desk, case_id: str) -> bool:
    """Whether its worker has begun to ask in vain: a workflow task is under way."""
    described = await desk.handle(case_id).describe()
    return described.raw_description.HasField("pending_workflow_task")


async def lost_of(url: str, servers: Endpoints, name: str) -> Missing:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(missing, "case_runs", only(name))
        return await lost(url, servers)


async def test_without_all_of_the_histories_nothing_is_given_back(
    disaster: Disaster, came_back: str, servers: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = only(disaster.name)

    async def but_one(*arguments: Any) -> AsyncGenerator[tuple[str, str]]:
        async for run in every(*arguments):
            if run[0] != disaster.going:
                yield run

    monkeypatch.setattr(missing, "case_runs", but_one)
    what = await lost(came_back, servers)
    gaps = [f for f in what.findings if f.check == "gap"]
    assert gaps
    assert "No history tells what positions" in gaps[0].what
    before = await rows(came_back, EVENTS)
    with pytest.raises(NotRestored, match="No history tells what positions"):
        await given_back(came_back, what)
    assert await rows(came_back, EVENTS) == before


async def test_what_only_a_dead_worker_knew_is_named(servers: Endpoints) -> None:
    """It was written, and heard of by the next attempt; with what decision, no history tells."""
    live, name = await new_database(servers), uuid4().hex[:6]
    client = await connect_temporal(servers)
    async with desk_on(client, live, f"dead-{name}") as desk:
        case_id = await desk.called(name).opened()
        backup = await new_copy(servers, live)
        written = desk.command("TriageRepair", category="no-gas", severity="common", id="lost/1")
        await desk.append(case_id, written)
        await desk.send(case_id, "DispatchCrew", crew="k-1")
    (finding,) = (await lost_of(backup, servers, name)).findings
    assert finding.what == (
        f"No history tells what positions 5 to 5 held, written by {case_id} (lost/1)"
        " just before its worker died."
    )


async def test_a_log_that_goes_on_has_no_room_for_what_it_lost(
    disaster: Disaster, came_back: str, servers: Endpoints
) -> None:
    what = await lost(came_back, servers)
    client = await connect_temporal(servers)
    async with desk_on(client, came_back, f"on-{uuid4().hex[:6]}") as desk:
        await desk.append(desk.name(), desk.report())
    before = await rows(came_back, EVENTS)
    with pytest.raises(NotRestored, match="stop the workers"):
        await given_back(came_back, what)
    what = await lost(came_back, servers)
    assert any("The log went on after it came back" in f.what for f in what.findings)
    with pytest.raises(NotRestored, match="went on after it came back"):
        await given_back(came_back, what)
    assert await rows(came_back, EVENTS) == before


async def test_the_external_checkpoint_must_match_afterwards(
    disaster: Disaster, came_back: str, servers: Endpoints
) -> None:
    what = await lost(came_back, servers)
    before, kept = await rows(came_back, EVENTS), await checkpoint(disaster.live)
    other = Checkpoint(kept.origin, kept.size, bytes(32))
    for wrong, why in ((other, "checkpoint's root"), (larger(kept), "Look for a newer backup")):
        with pytest.raises(NotRestored, match=why):
            await given_back(came_back, what, wrong)
        assert await rows(came_back, EVENTS) == before
    earlier = await checkpoint(disaster.live, what.head + 1)
    await given_back(came_back, what, earlier)
    assert await rows(came_back, EVENTS) == await rows(disaster.live, EVENTS)


def larger(kept: Checkpoint) -> Checkpoint:
    return Checkpoint(kept.origin, kept.size + 1, kept.root)


@pytest.fixture
def terminal(came_back: str, servers: Endpoints, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A terminal with a worker's rights."""
    monkeypatch.setenv("STANDPIPE_DATABASE_URL", url_as(came_back, role="standpipe_worker"))
    monkeypatch.setenv("TEMPORAL_ADDRESS", servers.temporal_address)
    return CliRunner()


def test_restoring_from_the_terminal_shows_first_and_writes_then(
    disaster: Disaster, came_back: str, terminal: CliRunner, tmp_path: Path
) -> None:
    verb = ["audit", "restore-log"]
    shown = terminal.invoke(app, verb)
    assert shown.exit_code == 0, shown.output
    assert "Nothing was written yet" in shown.stdout
    assert "standpipe audit restore-log --yes" in shown.stdout

    kept, file = asyncio.run(checkpoint(disaster.live)), tmp_path / "checkpoint"
    file.write_text(sign(kept, KEY))
    wrong = Signer(KEY.name, Ed25519PrivateKey.generate()).vkey
    bad = terminal.invoke(app, [*verb, "--yes", "--checkpoint", str(file), "--key", wrong])
    assert bad.exit_code == 2, bad.output

    good = [*verb, "--checkpoint", str(file), "--key", KEY.vkey, "--json"]
    told = terminal.invoke(app, [*good, "--yes"])
    assert told.exit_code == 0, told.output
    result = json.loads(told.stdout)
    assert result["restored"] is True
    assert result["until"] == kept.size
    assert {a["case"] for a in result["appends"]} >= {disaster.going}

    again = terminal.invoke(app, good)
    assert again.exit_code == 0
    assert json.loads(again.stdout)["appends"] == []
    file.write_text(sign(larger(kept), KEY))
    beyond = terminal.invoke(app, good)
    assert beyond.exit_code == 1
    assert "Look for a newer backup" in beyond.stdout
