"""The rules of complaints, each under its id: whose it is, clocks, findings, apologies, appeals."""

from typing import Any

import pytest

from lifecycles.decisions import Rejected
from schemas.approvals import ApprovalLapsed
from schemas.complaint import MOST_ACCUSED, FindingDecided, Stage
from tests.lifecycles.complaint_cases import (
    ACCUSED,
    ANONYMOUS,
    COMPLAINT,
    EXTENSION,
    FINDING,
    HEAD,
    JUDGE,
    NOT_UPHELD,
    OVERTURN,
    REGISTER,
    RULES,
    SCREEN,
    SERVICE,
    SUPERVISOR,
    UPHELD,
    Case,
    acknowledged,
    answered,
    appealed,
    arbitrated,
    awaiting,
    called,
    closed,
    confirmed,
    found,
    handed_over,
    investigating,
    policy,
    redo,
    registered,
    returned,
    screened,
)
from tests.lifecycles.repair_cases import APP, CLERK, GAS, broken_at, hours

TWO: dict[str, Any] = {
    "accused": [{"staff": "staff-9", "reports_to": "boss-9"}, {"staff": "staff-8"}]
}


def owner(case: Case) -> tuple[str, str]:
    now = case.state.owners[-1].owner
    return now.kind, now.id


# Whose it is


def test_KUN_5_4_1_whoever_takes_the_call_owns_it_but_never_a_complaint_about_themselves() -> None:
    assert owner(registered()) == ("person", "clerk-1")
    assert owner(registered(actor=APP, channel="app")) == ("unit", RULES.intake_unit)
    own = registered(actor=ACCUSED)
    assert own.state.stage == Stage.REGISTERED, "a complaint was lost"
    assert owner(own) == ("unit", RULES.intake_unit)
    boss = registered(actor=ACCUSED.model_copy(update={"subject": "BOSS-9", "role": "supervisor"}))
    assert owner(boss) == ("unit", RULES.intake_unit)


def test_superiors_may_act_where_the_policy_does_not_bar_them() -> None:
    lax = policy(superiors_barred=False)
    boss = SUPERVISOR.model_copy(update={"subject": "boss-9"})
    assert owner(registered(lax, actor=boss)) == ("person", "boss-9")
    assert registered(lax).do("TakeCase", 1, actor=boss) == ["OwnerChanged"]
    assert registered(lax).refusal("TakeCase", 1, actor=ACCUSED)


def test_an_owner_who_turns_out_to_be_accused_has_it_no_longer() -> None:
    case = registered()
    caused = case.do("ScreenComplaint", 1, category="late", gravity="light", accused=[
        {"staff": "staff-7", "reports_to": "CLERK-1"}])  # fmt: skip
    assert caused == ["ComplaintScreened", "OwnerChanged"]
    assert owner(case) == ("unit", RULES.intake_unit)
    assert [a.staff for a in case.state.accused] == ["staff-9", "staff-7"]


def test_nobody_hands_or_escalates_it_to_whom_it_is_about() -> None:
    for who in ("STAFF-9", "boss-9"):
        to = {"kind": "person", "id": who}
        for name in ("HandOverCase", "EscalateComplaint"):
            assert screened().refusal(name, 1, to=to, reason="hard") == [
                "The complaint is about this person, or they report to them: name another."
            ]


def test_KUN_5_4_2_a_hard_call_is_handed_over_on_record() -> None:
    case = acknowledged()
    to = {"kind": "person", "id": "head-2"}
    assert case.do("HandOverCase", 1, actor=JUDGE, to=to, reason="agitated") == ["OwnerChanged"]
    assert owner(case) == ("person", "head-2")


def test_CNPC_2_6b_what_cannot_be_solved_goes_up_and_stays_where_it_was() -> None:
    case = investigating()
    to = {"kind": "role", "id": "division_head"}
    assert case.do("EscalateComplaint", 3, to=to, reason="too-hard") == ["ComplaintEscalated"]
    assert owner(case) == ("role", "division_head")
    assert case.state.stage == Stage.INVESTIGATING


