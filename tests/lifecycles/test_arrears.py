"""Arrears: every command at every stage, opening, owner, idempotency, summary and story."""

from typing import Any

import pytest

from lifecycles import arrears
from lifecycles.arrears import DECIDERS
from lifecycles.arrears_stages import ALLOWED
from lifecycles.casework import owner_of
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import lifecycle_of
from schemas.arrears import Stage
from schemas.base import SYSTEM, Owner
from schemas.policy import Policy
from tests.lifecycles.arrears_cases import (
    ARREARS,
    BILL,
    BOSS,
    CLERK,
    COMMANDS,
    CREW,
    HOUR,
    OPEN,
    SAMPLES,
    VISIT,
    Debt,
    asked,
    awaiting,
    closed,
    command,
    days,
    eligible,
    fully_stopped,
    hold,
    opened,
    ordered,
    paid,
    permitted,
    planned,
    reconnecting,
    reminded,
    reopened,
    stopped,
    visited,
    withdrawn,
)
from tests.lifecycles.repair_cases import GAS, WATER

S = Stage
BEFORE_STOP = (S.OVERDUE, S.REMINDED, S.NOTICE_SERVED, S.ELIGIBLE, S.AWAITING_APPROVAL,
               S.AUTHORISED, S.VISIT_DUE)  # fmt: skip
AFTER_STOP = (S.TEMPORARILY_STOPPED, S.SELF_REOPENED, S.STOP_ORDER_SERVED, S.FULLY_STOPPED)
OVER = (S.CLOSED, S.MOVED_OUT, S.WRITTEN_OFF, S.WITHDRAWN)
OWING = (*BEFORE_STOP, *AFTER_STOP, S.PLAN_ACTIVE)
LIVE = (*OWING, S.RECONNECT_DUE, S.PAID)

ACCEPTED: dict[str, tuple[Stage, ...]] = {
    "OpenArrears": (S.UNOPENED,),
    "AddBills": LIVE,
    "RecordContact": OWING,
    "ServeNotice": (S.REMINDED,),
    "PlaceHold": LIVE,
    "ReleaseHold": (),  # there is none of that name
    "AgreePlan": (*BEFORE_STOP, *AFTER_STOP),
    "RequestCutoff": (),  # the samples at these stages need no approval
    "AuthoriseCutoff": (S.ELIGIBLE,),
    "ScheduleVisit": (S.AUTHORISED, S.VISIT_DUE),
    "IssuePermit": (),  # not at eight in the morning of that day, whatever the stage
    "RecordValveClosed": (*LIVE, *OVER),
    "RecordVisitFailed": (S.VISIT_DUE, *AFTER_STOP, S.RECONNECT_DUE),
    "ReportSelfReopened": (S.TEMPORARILY_STOPPED, S.RECONNECT_DUE),
    "ServeStopOrder": (S.SELF_REOPENED,),
    "RecordPayment": LIVE,
    "ReversePayment": (S.RECONNECT_DUE, S.PAID),
    "CorrectBalance": LIVE,
    "RecordReconnected": (*AFTER_STOP, S.RECONNECT_DUE),
    "RecordReconnectionFailed": (S.RECONNECT_DUE,),
    "RecordMoveOut": LIVE,
    "WriteOff": OWING,
    "WithdrawArrears": (*BEFORE_STOP, S.PLAN_ACTIVE, S.PAID),
    "TakeCase": LIVE,
    "HandOverCase": LIVE,
    "DecideApproval": (),
    "DelegateApproval": (S.AWAITING_APPROVAL,),
    "WithdrawApproval": (S.AWAITING_APPROVAL,),
    "DeadlinePassed": (),
    "RecordAnswer": (*LIVE, *OVER),
}
"""Where a command of each type causes something."""
NOTHING = {
    "DeadlinePassed": (*LIVE, *OVER),
    "ReportSelfReopened": (S.SELF_REOPENED, S.STOP_ORDER_SERVED),
    "RecordMoveOut": (S.MOVED_OUT,),
    "WithdrawArrears": (S.WITHDRAWN,),
    "RequestCutoff": (S.AWAITING_APPROVAL,),
    "AuthoriseCutoff": (S.AUTHORISED, S.VISIT_DUE),
}
"""Where it changes nothing because it is so already, or is the clock's own."""


