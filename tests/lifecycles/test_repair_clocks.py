"""Who has a case, who is told when, and what becomes of its clocks in the end."""

from typing import Any

import pytest

from lifecycles.casework import owner_of
from lifecycles.commitments import attribution
from schemas.commitments import BreachWithdrawn
from schemas.repair import Stage
from tests.lifecycles.repair_cases import (
    APP,
    CLERK,
    accepted,
    broken_at,
    closed,
    ended,
    fixed,
    hours,
    on_site,
    reported,
    told,
    unhappy,
)

# Priority, owners, haste


def test_CNPC_3_1_9_ladders_of_customers_in_special_care_are_climbed_faster() -> None:
    usual, first = reported(), reported(priority=True)
    assert first.promise("attend").due == usual.promise("attend").due
    for case in (usual, first):
        case.do("TakeCase", 0)
        case.wait(100)
    assert told(usual, "attend")[:4] == [
        (3, "crew_leader"),
        (4.8, "supervisor"),
        (6, "station_head"),
        (12, "division_head"),
    ]
    assert told(first, "attend")[:4] == [
        (2.25, "crew_leader"),
        (3.6, "supervisor"),
        (4.5, "station_head"),
        (10.5, "division_head"),
    ]


def test_ADM_1_a_case_that_nobody_has_taken_escalates_faster() -> None:
    case = reported(channel="app", actor=APP)
    case.wait(100)
    assert told(case, "attend") == [
        (1.5, "crew_leader"),
        (2.4, "supervisor"),
        (3, "station_head"),
        (9, "division_head"),
        (18, "general_manager"),
    ]
    assert broken_at(case)["attend"] == 6


def test_ADM_1_a_case_that_a_crew_declines_escalates_faster_from_then_on() -> None:
    case = accepted()
    case.do("DeclineJob", 2, crew="crew-1", reason="busy")
    assert owner_of(case.state) is not None
    case.wait(4)
    assert told(case, "attend") == [(2, "crew_leader"), (2.4, "supervisor"), (3, "station_head")]


def test_ADM_1_a_case_that_somebody_takes_again_escalates_as_usual() -> None:
    case = accepted()
    case.do("DeclineJob", 1, crew="crew-1", reason="busy")
    case.do("TakeCase", 1.2)
    case.wait(4)
    assert told(case, "attend") == [(3, "crew_leader")]


@pytest.mark.parametrize(
    ("command", "body"),
    [
        ("HandOverCase", {"to": {"kind": "person", "id": "clerk-2"}, "reason": "leave"}),
        ("HandOverCase", {"to": {"kind": "role", "id": "supervisor"}, "reason": "hard"}),
        ("DeclineJob", {"crew": "crew-1", "reason": "busy"}),
        ("ReassignJob", {"crew": "crew-2", "reason": "nearer"}),
        ("TakeCase", {}),
    ],
)
def test_no_hand_over_resets_a_clock(command: str, body: Any) -> None:
    case = accepted()
    before = [(c.start, c.due, c.rungs) for c in case.state.commitments]
    case.do(command, 2, **body)
    assert [(c.start, c.due, c.rungs) for c in case.state.commitments] == before
    case.wait(7)
    assert broken_at(case) == {"attend": 6}


def test_KUN_5_2_2_who_holds_the_case_is_on_record_to_the_second() -> None:
    case = accepted()
    case.do("HandOverCase", 2, to={"kind": "person", "id": "clerk-2"}, reason="leave")
    case.do("PauseWork", 3, reason="customer_request", evidence="call/1")
    case.do("HandOverCase", 4, to={"kind": "person", "id": "clerk-3"}, reason="leave")
    case.do("ResumeWork", 5)
    case.do("RecordArrival", 8, crew="crew-1")
    held = [
        (h.owner.id, h.since, h.until)
        for h in attribution(case.promise("attend"), case.state.owners, hours(99))
    ]
    assert held == [
        (CLERK.subject, hours(0), hours(0.2)),
        ("crew-1", hours(0.2), hours(2)),
        ("clerk-2", hours(2), hours(3)),
        ("clerk-3", hours(5), hours(8)),
    ]


# Late facts


def test_an_arrival_told_late_is_judged_by_when_it_was_and_withdraws_the_breach() -> None:
    case = accepted()
    case.wait(9)
    assert case.promise("attend").state == "broken"
    caused = case.do("RecordArrival", 6, told=9, crew="crew-1")
    assert caused == ["CrewArrived", "BreachWithdrawn attend", "CommitmentKept attend"]
    withdrawn = next(e for e in case.events if isinstance(e, BreachWithdrawn))
    assert withdrawn.evidence == f"c{case.sent}"
    assert case.promise("attend").met_at == hours(6)
    assert case.wait(11) == []


def test_an_arrival_told_late_that_was_late_withdraws_nothing() -> None:
    case = accepted()
    case.wait(9)
    assert case.do("RecordArrival", 6.1, told=9, crew="crew-1") == [
        "CrewArrived",
        "CommitmentMetLate attend",
    ]
    assert case.promise("attend").state == "broken"


def test_a_fact_told_before_anybody_noticed_the_breach_is_judged_alike() -> None:
    case = accepted()
    case.do("RecordArrival", 7, told=9, crew="crew-1")
    assert broken_at(case) == {"attend": 6}
    assert case.promise("attend").met_at == hours(7)


# Follow-up


def test_KUN_5_6_a_call_begins_by_asking_consent_and_ends_there_without_it() -> None:
    assert fixed().do("RecordCallback", 5, party="party-1", result="no_consent") == [
        "CallbackRecorded",
        "CommitmentKept follow_up",
        "RepairClosed",
    ]
    for consent, result in ((True, "no_consent"), (False, "satisfied"), (False, "not_satisfied")):
        (reason,) = fixed().refusal(
            "RecordCallback", 5, party="party-1", consent=consent, result=result
        )
        assert reason.endswith("(KUN-5.6).")


def test_KUN_5_6_a_customer_who_cannot_be_reached_is_called_three_times() -> None:
    case = fixed()
    call: dict[str, Any] = {"party": "party-1", "result": "unreachable"}
    assert case.do("RecordCallback", 4, **call) == ["CallbackRecorded"]
    assert case.do("RecordCallback", 5, **call) == ["CallbackRecorded"]
    assert case.do("RecordCallback", 6, **call)[-1] == "RepairClosed"


def test_KUN_5_6_every_customer_is_called_before_the_case_is_closed() -> None:
    case = accepted()
    case.do(
        "AdoptReport", 0.5, case="repair-9", how="merge", reported_at=hours(0.2),
        parties=["party-2"],
    )  # fmt: skip
    case.do("RecordArrival", 1, crew="crew-1")
    case.do("CompleteRepair", 2, work=["valve"])
    happy: dict[str, Any] = {"consent": True, "result": "satisfied"}
    assert case.do("RecordCallback", 3, party="party-2", **happy) == ["CallbackRecorded"]
    assert case.do("RecordCallback", 3, party="party-1", **happy)[-1] == "RepairClosed"


def test_two_unhappy_follow_ups_make_a_supervisor_the_owner() -> None:
    case = unhappy()
    assert case.state.owners[-1].owner.kind == "unit"
    case.do("DispatchCrew", 5, crew="crew-1")
    case.do("RecordArrival", 6, crew="crew-1")
    case.do("CompleteRepair", 7, work=["valve"])
    case.do("RecordCallback", 8, party="party-1", consent=True, result="not_satisfied")
    assert case.state.owners[-1].owner.model_dump() == {"kind": "role", "id": "supervisor"}
    assert case.state.rework == 2


# Reopening


def test_reopening_restores_the_original_clock_and_counts_rework() -> None:
    case = closed(at=4)
    assert case.promise("repair").state == "kept"
    case.do("ReopenCase", 10, reason="again")
    assert case.state.rework == 1
    assert case.promise("repair").state == "running"
    assert case.promise("repair").start == hours(0)
    assert case.promise("repair").due == hours(24)


def test_reopening_after_the_original_time_breaks_the_promise_at_that_time() -> None:
    case = closed(at=4)
    case.do("ReopenCase", 100, reason="again")
    case.wait(100)
    assert broken_at(case) == {"repair": 24}
    assert all(at >= 100 for at, _ in told(case, "repair"))


def test_reopening_calls_every_customer_again() -> None:
    case = closed()
    case.do("ReopenCase", 10, reason="again")
    case.do("DispatchCrew", 11, crew="crew-1")
    case.do("RecordArrival", 12, crew="crew-1")
    case.do("CompleteRepair", 13, work=["valve"])
    assert case.state.stage == Stage.CALLBACK_DUE
    assert case.promise("follow_up-2").due == hours(13 + 48)


def test_work_that_fails_its_inspection_is_rework_on_the_original_clock() -> None:
    case = fixed(category="smell-of-gas", severity="hazard")
    assert case.state.stage == Stage.FIXED
    assert case.do("FailInspection", 5, reason="leaks", evidence="photo/4") == [
        "InspectionFailed",
        "CommitmentRestored repair",
    ]
    assert case.state.stage == Stage.WORKING
    assert case.state.rework == 1
    assert case.promise("repair").due == hours(24)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("CancelRepair", {"reason": "mistake"}),
        ("DeclareNotOurs", {"reason": "boiler", "channel": "maker"}),
        ("ReportNoFault", {"evidence": "photo/1"}),
        ("DeclareUnableToFix", {"reason": "no-part", "channel": "maker"}),
    ],
)
def test_a_side_exit_that_proves_wrong_is_reopened_on_the_original_clock(
    name: str, body: Any
) -> None:
    case = ended(name, on_site, **body)
    assert case.wait(9) == []
    case.do("ReopenCase", 10, reason="again")
    assert case.promise("repair").due == hours(24)
    assert case.promise("repair").state == "running"


def test_ADM_3_promises_run_side_by_side_and_one_breach_breaks_no_other() -> None:
    case = accepted()
    case.do("RecordArrival", 7, crew="crew-1")
    case.do("CompleteRepair", 8, work=["valve"])
    assert [(c.id, c.state) for c in case.state.commitments] == [
        ("dispatch", "kept"),
        ("attend", "broken"),
        ("repair", "kept"),
        ("follow_up", "running"),
    ]