def test_given_back_too_often_a_supervisor_decides_whose_it_is_for_good() -> None:
    case = returned(1)
    assert owner(case) == ("unit", RULES.intake_unit)
    case.do("HandOverComplaint", 0.5, department="billing")
    caused = case.do("ReturnComplaint", 0.6, actor=JUDGE, ground="not-ours", evidence="slip/1")
    assert caused == [
        "ComplaintReturned",
        "CommitmentCancelled acknowledge-2",
        "CommitmentStarted arbitrate",
    ]
    assert owner(case) == ("role", "supervisor")
    caused = case.do("ArbitrateReturn", 1, actor=HEAD, department="billing", reason="theirs")
    assert caused == [
        "ReturnArbitrated",
        "CommitmentKept arbitrate",
        "CommitmentStarted acknowledge-3",
    ]
    assert owner(case) == ("unit", "billing")
    case.do("AcknowledgeComplaint", 2, actor=JUDGE)
    assert case.refusal("ReturnComplaint", 2, ground="not-ours", evidence="slip/1") == [
        "A supervisor decided whose it is: it cannot be returned again."
    ]


# The clock


def test_KUN_2_2_6_an_answer_is_due_48_hours_after_registration_whatever_happens() -> None:
    for case in (registered(), returned(2), arbitrated(), investigating(), redo()):
        answer = case.promise("answer")
        assert (answer.start, answer.due) == (hours(0), hours(48))
    silent = registered()
    silent.wait(200)
    assert broken_at(silent) == {"pass_on": 1, "answer": 48}
    assert [c.id for c in silent.state.commitments] == ["pass_on", "answer"]


def test_a_redo_owes_the_answer_again_on_the_original_clock() -> None:
    case = answered()
    case.do("OrderRedo", 60, actor=SUPERVISOR, reason="unclear")
    case.wait(60)
    assert case.state.stage == Stage.REDO
    assert case.promise("answer").state == "broken"
    assert case.promise("answer").start == hours(0)
    case.do("StartInvestigation", 61, actor=JUDGE)
    case.do("AnswerComplaint", 62, actor=JUDGE, **UPHELD)
    assert case.promise("answer").met_at == hours(62)
    assert case.promise("follow_up-2").state == "running"
    assert case.state.redo == 1


def test_another_gravity_changes_promises_and_keeps_the_clock() -> None:
    grave = {
        "name": "answer",
        "rule": "WIN-2.5.2",
        "duration": "PT24H",
        "starts": "registered",
        "ends": "answered",
        "severities": ["serious"],
    }
    usual = [c.model_dump(mode="json") for c in RULES.commitments]
    for terms in usual:
        if terms["name"] == "answer":
            terms["severities"] = ["light"]
    case = registered(policy.__wrapped__(commitments=[*usual, grave]))
    caused = case.do("ScreenComplaint", 2, category="late", gravity="serious")
    assert caused == [
        "ComplaintScreened",
        "CommitmentCancelled answer",
        "CommitmentStarted answer-2",
    ]
    assert (case.promise("answer-2").start, case.promise("answer-2").due) == (hours(0), hours(24))


def test_asking_the_complainant_stops_the_time_and_silence_lets_it_run_again() -> None:
    case = awaiting()  # asked at two hours, for three days at most
    assert case.promise("answer").state == "paused"
    replied = awaiting()
    assert replied.do("RecordCustomerReply", 12, evidence="letter/r") == [
        "CustomerReplied",
        "CommitmentResumed answer",
    ]
    assert replied.promise("answer").due == hours(58)
    assert case.wait(2 + 72) == ["CustomerReplied", "CommitmentResumed answer"]
    assert case.state.stage == Stage.INVESTIGATING
    assert case.promise("answer").due == hours(48 + 72)


def test_asking_again_and_again_stops_the_time_no_longer_than_asking_once() -> None:
    case = awaiting()  # asked at two hours, for three days at most
    case.do("RecordCustomerReply", 50, evidence="letter/r1")
    case.do("AskCustomer", 51, actor=JUDGE, question="letter/q2")
    assert case.state.asked_until == hours(51 + 24)
    case.wait(75)
    assert case.promise("answer").due == hours(48 + 72)
    assert case.refusal("AskCustomer", 76, actor=JUDGE, question="letter/q3") == [
        "The complainant was waited for as long as the policy allows:"
        " answer it, or escalate it (CNPC-2.6b)."
    ]
    assert "AskCustomer" not in COMPLAINT.possible(case.state)


