"""Whatever a database superuser does to a log, `audit verify` finds it with a checkpoint at hand.

Each round alters a log in a transaction that is rolled back. TEST_ROUNDS=200 for as many rounds of
each kind, TEST_LOGS=1000 for as many untouched logs.

What is not found by it, and why, is said by the last tests: after the last checkpoint that is kept
elsewhere, and of commands that caused nothing, only Temporal's histories know better.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from uuid import uuid4

import asyncpg
import pytest

from activities.canonical import canonical
from activities.checkpoints import Checkpoints
from activities.database import open_pool
from activities.event_log import EventLog
from audit.agreement import CaseReplayed, agree
from audit.notes import Checkpoint
from audit.replay import Replaying
from audit.verify import verify
from stack import Endpoints, url_as
from tests.audit.attacks import ATTACKS, look, recompute, signer
from tests.audit.forger import Forger
from tests.audit.logs import make_log
from tests.audit.towns import lived, superuser
from tests.conftest import Database
from tests.workflows.desk import ORGANISATION

ROUNDS = int(os.environ.get("TEST_ROUNDS", "8"))
LOGS = int(os.environ.get("TEST_LOGS", "20"))


@dataclass(frozen=True)
class Town:
    """Logs in one database, each an organisation's, as they were when they were signed."""

    admin_url: str
    signed: dict[str, list[Checkpoint]]
    """By organisation, the latest last: what an auditor has kept elsewhere."""


async def grown(admin_url: str, folder: Path, organisation: str, seed: int) -> list[Checkpoint]:
    """A new log, signed twice while it grows and once in the end."""
    random = Random(seed)
    async with await open_pool(url_as(admin_url, role="standpipe_worker")) as pool:
        signing = Checkpoints(pool, organisation, signer(organisation), folder)
        signed: list[Checkpoint] = []
        for part, appends in enumerate(random.choice(((3, 4, 5), (8, 8, 8), (60, 60, 50)))):
            await make_log(EventLog(pool), organisation, 10 * seed + part, appends=appends)
            newest = await signing.make()
            assert newest is not None
            signed.append(newest)
    return signed


@pytest.fixture(scope="module")
def town(servers: Endpoints, tmp_path_factory: pytest.TempPathFactory) -> Town:
    folder = tmp_path_factory.mktemp("checkpoints")

    async def build() -> Town:
        assert servers.admin_url is not None
        name = f"tampered_{uuid4().hex}"
        admin = await asyncpg.connect(url_as(servers.admin_url, database="postgres"))
        try:
            await admin.execute(f"CREATE DATABASE {name} TEMPLATE standpipe")
        finally:
            await admin.close()
        url = url_as(servers.admin_url, database=name)
        names = [f"town-{seed}" for seed in range(min(ROUNDS, 10))]
        signed = {n: await grown(url, folder, n, seed) for seed, n in enumerate(names)}
        return Town(url, signed)

    return asyncio.run(build())


@pytest.fixture
async def admin(town: Town) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        town.admin_url,
        server_settings={"search_path": "standpipe", "timezone": "UTC"},
        statement_cache_size=0,
    )
    yield connection
    await connection.close()


