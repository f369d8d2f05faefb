"""`make bench`: every figure as a ratio of two things measured in turns in the same run."""

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
from temporalio.client import Client
from temporalio.worker import Worker

from activities.cases import Cases
from activities.database import open_pool
from activities.event_log import EventLog
from bench import appends, audit_export, audit_replay, audit_verify, billing, cases, http, rehearsal
from bench.audit_logs import large_log
from bench.dbos_case import Dbos
from bench.lives import Life, lives
from bench.measure import Cpu, Line, Report, Way, percentile, rate
from stack import Stack, connect_temporal, url_as
from stack.postgres import programs
from worker import build_worker

ORGANISATION = "bench"
AT_ONCE = 16
AUDITED = 1_000_000
"""Events in the large log that audits are measured on; the small one has a hundredth."""


class Ground:
    """One embedded stack with a worker of ours on it."""

    def __init__(self, folder: Path, *, tuned: bool) -> None:
        self.stack = Stack(folder, tuned=tuned, temporal_port=0, ui_port=0)
        self.client: Client
        self.log: EventLog
        self.cases: Cases

    async def enter(self, until: AsyncExitStack) -> None:
        await until.enter_async_context(self.stack)
        self.client = await connect_temporal(self.stack.endpoints)
        pool = await open_pool(self.stack.endpoints.database_url, min_size=8, max_size=32)
        until.push_async_callback(pool.close)
        self.log = EventLog(pool)
        self.cases = Cases(self.client, self.log, ORGANISATION, "bench")
        await until.enter_async_context(self.worker("bench"))

    def worker(
        self, task_queue: str, *workflows: type, more: Sequence[Callable[..., Any]] = ()
    ) -> Worker:
        return build_worker(
            self.client,
            self.log,
            organisation=ORGANISATION,
            task_queue=task_queue,
            workflows=workflows or None,
            more_activities=[*more, cases.Appends(self.log).append],
        )


