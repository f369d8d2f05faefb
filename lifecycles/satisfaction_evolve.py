"""Satisfaction: the state after an event. Total: it refuses nothing and ignores nothing."""

from typing import Any, assert_never

from lifecycles import casework
from lifecycles.changes import changed, made
from schemas.approvals import ApprovalEvent, ApprovalEvents, ApprovalLapsed, ApprovalWithdrawn
from schemas.base import Ownership
from schemas.case import SharedEvents
from schemas.commitments import CommitmentCancelled
from schemas.satisfaction import (
    Card,
    Check,
    CheckDrawn,
    CheckPeriod,
    CheckRecorded,
    CompanyCheckDue,
    ComplaintsCollated,
    HeadRemovalProposed,
    HeadRemovalRejected,
    HeadRemoved,
    ImprovementRecorded,
    Measured,
    Month,
    MonthReported,
    RegisterOpened,
    Removal,
    SampleDrawn,
    SatisfactionEvents,
    SatisfactionState,
    SelfCheckDue,
    Stage,
    YearRanked,
    YearResult,
    YellowCardGiven,
)

Events = SatisfactionEvents | SharedEvents | ApprovalEvents
MONTHS_KEPT = 24


def evolve(state: SatisfactionState, event: Events) -> SatisfactionState:
    """The state after `event`."""
    if isinstance(event, ApprovalEvent | SharedEvents):
        after = casework.evolve(state, event)
        if isinstance(event, ApprovalWithdrawn | ApprovalLapsed):
            left = tuple(r for r in state.removals if r.approval != event.approval)
            after = changed(after, removals=left)
        elif isinstance(event, CommitmentCancelled):
            after = changed(after, **_given_up(after, event.commitment))
    else:
        after = changed(state, **_update(state, event))
    # Cards and approvals have promises of their own; so have the checks that are due.
    awaited = any(c.outstanding for c in after.commitments)
    return changed(after, stage=Stage.AWAITING if awaited else Stage.AT_REST)


def _update(s: SatisfactionState, e: SatisfactionEvents) -> dict[str, Any]:
    match e:
        case RegisterOpened():
            return {"opened_at": e.at, "owners": (Ownership(owner=e.owner, since=e.at),)}
        case SampleDrawn():
            return {"sample": e}
        case MonthReported():
            months = {m.month: m for m in (*s.months, e)}
            kept = tuple(months[m] for m in sorted(months)[-MONTHS_KEPT:])
            return {"months": kept, **_forget_checks(s, e.month)}
        case ComplaintsCollated():
            collated = {m.month: m for m in (*s.collated, e)}
            return {"collated": tuple(collated[m] for m in sorted(collated)[-MONTHS_KEPT:])}
        case SelfCheckDue():
            return _due(s, made(Check, department=e.department, kind="self", period=e.month), e)
        case CompanyCheckDue():
            return _due(s, made(Check, department=e.department, kind="company", period=e.period), e)
        case CheckDrawn():
            return {}
        case CheckRecorded():
            return {"checks": _recorded(s, e)}
        case YearRanked():
            every: list[Measured] = sorted((*e.ranking, *e.unranked), key=lambda m: m.department)
            result = made(YearResult, year=e.year, departments=tuple(every), lowest=e.lowest)
            return {"years": (*s.years, result)}
        case YellowCardGiven():
            card = made(Card, department=e.department, year=e.year, commitment=e.commitment)
            return {"cards": (*s.cards, card)}
        case ImprovementRecorded():
            return {"cards": tuple(c for c in s.cards if c.department != e.department)}
        case HeadRemovalProposed():
            removal = made(Removal, department=e.department, year=e.year, approval=e.approval)
            return {"removals": (*s.removals, removal)}
        case HeadRemoved() | HeadRemovalRejected():
            over = (e.department, e.year)
            return {"removals": tuple(r for r in s.removals if (r.department, r.year) != over)}
        case _:
            assert_never(e)


def _due(s: SatisfactionState, check: Check, e: SelfCheckDue | CompanyCheckDue) -> dict[str, Any]:
    due = changed(check, commitment=e.commitment)
    return {"checks": (*s.checks, due), "checks_due": s.checks_due + 1}


def _recorded(s: SatisfactionState, e: CheckRecorded) -> tuple[Check, ...]:
    key = (e.department, e.kind, e.period)
    known = {(c.department, c.kind, c.period): c for c in s.checks}
    check = known.get(key) or made(Check, department=e.department, kind=e.kind, period=e.period)
    done = {"checked_by": e.checked_by, "evidence": e.evidence, "findings": e.findings}
    known[key] = changed(check, **done)
    return tuple(known.values())


def _given_up(s: SatisfactionState, commitment: str) -> dict[str, Any]:
    """A check that is asked for no more; its promise goes with it."""
    if all(c.commitment != commitment for c in s.checks):
        return {}
    return {
        "commitments": tuple(c for c in s.commitments if c.id != commitment),
        "checks": tuple(c for c in s.checks if c.commitment != commitment),
    }


def _forget_checks(s: SatisfactionState, month: Month) -> dict[str, Any]:
    """The register goes on for ever: it forgets promises of checks that ended, and old checks."""
    outstanding = {c.id for c in s.commitments if c.outstanding}
    over = {c.commitment for c in s.checks} - outstanding
    latest = max(month, s.months[-1].month if s.months else month)
    oldest = _months_before(latest, MONTHS_KEPT - 1)
    return {
        "commitments": tuple(c for c in s.commitments if c.id not in over),
        "checks": tuple(
            c for c in s.checks if last_month(c.period) >= oldest or c.commitment in outstanding
        ),
    }


def last_month(period: CheckPeriod) -> Month:
    """The month with which a period ends: itself, or the last of a quarter."""
    year, _, number = period.partition("-")
    return f"{year}-{3 * int(number[1:]):02}" if number.startswith("Q") else period


def oldest_month(state: SatisfactionState) -> Month:
    """The first of the 24 months up to the latest one that was reported."""
    if not state.months:
        return "0000-01"
    return _months_before(state.months[-1].month, MONTHS_KEPT - 1)


def _months_before(month: Month, count: int) -> Month:
    months = int(month[:4]) * 12 + int(month[5:]) - 1 - count
    return f"{months // 12:04}-{months % 12 + 1:02}"
