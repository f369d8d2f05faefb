"""What a complaint makes us say, to whom, and what it never says."""

from typing import Any

import pytest

from schemas.complaint import Stage
from tests.lifecycles.complaint_cases import (
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
    SERVICE,
    SUPERVISOR,
    UPHELD,
    Case,
    answered,
    appealed,
    called,
    found,
    investigating,
    messages,
    policy,
    registered,
    returned,
    screened,
    words,
)
from tests.lifecycles.repair_cases import hours

PARTY = ("party", "party-1")


def test_ADM_2_the_complainant_is_told_at_once_when_the_answer_is_due() -> None:
    said = words(Case(), "RegisterComplaint", 0, **REGISTER)
    assert [(m.to, m.template) for m in said] == [
        ("party", "complaint_received"),
        ("unit", "new_complaint"),
    ]
    assert said[0].params["due"] == hours(48).isoformat()
    assert said[1].params["department"] == "field-service", "who usually answers such a complaint"


def test_the_department_is_told_on_hand_over_and_whoever_must_arbitrate_on_return() -> None:
    said = words(screened(), "HandOverComplaint", 1, department="billing")
    handed = [m for m in said if m.template == "complaint_handed_over"]
    assert [(m.to, m.recipient) for m in handed] == [("unit", "billing")]
    case = returned(1)
    case.do("HandOverComplaint", 0.5, department="billing")
    body: dict[str, Any] = {"ground": "not-ours", "evidence": "slip/1"}
    assert ("role", "supervisor", "arbitrate") in messages(case, "ReturnComplaint", 0.6, **body)


def test_CNPC_2_6b_the_complainant_is_told_why_it_went_up() -> None:
    to = {"kind": "person", "id": "head-1"}
    said = words(investigating(), "EscalateComplaint", 2, to=to, reason="too-hard")
    assert [(m.to, m.recipient, m.template, m.params.get("reason")) for m in said] == [
        ("staff", "head-1", "escalated_to_you", "too-hard"),
        (*PARTY, "escalated", "too-hard"),
    ]


@pytest.mark.parametrize(
    ("start", "name", "body", "template"),
    [
        (lambda: found("not_upheld"), "AnswerComplaint", NOT_UPHELD, "not_upheld"),
        (screened, "DeclareOutOfJurisdiction", {"reason": "water"}, "out_of_jurisdiction"),
        (investigating, "DecideFinding", COMMANDS["DecideFinding"], "not_upheld"),
    ],
)
def test_ADM_5_every_no_is_reported_to_the_next_level(
    start: Any, name: str, body: Any, template: str
) -> None:
    said = messages(start(), name, 3, actor=JUDGE, **body)
    assert ("role", "division_head", template) in said


def test_ADM_5_whoever_finds_the_answer_right_all_the_same_says_why_and_reports_it() -> None:
    said = words(called("not_satisfied"), "CloseComplaint", 5, actor=SUPERVISOR, reason="right")
    assert [(m.to, m.recipient, m.template, m.params.get("reason")) for m in said] == [
        (*PARTY, "answer_stands", "right"),
        ("role", "division_head", "answer_stands", "right"),
    ]


def test_KUN_6_1_16_a_written_opinion_is_passed_to_the_head() -> None:
    said = words(Case(), "RegisterComplaint", 0, **REGISTER, text="letter/9")
    (passed,) = (m for m in said if m.template == "written_complaint")
    assert (passed.to, passed.recipient) == ("role", "division_head")
    assert (passed.params["text"], passed.params["rule"]) == ("letter/9", "KUN-6.1.16")


def test_whoever_shall_decide_in_another_s_place_is_told() -> None:
    case = investigating()
    case.do("RequestExtension", 3, actor=JUDGE, **EXTENSION)
    body = {"approval": "extension-1", "to": "super-2", "until": hours(9), "reason": "leave"}
    assert messages(case, "DelegateApproval", 4, actor=SUPERVISOR, **body) == [
        ("staff", "super-2", "approval_delegated")
    ]


def test_ADM_2_nobody_is_told_of_a_promise_that_no_longer_holds() -> None:
    answer = next(c for c in RULES.model_dump(mode="json")["commitments"] if c["name"] == "answer")
    light = {**answer, "severities": ["light"], "duration": "PT24H"}
    serious = {**answer, "severities": ["serious"], "rule": "KUN-2.2.7"}
    others = [c for c in RULES.model_dump(mode="json")["commitments"] if c["name"] != "answer"]
    case = registered(policy.__wrapped__(commitments=[*others, light, serious]))
    case.do("ScreenComplaint", 0.5, category="late", gravity="serious")
    (told,) = words(case, "HandOverComplaint", 1, department="billing")
    assert told.params["due"] == hours(48).isoformat()


