"""An account's arrears case: which one it is, what it knows, and the commands that bring it news.

One case at a time: its name is made of the account and of how many of its cases have ended, so that
two importers at once mean the same one.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

from activities.cases import Cases
from activities.log_reader import LogReader
from gateway.billing import BOOKED_LATE, Account, Bill, Opening, Payment
from lifecycles.arrears_notices import VULNERABLE
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import lifecycle_of
from lifecycles.policies import pinned
from schemas.arrears import ArrearsState, Stage
from schemas.calendar import Calendar
from schemas.envelope import CommandOutcome, Json
from schemas.read_models import CaseRow

_ACTOR: Json = {"subject": "import", "role": "service", "proof": "import"}
_GIVEN_UP = (Stage.MOVED_OUT, Stage.WRITTEN_OFF, Stage.WITHDRAWN)
"""Nobody is chased again for what such a case left unpaid."""


class Run(NamedTuple):
    """A billing run: the same source and date are the same run."""

    source: str
    as_of: date
    currency: str

    @property
    def id(self) -> str:
        return f"{self.source}/{self.as_of}"


def case_of_account(organisation: str, account: str, number: int) -> str:
    """The account's so-many-th case, counted from 1."""
    opaque = uuid5(NAMESPACE_URL, f"standpipe/{organisation}/account/{account}").hex[:16]
    return f"arrears-{opaque}-{number}"


class Latest(NamedTuple):
    """An account's latest case; no row where it never had one."""

    number: int
    row: CaseRow | None

    @property
    def next_number(self) -> int:
        """That of the case to open if none is open."""
        return self.number + 1

    @property
    def open(self) -> bool:
        return self.row is not None and self.row.closed_at is None


async def latest_cases(
    log: LogReader, organisation: str, accounts: Iterable[str]
) -> dict[str, Latest]:
    """Each account's latest case, found by name: nothing is searched."""
    found = dict.fromkeys(accounts, Latest(0, None))
    asked: list[str] = list(found)
    while asked:
        ids = {
            case_of_account(organisation, account, found[account].next_number): account
            for account in asked
        }
        asked.clear()
        for row in await log.cases_of(organisation, list(ids)):
            account = ids[row.case_id]
            found[account] = Latest(found[account].next_number, row)
            asked.append(account)
    return found


async def state_of(log: LogReader, organisation: str, case_id: str) -> ArrearsState:
    """A case as the log has it. `Rejected` if the log has no such case."""
    policy = await log.policy_of(organisation, case_id)
    if policy is None:
        raise Rejected(["There is no such case."])
    lifecycle = lifecycle_of(case_id)
    events = [lifecycle.event(e.body) for e in await log.read_stream(organisation, case_id)]
    return lifecycle.fold(lifecycle.initial(case_id, organisation, *pinned(policy)), events)


async def forgiven(log: LogReader, organisation: str, account: str, cases: int) -> int:
    """What the account's first so many cases took off its bills: the files do not know it."""
    total = 0
    for number in range(1, cases + 1):
        s = await state_of(log, organisation, case_of_account(organisation, account, number))
        corrected = sum(bill.billed - bill.amount for bill in s.bills)
        left = sum(bill.amount for bill in s.bills) - _standing(s)
        total += max(corrected, 0) + (max(left, 0) if s.stage in _GIVEN_UP else 0)
    return total


def _standing(s: ArrearsState) -> int:
    return sum(p.amount for p in s.payments if p.reversed_at is None)


def told_to(s: ArrearsState) -> int:
    """Bills less payments as the case heard of them, corrections and reversals aside."""
    return sum(bill.billed for bill in s.bills) - sum(p.amount for p in s.payments)


def midnight(calendar: Calendar, day: date) -> datetime:
    """When a day begins by the organisation's clock (UTC)."""
    return datetime.combine(day, time(), ZoneInfo(calendar.time_zone)).astimezone(UTC)


def day_of(calendar: Calendar, at: datetime) -> date:
    """The day that the organisation's calendar shows at an instant."""
    return at.astimezone(ZoneInfo(calendar.time_zone)).date()


def begun(s: ArrearsState) -> datetime:
    """When an opened case begins (UTC)."""
    assert s.opened_at is not None, "what the log has was opened"
    return s.opened_at


# What is to be said


