"""Arrears: who authorises a stop (WAT-C3), on which facts, and giving the debt up (WAT-B3)."""

from typing import Any

import pytest

from lifecycles.approvals import facts_hash
from schemas.arrears import Stage
from schemas.base import Actor
from schemas.policy import Policy
from tests.lifecycles.arrears_cases import (
    ADMIN,
    BOSS,
    HEAD,
    HOUR,
    LARGE,
    MINUTE,
    READER,
    VISIT,
    Debt,
    again,
    approved,
    authorised,
    awaiting,
    days,
    eligible,
    hold,
    instalments,
    noticed,
    permitted,
    stopped,
    visited,
    written_off,
)
from tests.lifecycles.repair_cases import WATER

READER_AS_HEAD = Actor(subject="reader-1", role="division_head", proof="token")


@pytest.mark.parametrize("reason", [{"dn": 40}, {"boilers": True}, {"continuous_production": True}])
def test_large_meters_boilers_and_continuous_production_need_written_approval(
    reason: dict[str, Any],
) -> None:
    debt = eligible(**reason)
    assert debt.last("BecameEligible").approval_needed
    assert "(WAT-C3)" in " ".join(debt.refusal("AuthoriseCutoff", 9, actor=BOSS))
    caused = debt.do("RequestCutoff", 9, reason="unpaid")
    assert caused == ["ApprovalRequested", "CommitmentStarted approve-cutoff"]
    assert debt.stage == Stage.AWAITING_APPROVAL
    assert "CutoffAuthorised" in debt.decide(9.1)
    assert debt.stage == Stage.AUTHORISED
    assert debt.state.approval == "cutoff-1"


def test_a_smaller_meter_is_authorised_by_name_and_needs_no_approval() -> None:
    debt = eligible(dn=25)
    assert "AuthoriseCutoff" in " ".join(debt.refusal("RequestCutoff", 9, reason="unpaid"))
    assert "supervisor or division_head" in " ".join(debt.refusal("AuthoriseCutoff", 9))
    assert debt.do("AuthoriseCutoff", 9, actor=BOSS) == ["CutoffAuthorised"]
    assert debt.state.authorised_by == "boss-1"


def test_the_approval_rests_on_debt_notices_class_and_holds() -> None:
    debt = awaiting(boilers=True)
    facts = debt.state.approvals[-1].facts
    assert facts == {
        "account": "A-1",
        "balance": 12000,
        "currency": "CNY",
        "bills": ("B-1:8000", "B-2:4000"),
        "payments": 0,
        "reversed": 0,
        "stop": "temporary",
        "notice": "photo/notice",
        "served_at": days(1.5).isoformat(),
        "effective_at": days(8.5).isoformat(),
        "stop_order": None,
        "limit": None,
        "customer_class": "industrial",
        "dn": 40,
        "boilers": True,
        "continuous_production": False,
        "holds": (),
    }
    assert debt.state.approvals[-1].facts_hash == facts_hash(facts)


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("RecordPayment", {"payment": "p", "amount": 1, "currency": "CNY", "paid_at": days(9)}),
    ("AddBills", {
        "currency": "CNY", "run": "r", "bills": [{"bill": "B-9", "amount": 5, "due": "2026-01-01"}],
    }),
    ("CorrectBalance", {
        "bill": "B-1", "amount": 8001, "currency": "CNY", "reason": "x", "evidence": "x"}),
    ("PlaceHold", hold()),
    ("AgreePlan", instalments((12000, 30))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "body"), CHANGES)
def test_what_changes_the_facts_lapses_an_approval_that_is_asked(
    name: str, body: dict[str, Any]
) -> None:
    debt = awaiting()
    caused = debt.do(name, 9.5, **body)
    assert {"ApprovalLapsed", "AuthorisationLapsed"} <= set(caused)
    assert debt.stage in (Stage.ELIGIBLE, Stage.PLAN_ACTIVE)
    stale = debt.choice()
    assert "lapsed already" in " ".join(debt.refusal("DecideApproval", 9.6, actor=HEAD, **stale))


@pytest.mark.parametrize(("name", "body"), CHANGES)
def test_what_changes_the_facts_lapses_an_approval_that_was_given(
    name: str, body: dict[str, Any]
) -> None:
    debt = visited(approved())
    caused = debt.do(name, 9.5, **body)
    assert {"ApprovalLapsed", "AuthorisationLapsed", "VisitCancelled"} <= set(caused)
    assert debt.stage in (Stage.ELIGIBLE, Stage.PLAN_ACTIVE)
    assert debt.state.approval is None
    assert debt.state.authorised_by is None