@asynccontextmanager
async def tampering(
    connection: asyncpg.Connection, organisation: str, random: Random
) -> AsyncIterator[Forger]:
    """In a transaction that never was."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield Forger(connection, organisation, random)
    finally:
        await transaction.rollback()


@pytest.mark.parametrize("kind", ATTACKS)
async def test_every_attack_is_found(town: Town, admin: asyncpg.Connection, kind: str) -> None:
    missed: list[int] = []
    for seed in range(ROUNDS):
        random = Random(f"{kind}/{seed}")
        name = list(town.signed)[seed % len(town.signed)]
        async with tampering(admin, name, random) as forger:
            await ATTACKS[kind](forger)
            verdict = await look(forger, town.signed[name][-1])
        if verdict.clean:
            missed.append(seed)
    assert missed == [], f"{kind}: {len(missed)} of {ROUNDS} rounds"


async def test_untouched_logs_raise_nothing(database: Database, tmp_path: Path) -> None:
    connection = await asyncpg.connect(
        database.admin_url, server_settings={"search_path": "standpipe", "timezone": "UTC"}
    )
    events = 0
    async with await open_pool(database.url()) as pool:
        for seed in range(LOGS):
            name, random = f"town-{seed}", Random(f"untouched/{seed}")
            signing = Checkpoints(pool, name, signer(name), tmp_path)
            signed: list[Checkpoint] = []
            for part in range(random.choice((1, 2, 3))):
                appends = random.choice((1, 5, 10, 15))
                await make_log(EventLog(pool), name, seed * 10 + part, appends=appends)
                if (newest := await signing.make()) is not None:
                    signed.append(newest)
            async with tampering(connection, name, random) as forger:
                verdict = await look(forger, *signed)
            assert verdict.findings == (), f"log {seed}"
            assert (verdict.external, verdict.checkpoints) == (len(signed), len(signed))
            assert verdict.covered == verdict.events == verdict.size
            events += verdict.events
    await connection.close()
    assert events > 10 * LOGS


# What one has to know: where the checkpoint kept elsewhere is all there is, and where it is not.


@pytest.mark.parametrize("kind", ["truncate the tail", "recompute after editing"])
async def test_without_a_checkpoint_kept_elsewhere_a_good_forger_is_not_found(
    town: Town, admin: asyncpg.Connection, kind: str
) -> None:
    name = next(iter(town.signed))
    async with tampering(admin, name, Random(kind)) as forger:
        await ATTACKS[kind](forger)
        assert (await look(forger)).clean
        verdict = await look(forger, town.signed[name][-1])
    assert set(verdict.counts) == {"checkpoint"}


async def test_what_came_after_the_last_checkpoint_can_be_written_anew(
    town: Town, admin: asyncpg.Connection
) -> None:
    """And what it covers cannot; the verdict says how far that is."""
    name = next(iter(town.signed))
    early = town.signed[name][0]
    async with tampering(admin, name, Random("late")) as forger:
        await forger.disarm()
        await forger.cut(early.size)
        await forger.live_on(early.size + 20)
        await forger.regrow()
        verdict = await look(forger, early)
        assert verdict.clean
        assert verdict.covered == early.size < verdict.events
        assert not (await look(forger, town.signed[name][-1])).clean


async def test_no_leaf_holds_when_it_was_recorded_nor_a_command_that_caused_nothing(
    town: Town, admin: asyncpg.Connection
) -> None:
    """So that a restored log has the same leaves. Temporal keeps the commands."""
    name = next(iter(town.signed))
    async with tampering(admin, name, Random("unseen")) as forger:
        await forger.disarm(rules=True)
        for table in ("events", "decisions"):
            await forger.execute(
                f"UPDATE {table} SET recorded_at = recorded_at - interval '1 day'"
                " WHERE organisation = $1"
            )
        idle = await forger.one(
            "SELECT * FROM decisions WHERE organisation = $1 AND event_count = 0"
        )
        command = json.loads(idle["command"])
        command["actor"]["subject"] += "-forged"
        await forger.execute(
            "UPDATE decisions SET command = $4, decided_at = decided_at - interval '1 day'"
            " WHERE organisation = $1 AND stream = $2 AND command_id = $3",
            *(idle["stream"], idle["command_id"], canonical(command)),
        )
        await forger.refit(idle["stream"])
        assert (await look(forger, town.signed[name][-1])).clean


async def test_what_fits_again_in_the_database_does_not_fit_what_temporal_knows(
    servers: Endpoints,
) -> None:
    """With no checkpoint at all it is found from Temporal's receipts."""
    lives = await lived(servers, "on-time", "told-late")
    connection = await superuser(lives.admin_url)
    found: list[CaseReplayed] = []
    async with Replaying.begun() as replaying:
        for seed in range(3):
            async with tampering(connection, ORGANISATION, Random(seed)) as forger:
                assert (await verify(connection, ORGANISATION)).clean
                await recompute(forger)
                assert (await verify(connection, ORGANISATION)).clean
                for stream, runs in lives.runs.items():
                    done = [(run, await replaying.replay(stream, run.history)) for run in runs]
                    case = await forger.case(stream)
                    agreed = agree(ORGANISATION, stream, case, done)
                    assert bool(agreed.findings) == (case != lives.cases[stream])
                    found += [agreed] if agreed.findings else []
    await connection.close()
    assert len(found) == 3