async def lifecycles(
    report: Report, tuned: Ground, bare: cases.Bare, dbos: Dbos, count: int, life: Life
) -> None:
    ordinary = Cases(tuned.client, tuned.log, ORGANISATION, "bench-ordinary")
    ways = {
        "standpipe": cases.ours(tuned.cases, tuned.log, ORGANISATION, life),
        "bare": bare.way(life),
        "ordinary activities": cases.ours(ordinary, tuned.log, ORGANISATION, life),
        "DBOS": dbos.way(ORGANISATION, life),
    }

    def throughput(way: cases.Way) -> Way:
        return lambda: rate(count, lambda: cases.many(way, count, AT_ONCE))

    per_second = await report.interleaved(
        f"{life.kind} lifecycles per second",
        {name: throughput(way) for name, way in ways.items()},
    )
    for name, goal in {"bare": 0.8, "ordinary activities": 1.5, "DBOS": 2.0}.items():
        report.lines.append(
            Line(
                f"{life.kind} lifecycle, {AT_ONCE} at a time, against {name}",
                per_second["standpipe"],
                per_second[name],
                "cases/s",
                goal,
            )
        )

    slowest: dict[str, list[float]] = {"standpipe": [], "bare": []}

    def alone(name: str) -> Way:
        async def way() -> float:
            took = await cases.many(ways[name], max(4, count // 6), 1)
            slowest[name].append(percentile(took, 95))
            return percentile(took, 50)

        return way

    usual = await report.interleaved(
        f"{life.kind} command round trip alone, ms", {name: alone(name) for name in slowest}
    )
    worst = {name: statistics.median(values) for name, values in slowest.items()}
    for share, took in ((50, usual), (95, worst)):
        report.lines.append(
            Line(
                f"{life.kind} command round trip alone, p{share}, against a bare Update",
                took["standpipe"],
                took["bare"],
                "ms",
                1.4,
                at_most=True,
            )
        )


async def servers(report: Report, tuned: Ground, stock: Ground, repair: Life, count: int) -> None:
    def throughput(ground: Ground, count: int) -> Way:
        way = cases.ours(ground.cases, ground.log, ORGANISATION, repair)
        return lambda: rate(count, lambda: cases.many(way, count, AT_ONCE))

    per_second = await report.interleaved(
        "embedded server",
        {"tuned": throughput(tuned, count // 2), "stock": throughput(stock, count // 2)},
    )
    report.lines.append(
        Line(
            "tuned embedded server against the stock one",
            per_second["tuned"],
            per_second["stock"],
            "cases/s",
            2.0,
        )
    )


async def cpu(report: Report, tuned: Ground, lives: Sequence[Life], count: int) -> None:
    """Where the CPU goes, per lifecycle."""
    for life in lives:
        look = Cpu({**tuned.stack.pids, "worker and client": os.getpid()})
        way = cases.ours(tuned.cases, tuned.log, ORGANISATION, life)
        await cases.many(way, count, AT_ONCE)
        spent = {name: round(1000 * seconds / count, 1) for name, seconds in look.since().items()}
        report.facts[f"CPU ms per {life.kind}"] = spent
        report.console.print(f"CPU ms per {life.kind}: {spent}")


async def log_appends(report: Report, tuned: Ground, repair: Life, seconds: int) -> None:
    admin = str(tuned.stack.endpoints.admin_url)
    await appends.prepare(admin)
    for connections in (1, 8, 32):
        per_second = await report.interleaved(
            f"appends, {connections} connections",
            {
                "sets of 20": lambda n=connections: appends.append_sets(
                    tuned.log, repair, n, seconds
                ),
                "pgbench": lambda n=connections: appends.pgbench(
                    programs() / "pgbench", admin, n, seconds
                ),
            },
        )
        report.lines.append(
            Line(
                f"appends in sets of 20 against pgbench inserts, {connections} connections",
                per_second["sets of 20"],
                per_second["pgbench"],
                "events/s",
                2.5,
            )
        )


async def audits(report: Report, tuned: Ground, repair: Life, events: int) -> None:
    """What auditors run, on a small log and on one a hundred times as long."""
    found = tuned.stack.endpoints
    admin = str(found.admin_url)
    report.console.print("Writing the logs to be audited ...")
    small = await large_log(admin, "audit-small", events // 100)
    large = await large_log(admin, "audit-large", events)
    await audit_verify.compare(report, admin, found.database_url, small, large)
    await audit_replay.redecided(report, admin, small, large)
    await audit_export.compare(report, admin, small, large)
    await cases.many(cases.ours(tuned.cases, tuned.log, ORGANISATION, repair), 100, AT_ONCE)
    await audit_replay.replayed(report, tuned.client, admin, ORGANISATION)


async def main(quick: bool, as_json: bool, only: str | None, audited: int) -> int:
    report = Report(rounds=1 if quick else 5)
    count = 16 if quick else 64
    every = lives()
    repair = every[0]
    async with AsyncExitStack() as until:
        folder = Path(until.enter_context(TemporaryDirectory(prefix="standpipe-bench-")))
        report.console.print("Starting the tuned server and the stock one ...")
        tuned, stock = Ground(folder / "tuned", tuned=True), Ground(folder / "stock", tuned=False)
        await tuned.enter(until)
        await stock.enter(until)
        bare = cases.Bare(tuned.client, "bench-bare")
        await until.enter_async_context(
            tuned.worker(
                "bench-bare",
                cases.BareWorkflow,
                cases.BareOpening,
                more=bare.activities,
            )
        )
        await until.enter_async_context(tuned.worker("bench-ordinary", *cases.ORDINARY))
        dbos = Dbos(tuned.log, await _database(str(tuned.stack.endpoints.admin_url), "dbos"))
        until.callback(dbos.close)
        parts = {
            **{
                life.kind: lambda life=life: lifecycles(report, tuned, bare, dbos, count, life)
                for life in every
            },
            "billing": lambda: billing.compare(
                report, tuned.cases, tuned.log, ORGANISATION, bare, 32 if quick else 240
            ),
            "http": lambda: http.compare(
                report, folder / "tuned", tuned.cases, tuned.log, ORGANISATION, repair, count
            ),
            "cpu": lambda: cpu(report, tuned, every, count),
            "servers": lambda: servers(report, tuned, stock, repair, count),
            "appends": lambda: log_appends(report, tuned, repair, 1 if quick else 3),
            "rehearsal": lambda: rehearsal.compare(
                report, tuned.cases, tuned.log, repair.policy, quick
            ),
            "audit": lambda: audits(report, tuned, repair, 20_000 if quick else audited),
        }
        for name, part in parts.items():
            if only in (None, name):
                await part()
    report.show(as_json)
    return 0


async def _database(admin_url: str, name: str) -> str:
    connection = await asyncpg.connect(url_as(admin_url, database="postgres"))
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return url_as(admin_url, database=name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small round: does it run at all")
    parser.add_argument("--json", action="store_true", help="everything measured, as JSON")
    parser.add_argument(
        "--only",
        help=(
            "one part: repair, complaint, arrears, billing, http, cpu, servers, appends,"
            " rehearsal or audit"
        ),
    )
    parser.add_argument(
        "--audited", type=int, default=AUDITED, help="events in the log that audits are measured on"
    )
    given = parser.parse_args()
    code = asyncio.run(main(given.quick, given.json, given.only, given.audited))
    sys.stdout.flush()
    os._exit(code)  # a process with a Temporal worker may abort as the interpreter ends
