"""Appends in sets of twenty against pgbench's single-row inserts, on the same server."""

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import asyncpg

from activities.event_log import EventLog
from bench.lives import Life
from lifecycles.lifecycle import LIFECYCLES, dump, plan
from lifecycles.policies import pinned
from schemas.envelope import AppendRequest, Decision, Json

SET = 20
_INSERT = """\\set n random(1, 1000000000)
INSERT INTO bench_single (stream, version, type, body)
VALUES (
    'repair-' || :n, 1, 'CrewArrived',
    '{"at":"2026-01-01T00:00:00Z","crew":"k-7","type":"CrewArrived"}'
);
"""


async def prepare(admin_url: str) -> None:
    """The table that pgbench inserts into: an event row as small as one can be."""
    connection = await asyncpg.connect(admin_url)
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS public.bench_single ("
            "position bigserial PRIMARY KEY, stream text, version int, type text, body bytea,"
            " recorded_at timestamptz DEFAULT now())"
        )
    finally:
        await connection.close()


async def pgbench(binary: Path, admin_url: str, connections: int, seconds: int) -> float:
    """Single-row inserts per second, as pgbench counts them."""
    with TemporaryDirectory() as folder:
        script = Path(folder) / "insert.sql"
        script.write_text(_INSERT)
        process = await asyncio.create_subprocess_exec(
            binary, "-n", "-f", script, "-c", str(connections), "-j", "1", "-T", str(seconds),
            "-M", "prepared", admin_url,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
    found = re.search(rb"tps = ([0-9.]+)", out)
    if found is None:
        raise RuntimeError(f"pgbench said: {err.decode()}")
    return float(found[1])


async def append_sets(log: EventLog, repair: Life, connections: int, seconds: float) -> float:
    """Events per second in appends of twenty, each to a stream of its own."""
    life = _twenty_events(repair)
    end = asyncio.get_running_loop().time() + seconds
    written = 0

    async def writer() -> None:
        nonlocal written
        while asyncio.get_running_loop().time() < end:
            request = life.model_copy(update={"stream": f"repair-{uuid4().hex}"})
            result = await log.append_events(request)
            written += result.version

    begin = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(writer())
    return written / (asyncio.get_running_loop().time() - begin)


def _twenty_events(life: Life) -> AppendRequest:
    """One decision with twenty events, such as a repair has in its life."""
    lifecycle = LIFECYCLES["repair"]
    now = datetime.now(UTC)
    state: Any = lifecycle.initial("repair-x", "bench", *pinned(life.policy))
    commands = [lifecycle.command(command) for command in life.said("x")]
    made = plan(lifecycle, state, 0, commands, now)
    bodies: list[Json] = [dump(event) for step in made.steps for event in step.events]
    twenty = tuple(bodies[i % len(bodies)] for i in range(SET))
    return AppendRequest(
        organisation="bench",
        stream="repair-x",
        expected_version=0,
        policy=life.policy,
        decisions=(Decision(command=dump(commands[0]), decided_at=now, events=twenty),),
        summary=lifecycle.summary(made.state),
    )
