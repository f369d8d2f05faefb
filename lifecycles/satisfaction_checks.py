"""Satisfaction: who checks whom, and when (GAS-3.1).

Departments check themselves monthly; the company checks each of them quarterly, and every month one
that is drawn at random, unannounced. What is due begins with a month's first report.
"""

from collections.abc import Iterator
from datetime import date, datetime
from hashlib import sha256

from lifecycles import commitments, promises
from lifecycles.approvals import same
from lifecycles.calendars import local, start_of_day
from lifecycles.casework import BEGINNING, fold
from lifecycles.changes import changed
from lifecycles.decisions import By, No
from lifecycles.satisfaction_evolve import Events, evolve, last_month, oldest_month
from schemas.base import Subject
from schemas.calendar import Calendar
from schemas.commitments import CommitmentTerms
from schemas.policy import Policy
from schemas.satisfaction import (
    Check,
    CheckDrawn,
    CheckKind,
    CheckPeriod,
    CheckRecorded,
    CompanyCheckDue,
    Month,
    RecordCheck,
    ReportMonth,
    SatisfactionState,
    SelfCheckDue,
)

Results = Iterator[Events | No]

STARTS = {"self": "self_check_due", "company": "company_check_due"}
MAY_CHECK: dict[CheckKind, tuple[str, ...]] = {
    "self": ("clerk", "crew", "reader", "supervisor"),
    "company": ("supervisor", "division_head", "admin"),
}


def departments(policy: Policy) -> tuple[Subject, ...]:
    """All that the policy knows, sorted: those of repairs, of complaints and the intake unit."""
    known = {policy.repair.intake_unit}
    if policy.satisfaction:
        known |= set(policy.satisfaction.departments.values())
    if policy.complaint:
        known |= set(policy.complaint.departments)
    return tuple(sorted(known))


def drawn(population: tuple[Subject, ...], seed: str) -> Subject:
    """Whom the company checks unannounced: the smallest SHA-256(seed/department).

    Nobody can foresee it without the seed, and everybody can repeat it with it, as with samples.
    """
    return min(population, key=lambda d: (sha256(f"{seed}/{d}".encode()).digest(), d))


def quarter_of(month: Month) -> str | None:
    """The quarter that ends with a month, such as "2026-Q2"; None in the midst of one."""
    number = int(month[5:])
    return None if number % 3 else f"{month[:4]}-Q{number // 3}"


