"""The ledger's figures and orders for repairs, rule by rule, under the policies they bind."""

from datetime import date
from typing import Any

import pytest

from lifecycles.commitments import attribution
from lifecycles.policies import Pinned
from lifecycles.repair_stages import owner_of
from schemas.commitments import BreachWithdrawn, CommitmentBroken, EscalationRaised
from schemas.repair import Stage
from tests.lifecycles.repair_cases import (
    APP,
    CLERK,
    CONSENT,
    ESTATE,
    GAS,
    WATER,
    Case,
    accepted,
    closed,
    dispatched,
    ended,
    fault,
    fixed,
    hours,
    linked,
    on_site,
    paused,
    reported,
    triaged,
    unhappy,
    working,
)

ABSENT: dict[str, Any] = {"crew": "crew-1", "reason": "nobody-in", "evidence": "card/1"}


def promises(case: Case) -> dict[str, tuple[str, float]]:
    """What was promised: per name the rule and the hours from its start."""
    return {
        c.name: (c.rule, (c.due - c.start).total_seconds() / 3600) for c in case.state.commitments
    }


def broken_at(case: Case) -> dict[str, float]:
    """When promises were broken, in hours after the report."""
    return {
        e.commitment: (e.at - hours(0)).total_seconds() / 3600
        for e in case.events
        if isinstance(e, CommitmentBroken)
    }


def told(case: Case, commitment: str) -> list[tuple[float, str]]:
    """Who was told of a promise, and when, in hours after the report."""
    return [
        (round((e.at - hours(0)).total_seconds() / 3600, 4), e.tell)
        for e in case.events
        if isinstance(e, EscalationRaised) and e.commitment == commitment
    ]


# Figures


@pytest.mark.parametrize(
    ("policy", "fields", "name", "rule", "length"),
    [
        (GAS, {}, "attend", "KUN-2.2.4b", 6),
        (GAS, {}, "repair", "KUN-2.2.4c", 24),
        (GAS, {}, "dispatch", "KUN-5.5.1", 0.25),
        (GAS, {"category": "pipe-leak"}, "clear", "KUN-2.2.3a", 4),
        (GAS, {"category": "pipe-leak", "severity": "minor"}, "clear", "KUN-2.2.3a", 4),
        (GAS, {"category": "pipe-leak", "severity": "major"}, "clear", "KUN-2.2.3b", 24),
        (GAS, {"category": "main-leak", "severity": "hazard"}, "clear", "KUN-2.2.3b", 24),
        (ESTATE, {"category": "heating"}, "attend", "AFT-2", 2),
        (WATER, {"category": "large-leak"}, "dispatch", "WAT-1.5a", 0.5),
        (WATER, {"category": "small-leak"}, "dispatch", "WAT-1.5b", 16),
        (WATER, {"category": "meter-box-lid"}, "dispatch", "WAT-1.5b", 16),
        (WATER, {"category": "valve-cover"}, "guard", "WAT-1.5c", 0.25),
    ],
    ids=lambda value: value if isinstance(value, str) and "-" in value else "",
)
def test_the_figure_is_the_rules(
    policy: Pinned, fields: dict[str, Any], name: str, rule: str, length: float
) -> None:
    case = reported(policy, **fields)
    assert promises(case)[name] == (rule, length)
    assert case.promise(name).start == hours(0)


@pytest.mark.parametrize(
    ("late", "outcome"), [(0, "kept"), (1 / 3600, "broken")], ids=["in time", "a second late"]
)
@pytest.mark.parametrize(
    ("case", "at", "name", "command", "body"),
    [
        ("accepted", 6, "attend", "RecordArrival", {"crew": "crew-1"}),
        ("on_site", 24, "repair", "CompleteRepair", {"work": ["valve"]}),
        ("fault", 4, "clear", "CompleteRepair", {"work": ["weld"]}),
        ("fixed", 3 + 48, "follow_up", "RecordCallback",
         {"party": "party-1", "consent": True, "result": "satisfied"}),
        ("triaged", 0.25, "dispatch", "DispatchCrew", {"crew": "crew-1"}),
    ],
    ids=["KUN-2.2.4b", "KUN-2.2.4c", "KUN-2.2.3a", "KUN-5.3.6", "KUN-5.5.1"],
)  # fmt: skip
def test_a_promise_is_kept_at_its_very_instant_and_broken_a_second_later(
    case: str, at: float, name: str, command: str, body: Any, late: float, outcome: str
) -> None:
    starts = {
        "accepted": accepted,
        "on_site": on_site,
        "fault": lambda: fault(id="repair-1"),
        "fixed": fixed,
        "triaged": triaged,
    }
    sample: Case = starts[case]()
    sample.do(command, at + late, **body)
    assert sample.promise(name).state == outcome
    assert sample.promise(name).met_at == hours(at + late)


def test_KUN_2_2_4c_the_ladder_climbs_to_the_top_while_nobody_repairs() -> None:
    case = on_site()
    case.wait(200)
    assert told(case, "repair") == [
        (12, "crew_leader"),
        (19.2, "supervisor"),
        (24, "station_head"),
        (48, "division_head"),
        (96, "general_manager"),
    ]
    assert broken_at(case) == {"repair": 24}


def test_KUN_5_5_1_name_address_phone_and_fault_are_on_record() -> None:
    assert Case().refusal(
        "ReportRepair",
        0,
        channel="phone",
        category="no-gas",
        district="north",
        party="party-1",
        recorded=["phone"],
    ) == ["Record the customer's name, address (KUN-5.5.1)."]


def test_KUN_5_5_2_a_simple_fault_is_solved_on_the_phone_and_never_becomes_a_visit() -> None:
    case = reported(category="meter-battery")
    assert case.do("SolveByPhone", 0.1, solution="battery-changed") == [
        "RepairSolvedByPhone",
        "CommitmentKept repair",
        "CommitmentCancelled dispatch",
        "CommitmentCancelled attend",
    ]
    assert case.wait(500) == []


def test_WAT_2_9_an_order_is_passed_on_against_a_signature() -> None:
    case = triaged(
        WATER, channel="meter_reader", category="meter-pit-leak", party=None, recorded=[]
    )
    (reason,) = case.refusal("DispatchCrew", 1, crew="crew-1")
    assert reason.endswith("(WAT-2.9).")
    assert "CrewDispatched" in case.do("DispatchCrew", 1, crew="crew-1", receipt="slip/1")


def test_WAT_1_5b_a_small_leak_is_passed_on_the_same_local_day() -> None:
    evening = 15.5  # 23:30 in Shanghai
    case = triaged(WATER, category="small-leak")
    assert case.do("DispatchCrew", evening, crew="crew-1")[-1] == "CommitmentKept dispatch"
    late = triaged(WATER, category="small-leak")
    assert late.do("DispatchCrew", 16.1, crew="crew-1")[-1] == "CommitmentMetLate dispatch"
    assert broken_at(late) == {"dispatch": 16}


def test_WAT_1_5c_a_guard_stays_until_the_repairers_arrive() -> None:
    case = dispatched(WATER, category="valve-cover", channel="patrol", party=None, recorded=[])
    assert case.do("PostGuard", 0.2, guard="guard-1") == ["GuardPosted", "CommitmentKept guard"]
    case.do("RecordArrival", 3, crew="crew-1")
    assert "GuardRelieved" in case.happened()
    assert case.state.guard is None


def test_WAT_1_5c_where_the_repairers_are_first_they_guard_the_site_themselves() -> None:
    case = dispatched(WATER, category="valve-cover", channel="patrol", party=None, recorded=[])
    assert "CommitmentKept guard" in case.do("RecordArrival", 0.2, crew="crew-1")
    assert case.wait(5) == []


def test_WAT_1_5c_a_site_that_nobody_guards_goes_up() -> None:
    case = reported(WATER, category="valve-cover", channel="patrol", party=None, recorded=[])
    case.wait(2)
    assert broken_at(case) == {"guard": 0.25}
    assert told(case, "guard") == [(0.25, "supervisor"), (0.75, "station_head")]


def test_WAT_1_5c_a_guard_goes_when_the_fault_is_cleared() -> None:
    case = reported(WATER, category="valve-cover", channel="patrol", party=None, recorded=[])
    case.do("PostGuard", 0.1, guard="guard-1")
    assert "GuardRelieved" in case.do("CompleteRepair", 1, work=["cover"])


def test_AFT_4_a_part_in_local_stock_is_replaced_within_two_hours() -> None:
    case = on_site(ESTATE, category="heating")
    assert case.do("RequestParts", 1, parts=["pump"], stock="local") == [
        "PartsRequested",
        "CommitmentStarted parts",
    ]
    assert case.promise("parts").due == hours(3)
    assert "CommitmentKept parts" in case.do("CompleteRepair", 3, work=["pump"])