def test_KUN_2_2_6_an_answer_after_a_redo_is_late_whenever_it_is_said_to_have_been_given() -> None:
    case = answered(**SERVICE)
    case.do("OrderRedo", 60, actor=SUPERVISOR, reason="unclear")
    case.do("StartInvestigation", 61, actor=JUDGE)
    (reason,) = case.refusal("AnswerComplaint", 47, told=62, actor=JUDGE, **NOT_UPHELD)
    assert reason.startswith("This cannot have happened before the investigation was started")
    assert "CommitmentMetLate answer" in case.do("AnswerComplaint", 62, actor=JUDGE, **NOT_UPHELD)


def test_a_policy_without_that_pause_waits_for_nobody() -> None:
    case = investigating(policy.__wrapped__(pause_reasons={}))
    assert case.refusal("AskCustomer", 2, question="letter/q1") == [
        "This policy does not wait for the complainant: ask, and go on investigating."
    ]


# Findings


def test_ADM_5_every_accused_has_a_finding_before_the_answer() -> None:
    case = investigating(**TWO)
    case.do("DecideFinding", 2, actor=JUDGE, **FINDING)
    assert case.refusal("AnswerComplaint", 3, **UPHELD) == [
        "Decide a finding about each of the accused first; 1 have none."
    ]
    other = {**FINDING, "staff": "Staff-8", "outcome": "not_upheld", "reason": "no-proof"}
    case.do("DecideFinding", 3, actor=JUDGE, **other)
    assert [f.staff for f in case.state.findings] == ["staff-9", "staff-8"]
    assert case.do("AnswerComplaint", 4, **UPHELD)[0] == "ComplaintAnswered"


def test_the_staff_file_hears_of_what_was_upheld_and_of_what_no_longer_is() -> None:
    case = found("not_upheld")
    assert case.told_file() == []
    case.do("DecideFinding", 3, actor=JUDGE, **FINDING)
    case.do("DecideFinding", 4, actor=JUDGE, **{**FINDING, "outcome": "not_upheld"}, reason="x")
    case.do("DecideFinding", 5, actor=JUDGE, **{**FINDING, "outcome": "not_upheld"},
            gravity="serious", reason="x")  # fmt: skip
    told = [(t["revision"], t["outcome"], t["reports_to"]) for t in case.told_file()]
    assert told == [(2, "upheld", "boss-9"), (3, "not_upheld", "boss-9")]
    (request, _) = case.state.requests
    assert (request.case_id, request.opens) == ("conduct-town--staff-9", True)
    assert request.command["finding"] == "complaint-1/staff-9"
    assert case.finding().revision == 4


def test_a_policy_that_keeps_no_staff_files_tells_none() -> None:
    content = GAS.policy.model_copy(update={"conduct": None})
    case = found(policy=GAS._replace(policy=content))
    assert case.finding().outcome == "upheld"
    assert case.state.requests == ()


def test_an_investigator_who_turns_out_to_be_accused_decides_nothing_more() -> None:
    case = found()
    adopted = {"case": "complaint-9", "registered_at": hours(1), "party": "party-9"}
    case.do("AdoptComplaint", 4, **adopted, accused=[{"staff": "FIELD-3"}])
    assert case.state.investigator is None
    assert owner(case) == ("unit", RULES.intake_unit)
    assert case.refusal("DecideFinding", 5, **{**FINDING, "staff": "field-3"}) == [
        "Who investigated it cannot any more: somebody else starts an investigation."
    ]
    assert case.do("StartInvestigation", 5, actor=CLERK) == ["InvestigationStarted"]
    assert case.do("DecideFinding", 5, **{**FINDING, "staff": "field-3"})[0] == "FindingDecided"


def test_what_somebody_found_who_turns_out_to_be_accused_is_decided_anew() -> None:
    case = found()
    case.do("AdoptComplaint", 3, case="complaint-9", registered_at=hours(0),
            accused=[{"staff": "FIELD-3"}])  # fmt: skip
    other = CLERK.model_copy(update={"subject": "field-4"})
    case.do("StartInvestigation", 4, actor=other)
    about = {**FINDING, "staff": "FIELD-3"}
    case.do("DecideFinding", 4.1, actor=other, **about)
    (reason,) = case.refusal("AnswerComplaint", 5, actor=other, **UPHELD)
    assert reason == (
        "Somebody whom it is about by now decided a finding in it: decide that one anew."
    )
    assert "FindingDecided" in case.do("DecideFinding", 5, actor=other, **FINDING)
    assert "ComplaintAnswered" in case.do("AnswerComplaint", 6, actor=other, **UPHELD)


