"""Arrears, the money: bills less payments that stand, in whole minor units of one currency."""

from collections.abc import Iterable, Iterator

from lifecycles import approvals
from lifecycles.arrears_evolve import Events, Results, evolve
from lifecycles.arrears_stages import stage_of
from lifecycles.calendars import local
from lifecycles.changes import changed, made
from lifecycles.decisions import By, No
from schemas.arrears import (
    AddBills,
    ArrearsState,
    BalanceCorrected,
    Bill,
    BillsAdded,
    Charge,
    CorrectBalance,
    Currency,
    DebtRevived,
    DebtSettled,
    NoticeVoided,
    Payment,
    PaymentReceived,
    PaymentReversed,
    RecordPayment,
    ReversePayment,
    Stage,
)
from schemas.base import Reference
from schemas.envelope import PartPaymentSummary


def balance(state: ArrearsState) -> int:
    """What is owed, in the currency's smallest unit; negative where too much was paid."""
    return sum(b.amount for b in state.bills) - paid(state)


def paid(state: ArrearsState) -> int:
    """All that came in and was not taken back."""
    return sum(p.amount for p in state.payments if p.reversed_at is None)


def owes(state: ArrearsState) -> bool:
    """Whether so much is owed that the account is chased."""
    return enough(state, balance(state))


def enough(state: ArrearsState, amount: int) -> bool:
    return amount >= max(state.rules.threshold, 1)


def covered(bills: Iterable[Charge], money: int) -> int:
    """How many whole bills the money covers, the oldest first."""
    count = 0
    for bill in sorted(bills, key=lambda b: (b.due, b.bill)):
        money -= bill.amount
        if money < 0:
            break
        count += 1
    return count


def add_bills(state: ArrearsState, c: AddBills, by: By) -> Results:
    yield from same_currency(state, c.currency)
    yield from sound(state, c.bills, by)
    known = {b.bill: b.billed for b in state.bills}
    if any(known.get(b.bill, b.amount) != b.amount for b in c.bills):
        yield No("A bill is known with another amount: correct it instead (CorrectBalance).")
    new = tuple(b for b in c.bills if b.bill not in known)
    if new:
        total = balance(state) + sum(b.amount for b in new)
        yield BillsAdded(at=by.at, bills=new, run=c.run, balance=total)


def sound(state: ArrearsState, bills: tuple[Bill, ...], by: By) -> Iterator[No]:
    """Whether these are overdue bills, each once."""
    if len({b.bill for b in bills}) < len(bills):
        yield No("A bill stands twice; name each once.")
    today = local(state.policy.calendar, by.at).date()
    if any(b.due >= today for b in bills):
        yield No("A bill is not overdue yet; name only those whose day to pay is over.")


def same_currency(state: ArrearsState, currency: Currency) -> Iterator[No]:
    """One currency per case: nothing is ever converted."""
    known = state.currency or state.rules.currency
    if currency != known:
        yield No(f"This is reckoned in {known} only; correct `currency`.")


def record_payment(state: ArrearsState, c: RecordPayment, by: By) -> Results:
    yield from same_currency(state, c.currency)
    known = payment_of(state, c.payment)
    if known and known.amount == c.amount:
        return
    if known:
        yield No("This payment is known with another amount; check its number.")
    if c.paid_at > by.heard:
        yield No("The payment lies in the future; correct `paid_at`.")
    before = paid(state)
    rest = balance(state) - c.amount
    further = covered(state.bills, before + c.amount) > covered(state.bills, before)
    yield PaymentReceived(
        at=by.at,
        payment=c.payment,
        amount=c.amount,
        paid_at=c.paid_at,
        balance=rest,
        part=rest > 0 and not further,  # WAT-B9
    )


def payment_of(state: ArrearsState, name: Reference) -> Payment | None:
    return next((p for p in state.payments if p.payment == name), None)


def reverse_payment(state: ArrearsState, c: ReversePayment, by: By) -> Results:
    known = payment_of(state, c.payment)
    if known is None:
        yield No("This case knows no such payment; record it first, or check its number.")
        return
    if known.reversed_at is not None:
        return
    total = balance(state) + known.amount
    yield PaymentReversed(at=by.at, payment=c.payment, reason=c.reason, balance=total)


def correct_balance(state: ArrearsState, c: CorrectBalance, by: By) -> Results:
    yield from same_currency(state, c.currency)
    bill = next((b for b in state.bills if b.bill == c.bill), None)
    if bill is None:
        yield No("This case knows no such bill; add it first (AddBills).")
        return
    if bill.amount == c.amount:
        return
    yield BalanceCorrected(
        at=by.at,
        bill=c.bill,
        amount=c.amount,
        reason=c.reason,
        evidence=c.evidence,
        balance=balance(state) - bill.amount + c.amount,
    )


def register(state: ArrearsState) -> tuple[PartPaymentSummary, ...]:
    """The part payments, as their register shows them (WAT-B9)."""
    account, currency = state.account, state.currency
    if account is None or currency is None:
        return ()
    return tuple(
        [
            made(
                PartPaymentSummary,
                account=account,
                payment=p.payment,
                amount=p.amount,
                currency=currency,
                paid_at=p.paid_at,
                reversed_at=p.reversed_at,
            )
            for p in state.payments
            if not p.covers_month
        ]
    )


# What follows from the balance


def settled(before: ArrearsState, state: ArrearsState, by: By) -> Events:
    """Below the threshold the chase ends; above it again it goes on where it stood."""
    if state.opened_at is None or state.ends_as:
        return
    if not owes(state) and state.settled_at is None:
        yield DebtSettled(at=by.at, balance=balance(state))
        yield from approvals.withdraw_all(state, "paid", by)
    elif owes(state) and state.settled_at is not None:
        yield from _revived(before, state, by)


def _revived(before: ArrearsState, state: ArrearsState, by: By) -> Events:
    """Other bills are another debt: a stop for the old one ends, and they need their own notice."""
    other_debt = len(state.bills) > len(before.bills)
    off = state.supply != "on"
    keeps_off = off and not (other_debt or state.reconnect or state.wrongful)
    if other_debt or state.rules.fresh_notice:
        reason = "other_debt" if other_debt else "paid_meanwhile"
        # The notice of a stop that stands was good when the valve closed.
        if state.notice and not keeps_off:
            voided = NoticeVoided(at=by.at, kind="notice", reason=reason)
            yield voided
            state = evolve(state, voided)
        if state.stop_order:
            voided = NoticeVoided(at=by.at, kind="stop_order", reason=reason)
            yield voided
            state = evolve(state, voided)
    goes_on = changed(state, settled_at=None)
    stage = Stage.RECONNECT_DUE if off and not keeps_off else stage_of(goes_on)
    yield DebtRevived(at=by.at, balance=balance(state), stage=stage)
