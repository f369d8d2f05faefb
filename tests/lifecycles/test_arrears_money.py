"""Arrears, the money: bills, part payments (WAT-B9), reversals, corrections, one currency."""

from typing import Any

import pytest

from schemas.arrears import Stage
from tests.lifecycles.arrears_cases import (
    BILL,
    BOSS,
    CREW,
    HOUR,
    VISIT,
    Debt,
    again,
    authorised,
    awaiting,
    days,
    eligible,
    noticed,
    opened,
    ordered,
    paid,
    planned,
    reconnecting,
    stopped,
    visited,
)

LENIENT = again(fresh_notice=False)


def bills(*amounts: int) -> dict[str, Any]:
    more = [
        {"bill": f"B-{n}", "amount": amount, "due": f"2026-02-{n:02}"}
        for n, amount in enumerate(amounts, 11)
    ]
    return {"currency": "CNY", "bills": more, "run": "run-2"}


def reverse(debt: Debt, at: float, payment: str = "pay-1") -> list[str]:
    return debt.do("ReversePayment", at, payment=payment, reason="bounced")


def test_the_balance_is_bills_less_payments() -> None:
    debt = opened()
    debt.pay(3000, 1)
    debt.do("AddBills", 2, **bills(500, 600))
    assert debt.balance == 12000 - 3000 + 1100
    assert debt.last("BillsAdded").balance == debt.balance


def test_bills_that_are_known_change_nothing_and_another_amount_is_refused() -> None:
    debt = opened()
    known = {"currency": "CNY", "bills": [BILL], "run": "run-2"}
    assert debt.do("AddBills", 1, **known) == []
    other = {**known, "bills": [{**BILL, "amount": 8001}]}
    assert "CorrectBalance" in " ".join(debt.refusal("AddBills", 1, **other))


def test_a_bill_that_was_corrected_may_come_again_as_it_was_billed() -> None:
    debt = opened()
    body: dict[str, Any] = {"bill": "B-1", "currency": "CNY", "reason": "x", "evidence": "photo/1"}
    assert debt.do("CorrectBalance", 1, amount=7000, **body) == ["BalanceCorrected"]
    assert debt.balance == 11000
    assert debt.do("AddBills", 2, currency="CNY", bills=[BILL], run="run-2") == []
    assert debt.balance == 11000


def test_money_of_another_currency_is_refused_everywhere() -> None:
    debt = opened()
    sent: dict[str, dict[str, Any]] = {
        "RecordPayment": {"payment": "p", "amount": 1, "paid_at": days(1)},
        "AddBills": {"bills": [{"bill": "B-9", "amount": 1, "due": "2026-01-01"}], "run": "r"},
        "CorrectBalance": {"bill": "B-1", "amount": 1, "reason": "x", "evidence": "x"},
    }
    for name, body in sent.items():
        assert "CNY only" in " ".join(debt.refusal(name, 1, currency="EUR", **body))


