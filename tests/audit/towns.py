"""Cases that were really lived, on real servers, for what compares a log with its histories."""

import asyncio
import gzip
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
from temporalio.api.history.v1 import History
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner

from activities.database import open_pool
from activities.event_log import EventLog
from activities.signing_keys import SigningKeys
from audit import log
from audit.histories import CaseHistory, case_runs, fetched
from audit.log import RawCase
from gateway.policies import content_of
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import LIFECYCLES, plan
from lifecycles.policies import pinned
from schemas.archive import register_id
from schemas.base import SYSTEM
from schemas.envelope import AppendRequest
from stack import Endpoints, connect_temporal, url_as
from tests.replay.lives import COMMON, LIVES
from tests.workflows.conftest import POLICIES
from tests.workflows.desk import ORGANISATION, Desk


@dataclass
class Town:
    """Some cases, and the database whose log has them."""

    admin_url: str
    name: str
    """Part of every case's name."""
    cases: dict[str, RawCase]
    runs: dict[str, list[CaseHistory]]
    """By case, the oldest first."""

    def of(self, life: str, number: int = 1) -> str:
        """The case of that life with that number."""
        return next(c for c in self.cases if f"-{life}-" in c and c.endswith(f"-{number}"))


async def new_database(servers: Endpoints) -> str:
    """A migrated database; its URL as superuser."""
    assert servers.admin_url is not None
    name = f"town_{uuid4().hex}"
    await copy_database(servers, "standpipe", name)
    return url_as(servers.admin_url, database=name)


async def copy_database(servers: Endpoints, source: str, name: str) -> None:
    """What a backup is: another database with the same rows. Hangs up on the source's users."""
    assert servers.admin_url is not None
    admin = await asyncpg.connect(url_as(servers.admin_url, database="postgres"))
    try:
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", source
        )
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE {source}")
    finally:
        await admin.close()


async def astray(desk: Desk) -> None:
    """Another run writes to a case behind its back; it is reset, terminated, and taken up again."""
    case_id = await desk.opened()
    await desk.append(case_id, desk.command("TriageRepair", **COMMON))
    await desk.send(case_id, "DispatchCrew", crew="k-1")
    await desk.reset(case_id, 0, reapply=True)
    await desk.send(case_id, "AcceptJob", crew="k-1")
    await desk.handle(case_id).terminate()
    await desk.send(case_id, "RecordArrival", crew="k-1")
    await desk.append(case_id, desk.command("CompleteRepair", work=["valve"]))
    with suppress(Rejected):
        await desk.send(case_id, "StartWork")


TOLD = {**LIVES, "astray": astray}


async def new_copy(servers: Endpoints, admin_url: str) -> str:
    """The same log in another database."""
    assert servers.admin_url is not None
    name = f"copy_{uuid4().hex}"
    await copy_database(servers, urlsplit(admin_url).path[1:], name)
    return url_as(servers.admin_url, database=name)


async def archive(admin_url: str, run: CaseHistory) -> None:
    """What the archiver does with a closed run: its hash into the log, its history beside it."""
    now = datetime.now(UTC)
    content = run.history.SerializeToString(deterministic=True)
    hash = sha256(content).digest()
    connection = await superuser(admin_url)
    pool = await open_pool(url_as(admin_url, role="standpipe_worker"), max_size=1)
    try:
        policy = await connection.fetchval("SELECT convert_from(content, 'UTF8') FROM policies")
        register = register_id(ORGANISATION, now)
        kept, archive = EventLog(pool), LIFECYCLES["archive"]
        version, state = 0, archive.initial(register, ORGANISATION, *pinned(policy))
        for event in await kept.read_stream(ORGANISATION, register):
            version, state = event.version, archive.evolve(state, archive.event(event.body))
        entered = {
            "type": "RecordHistory",
            **{"case": run.stream, "run": run.run_id, "sha256": hash.hex(), "bytes": len(content)},
            **{"events": len(run.history.events), "build_id": "1+a", "sdk": "1", "lock": None},
            "original": True,
        }
        command = archive.command(
            {"id": f"archive/{run.run_id}", "actor": SYSTEM.model_dump(), "body": entered}
        )
        made = plan(archive, state, version, [command], now)
        assert not made.refused
        request = AppendRequest(
            organisation=ORGANISATION,
            stream=register,
            expected_version=version,
            policy=policy if version == 0 else None,
            decisions=tuple(step.decision() for step in made.steps),
            summary=archive.summary(made.state),
        )
        assert (await kept.append_events(request)).status == "appended"
        await connection.execute(
            "INSERT INTO histories"
            " VALUES ($1, $2, $3, $4, $5, $6, '1+a', '1', NULL, true, $7, 1, $8)",
            *(ORGANISATION, run.stream, run.run_id, hash, gzip.compress(content)),
            *(len(run.history.events), register, now),
        )
    finally:
        await connection.close()
        pool.terminate()


@asynccontextmanager
async def desk_on(client: Client, admin_url: str, task_queue: str) -> AsyncIterator[Desk]:
    """A desk on that database, with a worker that takes this task queue."""
    pool = await open_pool(url_as(admin_url, role="standpipe_worker"))
    keys = await open_pool(url_as(admin_url, role="standpipe_gateway"), min_size=0, max_size=1)
    policy = content_of("gas", POLICIES)
    desk = Desk(client, EventLog(pool), policy, task_queue, SigningKeys(keys))
    try:
        async with desk.worker(runner=UnsandboxedWorkflowRunner()):
            yield desk
    finally:
        keys.terminate()
        pool.terminate()


async def lived(servers: Endpoints, *lives: str) -> Town:
    """These lives, each at a desk of its own, side by side."""
    admin_url = await new_database(servers)
    client = await connect_temporal(servers)
    suffix = uuid4().hex[:6]
    async with desk_on(client, admin_url, f"town-{suffix}") as desk:
        await asyncio.gather(*(TOLD[life](desk.called(f"{life}-{suffix}")) for life in lives))
        cases = await cases_of(admin_url)
        runs = await runs_on(client, list(cases))
    return Town(admin_url, suffix, cases, runs)


async def cases_of(admin_url: str) -> dict[str, RawCase]:
    """Everything in the log."""
    connection = await superuser(admin_url)
    try:
        return {case.stream: case async for case in log.cases(connection, ORGANISATION)}
    finally:
        await connection.close()


async def runs_on(client: Client, streams: Sequence[str]) -> dict[str, list[CaseHistory]]:
    """The cases' histories, once the server lists all of their runs."""
    found: dict[str, list[CaseHistory]] = {}
    listed = [run async for run in case_runs(client, ORGANISATION) if run[0] in streams]
    for run in await fetched(client, listed):
        found.setdefault(run.stream, []).append(run)
    for runs in found.values():
        runs.sort(key=lambda run: run.history.events[0].event_time.ToNanoseconds())
    return found


async def superuser(admin_url: str) -> asyncpg.Connection:
    """Whoever may do anything."""
    return await asyncpg.connect(
        admin_url, server_settings={"search_path": "standpipe", "timezone": "UTC"}
    )


def only(name: str) -> Callable[..., AsyncGenerator[tuple[str, str]]]:
    """The server's list without the cases of other tests, whose logs are elsewhere."""

    async def runs(*arguments: Any) -> AsyncGenerator[tuple[str, str]]:
        async for run in case_runs(*arguments):
            if name in run[0]:
                yield run

    return runs


def copied(run: CaseHistory) -> CaseHistory:
    """With a history that can be altered."""
    history = History()
    history.CopyFrom(run.history)
    return run._replace(history=history)
