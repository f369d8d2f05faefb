"""Satisfaction (满意度) as it stands: live figures by month, and what the register last ranked."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from datetime import UTC, date, datetime
from typing import TypeVar

from activities.log_reader import LogReader
from gateway.commands import Invalid
from gateway.session import NoSuchCase, Session
from gateway.standing import Asked
from gateway.timeline import Timeline
from lifecycles.calendars import local, start_of_day
from lifecycles.satisfaction_figures import measured
from schemas.base import Subject, Value
from schemas.calendar import Calendar
from schemas.policy import Percent, Policy
from schemas.satisfaction import (
    CheckKind,
    CheckPeriod,
    ComplaintCounts,
    Entered,
    Measured,
    Month,
    Year,
    YearRanked,
    register_of,
)

LONGEST_MONTHS = 120
C = TypeVar("C")


class MonthFigures(Value):
    """What the customers of each department answered in a month, as the log says now."""

    month: Month
    departments: tuple[Measured, ...]


class MonthComplaints(Value):
    """What the complaints of a month came to, as the log says now (WIN-1.7)."""

    month: Month
    complaints: tuple[ComplaintCounts, ...]


class DueCheck(Value):
    """A check that is awaited (GAS-3.1), and how its deadline stands."""

    department: Subject
    kind: CheckKind
    period: CheckPeriod
    due: datetime
    text: str


class YellowCard(Value):
    """A department that must improve, and how its deadline stands."""

    department: Subject
    year: Year
    due: datetime
    text: str


class Satisfaction(Value):
    """The JSON form of `standpipe satisfaction`. Months are those of the organisation's clock."""

    since: Month
    until: Month
    time_zone: str
    target: Percent
    """The satisfied among those who answered, in percent (CNPC-2.5)."""
    months: tuple[MonthFigures, ...]
    """Those in which somebody was asked."""
    complaints: tuple[MonthComplaints, ...]
    """Those in which there were any."""
    ranking: YearRanked | None
    """The register's last (GAS-3.4)."""
    cards: tuple[YellowCard, ...]
    checks: tuple[DueCheck, ...]
    """Checks that are due and not on record."""
    removals: tuple[Asked, ...]
    """Removals of heads of departments that wait for approval."""
    entered: Entered | None = None
    """What was just entered in the register by hand."""


def month_of(calendar: Calendar, at: datetime) -> str:
    """The local month of an instant."""
    return f"{local(calendar, at):%Y-%m}"


def year_up_to(month: str) -> str:
    """The first of the twelve months that end with `month`."""
    year, number = _numbers(month)
    return f"{year}-01" if number == 12 else f"{year - 1:04}-{number + 1:02}"


def months_between(since: str, until: str) -> int:
    """How many months there are, both included; below one: the wrong way round."""
    (first, one), (last, other) = _numbers(since), _numbers(until)
    return (last - first) * 12 + other - one + 1


async def register_of_session(session: Session) -> Timeline | None:
    """The organisation's register; None where nothing was ever entered."""
    try:
        return await session.timeline(register_of(session.organisation))
    except NoSuchCase:
        return None


async def shown(
    session: Session,
    policy: Policy,
    register: Timeline | None,
    since: str | None,
    until: str | None,
) -> Satisfaction:
    """How it stands from month to month: the last twelve, or as given. Raises `Invalid`."""
    if policy.satisfaction is None:
        raise Invalid(["--policy: this one says nothing of satisfaction; choose another."])
    last = until or month_of(policy.calendar, datetime.now(UTC))
    first = since or year_up_to(last)
    if not all(1970 <= int(month[:4]) <= 9998 for month in (first, last)):
        raise Invalid(["--since and --until: months between 1970-01 and 9998-12"])
    if not 1 <= months_between(first, last) <= LONGEST_MONTHS:
        raise Invalid(
            [
                "--since: give a month that is not after --until (or the present one), and at most"
                f" {LONGEST_MONTHS} months before it."
            ]
        )
    asked = register.approvals if register else ()
    where = (session.log, session.organisation, policy)
    return Satisfaction(
        since=first,
        until=last,
        time_zone=policy.calendar.time_zone,
        target=policy.satisfaction.target,
        months=await figures(*where, first, last),
        complaints=await complaints(*where, first, last),
        ranking=ranking(register),
        cards=tuple(cards(register)),
        checks=tuple(due_checks(register)),
        removals=tuple(a for a in asked if a.state == "requested"),
    )


async def figures(
    log: LogReader, organisation: str, policy: Policy, since: str, until: str
) -> tuple[MonthFigures, ...]:
    """Each month's rate and interval by department, counted anew from the read model.

    LookupError where the policy says nothing of satisfaction.
    """
    if policy.satisfaction is None:
        raise LookupError("the policy has no satisfaction section")
    found: list[MonthFigures] = []
    async for month, tallies in _each(log.satisfaction, organisation, policy, since, until):
        departments = measured(tallies, policy.satisfaction.target)
        found.append(MonthFigures(month=month, departments=departments))
    return tuple(found)


async def complaints(
    log: LogReader, organisation: str, policy: Policy, since: str, until: str
) -> tuple[MonthComplaints, ...]:
    """Each month's complaints by category and department, counted anew from the log (WIN-1.7)."""
    return tuple(
        [
            MonthComplaints(month=month, complaints=tuple(counts))
            async for month, counts in _each(log.complaints, organisation, policy, since, until)
        ]
    )


async def _each(
    count: Callable[[str, datetime, datetime], Awaitable[list[C]]],
    organisation: str,
    policy: Policy,
    since: str,
    until: str,
) -> AsyncGenerator[tuple[str, list[C]]]:
    """Every month in which there is something to count, and that."""
    for first in _months(since, until):
        begins, ends = (start_of_day(policy.calendar, day) for day in (first, _after(first)))
        if found := await count(organisation, begins, ends):
            yield f"{first:%Y-%m}", found


def ranking(register: Timeline | None) -> YearRanked | None:
    """The last year that the register ranked."""
    ranked = [e.body for e in register.events if e.type == "YearRanked"] if register else []
    return YearRanked.model_validate(ranked[-1]) if ranked else None


def cards(register: Timeline | None) -> Iterator[YellowCard]:
    """Yellow cards (黄牌) that wait for improvement."""
    if register is None:
        return
    promises = {c.id: c for c in register.commitments}
    for card in register.state["cards"]:
        promise = promises[card["commitment"]]
        yield YellowCard(
            department=card["department"], year=card["year"], due=promise.due, text=promise.text
        )


def due_checks(register: Timeline | None) -> Iterator[DueCheck]:
    """Checks that are awaited, as they fell due (GAS-3.1)."""
    if register is None:
        return
    promises = {c.id: c for c in register.commitments}
    for check in register.state["checks"]:
        promise = promises.get(check["commitment"])
        if check["checked_by"] is None and promise is not None:
            yield DueCheck(
                department=check["department"],
                kind=check["kind"],
                period=check["period"],
                due=promise.due,
                text=promise.text,
            )


def _months(since: str, until: str) -> Iterator[date]:
    first, last = date(*_numbers(since), 1), date(*_numbers(until), 1)
    while first <= last:
        yield first
        first = _after(first)


def _after(first: date) -> date:
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)


def _numbers(month: str) -> tuple[int, int]:
    year, _, number = month.partition("-")
    return int(year), int(number)
