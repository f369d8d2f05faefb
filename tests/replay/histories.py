"""The golden histories: a binary protobuf per run, named after workflow and run number."""

import re
from collections.abc import Sequence
from pathlib import Path

from temporalio.api.history.v1 import History
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer, WorkflowRunner

from tests.workflows.desk import ORGANISATION

HISTORIES = Path(__file__).parents[1] / "histories"


def load() -> list[WorkflowHistory]:
    return [
        WorkflowHistory(
            file.name.partition(".")[0], list(History.FromString(file.read_bytes()).events)
        )
        for file in sorted(HISTORIES.glob("*.binpb"))
    ]


async def failures(workflows: Sequence[type], runner: WorkflowRunner) -> dict[str, str]:
    """The histories that these workflows do not replay, and why."""
    replayer = Replayer(
        workflows=workflows, workflow_runner=runner, data_converter=pydantic_data_converter
    )
    failed: dict[str, str] = {}
    for history in load():
        result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        if result.replay_failure is not None:
            failed[history.workflow_id] = str(result.replay_failure)
    return failed


def life_of(workflow_id: str) -> str:
    """The life that a workflow was recorded in."""
    if workflow_id.startswith("archive-"):
        return "archived"  # registers are named after their month
    found = re.fullmatch(rf"[a-z]+-({ORGANISATION}--)?(.+)-\d+", workflow_id)
    assert found is not None, workflow_id
    return found[2]
