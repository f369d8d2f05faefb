"""Staff files: every command at every stage, and what a finding leads to."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from lifecycles.conduct import DECIDERS, possible
from lifecycles.conduct_stages import ALLOWED
from lifecycles.decisions import Rejected
from schemas.base import SYSTEM, Actor
from schemas.conduct import ConductState, Stage
from schemas.policy import Policy
from tests.lifecycles.conduct_cases import (
    ADMIN,
    BOSS,
    CONDUCT,
    HEAD,
    OFFICER,
    PERSON,
    SAMPLES,
    File,
    again,
    awaiting,
    command,
    days,
    finding,
    investigated,
    marked,
    proposed,
    reassigned,
    rested,
    told,
)
from tests.lifecycles.repair_cases import ESTATE, GAS, WATER, said

CLERK = Actor(subject="clerk-1", role="clerk", proof="token")
ENTERED = "FindingRecorded MarkEntered MeasureDue CommitmentStarted:measure"

# Every command at every stage


def bodies(state: ConductState) -> Mapping[str, Mapping[str, Any]]:
    """A well-formed command of every type."""
    hashed = state.approvals[-1].facts_hash if state.approvals else "0" * 64
    asked = {"approval": "reassignment-1"}
    return {
        "RecordFinding": told(9, day(state.stage)),
        "RecordMeasure": {"finding": finding(1), "evidence": "minutes/2"},
        "ConcludeInvestigation": {
            "finding": finding(1),
            "penalty": "suspension",
            "evidence": "minutes/3",
        },
        "RecordReply": {"evidence": "letter/9"},
        "RecordRedress": {"finding": finding(1), "evidence": "minutes/4"},
        "TakeCase": {},
        "HandOverCase": {"to": {"kind": "role", "id": "admin"}, "reason": "hard"},
        "DecideApproval": {**asked, "decision": "approve", "facts_hash": hashed},
        "DelegateApproval": {**asked, "to": "head-2", "until": days(9), "reason": "leave"},
        "WithdrawApproval": {**asked, "reason": "mistake"},
        "DeadlinePassed": {"at": days(5)},
        "RecordAnswer": {"request": "conduct-e-7/asks/1", "accepted": True},
    }


NOTHING = "No measure is due for this finding."
NO_JUDGE = "No investigation is open for this finding."
NO_REDRESS = "Nothing is to be made good for this finding."
NO_REPLY = "No reassignment is proposed to which there could be a reply."
NO_APPROVAL = "There is no such approval in this case."
LATE = "It is approved already."
RULE = "Only who asked for it can withdraw it."
LIVE = "Marked UnderInvestigation ReassignmentProposed AwaitingApproval Reassigned"
MEASURED = "MeasureTaken CommitmentKept:measure"
RUNG = "EscalationRaised:measure"
EARLY = "Marked UnderInvestigation ReassignmentProposed"

CAUSES: Mapping[str, Mapping[str, str]] = {
    "RecordFinding": {
        "Unopened": f"StaffFileOpened {ENTERED}",
        "AtRest Reassigned": ENTERED,
        "Marked UnderInvestigation ReassignmentProposed AwaitingApproval": ENTERED,
    },
    "RecordMeasure": {
        "AtRest": "",
        "Marked ReassignmentProposed AwaitingApproval Reassigned": MEASURED,
        "UnderInvestigation": NOTHING,
    },
    "ConcludeInvestigation": {
        "AtRest Marked ReassignmentProposed AwaitingApproval Reassigned": NO_JUDGE,
        "UnderInvestigation": "InvestigationConcluded CommitmentKept:investigate",
    },
    "RecordReply": {
        "AtRest Marked UnderInvestigation Reassigned": NO_REPLY,
        "ReassignmentProposed": "ReplyRecorded ApprovalRequested"
        " CommitmentStarted:approve-reassignment",
        "AwaitingApproval": "There is a reply already; add to its evidence instead.",
    },
    "RecordRedress": {f"AtRest {LIVE}": NO_REDRESS},
    "TakeCase": {LIVE: "OwnerChanged"},
    "HandOverCase": {LIVE: "OwnerChanged"},
    "DecideApproval": {
        f"AtRest {EARLY}": NO_APPROVAL,
        "AwaitingApproval": "ApprovalGiven ApprovalGranted Reassigned"
        " CommitmentKept:approve-reassignment",
        "Reassigned": "",
    },
    "DelegateApproval": {
        f"AtRest {EARLY}": NO_APPROVAL,
        "AwaitingApproval": "ApprovalDelegated",
        "Reassigned": LATE,
    },
    "WithdrawApproval": {
        f"AtRest {EARLY}": NO_APPROVAL,
        "AwaitingApproval": RULE,
        "Reassigned": f"{LATE} {RULE}",
    },
    "DeadlinePassed": {  # the unit has the file: rungs come in half the time
        "AtRest": "",
        "Marked Reassigned": RUNG,
        "UnderInvestigation": "EscalationRaised:investigate EscalationRaised:investigate",
        "ReassignmentProposed": f"{RUNG} {RUNG}",
        "AwaitingApproval": f"{RUNG} EscalationRaised:approve-reassignment {RUNG}",
    },
    "RecordAnswer": {f"AtRest {LIVE}": ""},
}
UNOPENED = "There is no such staff file yet; a complaint's first finding opens it."


def caused(name: str, stage: Stage) -> str:
    """What is to be expected; to other reasons the file's stage adds its own refusal."""
    words = next((w for stages, w in CAUSES[name].items() if stage in stages.split()), None)
    if stage == Stage.UNOPENED:
        return words or UNOPENED
    if stage in ALLOWED[name] or words == "":
        assert words is not None, f"the table leaves out {name} at {stage}"
        return words
    now = ", ".join(possible(SAMPLES[stage]().state)) or "nothing"
    not_now = f"{name} is not possible at stage {stage}; possible now: {now}."
    return f"{not_now} {words}" if words else not_now


def day(stage: Stage) -> int:
    """When commands are sent to the samples."""
    return 366 if stage == Stage.AT_REST else 5


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("name", CAUSES)
def test_every_command_at_every_stage(name: str, stage: Stage) -> None:
    state, now = SAMPLES[stage]().state, days(day(stage))
    ours = name in ("RecordFinding", "DeadlinePassed", "RecordAnswer")
    sent = command(name, day(stage), actor=SYSTEM if ours else HEAD, **bodies(state)[name])
    try:
        events = CONDUCT.decide(state, sent, now)
        happened = " ".join(word.replace(" ", ":") for word in said(events))
    except Rejected as refused:
        happened = " ".join(refused.reasons)
    assert re.sub(r"measure-\d", "measure", happened) == caused(name, stage)


def test_the_table_has_every_command_and_every_stage_is_reached() -> None:
    assert set(CAUSES) == {c.__name__ for c in DECIDERS} == set(ALLOWED)
    for stage, sample in SAMPLES.items():
        assert sample().state.stage == stage
    assert set(SAMPLES) == set(Stage)


@pytest.mark.parametrize("stage", Stage)
def test_what_is_offered_is_not_refused_for_its_stage(stage: Stage) -> None:
    file = SAMPLES[stage]()
    for name in possible(file.state):
        assert stage in ALLOWED[name]
        assert "not possible" not in caused(name, stage)


def test_nothing_is_offered_that_nobody_waits_for() -> None:
    assert "RecordMeasure" not in possible(investigated().state)
    assert "ConcludeInvestigation" not in possible(marked().state)
    assert "RecordReply" not in possible(awaiting().state)
    assert "WithdrawApproval" not in possible(awaiting().state)
    assert "DecideApproval" in possible(awaiting().state)


# Opening


def test_a_first_finding_opens_the_file_and_the_conduct_office_has_it() -> None:
    file = marked()
    assert file.happened()[0] == "StaffFileOpened"
    assert CONDUCT.summary(file.state).owner == "conduct-office"
    assert (file.state.staff, file.state.reports_to) == ("E-7", "B-1")


def test_a_policy_without_staff_files_opens_none() -> None:
    without = GAS.policy.model_copy(update={"conduct": None})
    with pytest.raises(Rejected, match="keeps no staff files"):
        CONDUCT.initial("conduct-e-7", "town", Policy.model_validate(without.model_dump()), "0")


@pytest.mark.parametrize("actor", [OFFICER, HEAD, ADMIN, CLERK], ids=lambda a: a.role)
def test_nobody_but_a_complaint_tells_of_a_finding(actor: Actor) -> None:
    (reason,) = File().refusal("RecordFinding", 0, actor=actor, **told(1, 0))
    assert reason == "A finding comes from its complaint: decide it there (WAT-3.2a)."


def test_calling_oneself_the_system_opens_no_door_of_a_staff_file() -> None:
    for who in ("E-7", "B-1", "standpipe"):
        actor = Actor(subject=who, role="system", proof="local")
        refused = marked().refusal("RecordFinding", 1, actor=actor, **told(2, 1))
        assert "A finding comes from its complaint: decide it there (WAT-3.2a)." in refused
    own = Actor(subject="e-7", role="system", proof="local")
    assert marked().refusal("TakeCase", 1, actor=own) == [
        "Nobody acts in their own file, except to reply to a proposal."
    ]


def test_a_finding_about_another_person_is_refused() -> None:
    (reason,) = marked().refusal("RecordFinding", 1, actor=SYSTEM, **told(2, 1, staff="E-8"))
    assert reason == "This is another person's file: tell it of its own findings only."


def test_a_staff_number_s_capitals_make_no_other_person_and_no_second_finding() -> None:
    file = marked()
    assert file.tell(1, 1, staff="e-7") == []
    assert file.tell(2, 1, staff="e-7") != []
    assert [k.finding for k in file.state.counts] == ["complaint-1/E-7", "complaint-2/e-7"]


def test_a_wrong_finding_is_refused_with_all_that_is_wrong() -> None:
    body = told(1, 3, finding="complaint-2/E-7", conduct_at="1969-12-31T00:00:00Z")
    assert File().refusal("RecordFinding", 1, actor=SYSTEM, **body) == [
        "`finding` must be the complaint and the staff number, with a slash between.",
        "The finding lies before 1970; correct `conduct_at`.",
        "The finding lies in the future; correct `decided_at`.",
    ]


def test_a_clock_that_is_a_little_ahead_loses_no_finding() -> None:
    assert "FindingRecorded" in File().tell(1, 1, 1.5)


# What is told twice, late, or anew


def test_told_twice_or_by_a_lower_revision_it_changes_nothing() -> None:
    file = File()
    file.tell(1, 0, revision=2)
    assert file.tell(1, 1, 0, revision=2) == []
    assert file.tell(1, 1, 0, revision=1, outcome="not_upheld") == []
    assert file.count(1).live


def test_an_overturned_finding_that_overtakes_its_first_decision_never_counts() -> None:
    file = File()
    assert file.overturn(1, 0) == ["StaffFileOpened", "FindingOverturned", "StaffFileRested"]
    assert file.tell(1, 1) == []
    assert file.state.stage == Stage.AT_REST
    assert not any(k.live for k in file.state.counts)


def test_what_a_resting_file_learns_of_an_unknown_finding_leaves_it_at_rest() -> None:
    file = rested()
    assert file.overturn(2, 366) == ["FindingOverturned"]
    assert file.state.stage == Stage.AT_REST


def test_not_upheld_and_upheld_on_appeal_it_counts() -> None:
    file = File()
    file.tell(1, 0, outcome="not_upheld")
    assert file.tell(1, 1, revision=2) == [
        "FindingRecorded",
        "MarkEntered",
        "MeasureDue",
        "CommitmentStarted measure",
    ]


def test_a_final_decision_moves_the_day_from_which_it_counts_and_leads_to_nothing_twice() -> None:
    file = marked()
    assert file.tell(1, 30, revision=2) == ["FindingRecorded"]
    assert file.count(1).counts_on.isoformat() == "2026-04-01"
    file.do("RecordMeasure", 31, finding=finding(1), evidence="minutes/1")
    assert file.wait(394.6) == []
    assert "FindingExpired" in file.wait(394.7)


def test_a_finding_that_turns_serious_is_investigated_instead() -> None:
    file = marked()
    assert file.tell(1, 1, revision=2, gravity="serious") == [
        "FindingRecorded",
        "MeasureWithdrawn",
        "CommitmentCancelled measure",
        "InvestigationOpened",
        "CommitmentStarted investigate",
    ]
    assert file.tell(1, 2, revision=3, gravity="light", cause="circumstances") == [
        "FindingRecorded",
        "MarkRemoved",
        "InvestigationDropped",
        "CommitmentCancelled investigate",
        "MeasureDue",
        "CommitmentStarted measure-2",
    ]


def test_a_penalty_for_a_breach_that_was_a_slight_one_is_made_good() -> None:
    file = investigated()
    file.do("ConcludeInvestigation", 1, finding=finding(1), penalty="suspension", evidence="m/1")
    assert "RedressDue" in file.tell(1, 2, revision=2)
    assert file.count(1).redress == ("suspension",)


def test_what_was_to_be_made_good_stands_again_where_the_finding_does() -> None:
    file = marked()
    file.do("RecordMeasure", 1, finding=finding(1), evidence="minutes/1")
    file.overturn(1, 2)
    assert file.tell(1, 3, revision=3) == [
        "FindingRecorded",
        "CommitmentCancelled redress",
        "MarkEntered",
    ]
    assert (file.count(1).redress, file.count(1).measure_taken) == ((), True)


# Which day counts


@pytest.mark.parametrize(
    ("policy", "day"), [(WATER, "2026-02-28"), (GAS, "2026-03-03"), (ESTATE, "2026-03-03")]
)
def test_it_counts_from_the_local_day_of_conduct_or_of_decision_as_the_policy_says(
    policy: Any, day: str
) -> None:
    file = File(policy)
    conduct_at, decided_at = "2026-02-28T15:59:59Z", "2026-03-02T16:00:00Z"
    file.tell(1, 1, conduct_at=conduct_at, decided_at=decided_at)
    assert file.count(1).counts_on.isoformat() == day


def test_it_counts_until_the_same_day_of_the_next_year() -> None:
    file = File()
    file.tell(1, 0, decided_at="2024-02-29T04:00:00Z")
    assert file.count(1).counts_until.isoformat() == "2025-02-28"


def test_it_expires_at_local_midnight_and_not_a_moment_before() -> None:
    file = marked()
    file.do("RecordMeasure", 1, finding=finding(1), evidence="minutes/1")
    midnight = 365 - 8 / 24  # 2027-03-02 00:00 in Shanghai
    assert file.wait(midnight - 1e-6) == []
    assert file.wait(midnight) == ["FindingExpired", "MarkRemoved", "StaffFileRested"]
    assert file.state.closed_at == days(midnight)


def test_told_after_a_year_it_is_recorded_without_a_mark_and_expires_at_once() -> None:
    file = File(WATER)
    assert file.tell(1, 0, -400) == [
        "StaffFileOpened",
        "FindingRecorded",
        "MeasureDue",
        "CommitmentStarted measure",
    ]
    assert file.happened()[-1] == "FindingExpired"
    assert not file.count(1).live


# Marks, measures, investigations


@pytest.mark.parametrize("outcome", ["upheld", "partly_upheld"])
@pytest.mark.parametrize(
    ("cause", "mark"), [("carelessness", True), ("breach_of_rules", True), ("circumstances", False)]
)
def test_a_mark_goes_on_the_board_for_the_policy_s_causes(
    outcome: str, cause: str, mark: bool
) -> None:
    file = File()
    file.tell(1, 0, outcome=outcome, cause=cause)
    assert file.count(1).marked == mark


def test_partly_upheld_is_recorded_without_a_strike_unless_the_policy_counts_it() -> None:
    for policy, strike in ((GAS, False), (again(GAS, counts=["upheld", "partly_upheld"]), True)):
        file = File(policy)
        file.tell(1, 0, outcome="partly_upheld")
        assert file.count(1).strike == strike
        assert file.count(1).live


def test_the_ladder_climbs_with_each_light_breach_and_stays_on_its_last_step() -> None:
    file = File()
    for number in (1, 2, 3, 4):
        file.tell(number, number, outcome="partly_upheld")
    given = [k.measure for k in file.state.counts]
    assert given == ["oral_warning", "written_warning", "lower_grade", "lower_grade"]


def test_what_has_expired_or_is_serious_is_no_step_of_the_ladder() -> None:
    file = marked()
    file.tell(2, 1, gravity="serious")
    file.tell(3, 2)
    assert file.count(3).measure == "written_warning"
    file.tell(4, 500)
    assert file.count(4).measure == "oral_warning"


def test_each_measure_has_its_own_promise() -> None:
    file = marked()
    file.tell(2, 1)
    assert file.do("RecordMeasure", 2, finding=finding(2), evidence="m/1") == [
        "MeasureTaken",
        "CommitmentKept measure-2",
    ]
    assert "CommitmentBroken measure" in file.wait(7)
    assert file.do("RecordMeasure", 8, finding=finding(1), evidence="m/2") == [
        "MeasureTaken",
        "CommitmentMetLate measure",
    ]
    assert file.do("RecordMeasure", 9, finding=finding(1), evidence="m/2") == []


def test_a_serious_breach_is_investigated_at_once_and_has_no_measure() -> None:
    file = investigated()
    assert file.at("InvestigationOpened") == [0]
    assert file.count(1).measure is None


def test_an_investigation_ends_in_one_of_the_policy_s_penalties_or_in_a_reason() -> None:
    file = investigated()
    ended: dict[str, Any] = {"finding": finding(1), "evidence": "minutes/1"}
    (unknown,) = file.refusal("ConcludeInvestigation", 1, penalty="flogging", **ended)
    assert "it knows: suspension, dismissal" in unknown
    assert "flogging" not in unknown
    assert file.refusal("ConcludeInvestigation", 1, **ended) == [
        "A serious breach without a penalty needs a reason (ADM-5)."
    ]
    assert file.do("ConcludeInvestigation", 1, reason="no_proof", **ended) == [
        "InvestigationConcluded",
        "CommitmentKept investigate",
    ]
    assert "no_penalty" in file.told_to("division_head")
    assert file.state.stage == Stage.MARKED


@pytest.mark.parametrize("role", ["clerk", "crew", "reader", "auditor", "service"])
def test_only_who_may_judge_takes_measures_and_judges(role: Any) -> None:
    actor = Actor(subject="somebody", role=role, proof="token")
    file = investigated()
    file.tell(2, 1)
    measure: dict[str, Any] = {"finding": finding(2), "evidence": "m/1"}
    breach = {**measure, "finding": finding(1), "penalty": "suspension"}
    wanted = "It is for one of these roles: conduct_officer, division_head, supervisor, admin."
    assert file.refusal("RecordMeasure", 2, actor=actor, **measure) == [wanted]
    assert file.refusal("ConcludeInvestigation", 2, actor=actor, **breach) == [wanted]


def test_nothing_is_done_before_it_fell_due() -> None:
    file = marked()
    file.tell(2, 2)
    (reason,) = file.refusal("RecordMeasure", 1, late=3, finding=finding(2), evidence="m/1")
    assert reason.startswith("This cannot have happened before the measure fell due")


# Nobody acts in their own file


def everybody_s(state: ConductState) -> list[str]:
    mine = {"RecordFinding", "DeadlinePassed", "RecordAnswer"}
    return [name for name in bodies(state) if name not in mine]