def test_ADM_5_a_refused_extension_is_reported_and_the_asker_told() -> None:
    case = investigating()
    said = messages(case, "RequestExtension", 3, actor=JUDGE, **EXTENSION)
    assert ("role", "supervisor", "approval_requested") in said
    said = messages(case, "DecideApproval", 4, actor=HEAD.model_copy(update={"role": "supervisor"}),
                    **case.choice("reject"))  # fmt: skip
    assert said == [
        ("staff", "field-3", "approval_rejected"),
        ("role", "division_head", "approval_rejected"),
    ]


def test_the_complainant_is_told_of_more_time() -> None:
    case = investigating()
    case.do("RequestExtension", 3, actor=JUDGE, **EXTENSION)
    supervisor = HEAD.model_copy(update={"role": "supervisor"})
    said = words(case, "DecideApproval", 4, actor=supervisor, **case.choice())
    (told,) = (m for m in said if m.to == "party")
    assert (told.template, told.params["until"]) == ("answer_later", hours(72).isoformat())


def test_GAS_2_6_the_person_at_fault_is_told_that_an_apology_is_due() -> None:
    said = messages(investigating(), "DecideFinding", 3, actor=JUDGE, **FINDING)
    assert said == [("staff", "staff-9", "apology_due")]
    said = messages(investigating(**ANONYMOUS), "DecideFinding", 3, actor=JUDGE, **FINDING)
    assert said == []


def test_ADM_6_the_complainant_is_told_of_the_answer_and_of_the_end() -> None:
    assert (*PARTY, "answered") in messages(found(), "AnswerComplaint", 3, actor=JUDGE, **UPHELD)
    body = {"staff": "staff-9", "evidence": "letter/3"}
    assert (*PARTY, "done") in messages(called(), "RecordApology", 5, **body)
    said = messages(appealed(), "OverturnDecision", 5, actor=HEAD, **OVERTURN)
    assert (*PARTY, "appeal_decided") in said
    assert ("role", "division_head", "not_upheld") not in said, "it decided that itself"
    said = messages(answered(), "AppealComplaint", 5, ground="wrong", evidence="x/1")
    assert said == [("role", "division_head", "appeal"), (*PARTY, "appeal_received")]


def test_a_supervisor_is_told_of_a_dissatisfied_complainant() -> None:
    said = messages(answered(**SERVICE), "RecordFollowUp", 4, consent=True, result="not_satisfied")
    assert ("role", "supervisor", "needs_an_owner") in said


def test_a_taken_in_complainant_is_told_too() -> None:
    body = {"case": "complaint-9", "registered_at": hours(1), "party": "party-9"}
    case = found(**SERVICE)
    assert ("party", "party-9", "complaint_received") in messages(case, "AdoptComplaint", 3, **body)
    said = messages(case, "AnswerComplaint", 4, actor=JUDGE, **UPHELD)
    assert (*PARTY, "answered") in said
    assert ("party", "party-9", "answered") in said


def test_what_a_staff_file_refuses_to_take_down_is_told_to_a_supervisor() -> None:
    case = found()
    (request,) = case.state.requests
    before = len(case.events)
    case.answer(request, 3, "This policy keeps no staff files.")
    said = [m for e in case.events[before:] for m in COMPLAINT.effects(case.state, e)]
    assert [(m.to, m.template) for m in said] == [("role", "request_refused")]


@pytest.mark.parametrize("stage", [s for s in Stage if s != Stage.UNREGISTERED])
def test_nothing_is_said_to_anybody_who_stayed_anonymous(stage: Stage) -> None:
    for name, body in COMMANDS.items():
        case = Case(state=SAMPLES[stage]().state.model_copy(update={"party": None}))
        if name in ("AdoptComplaint", "RegisterComplaint"):
            continue
        try:
            said = words(case, name, 5, actor=HEAD, **body)
        except Exception:  # noqa: BLE001 - refused: nothing is said at all
            continue
        assert [m for m in said if m.to == "party"] == []


def test_a_message_holds_codes_and_ids_only() -> None:
    case = registered()
    for event in case.events:
        for m in COMPLAINT.effects(case.state, event):
            assert m.params["case"] == "complaint-1"
            assert set(m.params) <= {"case", "due", "category", "gravity", "department"}
