"""Arrears: reminders, notices, holds and plans: what must come first, and what stops a stop."""

from typing import Any

import pytest

from schemas.arrears import Stage
from schemas.base import SYSTEM
from tests.lifecycles.arrears_cases import (
    BOSS,
    CREW,
    HOUR,
    READER,
    Debt,
    again,
    authorised,
    days,
    eligible,
    hold,
    instalments,
    moved_out,
    noticed,
    opened,
    planned,
    reminded,
    reopened,
    stopped,
    visited,
)
from tests.lifecycles.repair_cases import ESTATE, WATER


def contact(debt: Debt, at: float, evidence: str, **fields: Any) -> list[str]:
    return debt.do("RecordContact", at, how="phone", evidence=evidence, **fields)


# Reminders and notices


def test_calls_on_one_day_are_one_reminder() -> None:
    debt = opened()
    contact(debt, 0.1, "call/1")
    contact(debt, 0.2, "call/2")
    assert debt.stage == Stage.OVERDUE
    assert "CommitmentKept remind" in contact(debt, 1, "call/3", actor=READER)
    assert debt.stage == Stage.REMINDED


def test_it_is_the_local_day_that_counts() -> None:
    debt = opened()
    contact(debt, 15 * HOUR, "call/1")  # 23:00 in Shanghai
    contact(debt, 16.5 * HOUR, "call/2")  # half past midnight
    assert debt.stage == Stage.REMINDED


def test_another_policy_asks_for_more_reminders() -> None:
    debt = reminded(again(ESTATE, threshold=100))
    assert len(debt.state.contacts) == 3


def test_evidence_shows_one_contact() -> None:
    debt = opened()
    contact(debt, 0.1, "call/1")
    assert contact(debt, 1.1, "call/1") == []
    assert debt.refusal("RecordContact", 1.1, how="door", evidence="call/1") == [
        "This evidence shows another contact already; name this one's own."
    ]
    assert debt.stage == Stage.OVERDUE


def test_the_notice_comes_after_the_reminders_and_says_until_when_to_pay() -> None:
    assert "not possible" in " ".join(
        opened().refusal("ServeNotice", 1, how="door", proof="photo/1")
    )
    debt = reminded()
    early = debt.refusal("ServeNotice", 0.5, told=2, how="door", proof="photo/1")
    assert "reminded (WAT-C1)" in " ".join(early)
    debt.do("ServeNotice", 1.5, told=2, how="registered_letter", proof="letter/1")
    assert debt.last("NoticeServed").effective_at == days(8.5)
    assert "notice" in debt.told_to("party-1")


def test_a_reminder_told_late_does_not_make_an_earlier_day_reminded() -> None:
    debt = opened()
    contact(debt, 5, "call/2")
    contact(debt, 1, "call/1", told=6)
    why = debt.refusal("ServeNotice", 4, told=7, how="door", proof="photo/1")
    assert "reminded (WAT-C1)" in " ".join(why)


def test_the_period_of_the_notice_is_counted_from_its_delivery() -> None:
    debt = noticed()
    debt.wait(8.49)
    assert debt.stage == Stage.NOTICE_SERVED
    debt.wait(8.6)
    assert debt.at("BecameEligible") == [8.5]
    assert debt.stage == Stage.ELIGIBLE


def test_the_stop_order_follows_the_customers_own_opening() -> None:
    assert "not possible" in " ".join(
        stopped().refusal("ServeStopOrder", 11, how="door", proof="photo/2")
    )
    debt = reopened()
    early = debt.refusal("ServeStopOrder", 10, told=12, how="door", proof="photo/2")
    assert "supply was stopped" in " ".join(early)
    debt.do("ServeStopOrder", 12, how="door", proof="photo/2")
    assert debt.last("StopOrderServed").effective_at == days(15)


# Holds


@pytest.mark.parametrize(
    ("kind", "longest"),
    [("payment_in_flight", 5), ("outage", 7), ("weather", 3), ("public_holiday", 10)],
)
def test_bounded_holds_end_by_themselves(kind: str, longest: int) -> None:
    debt = eligible()
    debt.do("PlaceHold", 9, **hold("h", kind, until=days(200)))
    assert debt.state.holds[0].until == days(9 + longest)
    debt.wait(9 + longest)
    assert debt.at("HoldExpired") == [9 + longest]
    assert debt.held == []