@pytest.mark.parametrize("unit", [RULES.intake_unit, "BILLING", "supervisor", "division_head"])
def test_only_people_are_accused_and_neither_units_nor_roles(unit: str) -> None:
    for accused in ({"staff": unit}, {"staff": "staff-9", "reports_to": unit}):
        with pytest.raises(Rejected, match="Only people can be accused or be reported to"):
            registered(accused=[accused])


def test_a_complaint_names_no_more_people_than_fit_into_one_case() -> None:
    many = [{"staff": f"s-{number}"} for number in range(MOST_ACCUSED + 1)]
    with pytest.raises(Rejected, match="accused: "):
        registered(accused=many)
    case = registered(accused=many[1:])
    assert case.refusal("ScreenComplaint", 1, **SCREEN, accused=many[:1]) == [
        f"More than {MOST_ACCUSED} are accused: register another complaint about the others."
    ]


def test_withdrawing_a_complaint_erases_no_finding() -> None:
    case = found()
    caused = case.do("WithdrawComplaint", 3, reason="settled")
    assert caused[0] == "ComplaintWithdrawn"
    assert case.finding().outcome == "upheld"
    assert len(case.told_file()) == 1
    assert case.wait(900) == []


# Apologies


def test_GAS_2_6_an_upheld_complaint_closes_only_after_the_apology() -> None:
    case = called()
    assert case.state.stage == Stage.ANSWERED
    assert case.promise("apologise").state == "running"
    assert case.do("RecordApology", 5, staff="STAFF-9", evidence="letter/3") == [
        "ApologyRecorded",
        "CommitmentKept apologise",
        "ComplaintClosed",
    ]
    assert case.state.closed_at == hours(5)


def test_one_promise_covers_every_apology_and_is_kept_by_the_last() -> None:
    case = found(**TWO)
    assert [c.id for c in case.state.commitments if c.name == "apologise"] == ["apologise"]
    assert case.do("RecordApology", 3, staff="staff-9", evidence="x/1") == ["ApologyRecorded"]
    assert case.do("WaiveApology", 4, staff="staff-8", reason="not-wanted") == [
        "ApologyWaived",
        "CommitmentKept apologise",
    ]


def test_an_apology_that_was_made_stays_made_when_the_finding_is_revised() -> None:
    case = found()
    case.do("RecordApology", 3, staff="staff-9", evidence="letter/3")
    caused = case.do("DecideFinding", 4, actor=JUDGE, **{**FINDING, "outcome": "partly_upheld"})
    assert caused == ["FindingDecided"]
    assert case.finding().apologised == "letter/3"


def test_an_anonymous_complaint_has_nobody_to_call_or_to_apologise_to() -> None:
    case = found(**ANONYMOUS)
    assert "apologise" not in [c.name for c in case.state.commitments]
    assert case.do("AnswerComplaint", 3, actor=JUDGE, **UPHELD) == [
        "ComplaintAnswered",
        "CommitmentKept answer",
        "ComplaintClosed",
    ]
    assert case.state.stage == Stage.CLOSED


# After the answer


def test_CNPC_2_6a_the_complainant_is_called_and_the_answer_counts_for_the_department() -> None:
    case = called("satisfied", **SERVICE)
    assert case.state.stage == Stage.CLOSED
    assert [(a.department, a.result) for a in case.state.answers] == [
        ("field-service", "satisfied")
    ]


def test_KUN_5_6_unreachable_too_often_ends_the_follow_up() -> None:
    case = answered(**SERVICE)
    for at in (4, 5):
        assert case.do("RecordFollowUp", at, result="unreachable") == ["FollowUpRecorded"]
    assert case.do("RecordFollowUp", 6, result="unreachable")[-1] == "ComplaintClosed"
    assert [a.result for a in case.state.answers] == ["unreachable"]


