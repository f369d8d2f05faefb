"""Readers' assessments: every command at every stage, bands, two-step exclusion, settlement."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycles.assessment import ALLOWED, DECIDERS, amount, possible
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import lifecycle_of
from schemas.assessment import AssessmentState, OpenAssessment, Stage, assessment_id
from schemas.base import SYSTEM
from schemas.policy import Band, Policy
from tests.lifecycles.assessment_cases import (
    ADMIN,
    ASSESSMENT,
    CLERK,
    COUNTED,
    ENDED,
    HEAD,
    OTHER_READER,
    OTHER_STATION,
    READER,
    SAMPLES,
    SECOND_HEAD,
    STATION,
    WHY,
    File,
    accounts,
    asked,
    closed,
    command,
    confirmed,
    days,
    excluded,
    opened,
    opening,
    with_silence,
)
from tests.lifecycles.repair_cases import GAS, WATER

# Every command at every stage


def bodies(state: AssessmentState) -> Mapping[str, Mapping[str, Any]]:
    """A well-formed command of every type."""
    last = state.approvals[-1] if state.approvals else None
    about = {"approval": last.id if last else "confirmation-1"}
    return {
        "OpenAssessment": opening(2, reader="E-9"),
        "RequestExclusion": {**WHY, "accounts": accounts(3)},
        "TakeCase": {},
        "HandOverCase": {"to": {"kind": "role", "id": "admin"}, "reason": "hard"},
        "DecideApproval": {
            **about,
            "decision": "approve",
            "facts_hash": last.facts_hash if last else "0" * 64,
        },
        "DelegateApproval": {**about, "to": "E-99", "until": days(99), "reason": "ill"},
        "WithdrawApproval": {**about, "reason": "mistake"},
        "DeadlinePassed": {"at": days(10)},
    }


ACTORS = {
    "OpenAssessment": SYSTEM,
    "DeadlinePassed": SYSTEM,
    "DecideApproval": HEAD,
    "DelegateApproval": HEAD,
}


def test_every_command_has_a_decider_and_its_stages() -> None:
    types = {kind.model_fields["type"].default for kind in DECIDERS}
    assert types == set(ALLOWED) == set(bodies(File().state))


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("name", list(ALLOWED))
def test_every_command_is_allowed_at_its_stages_and_refused_at_all_others(
    stage: Stage, name: str
) -> None:
    file = SAMPLES[stage]()
    assert file.state.stage == stage
    actor = ACTORS.get(name, CLERK)
    if stage == Stage.AWAITING_CONFIRMATION and name in ("DecideApproval", "DelegateApproval"):
        actor = STATION
    sent = command(name, actor=actor, **bodies(file.state)[name])
    if stage in ALLOWED[name]:
        assert ASSESSMENT.decide(file.state, sent, days(10)) or name == "DeadlinePassed"
        return
    if name == "DeadlinePassed" and stage == Stage.CLOSED:
        assert ASSESSMENT.decide(file.state, sent, days(10)) == []
        return
    with pytest.raises(Rejected) as refused:
        ASSESSMENT.decide(file.state, sent, days(10))
    reasons = " ".join(refused.value.reasons)
    if stage == Stage.UNOPENED:
        assert "the half-yearly run opens it" in reasons
    elif name == "OpenAssessment":
        assert "what it was opened on stands" in reasons
    elif name in ("DelegateApproval", "DecideApproval", "WithdrawApproval"):
        assert "no such approval" in reasons
    else:
        assert f"not possible at stage {stage}" in reasons


@pytest.mark.parametrize("stage", list(Stage))
def test_what_is_called_possible_is_what_the_stage_allows(stage: Stage) -> None:
    names = possible(SAMPLES[stage]().state)
    assert set(names) == {n for n in ALLOWED if stage in ALLOWED[n]} - {"DeadlinePassed"}


# Opening


def test_an_assessment_is_one_per_reader_and_half_year_whatever_the_capitals() -> None:
    one = assessment_id("town", "E-7", "2026-H1")
    assert one == assessment_id("town", "e-7", "2026-H1")
    others = {
        assessment_id("town", "E-8", "2026-H1"),
        assessment_id("town", "E-7", "2026-H2"),
        assessment_id("city", "E-7", "2026-H1"),
    }
    assert one not in others
    assert len(others) == 3
    assert lifecycle_of(one).kind == "assessment"


def test_opening_tells_the_reader_how_many_accounts_and_until_when_to_object() -> None:
    file = opened()
    assert file.happened() == ["AssessmentOpened"]
    assert (file.state.stage, file.state.objections_until) == (Stage.OPEN, days(10))
    (event,) = file.events
    assert event.model_dump()["half_year_ended"] == ENDED
    (told,) = [m for m in file.messages if m.recipient == "E-7"]
    assert told.template == "assessment_opened"
    assert told.params["accounts"] == 3
    assert told.params["object_before"] == days(10).isoformat()


def test_opened_again_on_the_same_it_is_the_same_and_on_other_accounts_it_stands() -> None:
    file = opened()
    assert file.do("OpenAssessment", 1, actor=SYSTEM, **opening()) == []
    assert file.do("OpenAssessment", 1, actor=SYSTEM, **opening(accounts=accounts(3, 2, 1))) == []
    reasons = file.refusal("OpenAssessment", 1, actor=SYSTEM, **opening(4))
    assert any("what it was opened on stands" in reason for reason in reasons)


def test_a_half_year_that_is_not_over_is_not_assessed() -> None:
    reasons = File().refusal(
        "OpenAssessment", 0, actor=SYSTEM, **opening(half_year="2026-H2", known_until=days(1))
    )
    assert reasons == [
        "The half-year 2026-H2 is not over yet.",
        "`known_until` must lie between the half-year's end and now.",
    ]


@pytest.mark.parametrize("known", [ENDED.replace(minute=0, hour=15), days(0.1)])
def test_what_was_known_lies_between_the_end_of_the_half_year_and_now(known: Any) -> None:
    (reason,) = File().refusal("OpenAssessment", 0, actor=SYSTEM, **opening(known_until=known))
    assert "known_until" in reason


def test_nobody_but_the_run_opens_an_assessment() -> None:
    sent = command("OpenAssessment", actor=CLERK, **opening(known_until=COUNTED.isoformat()))
    with pytest.raises(Rejected) as refused:
        ASSESSMENT.asked(sent.model_dump(mode="json"))
    assert "do not send it" in refused.value.reasons[0]
    assert OpenAssessment.model_validate({"type": "OpenAssessment", **opening()})


def test_a_policy_without_the_section_assesses_nobody() -> None:
    with pytest.raises(Rejected) as refused:
        ASSESSMENT.initial("assessment-1", "town", *GAS)
    assert "[assessment]" in refused.value.reasons[0]


# Bands (WAT-P1)


@pytest.mark.parametrize(
    ("number", "fen"), [(0, 0), (1, 200), (19, 3800), (20, 4000), (21, 4500), (120, 54_000)]
)
def test_the_first_twenty_accounts_cost_two_yuan_each_and_every_further_one_five(
    number: int, fen: int
) -> None:
    rules = WATER.policy.assessment
    assert rules is not None
    assert amount(rules.bands, number) == fen
    if number:
        file = opened(number)
        file.wait(10)
        assert file.state.settled is not None
        assert (file.state.settled.amount, file.state.settled.currency) == (fen, "CNY")


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 999)), max_size=5), st.integers(0, 99))
def test_an_account_more_costs_what_its_own_band_says(
    steps: list[tuple[int, int]], number: int
) -> None:
    bands: list[Band] = []
    for width, each in steps:
        reached = bands[-1].up_to or 0 if bands else 0
        bands.append(Band(up_to=reached + width, each=each))
    bands.append(Band(each=7))
    of_each: list[int] = []
    for account in range(1, number + 1):
        band = next(b for b in bands if b.up_to is None or account <= b.up_to)
        of_each.append(band.each)
    assert amount(bands, number) == sum(of_each)


@pytest.mark.parametrize(
    "bands",
    [
        [{"up_to": 20, "each": 200}],
        [{"each": 200}, {"each": 500}],
        [{"up_to": 20, "each": 200}, {"up_to": 20, "each": 300}, {"each": 500}],
        [{"up_to": 20, "each": 200}, {"up_to": 5, "each": 300}, {"each": 500}],
        [],
        [{"each": -1}],
        [{"each": 2.5}],
    ],
)
def test_bands_that_leave_gaps_or_overlap_are_no_policy(bands: list[dict[str, int]]) -> None:
    content = json.loads(WATER.policy.model_dump_json())
    content["assessment"]["bands"] = bands
    with pytest.raises(ValueError, match="bands"):
        Policy.model_validate(content)


def test_a_policy_that_assesses_must_know_arrears_and_never_let_silence_excuse() -> None:
    content = json.loads(WATER.policy.model_dump_json())
    content["arrears"] = None
    with pytest.raises(ValueError, match="section on arrears"):
        Policy.model_validate(content)
    for step in ("confirmation", "exclusion"):
        content = json.loads(WATER.policy.model_dump_json())
        content["assessment"]["approvals"][step]["silence"] = "approve"
        with pytest.raises(ValueError, match="silence never grants it"):
            Policy.model_validate(content)


def test_a_policy_without_the_section_keeps_its_hash() -> None:
    assert "assessment" not in json.loads(GAS.policy.model_dump_json())


# Asking


def test_a_clerk_or_the_reader_asks_and_the_station_head_is_asked_first() -> None:
    for actor in (CLERK, READER):
        file = opened()
        assert file.ask(1, 1, 2, actor=actor) == [
            "ExclusionRequested",
            "ApprovalRequested",
            "CommitmentStarted approve-confirmation",
        ]
        (approval,) = file.state.approvals
        assert approval.roles == ("station_head",)
        assert set(approval.barred) == {"E-7", actor.subject}
        assert approval.facts["accounts"] == ("arrears-1", "arrears-2")
        assert (approval.facts["ground"], approval.facts["evidence"]) == ("vacant", "photo/1")
        assert file.told_to("station_head") == ["approval_requested"]


def test_everything_that_is_wrong_with_a_request_is_said_at_once() -> None:
    file = asked()
    body = {"accounts": accounts(1, 77), "ground": "laziness", "evidence": "photo/9"}
    reasons = file.refusal("RequestExclusion", 2, actor=OTHER_READER, **body)
    assert reasons == [
        "A reader asks in their own assessment only; leave others' to a clerk.",
        "`ground` must be one of:"
        " no_access, vacant, dispute, billing_error, meter_fault, hardship.",
        "1 of the accounts stand not in this assessment; correct `accounts`.",
        "For 1 of the accounts it was asked already; leave them out.",
    ]
    (reason, *_) = file.refusal("RequestExclusion", 2, actor=STATION, **body)
    assert reason == "It is for the role reader or clerk to ask for an exclusion."


def test_the_same_request_again_is_the_same_and_accounts_are_asked_for_once() -> None:
    file = asked()
    assert file.ask(2, 2, 1) == []
    assert file.ask(2, 3)[0] == "ExclusionRequested"
    assert file.state.stage == Stage.AWAITING_CONFIRMATION
    for decided in (excluded(), asked()):
        if decided.state.stage == Stage.AWAITING_CONFIRMATION:
            decided.decided(2, STATION, "reject")
        (reason,) = decided.refusal(
            "RequestExclusion", 4, **{**WHY, "accounts": accounts(2), "evidence": "photo/2"}
        )
        assert reason == "For 1 of the accounts it was asked already; leave them out."


def test_nothing_is_asked_for_when_the_time_to_object_is_over() -> None:
    file = asked()  # keeps it open
    (reason,) = file.refusal("RequestExclusion", 11, **{**WHY, "accounts": accounts(3)})
    assert reason == "The time to object is over."
    # Told late, it still counts if it happened in time.
    assert file.do("RequestExclusion", 9, told=12, **{**WHY, "accounts": accounts(3)})


# Two steps, two people (WAT-P2)


def test_confirmed_and_approved_by_two_people_accounts_are_not_counted() -> None:
    file = asked()
    assert file.decided(2, STATION) == [
        "ApprovalGiven",
        "ApprovalGranted",
        "CommitmentKept approve-confirmation",
        "ExclusionConfirmed",
        "ApprovalRequested",
        "CommitmentStarted approve-exclusion",
    ]
    assert file.state.stage == Stage.AWAITING_APPROVAL
    second = file.state.approvals[-1]
    assert second.roles == ("division_head",)
    assert set(second.barred) == {"E-7", "clerk-1", "station-1"}
    assert second.facts["confirmed_by"] == ("station-1",)
    assert file.decided(3, HEAD)[-1] == "AccountsExcluded"
    assert file.state.stage == Stage.OPEN
    file.wait(10)
    settled = file.state.settled
    assert settled is not None
    assert (settled.counted, settled.excluded, settled.amount) == (1, 2, 200)


def test_all_excluded_it_comes_to_nothing() -> None:
    file = opened(2)
    file.ask(1, 1, 2, actor=READER)
    file.decided(2, STATION)
    file.decided(3, HEAD)
    file.wait(10)
    assert file.state.settled is not None
    assert (file.state.settled.counted, file.state.settled.amount) == (0, 0)


def test_one_person_never_takes_both_steps() -> None:
    file = asked()
    file.wait(6)  # silence: the division head may confirm, too
    assert file.state.approvals[-1].roles == ("station_head", "division_head")
    file.decided(7, HEAD)
    assert file.state.stage == Stage.AWAITING_APPROVAL
    (reason,) = file.refusal("DecideApproval", 8, actor=HEAD, **file.choice())
    assert reason == "Who asked for it, or is part of the case, cannot decide it."
    assert file.decided(8, SECOND_HEAD)[-1] == "AccountsExcluded"


def test_who_confirmed_in_anothers_place_bars_both() -> None:
    file = asked()
    deputy = OTHER_STATION.model_copy(update={"subject": "head-1", "role": "division_head"})
    until = {"to": "head-1", "until": days(9), "reason": "ill"}
    file.do("DelegateApproval", 1.5, actor=STATION, approval="confirmation-1", **until)
    choice = file.choice(on_behalf_of="station-1")
    file.do("DecideApproval", 2, actor=deputy, **choice)
    assert {"head-1", "station-1"} <= set(file.state.approvals[-1].barred)


@pytest.mark.parametrize("role", ["station_head", "division_head"])
def test_the_reader_never_decides_whatever_role_they_have(role: str) -> None:
    me = READER.model_copy(update={"role": role, "subject": "e-7"})
    file = asked() if role == "station_head" else confirmed()
    for name, body in (
        ("DecideApproval", file.choice()),
        ("TakeCase", {}),
    ):
        reasons = file.refusal(name, 3, actor=me, **body)
        assert "Nobody acts in their own assessment, except to ask for an exclusion." in reasons
    until = {"to": "E-7", "until": days(9), "reason": "ill"}
    boss = STATION if role == "station_head" else HEAD
    asked_for = file.state.approvals[-1].id
    (reason,) = file.refusal("DelegateApproval", 3, actor=boss, approval=asked_for, **until)
    assert "is part of the case" in reason
    to = {"kind": "person", "id": "e-7"}
    (reason,) = file.refusal("HandOverCase", 3, actor=HEAD, to=to, reason="hard")
    assert "hand it to somebody else" in reason


def test_who_asked_decides_neither_step() -> None:
    file = opened()
    clerk = CLERK.model_copy(update={"subject": "head-1"})
    file.ask(1, 1, actor=clerk)
    file.decided(2, STATION)
    (reason,) = file.refusal("DecideApproval", 3, actor=HEAD, **file.choice())
    assert "Who asked for it" in reason


@pytest.mark.parametrize("step", ["confirmation", "exclusion"])
def test_a_no_at_either_step_keeps_the_accounts_counted_and_goes_above(step: str) -> None:
    file = asked() if step == "confirmation" else confirmed()
    actor = STATION if step == "confirmation" else HEAD
    assert file.decided(3, actor, "reject")[-1] == "ExclusionRefused"
    (refused,) = file.state.exclusions
    assert (refused.state, refused.reason) == ("refused", "unfounded")
    (told,) = [m for m in file.messages if m.template == "exclusion_refused" and m.to == "staff"]
    assert (told.recipient, told.params["reason"]) == ("E-7", "unfounded")
    assert "exclusion_refused" in file.told_to("division_head")
    file.wait(10)
    assert file.state.settled is not None
    assert (file.state.settled.counted, file.state.settled.excluded) == (3, 0)


def test_an_approval_is_for_the_facts_that_were_looked_at() -> None:
    file = asked()
    (reason,) = file.refusal("DecideApproval", 2, actor=STATION, **file.choice(facts_hash="0" * 64))
    assert "It rests on other facts by now" in reason
    # What was confirmed is what is approved: a hash of the first step is none of the second.
    first = file.choice()["facts_hash"]
    file.decided(2, STATION)
    assert file.refusal("DecideApproval", 3, actor=HEAD, **file.choice(facts_hash=first))


# Silence (ADM-7)


def test_silence_goes_up_and_excuses_nobody() -> None:
    file = asked()
    file.wait(100)
    assert file.state.approvals[0].roles == ("station_head", "division_head")
    assert file.state.stage == Stage.AWAITING_CONFIRMATION
    file.decided(101, STATION)
    file.wait(200)
    assert file.state.approvals[1].roles == ("division_head", "admin")
    assert file.state.settled is None
    assert file.decided(201, ADMIN)[-2:] == ["AccountsExcluded", "AssessmentSettled"]
    assert file.state.settled is not None


@pytest.mark.parametrize("step", ["confirmation", "exclusion"])
def test_where_silence_means_no_the_accounts_stay_counted(step: str) -> None:
    policy = with_silence("reject", "reject")
    file = asked(policy) if step == "confirmation" else confirmed(policy)
    told = file.wait(100)
    assert "ExclusionRefused" in told
    assert file.state.exclusions[0].reason == "no_answer_in_time"
    assert file.state.settled is not None
    assert file.state.settled.counted == 3
    assert file.state.closed_at == days(10)


# Withdrawing


@pytest.mark.parametrize("step", ["confirmation", "exclusion"])
def test_whoever_asked_withdraws_at_either_step_and_may_ask_again(step: str) -> None:
    file = asked() if step == "confirmation" else confirmed()
    (reason,) = file.refusal(
        "WithdrawApproval", 3, actor=READER, approval=f"{step}-1", reason="mistake"
    )
    assert reason == "Only who asked for the exclusion can withdraw it."
    caused = file.do("WithdrawApproval", 3, approval=f"{step}-1", reason="mistake")
    assert caused == [
        "ApprovalWithdrawn",
        f"CommitmentCancelled approve-{step}",
        "ExclusionWithdrawn",
    ]
    assert file.do("WithdrawApproval", 3, approval=f"{step}-1", reason="mistake") == []
    assert file.state.stage == Stage.OPEN
    assert file.ask(4, 1, 2)[0] == "ExclusionRequested"


def test_what_is_decided_is_not_withdrawn() -> None:
    file = confirmed()
    (reason,) = file.refusal("WithdrawApproval", 3, approval="confirmation-1", reason="mistake")
    assert reason == "It is approved already."


# Settlement


def test_it_is_settled_when_the_time_to_object_is_over_and_payroll_is_told() -> None:
    file = opened(21)
    assert file.wait(9.99) == []
    assert file.wait(10) == ["AssessmentSettled"]
    assert (file.state.stage, file.state.closed_at) == (Stage.CLOSED, days(10))
    assert ASSESSMENT.next_deadline(file.state) is None
    (to_reader,) = [m for m in file.messages if m.template == "assessment_settled"][:1]
    (payroll,) = [m for m in file.messages if m.recipient == "water-payroll"]
    assert to_reader.recipient == "E-7"
    assert (payroll.to, payroll.params["reader"]) == ("unit", "E-7")
    assert (payroll.params["counted"], payroll.params["amount"]) == (21, 4500)
    assert ASSESSMENT.summary(file.state).final


def test_it_waits_for_what_is_being_decided_and_is_settled_with_the_decision() -> None:
    file = opened()
    file.ask(10, 1)  # at the very last moment
    assert "AssessmentSettled" not in file.wait(11)
    file.decided(12, STATION)
    assert file.decided(13, HEAD, "reject")[-2:] == ["ExclusionRefused", "AssessmentSettled"]
    assert file.state.closed_at == days(13)


def test_a_withdrawal_after_the_time_to_object_settles_it() -> None:
    file = asked()
    file.wait(12)
    caused = file.do("WithdrawApproval", 12, approval="confirmation-1", reason="mistake")
    assert caused[-1] == "AssessmentSettled"


def test_after_the_settlement_nothing_changes() -> None:
    file = closed()
    for name, body in bodies(file.state).items():
        if name not in ("DeadlinePassed",):
            actor = ACTORS.get(name, CLERK)
            try:
                assert file.do(name, 11, actor=actor, **body) == []
            except Rejected:
                continue
    assert file.happened() == ["AssessmentOpened", "AssessmentSettled"]


def test_the_list_shows_what_it_comes_to_as_it_stands() -> None:
    for file, line in (
        (opened(21), (21, 0, 21, 4500)),
        (confirmed(), (3, 0, 3, 600)),
        (excluded(), (3, 2, 1, 200)),
        (closed(), (3, 0, 3, 600)),
    ):
        shown = ASSESSMENT.summary(file.state).assessment
        assert shown is not None
        assert (shown.reader, shown.half_year, shown.currency) == ("E-7", "2026-H1", "CNY")
        assert (shown.accounts, shown.excluded, shown.counted, shown.amount) == line
    assert ASSESSMENT.summary(File().state).assessment is None


# Properties


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "yes", "no", "withdraw", "wait"]),
            st.integers(1, 6),
            st.sampled_from([STATION, HEAD, SECOND_HEAD, ADMIN, READER, CLERK]),
        ),
        max_size=25,
    )
)
def test_only_what_two_others_agreed_to_is_not_counted(steps: list[tuple[str, int, Any]]) -> None:
    file = opened(6)
    at = 0.0
    for what, number, actor in steps:
        at += 0.5
        try:
            if what == "ask":
                file.ask(at, number, actor=actor)
            elif what == "wait":
                file.wait(at + number)
                at += number
            elif what == "withdraw":
                asked_for = file.state.approvals[-1:]
                for approval in asked_for:
                    body: dict[str, Any] = {"approval": approval.id, "reason": "mistake"}
                    file.do("WithdrawApproval", at, actor=actor, **body)
            elif any(a.state == "requested" for a in file.state.approvals):
                file.decided(at, actor, "approve" if what == "yes" else "reject")
        except Rejected:
            continue
    file.wait(at + 11)
    s = file.state
    out = [x for x in s.exclusions if x.state == "excluded"]
    for x in out:
        given_by = [
            g.subject.casefold() for a in s.approvals if a.id in x.approvals for g in a.given
        ]
        assert len(set(given_by)) == 2
        assert not {x.asked_by.casefold(), "e-7"} & set(given_by)
    gone = [account for x in out for account in x.accounts]
    assert len(gone) == len(set(gone))
    pending = any(x.pending for x in s.exclusions)
    assert (s.settled is None) == pending
    if s.settled:
        rules = WATER.policy.assessment
        assert rules is not None
        assert s.settled.counted == 6 - len(gone)
        assert s.settled.amount == amount(rules.bands, 6 - len(gone))
        assert file.happened()[-1] == "AssessmentSettled"