@pytest.mark.parametrize("stage", [s for s in Stage if s != Stage.UNOPENED])
@pytest.mark.parametrize("subject", ["E-7", "e-7"])
def test_the_person_can_do_nothing_in_their_file_but_reply(stage: Stage, subject: str) -> None:
    state, at = SAMPLES[stage]().state, day(stage)
    for name in everybody_s(state):
        actor = Actor(subject=subject, role="division_head", proof="token")
        if name == "RecordReply":
            continue
        with pytest.raises(Rejected) as refused:
            CONDUCT.decide(state, command(name, at, actor=actor, **bodies(state)[name]), days(at))
        wanted = "Nobody acts in their own file, except to reply to a proposal."
        assert wanted in refused.value.reasons


@pytest.mark.parametrize("stage", [s for s in Stage if s != Stage.UNOPENED])
def test_whom_they_report_to_can_do_nothing_where_the_policy_bars_them(stage: Stage) -> None:
    state, at = SAMPLES[stage]().state, day(stage)
    for name in everybody_s(state):
        with pytest.raises(Rejected) as refused:
            CONDUCT.decide(state, command(name, at, actor=BOSS, **bodies(state)[name]), days(at))
        assert "Whom the person reports to has no part in the file." in refused.value.reasons


def test_whom_they_report_to_may_act_where_the_policy_does_not_bar_them() -> None:
    file = marked(again(GAS, approval={"exclude": []}))
    taken = file.do("RecordMeasure", 1, actor=BOSS, finding=finding(1), evidence="minutes/1")
    assert "MeasureTaken" in taken


@pytest.mark.parametrize("to", ["E-7", "b-1"])
def test_the_file_is_handed_to_nobody_whom_it_bars(to: str) -> None:
    for kind in ("person", "unit", "role"):
        barred = {"kind": kind, "id": to}
        (reason,) = marked().refusal("HandOverCase", 1, to=barred, reason="r")
        assert reason == "This person can't have the file: hand it to somebody else."


def test_an_owner_to_whom_the_person_turns_out_to_report_loses_the_file() -> None:
    file = marked()
    file.do("TakeCase", 1)
    assert "OwnerChanged" in file.tell(2, 2, reports_to="OFFICER-1")
    assert CONDUCT.summary(file.state).owner == "conduct-office"


# Overturned


def test_overturned_before_anything_was_done_it_leaves_nothing_behind() -> None:
    file = marked()
    assert file.overturn(1, 1) == [
        "FindingOverturned",
        "MarkRemoved",
        "MeasureWithdrawn",
        "CommitmentCancelled measure",
        "StaffFileRested",
    ]
    assert investigated().overturn(1, 1) == [
        "FindingOverturned",
        "MarkRemoved",
        "InvestigationDropped",
        "CommitmentCancelled investigate",
        "StaffFileRested",
    ]


def test_a_measure_that_was_taken_must_be_made_good() -> None:
    file = marked()
    file.do("RecordMeasure", 1, finding=finding(1), evidence="minutes/1")
    assert file.overturn(1, 2) == [
        "FindingOverturned",
        "MarkRemoved",
        "RedressDue",
        "CommitmentStarted redress",
    ]
    assert file.count(1).redress == ("oral_warning",)
    assert file.do("RecordRedress", 3, finding=finding(1), evidence="minutes/2") == [
        "RedressMade",
        "CommitmentKept redress",
        "StaffFileRested",
    ]


def test_overturned_after_the_file_came_to_rest_it_wakes_to_make_good() -> None:
    file = rested()
    assert "RedressDue" in file.overturn(1, 400)
    assert file.state.stage == Stage.MARKED
    assert "CommitmentBroken redress" in file.wait(407)


def test_a_penalty_must_be_made_good() -> None:
    file = investigated()
    file.do("ConcludeInvestigation", 1, finding=finding(1), penalty="dismissal", evidence="m/1")
    file.overturn(1, 2)
    assert file.count(1).redress == ("dismissal",)


