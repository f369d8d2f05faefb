"""A case lives on the real server: commands, deadlines at their due times, the whole ladder."""

import asyncio
from datetime import timedelta

from tests.workflows.desk import ORGANISATION, Desk, ago


async def test_a_case_lives_from_its_report_to_the_last_call(desk: Desk) -> None:
    case_id = await desk.opened()
    closed = await desk.finish(case_id)

    assert closed.events == ("CallbackRecorded", "CommitmentKept", "RepairClosed")
    assert await desk.handle(case_id).result() == "Closed"
    state = await desk.verified(case_id)
    assert {c.name: c.state for c in state.commitments} == {
        "dispatch": "kept",
        "attend": "kept",
        "repair": "kept",
        "follow_up": "kept",
    }


async def test_a_life_takes_one_append_per_command_and_no_other_activity(desk: Desk) -> None:
    case_id = await desk.opened()
    await desk.finish(case_id)

    history = await desk.history(case_id)
    assert history.count("MARKER_RECORDED") == 7
    assert history.count("WORKFLOW_TASK_COMPLETED") <= 8
    assert "ACTIVITY_TASK_SCHEDULED" not in history
    assert "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES" not in history


async def test_a_timer_stands_while_commands_leave_its_deadline_alone(desk: Desk) -> None:
    case_id = await desk.opened()  # wakes after 15 minutes, unless a crew was sent
    await desk.send(case_id, "TriageRepair", category="no-gas", severity="common")
    await desk.send(case_id, "HandOverCase", to={"kind": "person", "id": "c-2"}, reason="shift")
    await desk.send(
        case_id, "AnnounceInterruption", start=ago(days=-2), end=ago(days=-3), reason="x"
    )
    assert (await desk.history(case_id)).count("TIMER_STARTED") == 1

    await desk.send(case_id, "DispatchCrew", crew="k-1")  # now the next rung is after 3 hours
    await desk.send(case_id, "AcceptJob", crew="k-1")
    history = await desk.history(case_id)
    assert history.count("TIMER_STARTED") == 2
    assert history.count("TIMER_CANCELED") == 1


async def test_deadlines_pass_at_their_due_time_and_not_before(desk: Desk) -> None:
    case_id = await desk.opened()
    due = (await desk.verified(case_id)).commitments[0].due

    await desk.later(case_id, timedelta(minutes=14))
    assert "CommitmentBroken" not in await desk.types(case_id)
    await desk.later(case_id, timedelta(minutes=2))

    broken, told = (await desk.log.read_stream(ORGANISATION, case_id))[4:]
    assert (broken.type, told.type) == ("CommitmentBroken", "EscalationRaised")
    assert broken.occurred_at == told.occurred_at == due
    assert due <= broken.decided_at < due + timedelta(seconds=10)
    await desk.verified(case_id)


async def test_an_untouched_case_climbs_every_ladder_to_the_top(desk: Desk) -> None:
    case_id = await desk.opened()
    await desk.later(case_id, timedelta(days=5))

    state = await desk.verified(case_id)
    assert {c.name: (c.state, c.fired) for c in state.commitments} == {
        "dispatch": ("broken", 3),
        "attend": ("broken", 5),
        "repair": ("broken", 5),
    }
    assert state.reported_at
    everything = desk.planned(case_id, [], state.reported_at).state
    # The same events as the rules alone make of the same report.
    report = (await desk.log.read_decisions(ORGANISATION, case_id))[0]
    assert everything.stage == "Unreported"
    alone = desk.planned(
        case_id,
        [report.command | {"occurred_at": report.decided_at}],
        state.reported_at + timedelta(days=5),
    )
    assert await desk.bodies(case_id) == [
        event.model_dump(mode="json") for step in alone.steps for event in step.events
    ]
    told = [row.message for row in await desk.log.outbox(ORGANISATION, stream=case_id)]
    assert [m.recipient for m in told if m.params.get("commitment") == "attend"] == [
        "crew_leader",
        "supervisor",
        "station_head",
        "division_head",
        "general_manager",
    ]


async def test_a_deadline_keeps_its_due_time_however_late_the_worker_wakes(idle_desk: Desk) -> None:
    reported = ago(minutes=15, seconds=-2)
    async with idle_desk.worker():
        case_id = await idle_desk.opened(at=reported)
    await asyncio.sleep(4)
    assert "CommitmentBroken" not in await idle_desk.types(case_id)

    async with idle_desk.worker():
        await idle_desk.send(case_id, "TriageRepair", category="no-gas", severity="common")
        events = await idle_desk.log.read_stream(ORGANISATION, case_id)
        broken = next(e for e in events if e.type == "CommitmentBroken")
        assert broken.occurred_at == reported + timedelta(minutes=15)
        assert broken.decided_at > broken.occurred_at + timedelta(seconds=1)
        assert [e.type for e in events][4:] == [
            "CommitmentBroken",
            "EscalationRaised",
            "RepairTriaged",
        ]
        await idle_desk.verified(case_id)