def test_a_dissatisfied_complainant_is_reviewed_by_a_supervisor_who_did_not_answer() -> None:
    case = called("not_satisfied", **SERVICE)
    assert owner(case) == ("role", "supervisor")
    assert case.promise("review").state == "running"
    own = SUPERVISOR.model_copy(update={"subject": "FIELD-3"})
    assert case.refusal("CloseComplaint", 5, actor=own, reason="right") == [
        "Who decided before cannot review it: leave it to somebody else."
    ]
    assert case.do("CloseComplaint", 5, actor=SUPERVISOR, reason="right") == [
        "DissatisfactionReviewed",
        "CommitmentKept review",
        "ComplaintClosed",
    ]
    found_it = JUDGE.model_copy(update={"subject": "super-7", "role": "supervisor"})
    other = investigating()
    other.do("DecideFinding", 2, actor=found_it, **FINDING)
    other.do("AnswerComplaint", 3, actor=JUDGE, **UPHELD)
    other.do("RecordFollowUp", 4, consent=True, result="not_satisfied")
    assert other.refusal("CloseComplaint", 5, actor=found_it, reason="right") == [
        "Who decided before cannot review it: leave it to somebody else."
    ]
    again = called("not_satisfied", **SERVICE)
    assert again.do("OrderRedo", 5, actor=SUPERVISOR, reason="unclear") == [
        "RedoOrdered",
        "CommitmentKept review",
        "CommitmentRestored answer",
    ]
    assert owner(again) == ("unit", "field-service")
    assert again.state.follow_up is None


def test_a_dissatisfied_complainant_still_gets_the_apology_before_it_closes() -> None:
    case = called("not_satisfied")
    case.do("CloseComplaint", 5, actor=SUPERVISOR, reason="right")
    assert case.state.stage == Stage.ANSWERED
    assert case.do("RecordApology", 6, staff="staff-9", evidence="x/1")[-1] == "ComplaintClosed"


def test_WAT_2_5_an_informant_is_rewarded_once_and_nobody_else() -> None:
    case = closed(confidential=True)
    assert case.do("RewardInformant", 5, evidence="slip/2") == ["InformantRewarded"]
    assert case.do("RewardInformant", 6, evidence="slip/3") == []
    assert closed().refusal("RewardInformant", 5, evidence="slip/2")


# Appeal


def test_WIN_3_4_3_the_level_above_decides_an_appeal_and_the_staff_file_hears_its_day() -> None:
    case = appealed()
    assert owner(case) == ("role", "division_head")
    case.do("ConfirmDecision", 24, actor=HEAD, reason="right", answer="letter/5")
    last = case.told_file()[-1]
    assert (last["revision"], last["outcome"]) == (2, "upheld")
    assert last["decided_at"].startswith(hours(24).isoformat()[:16])
    decided = [e for e in case.events if isinstance(e, FindingDecided)]
    assert [(e.revision, e.appeal, e.decided_by) for e in decided] == [
        (1, False, "field-3"),
        (2, True, "head-1"),
    ]
    assert case.state.stage == Stage.FOLLOW_UP
    assert case.finding().conduct_at == hours(-20)


def test_confirming_a_no_tells_the_staff_file_nothing() -> None:
    case = appealed(outcome="not_upheld")
    caused = case.do("ConfirmDecision", 24, actor=HEAD, reason="right", answer="letter/5")
    assert "FindingDecided" not in caused
    assert case.told_file() == []


def test_nobody_decides_the_appeal_against_their_own_decision() -> None:
    own = HEAD.model_copy(update={"subject": "FIELD-3"})
    for name, body in (
        ("OverturnDecision", OVERTURN),
        ("ConfirmDecision", {"reason": "right", "answer": "letter/5"}),
    ):
        assert appealed().refusal(name, 5, actor=own, **body) == [
            "Who decided before cannot review it: leave it to somebody else."
        ]


def test_an_overturned_finding_owes_no_apology_and_a_new_one_owes_one() -> None:
    case = appealed(**TWO)
    verdicts = [
        {"staff": "staff-9", "outcome": "not_upheld"},
        {"staff": "STAFF-8", "outcome": "upheld", "gravity": "serious"},
    ]
    body = {**OVERTURN, "outcome": "partly_upheld", "findings": verdicts}
    caused = case.do("OverturnDecision", 6, actor=HEAD, **body)
    assert caused == [
        *("FindingDecided", "ApologyWaived", "FindingDecided", "AppealDecided"),
        *("CommitmentKept appeal", "FollowUpDue", "CommitmentStarted follow_up-2"),
    ]
    assert case.finding("staff-9").apology_waived == "overturned"
    assert case.promise("apologise").state == "running"
    assert case.state.outcome == "partly_upheld"
    up = appealed(outcome="not_upheld")
    body = {
        **OVERTURN,
        "outcome": "upheld",
        "findings": [{"staff": "staff-9", "outcome": "upheld"}],
    }
    caused = up.do("OverturnDecision", 6, actor=HEAD, **body)
    assert caused[:2] == ["FindingDecided", "CommitmentStarted apologise"]