@pytest.mark.parametrize("command", ["RecordPartsShipped", "RecordPartsArrived"])
def test_AFT_4_a_part_from_elsewhere_is_shipped_within_eight_hours(command: str) -> None:
    case = on_site(ESTATE, category="heating")
    case.do("RequestParts", 1, parts=["pump"], stock="elsewhere")
    assert case.promise("parts_shipped").due == hours(9)
    body: dict[str, Any] = {"waybill": "waybill/1"} if command == "RecordPartsShipped" else {}
    assert case.do(command, 9, **body)[1:] == ["CommitmentKept parts_shipped"]


def test_AFT_4_parts_asked_for_again_are_promised_again() -> None:
    case = on_site(ESTATE, category="heating")
    case.do("RequestParts", 1, parts=["pump"], stock="elsewhere")
    case.do("RequestParts", 2, parts=["pump", "seal"], stock="elsewhere")
    assert len(case.state.commitments) == 2
    case.do("RecordPartsArrived", 3)
    case.do("RequestParts", 4, parts=["valve"], stock="elsewhere")
    assert case.promise("parts_shipped-2").due == hours(12)


@pytest.mark.parametrize(
    ("at", "until"),
    [
        (0.5, date(2029, 3, 2)),
        (15.5, date(2029, 3, 2)),
        (16, date(2029, 3, 3)),
        (24 * 727, date(2031, 2, 27)),
    ],
)
def test_AFT_1_a_replaced_part_has_three_years_of_warranty_from_that_local_day(
    at: float, until: date
) -> None:
    case = on_site(ESTATE, at=0.3, category="heating")
    case.do("CompleteRepair", at, work=["pump"], warranty_parts=["pump"])
    completed = next(e for e in case.events if type(e).__name__ == "RepairCompleted")
    assert completed.model_dump()["warranty_until"] == until


def test_AFT_1_a_warranty_from_a_leap_day_ends_on_the_last_of_february() -> None:
    case = on_site(ESTATE, at=0.3, category="heating")
    leap = 24 * 728  # 2028-02-28, 08:00; 24 h on is the 29th
    case.do("CompleteRepair", leap + 24, work=["pump"], warranty_parts=["pump"])
    completed = next(e for e in case.events if type(e).__name__ == "RepairCompleted")
    assert completed.model_dump()["warranty_until"] == date(2031, 2, 28)


def test_WAT_1_8_an_ordinary_ticket_runs_on_the_working_calendar() -> None:
    case = reported(WATER, category="no-water")
    # Monday 08:00, three days of eight working hours from half past eight with lunch closed.
    assert case.promise("repair").due == hours(24 * 2 + 9.5)
    assert case.promise("repair").rungs[0] == hours(24 + 5.5)


# Appointments


def booked(start: float = 30, end: float = 32, at: float = 1, **fields: Any) -> Case:
    case = accepted(**fields)
    case.do("BookAppointment", at, start=hours(start), end=hours(end), consent=CONSENT)
    return case


def test_KUN_2_2_4a_an_agreed_time_replaces_the_due_time_with_the_consent_on_record() -> None:
    case = booked()
    assert case.promise("attend").due == hours(32)
    reset = [e for e in case.events if type(e).__name__ == "CommitmentReset"]
    assert {e.model_dump()["consent"] for e in reset} == {CONSENT}
    assert case.do("RecordArrival", 32, crew="crew-1")[-1] == "CommitmentKept attend"


def test_KUN_2_2_4a_what_was_left_for_the_repair_is_left_from_the_agreed_time_on() -> None:
    assert booked(at=1).promise("repair").due == hours(32 + 23)
    assert booked(at=5).promise("repair").due == hours(32 + 19)


def test_KUN_2_2_4a_the_crew_leaves_by_the_agreed_time() -> None:
    case = triaged()
    case.do("BookAppointment", 0.1, start=hours(30), end=hours(32), consent=CONSENT)
    assert case.promise("dispatch").due == hours(30)


def test_KUN_2_2_4a_consent_cannot_be_left_out() -> None:
    with pytest.raises(Exception, match="consent"):
        accepted().do("BookAppointment", 1, start=hours(30), end=hours(32))


@pytest.mark.parametrize(("end", "due"), [(42, 42 + 23), (20, 20 + 23)], ids=["later", "sooner"])
def test_KUN_7_1_4_a_moved_appointment_adds_nothing_to_what_was_left(
    end: float, due: float
) -> None:
    case = booked(at=1)
    case.do(
        "MoveAppointment", 2, start=hours(end - 2), end=hours(end), consent=CONSENT, reason="storm"
    )
    assert case.promise("attend").due == hours(end)
    assert case.promise("repair").due == hours(due)


