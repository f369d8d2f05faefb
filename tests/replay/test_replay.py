"""The golden histories replay under today's code, whatever the hash seed; not under broken code."""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.worker import UnsandboxedWorkflowRunner

from lifecycles import conduct, repair
from lifecycles.conduct_findings import record_measure
from schemas.case import TakeCase
from schemas.conduct import MeasureTaken, RecordMeasure
from tests.replay.histories import HISTORIES, failures, life_of, load
from tests.replay.rare_lives import LIVES
from tests.replay.told import Types, all_commands, all_events, disagreements, told
from worker import WORKFLOWS
from workflows.case import CaseWorkflow

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("seed", "how"), [("0", ["sandboxed"]), ("1", [])])
async def test_every_history_replays(seed: str, how: list[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.replay.check", *how),
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


PUT_OFF = {
    "CommitmentPaused",
    "CommitmentResumed",
    "CommitmentReset",
    "CommitmentRestored",
}
PROMISES = {
    *PUT_OFF,
    "CommitmentStarted",
    "CommitmentKept",
    "CommitmentBroken",
    "CommitmentMetLate",
    "CommitmentCancelled",
    "BreachWithdrawn",
    "EscalationRaised",
}
NEVER: dict[str, Types] = {
    "only repairs and complaints let a promise's time stand still, or owe one again": {
        "conduct": PUT_OFF,
        "arrears": PUT_OFF,
        "assessment": PUT_OFF,
        "satisfaction": PUT_OFF,
    },
    "these promise nothing, and nobody owns them": {
        "premises": {*PROMISES, "OwnerChanged"},
        "archive": {*PROMISES, "OwnerChanged"},
    },
    "these ask nothing of another case": {
        "conduct": {"RecordAnswer", "RequestAnswered"},
        "satisfaction": {"RecordAnswer", "RequestAnswered"},
        "assessment": {"RequestAnswered"},
        "archive": {"RequestAnswered"},
    },
    "the figures and accounts that these rest on stay what they are": {
        "assessment": {"ApprovalLapsed"},
        "satisfaction": {"ApprovalLapsed"},
    },
    "the rule itself asks for a reassignment, and nobody takes that back": {
        "conduct": {"WithdrawApproval"},
    },
}
"""What a kind of case shares with the others by its types and can never do, by the reason why."""


def test_the_histories_cover_every_command_and_every_event_of_every_kind_of_case() -> None:
    commands, events = told(load())
    never: Types = {}
    for kinds in NEVER.values():
        for kind, types in kinds.items():
            never.setdefault(kind, set()).update(types)
    every_command = all_commands()
    for kind, every_event in all_events().items():
        known = every_command[kind] | every_event
        assert known - commands[kind] - events[kind] == never.get(kind, set()), kind


BEFORE = {
    # Deadlines that follow each other were decisions of their own then.
    *("repair-merged-1", "repair-merged-2", "repair-told-late-1", "repair-told-late-2"),
    # Each wait for a reply was as long as the policy lets all of them be together.
    "complaint-complained-1",
}
"""Recorded under rules that were others, before there was anybody's case to strand by that."""


async def test_every_history_is_decided_again_as_it_was_recorded() -> None:
    assert (await disagreements(load())).keys() == BEFORE


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


def nothing_happens(*_: Any) -> Iterator[Any]:
    yield from ()


def another_slip(state: Any, command: RecordMeasure, by: Any) -> Iterator[Any]:
    for event in record_measure(state, command, by):
        taken = isinstance(event, MeasureTaken)
        yield event.model_copy(update={"evidence": "forged-1"}) if taken else event


@pytest.mark.parametrize(
    ("deciders", "command", "broken", "found"),
    [
        (repair.DECIDERS, TakeCase, nothing_happens, {"repair-declined-1", "repair-refused-1"}),
        (conduct.DECIDERS, RecordMeasure, another_slip, {"conduct-town--judged-9"}),
    ],
)
async def test_a_lifecycle_that_decides_otherwise_is_found(
    deciders: Any, command: Any, broken: Any, found: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    histories = [h for h in load() if life_of(h.workflow_id) in ("declined", "refused", "judged")]
    monkeypatch.setitem(deciders, command, broken)
    assert found <= set(await disagreements(histories))
