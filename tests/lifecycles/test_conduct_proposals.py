"""Three strikes (WAT-3.2b): when they propose, who replies, who decides, what takes it back."""

from typing import Any

import pytest

from lifecycles.approvals import BY_SILENCE
from schemas.base import Actor
from schemas.conduct import ReassignmentRejected, Stage
from tests.lifecycles.conduct_cases import (
    ADMIN,
    BOSS,
    HEAD,
    OFFICER,
    PERSON,
    SECOND,
    File,
    again,
    awaiting,
    days,
    finding,
    proposed,
    reassigned,
    silent,
)
from tests.lifecycles.repair_cases import GAS, WATER

# Three within the window


def test_the_third_strike_proposes_and_the_second_does_not() -> None:
    file = File()
    assert "ReassignmentProposed" not in file.tell(1, 0) + file.tell(2, 1)
    assert file.tell(3, 2)[-1] == "ReassignmentProposed"
    (proposal,) = file.state.proposals
    assert proposal.findings == (finding(1), finding(2), finding(3))
    assert proposal.reply_until == days(9)


@pytest.mark.parametrize(("third", "proposes"), [(364, True), (365, False)])
def test_the_third_counts_until_the_day_before_the_first_is_a_year_old(
    third: float, proposes: bool
) -> None:
    file = File()
    file.tell(1, 0)
    file.tell(2, 100)
    assert ("ReassignmentProposed" in file.tell(3, third)) == proposes


def test_the_policy_says_how_many_and_how_long() -> None:
    file = File(again(GAS, strikes=2, window_months=1))
    file.tell(1, 0)
    assert "ReassignmentProposed" not in file.tell(2, 31)
    assert "ReassignmentProposed" in file.tell(3, 60)


def test_what_is_no_strike_proposes_nothing() -> None:
    file = File()
    file.tell(1, 0)
    file.tell(2, 1)
    assert "ReassignmentProposed" not in file.tell(3, 2, outcome="partly_upheld")
    file.tell(4, 3, outcome="not_upheld")
    assert file.state.proposals == ()


def test_the_order_of_arrival_does_not_matter_only_the_days_do() -> None:
    file = File(WATER)
    file.tell(1, 400, 300)
    file.tell(2, 401, 0)
    assert "ReassignmentProposed" in file.tell(3, 402, 200)
    assert file.state.proposals[0].findings == (finding(2), finding(3), finding(1))


def test_told_after_they_expired_three_within_a_year_still_propose() -> None:
    file = File(WATER)
    for number in (1, 2):
        file.tell(number, number, number - 500)
    assert not any(k.live for k in file.state.counts)
    assert "ReassignmentProposed" in file.tell(3, 3, -490)


def test_the_latest_three_propose_and_two_third_strikes_at_once_propose_once() -> None:
    file = File(WATER)
    file.tell(1, 0)
    file.tell(2, 1)
    file.tell(3, 2)
    assert "ReassignmentProposed" not in file.tell(4, 2)
    assert file.happened().count("ReassignmentProposed") == 1


def test_the_latest_of_those_that_are_enough_are_named() -> None:
    file = File(again(WATER, strikes=2))
    file.tell(1, 400, 0)
    file.tell(2, 400, -380)
    file.tell(3, 400, -370)
    file.do("RecordReply", 401, evidence="letter/1")
    for officer in (OFFICER, SECOND):
        file.do("DecideApproval", 402, actor=officer, **file.choice())
    assert file.state.proposals[0].findings == (finding(2), finding(3))
    assert "ReassignmentProposed" in file.tell(4, 403, 1)
    assert file.state.proposals[1].findings == (finding(1), finding(4))


def test_one_s_expiry_does_not_take_back_what_is_proposed() -> None:
    file = File()
    file.tell(1, 0)
    file.tell(2, 100)
    file.tell(3, 364)
    assert "FindingExpired" in file.wait(366)
    assert file.state.stage == Stage.REASSIGNMENT_PROPOSED


# The right of reply


def test_the_reply_is_part_of_what_is_decided() -> None:
    file = awaiting()
    (asked,) = file.state.approvals
    assert asked.facts == {
        "proposal": 1,
        "staff": "E-7",
        "superior": "B-1",
        "findings": (finding(1), finding(2), finding(3)),
        "complaints": ("complaint-1", "complaint-2", "complaint-3"),
        "counts_on": ("2026-03-02", "2026-03-03", "2026-03-04"),
        "revisions": ("1", "1", "1"),
        "reply": "letter/1",
    }
    assert asked.asked_by == "standpipe"
    assert asked.barred == ("E-7", "B-1")


def test_no_reply_is_a_reply_exactly_when_its_time_is_over() -> None:
    file = proposed()
    before = file.wait(9 - 1e-6)
    assert "ReplyRecorded" not in before
    assert [w for w in file.wait(9) if "Esc" not in w and "Broken" not in w] == [
        "ReplyRecorded",
        "ApprovalRequested",
        "CommitmentStarted approve-reassignment",
    ]
    assert file.state.stage == Stage.AWAITING_APPROVAL
    assert file.state.approvals[0].facts["reply"] is None


def test_a_reply_at_the_last_moment_is_in_time_and_a_moment_later_is_not() -> None:
    assert "ReplyRecorded" in proposed().do("RecordReply", 9, evidence="letter/1")
    late = proposed().refusal("RecordReply", 9.001, evidence="letter/1")
    assert late == ["The time to reply is over."]


def test_a_reply_in_time_that_is_told_late_is_decided_on() -> None:
    file = proposed()
    file.wait(10)
    file.do("RecordReply", 8, late=11, evidence="letter/1")
    assert [a.state for a in file.state.approvals] == ["lapsed", "requested"]
    assert file.state.approvals[1].facts["reply"] == "letter/1"


def test_a_reply_cannot_come_before_the_proposal() -> None:
    (reason,) = proposed().refusal("RecordReply", 1, late=3, evidence="letter/1")
    assert reason == "It cannot come before the proposal; correct `occurred_at`."


def test_nobody_uses_up_another_s_right_of_reply() -> None:
    fellow = Actor(subject="E-8", role="crew", proof="token")
    (reason,) = proposed().refusal("RecordReply", 3, actor=fellow, evidence="letter/1")
    assert reason.startswith("It is for the person, or for one of these roles: ")
    own = Actor(subject="e-7", role="crew", proof="token")
    assert "ReplyRecorded" in proposed().do("RecordReply", 3, actor=own, evidence="letter/1")
    assert "ReplyRecorded" in proposed().do("RecordReply", 3, evidence="letter/1")


def test_the_same_reply_twice_is_one() -> None:
    assert awaiting().do("RecordReply", 4, actor=PERSON, evidence="letter/1") == []


# A human decides


def test_approved_the_person_is_moved() -> None:
    file = reassigned()
    assert "Reassigned" in file.happened()
    assert file.state.stage == Stage.REASSIGNED
    file.wait(367)
    assert file.state.stage == Stage.MARKED  # their measures were never taken


@pytest.mark.parametrize("subject", ["E-7", "e-7", "B-1", "b-1"])
@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_neither_the_person_nor_whom_they_report_to_decides(subject: str, decision: str) -> None:
    file = awaiting()
    actor = Actor(subject=subject, role="division_head", proof="token")
    reasons = file.refusal("DecideApproval", 4, actor=actor, **file.choice(decision))
    assert "Who asked for it, or is part of the case, cannot decide it." in reasons


def test_whom_they_report_to_decides_where_the_policy_does_not_bar_them() -> None:
    file = awaiting(again(GAS, approval={"exclude": [], "role": "supervisor"}))
    assert "Reassigned" in file.do("DecideApproval", 4, actor=BOSS, **file.choice())


def test_who_recorded_the_reply_may_decide_but_not_take_the_question_back() -> None:
    file = proposed()
    file.do("RecordReply", 3, actor=HEAD, evidence="letter/1")
    take_back = {"approval": "reassignment-1", "reason": "friend"}
    (reason,) = file.refusal("WithdrawApproval", 4, actor=HEAD, **take_back)
    assert reason == "Only who asked for it can withdraw it."
    assert "Reassigned" in file.do("DecideApproval", 4, actor=HEAD, **file.choice())


def test_silence_goes_up_and_moves_nobody() -> None:
    file = awaiting()
    assert file.at("ApprovalEscalated") == []
    file.wait(8)
    assert file.at("ApprovalEscalated") == [8]
    file.wait(300)
    assert file.state.stage == Stage.AWAITING_APPROVAL
    assert "Reassigned" in file.do("DecideApproval", 301, actor=ADMIN, **file.choice())


def test_silence_moves_or_spares_where_the_policy_says_so() -> None:
    file = awaiting(silent("approve"))
    file.wait(8)
    assert file.at("Reassigned") == [8]
    file = awaiting(silent("reject"))
    file.wait(8)
    (no,) = (e for e in file.events if isinstance(e, ReassignmentRejected))
    assert no.reason == BY_SILENCE
    assert "reassignment_rejected" in file.told_to("division_head")


def rejected() -> File:
    file = awaiting()
    file.do("DecideApproval", 4, actor=HEAD, **file.choice("reject"))
    return file


def test_a_rejection_needs_a_reason() -> None:
    file = awaiting()
    (reason,) = file.refusal("DecideApproval", 4, actor=HEAD, **file.choice("reject", reason=None))
    assert reason == "A no needs a reason (ADM-5)."


