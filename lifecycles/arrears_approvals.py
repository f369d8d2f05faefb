"""Arrears: who lets supply be stopped (WAT-C3) or gives the debt up (WAT-B3), on which facts."""

from collections.abc import Iterable, Iterator
from functools import partial

from lifecycles import approvals
from lifecycles.approvals import among, same
from lifecycles.arrears_evolve import AnyEvent, Events, Results, evolve
from lifecycles.arrears_money import balance, owes
from lifecycles.arrears_stages import CUTOFF, WRITE_OFF, approval_needed
from lifecycles.casework import fold, not_before, owner_of
from lifecycles.decisions import By, No
from schemas.approvals import (
    Approval,
    ApprovalGranted,
    ApprovalWithdrawn,
    DecideApproval,
    Facts,
    WithdrawApproval,
)
from schemas.arrears import (
    ArrearsState,
    AuthorisationLapsed,
    AuthoriseCutoff,
    CutoffAuthorised,
    DebtWrittenOff,
    RequestCutoff,
    WriteOff,
    WriteOffRequested,
)
from schemas.base import Code, Subject

AUTHORISERS = ("supervisor", "division_head")


def request_cutoff(state: ArrearsState, c: RequestCutoff, by: By) -> Results:
    if approvals.pending(state, CUTOFF) or standing(state):
        return
    if not approval_needed(state):
        yield No("This stop needs no approval: have a supervisor authorise it (AuthoriseCutoff).")
    yield from no_hold(state)
    yield from approvals.request(state, CUTOFF, _cutoff(state), by, _excluded(state, CUTOFF))


def authorise(state: ArrearsState, _: AuthoriseCutoff, by: By) -> Results:
    if state.authorised_by is not None:
        return
    if approval_needed(state):
        yield No("This stop needs the division head's written approval: ask for it (WAT-C3).")
    if by.actor.role not in AUTHORISERS:
        yield No(f"It is for the role {' or '.join(AUTHORISERS)} to authorise a stop.")
    yield from no_hold(state)
    yield CutoffAuthorised(at=by.at, approval=None, by=by.actor.subject)


def no_hold(state: ArrearsState) -> Iterator[No]:
    if state.holds:
        kinds = ", ".join(sorted({h.kind for h in state.holds}))
        yield No(f"A hold stands ({kinds}): see to its reason and release it first.")


def write_off(state: ArrearsState, c: WriteOff, by: By) -> Results:
    if state.write_off == c.reason:
        return
    if state.write_off:
        yield No("Giving up the debt is asked for already: withdraw that first.")
    if state.ends_as or not owes(state):
        yield No("Nothing is chased here any more that could be given up.")
    asked = WriteOffRequested(at=by.at, reason=c.reason)
    yield asked
    state = evolve(state, asked)
    excluded = _excluded(state, WRITE_OFF)
    yield from approvals.request(state, WRITE_OFF, _write_off(state), by, excluded)


def _excluded(state: ArrearsState, kind: str) -> Iterator[Subject]:
    """Whose round it is, always; and those whom the policy excludes by their part in the case."""
    if state.reader:
        yield state.reader
    parts = state.rules.approvals[kind].exclude
    if "crew" in parts and state.visit_crew:
        yield state.visit_crew
    owner = owner_of(state)
    if "owner" in parts and owner and owner.kind == "person":
        yield owner.id


def deciders(state: ArrearsState) -> tuple[Subject, ...]:
    """Who authorised the stop: they do not carry it out."""
    asked = approvals.find(state, state.approval) if state.approval else None
    given = [(g.subject, g.on_behalf_of) for g in asked.given] if asked else []
    people = (state.authorised_by, *(who for pair in given for who in pair))
    return tuple(dict.fromkeys(who for who in people if who is not None))


def standing(state: ArrearsState) -> Approval | None:
    """The approval that authorises the stop now: a person gave it, on the facts as they are."""
    asked = approvals.find(state, state.approval) if state.approval else None
    if asked is None or asked.state != "approved" or not asked.given:
        return None
    # Whatever an event says of it: what the policy has signed never counts unsigned.
    if state.rules.approvals[CUTOFF].signed and not all(yes.signature for yes in asked.given):
        return None
    return asked if asked.facts_hash == approvals.facts_hash(_cutoff(state)) else None