@pytest.mark.parametrize("stage", SAMPLES)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_at_every_stage_does_something_nothing_or_says_why_not(
    name: str, stage: Stage
) -> None:
    debt = SAMPLES[stage]()
    assert debt.stage == stage
    at = {S.NOTICE_SERVED: 3, S.VISIT_DUE: 10, S.CLOSED: 41}.get(stage, 16)
    debt.wait(at)
    assert debt.stage == stage, "the stage passes by itself before that day"
    actor, body = COMMANDS[name]
    if name == "DeadlinePassed":
        body = {"at": days(at)}
    sent = command(name, at, actor=actor, **body)
    if stage in ACCEPTED[name]:
        assert ARREARS.decide(debt.state, sent, days(at))
    elif stage in NOTHING.get(name, ()):
        assert ARREARS.decide(debt.state, sent, days(at)) == []
    else:
        with pytest.raises(Rejected) as refused:
            ARREARS.decide(debt.state, sent, days(at))
        assert all(reason.strip() for reason in refused.value.reasons)


def test_every_command_has_a_decider_a_sample_and_its_stages() -> None:
    names = {kind.__name__ for kind in DECIDERS}
    assert names == set(ALLOWED) == set(COMMANDS) == set(ACCEPTED)


@pytest.mark.parametrize("stage", SAMPLES)
def test_only_what_can_be_done_is_offered(stage: Stage) -> None:
    debt = SAMPLES[stage]()
    offered = set(arrears.possible(debt.state))
    assert offered <= {name for name, stages in ALLOWED.items() if stage in stages}
    assert "DeadlinePassed" not in offered
    if stage == S.VISIT_DUE:
        assert {"IssuePermit", "RecordVisitFailed", "PlaceHold"} <= offered
    if stage in (S.ELIGIBLE, S.AUTHORISED):
        assert "IssuePermit" not in offered
    if stage == S.STOP_ORDER_SERVED:
        assert "RequestCutoff" not in offered, "this meter needs no approval"


def test_a_case_is_opened_with_its_bills_and_owned_by_the_unit_that_collects() -> None:
    debt = opened()
    assert debt.balance == 12000
    assert owner_of(debt.state) == Owner(kind="unit", id="water-collection")
    assert debt.do("TakeCase", 0.5) == ["OwnerChanged"]
    assert owner_of(debt.state) == Owner(kind="person", id="clerk-1")
    to = {"kind": "unit", "id": "legal"}
    assert debt.do("HandOverCase", 0.6, to=to, reason="hard") == ["OwnerChanged"]
    assert owner_of(debt.state) == Owner(kind="unit", id="legal")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"currency": "EUR"}, "CNY only"),
        ({"bills": [{**BILL, "amount": 4999}]}, "less is owed than the threshold"),
        ({"bills": [BILL, BILL]}, "stands twice"),
        ({"bills": [{**BILL, "due": "2026-03-02"}]}, "not overdue yet"),
    ],
)
def test_an_account_that_is_not_chased_is_not_opened(wrong: dict[str, Any], why: str) -> None:
    reasons = Debt().refusal("OpenArrears", 0, **{**OPEN, **wrong})
    assert why in " ".join(reasons).lower() + " ".join(reasons)


def test_everything_wrong_with_an_opening_is_said_at_once() -> None:
    bills = [{**BILL, "amount": 1, "due": "2026-03-03"}] * 2
    assert len(Debt().refusal("OpenArrears", 0, **{**OPEN, "currency": "EUR", "bills": bills})) == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"bills": [{**BILL, "amount": 80.5}]},
        {"bills": [{**BILL, "amount": 0}]},
        {"bills": [{**BILL, "amount": -5}]},
        {"bills": []},
        {"currency": "Yuan"},
        {"dn": 0},
        {"account": "12 High Street"},
        {"customer_class": "friend"},
    ],
)
def test_an_unreadable_opening_is_refused_without_repeating_it(wrong: dict[str, Any]) -> None:
    with pytest.raises(Rejected) as refused:
        command("OpenArrears", 0, **{**OPEN, **wrong})
    assert "High Street" not in str(refused.value)


def test_the_same_billing_run_opens_a_case_once_and_another_run_is_told_to_add_bills() -> None:
    debt = opened()
    assert debt.do("OpenArrears", 1, **OPEN) == []
    assert "AddBills" in " ".join(debt.refusal("OpenArrears", 1, **{**OPEN, "run": "run-2"}))


