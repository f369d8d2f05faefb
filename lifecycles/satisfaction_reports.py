"""What is reported to the satisfaction register: about which time, and under which command id.

The last day, month or year that is over, on the organisation's own calendar. Pure.
"""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple, assert_never

import rfc8785

from lifecycles.calendars import local, start_of_day
from schemas.base import SYSTEM
from schemas.calendar import Calendar
from schemas.envelope import CommandEnvelope
from schemas.satisfaction import (
    Counted,
    DrawSample,
    RankYear,
    ReportMonth,
    Tally,
    What,
)


class Period(NamedTuple):
    """From `since` to just before `until` (UTC): there the dates `first` and `after` begin."""

    first: date
    after: date
    since: datetime
    until: datetime


def period_before(what: What, calendar: Calendar, at: datetime) -> Period:
    """The local day, month or year before the one of `at`."""
    today = local(calendar, at).date()
    match what:
        case "sample":
            first, after = today - timedelta(days=1), today
        case "month":
            after = today.replace(day=1)
            first = (after - timedelta(days=1)).replace(day=1)
        case "year":
            first, after = date(today.year - 1, 1, 1), date(today.year, 1, 1)
        case _:
            assert_never(what)
    return Period(first, after, start_of_day(calendar, first), start_of_day(calendar, after))


def sample(period: Period, population: Iterable[str], seed: str) -> CommandEnvelope[DrawSample]:
    """The draw from one day. Its id names the day, so whatever is drawn a second time counts not.

    Raises pydantic's ValidationError for too large a population.
    """
    body = DrawSample(
        since=period.since, until=period.until, population=tuple(population), seed=seed
    )
    return CommandEnvelope[DrawSample](
        id=f"satisfaction/sample/{period.after}", actor=SYSTEM, body=body
    )


def month(period: Period, counted: Counted, seed: str) -> CommandEnvelope[ReportMonth]:
    """A month's figures; the id names all of it, so that late answers are another command.

    With another seed it is another command too, but of a known month nothing is drawn again.
    Raises pydantic's ValidationError for too many departments.
    """
    name = f"{period.first:%Y-%m}"
    body = ReportMonth(
        month=name, tallies=counted.tallies, complaints=counted.complaints, seed=seed
    )
    id = f"satisfaction/month/{name}/{_content(body)}"
    return CommandEnvelope[ReportMonth](id=id, actor=SYSTEM, body=body)


def year(period: Period, tallies: Iterable[Tally]) -> CommandEnvelope[RankYear]:
    """A year's figures, named in the same way: on other figures the register says no."""
    body = RankYear(year=period.first.year, tallies=tuple(tallies))
    id = f"satisfaction/year/{body.year}/{_content(body)}"
    return CommandEnvelope[RankYear](id=id, actor=SYSTEM, body=body)


def _content(body: ReportMonth | RankYear) -> str:
    return sha256(rfc8785.dumps(body.model_dump(mode="json"))).hexdigest()[:16]