def facts(state: ArrearsState, approval: Approval) -> Facts | None:
    """What an approval rests on now; None where it has done its work: the valve is closed."""
    if approval.kind == CUTOFF:
        used = approval.state == "approved" and state.approval != approval.id
        return None if used else _cutoff(state)
    return _write_off(state) if approval.state == "requested" else None


def _cutoff(s: ArrearsState) -> Facts:
    """Debt, notices, customer class and holds."""
    notice, order = s.notice, s.stop_order
    return {
        **_debt(s),
        "stop": "temporary" if s.supply == "on" else "full",
        "notice": notice.proof if notice else None,
        "served_at": notice.served_at.isoformat() if notice else None,
        "effective_at": notice.effective_at.isoformat() if notice else None,
        "stop_order": order.proof if order else None,
        "limit": order.effective_at.isoformat() if order else None,
        "customer_class": s.customer_class,
        "dn": s.dn,
        "boilers": s.boilers,
        "continuous_production": s.continuous_production,
        "holds": tuple(sorted(h.hold for h in s.holds)),
    }


def _write_off(s: ArrearsState) -> Facts:
    return {**_debt(s), "reason": s.write_off}


def _debt(s: ArrearsState) -> Facts:
    return {
        "account": s.account,
        "balance": balance(s),
        "currency": s.currency,
        "bills": tuple(f"{b.bill}:{b.amount}" for b in s.bills),
        "payments": sum(p.reversed_at is None for p in s.payments),
        "reversed": sum(p.reversed_at is not None for p in s.payments),
    }


def decide_approval(state: ArrearsState, c: DecideApproval, by: By) -> Results:
    asked = approvals.find(state, c.approval)
    mine = (by.actor.subject, c.on_behalf_of or by.actor.subject)
    if asked and asked.state == "requested":
        excluded = tuple(_excluded(state, asked.kind))
        if any(among(who, excluded) for who in mine):
            # Who took a part in the case after it was asked for is as little free to decide.
            yield No("Who asked for it, or is part of the case, cannot decide it.")
    yield from _verdict(state, approvals.decide_approval(state, c, by), by)


def withdraw_approval(state: ArrearsState, c: WithdrawApproval, by: By) -> Results:
    """Until the valve is closed, what was approved can be withdrawn, too: to be signed anew."""
    asked = approvals.find(state, c.approval)
    if asked is None or asked.state != "approved" or asked.id != state.approval:
        yield from approvals.withdraw_approval(state, c, by)
        return
    if not same(asked.asked_by, by.actor.subject):
        yield No("Only who asked for it can withdraw it.")
    yield from not_before(asked.ended_at, by, "it was approved")
    yield ApprovalWithdrawn(at=by.at, approval=asked.id, reason=c.reason)


def silence(state: ArrearsState, by: By) -> Results:
    """What it means that nobody decided in time (ADM-7)."""
    yield from _verdict(state, approvals.silent(state, by), by)


def _verdict(state: ArrearsState, events: Iterable[AnyEvent | No], by: By) -> Results:
    """The approval's own events, then what they mean for the case."""
    for event in list(events):
        yield event
        if not isinstance(event, ApprovalGranted):
            continue
        asked = approvals.find(state, event.approval)
        if asked and asked.kind == WRITE_OFF:
            yield DebtWrittenOff(at=event.at, balance=balance(state))
        elif not event.silent:
            # Silence never approves a cutoff (ADM-7), whatever a policy says.
            approval = event.approval
            yield CutoffAuthorised(at=event.at, approval=approval, by=by.actor.subject)


def lapsed(before: ArrearsState, state: ArrearsState, by: By) -> Events:
    """What was asked, given or authorised on other grounds than there are now no longer counts."""
    events = list(approvals.lapse(state, partial(facts, state), by))
    yield from events
    if reason := _lost(before, fold(evolve, state, events)):
        yield AuthorisationLapsed(at=by.at, reason=reason)


def _lost(before: ArrearsState, state: ArrearsState) -> Code | None:
    """Why the stop is not authorised, or not asked for, any more; None where it still is."""
    if state.authorised_by is not None:
        if state.holds:
            return "hold_placed"
        asked = approvals.find(state, state.approval) if state.approval else None
        if asked and not standing(state):
            return "withdrawn" if asked.state == "withdrawn" else "facts_changed"
        return None
    if state.settled_at or state.ends_as:
        return None
    asked = approvals.pending(before, CUTOFF)
    now = approvals.find(state, asked.id) if asked else None
    return now.state if now and now.state in ("rejected", "lapsed", "withdrawn") else None