def opening_commands(
    run: Run, account: Account, opening: Opening, calendar: Calendar
) -> list[Json]:
    """A new case with its bills, and the payments that may cover them in part."""
    at = midnight(calendar, run.as_of)
    body: Json = {
        "type": "OpenArrears",
        "account": account.number,
        "premises": account.premises,
        "reader": account.reader,
        "dn": account.dn,
        "customer_class": account.customer_class,
        "boilers": account.boilers,
        "continuous_production": account.continuous_production,
        "vulnerable": account.vulnerable,
        "district": account.district,
        "currency": run.currency,
        "bills": _bills(opening.bills),
        "run": run.id,
    }
    commands = [_command(f"billing/{run.id}/{account.number}/open", at, body)]
    return commands + [payment_command(p, run.currency, at, calendar) for p in opening.payments]


def news(run: Run, account: Account, s: ArrearsState) -> list[Json]:
    """What an open case does not know yet, in an order in which it does not end in between."""
    commands: list[Json] = []
    first = day_of(s.policy.calendar, begun(s))
    known = {bill.bill for bill in s.bills}
    bills = [b for b in account.bills if first <= b.due < run.as_of and b.bill not in known]
    if s.ends_as is not None:
        return payments_news(account.payments, run.as_of, run.currency, s)
    if account.vulnerable and not _vulnerable(s):
        place: Json = {
            "type": "PlaceHold",
            "hold": VULNERABLE,
            "kind": "vulnerable",
            "source": run.id,
        }
        at = midnight(s.policy.calendar, run.as_of)
        commands.append(_command(f"billing/{run.id}/{account.number}/vulnerable", at, place))
    if bills:
        bills.sort(key=lambda b: (b.due, b.bill))
        add: Json = {
            "type": "AddBills",
            "currency": run.currency,
            "bills": _bills(bills),
            "run": run.id,
        }
        # The same run over corrected files may find other bills: then it is another command.
        which = uuid5(NAMESPACE_URL, "/".join(f"{b.bill}={b.amount}" for b in bills)).hex[:8]
        name = f"billing/{run.id}/{account.number}/bills/{which}"
        commands.append(_command(name, midnight(s.policy.calendar, run.as_of), add))
    return commands + payments_news(account.payments, run.as_of, run.currency, s)


def payments_news(
    payments: Iterable[Payment], until: date, currency: str, s: ArrearsState
) -> list[Json]:
    """The payments, up to a day, that the case does not know yet, in order of time."""
    since = day_of(s.policy.calendar, begun(s)) - BOOKED_LATE
    known = {p.payment for p in s.payments}
    new = [p for p in payments if since < p.paid <= until and p.payment not in known]
    new.sort(key=lambda p: (p.paid, p.payment))
    return [payment_command(p, currency, begun(s), s.policy.calendar) for p in new]


def payment_command(p: Payment, currency: str, opened: datetime, calendar: Calendar) -> Json:
    """The same whoever reads it, and from whichever file: it is done once."""
    paid = midnight(calendar, p.paid)
    body: Json = {
        "type": "RecordPayment",
        "payment": p.payment,
        "amount": p.amount,
        "currency": currency,
        "paid_at": paid.isoformat(),
    }
    return _command(f"payment/{p.payment}", max(paid, opened), body)


def _vulnerable(s: ArrearsState) -> bool:
    return VULNERABLE in s.released or any(hold.kind == "vulnerable" for hold in s.holds)


def _bills(bills: Iterable[Bill]) -> list[Json]:
    return [{"bill": b.bill, "amount": b.amount, "due": b.due.isoformat()} for b in bills]


def _command(command_id: str, at: datetime, body: Mapping[str, object]) -> Json:
    return {"id": command_id, "actor": _ACTOR, "occurred_at": at.isoformat(), "body": dict(body)}


# Saying it


class Said(NamedTuple):
    """What came of telling a case its news."""

    events: tuple[str, ...]
    done: int
    """So many of the commands caused events."""
    settled: bool
    """Whether the debt ended by them."""


async def tell(cases: Cases, case_id: str, commands: Sequence[Json]) -> Said:
    """Send the commands one after the other. Raises `Rejected`, unless the debt was settled first.

    What comes after the settlement may find the case closed already; then the next one reckons
    with it.
    """
    events: list[str] = []
    done = 0
    for command in commands:
        try:
            outcome: CommandOutcome = await cases.send(case_id, command)
        except Rejected:
            if _settled(events):
                break
            raise
        events += outcome.events
        done += bool(outcome.events)
    return Said(tuple(events), done, _settled(events))


def _settled(events: Sequence[str]) -> bool:
    turns = [name for name in events if name in ("DebtSettled", "DebtRevived")]
    return turns[-1:] == ["DebtSettled"]