def test_rejected_these_findings_alone_propose_nothing_again() -> None:
    file = rejected()
    assert file.state.stage == Stage.MARKED
    assert "ReassignmentProposed" not in file.tell(3, 5, 2, revision=2)
    assert "ReassignmentProposed" in file.tell(4, 6)
    assert finding(4) in file.state.proposals[1].findings


def test_rejected_an_older_finding_that_was_known_then_proposes_nothing_either() -> None:
    file = File(WATER)
    for number, day in ((1, 10), (2, 20), (3, 30)):
        file.tell(number, 100 + number, day)
    file.overturn(3, 104)
    file.tell(4, 105, 5)
    file.tell(5, 106, 40)  # at the moment 1, 4 and 2 are proposed
    assert [p.findings for p in file.state.proposals if p.state == "open"] == [
        (finding(4), finding(1), finding(2))
    ]
    file.do("RecordReply", 107, evidence="letter/1")
    after = file.do("DecideApproval", 108, actor=OFFICER, **file.choice("reject"))
    assert "ReassignmentProposed" in after  # 5 came later
    file.do("RecordReply", 109, evidence="letter/2")
    after = file.do("DecideApproval", 110, actor=OFFICER, **file.choice("reject"))
    assert "ReassignmentProposed" not in after


def test_spent_strikes_propose_nothing_again() -> None:
    file = reassigned()
    file.tell(4, 5)
    assert "ReassignmentProposed" not in file.tell(5, 6)
    assert "ReassignmentProposed" in file.tell(6, 7)
    assert file.state.proposals[1].findings == (finding(4), finding(5), finding(6))


# What changes meanwhile


def test_overturned_while_the_reply_runs_the_proposal_is_withdrawn() -> None:
    file = proposed()
    assert "ReassignmentWithdrawn" in file.overturn(1, 3)
    assert file.state.stage == Stage.MARKED
    assert "ReplyRecorded" not in file.wait(20)


def test_overturned_while_somebody_must_decide_the_approval_is_withdrawn() -> None:
    file = awaiting()
    caused = file.overturn(1, 4)
    assert caused[-3:] == [
        "ReassignmentWithdrawn",
        "ApprovalWithdrawn",
        "CommitmentCancelled approve-reassignment",
    ]
    assert file.refusal("DecideApproval", 5, actor=HEAD, **file.choice())


def test_where_others_still_make_three_they_are_proposed_anew_with_a_new_right_of_reply() -> None:
    file = awaiting()
    file.tell(4, 4)
    caused = file.overturn(1, 5)
    assert caused[-1] == "ReassignmentProposed"
    proposal = file.state.proposals[-1]
    assert proposal.findings == (finding(2), finding(3), finding(4))
    assert proposal.reply_until == days(12)


def test_a_final_decision_that_moves_one_out_of_the_window_withdraws_the_proposal() -> None:
    file = awaiting()
    assert "ReassignmentWithdrawn" in file.tell(1, 5, 4, revision=2, outcome="partly_upheld")
    file = awaiting()
    file.wait(300)
    assert "ReassignmentWithdrawn" in file.tell(3, 380, 379, revision=2)


def test_a_final_decision_that_leaves_three_asks_again_on_the_new_facts() -> None:
    file = awaiting()
    seen = file.choice()
    caused = file.tell(2, 5, revision=2)
    assert caused[-5:] == [
        "FindingRecorded",
        "ApprovalLapsed",
        "CommitmentCancelled approve-reassignment",
        "ApprovalRequested",
        "CommitmentStarted approve-reassignment-2",
    ]
    assert file.refusal("DecideApproval", 6, actor=HEAD, **seen)
    assert "Reassigned" in file.do("DecideApproval", 6, actor=HEAD, **file.choice())


def test_another_superior_is_barred_from_then_on() -> None:
    file = awaiting()
    head: dict[str, Any] = {"subject": "head-1", "role": "division_head", "proof": "token"}
    assert "ApprovalLapsed" in file.tell(4, 4, reports_to="HEAD-1")
    assert file.refusal("DecideApproval", 5, actor=Actor(**head), **file.choice())
    assert file.state.approvals[-1].barred == ("E-7", "HEAD-1")


def test_a_finding_that_the_proposal_does_not_rest_on_changes_nothing() -> None:
    file = awaiting()
    file.tell(4, 4)
    file.overturn(4, 5)
    assert [a.state for a in file.state.approvals] == ["requested"]


def test_a_decision_in_time_that_is_told_late_undoes_the_breach() -> None:
    file = awaiting()
    file.wait(8.5)
    caused = file.do("DecideApproval", 7.9, late=9, actor=HEAD, **file.choice())
    assert caused[-2:] == [
        "BreachWithdrawn approve-reassignment",
        "CommitmentKept approve-reassignment",
    ]
