"""Arrears: the state after an event. Total: it refuses nothing and ignores nothing."""

from collections.abc import Iterator
from typing import Any, Literal, assert_never

from lifecycles import approvals, casework
from lifecycles.approvals import same
from lifecycles.arrears_stages import CUTOFF, ENDED, reminded_at, stage_of
from lifecycles.changes import changed, made
from lifecycles.decisions import No
from lifecycles.presence import places, registered
from schemas.approvals import (
    ApprovalEvents,
    ApprovalLapsed,
    ApprovalRejected,
    ApprovalWithdrawn,
)
from schemas.arrears import (
    ArrearsClosed,
    ArrearsEvents,
    ArrearsOpened,
    ArrearsState,
    ArrearsWithdrawn,
    AuthorisationLapsed,
    BalanceCorrected,
    BecameEligible,
    Bill,
    BillsAdded,
    Charge,
    Contact,
    ContactRecorded,
    CutoffAuthorised,
    DebtRevived,
    DebtSettled,
    DebtWrittenOff,
    Hold,
    HoldExpired,
    HoldPlaced,
    HoldReleased,
    MovedOut,
    Notice,
    NoticeServed,
    NoticeVoided,
    Payment,
    PaymentReceived,
    PaymentReversed,
    Permit,
    PermitExpired,
    PermitIssued,
    PermitRevoked,
    Plan,
    PlanAgreed,
    PlanBroken,
    PlanKept,
    ReconnectionFailed,
    SelfReopened,
    Stage,
    Stop,
    StopOrderServed,
    SupplyRestored,
    UnpermittedCut,
    ValveClosed,
    VisitCancelled,
    VisitFailed,
    VisitMissed,
    VisitScheduled,
    WriteOffRequested,
)
from schemas.base import Code, Ownership, Reference
from schemas.case import SharedEvents

AnyEvent = ArrearsEvents | SharedEvents | ApprovalEvents
Events = Iterator[AnyEvent]
Results = Iterator[AnyEvent | No]

SHOWS: dict[type, Code] = {
    NoticeServed: "notice",
    NoticeVoided: "notice",
    StopOrderServed: "stop_order",
    ArrearsOpened: "balance",
    BillsAdded: "balance",
    PaymentReceived: "balance",
    PaymentReversed: "balance",
    BalanceCorrected: "balance",
    CutoffAuthorised: "authorisation",
    AuthorisationLapsed: "authorisation",
    HoldPlaced: "holds",
    HoldReleased: "holds",
    HoldExpired: "holds",
    VisitScheduled: "visit",
    ValveClosed: "supply",
    SupplyRestored: "supply",
    SelfReopened: "supply",
}
"""Which condition of a stop an event settles; contacts do so as soon as there are enough."""


def evolve(state: ArrearsState, event: AnyEvent) -> ArrearsState:
    """The state after `event`."""
    version = state.happened + 1
    if isinstance(event, SharedEvents):
        return changed(casework.evolve(state, event), happened=version)
    if isinstance(event, ApprovalEvents):
        after = changed(casework.evolve(state, event), **_undecided(state, event))
    else:
        after = changed(state, **_update(state, event))
    shown = SHOWS.get(type(event))
    if after.reminded_at and not state.reminded_at:
        shown = "reminders"
    if shown:
        after = changed(after, shown_by={**state.shown_by, shown: version})
    stage = stage_of(after)
    closed_at = (state.closed_at or event.at) if stage in ENDED else None
    after = changed(after, happened=version, stage=stage, closed_at=closed_at)
    return registered(state, after)


def _undecided(s: ArrearsState, e: ApprovalEvents) -> dict[str, Any]:
    """What was asked and not granted is not asked any more."""
    if not isinstance(e, ApprovalRejected | ApprovalLapsed | ApprovalWithdrawn):
        return {}
    asked = approvals.find(s, e.approval)
    return {} if asked is None or asked.kind == CUTOFF else {"write_off": None}


_UNAUTHORISED: dict[str, Any] = {"authorised_by": None, "approval": None}
_UNVISITED: dict[str, Any] = {"visit_crew": None, "visit_start": None, "visit_end": None}


