"""Living a case, seven commands long: ours, bare Temporal, and with ordinary activities."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy

with workflow.unsafe.imports_passed_through():
    from activities.cases import Cases
    from activities.event_log import EventLog
    from activities.log_reader import LogReader
    from bench.lives import LENGTH, Life
    from schemas.base import Value
    from schemas.envelope import AppendRequest, AppendResult, Json
    from schemas.premises import premises_id
    from workflows.case import FOREVER, LOCAL, CaseWorkflow

Live = Callable[[str], Awaitable[list[float]]]
"""Lives one case under a new name and returns the milliseconds of each command but the first."""


class Way(NamedTuple):
    """A way of living cases."""

    live: Live
    done: Callable[[Sequence[str]], Awaitable[object]] | None = None
    """Waits until nothing is left to do for the cases of these names."""


def ours(cases: Cases, log: LogReader, organisation: str, life: Life) -> Way:
    """Our cases; on premises, they are done when the premises know that they have ended."""

    async def live(name: str) -> list[float]:
        case_id = f"{life.kind}-{name}"
        opening, *commands = life.said(name)
        await cases.open(case_id, life.policy, opening)
        took: list[float] = []
        for command in commands:
            begin = time.perf_counter()
            await cases.send(case_id, command)
            took.append((time.perf_counter() - begin) * 1000)
        return took

    return Way(live, at_rest(log, organisation) if life.on_premises else None)


def at_rest(log: LogReader, organisation: str) -> Callable[[Sequence[str]], Awaitable[None]]:
    """Waits until nothing is open on the premises of these names, as the log has it."""

    async def done(names: Sequence[str]) -> None:
        waiting = {premises_id(organisation, name) for name in names}
        while True:
            rows = await log.cases_of(organisation, waiting)
            waiting -= {row.case_id for row in rows if row.final}
            if not waiting:
                return
            await asyncio.sleep(0.05)

    return done


# Bare Temporal


@activity.defn(name="nothing")
async def nothing() -> None:
    """A local activity that does nothing."""


class Start(Value):
    """How long a bare workflow is to be."""

    updates: int
    tells: bool


@workflow.defn(name="BareWorkflow")
class BareWorkflow:
    """As many Updates as a case has, each with one local activity that does nothing.

    Where the case tells its premises that it is open, and that it has ended, this tells another
    bare workflow of two Updates, in the same way: by an activity, whose answer it records.
    """

    def __init__(self) -> None:
        self._done = 0

    @workflow.run
    async def run(self, start: Start) -> str:
        told = asyncio.create_task(tell_neighbour()) if start.tells else None
        await workflow.wait_condition(lambda: self._done >= start.updates)
        if told:
            await told
            await tell_neighbour()
        await workflow.wait_condition(workflow.all_handlers_finished)
        return "Closed"

    @workflow.update
    async def command(self, raw: Any) -> str:
        await workflow.execute_local_activity("nothing", **LOCAL)
        self._done += 1
        return "done"


async def tell_neighbour() -> None:
    """Tell another bare workflow something, as a case tells its premises; keep its answer."""
    await workflow.execute_activity(
        "tell_neighbour",
        f"{workflow.info().workflow_id}-neighbour",
        start_to_close_timeout=timedelta(seconds=60),
        retry_policy=FOREVER,
    )
    await workflow.execute_local_activity("nothing", **LOCAL)


@workflow.defn(name="BareOpening")
class BareOpening:
    """As much as a case does when it is opened; then it waits for its deadline."""

    @workflow.run
    async def run(self, start: Start) -> None:
        deadline = asyncio.create_task(workflow.sleep(timedelta(days=7)))
        await workflow.execute_local_activity("begin", **LOCAL)
        if start.tells:
            await tell_neighbour()
        await deadline


class Bare:
    """Bare workflows on one task queue."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue
        self._begun = self._told = 0

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        return (nothing, self.begin, self.tell_neighbour)

    async def open_many(self, count: int, at_once: int, *, tells: bool) -> None:
        """Start workflows that begin as a case does, and wait until they have."""
        names = iter([f"bare-opening-{uuid4().hex}" for _ in range(count)])
        begun, told = self._begun + count, self._told + count * tells

        async def one_after_another() -> None:
            for name in names:
                await self._client.start_workflow(
                    "BareOpening",
                    Start(updates=0, tells=tells),
                    id=name,
                    task_queue=self._task_queue,
                )

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(one_after_another())
        while self._begun < begun or self._told < told:  # noqa: ASYNC110 - the worker counts
            await asyncio.sleep(0.01)

    def way(self, life: Life) -> Way:
        start = Start(updates=LENGTH, tells=life.on_premises)

        async def live(name: str) -> list[float]:
            opening, *commands = life.said(name)
            await self._open(f"bare-{name}", start, opening)
            handle = self._client.get_workflow_handle(f"bare-{name}")
            took: list[float] = []
            for command in commands:
                begin = time.perf_counter()
                await handle.execute_update("command", command)
                took.append((time.perf_counter() - begin) * 1000)
            return took

        async def done(names: Sequence[str]) -> None:
            handles = (self._client.get_workflow_handle(f"bare-{name}") for name in names)
            await asyncio.gather(*(handle.result() for handle in handles))

        return Way(live, done if life.on_premises else None)

    @activity.defn(name="begin")
    async def begin(self) -> None:
        """A local activity that does nothing but count."""
        self._begun += 1

    @activity.defn(name="tell_neighbour")
    async def tell_neighbour(self, name: str) -> None:
        """One Update of a second workflow, which is started where there is none."""
        await self._open(name, Start(updates=2, tells=False), {})
        self._told += 1

    async def _open(self, name: str, start: Start, command: Json) -> None:
        operation = WithStartWorkflowOperation(
            "BareWorkflow",
            start,
            id=name,
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        await self._client.execute_update_with_start_workflow(
            "command", command, start_workflow_operation=operation
        )


# Ordinary activities


class Appends:
    """The append, for whoever schedules it; the log's own is a step of a case alone."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    @activity.defn(name="append_ordinarily")
    async def append(self, request: AppendRequest) -> AppendResult:
        # In an empty context the log does not see which activity it is called from.
        work = asyncio.create_task(self._log.append_events(request), context=Context())
        return await work


class Ordinary(CaseWorkflow):
    """A case of ours, but each append is an ordinary activity."""

    async def _append(self, request: AppendRequest) -> AppendResult:
        return await workflow.execute_activity(
            "append_ordinarily",
            request,
            result_type=AppendResult,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=FOREVER,
        )


@workflow.defn(name="RepairWorkflow")
class OrdinaryRepair(Ordinary):
    """A repair."""

    @workflow.init
    def __init__(self, case: Any) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, case: Any) -> str:
        return await self.live()


@workflow.defn(name="ComplaintWorkflow")
class OrdinaryComplaint(Ordinary):
    """A complaint."""

    @workflow.init
    def __init__(self, case: Any) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, case: Any) -> str:
        return await self.live()


@workflow.defn(name="ArrearsWorkflow")
class OrdinaryArrears(Ordinary):
    """An account's debt."""

    @workflow.init
    def __init__(self, case: Any) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, case: Any) -> str:
        return await self.live()


@workflow.defn(name="PremisesWorkflow")
class OrdinaryPremises(Ordinary):
    """Premises, which know what is open there."""

    @workflow.init
    def __init__(self, case: Any) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, case: Any) -> str:
        return await self.live()


ORDINARY = (OrdinaryRepair, OrdinaryComplaint, OrdinaryArrears, OrdinaryPremises)


async def many(way: Way, count: int, at_once: int) -> list[float]:
    """Live `count` cases, `at_once` at a time; the milliseconds of all their commands."""
    names = [uuid4().hex for _ in range(count)]
    left = iter(names)
    took: list[float] = []

    async def one_after_another() -> None:
        for name in left:
            took.extend(await way.live(name))

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_another())
    if way.done:
        await way.done(names)
    return took
