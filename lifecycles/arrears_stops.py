"""Arrears: the valve is closed, opened by the customer, or supply is restored (WAT-C4a to C4c)."""

from datetime import datetime

from lifecycles import commitments, promises
from lifecycles.approvals import same
from lifecycles.arrears_evolve import Events, Results
from lifecycles.arrears_guards import Stopping, checks
from lifecycles.arrears_stages import own_number
from lifecycles.arrears_visits import permit_of
from lifecycles.casework import not_before
from lifecycles.changes import made
from lifecycles.decisions import By, No
from schemas.arrears import (
    ArrearsState,
    ReconnectionFailed,
    RecordReconnected,
    RecordReconnectionFailed,
    RecordValveClosed,
    ReportSelfReopened,
    SelfReopened,
    Stage,
    Stop,
    SupplyRestored,
    UnpermittedCut,
    ValveClosed,
)
from schemas.base import Code
from schemas.envelope import StopSummary


def record_closed(state: ArrearsState, c: RecordValveClosed, by: By) -> Results:
    """It happened, so it is on record; without a permit that held, it is an incident, too."""
    if _told_before(state, c):
        return
    yield from own_number(c.crew, by)
    wrong = _unpermitted(state, c, by)
    yield ValveClosed(
        at=by.at,
        kind="full" if c.full else "temporary",
        permit=None if wrong else c.permit,
        crew=c.crew,
        valve=c.valve,
        seal=c.seal,
        reading=c.reading,
    )
    if wrong:
        stood = checks(state, Stopping(c.crew, by.at, c.full), None)
        yield UnpermittedCut(
            at=by.at,
            crew=c.crew,
            permit=c.permit,
            reason=wrong,
            guards=tuple(check.guard for check in stood),
        )


def _told_before(state: ArrearsState, c: RecordValveClosed) -> bool:
    """Whether this very closing is on record, and the valve still closed by it."""
    last = state.stops[-1] if state.stops and state.supply.endswith("stopped") else None
    return last is not None and _same(last, c)


def _same(stop: Stop, c: RecordValveClosed) -> bool:
    kind = "full" if c.full else "temporary"
    known = (stop.kind, stop.valve, stop.seal, stop.reading)
    return same(stop.crew, c.crew) and known == (kind, c.valve, c.seal, c.reading)


def _unpermitted(state: ArrearsState, c: RecordValveClosed, by: By) -> Code | None:
    """Why no permit covered this closing at the instant when it happened; None where one did.

    A crew may tell late: what came in after the closing does not make it wrong.
    """
    if c.permit is None:
        return "no_permit"
    p = permit_of(state, c.permit)
    if p is None:
        return "unknown_permit"
    if not same(p.crew, c.crew):
        return "other_crew"
    if p.full != c.full:
        return "other_kind_of_stop"
    if p.state == "redeemed":
        return "redeemed_before"
    if by.at < p.issued_at:
        return "before_permit"
    if p.state == "revoked" and p.ended_at is not None and p.ended_at <= by.at:
        return "revoked"
    return "expired" if p.expires_at <= by.at else None


def report_reopened(state: ArrearsState, c: ReportSelfReopened, by: By) -> Results:
    if state.supply == "self_reopened":
        return
    if state.supply != "temporarily_stopped":
        yield No("No valve is closed that a customer could have opened.")
    yield from not_before(_last_stop(state), by, "the valve was closed")
    yield SelfReopened(at=by.at, evidence=c.evidence)


def _last_stop(state: ArrearsState) -> datetime | None:
    return state.stops[-1].at if state.stops else None


def record_reconnected(state: ArrearsState, c: RecordReconnected, by: By) -> Results:
    if state.supply == "on" and state.seal_removed == c.seal_removed:
        return
    yield from own_number(c.crew, by)
    if state.supply == "on":
        yield No("Supply is on; there is nothing to restore.")
    yield from not_before(_last_stop(state), by, "the valve was closed")
    yield SupplyRestored(at=by.at, crew=c.crew, seal_removed=c.seal_removed, reading=c.reading)
    yield from promises.reach(state, "reconnected", by)


def record_reconnection_failed(state: ArrearsState, c: RecordReconnectionFailed, by: By) -> Results:
    if c.evidence in state.failed_reconnections:
        return
    yield from own_number(c.crew, by)
    if not reconnection_due(state):
        yield No("No supply is to be restored in this case.")
    yield ReconnectionFailed(at=by.at, crew=c.crew, reason=c.reason, evidence=c.evidence)


def reconnection_due(state: ArrearsState) -> bool:
    """Whether supply is off and is to be restored: paid, stopped wrongly, or for a hold's sake."""
    return state.supply != "on" and (
        state.stage == Stage.RECONNECT_DUE
        or state.wrongful
        or any(state.rules.holds[h.kind].restores for h in state.holds)
    )


def reconnection(state: ArrearsState, by: By) -> Events:
    """The promise to restore supply is made, or ends where supply rightly stays off after all."""
    if state.opened_at is None:
        return
    if reconnection_due(state):
        yield from promises.begin(state, "reconnect_due", by)
        return
    for c in state.commitments:
        if promises.terms_of(state.rules, c).ends == "reconnected":
            yield from commitments.cancel(c, by.at, "owed_again")


def register(state: ArrearsState) -> tuple[StopSummary, ...]:
    """The stops, as their register shows them (WAT-C4c)."""
    account, premises = state.account, state.premises
    if account is None or premises is None:
        return ()
    return tuple(
        [
            made(
                StopSummary,
                account=account,
                premises=premises,
                kind=stop.kind,
                since=stop.at,
                crew=stop.crew,
                permitted=stop.permitted,
                valve=stop.valve,
                seal=stop.seal,
                reading=stop.reading,
                reopened_at=stop.reopened_at,
                restored_at=stop.restored_at,
            )
            for stop in state.stops
        ]
    )