def test_a_closed_complaint_comes_back_by_an_appeal_within_its_time_and_only_once() -> None:
    limit = 3 + 15 * 24
    late = closed()
    assert late.refusal("AppealComplaint", limit + 0.1, ground="wrong", evidence="x/1") == [
        "It was answered more than 15 days ago: open a new complaint."
    ]
    case = closed()
    assert (
        case.do("AppealComplaint", limit, ground="wrong", evidence="x/1")[0] == "ComplaintAppealed"
    )
    assert case.state.closed_at is None
    again = confirmed()
    assert again.refusal("AppealComplaint", 6, ground="wrong", evidence="x/1") == [
        "The level above has decided already: refer it outside (ReferExternal)."
    ]
    assert again.refusal("OrderRedo", 6, actor=SUPERVISOR, reason="x") == [
        "The level above has decided: it is not done again."
    ]
    assert again.do("ReferExternal", 6, body="council", reference="x/1")[0] == "ReferredExternal"
    assert again.wait(900) == []


# More time


def test_more_time_needs_a_yes_from_somebody_who_has_no_part_in_the_case() -> None:
    case = investigating()
    caused = case.do("RequestExtension", 3, actor=JUDGE, **EXTENSION)
    assert caused == [
        "ExtensionRequested",
        "ApprovalRequested",
        "CommitmentStarted approve-extension",
    ]
    (asked,) = case.state.approvals
    assert asked.facts == {
        "answer_due": hours(48).isoformat(),
        "until": hours(72).isoformat(),
        "reason": "laboratory",
        "category": "late",
        "gravity": "light",
        "accused": ("staff-9",),
        "granted_before": 0,
    }
    own = SUPERVISOR.model_copy(update={"subject": "Field-3"})
    assert case.refusal("DecideApproval", 4, actor=own, **case.choice()) == [
        "Who asked for it, or is part of the case, cannot decide it."
    ]
    assert case.do("DecideApproval", 4, actor=SUPERVISOR, **case.choice()) == [
        "ApprovalGiven",
        "ApprovalGranted",
        "CommitmentKept approve-extension",
        "ExtensionGranted",
        "CommitmentReset answer",
    ]
    assert (case.promise("answer").start, case.promise("answer").due) == (hours(0), hours(72))
    assert case.wait(71) != []
    assert case.promise("answer").state == "running"
    assert case.do("DecideApproval", 71, actor=SUPERVISOR, **case.choice()) == []


def test_who_took_the_investigation_over_cannot_approve_more_time_for_it() -> None:
    case = investigating()
    case.do("RequestExtension", 3, actor=JUDGE, **EXTENSION)
    case.do("StartInvestigation", 4, actor=SUPERVISOR)
    assert case.refusal("DecideApproval", 5, actor=SUPERVISOR, **case.choice()) == [
        "Who asked for it, or is part of the case, cannot decide it."
    ]


@pytest.mark.parametrize(
    ("at", "until", "reason"),
    [
        (3, 48, "The answer is not due before that: ask for a later time."),
        (3, 48 + 121, "At most 5 days beyond the first due time can be granted."),
        (49, 72, "The answer is late already: answer, or escalate it (CNPC-2.6b)."),
    ],
)
def test_more_time_is_limited(at: float, until: float, reason: str) -> None:
    case = investigating()
    assert case.refusal("RequestExtension", at, **{**EXTENSION, "until": hours(until)}) == [reason]


def test_more_time_is_granted_only_so_often() -> None:
    case = investigating()
    case.do("RequestExtension", 3, actor=JUDGE, **EXTENSION)
    other = {**EXTENSION, "until": hours(80)}
    assert case.refusal("RequestExtension", 4, **other) == [
        "More time is asked for already: withdraw that first, or wait for the answer."
    ]
    case.do("DecideApproval", 5, actor=SUPERVISOR, **case.choice())
    assert case.refusal("RequestExtension", 6, **other) == [
        "More time is granted at most 1 times: escalate it (CNPC-2.6b)."
    ]


