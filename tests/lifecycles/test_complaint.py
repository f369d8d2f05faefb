"""Every complaint command in every stage: what it causes, and why it is refused."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from lifecycles.complaint import DECIDERS, initial, possible
from lifecycles.complaint_stages import ALLOWED
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import LIFECYCLES
from schemas.base import SYSTEM, Actor
from schemas.complaint import ComplaintState, Stage
from tests.lifecycles import repair_cases
from tests.lifecycles.complaint_cases import (
    ACCUSED,
    ANONYMOUS,
    COMMANDS,
    COMPLAINT,
    EXTENSION,
    FINDING,
    HEAD,
    JUDGE,
    NOT_UPHELD,
    OVERTURN,
    REGISTER,
    RULES,
    SAMPLES,
    SCREEN,
    SERVICE,
    SUPERIOR,
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
    command,
    confirmed,
    declined,
    found,
    handed_over,
    investigating,
    redo,
    registered,
    returned,
    screened,
)
from tests.lifecycles.conduct_cases import told
from tests.lifecycles.repair_cases import GAS, hours

ACTIVE = (
    "Registered Screened HandedOver Returned Arbitrated Acknowledged "
    "Investigating AwaitingCustomer Redo"
)
LIVE = f"{ACTIVE} Answered FollowUp Appealed OutOfJurisdiction"
ENDED = "Closed Referred Withdrawn MergedAsRepeat External"

CAUSES: Mapping[str, Mapping[str, str]] = {
    "RegisterComplaint": {
        "Unregistered": ("ComplaintRegistered CommitmentStarted:pass_on CommitmentStarted:answer"),
    },
    "ScreenComplaint": {
        "Registered Screened": "ComplaintScreened",
    },
    "DeclareOutOfJurisdiction": {
        "Registered Screened": (
            "DeclaredOutOfJurisdiction CommitmentCancelled:pass_on "
            "CommitmentCancelled:answer CommitmentStarted:refer"
        ),
        "HandedOver": (
            "DeclaredOutOfJurisdiction CommitmentCancelled:answer "
            "CommitmentCancelled:acknowledge CommitmentStarted:refer"
        ),
        "Returned Acknowledged": (
            "DeclaredOutOfJurisdiction CommitmentCancelled:answer CommitmentStarted:refer"
        ),
        "Arbitrated": (
            "DeclaredOutOfJurisdiction CommitmentCancelled:answer "
            "CommitmentCancelled:acknowledge-3 CommitmentStarted:refer"
        ),
        "Investigating": "Findings were decided in it: answer it instead.",
    },
    "ReferComplaint": {
        "OutOfJurisdiction": "ComplaintReferred CommitmentKept:refer",
    },
    "HandOverComplaint": {
        "Screened": ("ComplaintHandedOver CommitmentMetLate:pass_on CommitmentStarted:acknowledge"),
        "Returned": "ComplaintHandedOver CommitmentStarted:acknowledge-2",
    },
    "AcknowledgeComplaint": {
        "HandedOver": "ComplaintAcknowledged CommitmentMetLate:acknowledge",
        "Arbitrated": "ComplaintAcknowledged CommitmentMetLate:acknowledge-3",
    },
    "ReturnComplaint": {
        "HandedOver": "ComplaintReturned CommitmentCancelled:acknowledge",
        "Acknowledged": "ComplaintReturned",
    },
    "ArbitrateReturn": {
        "Returned": "There is nothing to arbitrate: hand it over to a department.",
    },
    "TakeCase": {
        LIVE: "OwnerChanged",
    },
    "HandOverCase": {
        LIVE: "OwnerChanged",
    },
    "EscalateComplaint": {
        ACTIVE: "ComplaintEscalated",
    },
    "StartInvestigation": {
        "Acknowledged Investigating Redo": "InvestigationStarted",
    },
    "AskCustomer": {
        "Investigating": "CustomerAsked CommitmentPaused:answer",
    },
    "RecordCustomerReply": {
        "AwaitingCustomer": "CustomerReplied CommitmentResumed:answer",
    },
    "RequestExtension": {
        "Acknowledged Investigating AwaitingCustomer": (
            "ExtensionRequested ApprovalRequested CommitmentStarted:approve-extension"
        ),
    },
    "DecideFinding": {
        "Investigating": "FindingDecided ApologyWaived CommitmentCancelled:apologise",
    },
    "AnswerComplaint": {
        "Investigating": (
            "ComplaintAnswered CommitmentKept:answer FollowUpDue CommitmentStarted:follow_up"
        ),
    },
    "RecordFollowUp": {
        "FollowUp": "FollowUpRecorded CommitmentKept:follow_up",
    },
    "OrderRedo": {
        "Answered": "RedoOrdered CommitmentRestored:answer",
        "FollowUp": "RedoOrdered CommitmentCancelled:follow_up CommitmentRestored:answer",
    },
    "CloseComplaint": {
        "FollowUp": (
            "The complainant has not said that they are dissatisfied: follow it up first."
        ),
    },
    "RecordApology": {
        "Investigating FollowUp Redo Appealed": "ApologyRecorded CommitmentKept:apologise",
        "AwaitingCustomer": "This person owes no apology in this complaint.",
        "Answered": "ApologyRecorded CommitmentKept:apologise ComplaintClosed",
    },
    "WaiveApology": {
        "Investigating FollowUp Redo Appealed": "ApologyWaived CommitmentKept:apologise",
        "AwaitingCustomer": "This person owes no apology in this complaint.",
        "Answered": "ApologyWaived CommitmentKept:apologise ComplaintClosed",
    },
    "RewardInformant": {
        "Answered FollowUp Appealed Closed Referred External": (
            "Only an informant is rewarded (WAT-2.5)."
        ),
    },
    "AppealComplaint": {
        "Answered Closed": "ComplaintAppealed CommitmentStarted:appeal",
        "FollowUp": ("ComplaintAppealed CommitmentCancelled:follow_up CommitmentStarted:appeal"),
    },
    "ConfirmDecision": {
        "Appealed": (
            "FindingDecided AppealDecided CommitmentKept:appeal FollowUpDue "
            "CommitmentStarted:follow_up-2"
        ),
    },
    "OverturnDecision": {
        "Appealed": (
            "FindingDecided ApologyWaived CommitmentCancelled:apologise "
            "AppealDecided CommitmentKept:appeal FollowUpDue "
            "CommitmentStarted:follow_up-2"
        ),
    },
    "ReferExternal": {
        "Answered FollowUp Closed": (
            "The complainant goes to the level above first: AppealComplaint (WIN-3.4.3)."
        ),
        "Appealed": ("ReferredExternal CommitmentCancelled:apologise CommitmentCancelled:appeal"),
    },
    "WithdrawComplaint": {
        "Registered Screened": (
            "ComplaintWithdrawn CommitmentCancelled:pass_on CommitmentCancelled:answer"
        ),
        "HandedOver": (
            "ComplaintWithdrawn CommitmentCancelled:answer CommitmentCancelled:acknowledge"
        ),
        "Returned Acknowledged AwaitingCustomer": ("ComplaintWithdrawn CommitmentCancelled:answer"),
        "Arbitrated": (
            "ComplaintWithdrawn CommitmentCancelled:answer CommitmentCancelled:acknowledge-3"
        ),
        "Investigating Redo": (
            "ComplaintWithdrawn CommitmentCancelled:answer CommitmentCancelled:apologise"
        ),
    },
    "MergeRepeat": {
        "Registered Screened HandedOver Returned Arbitrated Acknowledged AwaitingCustomer": (
            "RepeatMergeRequested"
        ),
        "Investigating Redo": (
            "Findings were decided in this one: merge the other into it instead."
        ),
    },
    "AdoptComplaint": {
        ACTIVE: "ComplaintAdopted",
    },
    "DecideApproval": {
        LIVE: "There is no such approval in this case.",
    },
    "DelegateApproval": {
        LIVE: "There is no such approval in this case.",
    },
    "WithdrawApproval": {
        LIVE: "There is no such approval in this case.",
    },
    "DeadlinePassed": {
        LIVE: "",
    },
    "RecordAnswer": {
        f"{LIVE} {ENDED}": "",
    },
}
"""By command and stages, for the samples: the events, or the sentence that refuses it."""

ALREADY_SO: Mapping[str, str] = {
    "DeclareOutOfJurisdiction": "OutOfJurisdiction",
    "ReferComplaint": "Referred",
    "ReturnComplaint": "Returned",
    "EscalateComplaint": "Appealed External",
    "AnswerComplaint": "Answered FollowUp Appealed Closed External",
    "RecordFollowUp": "Answered Closed",
    "OrderRedo": "Redo",
    "RecordApology": "Closed",
    "AppealComplaint": "Appealed",
    "ConfirmDecision": "External",
    "ReferExternal": "External",
    "WithdrawComplaint": "Withdrawn",
    "DeadlinePassed": ENDED,
}
"""Stages that admit a command no more because what it asks has come about."""


@cache
def sample(stage: Stage) -> ComplaintState:
    return SAMPLES[stage]().state


def expected(stage: Stage, name: str) -> str | None:
    """What the tables say; None where the stage does not admit the command."""
    for stages, caused in CAUSES[name].items():
        if stage in stages.split():
            return caused
    return "" if stage in ALREADY_SO.get(name, "").split() else None


def test_there_is_a_sample_of_every_stage_and_every_command() -> None:
    assert [sample(stage).stage for stage in Stage] == list(Stage)
    assert list(COMMANDS) == list(CAUSES) == list(ALLOWED)
    assert [kind.__name__ for kind in DECIDERS] == list(ALLOWED)


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("name", COMMANDS)
def test_each_stage_admits_what_the_table_says_and_refuses_the_rest(
    stage: Stage, name: str
) -> None:
    case = Case(state=sample(stage))
    case.wait(5)
    before = case.state
    wanted = expected(stage, name)
    if wanted is None or wanted.endswith("."):
        reasons = case.refusal(name, 5, actor=HEAD, **COMMANDS[name])
        assert case.state == before, "a refused command changed the case"
        if wanted is None:
            assert stage not in ALLOWED[name]
            assert reasons[0] == not_possible(stage, name, before)
        else:
            assert " ".join(reasons) == wanted
    else:
        caused = case.do(name, 5, actor=HEAD, **COMMANDS[name])
        assert caused == [word.replace(":", " ") for word in wanted.split()]
        assert caused == [] or stage in ALLOWED[name]


def not_possible(stage: Stage, name: str, state: ComplaintState) -> str:
    if stage == Stage.UNREGISTERED:
        return "There is no such case yet; register the complaint first."
    if name == "RegisterComplaint":
        return "This case is registered already; register another complaint as a new case."
    now = ", ".join(possible(state)) or "nothing"
    return f"{name} is not possible at stage {stage}; possible now: {now}."


def test_a_refusal_offers_what_people_may_do_and_what_would_not_be_refused_anyhow() -> None:
    assert possible(sample(Stage.WITHDRAWN)) == ()
    assert possible(sample(Stage.OUT_OF_JURISDICTION)) == (
        *("ReferComplaint", "TakeCase", "HandOverCase"),
    )
    for stage in Stage:
        offered = {*possible(sample(stage))}
        assert not {"AdoptComplaint", "RecordAnswer", "DeadlinePassed"} & offered
    assert "ArbitrateReturn" not in possible(returned(1).state)
    assert "HandOverComplaint" not in possible(returned(2).state)
    assert "DecideApproval" not in possible(investigating().state)
    assert "AppealComplaint" not in possible(confirmed().state)
    assert "ReferExternal" in possible(confirmed().state)
    assert "AskCustomer" not in possible(investigating(**ANONYMOUS).state)


@pytest.mark.parametrize(
    ("start", "name", "body"),
    [
        (registered, "ScreenComplaint", SCREEN),
        (screened, "DeclareOutOfJurisdiction", {"reason": "water"}),
        (declined, "ReferComplaint", {"to": "water", "reference": "letter/6"}),
        (screened, "HandOverComplaint", {"department": "billing"}),
        (handed_over, "AcknowledgeComplaint", {}),
        (handed_over, "ReturnComplaint", COMMANDS["ReturnComplaint"]),
        (lambda: returned(2), "ArbitrateReturn", COMMANDS["ArbitrateReturn"]),
        (screened, "TakeCase", {}),
        (screened, "HandOverCase", COMMANDS["HandOverCase"]),
        (screened, "EscalateComplaint", COMMANDS["EscalateComplaint"]),
        (acknowledged, "StartInvestigation", {}),
        (investigating, "AskCustomer", COMMANDS["AskCustomer"]),
        (awaiting, "RecordCustomerReply", COMMANDS["RecordCustomerReply"]),
        (investigating, "RequestExtension", EXTENSION),
        (investigating, "DecideFinding", FINDING),
        (found, "AnswerComplaint", UPHELD),
        (answered, "RecordFollowUp", {"result": "no_consent"}),
        (answered, "OrderRedo", COMMANDS["OrderRedo"]),
        (lambda: called("not_satisfied"), "CloseComplaint", {"reason": "right"}),
        (found, "RecordApology", COMMANDS["RecordApology"]),
        (found, "WaiveApology", COMMANDS["WaiveApology"]),
        (lambda: answered(confidential=True), "RewardInformant", {"evidence": "slip/2"}),
        (closed, "AppealComplaint", COMMANDS["AppealComplaint"]),
        (appealed, "ConfirmDecision", COMMANDS["ConfirmDecision"]),
        (appealed, "OverturnDecision", OVERTURN),
        (confirmed, "ReferExternal", COMMANDS["ReferExternal"]),
        (found, "WithdrawComplaint", {"reason": "settled"}),
        (acknowledged, "MergeRepeat", {"case": "complaint-3"}),
        (acknowledged, "AdoptComplaint", COMMANDS["AdoptComplaint"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_doing_again_what_is_done_causes_nothing(start: Any, name: str, body: Any) -> None:
    case: Case = start()
    assert case.do(name, 5, actor=HEAD, **body) != []
    assert case.do(name, 5.1, actor=HEAD, **body) == []


def test_a_policy_without_terms_for_complaints_takes_none() -> None:
    with pytest.raises(Rejected, match="no terms for complaints"):
        initial("complaint-1", "town", GAS.policy.model_copy(update={"complaint": None}), "hash")


# All reasons at once (ADM-4)


def test_ADM_4_a_registration_is_refused_with_every_reason_at_once() -> None:
    wrong = {**REGISTER, "category": "weather", "accused": [], "party": None, "recorded": ["name"]}
    assert Case().refusal("RegisterComplaint", 2, told=1, **wrong) == [
        "This lies in the future; leave out `occurred_at` or correct it.",
        f"The category is unknown; this policy has: {', '.join(RULES.categories)}.",
        "Record who complains: a party is needed, unless they stay anonymous (KUN-5.4.1).",
        "Record the complainant's phone (KUN-5.4.1).",
        "Say whom it is about: name the accused.",
    ]


def test_ADM_4_an_answer_is_refused_with_every_reason_at_once() -> None:
    two = [{"staff": "staff-9", "reports_to": "boss-9"}, {"staff": "staff-8"}]
    case = investigating(accused=two)
    case.do("DecideFinding", 2, actor=JUDGE, **FINDING)
    assert case.refusal(
        "AnswerComplaint", 3, actor=ACCUSED, outcome="not_upheld", answer="letter/1"
    ) == [
        "Whom the complaint is about, or whom they report to, cannot act on it:"
        " leave it to somebody else.",
        "Decide a finding about each of the accused first; 1 have none.",
        "The outcome contradicts the findings: correct it, or decide the findings anew.",
        "Not upheld: say why in `reason` (ADM-5).",
    ]


def test_ADM_4_a_follow_up_is_refused_with_every_reason_at_once() -> None:
    reasons = called("not_satisfied").refusal(
        "RecordFollowUp", 2.9, told=5, consent=False, result="satisfied"
    )
    assert reasons == [
        "This cannot have happened before the complaint was answered; correct `occurred_at`.",
        "The follow-up is done.",
        "A call begins by asking consent: with consent it has a result,"
        " without it the result is no_consent (KUN-5.6).",
    ]


@pytest.mark.parametrize(
    ("start", "name", "body", "reason"),
    [
        (Case, "RegisterComplaint", {**REGISTER, **ANONYMOUS, "party": "party-1"},
         "Who stays anonymous is no party: leave out `party` or `anonymous`."),
        (Case, "RegisterComplaint", {**REGISTER, **ANONYMOUS, "confidential": True},
         "An informant's identity is registered and sealed: name a party (WAT-2.5)."),
        (Case, "RegisterComplaint", {**REGISTER, "about": "case"},
         "Say which case it is about in `about_case`."),
        (Case, "RegisterComplaint", {**REGISTER, "about": "place"},
         "Say which place it is about in `place`."),
        (Case, "RegisterComplaint", {**REGISTER, "accused": [{"staff": "a"}, {"staff": "A"}]},
         "Somebody is named twice among the accused: name each once."),
        (Case, "RegisterComplaint", {**REGISTER, "accused": [{"staff": "Standpipe"}]},
         "Only people can be accused or be reported to: name their staff numbers."),
        (registered, "ScreenComplaint", {**SCREEN, "accused": [{"staff": "billing"}]},
         "Only people can be accused or be reported to: name their staff numbers."),
        (registered, "ScreenComplaint", {**SCREEN, "category": "x"}, "The category is unknown;"),
        (screened, "HandOverComplaint", {"department": "x"}, "The department is unknown; this"),
        (lambda: returned(2), "HandOverComplaint", {"department": "billing"},
         "It was returned too often: a supervisor decides whose it is (ArbitrateReturn)."),
        (lambda: investigating(**ANONYMOUS), "AskCustomer", {"question": "letter/q1"},
         "The complainant stayed anonymous: there is nobody to ask."),
        (investigating, "DecideFinding", {**FINDING, "staff": "staff-7"},
         "The complaint is not about this person; name one of the accused."),
        (investigating, "DecideFinding", {**FINDING, "outcome": "not_upheld"},
         "Not upheld: say why in `reason` (ADM-5)."),
        (investigating, "DecideFinding", {**FINDING, "conduct_at": hours(99)},
         "The conduct lies in the future; correct `conduct_at`."),
        (investigating, "DecideFinding", {**FINDING, "conduct_at": "1969-12-31T00:00:00Z"},
         "The conduct lies before 1970; correct `conduct_at`."),
        (lambda: found("not_upheld"), "AnswerComplaint", UPHELD,
         "The outcome contradicts the findings: correct it, or decide the findings anew."),
        (lambda: investigating(**SERVICE), "AnswerComplaint", {**NOT_UPHELD, "reason": None},
         "Not upheld: say why in `reason` (ADM-5)."),
        (appealed, "OverturnDecision", {**OVERTURN, "findings": []},
         "Say what is found about each of the accused, once, and about nobody else."),
        (appealed, "OverturnDecision", {**OVERTURN, "outcome": "upheld"},
         "The outcome contradicts the findings: correct it, or decide the findings anew."),
        (appealed, "OverturnDecision",
         {**OVERTURN, "outcome": "upheld",
          "findings": [{"staff": "STAFF-9", "outcome": "upheld"}]},
         "This is what was decided before: confirm it instead."),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_do(start: Any, name: str, body: Any, reason: str) -> None:
    assert start().refusal(name, 5, actor=HEAD, **body)[0].startswith(reason)


@pytest.mark.parametrize(
    ("start", "name", "at", "what"),
    [
        (awaiting, "RecordCustomerReply", 1.9, "the question was asked"),
        (found, "RecordApology", 1.9, "the finding"),
        (answered, "RecordFollowUp", 2.9, "the complaint was answered"),
        (answered, "OrderRedo", 2.9, "the complaint was answered"),
        (answered, "AppealComplaint", 2.9, "the complaint was answered"),
        (appealed, "ConfirmDecision", 3.9, "the appeal"),
        (redo, "StartInvestigation", 3.9, "the redo was ordered"),
        (investigating, "AskCustomer", 0.9, "the investigation was started"),
        (investigating, "DecideFinding", 0.9, "the investigation was started"),
        (lambda: investigating(**SERVICE), "AnswerComplaint", 0.9, "the investigation was started"),
        (found, "AnswerComplaint", 1.9, "the findings"),
    ],
)
def test_a_fact_that_comes_late_cannot_have_happened_before_its_cause(
    start: Any, name: str, at: float, what: str
) -> None:
    (reason,) = start().refusal(name, at, told=5, actor=HEAD, **COMMANDS[name])
    assert reason.startswith(f"This cannot have happened before {what}")


# Who may act


@pytest.mark.parametrize("role", ["clerk", "division_head", "system"])
def test_what_one_case_asks_of_another_nobody_else_may_send(role: Any) -> None:
    for lifecycle, name, body in (
        (COMPLAINT, "AdoptComplaint", COMMANDS["AdoptComplaint"]),
        (LIFECYCLES["repair"], "AdoptReport", repair_cases.COMMANDS["AdoptReport"]),
        (LIFECYCLES["conduct"], "RecordFinding", told(1, 0)),
    ):
        actor = Actor(subject="standpipe", role=role, proof="local")
        sent = {"id": "c", "actor": actor.model_dump(), "body": {"type": name, **body}}
        with pytest.raises(Rejected, match=f"{name} is what one case asks of another"):
            lifecycle.asked(sent)
        lifecycle.asked({**sent, "actor": SYSTEM.model_dump()})


@pytest.mark.parametrize("actor", [ACCUSED, SUPERIOR], ids=["accused", "superior"])
@pytest.mark.parametrize("stage", [s for s in Stage if s != Stage.UNREGISTERED])
def test_whom_it_is_about_and_whom_they_report_to_can_do_nothing_at_any_stage(
    stage: Stage, actor: Any
) -> None:
    for name in COMMANDS:
        if name == "RegisterComplaint":
            continue
        case = Case(state=sample(stage))
        case.wait(5)
        reasons = case.refusal(name, 5, actor=actor, **COMMANDS[name])
        assert any(
            r.startswith("Whom the complaint is about, or whom they report") for r in reasons
        )


@pytest.mark.parametrize(
    ("start", "name", "body"),
    [
        (lambda: returned(2), "ArbitrateReturn", COMMANDS["ArbitrateReturn"]),
        (answered, "OrderRedo", COMMANDS["OrderRedo"]),
        (lambda: called("not_satisfied"), "CloseComplaint", COMMANDS["CloseComplaint"]),
        (appealed, "ConfirmDecision", COMMANDS["ConfirmDecision"]),
        (appealed, "OverturnDecision", OVERTURN),
    ],
)
def test_what_the_level_above_decides_nobody_below_decides(
    start: Any, name: str, body: Any
) -> None:
    (reason,) = start().refusal(name, 5, actor=JUDGE.model_copy(update={"subject": "c-9"}), **body)
    assert reason.startswith("It is for the role ")
    if name in ("ConfirmDecision", "OverturnDecision"):
        assert start().refusal(name, 5, actor=SUPERVISOR, **body) == [reason]


def test_a_decision_for_a_made_up_deadline_in_the_future_is_refused() -> None:
    with pytest.raises(Rejected, match="in the future"):
        COMPLAINT.decide(registered().state, command("DeadlinePassed", at=hours(30)), hours(1))


def test_a_case_has_one_story_and_one_summary_at_every_stage() -> None:
    for stage in Stage:
        state = sample(stage).model_copy(update={"requests": ()})
        summary = COMPLAINT.summary(state)
        assert summary.stage == stage
        assert summary.final == (stage in ENDED.split())
        assert summary.next_deadline_at == COMPLAINT.next_deadline(state)
        assert (summary.owner is None) == (stage == Stage.UNREGISTERED)
        assert str(stage) in COMPLAINT.story(state)
    assert COMPLAINT.summary(closed().state).final is False  # the staff file has yet to answer
    assert arbitrated().state.arbitrated
