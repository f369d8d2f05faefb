"""The worker runs case workflows and their activities; production and tests build it here."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.assessments import Assessments
from activities.cases import Cases
from activities.event_log import EventLog
from activities.satisfaction import Satisfaction
from workflows.arrears import ArrearsWorkflow
from workflows.assessment import AssessmentRunWorkflow, AssessmentWorkflow
from workflows.complaint import ComplaintWorkflow
from workflows.conduct import ConductWorkflow
from workflows.delivery import DeliveryWorkflow
from workflows.premises import PremisesWorkflow
from workflows.repair import RepairWorkflow
from workflows.satisfaction import SatisfactionReportWorkflow, SatisfactionWorkflow

WORKFLOWS = [
    RepairWorkflow,
    ComplaintWorkflow,
    ConductWorkflow,
    ArrearsWorkflow,
    PremisesWorkflow,
    AssessmentWorkflow,
    AssessmentRunWorkflow,
    SatisfactionWorkflow,
    SatisfactionReportWorkflow,
    DeliveryWorkflow,
]

OURS = ("activities", "lifecycles", "schemas", "pydantic", "pydantic_core", "rfc8785", "tzdata")
"""Passed through the sandbox on purpose: pure modules, which are the same in every run."""


def sandboxed() -> WorkflowRunner:
    """The sandbox that tests run in: it stops clocks, I/O and randomness in workflow code."""
    return SandboxedWorkflowRunner(
        restrictions=SandboxRestrictions.default.with_passthrough_modules(*OURS)
    )


def build_worker(
    client: Client,
    log: EventLog,
    *,
    organisation: str,
    task_queue: str,
    max_cached_workflows: int = 5000,
    runner: WorkflowRunner | None = None,
    workflows: Sequence[type] | None = None,
    more_activities: Sequence[Callable[..., Any]] = (),
) -> Worker:
    """A worker for one organisation's cases.

    Unsandboxed unless `runner` says otherwise: the sandbox costs 8 ms of CPU for every case, and
    what it guards is tested (sandboxed runs, replays under several hash seeds) and linted.
    """
    cases = Cases(client, log, organisation, task_queue)
    satisfaction = Satisfaction(log, cases, organisation)
    assessments = Assessments(log, cases, organisation)
    return Worker(
        client,
        task_queue=task_queue,
        workflows=workflows or WORKFLOWS,
        activities=[
            log.append_events,
            log.record_refusal,
            cases.ask_case,
            satisfaction.count_answers,
            satisfaction.find_follow_ups,
            satisfaction.enter_in_register,
            assessments.open_assessments,
            *more_activities,
        ],
        workflow_runner=runner or UnsandboxedWorkflowRunner(),
        max_cached_workflows=max_cached_workflows,
        max_concurrent_workflow_tasks=200,
        max_concurrent_local_activities=100,
        max_concurrent_activities=100,
        # Whoever waits for a run of minutes sees how far it has come.
        max_heartbeat_throttle_interval=timedelta(seconds=2),
    )
