"""A case, seven commands long: ours, bare Temporal, and with ordinary activities."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import WorkflowIDConflictPolicy

with workflow.unsafe.imports_passed_through():
    from activities.cases import Cases
    from schemas.envelope import AppendRequest, AppendResult, Json
    from workflows.case import FOREVER, LOCAL, CaseWorkflow

CLERK = {"subject": "c-1041", "role": "clerk", "proof": "local"}
PARTY = "party-bench"


class Life(NamedTuple):
    """A kind of case and all that is asked of one, from first word to last."""

    kind: str
    commands: Sequence[tuple[str, Json]]


LIVES = (
    Life(
        "repair",
        (
            (
                "ReportRepair",
                {
                    "channel": "phone",
                    "category": "no-gas",
                    "district": "north",
                    "party": PARTY,
                    "recorded": ["name", "address", "phone"],
                },
            ),
            ("TriageRepair", {"category": "no-gas", "severity": "common"}),
            ("DispatchCrew", {"crew": "k-7"}),
            ("AcceptJob", {"crew": "k-7"}),
            ("RecordArrival", {"crew": "k-7"}),
            ("CompleteRepair", {"work": ["valve-replaced"], "evidence": ["photo-1"]}),
            ("RecordCallback", {"party": PARTY, "consent": True, "result": "satisfied"}),
        ),
    ),
    Life(
        "complaint",
        (
            (
                "RegisterComplaint",
                {
                    "channel": "phone",
                    "about": "service",
                    "category": "late",
                    "district": "north",
                    "party": PARTY,
                    "recorded": ["name", "phone"],
                },
            ),
            ("ScreenComplaint", {"category": "late", "gravity": "light"}),
            ("HandOverComplaint", {"department": "field-service"}),
            ("AcknowledgeComplaint", {}),
            ("StartInvestigation", {}),
            ("AnswerComplaint", {"outcome": "upheld", "answer": "letter-1"}),
            ("RecordFollowUp", {"consent": True, "result": "satisfied"}),
        ),
    ),
)
"""As long as each other, so that one bare workflow is the measure of both."""
LENGTH = len(LIVES[0].commands)

Live = Callable[[str], Awaitable[list[float]]]
"""Lives one case under a new id and returns the milliseconds of each command but the first."""


def envelope(name: str, body: Json) -> Json:
    return {"id": f"bench/{uuid4().hex}", "actor": CLERK, "body": {"type": name, **body}}


def ours(cases: Cases, policy: str, life: Life = LIVES[0]) -> Live:
    async def live(name: str) -> list[float]:
        case_id = f"{life.kind}-{name}"
        opening, *commands = life.commands
        await cases.open(case_id, policy, envelope(*opening))
        took: list[float] = []
        for command in commands:
            begin = time.perf_counter()
            await cases.send(case_id, envelope(*command))
            took.append((time.perf_counter() - begin) * 1000)
        return took

    return live


@activity.defn(name="nothing")
async def nothing() -> None:
    """A local activity that does nothing."""


@workflow.defn(name="BareWorkflow")
class BareWorkflow:
    """As many Updates as a case has, each with one local activity that does nothing."""

    def __init__(self) -> None:
        self._done = 0

    @workflow.run
    async def run(self, case: Any) -> str:
        await workflow.wait_condition(lambda: self._done >= LENGTH)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return "Closed"

    @workflow.update
    async def command(self, raw: Any) -> str:
        await workflow.execute_local_activity("nothing", **LOCAL)
        self._done += 1
        return "done"


class Ordinary(CaseWorkflow):
    """A case of ours, but each append is an ordinary activity."""

    async def _append(self, request: AppendRequest) -> AppendResult:
        return await workflow.execute_activity(
            "append_events",
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


def bare(client: Client, task_queue: str) -> Live:
    opening, *commands = LIVES[0].commands

    async def live(name: str) -> list[float]:
        start = WithStartWorkflowOperation(
            "BareWorkflow",
            {},
            id=f"bare-{name}",
            task_queue=task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        await client.execute_update_with_start_workflow(
            "command", envelope(*opening), start_workflow_operation=start
        )
        handle = client.get_workflow_handle(f"bare-{name}")
        took: list[float] = []
        for command in commands:
            begin = time.perf_counter()
            await handle.execute_update("command", envelope(*command))
            took.append((time.perf_counter() - begin) * 1000)
        return took

    return live


async def many(live: Live, count: int, at_once: int) -> list[float]:
    """Live `count` cases, `at_once` at a time; the milliseconds of all their commands."""
    names = iter([uuid4().hex for _ in range(count)])
    took: list[float] = []

    async def one_after_another() -> None:
        for name in names:
            took.extend(await live(name))

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_another())
    return took