def test_a_request_for_more_time_lapses_when_its_facts_change() -> None:
    case = investigating()
    case.do("RequestExtension", 3, actor=JUDGE, **EXTENSION)
    adopted = {"case": "complaint-9", "registered_at": hours(-2), "accused": [{"staff": "s-1"}]}
    caused = case.do("AdoptComplaint", 4, **adopted)
    assert caused[-2] == "ApprovalLapsed"
    lapsed = case.events[-2]
    assert isinstance(lapsed, ApprovalLapsed)
    assert lapsed.changed == ("accused", "answer_due")
    assert case.state.extension is None
    assert case.do("RequestExtension", 5, actor=JUDGE, **EXTENSION)[0] == "ExtensionRequested"


def test_ADM_7_silence_escalates_and_never_lengthens_the_wait() -> None:
    case = investigating()
    case.do("RequestExtension", 3, actor=JUDGE, **EXTENSION)
    assert "ApprovalEscalated" in case.wait(12)
    assert case.promise("answer").due == hours(48)
    assert (
        case.do("DecideApproval", 13, actor=HEAD, **case.choice())[-1] == "CommitmentReset answer"
    )


def test_ADM_7_a_policy_may_say_that_silence_grants() -> None:
    case = investigating(policy(approvals__extension__silence="approve"))
    case.do("RequestExtension", 3, actor=JUDGE, **EXTENSION)
    assert case.wait(12)[-3:] == ["CommitmentCancelled approve-extension", "ExtensionGranted",
                                  "CommitmentReset answer"]  # fmt: skip
    assert case.promise("answer").due == hours(72)


def test_time_granted_too_late_leaves_the_breach_and_its_ladder() -> None:
    case = investigating()
    case.do("RequestExtension", 47, actor=JUDGE, **EXTENSION)
    case.wait(49)
    before = case.promise("answer")
    assert before.state == "broken"
    caused = case.do("DecideApproval", 49, actor=SUPERVISOR, **case.choice())
    assert caused[-1] == "ExtensionGranted"
    assert case.promise("answer") == before
    told_late = investigating()
    told_late.do("RequestExtension", 47, actor=JUDGE, **EXTENSION)
    told_late.wait(49)
    caused = told_late.do("DecideApproval", 47.5, told=49, actor=SUPERVISOR, **told_late.choice())
    assert caused[-2:] == ["BreachWithdrawn answer", "CommitmentReset answer"]
    assert told_late.promise("answer").due == hours(72)


def test_time_granted_while_the_clock_stands_still_comes_on_top_of_what_was_left() -> None:
    case = awaiting()
    case.do("RequestExtension", 3, actor=JUDGE, **EXTENSION)
    case.do("DecideApproval", 4, actor=SUPERVISOR, **case.choice())
    assert case.promise("answer").state == "paused"
    case.do("RecordCustomerReply", 12, evidence="letter/r")
    assert case.promise("answer").due == hours(72 + 10)


def test_the_answer_or_the_return_withdraws_what_is_asked() -> None:
    case = found()
    case.do("RequestExtension", 3, actor=JUDGE, **EXTENSION)
    assert "ApprovalWithdrawn" in case.do("AnswerComplaint", 4, actor=JUDGE, **UPHELD)
    assert case.state.extension is None
    given_back = acknowledged()
    given_back.do("RequestExtension", 3, actor=JUDGE, **EXTENSION)
    caused = given_back.do("ReturnComplaint", 4, actor=JUDGE, ground="x", evidence="slip/1")
    assert "ApprovalWithdrawn" in caused


# Repeats


def test_a_repeat_goes_on_in_the_other_which_keeps_the_earliest_clock_and_all_the_accused() -> None:
    host = investigating(id="complaint-2", party="party-2", at=0)
    repeat = registered(at=-6, accused=[{"staff": "staff-8"}])
    repeat.do("MergeRepeat", 2, case="complaint-2")
    asked = repeat.merge()
    assert asked.command["party"] == "party-1"
    caused = host.do("AdoptComplaint", 3, **{k: v for k, v in asked.command.items() if k != "type"})
    assert caused == [
        "ComplaintAdopted",
        "CommitmentRestored answer",
    ]
    assert (host.promise("answer").start, host.promise("answer").due) == (hours(-6), hours(42))
    assert [a.staff for a in host.state.accused] == ["staff-9", "staff-8"]
    assert repeat.answer(asked, 4) == [
        *("RequestAnswered", "MergedAsRepeat"),
        *("CommitmentCancelled pass_on", "CommitmentCancelled answer"),
    ]
    assert repeat.state.merged_into == "complaint-2"


