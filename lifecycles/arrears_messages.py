"""Arrears: who must be told what, as messages for the outbox: ids and a template only."""

from collections.abc import Iterator

from lifecycles import messages
from lifecycles.arrears_evolve import AnyEvent
from lifecycles.arrears_visits import permit_of
from lifecycles.messages import intake, message, role, time
from lifecycles.promises import terms_of
from schemas.arrears import (
    ArrearsClosed,
    ArrearsOpened,
    ArrearsState,
    ArrearsWithdrawn,
    AuthorisationLapsed,
    BalanceCorrected,
    BecameEligible,
    CutoffAuthorised,
    DebtRevived,
    DebtSettled,
    DebtWrittenOff,
    HoldExpired,
    HoldPlaced,
    MovedOut,
    NoticeServed,
    NoticeVoided,
    PaymentReceived,
    PaymentReversed,
    PermitIssued,
    PermitRevoked,
    PlanAgreed,
    PlanBroken,
    PlanKept,
    ReconnectionFailed,
    SelfReopened,
    StopOrderServed,
    SupplyRestored,
    UnpermittedCut,
    ValveClosed,
    VisitCancelled,
    VisitFailed,
    VisitMissed,
    VisitScheduled,
)
from schemas.case import RequestAnswered
from schemas.commitments import CommitmentStarted
from schemas.envelope import Message


def effects(state: ArrearsState, event: AnyEvent) -> list[Message]:
    """What the outside is to be told of an event; `state` is the case after the whole decision."""
    return [
        *messages.promised(state, event, state.rules.next_level),
        *messages.approved(state, event, state.rules.next_level),
        *_messages(state, event),
    ]


def _messages(s: ArrearsState, e: AnyEvent) -> Iterator[Message]:
    match e:
        case ArrearsOpened():
            yield from _party(s, "arrears", balance=_owed(e), currency=e.currency)
            if e.reader:
                yield message(s, "staff", e.reader, "remind", rule="WAT-C1")
            else:
                yield intake(s, "remind", rule="WAT-C1")
        case NoticeServed():
            until = time(e.effective_at)
            yield from _party(s, "notice", balance=e.balance, pay_before=until, rule="WAT-C2")
        case NoticeVoided():
            yield intake(s, "notice_voided", kind=e.kind, reason=e.reason)
        case BecameEligible():
            yield intake(s, "eligible", approval_needed=int(e.approval_needed))
        case HoldPlaced():
            yield intake(s, "hold_placed", hold=e.hold, kind=e.kind, until=time(e.until))
        case HoldExpired():
            yield intake(s, "hold_expired", hold=e.hold)
        case PlanAgreed():
            yield from _party(s, "plan_agreed", instalments=len(e.instalments))
        case PlanBroken():
            told = {"due": e.due.isoformat(), "expected": e.expected, "received": e.received}
            yield from _party(s, "plan_broken", **told)
            yield intake(s, "plan_broken", **told)
        case PlanKept():
            yield from _party(s, "plan_kept")
        case CutoffAuthorised():
            yield intake(s, "authorised", approval=e.approval)
        case AuthorisationLapsed():
            yield intake(s, "authorisation_lapsed", reason=e.reason)
        case VisitScheduled():
            times = {"start": time(e.start), "end": time(e.end)}
            yield message(s, "crew", e.crew, "visit", **times)
            yield from _party(s, "stop_announced", **times)
        case VisitMissed():
            yield intake(s, "visit_missed")
        case VisitCancelled():
            yield message(s, "crew", e.crew, "visit_cancelled", reason=e.reason)
        case VisitFailed():
            yield intake(s, "visit_failed", reason=e.reason, evidence=e.evidence)
        case PermitIssued():
            said = {"permit": e.permit, "until": time(e.expires_at)}
            yield message(s, "crew", e.crew, "permit_issued", **said)
        case PermitRevoked():
            permit = permit_of(s, e.permit)
            if permit:
                said = {"permit": e.permit, "reason": e.reason}
                yield message(s, "crew", permit.crew, "permit_revoked", **said)
        case ValveClosed():
            rule = "WAT-C2" if e.kind == "temporary" else "WAT-C4b"
            yield from _party(s, "supply_stopped", kind=e.kind, rule=rule)
            yield intake(s, "stop_register", supply=s.supply, rule="WAT-C4c")
        case UnpermittedCut():
            said = {"crew": e.crew, "permit": e.permit, "reason": e.reason}
            yield role(s, s.rules.next_level, "unpermitted_cut", **said)
            yield intake(s, "unpermitted_cut", **said)
        case SelfReopened():
            yield intake(s, "self_reopened", rule="WAT-C4a", evidence=e.evidence)
        case StopOrderServed():
            until = time(e.effective_at)
            yield from _party(s, "stop_order", pay_before=until, rule="WAT-C4a")
        case PaymentReceived():
            yield from _party(
                s, "payment_received", payment=e.payment, balance=e.balance, part=int(e.part)
            )
        case PaymentReversed():
            said = {"payment": e.payment, "reason": e.reason, "balance": e.balance}
            yield from _party(s, "payment_reversed", **said)
            yield intake(s, "payment_reversed", **said)
        case BalanceCorrected():
            yield from _party(s, "balance_corrected", bill=e.bill, balance=e.balance)
        case DebtSettled():
            yield from _party(s, "settled", balance=e.balance)
        case DebtRevived():
            yield from _party(s, "owed_again", balance=e.balance)
            yield intake(s, "owed_again", balance=e.balance)
        case SupplyRestored():
            yield from _party(s, "supply_restored")
            yield intake(s, "stop_register", supply=s.supply, rule="WAT-C4c")
        case ReconnectionFailed():
            yield intake(s, "reconnection_failed", reason=e.reason, evidence=e.evidence)
        case MovedOut():
            yield intake(s, "moved_out", balance=e.balance)
        case DebtWrittenOff():
            yield from _party(s, "written_off")
            yield intake(s, "written_off", balance=e.balance, rule="WAT-B3")
        case ArrearsWithdrawn():
            yield from _party(s, "withdrawn", reason=e.reason)
        case ArrearsClosed():
            yield from _party(s, "done")  # ADM-6
        case CommitmentStarted():
            yield from _promised(s, e)
        case RequestAnswered():
            if not e.accepted:
                yield role(s, s.rules.next_level, "request_refused", request=e.request)
        case _:
            return


def _promised(s: ArrearsState, e: CommitmentStarted) -> Iterator[Message]:
    """Supply is to be restored: whoever does it and the customer learn by when (ADM-2)."""
    known = next((c for c in s.commitments if c.id == e.commitment), None)
    if known and terms_of(s.rules, known).starts == "reconnect_due":
        yield intake(s, "reconnect", due=time(e.due), rule=e.rule)
        yield from _party(s, "reconnection_promised", due=time(e.due))


def _owed(e: ArrearsOpened) -> int:
    return sum(b.amount for b in e.bills)


def _party(s: ArrearsState, template: str, /, **params: str | int | None) -> Iterator[Message]:
    if s.party is not None:
        yield message(s, "party", s.party, template, **params)
