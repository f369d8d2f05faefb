"""A run that is behind the log catches up: reset by an operator, a second one, or overtaken."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from activities import event_log
from activities.cases import Conflict
from gateway.recovery import Recovered, recover
from lifecycles.decisions import Rejected
from tests.workflows.desk import ORGANISATION, Desk, ago

TRIAGE: dict[str, Any] = {"category": "no-gas", "severity": "common"}


@pytest.mark.parametrize("reapply", [True, False], ids=["reapplied", "left_out"])
@pytest.mark.parametrize("to_task", [0, 2, -1])
async def test_a_run_that_was_reset_goes_on_and_doubles_nothing(
    desk: Desk, to_task: int, reapply: bool
) -> None:
    case_id = await desk.opened()
    triage = desk.command("TriageRepair", **TRIAGE)
    outcome = await desk.cases.send(case_id, triage)
    await desk.send(case_id, "DispatchCrew", crew="k-1")
    await desk.cases.submit(case_id, desk.command("AcceptJob", crew="k-1"))
    await desk.send(case_id, "TakeCase")
    before = await desk.bodies(case_id)

    await desk.reset(case_id, to_task, reapply=reapply)
    again = await desk.cases.send(case_id, triage)
    assert (again.version, again.events) == (outcome.version, outcome.events)
    with pytest.raises(Conflict):
        await desk.cases.send(case_id, desk.command("TakeCase", id=triage["id"]))
    await desk.send(case_id, "RecordArrival", crew="k-1")

    assert (await desk.bodies(case_id))[: len(before)] == before
    assert (await desk.types(case_id)).count("CrewArrived") == 1
    assert (await desk.log.refusals(ORGANISATION)) == []
    assert (await desk.verified(case_id)).stage == "OnSite"


async def test_a_closed_run_that_was_reset_ends_again(desk: Desk) -> None:
    case_id = await desk.opened()
    await desk.finish(case_id)
    await desk.handle(case_id).result()
    before = await desk.bodies(case_id)

    await desk.reset(case_id, 1, reapply=False)
    await desk.later(case_id, timedelta(hours=1))
    assert await desk.handle(case_id).result() == "Closed"
    assert await desk.bodies(case_id) == before
    await desk.verified(case_id)


async def test_a_deadline_that_a_reset_run_has_before_it_again_passes_once(desk: Desk) -> None:
    case_id = await desk.opened(at=ago(minutes=14, seconds=59))
    await asyncio.sleep(2)
    assert (await desk.types(case_id)).count("CommitmentBroken") == 1
    await desk.reset(case_id, 0, reapply=True)
    await desk.send(case_id, "TriageRepair", **TRIAGE)
    assert (await desk.types(case_id)).count("CommitmentBroken") == 1
    await desk.verified(case_id)


async def test_a_second_run_of_a_case_catches_up_with_the_first(desk: Desk) -> None:
    case_id = await desk.opened()
    await desk.send(case_id, "TriageRepair", **TRIAGE)
    before = await desk.bodies(case_id)
    await desk.handle(case_id).terminate()

    await desk.start(case_id, desk.opening(case_id))
    await desk.send(case_id, "DispatchCrew", crew="k-1")
    assert (await desk.bodies(case_id))[: len(before)] == before
    assert (await desk.verified(case_id)).stage == "Dispatched"


@pytest.mark.parametrize("end", ["cancel", "terminate"])
async def test_a_run_that_an_operator_ended_is_taken_up_again(desk: Desk, end: str) -> None:
    """Neither ends the case: that takes a command."""
    case_id = await desk.opened()
    handle = desk.handle(case_id)
    await (handle.cancel() if end == "cancel" else handle.terminate())
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert await recover(desk.cases, desk.log, ORGANISATION) == Recovered(taken_up=1, running=0)
    await desk.send(case_id, "TriageRepair", **TRIAGE)
    assert (await desk.history(case_id)).count("TIMER_STARTED") == 1
    await desk.verified(case_id)


async def test_a_log_too_long_for_one_answer_is_learnt_in_pages(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "PAGE_BYTES", 2_000)
    case_id = await desk.opened()
    for _ in range(20):
        await desk.append(case_id, desk.command("AnnounceInterruption", **interruption()))
    before = await desk.bodies(case_id)
    with pytest.raises(Rejected, match="not possible at stage Reported"):
        await desk.send(case_id, "StartWork")
    await desk.handle(case_id).terminate()
    await desk.send(case_id, "TriageRepair", **TRIAGE)
    assert (await desk.history(case_id)).count("MARKER_RECORDED") > 5
    assert (await desk.bodies(case_id))[: len(before)] == before
    await desk.verified(case_id)


def interruption() -> dict[str, Any]:
    return {"start": ago(days=-7).isoformat(), "end": ago(days=-8).isoformat(), "reason": "works"}


async def test_a_run_that_was_overtaken_learns_and_decides_again(desk: Desk) -> None:
    case_id = await desk.opened()
    await desk.append(case_id, desk.command("TriageRepair", **TRIAGE))

    # Lawful only as the log has it.
    await desk.send(case_id, "DispatchCrew", crew="k-1")
    assert (await desk.types(case_id))[-3:] == ["RepairTriaged", "CrewDispatched", "CommitmentKept"]
    await desk.verified(case_id)

    # Lawful as the run knows it, but no longer.
    await desk.append(case_id, desk.command("CancelRepair", reason="mistake"))
    with pytest.raises(Rejected, match="not possible at stage Cancelled"):
        await desk.send(case_id, "AcceptJob", crew="k-1")
    assert await desk.handle(case_id).result() == "Cancelled"
    await desk.verified(case_id)


async def test_a_command_that_another_run_did_is_done(desk: Desk) -> None:
    case_id = await desk.opened()
    triage = desk.command("TriageRepair", **TRIAGE)
    await desk.append(case_id, triage)
    assert (await desk.cases.send(case_id, triage)).events == ("RepairTriaged",)

    take = desk.command("TakeCase")
    await desk.append(case_id, take)
    with pytest.raises(Conflict):
        await desk.cases.send(case_id, desk.command("CancelRepair", id=take["id"], reason="x"))
    await desk.send(case_id, "DispatchCrew", crew="k-1")
    await desk.verified(case_id)


async def test_a_deadline_that_another_run_noticed_passes_once(desk: Desk) -> None:
    case_id = await desk.opened(at=ago(minutes=14, seconds=58))
    async with asyncio.timeout(10):
        while "CommitmentBroken" not in await desk.types(case_id):
            # Whoever comes first, the run or this.
            await asyncio.gather(desk.append(case_id), return_exceptions=True)
    await desk.send(case_id, "TakeCase")
    assert (await desk.types(case_id)).count("CommitmentBroken") == 1
    await desk.verified(case_id)


async def test_runs_that_race_for_one_case_leave_one_lawful_story(desk: Desk) -> None:
    """The run against another one that appends by itself: each catches up with the other."""
    case_id = await desk.opened()
    await desk.send(case_id, "TriageRepair", **TRIAGE)

    async def hand_over(number: int) -> None:
        owner = {"kind": "person", "id": f"c-{number}"}
        command = desk.command("HandOverCase", to=owner, reason="shift")
        if number % 2:
            await desk.cases.send(case_id, command)
            return
        while True:
            try:
                await desk.append(case_id, command)
            except AssertionError:
                continue
            break

    async with asyncio.timeout(20):
        await asyncio.gather(*(hand_over(n) for n in range(24)))
    assert (await desk.types(case_id)).count("OwnerChanged") == 24
    await desk.send(case_id, "TakeCase")
    await desk.verified(case_id)