def test_once_the_valve_is_closed_the_approval_is_used_up() -> None:
    debt = stopped(approved())
    caused = debt.pay(100, 11)
    assert "ApprovalLapsed" not in caused
    assert debt.state.approvals[-1].state == "approved"


def test_reminders_and_owners_are_no_part_of_what_was_approved() -> None:
    debt = approved()
    debt.do("RecordContact", 9.5, how="door", evidence="photo/3")
    debt.do("TakeCase", 9.6)
    assert debt.stage == Stage.AUTHORISED


def test_a_plain_authorisation_falls_with_a_hold_but_not_with_a_part_payment() -> None:
    debt = authorised()
    debt.pay(100, 9.5)
    assert debt.stage == Stage.AUTHORISED
    assert "AuthorisationLapsed" in debt.do("PlaceHold", 9.6, **hold())
    assert debt.stage == Stage.ELIGIBLE
    assert "release it first" in " ".join(debt.refusal("AuthoriseCutoff", 9.7, actor=BOSS))


def test_silence_never_approves_a_stop_it_goes_up() -> None:
    debt = awaiting()
    debt.wait(60)
    assert debt.stage == Stage.AWAITING_APPROVAL
    assert debt.state.approvals[-1].roles == ("division_head", "admin")
    debt.decide(60, actor=ADMIN)
    assert debt.stage == Stage.AUTHORISED


def test_no_policy_can_let_silence_approve_a_stop() -> None:
    content = WATER.policy.model_dump(mode="json")
    content["arrears"]["approvals"]["cutoff"]["silence"] = "approve"
    with pytest.raises(ValueError, match="silence never"):
        Policy.model_validate(content)


def test_even_a_policy_that_was_forged_gets_no_stop_from_silence() -> None:
    rules = WATER.policy.arrears
    assert rules is not None
    terms = rules.approvals["cutoff"].model_copy(update={"silence": "approve"})
    forged = rules.model_copy(update={"approvals": {**rules.approvals, "cutoff": terms}})
    policy = WATER.policy.model_copy(update={"arrears": forged})
    debt = awaiting(WATER._replace(policy=policy))
    debt.wait(20)
    assert debt.state.approvals[-1].state == "approved"
    assert debt.state.authorised_by is None
    assert "CutoffAuthorised" not in [type(e).__name__ for e in debt.events]


def test_silence_may_reject() -> None:
    no = again(WATER, approvals__cutoff__silence="reject")
    debt = awaiting(no)
    debt.wait(13)
    assert debt.stage == Stage.ELIGIBLE
    assert debt.last("AuthorisationLapsed").reason == "rejected"


def test_a_no_is_reported_upwards_and_the_stop_may_be_asked_for_again() -> None:
    debt = awaiting()
    assert "AuthorisationLapsed" in debt.decide(9.1, "reject")
    assert debt.stage == Stage.ELIGIBLE
    assert "approval_rejected" in debt.told_to("division_head")
    debt.do("RequestCutoff", 9.5, reason="unpaid")
    assert debt.state.approvals[-1].id == "cutoff-2"


def test_who_asked_may_withdraw_it() -> None:
    debt = awaiting()
    debt.do("WithdrawApproval", 9.1, approval="cutoff-1", reason="not-needed")
    assert debt.stage == Stage.ELIGIBLE


def test_what_was_approved_may_be_withdrawn_until_the_valve_is_closed_and_asked_for_anew() -> None:
    """A key that was reported lost carries no cut: then there is a way to have it signed anew."""
    debt = permitted(approved())
    other = Actor(subject="clerk-9", role="clerk", proof="token")
    words: dict[str, Any] = {"approval": "cutoff-1", "reason": "key-lost"}
    at = VISIT + HOUR + MINUTE
    assert "Only who asked" in " ".join(debt.refusal("WithdrawApproval", at, actor=other, **words))
    caused = debt.do("WithdrawApproval", at, **words)
    assert {"ApprovalWithdrawn", "AuthorisationLapsed", "VisitCancelled", "PermitRevoked"} <= {
        *caused
    }
    assert (debt.stage, debt.state.approval) == (Stage.ELIGIBLE, None)
    assert debt.do("WithdrawApproval", at + MINUTE, **words) == []
    debt.do("RequestCutoff", at + MINUTE, reason="unpaid")
    assert debt.state.approvals[-1].id == "cutoff-2"


