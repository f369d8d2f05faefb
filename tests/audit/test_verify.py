"""`audit verify` says exactly what is wrong, and where."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner, Result

import activities.checkpoints
from activities.checkpoints import Checkpoints
from activities.event_log import EventLog
from audit import proofs, verify_tree
from audit import verify as verifying
from audit.notes import Checkpoint
from audit.tree import EMPTY_ROOT
from audit.verify import Progress, verify
from cli import app
from tests.audit.attacks import look, signer
from tests.audit.forger import Forger
from tests.audit.logs import Life, make_log
from tests.conftest import Database

TOWN = "town"
EVENT = "WHERE organisation = 'town' AND position = 3"


@pytest.fixture
async def forger(log: EventLog, admin: asyncpg.Connection) -> Forger:
    """A log of two repairs, side by side."""
    lives = [Life(TOWN, f"repair-{n}", Random(n)) for n in (1, 2)]
    for _ in range(4):
        for life in lives:
            request = life.next()
            assert request is not None
            assert (await log.append_events(request)).status == "appended"
    forger = Forger(admin, TOWN, Random(0))
    await forger.disarm(rules=True)
    return forger


Told = list[tuple[str, int | None, str | None, int | None]]


async def told(forger: Forger, *external: Checkpoint) -> Told:
    """Every finding: which check, and where."""
    verdict = await look(forger, *external)
    assert sum(verdict.counts.values()) == len(verdict.findings)
    return [(f.check, f.position, f.stream, f.version) for f in verdict.findings]


@asynccontextmanager
async def undone(forger: Forger) -> AsyncIterator[None]:
    """What is done here was never done."""
    transaction = forger.connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


async def test_a_whole_log_is_told_with_what_was_read(forger: Forger) -> None:
    said: list[Progress] = []
    verdict = await verify(forger.connection, TOWN, report=said.append)
    assert verdict.clean
    assert verdict.findings == ()
    size = await forger.size()
    (decisions,) = (await forger.rows("SELECT count(*) FROM decisions WHERE organisation = $1"))[0]
    assert (verdict.events, verdict.size, verdict.cases) == (size, size, 2)
    assert (verdict.decisions, verdict.tiles, verdict.checkpoints) == (decisions, 0, 0)
    assert (verdict.external, verdict.covered) == (0, 0)
    assert Progress("leaves", size, size) in said
    assert said[-1] == Progress("cases", size, size)
    assert {p.phase for p in said} == {"leaves", "commands", "cases"}
    nobody = await verify(forger.connection, "nobody")
    assert nobody.clean
    assert (nobody.events, nobody.root) == (0, EMPTY_ROOT.hex())


async def test_what_is_found_is_named_with_what_was_expected(forger: Forger) -> None:
    before = (await forger.rows(f"SELECT * FROM events {EVENT} AND $1 = 'town'"))[0]
    body = before["body"].replace(b'"at":"2', b'"at":"3')
    await forger.execute(f"UPDATE events SET body = $2 {EVENT} AND $1 = 'town'", body)
    verdict = await look(forger)
    (finding,) = [f for f in verdict.findings if f.check == "body"]
    assert finding.what == (
        f"The body hashes to {sha256(body).hexdigest()}; the header says"
        f" {sha256(before['body']).hexdigest()}."
    )
    assert (finding.position, finding.stream) == (3, before["stream"])
    assert finding.version == before["version"]
    assert verdict.counts["column"] == 1  # its time is another than its column's
    assert "header" not in verdict.counts


# What somebody did to the third event or to its case, and what is told of it; `here` stands for the
# event's place, `case` for its case's.
Row = tuple[str, list[tuple[str, str]]]
EVENTS: dict[str, Row] = {
    "header": ("header = set_byte(header, 150, 120)", [("header", "here")]),
    "a header's word for the body": ("header = set_byte(header, 20, 120)", [("body", "here")]),
    "a header that is no JSON": ("header = '\\xff00'", [("body", "here"), ("header", "here")]),
    "no header": ("header = NULL", [("body", "here"), ("row", ""), ("decision", "case")]),
    "id": ("event_id = gen_random_uuid()", [("event-id", "here"), ("header", "here")]),
    "when it was": ("occurred_at = occurred_at + '1 s'", [("header", "here"), ("column", "here")]),
    "when it was, for ever": ("occurred_at = 'infinity'", [("row", ""), ("decision", "case")]),
    "when it was, in a year of five figures": (
        "occurred_at = '20000-01-01'",
        [("row", ""), ("decision", "case")],
    ),
    "when it was recorded": ("recorded_at = recorded_at + '1 s'", [("recorded", "here")]),
    "type": ("type = 'Nothing'", [("header", "here"), ("column", "here")]),
    "a type that is no name": ("type = '\"'", [("header", "here"), ("column", "here")]),
    "schema version": ("schema_version = 2", [("header", "here"), ("column", "here")]),
    "its command": ("command_id = 'other'", [("decision", "case"), ("decision", "here")]),
}


async def test_an_event_that_was_altered_is_found(forger: Forger) -> None:
    row = (await forger.rows(f"SELECT * FROM events {EVENT} AND $1 = 'town'"))[0]
    for column in ("header", "occurred_at"):
        await forger.connection.execute(f"ALTER TABLE events ALTER {column} DROP NOT NULL")
    places = {
        "here": (3, row["stream"], row["version"]),
        "case": (None, row["stream"]),
        "": (None, None, None),
    }
    for what, (change, expected) in EVENTS.items():
        async with undone(forger):
            await forger.connection.execute(f"UPDATE events SET {change} {EVENT}")
            found = await told(forger)
        for check, place in expected:
            wanted = (check, *places[place])
            assert any(f[: len(wanted)] == wanted for f in found), (what, wanted, found)


async def test_bytes_of_any_kind_are_findings_and_nothing_stops(forger: Forger) -> None:
    deep = b"[" * 100_000
    odd = [
        b"",
        b"\xff\xfe",
        b"null",
        b"7",
        b"[]",
        b'{"type":1}',
        b'{"a":1e999}',
        deep,
        b'"\\ud800"',
    ]
    for content in odd:
        for table, column in (("events", "body"), ("events", "header"), ("decisions", "command")):
            async with undone(forger):
                await forger.execute(
                    f"UPDATE {table} SET {column} = $2 WHERE organisation = $1", content
                )
                assert not (await look(forger)).clean
    for content in odd:
        async with undone(forger):
            await forger.connection.execute("UPDATE policies SET content = $1", content)
            verdict = await look(forger)
        assert verdict.counts["policy"] >= 2


BESIDE: dict[str, tuple[str, Told]] = {
    "a gap": (
        "DELETE FROM events WHERE position = 2",
        [("gap", 2, None, None)],
    ),
    "an end that is not there": (
        "UPDATE heads SET position = position + 1",
        [("head", None, None, None)],
    ),
    "no end at all": ("DELETE FROM heads", [("head", None, None, None)]),
    "a version too many": (
        "UPDATE streams SET version = version + 1 WHERE stream = 'repair-1'",
        [("stream", None, "repair-1", None)],
    ),
    "another kind": (
        "UPDATE streams SET kind = 'arrears' WHERE stream = 'repair-1'",
        [("stream", None, "repair-1", None)],
    ),
    "no case": (
        "DELETE FROM streams WHERE stream = 'repair-2'",
        [("lost", None, "repair-2", None)],
    ),
    "a case from nowhere": (
        "INSERT INTO streams SELECT 'town', 'repair-9', 'repair', 0, policy FROM streams LIMIT 1",
        [("stream", None, "repair-9", None)],
    ),
    "no policy": ("DELETE FROM policies", [("policy", None, "repair-1", None)]),
    "another policy": (
        "UPDATE streams SET policy = sha256('x') WHERE stream = 'repair-1'",
        [("policy", None, "repair-1", None)],
    ),
    "a read model": (
        "UPDATE cases SET stage = 'Closed' WHERE case_id = 'repair-1'",
        [("read-model", None, "repair-1", None)],
    ),
    "a read model's age": (
        "UPDATE cases SET version = 1 WHERE case_id = 'repair-1'",
        [("read-model", None, "repair-1", None)],
    ),
    "a read model that is none": (
        "UPDATE cases SET commitments = '7' WHERE case_id = 'repair-1'",
        [("read-model", None, "repair-1", None)],
    ),
    "no read model": (
        "DELETE FROM cases WHERE case_id = 'repair-1'",
        [("read-model", None, "repair-1", None)],
    ),
    "no messages": ("DELETE FROM outbox", [("outbox", None, None, None)]),
    "another message": (
        "UPDATE outbox SET recipient = 'party-9'",
        [("outbox", None, None, None)],
    ),
    "a message from nowhere": (
        "INSERT INTO outbox (organisation, position, ordinal, event_id, stream, recipient_kind,"
        " recipient, template, params) SELECT 'town', 999, 0, event_id, stream, 'party', 'p', 't',"
        " '{}' FROM events LIMIT 1",
        [("lost", 999, None, None)],
    ),
    "a command": (
        "UPDATE decisions SET command = command || ' ' WHERE command_id = 'repair-1/1'",
        [("command", None, "repair-1", None), ("schema", None, "repair-1", None)],
    ),
    "a command and its hash": (
        "UPDATE decisions SET command = command || ' ', command_hash = sha256(command || ' ')"
        " WHERE command_id = 'repair-1/1'",
        [("header", None, "repair-1", None)],
    ),
    "who it was": (
        "UPDATE decisions SET actor = 'other' WHERE command_id = 'repair-1/1'",
        [("column", None, "repair-1", None)],
    ),
    "when it was decided": (
        "UPDATE decisions SET decided_at = decided_at + '1 s' WHERE command_id = 'repair-1/1'",
        [("header", None, "repair-1", None)],
    ),
    "how much it caused": (
        "UPDATE decisions SET event_count = event_count + 1 WHERE command_id = 'repair-1/1'",
        [("decision", None, "repair-1", None)],
    ),
    "where it stands": (
        "UPDATE decisions SET position = 999 WHERE command_id = 'repair-1/1'",
        [("decision", None, "repair-1", None)],
    ),
}


async def test_what_stands_beside_the_events_is_checked_too(forger: Forger) -> None:
    assert await told(forger) == []
    for what, (change, expected) in BESIDE.items():
        async with undone(forger):
            done = await forger.connection.execute(change)
            assert int(done.rpartition(" ")[2]) > 0, what
            found = await told(forger)
        for wanted in expected:
            assert any(
                all(w is None or w == f for w, f in zip(wanted, each, strict=True))
                for each in found
            ), (what, wanted, found)


async def test_a_thousand_faults_are_counted_and_the_first_are_told(forger: Forger) -> None:
    await forger.execute("UPDATE events SET body = body || ' ' WHERE organisation = $1")
    size = await forger.size()
    for kept in (2, 50):
        with pytest.MonkeyPatch.context() as patch:
            for module in ("verdict", "verify_leaves", "verify_cases"):
                patch.setattr(f"audit.{module}.KEPT", kept)
            verdict = await look(forger)
        assert verdict.counts["body"] == size
        assert len([f for f in verdict.findings if f.check == "body"]) == min(size, kept)


async def test_it_reads_in_windows_and_finds_the_same_tree(
    forger: Forger, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = await look(forger)
    for window in (1, 5):
        monkeypatch.setattr(verifying, "WINDOW", window)
        assert (await look(forger)).root == at_once.root
    await forger.execute("UPDATE events SET position = position - 9 WHERE position = 1 AND $1 > ''")
    await forger.execute("UPDATE events SET position = 2 ^ 60 WHERE position = 4 AND $1 > ''")
    found = await told(forger)
    gaps = [f for f in found if f[0] == "gap"]
    assert [f[1] for f in gaps][:3] == [-8, 1, 4]
    assert len(gaps) == 4  # the last is up to 2 ** 60


@pytest.fixture
async def tall(
    log: EventLog, admin: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Forger, list[Checkpoint]]:
    """A log with checkpoints, and tiles of four hashes instead of 256, so that they are stacked."""
    await admin.execute("ALTER TABLE tree_tiles DROP CONSTRAINT tree_tiles_hashes_check")
    for module in (proofs, activities.checkpoints, verify_tree):
        monkeypatch.setattr(module, "WIDTH", 4)
    monkeypatch.setattr(proofs, "_BITS", 2)
    pool: Any = log._pool  # pyright: ignore[reportPrivateUsage]
    signing = Checkpoints(pool, TOWN, signer(TOWN), tmp_path)
    signed: list[Checkpoint] = []
    for part in range(4):
        await make_log(log, TOWN, part, appends=9)
        newest = await signing.make()
        assert newest is not None
        signed.append(newest)
    forger = Forger(admin, TOWN, Random(0))
    await forger.disarm(rules=True)
    return forger, signed


async def test_tiles_and_checkpoints_are_compared_with_the_leaves(
    tall: tuple[Forger, list[Checkpoint]],
) -> None:
    forger, signed = tall
    verdict = await look(forger, *signed, Checkpoint(f"standpipe/{TOWN}", 0, EMPTY_ROOT))
    size = await forger.size()
    assert verdict.clean
    assert size >= 64
    assert verdict.tiles == size // 4 + size // 16 + size // 64
    assert (verdict.checkpoints, verdict.external, verdict.covered) == (4, 5, size)
    assert verdict.root == signed[-1].root.hex()

    async def after(change: str) -> Told:
        async with undone(forger):
            await forger.connection.execute(change)
            return await told(forger, *signed)

    flip = "hashes = set_byte(hashes, 40, get_byte(hashes, 40) # 1)"
    assert await after(f"UPDATE tree_tiles SET {flip} WHERE level = 0 AND number = 2") == [
        ("tree", 10, None, None)
    ]
    assert await after(f"UPDATE tree_tiles SET {flip} WHERE level = 1 AND number = 1") == [
        ("tree", 21, None, None)
    ]
    root = "root = sha256(root)"
    assert await after(f"UPDATE tree_tiles SET {root} WHERE level = 2 AND number = 0") == [
        ("tree", 1, None, None)
    ]
    assert await after("DELETE FROM tree_tiles WHERE level = 0 AND number = 1") == [
        ("tree", 5, None, None)
    ]
    beyond = "INSERT INTO tree_tiles SELECT organisation, level, 999, root, hashes FROM tree_tiles"
    assert await after(f"{beyond} WHERE level = 0 AND number = 1") == [
        ("tree", size + 1, None, None)
    ]
    at = signed[1].size
    assert await after(f"UPDATE checkpoints SET {root} WHERE size = {at}") == [
        ("checkpoint", at, None, None),
        ("signature", at, None, None),
    ]
    assert await after(f"UPDATE checkpoints SET note = note || 'x' WHERE size = {at}") == [
        ("signature", at, None, None)
    ]
    other = "(SELECT note FROM checkpoints ORDER BY size LIMIT 1)"
    assert await after(f"UPDATE checkpoints SET note = {other} WHERE size = {at}") == [
        ("signature", at, None, None)
    ]
    assert await after(f"UPDATE checkpoints SET size = {size + 5} WHERE size = {size}") == [
        ("checkpoint", size + 1, None, None)
    ]


async def test_a_checkpoint_kept_elsewhere_says_up_to_where_the_log_is_what_it_was(
    tall: tuple[Forger, list[Checkpoint]],
) -> None:
    forger, signed = tall
    await forger.execute(
        "UPDATE events SET header = header || ' ' WHERE organisation = $1 AND position = $2",
        signed[1].size + 1,
    )
    await forger.regrow()
    verdict = await look(forger, *signed)
    wrong = [f for f in verdict.findings if f.check == "checkpoint"]
    assert [f.position for f in wrong] == [signed[2].size, signed[3].size]
    assert f"after position {signed[1].size} was changed" in wrong[0].what
    assert (verdict.external, verdict.covered) == (2, signed[1].size)

    stranger = Checkpoint("standpipe/elsewhere", signed[0].size, signed[0].root)
    verdict = await look(forger, stranger)
    assert verdict.counts["origin"] == 1


@pytest.fixture
def audited(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STANDPIPE_DATABASE_URL", database.url("standpipe_auditor"))
    monkeypatch.setenv("STANDPIPE_ORGANISATION", TOWN)
    monkeypatch.setenv("STANDPIPE_DATA_DIR", str(tmp_path / "auditor"))
    return tmp_path


async def ask(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["audit", "verify", *words])


async def test_an_auditor_asks_on_the_command_line(
    audited: Path, log: EventLog, admin: asyncpg.Connection
) -> None:
    pool: Any = log._pool  # pyright: ignore[reportPrivateUsage]
    outside = audited / "worker"
    signing = Checkpoints(pool, TOWN, signer(TOWN), outside)
    await make_log(log, TOWN, 1, appends=9)
    await signing.make()
    kept = audited / "kept"
    kept.write_bytes((outside / TOWN / "checkpoint").read_bytes())
    size = await admin.fetchval("SELECT position FROM heads")
    await make_log(log, TOWN, 2, appends=3)
    vkey = signer(TOWN).vkey

    plain = await ask()
    assert plain.exit_code == 0, plain.output
    for said in ("No signature was checked", "--from-checkpoint", "standpipe audit replay --all"):
        assert said in plain.stdout

    held = await ask("--from-checkpoint", str(kept), "--key", vkey)
    assert held.exit_code == 0, held.output
    assert f"Up to position {size} it is what" in held.stdout
    told = json.loads((await ask("--from-checkpoint", str(kept), "--key", vkey, "--json")).stdout)
    assert (told["covered"], told["external"], told["keys"]) == (size, 1, True)
    assert (told["counts"], told["findings"], told["checkpoints"]) == ({}, [], 1)

    for wrong, why in (
        (["--from-checkpoint", str(kept)], "--key"),
        (["--from-checkpoint", str(kept), "--key", "x+y+z"], "--key"),
        (["--from-checkpoint", str(kept), "--key", signer("other").vkey], "None of the keys"),
    ):
        refused = await ask(*wrong)
        assert refused.exit_code == 2
        assert why in refused.stderr
    assert (await ask("--org", "other")).exit_code == 3

    forger = Forger(admin, TOWN, Random(1))
    await forger.disarm()
    await admin.execute("UPDATE events SET body = body || ' ' WHERE position = 1")
    found = await ask("--from-checkpoint", str(kept), "--key", vkey)
    assert found.exit_code == 1
    assert "position 1" in found.stdout
    assert "findings: body 1, schema 1" in " ".join(found.stdout.split())
    found = await ask("--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["findings"][0]["position"] == 1