def test_more_time_that_was_granted_to_one_complaint_puts_off_no_earlier_one() -> None:
    host = investigating()
    host.do("RequestExtension", 3, actor=JUDGE, **EXTENSION)
    host.do("DecideApproval", 4, actor=SUPERVISOR, **host.choice())
    assert host.refusal("AdoptComplaint", 5, case="complaint-9", registered_at=hours(-40)) == [
        "More time was granted in this complaint, which the earlier one has no part in:"
        " merge this one into it instead."
    ]
    taken = host.do("AdoptComplaint", 5, case="complaint-9", registered_at=hours(1))
    assert taken == ["ComplaintAdopted"]


def test_a_refused_repeat_goes_on_by_itself() -> None:
    case = acknowledged()
    case.do("MergeRepeat", 1, case="complaint-2")
    asked = case.merge()
    assert case.answer(asked, 2, "It is closed.") == ["RequestAnswered", "RepeatMergeRefused"]
    assert case.state.stage == Stage.ACKNOWLEDGED
    assert case.do("MergeRepeat", 3, case="complaint-3") == ["RepeatMergeRequested"]


def test_a_complaint_that_waits_to_join_another_takes_in_none_and_decides_no_finding() -> None:
    case = investigating()
    case.do("MergeRepeat", 2, case="complaint-2")
    assert case.refusal("AdoptComplaint", 3, case="complaint-2", registered_at=hours(0)) == [
        "This case is itself about to join another; ask that one."
    ]
    assert case.refusal("DecideFinding", 3, actor=JUDGE, **FINDING) == [
        "It is about to join another complaint: wait for that one's answer."
    ]
    assert case.refusal("MergeRepeat", 3, case="complaint-3") == [
        "It has asked another case already; wait for that answer."
    ]


def test_what_would_lose_a_complainant_or_count_twice_is_not_merged() -> None:
    host = acknowledged()
    host.do("AdoptComplaint", 1, case="complaint-9", registered_at=hours(0), party="party-9")
    assert host.refusal("MergeRepeat", 2, case="complaint-2") == [
        "Repeats were merged into this one: merge the other into it instead."
    ]
    assert found().refusal("MergeRepeat", 3, case="complaint-2") == [
        "Findings were decided in this one: merge the other into it instead."
    ]
    for case, reason in (
        ("complaint-1", "A case cannot take in itself; name another."),
        ("repair-1", "Only a complaint case can take in a complaint case."),
    ):
        assert acknowledged().refusal("MergeRepeat", 2, case=case)[0] == reason


def test_a_merge_agreed_to_after_the_answer_changes_nothing_here() -> None:
    case = investigating(**SERVICE)
    case.do("MergeRepeat", 2, case="complaint-2")
    asked = case.merge()
    case.do("AnswerComplaint", 3, actor=JUDGE, **NOT_UPHELD)
    assert case.answer(asked, 4) == ["RequestAnswered"]
    assert case.state.stage == Stage.FOLLOW_UP


def test_an_anonymous_complaint_that_takes_in_a_named_one_owes_that_complainant_everything() -> (
    None
):
    case = found(**ANONYMOUS)
    caused = case.do(
        "AdoptComplaint", 3, case="complaint-9", registered_at=hours(1), party="party-9"
    )
    assert caused == ["ComplaintAdopted", "CommitmentStarted apologise"]
    case.do("AnswerComplaint", 4, actor=JUDGE, **UPHELD)
    assert case.state.stage == Stage.FOLLOW_UP


def test_what_is_not_ours_is_passed_on_and_its_promises_end() -> None:
    case = handed_over()
    caused = case.do("DeclareOutOfJurisdiction", 1, reason="water")
    assert caused[-1] == "CommitmentStarted refer"
    assert case.do("ReferComplaint", 2, to="water", reference="x/1") == [
        "ComplaintReferred",
        "CommitmentKept refer",
    ]
    assert case.wait(900) == []


def test_a_complaint_may_come_in_by_any_channel_and_name_no_one() -> None:
    case = Case()
    case.do("RegisterComplaint", 0, **{**REGISTER, **SERVICE, **ANONYMOUS, "channel": "letter"})
    assert case.state.stage == Stage.REGISTERED
