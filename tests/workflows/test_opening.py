"""A case opens with its report, or with all that happened already; or not at all."""

from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from lifecycles.decisions import Rejected
from schemas.envelope import Json
from tests.workflows.desk import ORGANISATION, Desk, ago

HOUR = timedelta(hours=1)


def a_late_repair(desk: Desk) -> list[Json]:
    """Forty days ago: attended after 8 hours instead of 6, repaired after 30 instead of 24."""
    start = ago(days=40)
    triaged = {"category": "no-gas", "severity": "common"}
    return [
        desk.report(at=start),
        desk.command("TriageRepair", at=start + 0.1 * HOUR, **triaged),
        desk.command("DispatchCrew", crew="k-1", at=start + 7 * HOUR),
        desk.command("RecordArrival", crew="k-1", at=start + 8 * HOUR),
        desk.command("CompleteRepair", work=["valve"], at=start + 30 * HOUR),
        desk.command(
            "RecordCallback",
            party="party-1",
            consent=True,
            result="satisfied",
            at=start + 31 * HOUR,
        ),
    ]


async def test_a_whole_history_is_applied_in_business_order_at_once(desk: Desk) -> None:
    case_id = desk.name()
    commands = a_late_repair(desk)
    assert await desk.cases.open_with_history(case_id, desk.policy, commands[::-1])
    assert await desk.handle(case_id).result() == "Closed"

    history = await desk.history(case_id)
    assert history.count("MARKER_RECORDED") == 1
    assert history.count("WORKFLOW_TASK_COMPLETED") <= 2

    # Deadlines stand where they fell due, between the commands.
    types = await desk.types(case_id)
    ladders = [t for t in types if t in ("CommitmentBroken", "EscalationRaised")]
    assert ladders.count("CommitmentBroken") == 3
    assert len(ladders) == 3 + 3 + 3 + 3  # each with its breach
    order = [
        "RepairTriaged",
        "CommitmentBroken",
        "CrewDispatched",
        "CrewArrived",
        "RepairCompleted",
    ]
    assert sorted(order, key=types.index) == order
    times = [e.occurred_at for e in await desk.log.read_stream(ORGANISATION, case_id)]
    assert times == sorted(times)

    alone = desk.planned(case_id, commands, ago(days=0))
    expected = [event.model_dump(mode="json") for step in alone.steps for event in step.events]
    assert await desk.bodies(case_id) == expected
    state = await desk.verified(case_id)
    assert {c.name: (c.state, c.fired) for c in state.commitments} == {
        "dispatch": ("broken", 3),
        "attend": ("broken", 3),
        "repair": ("broken", 3),
        "follow_up": ("kept", 0),
    }


async def test_an_open_history_goes_on_from_its_next_deadline(desk: Desk) -> None:
    case_id = desk.name()
    reported = ago(hours=3.5)
    assert await desk.cases.open_with_history(case_id, desk.policy, [desk.report(at=reported)])
    await desk.send(case_id, "TakeCase")
    history = await desk.history(case_id)
    assert history.count("TIMER_STARTED") == 1
    assert (await desk.types(case_id)).count("EscalationRaised") == 4  # dispatch 3, attend 1
    await desk.later(case_id, 2 * HOUR)

    events = await desk.log.read_stream(ORGANISATION, case_id)
    assert events[-1].type == "EscalationRaised"
    assert events[-1].occurred_at == reported + 4.8 * HOUR
    await desk.verified(case_id)


async def test_a_history_opens_its_case_once(desk: Desk) -> None:
    case_id = desk.name()
    commands = a_late_repair(desk)
    assert await desk.cases.open_with_history(case_id, desk.policy, commands)
    assert not await desk.cases.open_with_history(case_id, desk.policy, commands)
    await desk.handle(case_id).result()
    assert not await desk.cases.open_with_history(case_id, desk.policy, commands)
    await desk.verified(case_id)


async def test_a_refused_history_opens_nothing(desk: Desk) -> None:
    case_id = desk.name()
    commands = a_late_repair(desk)
    with pytest.raises(Rejected) as caught:
        await desk.cases.open_with_history(case_id, desk.policy, [*commands[:2], commands[-1]])
    assert len(caught.value.reasons) == 1
    with pytest.raises(Rejected):
        await desk.cases.open_with_history(case_id, desk.policy, commands[1:])
    assert await desk.log.case(ORGANISATION, case_id) is None
    assert await desk.cases.open_with_history(case_id, desk.policy, commands)


