"""Complaints and staff files on the real servers: hours and years go by on their own clocks."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from lifecycles.decisions import Rejected
from schemas.conduct import conduct_id
from tests.workflows.desk import ORGANISATION, Desk, ago, until

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SATISFIED: dict[str, Any] = {"consent": True, "result": "satisfied"}


async def told(desk: Desk, *case_ids: str) -> None:
    """Until none of the cases waits for another's answer."""

    async def no_requests() -> bool:
        states = [await desk.handle(c).query("state") for c in case_ids]
        return not any(state["requests"] for state in states)

    await until(no_requests)


async def upheld(desk: Desk, staff: str, **finding: Any) -> str:
    """A complaint about somebody, upheld; their file knows it."""
    case_id = await desk.investigating(staff)
    await desk.found(case_id, staff, **finding)
    await told(desk, case_id)
    return case_id


async def asked(desk: Desk, case_id: str, kind: str) -> dict[str, Any]:
    """What a supervisor needs to decide an approval that is asked for."""
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        state = await desk.handle(case_id).query("state")
        found[:] = [
            a for a in state["approvals"] if a["kind"] == kind and a["state"] == "requested"
        ]
        return bool(found)

    await until(there)
    return {"approval": found[0]["id"], "facts_hash": found[0]["facts_hash"]}


async def type_count(desk: Desk, case_id: str, name: str) -> int:
    return (await desk.types(case_id)).count(name)


async def test_a_complaint_is_answered_in_time_and_the_complainant_called(desk: Desk) -> None:
    case_id = await desk.investigating()
    await desk.send(case_id, "AnswerComplaint", outcome="upheld", answer="letter-1")
    await desk.later(case_id, DAY)
    await desk.send(case_id, "RecordFollowUp", **SATISFIED)
    assert await desk.handle(case_id).result() == "Closed"

    state = await desk.verified(case_id)
    assert {c.name: c.state for c in state.commitments} == {
        "pass_on": "kept",
        "acknowledge": "kept",
        "answer": "kept",
        "follow_up": "kept",
    }
    assert [a.result for a in state.answers] == ["satisfied"]
    said = [r.message for r in await desk.log.outbox(ORGANISATION, stream=case_id, limit=1000)]
    to_the_party = [m.template for m in said if m.to == "party"]
    assert len(to_the_party) >= 3  # told when it is due, the answer, and the end (ADM-2, ADM-6)


async def test_a_complaint_that_nobody_answers_climbs_to_the_top_hour_by_hour(desk: Desk) -> None:
    case_id = await desk.registered()
    await desk.later(case_id, 4 * DAY)

    state = await desk.verified(case_id)
    answer = next(c for c in state.commitments if c.name == "answer")
    assert answer.state == "broken"
    assert answer.due - answer.start == 48 * HOUR  # KUN-2.2.6
    raised = [
        body["tell"]
        for body in await desk.bodies(case_id)
        if body["type"] == "EscalationRaised" and body["commitment"] == "answer"
    ]
    assert raised[-1] == "general_manager"


async def test_returning_arbitrating_and_redoing_never_restart_the_48_hours(desk: Desk) -> None:
    case_id = await desk.registered()
    await desk.send(case_id, "ScreenComplaint", category="late", gravity="light")
    for department in ("field-service", "billing"):
        await desk.send(case_id, "HandOverComplaint", department=department)
        await desk.later(case_id, HOUR)
        await desk.send(case_id, "ReturnComplaint", ground="not_ours", evidence="slip-1")
    with pytest.raises(Rejected):  # it has been returned too often: a supervisor decides
        await desk.send(case_id, "HandOverComplaint", department="metering")
    with pytest.raises(Rejected):
        await desk.send(case_id, "ArbitrateReturn", department="billing", reason="theirs")
    await desk.send(
        case_id, "ArbitrateReturn", by="supervisor", department="billing", reason="theirs"
    )
    await desk.send(case_id, "AcknowledgeComplaint")
    await desk.send(case_id, "StartInvestigation")
    await desk.send(case_id, "AnswerComplaint", outcome="upheld", answer="letter-1")
    await desk.send(case_id, "OrderRedo", by="supervisor", reason="unclear")

    state = await desk.verified(case_id)
    (answer,) = (c for c in state.commitments if c.name == "answer")
    assert answer.start == state.registered_at
    assert answer.due == state.registered_at + 48 * HOUR
    assert answer.state == "running"


async def test_more_time_needs_a_yes_from_somebody_else(desk: Desk) -> None:
    case_id = await desk.investigating()
    due = next(c.due for c in (await desk.verified(case_id)).commitments if c.name == "answer")
    wanted = due + DAY
    await desk.send(
        case_id, "RequestExtension", until=wanted.isoformat(), reason="lab", evidence="memo-1"
    )
    choice = await asked(desk, case_id, "extension")
    with pytest.raises(Rejected):  # a clerk, who asked
        await desk.send(case_id, "DecideApproval", decision="approve", **choice)
    (waiting,) = await desk.log.approvals(ORGANISATION)
    assert (waiting.case_id, waiting.id) == (case_id, choice["approval"])
    await desk.send(case_id, "DecideApproval", by="supervisor", decision="approve", **choice)

    state = await desk.verified(case_id)
    assert next(c.due for c in state.commitments if c.name == "answer") == wanted
    assert await desk.log.approvals(ORGANISATION) == []