def _update(s: ArrearsState, e: ArrearsEvents) -> dict[str, Any]:
    match e:
        case ArrearsOpened():
            return {
                "opened_at": e.at,
                "account": e.account,
                "premises": e.premises,
                "run": e.run,
                "reader": e.reader,
                "dn": e.dn,
                "customer_class": e.customer_class,
                "boilers": e.boilers,
                "continuous_production": e.continuous_production,
                "shared_valve": e.shared_valve,
                "places": places(e.premises, *e.shared_valve),
                "party": e.party,
                "district": e.district,
                "currency": e.currency,
                "bills": _charges(e.bills),
                "owners": (made(Ownership, owner=e.owner, since=e.at),),
            }
        case BillsAdded():
            return {"bills": (*s.bills, *_charges(e.bills))}
        case ContactRecorded():
            contact = made(Contact, at=e.at, how=e.how, evidence=e.evidence)
            contacts = (*s.contacts, contact)
            return {"contacts": contacts, "reminded_at": reminded_at(s, (k.at for k in contacts))}
        case NoticeServed():
            return {"notice": _notice(e, "notice"), "eligible": False}
        case StopOrderServed():
            return {"stop_order": _notice(e, "stop_order")}
        case NoticeVoided():
            return _voided(s, e)
        case BecameEligible():
            return {"eligible": True}
        case HoldPlaced():
            hold = made(
                Hold, hold=e.hold, kind=e.kind, source=e.source, placed_at=e.at, until=e.until
            )
            return {"holds": (*s.holds, hold)}
        case HoldReleased() | HoldExpired():
            return {
                "holds": tuple([h for h in s.holds if h.hold != e.hold]),
                "released": (*s.released, e.hold),
            }
        case PlanAgreed():
            plan = made(
                Plan,
                agreed_at=e.at,
                consent=e.consent,
                instalments=e.instalments,
                paid_before=sum(p.amount for p in s.payments if p.reversed_at is None),
                hold=e.hold,
            )
            return {"plan": plan, "plans": s.plans + 1}
        case PlanBroken() | PlanKept():
            return {"plan": None}
        case CutoffAuthorised():
            return {"authorised_by": e.by, "approval": e.approval}
        case AuthorisationLapsed():
            return _UNAUTHORISED
        case VisitScheduled():
            return {"visit_crew": e.crew, "visit_start": e.start, "visit_end": e.end}
        case VisitMissed() | VisitCancelled():
            return _UNVISITED
        case VisitFailed():
            # Told late, it may be of an earlier visit than the one that is due now.
            this = s.visit_crew and s.visit_start and same(e.crew, s.visit_crew)
            due = this and s.visit_start and s.visit_start <= e.at
            return {
                "failed_visits": (*s.failed_visits, e.evidence),
                **(_UNVISITED if due else {}),
            }
        case PermitIssued():
            permit = made(
                Permit,
                permit=e.permit,
                crew=e.crew,
                full=e.full,
                issued_at=e.at,
                expires_at=e.expires_at,
                guards=e.guards,
            )
            return {"permits": (*s.permits, permit)}
        case PermitRevoked():
            return _permit(s, e.permit, state="revoked", ended_at=e.at)
        case PermitExpired():
            return _permit(s, e.permit, state="expired", ended_at=e.at)
        case ValveClosed():
            return _closed(s, e)
        case UnpermittedCut():
            return {"wrongful": True, "incidents": s.incidents + 1}
        case SelfReopened():
            last = [changed(stop, reopened_at=e.at) for stop in s.stops[-1:]]
            return {"supply": "self_reopened", "stops": (*s.stops[:-1], *last)}
        case PaymentReceived():
            payment = made(
                Payment,
                payment=e.payment,
                amount=e.amount,
                paid_at=e.paid_at,
                covers_month=not e.part,
            )
            return {"payments": (*s.payments, payment)}
        case PaymentReversed():
            return {
                "payments": tuple(
                    [
                        changed(p, reversed_at=e.at) if p.payment == e.payment else p
                        for p in s.payments
                    ]
                )
            }
        case BalanceCorrected():
            return {
                "bills": tuple(
                    [changed(b, amount=e.amount) if b.bill == e.bill else b for b in s.bills]
                )
            }
        case DebtSettled():
            return {"settled_at": e.at, **_UNAUTHORISED}
        case DebtRevived():
            return {"settled_at": None, "reconnect": e.stage == Stage.RECONNECT_DUE}
        case SupplyRestored():
            return {
                "supply": "on",
                "restored_at": e.at,
                "stops": tuple(
                    [changed(stop, restored_at=stop.restored_at or e.at) for stop in s.stops]
                ),
                "seal_removed": e.seal_removed,
                "reconnect": False,
                "wrongful": False,
                "stop_order": None,
                **_UNAUTHORISED,
            }
        case ReconnectionFailed():
            return {"failed_reconnections": (*s.failed_reconnections, e.evidence)}
        case WriteOffRequested():
            return {"write_off": e.reason}
        case MovedOut():
            return _ending(Stage.MOVED_OUT)
        case DebtWrittenOff():
            return {**_ending(Stage.WRITTEN_OFF), "write_off": None}
        case ArrearsWithdrawn():
            return _ending(Stage.WITHDRAWN)
        case ArrearsClosed():
            return _ending(Stage.CLOSED)
        case _:
            assert_never(e)


def _ending(stage: Stage) -> dict[str, Any]:
    return {"ends_as": stage, "plan": None, "holds": (), **_UNAUTHORISED}


def _charges(bills: tuple[Bill, ...]) -> tuple[Charge, ...]:
    return tuple(
        [made(Charge, bill=b.bill, billed=b.amount, amount=b.amount, due=b.due) for b in bills]
    )


def _notice(e: NoticeServed | StopOrderServed, kind: Literal["notice", "stop_order"]) -> Notice:
    return made(
        Notice, kind=kind, served_at=e.at, how=e.how, proof=e.proof, effective_at=e.effective_at
    )


def _voided(s: ArrearsState, e: NoticeVoided) -> dict[str, Any]:
    notice = s.notice if e.kind == "notice" else s.stop_order
    proofs: tuple[Reference, ...] = (notice.proof,) if notice else ()
    gone = {"notice": None, "eligible": False} if e.kind == "notice" else {"stop_order": None}
    return {**gone, "voided": (*s.voided, *proofs), "voided_at": e.at}


def _permit(s: ArrearsState, name: Code, **fields: Any) -> dict[str, Any]:
    return {"permits": tuple([changed(p, **fields) if p.permit == name else p for p in s.permits])}


def _closed(s: ArrearsState, e: ValveClosed) -> dict[str, Any]:
    """What authorised the stop, and the visit and stop order that led to it, are used up."""
    stop = made(
        Stop,
        kind=e.kind,
        at=e.at,
        crew=e.crew,
        valve=e.valve,
        seal=e.seal,
        reading=e.reading,
        permitted=e.permit is not None,
    )
    full = e.kind == "full" or s.supply == "fully_stopped"
    redeemed = {} if e.permit is None else _permit(s, e.permit, state="redeemed", ended_at=e.at)
    return {
        "stops": (*s.stops, stop),
        "supply": "fully_stopped" if full else "temporarily_stopped",
        "stop_order": None,
        **redeemed,
        **_UNAUTHORISED,
        **_UNVISITED,
    }
