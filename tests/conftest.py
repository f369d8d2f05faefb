"""Real servers for the tests: one PostgreSQL and one Temporal, with time skipping, for a whole run.

The test process that first needs them starts them; under xdist the others share them, and who
started them stops them when nobody uses them any more. File locks keep count, so that a test
process which dies counts as gone.
"""

from __future__ import annotations

import asyncio
import faulthandler
import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import hypothesis
import pytest
from temporalio.client import Client

from activities.auditors import ROLE as AUDITOR
from activities.auditors import set_auditors
from settings import Settings
from stack import Endpoints, Stack, StackError, connect_temporal, endpoints, url_as

# Whatever the developer's shell points to, tests run on servers of their own.
for name in [name for name in os.environ if name.startswith(("STANDPIPE_", "TEMPORAL_"))]:
    del os.environ[name]

# Shared by several folders' tests: its assertions shall explain themselves wherever it comes from.
pytest.register_assert_rewrite("tests.workflows.desk")

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.load_profile("ci")


SLOW = ("workflows", "gateway/http", "audit", ".", "replay", "gateway", "activities")
"""Folders of tests, those first that keep the servers busy; pure rules fill the gaps in the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: else one process is left with them when the others have nothing to do."""
    root = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        folder = item.path.parent.relative_to(root).as_posix()
        return SLOW.index(folder) if folder in SLOW else len(SLOW)

    items.sort(key=place)


@dataclass(frozen=True)
class Database:
    """A migrated database of this test alone."""

    admin_url: str

    def url(self, role: str = "standpipe_worker") -> str:
        return url_as(self.admin_url, role=role)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Endpoints]:
    """The servers of this run. Leave their own database alone: others are copied from it."""
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent  # the same for every process of the run
    with (shared / "start").open("w") as start, (shared / "users").open("w") as users:
        with _alone(start.fileno()):
            running = _started(shared / "servers")
            starter, stack = None, None
            if running is None:
                starter = asyncio.Runner()
                stack = Stack(shared / "servers", time_skipping=True, temporal_port=0, ui_port=0)
                running = starter.run(stack.__aenter__()).endpoints
                starter.run(set_auditors(running.admin_url or "", [(AUDITOR, "town")]))
            fcntl.flock(users, fcntl.LOCK_SH)
        yield running
        fcntl.flock(users, fcntl.LOCK_UN)
        if starter is not None and stack is not None:
            faulthandler.cancel_dump_traceback_later()  # the others' last tests may take long
            with _alone(start.fileno()), _alone(users.fileno()):
                for pid in stack.pids.values():
                    os.kill(pid, signal.SIGQUIT)  # at once: all that they hold is thrown away
                starter.run(stack.__aexit__(None, None, None))
                starter.close()
                shutil.rmtree(shared / "servers")


@pytest.fixture
async def database(servers: Endpoints) -> Database:
    """A fresh migrated database, with every role able to log in.

    It stays, 8 MB, until the servers go: dropping it takes longer than most tests.
    """
    assert servers.admin_url is not None
    name = f"test_{uuid4().hex}"
    connection = await asyncpg.connect(url_as(servers.admin_url, database="postgres"))
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE standpipe")
    finally:
        await connection.close()
    return Database(url_as(servers.admin_url, database=name))


@pytest.fixture
async def temporal(servers: Endpoints) -> Client:
    """A client of the shared server; use a task queue and workflow ids of your own."""
    return await connect_temporal(servers)


@pytest.fixture
def task_queue() -> str:
    return f"test-{uuid4().hex}"


def _started(data_dir: Path) -> Endpoints | None:
    try:
        return endpoints(Settings(data_dir=data_dir))
    except StackError:
        return None


@contextmanager
def _alone(file: int) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