async def test_three_upheld_complaints_in_a_year_end_in_a_reassignment_that_a_human_decides(
    desk: Desk,
) -> None:
    staff = "S-1041"
    cases = [await upheld(desk, staff.lower() if n == 2 else staff) for n in (1, 2, 3)]
    file = conduct_id(ORGANISATION, staff)

    state = await desk.verified(file)
    assert state.stage == "ReassignmentProposed"
    assert {c.complaint for c in state.counts} == set(cases)
    with pytest.raises(Rejected):  # the right of reply runs: nobody can approve anything yet
        await desk.send(
            file,
            "DecideApproval",
            by="division_head",
            approval="reassignment-1",
            decision="approve",
            facts_hash="0" * 64,
        )
    await desk.later(file, 8 * DAY)  # silence is a reply, too
    choice = await asked(desk, file, "reassignment")
    with pytest.raises(Rejected):  # the person themself, whatever their role
        await desk.send(
            file,
            "DecideApproval",
            by="division_head",
            who="s-1041",
            decision="reject",
            reason="unfair",
            **choice,
        )
    await desk.send(file, "DecideApproval", by="division_head", decision="approve", **choice)
    assert await type_count(desk, file, "Reassigned") == 1
    await desk.verified(file)


async def test_two_third_strikes_at_once_propose_once(desk: Desk) -> None:
    staff = "s-2001"
    for _ in range(2):
        await upheld(desk, staff)
    more = [await desk.investigating(staff) for _ in range(2)]
    await asyncio.gather(*(desk.found(case_id, staff) for case_id in more))
    await told(desk, *more)
    file = conduct_id(ORGANISATION, staff)
    assert await type_count(desk, file, "FindingRecorded") == 4
    assert await type_count(desk, file, "ReassignmentProposed") == 1
    await desk.verified(file)


async def test_a_finding_overturned_on_appeal_takes_its_strike_and_the_proposal_along(
    desk: Desk,
) -> None:
    staff = "s-3001"
    cases = [await upheld(desk, staff) for _ in range(3)]
    file = conduct_id(ORGANISATION, staff)
    last = cases[-1]
    await desk.send(last, "AnswerComplaint", outcome="upheld", answer="letter-1")
    await desk.send(last, "AppealComplaint", ground="wrong_person", evidence="letter-2")
    overturned = {
        "outcome": "not_upheld",
        "findings": [{"staff": staff, "outcome": "not_upheld"}],
        "reason": "mistaken",
        "answer": "letter-3",
    }
    with pytest.raises(Rejected):  # who decided first does not decide the appeal
        await desk.send(last, "OverturnDecision", by="division_head", who="clerk-1", **overturned)
    await desk.send(last, "OverturnDecision", by="division_head", **overturned)
    await told(desk, last)

    state = await desk.verified(file)
    assert sum(c.strike and c.live for c in state.counts) == 2
    assert state.stage != "ReassignmentProposed"
    types = await desk.types(file)
    assert types.index("FindingOverturned") < types.index("ReassignmentWithdrawn")
    await desk.verified(last)


async def test_a_year_later_the_file_is_at_rest_and_a_new_finding_wakes_it(desk: Desk) -> None:
    staff = "s-4001"
    await upheld(desk, staff)
    file = conduct_id(ORGANISATION, staff)
    await desk.send(
        file,
        "RecordMeasure",
        by="conduct_officer",
        finding=(await desk.verified(file)).counts[0].finding,
        evidence="minutes-9",
    )
    await desk.later(file, 367 * DAY)
    assert await desk.handle(file).result() == "AtRest"
    types = await desk.types(file)
    assert types[-1] == "StaffFileRested"
    assert {"FindingExpired", "MarkRemoved"} <= set(types)

    await upheld(desk, staff)
    assert await type_count(desk, file, "StaffFileOpened") == 1
    assert await type_count(desk, file, "FindingRecorded") == 2


async def test_withdrawing_a_complaint_does_not_erase_its_finding(desk: Desk) -> None:
    staff = "s-5001"
    case_id = await upheld(desk, staff)
    await desk.send(case_id, "WithdrawComplaint", reason="settled")
    assert await desk.handle(case_id).result() == "Withdrawn"
    state = await desk.verified(conduct_id(ORGANISATION, staff))
    assert [c.complaint for c in state.counts if c.live] == [case_id]


async def test_what_a_dead_worker_did_not_tell_the_file_the_next_one_tells_it_once(
    idle_desk: Desk,
) -> None:
    desk, staff = idle_desk, "s-7001"
    async with desk.worker():
        case_id = await desk.investigating(staff)
    finding = desk.command(
        "DecideFinding",
        staff=staff,
        outcome="upheld",
        conduct_at=ago(days=1).isoformat(),
        evidence="minutes-1",
    )
    await desk.append(case_id, finding)  # recorded, and the worker is gone
    async with desk.worker():
        await desk.cases.send(case_id, finding)
        await told(desk, case_id)
        assert (await desk.types(conduct_id(ORGANISATION, staff))).count("FindingRecorded") == 1
        await desk.verified(conduct_id(ORGANISATION, staff))
        await desk.verified(case_id)


async def test_two_callers_complain_of_the_same_and_one_case_answers_both(desk: Desk) -> None:
    first = await desk.registered(at=ago(hours=1))
    repeat = await desk.registered(at=ago(hours=3), party="party-2")
    await desk.send(repeat, "MergeRepeat", case=first)
    assert await desk.handle(repeat).result() == "MergedAsRepeat"

    state = await desk.verified(first)
    answer = next(c for c in state.commitments if c.name == "answer")
    assert answer.start < state.registered_at  # the earliest clock counts
    assert [r.case for r in state.repeats] == [repeat]
    await desk.verified(repeat)