def end_of(calendar: Calendar, period: CheckPeriod) -> datetime:
    """The instant (UTC) at which a month or quarter is over where the organisation is.

    No time is reckoned before 1970; raises ValueError for the year 9999's end.
    """
    if int(period[:4]) < BEGINNING.year:
        return BEGINNING
    year, number = map(int, last_month(period).split("-"))
    return start_of_day(calendar, date(year + number // 12, number % 12 + 1, 1))


def fall_due(state: SatisfactionState, c: ReportMonth, by: By) -> Iterator[Events]:
    """What a month's first report starts; `state` knows of the report.

    The time of a check runs from the end of its month, however late the report comes. A month that
    comes so late that the time is over starts nothing: old months that are imported owe no checks.
    """
    events: list[Events] = [*_forgotten(state, by)]
    known = departments(state.policy)
    for department in known:
        events += _due(fold(evolve, state, events), "self", department, c.month, c.month, by)
    quarter = quarter_of(c.month)
    for department in known if quarter else ():
        so_far = fold(evolve, state, events)
        events += _due(so_far, "company", department, quarter or "", c.month, by)
    if c.seed and _in_time(state, "company", c.month, by):
        chosen = drawn(known, c.seed)
        draw = CheckDrawn(at=by.at, month=c.month, seed=c.seed, departments=known, drawn=chosen)
        events.append(draw)
        events += _due(fold(evolve, state, events), "company", chosen, c.month, c.month, by)
    yield from events


def _due(
    state: SatisfactionState,
    kind: CheckKind,
    department: Subject,
    period: CheckPeriod,
    month: Month,
    by: By,
) -> Iterator[Events]:
    terms = _terms(state, kind)
    if terms is None or not _in_time(state, kind, month, by):
        return
    if find(state, kind, department, period):
        return  # done before it was asked for
    # What is done long ago is forgotten, so counting what is known would number two alike.
    id = f"{terms.name}-{state.checks_due + 1}"
    since = end_of(state.policy.calendar, period)
    started = commitments.start(terms, promises.timing(state), (), since, by.at)
    if kind == "self":
        yield SelfCheckDue(at=by.at, department=department, month=period, commitment=id)
    else:
        yield CompanyCheckDue(at=by.at, department=department, period=period, commitment=id)
    yield changed(started, commitment=id)


def _terms(state: SatisfactionState, kind: CheckKind) -> CommitmentTerms | None:
    return next((t for t in state.rules.commitments if t.starts == STARTS[kind]), None)


def _in_time(state: SatisfactionState, kind: CheckKind, month: Month, by: By) -> bool:
    terms = _terms(state, kind)
    if terms is None:
        return False
    since = end_of(state.policy.calendar, month)
    started = commitments.start(terms, promises.timing(state), (), since, by.at)
    return started.due > by.at


def _forgotten(state: SatisfactionState, by: By) -> Iterator[Events]:
    """A check that nobody did in two years is asked for no more; that it was missed stands."""
    oldest = oldest_month(state)
    for check in state.checks:
        if last_month(check.period) < oldest:
            for c in state.commitments:
                if c.id == check.commitment:
                    yield from commitments.cancel(c, by.at, "superseded")


def record_check(state: SatisfactionState, c: RecordCheck, by: By) -> Results:
    if by.actor.role not in MAY_CHECK[c.kind]:
        *most, last = MAY_CHECK[c.kind]
        yield No(f"This is for the role {', '.join(most)} or {last}.")
    if c.department not in departments(state.policy):
        yield No("The policy knows no such department; correct `department`.")
    if c.kind == "self" and c.period != last_month(c.period):
        yield No("A department checks itself by the month; give `period` as 2026-06.")
    elif f"{local(state.policy.calendar, by.at):%Y-%m}" <= last_month(c.period):
        yield No(f"The time {c.period} is not over yet.")
    elif last_month(c.period) < oldest_month(state):
        yield No("Only checks of the latest 24 months are recorded.")
    for other in state.checks:
        if _judges_own(other, c, by):
            yield No("Who checked it for the department cannot check it for the company.")
            break
    check = find(state, c.kind, c.department, c.period)
    if check and check.checked_by:
        if (check.evidence, check.findings) != (c.evidence, c.findings):
            yield No("This check is on record already, with other evidence or findings.")
        return
    yield CheckRecorded(
        at=by.at,
        department=c.department,
        kind=c.kind,
        period=c.period,
        evidence=c.evidence,
        findings=c.findings,
        checked_by=by.actor.subject,
    )
    for owed in state.commitments:
        if check and owed.id == check.commitment:
            yield from commitments.meet(owed, by.at, by.id)


def _judges_own(other: Check, c: RecordCheck, by: By) -> bool:
    """Whether the actor has done the other kind of check of the same department and time."""
    if other.kind == c.kind or other.department != c.department or other.checked_by is None:
        return False
    if not same(other.checked_by, by.actor.subject):
        return False
    return c.period in _periods(other.period) or other.period in _periods(c.period)


def _periods(period: CheckPeriod) -> tuple[str, ...]:
    """A period and the months in it."""
    year, number = period[:4], int(last_month(period)[5:])
    if period == last_month(period):
        return (period,)
    return (period, *(f"{year}-{number - back:02}" for back in range(3)))


def find(
    state: SatisfactionState, kind: CheckKind, department: Subject, period: CheckPeriod
) -> Check | None:
    """A check that is due or done."""
    wanted = (kind, department, period)
    return next((k for k in state.checks if (k.kind, k.department, k.period) == wanted), None)
