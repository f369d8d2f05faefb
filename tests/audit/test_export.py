"""Exports hold exactly the log, each in its own form; all of a file or nothing of it."""

import asyncio
import csv
import gzip
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from activities.auditors import set_auditors
from audit import export_table
from audit.check_export import as_json, check, parse_key
from audit.export import Format, export, whole
from audit.export_rows import select
from audit.export_table import COLUMNS, NoParquet
from audit.log import LogDamaged
from gateway.terminal.audit import app
from stack import Endpoints, url_as
from tests.audit.exports import (
    KEY,
    ORGANISATION,
    connected,
    exported,
    exported_range,
    leaves,
    new_log,
    note,
)

LOG_COLUMNS = """
    SELECT e.organisation, e.position, e.stream, e.version, e.event_id::text, e.type,
        e.schema_version, e.occurred_at, d.decided_at, e.recorded_at, d.actor, d.role, d.proof,
        e.command_id, encode(sha256('\\x00'::bytea || e.header), 'hex') AS leaf,
        convert_from(e.body, 'UTF8') AS body
    FROM events e JOIN decisions d USING (organisation, stream, command_id) ORDER BY e.position
"""


@pytest.fixture(scope="module")
def log(servers: Endpoints) -> str:
    return new_log(servers)


async def stored(url: str) -> list[dict[str, Any]]:
    async with connected(url) as connection:
        return [dict(row) for row in await connection.fetch(LOG_COLUMNS)]


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


async def test_the_verifiable_export_holds_headers_bodies_and_commands_to_the_letter(
    log: str, tmp_path: Path
) -> None:
    done = await exported(log, Format.JSONL, tmp_path / "log.jsonl")
    lines = lines_of(tmp_path / "log.jsonl")
    async with connected(log) as connection:
        events = await connection.fetch("SELECT header, body FROM events ORDER BY position")
        commands = await connection.fetch("SELECT command FROM decisions")
        policies = await connection.fetchval("SELECT count(*) FROM policies")
    told = [(line["header"], line["body"]) for line in lines if line["type"] == "event"]
    assert told == [(row["header"].decode(), row["body"].decode()) for row in events]
    said = [line["command"] for line in lines if line["type"] == "decision"]
    assert sorted(said) == sorted(row["command"].decode() for row in commands)
    assert sum(line["type"] == "policy" for line in lines) == policies
    assert done.events == len(events)
    assert done.decisions == len(commands)


async def test_decisions_without_events_are_told_after_all_events(log: str, tmp_path: Path) -> None:
    await exported(log, Format.JSONL, tmp_path / "log.jsonl")
    *_, one, other, end = lines_of(tmp_path / "log.jsonl")
    assert [json.loads(line["command"])["id"] for line in (one, other)] == ["quiet/1", "quiet/2"]
    assert one["events"] == other["events"] == 0
    assert end["type"] == "end"


@pytest.mark.parametrize("format", list(Format))
async def test_the_same_moment_of_the_log_gives_the_same_bytes(
    log: str, tmp_path: Path, format: Format
) -> None:
    some = [tmp_path / f"{name}{format.ending}" for name in ("one", "other")]
    for file in some:
        await exported(log, format, file)
    assert some[0].read_bytes() == some[1].read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(file.name for file in some)


async def test_a_range_of_times_is_the_range_of_positions_recorded_then(
    log: str, tmp_path: Path
) -> None:
    rows = await stored(log)
    late = [row["recorded_at"] for row in rows if row["stream"] == "repair-late"]
    assert late[0] == late[1] < late[2]
    wanted = {
        (late[0], None): rows[-3:],
        (late[0], late[2]): rows[-3:-1],
        (None, late[0]): rows[:-3],
        (late[2], late[2] + timedelta(days=1)): rows[-1:],
        (late[2] + timedelta(days=1), None): [],
    }
    for (since, before), expected in wanted.items():
        file = tmp_path / "log.csv"
        done = await exported(log, Format.CSV, file, since=since, before=before)
        with file.open(newline="", encoding="utf-8") as opened:
            positions = [int(row["position"]) for row in csv.DictReader(opened)]
        assert positions == [row["position"] for row in expected]
        assert (done.first, done.last) == (positions[0], positions[-1]) if positions else True
        file = tmp_path / "log.jsonl"
        await exported(log, Format.JSONL, file, since=since, before=before, notes=[])
        assert [line["position"] for line in lines_of(file) if line["type"] == "event"] == positions


async def test_csv_is_what_rfc_4180_says_and_every_value_is_the_logs(
    log: str, tmp_path: Path
) -> None:
    file = tmp_path / "log.csv"
    await exported(log, Format.CSV, file)
    content = file.read_bytes()
    assert content.startswith((",".join(COLUMNS) + "\r\n").encode())
    assert content.count(b"\r\n") == content.count(b"\n")
    with file.open(newline="", encoding="utf-8") as opened:
        told = list(csv.DictReader(opened, strict=True))
    for row, expected in zip(told, await stored(log), strict=True):
        for name, value in expected.items():
            here: object = row[name]
            if isinstance(value, datetime):
                here = datetime.fromisoformat(row[name])
            elif isinstance(value, int):
                here = int(row[name])
            assert here == value, name
        assert row["kind"] == row["stream"].partition("-")[0]