def test_a_hold_may_end_earlier_and_not_before_it_begins() -> None:
    debt = eligible()
    debt.do("PlaceHold", 9, **hold("h", "weather", until=days(10)))
    debt.wait(10)
    assert debt.held == []
    assert "end later" in " ".join(debt.refusal("PlaceHold", 11, **hold("g", until=days(11))))


def test_a_hold_without_end_stands_until_it_is_released() -> None:
    debt = eligible()
    debt.do("PlaceHold", 9, **hold())
    debt.wait(400)
    assert debt.held == ["dispute-1"]
    assert (
        "no such hold" in " ".join(debt.refusal("ReleaseHold", 400, hold="x", reason="x")).lower()
    )


def test_a_name_is_used_once() -> None:
    debt = eligible()
    debt.do("PlaceHold", 9, **hold())
    assert "another name" in " ".join(debt.refusal("PlaceHold", 9, **hold(kind="medical")))
    debt.do("ReleaseHold", 10, hold="dispute-1", reason="over")
    assert "another name" in " ".join(debt.refusal("PlaceHold", 11, **hold()))


def test_the_release_of_another_case_may_arrive_before_its_hold() -> None:
    debt = eligible()
    body = hold("repair-3.1", "open_case")
    assert debt.do("ReleaseHold", 9, actor=SYSTEM, hold="repair-3.1", reason="closed") == [
        "HoldReleased"
    ]
    assert debt.do("PlaceHold", 9.1, actor=SYSTEM, **body) == []
    assert debt.held == []
    again_open = hold("repair-3.2", "open_case")
    assert debt.do("PlaceHold", 9.2, actor=SYSTEM, **again_open) == ["HoldPlaced"]


def test_another_cases_word_to_a_case_that_has_ended_is_heard_and_changes_nothing() -> None:
    debt = moved_out()
    assert debt.do("PlaceHold", 9, actor=SYSTEM, **hold("repair-3.1", "open_case")) == []
    assert debt.do("ReleaseHold", 9, actor=SYSTEM, hold="repair-3.1", reason="closed") == []
    assert debt.refusal("PlaceHold", 9, **hold())


def test_somebody_vulnerable_is_a_hold_from_the_beginning() -> None:
    debt = eligible(vulnerable=True)
    assert debt.held == ["vulnerable"]
    assert debt.refusal("AuthoriseCutoff", 9, actor=BOSS)


def test_a_hold_for_somebodys_sake_restores_a_supply_that_is_stopped() -> None:
    debt = stopped()
    caused = debt.do("PlaceHold", 11, **hold("ill", "medical"))
    assert "CommitmentStarted reconnect" in caused
    assert debt.stage == Stage.TEMPORARILY_STOPPED
    body: dict[str, Any] = {"crew": "crew-1", "seal_removed": "S-1", "reading": 1}
    assert "CommitmentKept reconnect" in debt.do("RecordReconnected", 11.2, actor=CREW, **body)
    assert debt.stage == Stage.ELIGIBLE


def test_a_dispute_after_the_stop_does_not_restore_supply() -> None:
    assert debt_events(stopped(), "PlaceHold", hold()) == ["HoldPlaced"]


def test_a_hold_released_before_supply_was_restored_ends_the_promise() -> None:
    debt = stopped()
    debt.do("PlaceHold", 11, **hold("ill", "medical"))
    caused = debt.do("ReleaseHold", 11.1, hold="ill", reason="mistake")
    assert caused == ["HoldReleased", "CommitmentCancelled reconnect"]


def debt_events(debt: Debt, name: str, body: dict[str, Any]) -> list[str]:
    return debt.do(name, 11, **body)


# Plans


