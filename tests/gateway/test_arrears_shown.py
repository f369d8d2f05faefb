"""Arrears as people read them: amounts, conditions of a stop, holds, plans, and what comes next."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from gateway.timeline import Timeline, timeline
from gateway.words import arrears, money, obeyed, words
from lifecycles.arrears_guards import Look, Stopping, checks
from schemas.arrears import ArrearsEvents
from schemas.policy import HoldKind
from tests.gateway.shown import drawn, recorded
from tests.lifecycles.arrears_cases import (
    HOUR,
    LARGE,
    MINUTE,
    SAMPLES,
    VISIT,
    Debt,
    awaiting,
    days,
    fully_stopped,
    hold,
    noticed,
    opened,
    permitted,
    planned,
    reconnecting,
    visited,
)
from tests.lifecycles.repair_cases import WATER


def shown(debt: Debt, at: float, *, ahead: int = 3) -> Timeline:
    return timeline("town", debt.state.case_id, WATER, recorded(debt.steps), days(at), ahead=ahead)


def text(debt: Debt, type: str, at: float = 20) -> str:
    return next(e.text for e in reversed(shown(debt, at).events) if e.type == type)


def when(at: Any) -> str:
    return f"{at:%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        (12345, "CNY", "CNY 123.45"),
        (5, "CNY", "CNY 0.05"),
        (0, "CNY", "CNY 0.00"),
        (-1, "CNY", "CNY -0.01"),
        (-12345, "EUR", "EUR -123.45"),
        (12345, "JPY", "JPY 12345"),
        (12345, "KWD", "KWD 12.345"),
        (5, "CLF", "CLF 0.0005"),
        (10**12, "CNY", "CNY 10000000000.00"),
        (7, None, "7 (in the smallest unit)"),
    ],
)
def test_amounts_are_written_exactly_in_their_currencys_own_decimals(
    amount: int, currency: str | None, written: str
) -> None:
    assert money(amount, currency) == written


def test_an_account_is_told_by_what_it_owes_and_what_protects_it() -> None:
    debt = opened(**LARGE, boilers=True)
    assert text(debt, "ArrearsOpened", 1) == (
        "account A-1 is overdue (欠费): 2 bills, CNY 120.00 in all; DN40, industrial, boilers,"
        " district north; unit water-collection has it"
    )
    head = drawn(shown(debt, 1))
    assert "account A-1 overdue (欠费): DN40, industrial, boilers, district north" in head
    assert "CNY 120.00 is owed; supply on, premises P-1" in head


def test_a_part_payment_stands_on_the_register_and_clears_nothing() -> None:
    debt = opened()
    debt.pay(100, 1)
    entry = next(e for e in shown(debt, 2).events if e.type == "PaymentReceived")
    assert entry.text == (
        "CNY 1.00 paid on 3 Mar 08:00 (pay-1); CNY 119.00 is owed; it covers no whole bill and"
        " stands on the register"
    )
    debt.pay(7900, 2, "pay-2")
    assert "register" not in text(debt, "PaymentReceived", 3)
    rules = {e.rule for e in shown(debt, 3).events if e.type == "PaymentReceived"}
    assert rules == {"WAT-B9", None}


def test_a_permit_names_every_condition_with_its_rule() -> None:
    told = text(permitted(), "PermitIssued")
    assert told.startswith(
        "crew-1 may close the valve once, a temporary stop, before 12 Mar 10:10: permit"
        " (停供许可) permit-1, ✓ reminders (WAT-C1), ✓ notice (WAT-C2), ✓ balance (WAT-C2),"
    )
    assert "✗" not in told
    assert told.count("✓") == len(permitted().state.permits[0].guards)


def test_a_closing_without_a_permit_names_the_conditions_that_failed() -> None:
    debt = noticed()
    debt.close(3, permit=None)
    told = text(debt, "UnpermittedCut")
    assert told.startswith("incident: no right to close the valve (no permit): ✓ reminders")
    assert "✗ notice (WAT-C2)" in told
    assert "WITHOUT a permit that held" in text(debt, "ValveClosed")
    assert "temporary stop by crew-1, valve V-1, WITHOUT a permit that held" in drawn(
        shown(debt, 4), width=120
    )


def test_every_condition_of_a_stop_and_every_hold_has_plain_words() -> None:
    stopping = Stopping("crew-1", days(11), True)
    look = Look((), days(11))
    known = [c.guard.name for debt in (opened(), awaiting()) for full in (True, False)
             for c in checks(debt.state, stopping._replace(full=full), look)]  # fmt: skip
    assert set(known) <= set(arrears.GUARDS)
    assert set(arrears.HOLDS) == set(get_args(HoldKind))


def test_holds_and_plans_are_told_in_plain_words() -> None:
    debt = opened()
    debt.do("PlaceHold", 1, **hold("flight", "payment_in_flight"))
    assert text(debt, "HoldPlaced", 2) == (
        "no stop: a payment is on its way (flight, letter/7), until 8 Mar 08:00 at most"
    )
    assert "no stop: a payment is on its way (flight)" in drawn(shown(debt, 2))
    expiry = next(n for n in shown(debt, 2, ahead=9).next if n.text.startswith("hold flight"))
    assert expiry.unless == "it is released before"
    agreed = text(planned(), "PlanAgreed")
    assert agreed == (
        "payment by instalments is agreed (letter/plan): CNY 60.00 by 2026-03-22, CNY 60.00 by"
        " 2026-04-21"
    )


def test_the_approval_of_a_stop_shows_its_facts_with_amounts_and_that_silence_is_no_yes() -> None:
    (asked,) = shown(awaiting(), 9.1).approvals
    assert asked.about == "a stop of supply (停供)"
    assert "balance: CNY 120.00" in asked.facts_text
    assert "bills: B-1 CNY 80.00, B-2 CNY 40.00" in asked.facts_text
    assert asked.silence_text != "it counts as approved"


def test_rules_follow_what_an_event_says() -> None:
    rules = [(e.type, e.rule) for e in shown(fully_stopped(), 16).events]
    assert ("NoticeServed", "WAT-C2") in rules
    assert ("StopOrderServed", "WAT-C4a") in rules
    assert [r for t, r in rules if t == "ValveClosed"] == ["WAT-C2", "WAT-C4b"]
    assert [r for t, r in rules if t == "PermitIssued"] == ["WAT-C2", "WAT-C4b"]
    assert {"WAT-C1", "WAT-C2", "WAT-C3", "WAT-C4a", "WAT-C4b", "WAT-C4c", "WAT-B9"} <= obeyed(
        WATER.policy
    )


def test_what_the_clock_brings_says_what_prevents_it() -> None:
    coming = {n.text: n.unless for n in shown(noticed(), 2, ahead=3).next}
    assert (
        coming["still unpaid at the end of the notice's period; somebody must authorise a stop"]
        == "it is paid before"
    )
    expiry = shown(permitted(), VISIT + HOUR + MINUTE).next[0]
    assert expiry.text == "permit permit-1 was not used in time: the valve stays open"
    assert expiry.unless == "the valve is closed on it before"
    due = [n for n in shown(reconnecting(), 11.1, ahead=9).next if n.text.endswith("is broken")]
    assert [n.unless for n in due] == ["supply is restored before"]
    (broken, *_) = [n for n in shown(planned(), 10, ahead=9).next if "plan is broken" in n.text]
    assert broken.text == (
        "the plan is broken: CNY 0.00 came of CNY 60.00 due by 2026-03-22; the case goes on where"
        " it stood"
    )
    assert broken.unless == "the instalment is paid before"


@pytest.mark.parametrize("stage", sorted(set(SAMPLES) - {"Unopened"}))
def test_a_case_at_any_stage_can_be_drawn(stage: Any) -> None:
    found = shown(SAMPLES[stage](), 45, ahead=5)
    assert "account A-1 overdue" in drawn(found)
    assert "smallest unit" not in drawn(found)


def _told() -> Iterator[Any]:
    for made in SAMPLES.values():
        yield from made().events
    debt = noticed()
    debt.close(3, permit=None)
    debt.do("PlaceHold", 4, **hold(until=days(5).isoformat()))
    debt.do("RecordReconnectionFailed", 4.5, crew="crew-1", reason="nobody-in", evidence="card/1")
    debt.do("RecordReconnected", 6, crew="crew-1", seal_removed="S-1", reading=130)
    yield from debt.events
    yield from _ended_visits()


def _ended_visits() -> Iterator[Any]:
    debt = visited()
    debt.do("RecordVisitFailed", VISIT + HOUR, crew="crew-1", reason="nobody-in", evidence="card/2")
    debt.pay(100, 12)
    debt.do("ReversePayment", 13, payment="pay-1", reason="bounced")
    debt.pay(11900, 14, "pay-2")
    debt.do("ReversePayment", 15, payment="pay-2", reason="bounced")
    yield from debt.events
    for made in (visited(), permitted(), planned()):
        made.wait(60)
        yield from made.events
    revoked = permitted()
    revoked.do("PlaceHold", VISIT + HOUR + MINUTE, **hold("sick", "medical"))
    revoked.do("ReleaseHold", 15.1, hold="sick", reason="moved_away")
    bill = {"bill": "B-3", "amount": 7000, "due": "2026-03-01"}
    revoked.do("AddBills", 16, currency="CNY", run="run-2", bills=[bill])
    corrected = {"bill": "B-3", "amount": 100, "reason": "misread", "evidence": "photo/1"}
    revoked.do("CorrectBalance", 17, currency="CNY", **corrected)
    yield from revoked.events
    kept = planned()
    kept.pay(12000, 12)
    bill = {"bill": "B-3", "amount": 7000, "due": "2026-03-05"}
    kept.do("AddBills", 16, currency="CNY", run="run-2", bills=[bill])
    yield from kept.events


def test_every_event_that_happens_has_words_and_shows_no_bare_code() -> None:
    seen: set[str] = set()
    for event in _told():
        if isinstance(event, ArrearsEvents):
            told = words(event, when, "CNY")
            assert told
            assert "_" not in told, told
            seen.add(event.type)
    assert seen == {kind.__name__ for kind in get_args(ArrearsEvents)}