def test_nothing_is_asked_of_a_case_that_was_never_opened() -> None:
    assert Debt().refusal("RecordContact", 0, how="door", evidence="x") == [
        "There is no such case yet; open the arrears first."
    ]


def test_a_policy_without_arrears_has_no_such_cases() -> None:
    content = WATER.policy.model_dump(mode="json")
    content["arrears"] = content["assessment"] = None
    with pytest.raises(Rejected, match="arrears"):
        ARREARS.initial("arrears-1", "town", Policy.model_validate(content), "x")
    assert lifecycle_of("arrears-1") is ARREARS


AGAIN: list[tuple[Any, str, float, dict[str, Any]]] = [
    (reminded, "RecordContact", 1.2, {"how": "phone", "evidence": "call/0"}),
    (eligible, "ServeNotice", 9, {"how": "door", "proof": "photo/notice"}),
    (visited, "ScheduleVisit", 9.3, {
        "crew": "crew-1", "start": days(VISIT), "end": days(VISIT + 3 * HOUR)}),
    (permitted, "IssuePermit", VISIT + HOUR, asked(VISIT + HOUR)),
    (stopped, "RecordValveClosed", VISIT + 2 * HOUR, {
        "crew": "crew-1", "valve": "V-1", "seal": "S-1", "reading": 120, "permit": "permit-1"}),
    (reopened, "ReportSelfReopened", 11.5, {"evidence": "photo/open"}),
    (ordered, "ServeStopOrder", 12.5, {"how": "door", "proof": "photo/order"}),
    (paid, "RecordPayment", 3.5, {
        "payment": "pay-1", "amount": 12000, "currency": "CNY", "paid_at": days(3)}),
    (withdrawn, "WithdrawArrears", 3, {"reason": "mistake"}),
    (awaiting, "RequestCutoff", 9.5, {"reason": "unpaid"}),
    (opened, "CorrectBalance", 1, {
        "bill": "B-1", "amount": 8000, "currency": "CNY", "reason": "x", "evidence": "x"}),
]  # fmt: skip


@pytest.mark.parametrize(("sample", "name", "at", "body"), AGAIN)
def test_doing_again_what_is_done_causes_nothing(
    sample: Any, name: str, at: float, body: dict[str, Any]
) -> None:
    debt = sample()
    actor = BOSS if name == "AuthoriseCutoff" else CREW if "crew" in body else CLERK
    assert debt.do(name, at, actor=actor, **body) == []


def test_holds_plans_and_restorations_done_twice_cause_nothing() -> None:
    debt = opened()
    assert debt.do("PlaceHold", 1, **hold()) == ["HoldPlaced"]
    assert debt.do("PlaceHold", 2, **hold()) == []
    assert debt.do("ReleaseHold", 3, hold="dispute-1", reason="over") == ["HoldReleased"]
    assert debt.do("ReleaseHold", 4, hold="dispute-1", reason="over") == []
    debt = reconnecting()
    body = {"crew": "crew-1", "seal_removed": "S-1", "reading": 130}
    assert "SupplyRestored" in debt.do("RecordReconnected", 12, actor=CREW, **body)
    assert debt.do("RecordReconnected", 12.1, actor=CREW, **body) == []


def test_the_summary_and_story_show_where_the_case_stands() -> None:
    debt = fully_stopped()
    summary = ARREARS.summary(debt.state)
    assert (summary.kind, summary.stage, summary.final) == ("arrears", "FullyStopped", False)
    assert summary.category == "household"
    assert "12000 CNY" in ARREARS.story(debt.state)
    assert "fully_stopped" in ARREARS.story(debt.state)
    ended = closed()
    for request in ended.state.requests:
        ended.do("RecordAnswer", 40, actor=SYSTEM, request=request.id, accepted=True)
    over = ARREARS.summary(ended.state)
    assert over.final
    assert over.closed_at is not None
    assert ARREARS.summary(planned().state).next_deadline_at is not None


def test_a_case_knows_its_version_so_that_it_can_name_the_events_that_prove_something() -> None:
    debt = stopped()
    assert debt.state.happened == debt.version == len(debt.events)
    proof = debt.guard("notice").proof
    assert proof is not None
    case, _, version = proof.partition("/")
    assert case == "arrears-1"
    assert type(debt.events[int(version) - 1]).__name__ == "NoticeServed"


def test_the_gas_policy_chases_as_well() -> None:
    assert opened(GAS).stage == Stage.OVERDUE