def test_a_payment_is_taken_once_and_its_number_stands_for_one_amount() -> None:
    debt = opened()
    debt.pay(3000, 1)
    assert debt.pay(3000, 2) == []
    assert "another amount" in " ".join(debt.refusal(
        "RecordPayment", 2, payment="pay-1", amount=1, currency="CNY", paid_at=days(1)
    ))  # fmt: skip
    assert "future" in " ".join(debt.refusal(
        "RecordPayment", 2, payment="pay-2", amount=1, currency="CNY", paid_at=days(3)
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("payments", "parts"),
    [
        ([7999], [True]),
        ([8000], [False]),  # the oldest bill, whole
        ([7999, 1], [True, False]),
        ([8000, 3000], [False, True]),
        ([3000, 6000, 500], [True, False, True]),
        ([12000], [False]),
        ([13000], [False]),
    ],
)
def test_a_payment_that_covers_no_further_bill_stands_on_the_register(
    payments: list[int], parts: list[bool]
) -> None:
    debt = opened(again(threshold=1))
    for n, amount in enumerate(payments):
        debt.pay(amount, 1 + n, payment=f"pay-{n}")
    seen = [e.part for e in debt.events if type(e).__name__ == "PaymentReceived"]  # type: ignore[attr-defined]
    assert seen == parts
    assert [not p.covers_month for p in debt.state.payments] == parts


@pytest.mark.parametrize("sample", [noticed, eligible, authorised, visited])
def test_part_payment_neither_skips_a_stage_nor_resets_one(sample: Any) -> None:
    debt = sample()
    stage, at = debt.stage, 9.5
    debt.wait(9.5 if stage != Stage.NOTICE_SERVED else 5)
    at = 9.5 if stage != Stage.NOTICE_SERVED else 5
    caused = debt.pay(3000, at)
    assert caused == ["PaymentReceived"]
    assert debt.stage == stage


@pytest.mark.parametrize("rest", [0, 4999, -700])
def test_below_the_threshold_the_chase_ends(rest: int) -> None:
    debt = noticed()
    assert "DebtSettled" in debt.pay(12000 - rest, 3)
    assert debt.stage == Stage.PAID
    assert debt.balance == rest


def test_at_the_threshold_it_goes_on() -> None:
    debt = noticed()
    debt.pay(7000, 3)
    assert (debt.balance, debt.stage) == (5000, Stage.NOTICE_SERVED)


def test_paying_withdraws_what_was_asked_for_and_calls_the_crew_off() -> None:
    debt = awaiting()
    caused = debt.pay(12000, 9.5)
    assert "ApprovalWithdrawn" in caused
    assert "AuthorisationLapsed" not in caused
    debt = visited()
    assert "VisitCancelled" in debt.pay(12000, 9.5)
    assert "visit_cancelled" in debt.told_to("crew-1")


def test_a_paid_case_stays_open_until_no_payment_can_be_taken_back() -> None:
    debt = paid()
    debt.wait(32.9)
    assert debt.stage == Stage.PAID
    debt.wait(33)
    assert debt.stage == Stage.CLOSED
    assert debt.at("ArrearsClosed") == [33]


def test_a_later_payment_into_credit_keeps_the_case_open_for_its_own_reversal() -> None:
    debt = paid()
    debt.pay(9000, 20, payment="pay-2")
    debt.do("AddBills", 25, **bills(9000))
    debt.wait(40)
    assert debt.stage == Stage.PAID
    assert "DebtRevived" in reverse(debt, 45, "pay-2")


def test_a_reversed_payment_puts_the_case_where_it_stood() -> None:
    debt = eligible(LENIENT)
    debt.pay(12000, 9.5)
    assert "DebtRevived" in reverse(debt, 20)
    assert debt.stage == Stage.ELIGIBLE
    assert debt.last("DebtRevived").stage == Stage.ELIGIBLE
    assert debt.balance == 12000


def test_a_notice_goes_on_running_while_a_payment_stood() -> None:
    debt = noticed(LENIENT)
    debt.pay(12000, 3)
    caused = reverse(debt, 20)
    assert caused == ["PaymentReversed", "DebtRevived", "BecameEligible"]
    assert debt.stage == Stage.ELIGIBLE


def test_where_the_policy_says_so_a_reversed_payment_needs_a_fresh_notice() -> None:
    debt = eligible()
    debt.pay(12000, 9.5)
    assert "NoticeVoided" in reverse(debt, 20)
    assert debt.stage == Stage.REMINDED
    stale = debt.refusal("ServeNotice", 20.1, how="door", proof="photo/notice")
    assert "fresh" in " ".join(stale)
    early = debt.refusal("ServeNotice", 15, told=20.2, how="door", proof="photo/2")
    assert "ceased to count" in " ".join(early)
    debt.do("ServeNotice", 20.3, how="door", proof="photo/2")
    debt.wait(27)
    assert debt.stage == Stage.NOTICE_SERVED
    debt.wait(27.3)
    assert debt.stage == Stage.ELIGIBLE


def test_what_was_authorised_before_a_payment_must_be_authorised_anew() -> None:
    debt = visited(authorised(LENIENT))
    debt.pay(12000, 9.5)
    reverse(debt, 9.6)
    assert debt.stage == Stage.ELIGIBLE
    assert debt.do("AuthoriseCutoff", 9.7, actor=BOSS) == ["CutoffAuthorised"]


def test_new_bills_after_payment_are_a_new_chase_with_a_notice_of_their_own() -> None:
    debt = eligible(LENIENT)
    debt.pay(12000, 9.5)
    caused = debt.do("AddBills", 12, **bills(6000))
    assert caused[:3] == ["BillsAdded", "NoticeVoided", "DebtRevived"]
    assert debt.stage == Stage.REMINDED


def test_a_payment_reversed_before_supply_is_restored_leaves_the_stop_as_it_was() -> None:
    debt = reconnecting()
    assert "CommitmentCancelled reconnect" in reverse(debt, 11.2)
    assert debt.stage == Stage.TEMPORARILY_STOPPED
    assert debt.state.notice is not None
    debt.pay(12000, 11.3, payment="pay-2")
    assert debt.stage == Stage.RECONNECT_DUE
    assert debt.promise("reconnect").outstanding


def test_a_stop_order_does_not_outlive_a_payment_that_was_taken_back() -> None:
    debt = ordered()
    debt.pay(12000, 13)
    assert "NoticeVoided" in reverse(debt, 14)
    assert debt.stage == Stage.SELF_REOPENED
    assert "fresh" in " ".join(
        debt.refusal("ServeStopOrder", 14.1, how="door", proof="photo/order")
    )


def test_new_bills_do_not_keep_a_supply_off_that_was_paid_for() -> None:
    debt = reconnecting()
    assert "DebtRevived" in debt.do("AddBills", 11.2, **bills(6000))
    assert debt.stage == Stage.RECONNECT_DUE
    assert debt.promise("reconnect").outstanding
    body = {"crew": "crew-1", "seal_removed": "S-1", "reading": 130}
    debt.do("RecordReconnected", 11.5, actor=CREW, **body)
    assert debt.stage == Stage.REMINDED


def test_after_supply_was_restored_a_reversal_does_not_stop_it_again_by_itself() -> None:
    debt = reconnecting()
    body = {"crew": "crew-1", "seal_removed": "S-1", "reading": 130}
    debt.do("RecordReconnected", 11.5, actor=CREW, **body)
    assert debt.stage == Stage.PAID
    reverse(debt, 20)
    assert (debt.stage, debt.state.supply) == (Stage.REMINDED, "on")


def test_a_payment_is_reversed_once_and_only_if_it_is_known() -> None:
    debt = opened()
    assert "no such payment" in " ".join(
        debt.refusal("ReversePayment", 1, payment="pay-1", reason="x")
    )
    debt.pay(3000, 1)
    assert reverse(debt, 2) == ["PaymentReversed"]
    assert reverse(debt, 3) == []
    assert debt.balance == 12000


def test_a_correction_may_settle_the_debt_or_bring_it_back() -> None:
    debt = noticed(LENIENT)
    body: dict[str, Any] = {"currency": "CNY", "reason": "misread", "evidence": "photo/1"}
    assert "DebtSettled" in debt.do("CorrectBalance", 2, bill="B-1", amount=0, **body)
    assert "DebtRevived" in debt.do("CorrectBalance", 3, bill="B-1", amount=8000, **body)
    assert debt.stage == Stage.NOTICE_SERVED
    assert "no such bill" in " ".join(
        debt.refusal("CorrectBalance", 4, bill="B-7", amount=1, **body)
    )


def test_a_payment_told_late_counts_from_when_it_came_but_revives_nothing() -> None:
    debt = eligible()
    debt.pay(12000, 3, told=9.5)
    assert debt.stage == Stage.PAID
    assert debt.state.settled_at == days(3)


def test_a_payment_while_a_plan_runs_counts_towards_it() -> None:
    debt = planned()
    debt.pay(6000, 12)
    debt.wait(30)
    assert debt.stage == Stage.PLAN_ACTIVE


def test_money_received_after_a_stop_makes_reconnection_due_at_once() -> None:
    debt = stopped()
    caused = debt.pay(12000, VISIT + 2 * HOUR)
    assert "CommitmentStarted reconnect" in caused
    assert debt.promise("reconnect").due == days(VISIT + 2 * HOUR + 1)
