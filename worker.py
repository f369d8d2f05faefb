"""The worker runs case workflows and their activities; production and tests build it here."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerDeploymentConfig,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.assessments import Assessments
from activities.builds import build_id
from activities.cases import Cases
from activities.event_log import EventLog
from activities.satisfaction import Satisfaction
from workflows.archive import ArchiverWorkflow, ArchiveWorkflow
from workflows.arrears import ArrearsWorkflow
from workflows.assessment import AssessmentRunWorkflow, AssessmentWorkflow
from workflows.checkpoints import CheckpointWorkflow
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
    ArchiveWorkflow,
    ArchiverWorkflow,
    CheckpointWorkflow,
]

UNVERSIONED = "standpipe-unversioned"

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
    deployment: WorkerDeploymentVersion | None = None,
) -> Worker:
    """A worker for one organisation's cases.

    With a `deployment` it gets work only while that version of it is current, or ramping; running
    cases go on with the new current version (docs/deploying.md). Without, it is unversioned: for
    tests and benchmarks.

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
        deployment_config=_deployed(deployment),
        workflow_runner=runner or UnsandboxedWorkflowRunner(),
        max_cached_workflows=max_cached_workflows,
        max_concurrent_workflow_tasks=200,
        max_concurrent_local_activities=100,
        max_concurrent_activities=100,
        # Whoever waits for a run of minutes sees how far it has come.
        max_heartbeat_throttle_interval=timedelta(seconds=2),
    )


def _deployed(version: WorkerDeploymentVersion | None) -> WorkerDeploymentConfig:
    if version is None:
        # Histories name their build all the same.
        named = WorkerDeploymentVersion(UNVERSIONED, build_id())
        return WorkerDeploymentConfig(version=named, use_worker_versioning=False)
    return WorkerDeploymentConfig(
        version=version,
        use_worker_versioning=True,
        # A case may live for years: it goes on with every new build, whose changes are patched.
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )
