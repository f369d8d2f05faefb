"""Deciding a log again, against a typed fold of it; replaying histories, against Temporal alone."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import asyncpg
from temporalio.api.history.v1 import History
from temporalio.client import Client, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from audit import log
from audit.agreement import agree
from audit.histories import CaseHistory, case_runs, fetched
from audit.redecide_log import redecide_log
from audit.replay import Replaying
from bench.audit_logs import Log
from bench.measure import Line, Report, rate
from lifecycles.lifecycle import lifecycle_of
from lifecycles.policies import pinned
from worker import WORKFLOWS


async def redecided(
    report: Report, admin_url: str, small: Log, large: Log, *, processes: int = 1
) -> None:
    """Events per second; both sides read the same rows in bulk, the fold in one process."""

    async def again(of: Log) -> float:
        async with _reading(admin_url) as connection:

            async def work() -> None:
                done = await redecide_log(connection, of.organisation, processes=processes)
                assert (done.wrong, done.events) == (0, of.events), done.findings[:3]

            return await rate(of.events, work)

    async def folded(of: Log) -> float:
        async with _reading(admin_url) as connection:
            return await rate(of.events, lambda: _fold(connection, of.organisation))

    few = await report.interleaved(
        f"{small.events} events",
        {"decided again": lambda: again(small), "fold": lambda: folded(small)},
    )
    rounds, report.rounds = report.rounds, 1  # minutes each
    many = await report.interleaved(
        f"{large.events} events",
        {"decided again": lambda: again(large), "fold": lambda: folded(large)},
    )
    report.rounds = rounds
    for what, ours, other, goal in (
        (f"{small.events} events decided again, against a typed fold", few, few["fold"], 0.3),
        (f"{large.events} events decided again, against a typed fold", many, many["fold"], 0.3),
        (
            f"{large.events} events decided again, against {small.events}",
            many,
            few["decided again"],
            0.9,
        ),
    ):
        report.lines.append(Line(what, ours["decided again"], other, "events/s", goal))


async def replayed(report: Report, client: Client, admin_url: str, organisation: str) -> None:
    """Histories per second, from binary protobuf; ours reads the log and compares as well.

    The organisation's cases were lived before; a hundred of those that are over are taken.
    """
    stored = await _stored(client, organisation, 100)

    async def bare() -> float:
        async def histories() -> AsyncGenerator[WorkflowHistory]:
            for stream, _, content in stored:
                yield WorkflowHistory(stream, list(History.FromString(content).events))

        async def work() -> None:
            replayer = Replayer(
                workflows=WORKFLOWS,
                workflow_runner=UnsandboxedWorkflowRunner(),
                data_converter=pydantic_data_converter,
            )
            async with replayer.workflow_replay_iterator(histories()) as results:
                async for result in results:
                    assert result.replay_failure is None, result.replay_failure

        return await rate(len(stored), work)

    async def ours() -> float:
        async with _reading(admin_url) as connection:

            async def work() -> None:
                async with Replaying.begun() as replaying:
                    for stream, run_id, content in stored:
                        run = CaseHistory(stream, run_id, History.FromString(content), "archive")
                        done = await replaying.replay(stream, run.history)
                        case = await log.case(connection, organisation, stream)
                        found = agree(organisation, stream, case, [(run, done)])
                        assert not found.findings, found.findings

            return await rate(len(stored), work)

    per_second = await report.interleaved(
        f"{len(stored)} histories", {"replayed and compared": ours, "Replayer": bare}
    )
    report.lines.append(
        Line(
            "histories replayed and compared with the log, against Temporal's bare Replayer",
            per_second["replayed and compared"],
            per_second["Replayer"],
            "histories/s",
            0.9,
        )
    )


async def _stored(client: Client, organisation: str, most: int) -> list[tuple[str, str, bytes]]:
    """Finished runs that nobody had to interrupt: case, run, history."""
    found: list[tuple[str, str, bytes]] = []
    async with aclosing(case_runs(client, organisation)) as runs:
        async for run in runs:
            for history in await fetched(client, [run]):
                if history.closed:
                    content = history.history.SerializeToString(deterministic=True)
                    found.append((history.stream, history.run_id, content))
            if len(found) == most:
                break
    return found


async def _fold(connection: asyncpg.Connection, organisation: str) -> None:
    """What reading a log's states takes at least: each event validated, and taken in."""
    async with aclosing(log.cases(connection, organisation)) as cases:
        async for case in cases:
            assert case.policy is not None
            lifecycle = lifecycle_of(case.stream)
            state = lifecycle.initial(case.stream, organisation, *pinned(case.policy))
            for decision in case.decisions:
                for event in decision.events:
                    read = lifecycle.events.validate_json(event.body)
                    state = lifecycle.evolve(state, read)


@asynccontextmanager
async def _reading(admin_url: str) -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(
        admin_url, server_settings={"search_path": "standpipe", "timezone": "UTC", "jit": "off"}
    )
    try:
        yield connection
    finally:
        await connection.close()
