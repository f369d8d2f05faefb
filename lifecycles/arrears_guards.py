"""Arrears: the conditions of a stop (WAT-C1 to C4b), each with what shows it. All must hold.

They are evaluated when a crew asks for its permit, at that instant, never at an earlier one.
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple

from lifecycles.approvals import among, same
from lifecycles.arrears_approvals import deciders, standing
from lifecycles.arrears_money import owes
from lifecycles.arrears_stages import approval_needed, is_reader, shown_by
from lifecycles.calendars import is_working_day, local
from lifecycles.changes import made
from lifecycles.holds import PERSONAL
from schemas.arrears import ArrearsState, Guard, Stage
from schemas.base import CaseId, Code, Reference, RuleId, Subject
from schemas.policy import Season

SKEW = timedelta(seconds=2)
"""Two machines' clocks may differ so much."""


class Look(NamedTuple):
    """What the log showed, and when it was read (UTC)."""

    open_cases: tuple[CaseId, ...]
    at: datetime


class Stopping(NamedTuple):
    """Who is to close a valve, when (UTC), and which kind of stop."""

    crew: Subject
    at: datetime
    full: bool


class Check(NamedTuple):
    """A condition, and what to do where it does not hold."""

    guard: Guard
    otherwise: str


def checks(s: ArrearsState, stopping: Stopping, look: Look | None) -> Iterator[Check]:
    """Every condition of this stop; without a `look` into the log, those that need none."""
    yield from _chased(s, stopping)
    yield from _spared(s)
    if look is not None:
        yield from _looked(s, stopping, look)
    yield from _hours(s, stopping.at)
    yield from _carried_out(s, stopping)


def _check(
    name: Code, rule: RuleId | None, holds: bool, proof: Reference | None, otherwise: str
) -> Check:
    return Check(made(Guard, name=name, rule=rule, holds=holds, proof=proof), otherwise)


def _chased(s: ArrearsState, stopping: Stopping) -> Iterator[Check]:
    at, full = stopping.at, stopping.full
    reminded = s.reminded_at is not None and s.reminded_at <= at
    number = s.rules.reminders
    yield _check(
        "reminders", "WAT-C1", reminded, shown_by(s, "reminders"),
        f"Remind the customer first, on {number} different days and with evidence (WAT-C1).",
    )  # fmt: skip
    yield _check(
        "notice", "WAT-C2", s.notice is not None and s.notice.effective_at <= at,
        shown_by(s, "notice"),
        "Serve the written notice first and wait until its period is over (WAT-C2).",
    )  # fmt: skip
    yield _check(
        "balance", "WAT-C2", owes(s), shown_by(s, "balance"),
        "Leave the valve open: less than the threshold is owed (WAT-C2).",
    )  # fmt: skip
    if full:
        yield _check(
            "stop-order", "WAT-C4b", s.stop_order is not None and s.stop_order.effective_at <= at,
            shown_by(s, "stop_order"),
            "Serve the stop order first and wait until its time limit is over (WAT-C4a, WAT-C4b).",
        )  # fmt: skip
        yield _check(
            "first-stop", "WAT-C4a", not s.wrongful, shown_by(s, "supply"),
            "Restore supply: the first stop had no permit, nothing may follow from it.",
        )  # fmt: skip
    if approval_needed(s):
        yield _check(
            "approval", "WAT-C3", standing(s) is not None, shown_by(s, "authorisation"),
            "Get the division head's written approval on the facts as they are now (WAT-C3).",
        )  # fmt: skip
    elif not full:  # WAT-C4b: what authorises a full stop is the order that was served.
        yield _check(
            "authorisation", None, s.authorised_by is not None, shown_by(s, "authorisation"),
            "Have a supervisor authorise the stop first (AuthoriseCutoff).",
        )  # fmt: skip


def _spared(s: ArrearsState) -> Iterator[Check]:
    personal = [h.hold for h in s.holds if h.kind in PERSONAL]
    other = [h.hold for h in s.holds if h.kind not in PERSONAL]
    until_now = f"{s.case_id}/{s.happened}"
    yield _check(
        "vulnerable", None, not personal, next(iter(personal), until_now),
        "Leave the valve open: somebody vulnerable, or ill, lives there.",
    )  # fmt: skip
    yield _check(
        "holds", None, not other, next(iter(other), until_now),
        f"See to the holds and release them first: {', '.join(other)}.",
    )  # fmt: skip
    shared = s.shared_valve
    yield _check(
        "neighbours", None, not shared, next(iter(shared), f"{s.case_id}/1"),
        "Leave the valve open: it is other premises' valve, too.",
    )  # fmt: skip


