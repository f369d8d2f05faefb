"""The golden histories replay under today's code, whatever the hash seed; not under broken code."""

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.worker import UnsandboxedWorkflowRunner

from tests.replay.histories import HISTORIES, failures, life_of, load
from tests.replay.rare_lives import LIVES
from worker import WORKFLOWS
from workflows.case import CaseWorkflow

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", ["0", "1", "2"])
async def test_every_history_replays(seed: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.replay.check"),
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


def test_every_life_has_its_histories() -> None:
    assert {life_of(history.workflow_id) for history in load()} == set(LIVES)


def test_the_histories_cover_what_can_happen_to_a_run() -> None:
    seen = {event.event_type for history in load() for event in history.events}
    for name in (
        "WORKFLOW_EXECUTION_UPDATE_COMPLETED",
        "WORKFLOW_EXECUTION_SIGNALED",
        "MARKER_RECORDED",
        "TIMER_FIRED",
        "TIMER_CANCELED",
        "ACTIVITY_TASK_COMPLETED",
        "WORKFLOW_EXECUTION_COMPLETED",
        "WORKFLOW_EXECUTION_FAILED",
        "WORKFLOW_EXECUTION_TERMINATED",
        "WORKFLOW_EXECUTION_CONTINUED_AS_NEW",
        "WORKFLOW_EXECUTION_UPDATE_ADMITTED",  # carried into a run that was reset
    ):
        assert EventType.Value(f"EVENT_TYPE_{name}") in seen, name
    assert EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED not in seen - resets()


def resets() -> set[int]:
    """A reset, too, stands in a history as a failed workflow task."""
    return {
        event.event_type
        for history in load()
        for event in history.events
        if event.workflow_task_failed_event_attributes.new_run_id
    }


def test_histories_name_no_machine_and_no_person() -> None:
    for file in HISTORIES.glob("*.binpb"):
        content = file.read_bytes()
        assert not re.search(rb"\.py\"|\"/[a-z]+/|[0-9]+@[a-z]", content), file.name
        assert str(ROOT).encode() not in content, file.name
        assert set(re.findall(rb"party-[a-z0-9-]+", content)) <= {b"party-1", b"party-2"}, file.name


async def restart_every_timer(case: CaseWorkflow) -> None:
    case._alarm_at = None  # pyright: ignore[reportPrivateUsage]
    await SLEEP(case)


async def append_once_more(case: CaseWorkflow) -> None:
    await TURN(case)
    await case._append(case._request())  # pyright: ignore[reportPrivateUsage]


def forget_to_ask(case: CaseWorkflow) -> None:
    pass


SLEEP, TURN = CaseWorkflow._sleep, CaseWorkflow._turn  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("method", "broken"),
    [("_sleep", restart_every_timer), ("_turn", append_once_more), ("_ask", forget_to_ask)],
)
async def test_a_broken_workflow_does_not_replay(
    method: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CaseWorkflow, method, broken)
    failed = await failures(WORKFLOWS, UnsandboxedWorkflowRunner())
    assert failed
    assert all("ondetermini" in why or "workflow machines" in why for why in failed.values())