def test_a_plan_stops_the_chase_and_holds_it() -> None:
    debt = visited()
    caused = debt.do("AgreePlan", 9.5, **instalments((6000, 20), (6000, 50)))
    assert caused[:2] == ["PlanAgreed", "HoldPlaced"]
    assert {"AuthorisationLapsed", "VisitCancelled"} <= set(caused)
    assert debt.stage == Stage.PLAN_ACTIVE
    assert debt.held == ["payment-plan"]
    again = debt.do("AgreePlan", 9.6, **instalments((6000, 20), (6000, 50)))
    assert again == []
    assert "ends when the plan" in " ".join(
        debt.refusal("ReleaseHold", 9.7, hold="payment-plan", reason="x")
    )


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([(11999, 20)], "add up"),
        ([(6000, 50), (6000, 20)], "in order"),
        ([(6000, 20), (6000, 20)], "in order"),
        ([(12000, 8)], "before the plan is agreed"),
        ([(12000, 375)], "at most 365 days"),
        ([(1000, 10 + n) for n in range(13)], "At most 12"),
    ],
)
def test_a_plan_keeps_to_the_policy(parts: list[tuple[int, int]], why: str) -> None:
    assert why in " ".join(eligible().refusal("AgreePlan", 9, **instalments(*parts)))


def test_everything_wrong_with_a_plan_is_said_at_once() -> None:
    parts = [(1, 400), (1, 5), *((1, 6) for _ in range(12))]
    assert len(eligible().refusal("AgreePlan", 9, **instalments(*parts))) == 5


def test_an_instalment_may_be_late_by_the_grace_and_not_longer() -> None:
    debt = planned()
    # The 20th day is over at midnight, Shanghai time; then three days of grace.
    broken = 20 + 16 * HOUR + 3
    debt.wait(broken - HOUR)
    assert debt.stage == Stage.PLAN_ACTIVE
    debt.wait(broken)
    assert debt.at("PlanBroken") == [pytest.approx(broken)]
    assert (debt.stage, debt.held) == (Stage.ELIGIBLE, [])
    assert debt.last("PlanBroken").expected == 6000


def test_payments_count_together_towards_the_instalments() -> None:
    debt = planned()
    debt.pay(4000, 12, payment="a")
    debt.pay(2000, 23, payment="b")
    debt.wait(40)
    assert debt.stage == Stage.PLAN_ACTIVE
    debt.wait(60)
    assert debt.last("PlanBroken").expected == 12000
    assert debt.last("PlanBroken").received == 6000


def test_a_plan_that_is_paid_is_kept_and_settles_the_debt() -> None:
    debt = planned()
    debt.pay(6000, 12, payment="a")
    caused = debt.pay(6000, 30, payment="b")
    assert caused == ["PaymentReceived", "DebtSettled", "PlanKept", "HoldReleased"]
    assert debt.stage == Stage.PAID


def test_a_payment_taken_back_may_break_the_plan_at_once() -> None:
    debt = planned()
    debt.pay(6000, 12)
    debt.wait(30)
    debt.do("ReversePayment", 30, payment="pay-1", reason="bounced")
    debt.wait(30)
    assert debt.stage == Stage.ELIGIBLE


def test_the_case_goes_on_where_it_stood_when_a_plan_breaks() -> None:
    debt = noticed()
    debt.do("AgreePlan", 2, **instalments((12000, 3)))
    debt.wait(7)
    assert debt.stage == Stage.NOTICE_SERVED
    debt.wait(9)
    assert debt.stage == Stage.ELIGIBLE


def test_a_plan_agreed_after_the_stop_restores_supply() -> None:
    debt = stopped()
    assert "CommitmentStarted reconnect" in debt.do("AgreePlan", 11, **instalments((12000, 30)))
    body: dict[str, Any] = {"crew": "crew-1", "seal_removed": "S-1", "reading": 1}
    debt.do("RecordReconnected", 11.5, actor=CREW, **body)
    assert (debt.stage, debt.state.supply) == (Stage.PLAN_ACTIVE, "on")
    debt.wait(60)
    assert debt.stage == Stage.ELIGIBLE


def test_a_second_plan_has_a_hold_of_its_own() -> None:
    debt = planned()
    debt.wait(30)
    debt.do("AgreePlan", 30, **instalments((12000, 40)))
    assert debt.held == ["payment-plan-2"]


def test_a_hold_does_not_lose_what_was_reached() -> None:
    debt = authorised(WATER)
    debt.do("PlaceHold", 9.5, **hold())
    debt.do("ReleaseHold", 9.6, hold="dispute-1", reason="over")
    assert debt.stage == Stage.ELIGIBLE