def _looked(s: ArrearsState, stopping: Stopping, look: Look) -> Iterator[Check]:
    read = f"log/{look.at:%Y-%m-%dT%H:%M:%S.%f}Z"
    fresh = -SKEW <= stopping.at - look.at <= s.rules.permit.freshness
    yield _check(
        "fresh-look", None, fresh, read,
        "Look into the log anew, now, and ask again: the look is too old, or lies ahead.",
    )  # fmt: skip
    # An account that is chased, too, is no reason; every other open case is.
    others = [case for case in look.open_cases if not case.startswith("arrears-")]
    yield _check(
        "premises", None, not others, next(iter(others), read),
        f"Wait until these cases on the premises or the same valve end: {', '.join(others)}.",
    )  # fmt: skip


def _hours(s: ArrearsState, at: datetime) -> Iterator[Check]:
    policy = f"policy/{s.policy_hash}"
    clock = local(s.policy.calendar, at)
    terms, day = s.rules.permit, clock.date()
    minute = clock.hour * 60 + clock.minute
    yield _check(
        "hours", None, terms.hours.start <= minute < terms.hours.end, policy,
        f"Supply is stopped between {_clock(terms.hours.start)} and"
        f" {_clock(terms.hours.end)} only; come again then.",
    )  # fmt: skip
    yield _check(
        "working-days", None, _worked(s, day), policy,
        "Supply is stopped on working days only, and not before a weekend or public holiday.",
    )  # fmt: skip
    yield _check(
        "season", None, not protected(s, day), policy,
        "Nobody is cut off in this season; come again after it.",
    )  # fmt: skip


def _worked(s: ArrearsState, day: date) -> bool:
    """Whether it is a working day, and so many after it are, too."""
    days = [day + timedelta(days=n) for n in range(s.rules.permit.working_days_after + 1)]
    return all(is_working_day(s.policy.calendar, d) for d in days)


def protected(s: ArrearsState, day: date) -> bool:
    """Whether the local day lies in a season in which nobody is cut off."""
    return any(_within(season, f"{day:%m-%d}") for season in s.rules.permit.protected_seasons)


def _within(season: Season, day: str) -> bool:
    if season.first <= season.last:
        return season.first <= day <= season.last
    return day >= season.first or day <= season.last  # over New Year


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _carried_out(s: ArrearsState, stopping: Stopping) -> Iterator[Check]:
    crew, at, full = stopping
    stage = Stage.STOP_ORDER_SERVED if full else Stage.VISIT_DUE
    yield _check(
        "stage", "WAT-C4b" if full else "WAT-C2", s.stage == stage, f"{s.case_id}/{s.happened}",
        "A full stop follows a stop order that was served." if full
        else "Authorise the stop and schedule a visit first.",
    )  # fmt: skip
    apart = not is_reader(s, crew) and not among(crew, deciders(s))
    yield _check(
        "separation", None, apart, shown_by(s, "authorisation"),
        "Send another crew: who reads the meter or authorised the stop does not carry it out.",
    )  # fmt: skip
    if not full:
        due = s.visit_start and s.visit_end and s.visit_start <= at < s.visit_end
        yield _check(
            "crew", None, s.visit_crew is not None and same(s.visit_crew, crew),
            shown_by(s, "visit"), "The visit is another crew's: let that one ask.",
        )  # fmt: skip
        yield _check(
            "visit", None, bool(due), shown_by(s, "visit"),
            "Come within the time that the visit is scheduled for.",
        )  # fmt: skip


def not_permitted(s: ArrearsState, start: datetime, end: datetime) -> Iterator[str]:
    """Why supply may not be stopped at some instant of a visit from `start` to `end`."""
    last = max(start, end - timedelta.resolution)
    for at in (start, last):
        yield from (c.otherwise for c in _hours(s, at) if not c.guard.holds)
    calendar = s.policy.calendar
    if local(calendar, start).date() != local(calendar, last).date():
        yield "A visit begins and ends on one day."


def end_of_hours(s: ArrearsState, at: datetime) -> datetime:
    """The end (UTC) of the hours in which supply may be stopped on the local day of `at`."""
    clock = local(s.policy.calendar, at)
    midnight = clock.replace(hour=0, minute=0, second=0, microsecond=0)
    return at + (midnight + timedelta(minutes=s.rules.permit.hours.end) - clock)