async def test_what_a_history_is_refused_later_is_kept_as_refused(desk: Desk) -> None:
    """Past the checks of whoever opens it: the case takes what it can and says what not."""
    case_id = desk.name()
    commands = a_late_repair(desk)
    handle = await desk.start(case_id, desk.opening(case_id, [*commands[:2], *commands[3:]]))
    await desk.send(case_id, "TakeCase")
    refused = await desk.log.refusals(ORGANISATION, stream=case_id)
    assert [r.command_type for r in refused] == [
        "RecordArrival",
        "CompleteRepair",
        "RecordCallback",
    ]
    assert (await desk.verified(case_id)).stage == "Triaged"
    assert (await handle.describe()).status is not None


async def test_a_refused_report_leaves_nothing_in_the_log(desk: Desk) -> None:
    case_id = desk.name()
    incomplete = desk.report(party=None, recorded=["name"])
    with pytest.raises(Rejected) as caught:
        await desk.cases.open(case_id, desk.policy, incomplete)
    assert len(caught.value.reasons) == 2

    # The same past the client's own check.
    handle = await desk.start(case_id, desk.opening(case_id, [incomplete]))
    assert await handle.result() == "Unreported"
    assert await desk.log.read_decisions(ORGANISATION, case_id) == []
    assert await desk.log.case(ORGANISATION, case_id) is None
    (refusal,) = await desk.log.refusals(ORGANISATION, stream=case_id)
    assert len(refusal.reasons) == 2

    # The name is still free.
    await desk.cases.open(case_id, desk.policy, desk.report())
    await desk.verified(case_id)


async def test_a_case_cannot_be_opened_by_anything_but_a_report(desk: Desk) -> None:
    for raw in (
        desk.command("TakeCase"),
        desk.report(category="cold-soup"),
        desk.report(at=ago(days=-1)),
        {},
        [],
        desk.report() | {"body": {"type": "DeadlinePassed", "at": ago(days=1).isoformat()}},
    ):
        with pytest.raises(Rejected):
            await desk.cases.open(desk.name(), desk.policy, raw)  # type: ignore[arg-type]
        with pytest.raises(Rejected):
            await desk.cases.open_with_history(desk.name(), desk.policy, [raw])  # type: ignore[list-item]
    for case_id in ("repair-", "Repair-1", "repair-ä", "complaint-1", ""):
        with pytest.raises(Rejected):
            await desk.cases.open(case_id, desk.policy, desk.report())
    with pytest.raises(Rejected):
        await desk.cases.open(desk.name(), '{"name": "gas"}', desk.report())


async def test_an_invalid_opening_fails_the_workflow_and_says_why(desk: Desk) -> None:
    case_id = desk.name()
    good = desk.opening(case_id)
    wrong: list[tuple[Any, str]] = [
        ([], "input"),
        ("repair-1", "input"),
        ({}, "organisation: Field required policy"),
        (good | {"case_id": desk.name()}, "must equal the workflow id"),
        (good | {"case_id": "street-1"}, "case_id: String should match pattern"),
        (good | {"policy": "{}"}, "repair: Field required"),
        (good | {"commands": [{}], "colour": "red"}, "colour"),
        (good | {"commands": [{"id": "x"}]}, "actor: Field required body: Field required"),
    ]
    for argument, message in wrong:
        handle = await desk.start(case_id, argument)
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        cause = caught.value.cause
        assert isinstance(cause, ApplicationError)
        assert cause.type == "InvalidCase"
        for part in message.split(" Field required "):
            assert part in str(cause), argument
        assert "WORKFLOW_TASK_FAILED" not in await desk.history(case_id)


async def test_a_case_that_was_opened_but_never_reported_ends(desk: Desk) -> None:
    case_id = desk.name()
    handle = await desk.start(case_id, desk.opening(case_id))
    assert await handle.result() == "Unreported"
    assert await desk.log.case(ORGANISATION, case_id) is None


async def test_temporal_knows_a_case_by_kind_organisation_district_and_urgency(desk: Desk) -> None:
    """In the first run, and in one that takes the case up from the log."""
    case_id = await desk.opened(severity="major", priority=True, district="north")
    for again in (False, True):
        if again:
            await desk.handle(case_id).terminate()
            await desk.send(case_id, "TakeCase")
        found = await desk.handle(case_id).describe()
        attributes = {pair.key.name: pair.value for pair in found.typed_search_attributes}
        for temporals_own in ("BuildIds", "TemporalWorkerDeployment"):
            attributes.pop(temporals_own, None)
        assert attributes == {
            "CaseKind": "repair",
            "Organisation": ORGANISATION,
            "District": "north",
        }
        info = found.raw_description.workflow_execution_info
        assert (info.priority.priority_key, info.priority.fairness_key) == (2, "north")