def test_KUN_7_1_4_a_missed_appointment_is_an_event_of_its_own_beside_the_broken_promise() -> None:
    case = booked()
    case.wait(31.9)
    assert sorted(case.wait(32)) == [
        "AppointmentMissed",
        "CommitmentBroken attend",
        "EscalationRaised attend",
    ]
    case.wait(33)
    assert case.happened().count("AppointmentMissed") == 1
    assert case.do("BookAppointment", 33, start=hours(40), end=hours(41), consent=CONSENT)


@pytest.mark.parametrize("command", ["RecordArrival", "RecordNoAccess"])
def test_KUN_7_1_4_a_visit_told_late_shows_that_the_appointment_was_kept(command: str) -> None:
    case = booked()
    case.wait(40)
    body: dict[str, Any] = ABSENT if command == "RecordNoAccess" else {"crew": "crew-1"}
    caused = case.do(command, 31, told=41, **body)
    assert caused[0] == "AppointmentMissWithdrawn"
    assert {"BreachWithdrawn attend", "CommitmentKept attend"} <= {*caused}


def test_KUN_7_1_4_a_visit_before_the_agreed_time_is_no_failed_visit() -> None:
    case = booked()
    (reason,) = case.refusal("RecordNoAccess", 9, **ABSENT)
    assert reason == "The customer expects us later; come at the agreed time (KUN-7.1.4)."
    assert case.state.appointment is not None
    assert case.do("RecordNoAccess", 30, **ABSENT)[0] == "AccessFailed"


def test_KUN_7_1_4_an_appointment_that_was_kept_is_not_missed_later() -> None:
    case = booked()
    case.do("RecordArrival", 31, crew="crew-1")
    case.wait(100)
    assert "AppointmentMissed" not in case.happened()


def test_ADM_8_an_appointment_made_in_time_but_told_late_withdraws_the_breach() -> None:
    case = accepted()
    case.wait(7)
    assert case.promise("attend").state == "broken"
    caused = case.do(
        "BookAppointment", 5.9, told=7, start=hours(30), end=hours(32), consent=CONSENT
    )
    assert "BreachWithdrawn attend" in caused
    assert case.promise("attend").state == "running"


def test_ADM_8_no_appointment_mends_a_promise_that_was_broken_before() -> None:
    case = accepted()
    case.do("BookAppointment", 7, start=hours(30), end=hours(32), consent=CONSENT)
    assert case.promise("attend").state == "broken"
    assert case.promise("attend").due == hours(6)


# No access


def test_KUN_7_4_3_the_first_visit_without_access_keeps_the_promise_to_come_and_stops_time() -> (
    None
):
    case = accepted()
    assert case.do("RecordNoAccess", 5, **ABSENT) == [
        "AccessFailed",
        "CommitmentKept attend",
        "WorkPaused",
        "CommitmentPaused repair",
    ]
    assert case.state.wait_until is None
    case.do("RecordArrival", 50, crew="crew-1")
    assert case.promise("repair").due == hours(24 + 45)


def test_KUN_7_4_3_no_access_twice_waits_seven_days_and_then_ends() -> None:
    case = accepted()
    case.do("RecordNoAccess", 5, **ABSENT)
    case.do("RecordNoAccess", 20, **ABSENT)
    assert case.state.wait_until == hours(20 + 7 * 24)
    assert case.wait(20 + 7 * 24 - 0.01) == []
    assert case.wait(20 + 7 * 24) == ["RepairCancelled", "CommitmentCancelled repair"]
    assert case.state.stage == Stage.CANCELLED


@pytest.mark.parametrize(
    ("command", "body"),
    [
        ("BookAppointment", {"start": hours(40), "end": hours(41), "consent": CONSENT}),
        ("RecordArrival", {"crew": "crew-1"}),
        ("ReassignJob", {"crew": "crew-2", "reason": "nearer"}),
        ("ResumeWork", {}),
    ],
)
def test_KUN_7_4_3_a_case_that_somebody_goes_on_with_does_not_end_by_waiting(
    command: str, body: Any
) -> None:
    case = accepted()
    case.do("RecordNoAccess", 5, **ABSENT)
    case.do("RecordNoAccess", 20, **ABSENT)
    case.do(command, 30, **body)
    case.wait(500)
    assert "RepairCancelled" not in case.happened()


