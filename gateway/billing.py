"""Who owes what, as of a date: bills less payments, the oldest bill paid first. Pure.

Amounts are whole smallest units of one currency; dates are days of the organisation's calendar.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple

from schemas.policy import CustomerClass

BOOKED_LATE = timedelta(days=30)  # never changes: open cases rest on it
"""A payment may be booked so long after its day.

A case therefore knows each payment of the last days before it was opened by itself; only older ones
are in what its bills had left. A payment that turns up later is then known to be new.
"""


class Bill(NamedTuple):
    """A bill, or what is left of it."""

    bill: str
    amount: int
    due: date
    """The last day to pay it."""


class Payment(NamedTuple):
    """Money that came in on a day."""

    payment: str
    amount: int
    paid: date


@dataclass(slots=True)
class Account:
    """A customer's account with all that the files hold of it."""

    number: str
    premises: str
    district: str
    dn: int
    customer_class: CustomerClass
    reader: str | None = None
    vulnerable: bool = False
    boilers: bool = False
    continuous_production: bool = False
    bills: list[Bill] = field(default_factory=list[Bill])
    payments: list[Payment] = field(default_factory=list[Payment])


class Debt(NamedTuple):
    """What is overdue: what is left of each bill, the oldest first."""

    bills: tuple[Bill, ...]

    @property
    def balance(self) -> int:
        return sum(bill.amount for bill in self.bills)


class Opening(NamedTuple):
    """What a new case begins with; `bills` less `payments` is the debt."""

    bills: tuple[Bill, ...]
    payments: tuple[Payment, ...]


def remainders(bills: Iterable[Bill], money: int) -> list[Bill]:
    """What is left of the bills when the money paid the oldest ones first."""
    left: list[Bill] = []
    for bill in sorted(bills, key=lambda b: (b.due, b.bill)):
        used = min(money, bill.amount)
        money -= used
        if used < bill.amount:
            left.append(bill._replace(amount=bill.amount - used))
    return left


def overdue(account: Account, as_of: date, forgiven: int = 0) -> Debt:
    """What is unpaid of the bills due before `as_of`; payments of that very day count.

    `forgiven` is what earlier cases corrected or gave up: it counts as paid.
    """
    money = received(account.payments, as_of) + forgiven
    return Debt(tuple(b for b in remainders(account.bills, money) if b.due < as_of))


def opening(account: Account, as_of: date, forgiven: int = 0) -> Opening:
    """How a case of the debt begins: the last days' payments by themselves."""
    before = as_of - BOOKED_LATE
    money = received(account.payments, before) + forgiven
    bills = [b for b in remainders(account.bills, money) if b.due < as_of]
    recent = [p for p in account.payments if before < p.paid <= as_of]
    return Opening(tuple(bills), tuple(sorted(recent, key=lambda p: (p.paid, p.payment))))


def received(payments: Sequence[Payment], until: date) -> int:
    """All money of the days up to and including `until`."""
    return sum(p.amount for p in payments if p.paid <= until)


def told(account: Account, as_of: date) -> int:
    """Bills due before `as_of` less payments; negative where too much was paid."""
    billed = sum(b.amount for b in account.bills if b.due < as_of)
    return billed - received(account.payments, as_of)