async def test_parquet_has_typed_columns_in_groups_of_rows(
    log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyarrow import parquet

    monkeypatch.setattr(export_table, "ROW_GROUP", 100)
    file = tmp_path / "log.parquet"
    await exported(log, Format.PARQUET, file)
    opened = parquet.ParquetFile(file)
    rows = await stored(log)
    assert opened.num_row_groups > 1
    types = {field.name: str(field.type) for field in opened.schema_arrow}
    assert list(types) == list(COLUMNS)
    assert types["position"] == "int64"
    assert types["recorded_at"] == "timestamp[us, tz=UTC]"
    told = opened.read().to_pylist()
    assert [{name: row[name] for name in rows[0]} for row in told] == rows


async def test_without_pyarrow_it_is_said_what_to_install(
    log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NoParquet, match=r"pip install 'standpipe\[parquet\]'"):
        await exported(log, Format.PARQUET, tmp_path / "log.parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", [f for f in Format if f != Format.PARQUET])
async def test_what_is_interrupted_leaves_no_half_a_file_and_the_one_before_alone(
    log: str, tmp_path: Path, format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"log{format.ending}"
    file.write_text("the one before")
    seen: list[list[str]] = []

    def interrupt(events: int) -> None:
        seen.append(sorted(path.name for path in tmp_path.iterdir()))
        raise asyncio.CancelledError

    async with connected(log) as connection:
        chosen = await select(connection, ORGANISATION)
        with pytest.raises(asyncio.CancelledError):
            await export(connection, chosen, format, file, done=interrupt)
    assert seen == [[file.name, f"{file.name}.part"]]
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert file.read_text() == "the one before"


def test_a_packed_file_is_the_same_whenever_it_is_written(tmp_path: Path) -> None:
    for name in ("one.gz", "other.gz"):
        with whole(tmp_path / name) as out:
            out.write(b"all of it")
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "other.gz").read_bytes()
    assert gzip.decompress((tmp_path / "one.gz").read_bytes()) == b"all of it"


@pytest.mark.parametrize("format", [f for f in Format if f != Format.JSONL])
async def test_a_damaged_log_is_exported_by_jsonl_alone(
    servers: Endpoints, tmp_path: Path, format: Format
) -> None:
    url = await asyncio.to_thread(new_log, servers, 10)
    admin = await asyncpg.connect(url, server_settings={"search_path": "standpipe"})
    await admin.execute(
        "ALTER TABLE events DISABLE TRIGGER USER;"
        " UPDATE events SET body = '\\xff' WHERE position = 3"
    )
    await admin.close()
    with pytest.raises(LogDamaged, match="Position 3 "):
        await exported(url, format, tmp_path / "log")
    assert not list(tmp_path.iterdir())
    every = await leaves(url)
    file = tmp_path / "log.jsonl"
    await exported(url, Format.JSONL, file, notes=[note(every, len(every))])
    verdict = check(file, [parse_key(KEY.vkey)])
    assert [(finding.check, finding.position) for finding in verdict.findings] == [("body", 3)]


async def test_of_what_lies_outside_the_range_there_are_the_leaves_alone(
    log: str, tmp_path: Path
) -> None:
    every = await leaves(log)
    file = tmp_path / "log.jsonl"
    await exported_range(log, Format.JSONL, file, 50, 60, notes=[note(every, len(every) - 7)])
    lines = lines_of(file)
    hashes = [hash for line in lines if line["type"] == "leaves" for hash in line["hashes"]]
    assert hashes == [leaf.hex() for leaf in (*every[:49], *every[60:-7])]
    assert [line["position"] for line in lines if line["type"] == "event"] == list(range(50, 61))


def test_the_terminal_exports_as_an_auditor_and_checks_what_it_wrote(
    log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(set_auditors(log, [("standpipe_auditor", ORGANISATION)]))
    signed = asyncio.run(_checkpointed(log))
    monkeypatch.setenv("STANDPIPE_DATABASE_URL", url_as(log, role="standpipe_auditor"))
    monkeypatch.setenv("TEMPORAL_ADDRESS", "localhost:1")
    monkeypatch.setenv("STANDPIPE_DATA_DIR", str(tmp_path / "data"))
    runner = CliRunner()
    file = tmp_path / "log.jsonl.gz"
    ran = runner.invoke(app, ["export", "--out", str(file), "--json"], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert (told["signed"], told["last"]) == (signed, signed)
    (tmp_path / "key").write_text(KEY.vkey)
    ran = runner.invoke(app, ["check-export", str(file), "--key", str(tmp_path / "key"), "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout) == json.loads(
        json.dumps(as_json(check(file, [parse_key(KEY.vkey)])))
    )
    for format in Format:  # an auditor can read nothing of the vault
        plain = tmp_path / f"log{format.ending}"
        ran = runner.invoke(app, ["export", "--format", format, "--out", str(plain)])
        assert ran.exit_code == 0, ran.output
        assert plain.exists()
    ran = runner.invoke(app, ["export", "--from", "2026-05-01T08:00", "--to", "soon"])
    assert ran.exit_code == 2
    assert "--from" in ran.stderr
    assert "--to" in ran.stderr
    ran = runner.invoke(app, ["export", "--from", str(datetime.now(UTC)), "--out", "/no/where.csv"])
    assert ran.exit_code == 2, ran.output
    assert not os.path.exists("/no")


async def _checkpointed(url: str) -> int:
    every = await leaves(url)
    text = note(every, len(every)).text
    admin = await asyncpg.connect(url, server_settings={"search_path": "standpipe"})
    try:
        await admin.execute(
            "SELECT record_checkpoint($1, $2, sha256('x'), $3)", ORGANISATION, len(every), text
        )
    finally:
        await admin.close()
    return len(every)
