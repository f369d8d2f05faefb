"""Arrears: the stop register (WAT-C4c), self-reopening, restoring, how a case ends, who is told."""

from typing import Any

import pytest

from schemas.arrears import Stage
from tests.lifecycles.arrears_cases import (
    CREW,
    HOUR,
    MINUTE,
    SAMPLES,
    VISIT,
    Debt,
    authorised,
    closed,
    days,
    eligible,
    fully_stopped,
    noticed,
    opened,
    ordered,
    paid,
    permitted,
    reconnecting,
    reopened,
    stopped,
    visited,
    withdrawn,
)

RESTORED: dict[str, Any] = {"crew": "crew-1", "seal_removed": "S-1", "reading": 130}


def restore(debt: Debt, at: float, **fields: Any) -> list[str]:
    return debt.do("RecordReconnected", at, actor=CREW, **{**RESTORED, **fields})


def test_the_register_holds_every_closing_and_whether_supply_is_on() -> None:
    debt = fully_stopped()
    assert [(s.kind, s.valve, s.seal, s.permitted) for s in debt.state.stops] == [
        ("temporary", "V-1", "S-1", True), ("full", "V-1", "S-2", True),
    ]  # fmt: skip
    supplies = [
        f().state.supply for f in (permitted, stopped, reopened, ordered, fully_stopped, paid)
    ]
    assert supplies == [
        "on", "temporarily_stopped", "self_reopened", "self_reopened", "fully_stopped", "on",
    ]  # fmt: skip
    debt.pay(12000, 16)
    assert debt.state.supply == "fully_stopped", "paid, but nobody has been there yet"
    restore(debt, 16.5)
    assert debt.state.supply == "on"


def test_reconnection_is_a_promise_with_a_ladder_that_climbs_until_supply_is_on() -> None:
    debt = reconnecting()
    assert debt.promise("reconnect").due == days(12)
    debt.wait(13)
    assert debt.promise("reconnect").state == "broken"
    assert "escalation" in debt.told_to("division_head")
    assert "CommitmentMetLate reconnect" in restore(debt, 13.5)
    assert debt.stage == Stage.PAID


def test_a_failed_reconnection_leaves_it_due() -> None:
    debt = reconnecting()
    body: dict[str, Any] = {"crew": "crew-1", "reason": "nobody-in", "evidence": "card/1"}
    assert debt.do("RecordReconnectionFailed", 11.2, actor=CREW, **body) == ["ReconnectionFailed"]
    assert debt.do("RecordReconnectionFailed", 11.3, actor=CREW, **body) == []
    assert debt.stage == Stage.RECONNECT_DUE
    assert debt.promise("reconnect").outstanding
    assert "No supply" in " ".join(
        stopped().refusal("RecordReconnectionFailed", 11, actor=CREW, **body)
    )


def test_supply_that_is_on_is_not_restored_and_not_before_it_was_stopped() -> None:
    assert "not possible" in " ".join(
        eligible().refusal("RecordReconnected", 10, actor=CREW, **RESTORED)
    )
    debt = reconnecting()
    early = debt.refusal("RecordReconnected", VISIT, told=12, actor=CREW, **RESTORED)
    assert "valve was closed" in " ".join(early)


def test_a_case_whose_supply_came_back_late_still_waits_for_reversals_and_then_closes() -> None:
    debt = reconnecting()
    restore(debt, 12)
    debt.wait(40.9)
    assert debt.stage == Stage.PAID
    debt.wait(41)
    assert debt.stage == Stage.CLOSED
    debt = reconnecting()
    debt.wait(50)
    restore(debt, 50)
    debt.wait(50)
    assert debt.stage == Stage.CLOSED


def test_a_customer_opens_only_what_was_closed() -> None:
    assert "not possible" in " ".join(
        eligible().refusal("ReportSelfReopened", 10, evidence="photo/1")
    )
    assert "not possible" in " ".join(
        fully_stopped().refusal("ReportSelfReopened", 16, evidence="photo/1")
    )
    early = stopped().refusal("ReportSelfReopened", 10, told=12, evidence="photo/1")
    assert "valve was closed" in " ".join(early)


def test_a_valve_opened_by_the_customer_after_paying_is_still_to_be_seen_to() -> None:
    debt = reconnecting()
    assert debt.do("ReportSelfReopened", 11.2, evidence="photo/1") == ["SelfReopened"]
    assert (debt.stage, debt.state.supply) == (Stage.RECONNECT_DUE, "self_reopened")
    assert "CommitmentKept reconnect" in restore(debt, 11.5)