def test_what_was_approved_and_carried_out_is_not_withdrawn() -> None:
    debt = permitted(approved())
    debt.close(VISIT + HOUR + MINUTE)
    why = debt.refusal("WithdrawApproval", 12, approval="cutoff-1", reason="mistake")
    assert "It is approved already." in why


def test_whose_round_the_account_is_on_authorises_and_approves_nothing() -> None:
    debt = eligible()
    boss = Actor(subject="READER-1", role="supervisor", proof="token")
    assert "Whose round" in " ".join(debt.refusal("AuthoriseCutoff", 9, actor=boss))
    debt = awaiting()
    for actor in (READER, READER_AS_HEAD):
        assert "Whose round" in " ".join(
            debt.refusal("DecideApproval", 9.1, actor=actor, **debt.choice())
        )
    to_reader = {"approval": "cutoff-1", "to": "reader-1", "until": days(20), "reason": "leave"}
    assert "cannot decide" in " ".join(
        debt.refusal("DelegateApproval", 9.1, actor=HEAD, **to_reader)
    )


def test_who_asked_for_the_stop_does_not_approve_it() -> None:
    debt = eligible(**LARGE)
    debt.do("RequestCutoff", 9, actor=HEAD, reason="unpaid")
    assert "cannot decide" in " ".join(
        debt.refusal("DecideApproval", 9.1, actor=HEAD, **debt.choice())
    )
    other = Actor(subject="head-2", role="division_head", proof="token")
    assert "CutoffAuthorised" in debt.decide(9.2, actor=other)


def test_a_stop_is_not_asked_for_while_a_hold_stands_or_before_it_may_happen() -> None:
    debt = eligible(**LARGE)
    debt.do("PlaceHold", 9, **hold())
    assert "(dispute)" in " ".join(debt.refusal("RequestCutoff", 9, reason="unpaid"))
    assert "not possible" in " ".join(noticed(**LARGE).refusal("RequestCutoff", 2, reason="x"))


# Giving the debt up


def test_a_debt_is_given_up_only_with_approval() -> None:
    debt = written_off()
    assert debt.stage == Stage.WRITTEN_OFF
    assert debt.last("DebtWrittenOff").balance == 12000
    assert debt.state.closed_at == days(3)


def test_giving_up_is_refused_by_silence_and_may_be_asked_again() -> None:
    debt = noticed()
    debt.do("WriteOff", 2, reason="bankrupt")
    assert debt.do("WriteOff", 3, reason="bankrupt") == []
    assert "already" in " ".join(debt.refusal("WriteOff", 3, reason="other"))
    debt.wait(13)
    assert debt.state.write_off is None
    assert debt.stage == Stage.ELIGIBLE
    assert "ApprovalRequested" in debt.do("WriteOff", 14, reason="other")


@pytest.mark.parametrize("amount", [100, 12000])
def test_a_payment_ends_what_was_asked_about_the_debt(amount: int) -> None:
    debt = noticed()
    debt.do("WriteOff", 2, reason="bankrupt")
    debt.pay(amount, 3)
    assert debt.state.approvals[-1].state in ("lapsed", "withdrawn")
    assert debt.state.write_off is None


def test_giving_up_the_debt_of_a_stopped_supply_restores_it_first() -> None:
    debt = stopped()
    debt.do("WriteOff", 11, reason="bankrupt")
    assert "CommitmentStarted reconnect" in debt.decide(12)
    assert debt.stage == Stage.RECONNECT_DUE
    body: dict[str, Any] = {"crew": "crew-1", "seal_removed": "S-1", "reading": 1}
    debt.do("RecordReconnected", 12.5, **body)
    assert debt.stage == Stage.WRITTEN_OFF


def test_an_owner_may_be_excluded_by_the_policy() -> None:
    strict = again(WATER, approvals__cutoff__exclude=["reader", "owner"])
    debt = awaiting(strict)
    debt.do("TakeCase", 9.1, actor=HEAD)
    assert "part of the case" in " ".join(
        debt.refusal("DecideApproval", 9.2, actor=HEAD, **debt.choice())
    )


def test_a_stop_that_was_approved_is_made_on_the_day_of_the_visit() -> None:
    debt: Debt = stopped(approved())
    assert debt.state.stops[-1].permitted
    assert debt.state.stops[-1].at < days(VISIT + 0.2)
