"""What a rehearsal of arrears takes for granted, and the days on which things can be done.

How quick the company is, no file says: `Service` does, and `assumed` puts all of it into words.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, partial
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from gateway.billing_cases import day_of, midnight
from lifecycles.arrears import initial
from lifecycles.arrears_guards import not_permitted
from lifecycles.calendars import is_working_day
from lifecycles.policies import Pinned
from schemas.calendar import Calendar

Runs = Literal["monthly", "weekly"]
"""Billing runs on the first of each month, or on Mondays."""

_DAY = timedelta(days=1)


class Service(NamedTuple):
    """How quick the company is, in working days of the policy's calendar."""

    clock: time = time(10)
    """When people go to doors and decide, by the local clock."""
    between_reminders: int = 1
    notice_after: int = 1
    """After the last reminder."""
    approved_after: int = 1
    """After the division head was asked (WAT-C3)."""
    visit_after: int = 1
    """After the stop was authorised."""


PROMPT = Service()


@dataclass(frozen=True)
class Years:
    """What is rehearsed: whose books, from which day to which, both included."""

    organisation: str
    source: str
    currency: str
    since: date
    until: date
    runs: Runs = "monthly"
    service: Service = PROMPT

    def is_run(self, day: date) -> bool:
        """Whether the bills are gone through on this day."""
        return day.day == 1 if self.runs == "monthly" else day.weekday() == 0


def without_holidays(calendar: Calendar, years: Years) -> list[int]:
    """Years for which the calendar names no public holiday: nobody is spared on one then."""
    named = {day.year for day in calendar.holidays}
    return [year for year in range(years.since.year, years.until.year + 1) if year not in named]


def assumed(years: Years) -> tuple[str, ...]:
    """What the rehearsal takes for granted, a sentence each."""
    s = years.service
    on = "the first of each month" if years.runs == "monthly" else "every Monday"
    return (
        f"Billing runs on {on}; a payment counts from the beginning of its day.",
        "Customers pay as the files say, whatever is done to them, and never open a valve.",
        "Who owes is reminded at the door on the day of the run, again after"
        f" {_days(s.between_reminders)}, and has the notice, with proof, {_days(s.notice_after)}"
        f" after the last reminder: on working days at {s.clock:%H:%M}, whether held or not.",
        "When its period is over, a supervisor authorises the stop at once; the division head,"
        f" where one must approve it (WAT-C3), {_days(s.approved_after)} later.",
        f"The crew comes {_days(s.visit_after)} after that, at the first permitted hour, and asks"
        " for its permit. Refused because of the day, it comes again on the first day that the"
        " policy allows; refused because of a hold, when none stands any more.",
        "Vulnerable customers are held, as the files know them; nothing else holds a stop.",
        "Supply is restored at the last moment that the policy's promise allows (WAT-C4c).",
    )


def _days(number: int) -> str:
    return f"{number} working day{'' if number == 1 else 's'}"


class Diary:
    """When, from one day to another, people work and the policy's guards let a valve be closed."""

    def __init__(self, pinned: Pinned, years: Years) -> None:
        self.calendar = pinned.policy.calendar
        self.end = midnight(self.calendar, years.until + _DAY)
        """The rehearsal's; what would come later never comes."""
        self._zone = ZoneInfo(self.calendar.time_zone)
        self._last = years.until
        self._clock = timedelta(hours=years.service.clock.hour, minutes=years.service.clock.minute)
        self._nobody = initial("arrears-nobody", years.organisation, *pinned)
        self.threshold = max(self._nobody.rules.threshold, 1)
        """From which debt on an account is chased."""
        self._works = cache(partial(is_working_day, self.calendar))
        self._permits = cache(self._permitted)

    def working(self, after: datetime, days: int) -> datetime:
        """So many working days after the first working morning at or after an instant."""
        day = day_of(self.calendar, after)
        while day <= self._last:
            at = self._at(day, self._clock)
            if at >= after and self._works(day):
                if days == 0:
                    return at
                days -= 1
            day += _DAY
        return self.end

    def allows(self, at: datetime) -> bool:
        """Whether a visit may be scheduled for the permitted hours of an instant's day."""
        return self._permits(day_of(self.calendar, at))

    def visit(self, after: datetime) -> tuple[datetime, datetime]:
        """The permitted hours (UTC) of the first day from an instant's on that has them."""
        day = day_of(self.calendar, after)
        while day <= self._last and not (self._permits(day) and self.hours(day)[1] > after):
            day += _DAY
        return self.hours(day)

    def hours(self, day: date) -> tuple[datetime, datetime]:
        """The hours of a day (UTC) in which a valve may be closed, if it may be on that day."""
        hours = self._nobody.rules.permit.hours
        return (
            self._at(day, timedelta(minutes=hours.start)),
            self._at(day, timedelta(minutes=hours.end)),
        )

    def _at(self, day: date, clock: timedelta) -> datetime:
        return (datetime.combine(day, time(), self._zone) + clock).astimezone(UTC)

    def _permitted(self, day: date) -> bool:
        return next(not_permitted(self._nobody, *self.hours(day)), None) is None
