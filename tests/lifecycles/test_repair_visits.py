"""Agreed times, visits without access, pauses and interruptions: when time stands still."""

from typing import Any

import pytest

from schemas.repair import Stage
from tests.lifecycles.repair_cases import (
    ABSENT,
    CONSENT,
    Case,
    accepted,
    hours,
    linked,
    on_site,
    paused,
    triaged,
    working,
)

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