def test_a_reassignment_must_be_made_good_and_the_others_count_again() -> None:
    file = reassigned()
    assert "RedressDue" in file.overturn(2, 5)
    assert file.count(2).redress == ("reassignment",)
    assert file.state.proposals[0].state == "withdrawn"
    assert "ReassignmentProposed" in file.tell(4, 6)
    assert file.state.proposals[1].findings == (finding(1), finding(3), finding(4))


def test_a_reassignment_is_made_good_once() -> None:
    file = reassigned()
    file.overturn(2, 5)
    file.overturn(1, 6)
    assert file.count(1).redress == ()
    assert file.happened().count("RedressDue") == 1


def test_what_is_to_be_made_good_already_keeps_its_clock_when_more_is_added() -> None:
    file = investigated()
    file.do("ConcludeInvestigation", 1, finding=finding(1), penalty="suspension", evidence="m/1")
    file.tell(1, 2, revision=2)  # it was a slight one: a measure, and the penalty made good
    file.do("RecordMeasure", 3, finding=finding(1), evidence="m/2")
    assert file.overturn(1, 4, revision=3) == ["FindingOverturned", "MarkRemoved", "RedressDue"]
    assert file.count(1).redress == ("suspension", "oral_warning")
    (owed,) = (c for c in file.state.commitments if c.name == "redress")
    assert owed.start == days(2)


# Rest


def test_a_file_does_not_rest_while_something_is_to_be_done() -> None:
    file = marked()
    file.wait(700)
    assert file.state.stage == Stage.MARKED
    assert "StaffFileRested" in file.do(
        "RecordMeasure", 701, finding=finding(1), evidence="minutes/1"
    )


def test_the_next_finding_takes_a_file_up_again() -> None:
    file = rested()
    assert CONDUCT.summary(file.state).final
    assert CONDUCT.next_deadline(file.state) is None
    assert file.tell(2, 400)[0] == "FindingRecorded"
    assert (file.state.stage, file.state.closed_at) == (Stage.MARKED, None)
    assert not CONDUCT.summary(file.state).final
    assert file.happened().count("StaffFileOpened") == 1


# Who is told


def test_the_person_is_told_of_a_mark_with_its_end_and_of_a_measure() -> None:
    file = marked()
    entered, due = (m for m in file.messages if m.to == "staff")
    assert (entered.template, entered.params["until"]) == ("mark_entered", "2027-03-02")
    assert (due.template, due.params["measure"]) == ("measure_due", "oral_warning")
    assert "measure_due" in file.told_to("conduct-office")


def test_the_person_is_told_of_the_proposal_and_by_when_to_reply() -> None:
    file = proposed()
    (word,) = (m for m in file.messages if (m.to, m.template) == ("staff", "reassignment_proposed"))
    assert (word.recipient, word.params["reply_until"]) == ("E-7", "2026-03-11T00:00:00+00:00")


def test_every_no_goes_to_the_next_level() -> None:
    file = awaiting()
    file.do("DecideApproval", 4, actor=HEAD, **file.choice("reject"))
    assert "reassignment_rejected" in file.told_to("division_head")
    assert "reassignment_rejected" in file.told_to("E-7")


def test_the_roles_are_told_of_the_approval_with_its_due_time_and_of_its_end() -> None:
    file = awaiting()
    (word,) = (m for m in file.messages if m.template == "approval_requested")
    assert (word.recipient, word.params["due"]) == ("division_head", "2026-03-10T00:00:00+00:00")
    file.overturn(1, 4)
    assert "approval_withdrawn" in file.told_to("division_head")


def test_no_message_and_no_story_holds_more_than_ids() -> None:
    file = reassigned()
    file.overturn(1, 5)
    assert {m.params["case"] for m in file.messages} == {"conduct-e-7"}
    assert CONDUCT.story(file.state).startswith("**Marked** 2 strikes, 2 marks")


def test_the_person_s_reply_is_theirs_to_make() -> None:
    assert "ReplyRecorded" in proposed().do("RecordReply", 3, actor=PERSON, evidence="letter/1")
