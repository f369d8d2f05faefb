"""Arrears: the visit, and the permit (停供许可) to close one valve once, within minutes."""

from collections.abc import Iterator

from lifecycles.approvals import among, same
from lifecycles.arrears_approvals import deciders, no_hold
from lifecycles.arrears_evolve import Events, Results, evolve
from lifecycles.arrears_guards import Look, Stopping, checks, end_of_hours, not_permitted
from lifecycles.arrears_stages import is_reader, own_number
from lifecycles.decisions import By, No
from lifecycles.holds import place_another
from schemas.arrears import (
    ArrearsState,
    IssuePermit,
    Permit,
    PermitExpired,
    PermitIssued,
    PermitRevoked,
    RecordVisitFailed,
    ScheduleVisit,
    Stage,
    VisitCancelled,
    VisitFailed,
    VisitMissed,
    VisitScheduled,
)
from schemas.base import Code

AT_DOOR = "vulnerable-at-door"


def schedule(state: ArrearsState, c: ScheduleVisit, by: By) -> Results:
    now = (state.visit_crew, state.visit_start, state.visit_end)
    if now == (c.crew, c.start, c.end):
        return
    if c.end <= c.start:
        yield No("The visit must end after it begins.")
    if c.end <= by.heard:
        yield No("The visit would be over already; choose a later time.")
    for why in not_permitted(state, c.start, c.end):
        yield No(why)
    if is_reader(state, c.crew) or among(c.crew, deciders(state)):
        yield No("Who reads the meter or authorised the stop does not carry it out.")
    yield from no_hold(state)
    yield VisitScheduled(at=by.at, crew=c.crew, start=c.start, end=c.end)


def issue_permit(state: ArrearsState, c: IssuePermit, by: By) -> Results:
    stopping = Stopping(c.crew, by.heard, c.for_full_stop)
    every = list(checks(state, stopping, Look(c.premises_open, c.checked_at)))
    failed = [check.otherwise for check in every if not check.guard.holds]
    known = permit_of(state, c.permit)
    if known and known.state == "issued" and _same(known, c):
        if failed:
            # Asked again, with a look that shows what the first one did not.
            yield PermitRevoked(at=by.heard, permit=c.permit, reason="guard_failed")
        return
    if known:
        yield No("This permit's id was used before: ask under a new one.")
    elif in_flight(state):
        yield No("Another permit is in force: use it, or wait until it has expired.")
    if by.at != by.heard:
        yield No("A permit is asked for at the valve, now: leave out `occurred_at`.")
    yield from own_number(c.crew, by)
    yield from (No(otherwise) for otherwise in failed)
    ends = [by.at + state.rules.permit.lifetime, end_of_hours(state, by.at)]
    if not c.for_full_stop and state.visit_end:
        ends.append(state.visit_end)
    yield PermitIssued(
        at=by.at,
        permit=c.permit,
        crew=c.crew,
        full=c.for_full_stop,
        expires_at=min(ends),
        checked_at=c.checked_at,
        guards=tuple(check.guard for check in every),
    )


def _same(known: Permit, c: IssuePermit) -> bool:
    return same(known.crew, c.crew) and known.full == c.for_full_stop


def permit_of(state: ArrearsState, name: Code) -> Permit | None:
    return next((p for p in state.permits if p.permit == name), None)


def in_flight(state: ArrearsState) -> Permit | None:
    """The permit that is in force; there is never a second."""
    return next((p for p in state.permits if p.state == "issued"), None)


def revoked(before: ArrearsState, state: ArrearsState, by: By) -> Events:
    """Anything but the time that a permit rested on has changed: the valve stays open.

    Revoked from when we heard of it: what a crew did before that, it did with a permit.
    """
    old, still = in_flight(before), in_flight(state)
    reason = next(_changes(before, state), None)
    if old and still and old.permit == still.permit and reason:
        yield PermitRevoked(at=by.heard, permit=old.permit, reason=reason)


def _changes(before: ArrearsState, state: ArrearsState) -> Iterator[Code]:
    if before.payments != state.payments:
        yield "payment"
    if before.holds != state.holds:
        yield "hold"
    if before.bills != state.bills:
        yield "balance"
    if before.supply != state.supply or before.stops != state.stops:
        yield "supply"
    if before.stage != state.stage or before.approval != state.approval:
        yield "stage"
    if (before.visit_crew, before.visit_start) != (state.visit_crew, state.visit_start):
        yield "visit"
    if (before.visit_end, before.failed_visits) != (state.visit_end, state.failed_visits):
        yield "visit"


def expired(state: ArrearsState, by: By) -> Events:
    p = in_flight(state)
    if p and p.expires_at <= by.at:
        yield PermitExpired(at=p.expires_at, permit=p.permit)


def missed(state: ArrearsState, by: By) -> Events:
    """The time of the visit passed and supply was not stopped."""
    if state.stage == Stage.VISIT_DUE and state.visit_end and state.visit_end <= by.at:
        yield VisitMissed(at=state.visit_end, end=state.visit_end)


def cancelled(state: ArrearsState, by: By) -> Events:
    """What a visit rested on is gone: the crew is told to stay away."""
    if state.visit_crew and state.stage != Stage.VISIT_DUE:
        reason = "not_owed" if state.settled_at or state.ends_as else "not_authorised"
        yield VisitCancelled(at=by.at, crew=state.visit_crew, reason=reason)


def record_failed(state: ArrearsState, c: RecordVisitFailed, by: By) -> Results:
    if c.evidence in state.failed_visits:
        return
    yield from own_number(c.crew, by)
    if "visit" not in state.shown_by and "stop_order" not in state.shown_by:
        yield No("No visit was scheduled; to say why supply must stay on, place a hold.")
    failed = VisitFailed(at=by.at, crew=c.crew, reason=c.reason, evidence=c.evidence)
    yield failed
    if c.vulnerable:
        after = evolve(state, failed)
        yield from place_another(after, AT_DOOR, "vulnerable", c.evidence, by)
