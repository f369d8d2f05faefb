"""What a policy would have done to a company's customers over the years: no server, nothing stored.

Notices, holds, stops made and avoided and days without water, by month, under one policy or two.
Many accounts are shared out among the processors; the result is the same either way.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from gateway.billing import Account
from gateway.billing_cases import day_of
from gateway.billing_files import Books, Reject
from gateway.rehearse_company import Happened, Life, Refused
from gateway.rehearse_diary import Diary, Years, assumed
from gateway.rehearse_pool import shared_out
from gateway.rehearse_tally import Difference, Outcome, Rehearsal, Tally, added
from lifecycles.decisions import Rejected
from lifecycles.policies import Pinned
from schemas.arrears import (
    ArrearsOpened,
    ContactRecorded,
    DebtSettled,
    HoldPlaced,
    NoticeServed,
    SupplyRestored,
    ValveClosed,
)
from schemas.calendar import Calendar
from schemas.envelope import Json

_CHUNK = 20
_ALONE = 40
"""Up to so many accounts, starting other processes takes longer than they save."""
_FOR_A_HOLD = {"vulnerable", "holds"}


class _Notice(NamedTuple):
    """A notice that was delivered and not followed by anything yet."""

    at: datetime
    held_at: datetime | None = None
    """When a stop was refused because of a hold."""


class Counting:
    """Counts what happens in one account, month by month."""

    def __init__(self, calendar: Calendar, end: datetime) -> None:
        self.months: dict[str, Tally] = {}
        self.pending = 0
        self.off = False
        self._calendar = calendar
        self._end = end
        self._notice: _Notice | None = None
        self._closed_at: datetime | None = None
        self._stopped_on: list[date] = []

    def count(self, happened: Happened) -> None:
        what = happened.what
        match what:
            case Refused():
                self._month(what.at).refused += 1
                self._month(what.at).guards.update(what.guards)
                if self._notice and _FOR_A_HOLD & {*what.guards}:
                    self._notice = self._notice._replace(held_at=what.at)
            case ArrearsOpened():
                self._month(what.at).opened += 1
            case ContactRecorded():
                self._month(what.at).reminders += 1
            case NoticeServed():
                self._month(what.at).notices += 1
                self._notice = _Notice(what.at)
            case HoldPlaced():
                self._month(what.at).holds[what.kind] += 1
            case ValveClosed():
                if what.permit is None:
                    raise RuntimeError("a rehearsed valve was closed without a permit")
                self._month(what.at).made += 1
                self._notice = None
                self._closed_at = what.at
                self._stopped_on.append(day_of(self._calendar, what.at))
            case DebtSettled():
                self._spared(what.at)
            case SupplyRestored():
                self._month(what.at).restored += 1
                self._without_water(what.at)
            case _:
                pass

    def finish(self) -> Outcome:
        """At the rehearsal's end: what stands as it is by then."""
        if self._notice and self._notice.held_at is None:
            self.pending += 1
        elif self._notice:
            self._spared(self._end)
        self.off = self._closed_at is not None
        self._without_water(self._end)
        total = added(self.months)
        return Outcome(
            cases=total.opened,
            notices=total.notices,
            stopped_on=tuple(self._stopped_on),
            avoided_by_payment=total.avoided["payment"],
            avoided_by_hold=total.avoided["hold"],
            without_water=total.without_water,
        )

    def _spared(self, at: datetime) -> None:
        """No stop follows a notice: because of what was refused before, else by payment."""
        if self._notice:
            why = "payment" if self._notice.held_at is None else "hold"
            self._month(self._notice.held_at or at).avoided[why] += 1
            self._notice = None

    def _without_water(self, until: datetime) -> None:
        """Share out the time since the valve was closed among its months."""
        at, self._closed_at = self._closed_at, None
        while at is not None and at < until:
            then = min(until, self._next_month(at))
            self._month(at).without_water += int((then - at).total_seconds())
            at = then

    def _month(self, at: datetime) -> Tally:
        return self.months.setdefault(f"{day_of(self._calendar, at):%Y-%m}", Tally())

    def _next_month(self, at: datetime) -> datetime:
        first = (day_of(self._calendar, at).replace(day=1) + timedelta(days=32)).replace(day=1)
        return datetime.combine(first, time(), ZoneInfo(self._calendar.time_zone)).astimezone(UTC)


def rehearse(
    books: Books,
    years: Years,
    pinned: Pinned,
    *,
    against: Pinned | None = None,
    report_progress: Callable[[int], None] = lambda done: None,
) -> Rehearsal:
    """Live every account of the books through the years, but for those that were set aside.

    `report_progress` hears how many accounts are done. The policies must have terms for arrears in
    the books' currency (`billing_runs.terms_of`).
    """
    job = _Job(years, pinned, against)
    result = Rehearsal(rejects=list(books.rejects))
    if against:
        result.against = Rehearsal(rejects=list(books.rejects))
    whole = [a for a in books.accounts.values() if a.number not in books.set_aside]
    done = 0
    for size, part in shared_out(job.run, whole, chunk=_CHUNK, alone=len(whole) <= _ALONE):
        result.merge(part)
        done += size
        report_progress(done)
    return result


class _Job(NamedTuple):
    years: Years
    pinned: Pinned
    against: Pinned | None

    def run(self, accounts: list[Account]) -> Rehearsal:
        result = Rehearsal(against=Rehearsal() if self.against else None)
        mine = list(_outcomes(result, accounts, self.years, self.pinned))
        if result.against and self.against:
            others = _outcomes(result.against, accounts, self.years, self.against)
            pairs = zip(accounts, mine, others, strict=True)
            result.differences += [Difference(x.number, a, b) for x, a, b in pairs if a != b]
        return result


def _outcomes(
    into: Rehearsal, accounts: list[Account], years: Years, pinned: Pinned
) -> Iterator[Outcome]:
    diary = Diary(pinned, years)
    for account in accounts:
        counting = Counting(diary.calendar, diary.end)
        try:
            for happened in Life(account, years, pinned, diary).story():
                counting.count(happened)
        except Rejected as refusal:
            into.rejects.append(Reject(None, None, account.number, refusal.reasons))
            yield Outcome(refused=refusal.reasons)
            continue
        outcome = counting.finish()
        into.merge(
            Rehearsal(
                accounts=1,
                months=counting.months,
                chased=int(outcome.cases > 0),
                stopped=int(bool(outcome.stopped_on)),
                longest=outcome.without_water,
                off=int(counting.off),
                pending=counting.pending,
            )
        )
        yield outcome


def to_json(books: Books, years: Years, found: Rehearsal) -> Json:
    """The whole answer; amounts of time in seconds."""
    return {
        "since": years.since.isoformat(),
        "until": years.until.isoformat(),
        "runs": years.runs,
        "assumed": list(assumed(years)),
        "set_aside": len(books.set_aside),
        **found.to_json(),
    }
