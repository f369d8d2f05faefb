"""What a half-yearly run assesses (WAT-P1): which half-year, whose accounts, under which ids.

It counts the accounts that were overdue when the half-year ended, by what the log knew on the day
on which every run counts: a run that comes late counts the same. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Annotated, NamedTuple

import rfc8785
from pydantic import Field, TypeAdapter

from lifecycles.calendars import local, start_of_day
from schemas.arrears import (
    ArrearsClosed,
    ArrearsOpened,
    ArrearsWithdrawn,
    BalanceCorrected,
    BillsAdded,
    DebtWrittenOff,
    MovedOut,
    PaymentReceived,
    PaymentReversed,
)
from schemas.assessment import AssessmentCount, HalfYear, OpenAssessment
from schemas.base import SYSTEM, CaseId, Reference, Subject
from schemas.calendar import Calendar
from schemas.envelope import CommandEnvelope, EventEnvelope

COUNTED_ON = 5
"""The day of the month after a half-year that says what was known: payments made before its end and
booked in these days still count."""

Ended = ArrearsClosed | MovedOut | DebtWrittenOff | ArrearsWithdrawn
Told = ArrearsOpened | BillsAdded | BalanceCorrected | PaymentReceived | PaymentReversed | Ended
_TOLD: TypeAdapter[Told] = TypeAdapter(Annotated[Told, Field(discriminator="type")])
ENDING = ("ArrearsClosed", "MovedOut", "DebtWrittenOff", "ArrearsWithdrawn")
"""The types of events with which an arrears case ends."""
TELLING = (
    "ArrearsOpened",
    "BillsAdded",
    "BalanceCorrected",
    "PaymentReceived",
    "PaymentReversed",
    *ENDING,
)
"""Those that say whether an account was overdue."""


class HalfYearSpan(NamedTuple):
    """A half-year: it is over at `ended`, and what was told until `counted` counts (UTC)."""

    name: HalfYear
    ended: datetime
    counted: datetime


def half_year_of(calendar: Calendar, name: HalfYear) -> HalfYearSpan:
    """A half-year by the organisation's clock."""
    year, half = int(name[:4]), int(name[-1])
    after = date(year, 7, 1) if half == 1 else date(year + 1, 1, 1)
    counted = after.replace(day=COUNTED_ON)
    return HalfYearSpan(name, start_of_day(calendar, after), start_of_day(calendar, counted))


def half_year_before(calendar: Calendar, at: datetime) -> HalfYearSpan:
    """The last half-year that is over at an instant."""
    today = local(calendar, at).date()
    name = f"{today.year - 1}-H2" if today.month < 7 else f"{today.year}-H1"
    return half_year_of(calendar, name)


def end_of_day(calendar: Calendar, day: date) -> datetime:
    """The instant (UTC) at which a local day is over."""
    return start_of_day(calendar, day + timedelta(days=1))


class Overdue(NamedTuple):
    """An account that was overdue when the half-year ended."""

    account: Reference
    opened_at: datetime
    case: CaseId
    reader: Subject | None


def overdue(
    events: Iterable[EventEnvelope], ended: datetime, known_until: datetime, threshold: int
) -> Overdue | None:
    """What an arrears case owed just before `ended`, by what was told before `known_until`.

    Bills count from when the case had them, a payment from the day on which it was made. None where
    less was owed than the `threshold` (in the smallest unit), or the case was not open then.
    """
    opened: ArrearsOpened | None = None
    bills: dict[Reference, int] = {}
    payments: dict[Reference, int] = {}
    case = ""
    for told in events:
        if told.type not in TELLING or told.decided_at >= known_until:
            continue
        event = _TOLD.validate_python(told.body)
        if isinstance(event, PaymentReceived):
            if event.paid_at < ended:
                payments[event.payment] = event.amount
            continue
        if event.at >= ended:
            continue
        match event:
            case ArrearsOpened():
                opened, case = event, told.stream
                bills |= {b.bill: b.amount for b in event.bills}
            case BillsAdded():
                bills |= {b.bill: b.amount for b in event.bills}
            case BalanceCorrected():
                bills[event.bill] = event.amount
            case PaymentReversed():
                payments.pop(event.payment, None)
            case _:
                return None
    owed = sum(bills.values()) - sum(payments.values())
    if opened is None or owed < max(threshold, 1):
        return None
    return Overdue(opened.account, opened.at, case, opened.reader)


class Round(NamedTuple):
    """A reader's overdue accounts, by their arrears cases."""

    reader: Subject
    cases: tuple[CaseId, ...]


class Rounds(NamedTuple):
    """All accounts that were overdue, by reader; a staff number's capitals do not matter."""

    rounds: tuple[Round, ...]
    without_reader: int
    """So many are on nobody's round."""

    @property
    def accounts(self) -> int:
        return self.without_reader + sum(len(r.cases) for r in self.rounds)


def by_reader(found: Iterable[Overdue]) -> Rounds:
    """Each account once: where two of its cases were open, by the one that was opened last."""
    latest: dict[Reference, Overdue] = {}
    for one in sorted(found, key=lambda o: (o.opened_at, o.case)):
        latest[one.account] = one
    readers: dict[str, list[Overdue]] = {}
    nobody = 0
    for one in latest.values():
        if one.reader is None:
            nobody += 1
        else:
            readers.setdefault(one.reader.casefold(), []).append(one)
    return Rounds(tuple(_round(readers[name]) for name in sorted(readers)), nobody)


def _round(ones: Sequence[Overdue]) -> Round:
    names = sorted({one.reader for one in ones if one.reader is not None})
    return Round(names[0], tuple(sorted(one.case for one in ones)))


def opening(of: AssessmentCount, found: Round) -> CommandEnvelope[OpenAssessment]:
    """The command that opens a reader's assessment; its id names all that it says.

    Raises pydantic's ValidationError for too many accounts.
    """
    body = OpenAssessment(
        reader=found.reader,
        half_year=of.half_year,
        known_until=of.known_until,
        accounts=found.cases,
    )
    content: Mapping[str, object] = body.model_dump(mode="json")
    digest = sha256(rfc8785.dumps(dict(content))).hexdigest()[:16]
    return CommandEnvelope[OpenAssessment](
        id=f"assessment/{of.half_year}/{digest}", actor=SYSTEM, body=body
    )