def test_KUN_7_4_3_a_case_that_is_cleared_with_its_fault_does_not_end_by_waiting() -> None:
    case = linked()
    case.do("RecordNoAccess", 5, **ABSENT)
    case.do("RecordNoAccess", 20, **ABSENT)
    case.do("RecordFaultCleared", 30, fault="repair-2", cleared_at=hours(29))
    case.wait(500)
    assert case.state.stage == Stage.CALLBACK_DUE


# Pauses


def test_KUN_2_2_4d_paused_time_does_not_count() -> None:
    case = paused("awaiting_parts")
    case.do("ResumeWork", 12)
    assert case.promise("repair").due == hours(24 + 10)
    case.do("PauseWork", 20, reason="awaiting_parts", evidence="photo/2")
    assert case.wait(100) == []
    case.do("ResumeWork", 100)
    assert case.promise("repair").due == hours(24 + 10 + 80)
    case.do("CompleteRepair", 114, work=["valve"])
    assert case.promise("repair").state == "kept"


def test_paused_time_does_not_count_after_an_agreed_time_either() -> None:
    case = booked()
    case.do("RecordNoAccess", 31, **ABSENT)
    assert case.promise("repair").due == hours(55)
    case.do("RecordArrival", 131, crew="crew-1")
    assert case.promise("repair").due == hours(155)


def test_paused_time_does_not_count_when_the_case_ends_and_comes_back() -> None:
    case = paused("awaiting_parts")
    case.do("TransferOut", 12, to="water", reference="letter/1")
    case.do("RecordTransferReturned", 20, reason="theirs")
    assert case.promise("repair").due == hours(24 + 10)


def test_two_pauses_never_give_back_the_same_hour_twice() -> None:
    case = paused("awaiting_parts")
    case.do("ResumeWork", 12)
    case.do("PauseWork", 11, told=13, reason="awaiting_parts", evidence="photo/2")
    case.do("ResumeWork", 14)
    assert case.promise("repair").due == hours(24 + 12)


def test_a_pause_needs_a_reason_that_the_policy_allows_and_evidence() -> None:
    (reason,) = working().refusal("PauseWork", 2, reason="tired", evidence="photo/1")
    assert reason == (
        "The policy allows no pause for this reason; it allows:"
        " awaiting_parts, customer_absent, customer_request, road_permit."
    )
    with pytest.raises(Exception, match="evidence"):
        working().do("PauseWork", 2, reason="awaiting_parts")


def test_a_pause_stops_only_what_the_policy_says() -> None:
    case = accepted()
    case.do("PauseWork", 1, reason="awaiting_parts", evidence="photo/1")
    assert case.promise("attend").state == "running"
    assert case.promise("repair").state == "paused"


def test_a_pause_ends_by_itself_when_it_has_lasted_as_long_as_the_policy_allows() -> None:
    case = paused("awaiting_parts")
    week = 7 * 24
    assert case.wait(2 + week - 0.01) == []
    assert case.wait(2 + week) == ["WorkResumed", "CommitmentResumed repair"]
    assert case.state.stage == Stage.WORKING
    assert case.promise("repair").due == hours(24 + week)


def test_a_pause_told_late_withdraws_a_breach_that_it_would_have_prevented() -> None:
    case = working()
    case.wait(25)
    caused = case.do("PauseWork", 20, told=25, reason="awaiting_parts", evidence="photo/2")
    assert caused == ["WorkPaused", "BreachWithdrawn repair", "CommitmentPaused repair"]
    case.do("ResumeWork", 30)
    assert case.promise("repair").due == hours(34)


# Interruptions


def test_KUN_2_2_2_an_interruption_is_announced_a_day_ahead() -> None:
    case = on_site()
    (reason,) = case.refusal(
        "AnnounceInterruption", 2, start=hours(25.9), end=hours(27), reason="valve"
    )
    assert reason == "Customers are told 24 hours ahead: choose a later start (KUN-2.2.2)."
    told_ahead = case.do("AnnounceInterruption", 2, start=hours(26), end=hours(27), reason="valve")
    assert told_ahead == ["InterruptionAnnounced"]


@pytest.mark.parametrize("severity", ["major", "hazard"])
def test_KUN_2_2_2_a_grave_fault_cannot_wait_for_its_announcement(severity: str) -> None:
    case = on_site(severity=severity)
    assert case.do("AnnounceInterruption", 2, start=hours(2), end=hours(3), reason="leak")


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
