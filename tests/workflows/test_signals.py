"""Commands as Signals, from senders that cannot wait: done once, or refused on record."""

import asyncio
from typing import Any

from temporalio import activity

from activities.event_log import EventLog
from schemas.envelope import Refusal
from tests.workflows.desk import ORGANISATION, SHORT, Desk, ago, until

TRIAGE: dict[str, Any] = {"category": "no-gas", "severity": "common"}


class SlowRefusals(EventLog):
    """A log whose refusals take until the test lets them go on."""

    def __init__(self, log: EventLog) -> None:
        super().__init__(log._pool)  # pyright: ignore[reportPrivateUsage]
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    @activity.defn(name="record_refusal")
    async def record_refusal(self, refusal: Refusal) -> None:
        self.begun.set()
        await self.go_on.wait()
        await super().record_refusal(refusal)


async def refusals(desk: Desk, case_id: str, wanted: int) -> list[Any]:
    async def enough() -> bool:
        return len(await desk.log.refusals(ORGANISATION, stream=case_id)) >= wanted

    await until(enough)
    return await desk.log.refusals(ORGANISATION, stream=case_id)


async def test_a_signal_is_done_once_however_often_it_comes(desk: Desk) -> None:
    case_id = await desk.opened()
    triage = desk.command("TriageRepair", **TRIAGE)
    for _ in range(3):
        await desk.cases.submit(case_id, triage)
    await desk.send(case_id, "TakeCase")  # whatever came before it has been decided
    await desk.cases.submit(case_id, triage)
    assert (await desk.cases.send(case_id, triage)).events == ("RepairTriaged",)
    assert (await desk.types(case_id)).count("RepairTriaged") == 1
    assert await desk.log.refusals(ORGANISATION) == []
    await desk.verified(case_id)


async def test_a_refused_signal_is_kept_with_every_reason(desk: Desk) -> None:
    case_id = await desk.opened()
    wrong = desk.command("CompleteRepair", by="crew", work=["valve"], at=ago(days=-1))
    await desk.cases.submit(case_id, wrong)

    (refusal,) = await refusals(desk, case_id, 1)
    assert refusal.command_id == wrong["id"]
    assert refusal.command_type == "CompleteRepair"
    assert refusal.actor == "crew-1"
    assert len(refusal.reasons) == 2
    assert abs(refusal.refused_at - ago(minutes=0)).total_seconds() < 60
    await desk.send(case_id, "TriageRepair", **TRIAGE)
    await desk.verified(case_id)


async def test_what_cannot_be_read_is_kept_as_refused_too(desk: Desk) -> None:
    case_id = await desk.opened()
    await desk.cases.submit(case_id, {"id": 7, "colour": "violet"})
    await desk.handle(case_id).signal("submit", "CancelRepair")
    await desk.handle(case_id).signal("submit", args=[desk.command("TakeCase"), 2])

    kept = await refusals(desk, case_id, 3)
    assert {r.command_type for r in kept} == {"unreadable"}
    assert [len(r.reasons) for r in kept] == [4, 1, 1]
    assert not any("violet" in reason for r in kept for reason in r.reasons)
    await desk.send(case_id, "TriageRepair", **TRIAGE)
    assert "WORKFLOW_TASK_FAILED" not in await desk.history(case_id)
    await desk.verified(case_id)


async def test_an_id_used_for_something_else_is_kept_as_refused_too(desk: Desk) -> None:
    case_id = await desk.opened()
    triage = desk.command("TriageRepair", **TRIAGE)
    await desk.cases.send(case_id, triage)
    await desk.cases.submit(case_id, desk.command("CancelRepair", id=triage["id"], reason="x"))

    (refusal,) = await refusals(desk, case_id, 1)
    assert (refusal.command_id, refusal.command_type) == (triage["id"], "CancelRepair")
    assert (await desk.verified(case_id)).stage == "Triaged"


async def test_two_commands_of_one_id_at_once_are_one_command_and_one_refusal(
    idle_desk: Desk,
) -> None:
    desk = idle_desk
    async with desk.worker():
        case_id = await desk.opened()
    for crew in ("k-1", "k-2"):  # both wait until there is a worker
        await desk.cases.submit(
            case_id,
            desk.command(
                "HandOverCase", id="both", reason="shift", to={"kind": "person", "id": crew}
            ),
        )
    async with desk.worker():
        (refusal,) = await refusals(desk, case_id, 1)
        assert refusal.command_id == "both"
        state = await desk.verified(case_id)
        assert state.owners[-1].owner.id == "k-1"


async def test_a_signal_to_a_closed_case_takes_it_up_from_the_log(desk: Desk) -> None:
    case_id = await desk.opened()
    await desk.send(case_id, "CancelRepair", reason="mistake")
    await desk.handle(case_id).result()

    await desk.cases.submit(case_id, desk.command("StartWork"))
    assert len(await refusals(desk, case_id, 1)) == 1
    assert await desk.handle(case_id).result() == "Cancelled"

    await desk.cases.submit(case_id, desk.command("ReopenCase", reason="still_no_gas"))

    async def reopened() -> bool:
        return "RepairReopened" in await desk.types(case_id)

    await until(reopened)
    await desk.verified(case_id)


async def test_a_command_that_comes_while_a_refusal_is_written_is_not_forgotten(
    hasty_desk: Desk,
) -> None:
    """The run wants to end, a signal's refusal is not written yet, and somebody asks."""
    desk = hasty_desk
    slow = SlowRefusals(desk.log)
    async with desk.worker(log=slow):
        case_id = await desk.opened()
        await desk.handle(case_id).signal("submit", "unreadable")
        await slow.begun.wait()
        await desk.send(case_id, "CancelRepair", reason="mistake")
        async with asyncio.timeout(20):
            waiting = asyncio.create_task(desk.send(case_id, "ReopenCase", reason="after_all"))
            await asyncio.sleep(2 * SHORT.total_seconds())  # until the run has it
            slow.go_on.set()
            assert (await waiting).events[0] == "RepairReopened"
        await desk.verified(case_id)