def test_a_supply_restored_though_nothing_was_paid_is_chased_on() -> None:
    debt = stopped()
    restore(debt, 11)
    assert debt.stage == Stage.ELIGIBLE
    assert debt.state.authorised_by is None


# How it ends


@pytest.mark.parametrize("sample", [opened, eligible, visited, paid])
def test_a_move_out_ends_the_chase(sample: Any) -> None:
    debt = sample()
    at = 9.5 if debt.stage != Stage.PAID else 5
    debt.do("RecordMoveOut", at, moved_at=days(1), evidence="letter/1")
    assert debt.stage == Stage.MOVED_OUT
    assert not debt.state.holds


def test_a_move_out_lies_in_the_past() -> None:
    why = opened().refusal("RecordMoveOut", 1, moved_at=days(2), evidence="x")
    assert "not moved yet" in " ".join(why)


def test_who_comes_after_a_move_out_gets_supply_back_and_inherits_nothing() -> None:
    debt = stopped()
    caused = debt.do("RecordMoveOut", 11, moved_at=days(10.9), evidence="letter/1")
    assert "CommitmentStarted reconnect" in caused
    assert debt.stage == Stage.RECONNECT_DUE
    restore(debt, 11.5)
    assert debt.stage == Stage.MOVED_OUT
    assert not any(c.outstanding for c in debt.state.commitments)


def test_new_bills_after_a_move_out_bring_nothing_back() -> None:
    debt = stopped()
    debt.do("RecordMoveOut", 11, moved_at=days(10.9), evidence="letter/1")
    bill = {"bill": "B-9", "amount": 9000, "due": "2026-02-01"}
    assert debt.do("AddBills", 11.2, currency="CNY", run="r", bills=[bill]) == ["BillsAdded"]
    assert debt.stage == Stage.RECONNECT_DUE


def test_a_mistake_is_withdrawn_before_any_stop_only() -> None:
    assert withdrawn().stage == Stage.WITHDRAWN
    assert not any(c.outstanding for c in withdrawn().state.commitments)
    debt = reconnecting()
    restore(debt, 11.5)
    assert "Supply was stopped" in " ".join(debt.refusal("WithdrawArrears", 12, reason="x"))


def test_an_ended_case_takes_no_more_payments() -> None:
    debt = closed()
    why = debt.refusal("RecordPayment", 41, payment="p", amount=1, currency="CNY", paid_at=days(41))
    assert "possible now" in " ".join(why)


# Who is told


def test_the_customer_and_the_crew_are_told_what_concerns_them() -> None:
    debt = fully_stopped()
    debt.pay(12000, 16)
    restore(debt, 16.5)
    debt.wait(60)
    assert debt.told_to("party-1") == [
        "arrears", "notice", "stop_announced", "supply_stopped", "stop_order", "supply_stopped",
        "payment_received", "settled", "reconnection_promised", "supply_restored", "done",
    ]  # fmt: skip
    assert debt.told_to("crew-1") == ["visit", "permit_issued", "permit_issued"]
    assert debt.told_to("reader-1") == ["remind"]


def test_an_account_without_a_party_or_reader_is_seen_to_by_the_unit() -> None:
    debt = noticed(party=None, reader=None)
    assert "remind" in debt.told_to("water-collection")
    assert {m.to for m in debt.messages} == {"unit"}


def test_messages_hold_ids_codes_and_whole_amounts_only() -> None:
    for sample in SAMPLES.values():
        for m in sample().messages:
            assert all(isinstance(v, str | int | None) for v in m.params.values())
            assert m.params["case"] == "arrears-1"


def test_the_reader_is_told_at_once_and_the_reminder_is_a_promise() -> None:
    debt = opened()
    debt.wait(7)
    assert debt.promise("remind").state == "broken"
    assert "escalation" in debt.told_to("supervisor")


def test_paying_ends_the_promise_to_remind_and_owing_again_makes_a_new_one() -> None:
    debt = opened()
    assert "CommitmentCancelled remind" in debt.pay(12000, 1)
    caused = debt.do("ReversePayment", 2, payment="pay-1", reason="bounced")
    assert "CommitmentStarted remind-2" in caused


def test_the_clock_needs_nothing_once_a_case_is_over() -> None:
    debt = authorised()
    at = VISIT + MINUTE + HOUR
    debt.do("RecordMoveOut", at, moved_at=days(10), evidence="letter/1")
    assert debt.wait(500) == []
