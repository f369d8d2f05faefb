"""Approvals (审批): decisions that a person in a role must take, bound to the facts.

requested → approved | rejected | lapsed | withdrawn. Whoever asked, whoever the case is about and
whom the policy excludes cannot decide; the facts' hash says what was decided on; when the facts
change, what was asked or given lapses. Pure; all times are UTC.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from hashlib import sha256

import rfc8785

from lifecycles import commitments, promises, signing
from lifecycles.changes import changed, made
from lifecycles.decisions import By, No
from schemas.approvals import (
    Approval,
    ApprovalDelegated,
    ApprovalEscalated,
    ApprovalEvents,
    ApprovalGiven,
    ApprovalGranted,
    ApprovalLapsed,
    ApprovalRejected,
    ApprovalRequested,
    ApprovalWithdrawn,
    Consent,
    DecideApproval,
    DelegateApproval,
    Delegation,
    Facts,
    WithdrawApproval,
)
from schemas.base import SYSTEM, Code, Subject
from schemas.case import AnyCase
from schemas.commitments import CommitmentEvents

Events = Iterator[ApprovalEvents | CommitmentEvents]
Results = Iterator[ApprovalEvents | CommitmentEvents | No]

BY_SILENCE = "no_answer_in_time"
"""The reason of a rejection that silence gave (ADM-7)."""


def facts_hash(facts: Facts) -> str:
    """What an approval is bound to: SHA-256 over the facts' canonical JSON (RFC 8785)."""
    return sha256(rfc8785.dumps(dict(facts))).hexdigest()


def _of(facts: Facts, name: str) -> str:
    """One fact as it is hashed: 1 is not true, and none at all is not a None."""
    return facts_hash({name: facts[name]} if name in facts else {})


def same(one: Subject, other: Subject) -> bool:
    """Whether two subjects are one person: a staff number's capitals do not matter."""
    return one.casefold() == other.casefold()


def among(subject: Subject, others: Iterable[Subject]) -> bool:
    return any(same(subject, other) for other in others)


def request(
    state: AnyCase, kind: str, facts: Facts, by: By, about: Iterable[Subject] = ()
) -> Events:
    """Ask for an approval of this `kind`; its clock and ladder are a commitment of the case.

    `about` are those who cannot give it beside whoever asks: whom the case is about, whom the
    policy excludes. What the clock asks bars nobody.
    """
    terms = state.rules.approvals[kind]
    number = 1 + sum(a.kind == kind for a in state.approvals)
    promise = state.rules.terms[f"approve-{kind}", terms.rule]
    started = commitments.start(promise, promises.timing(state), state.commitments, by.at, by.at)
    asked_by = by.actor.subject
    barred = (*about, *(() if by.actor == SYSTEM else (asked_by,)))
    yield ApprovalRequested(
        at=by.at,
        approval=f"{kind}-{number}",
        kind=kind,
        rule=terms.rule,
        role=terms.role,
        facts=facts,
        facts_hash=facts_hash(facts),
        asked_by=asked_by,
        barred=tuple(dict.fromkeys(barred)),
        needed=terms.needed,
        silence=terms.silence,
        commitment=started.commitment,
        signed=terms.signed,
    )
    yield started


def decide_approval(state: AnyCase, c: DecideApproval, by: By) -> Results:
    """One person's yes or no. The last yes that is needed grants it."""
    approval = find(state, c.approval)
    if approval is None:
        yield No("There is no such approval in this case.")
        return
    subject = by.actor.subject
    mine = c.on_behalf_of or subject
    if c.decision == "approve" and _said(approval, c, subject):
        return
    yield from _open(approval)
    if c.facts_hash != approval.facts_hash:
        yield No("It rests on other facts by now: look at them again, then decide.")
    yield from _asked_by_then(approval, by)
    if by.actor.role in ("system", "service") or by.actor.proof == "system":
        yield No("Only a person can decide it.")
    yield from _may_decide(approval, c.on_behalf_of, by)
    yield from signing.lacking(approval, c.signature, by)
    # A deputy and whom they stand in for are one voice. A no may always follow one's own yes.
    heard = [who for g in approval.given for who in (g.subject, g.on_behalf_of or g.subject)]
    if c.decision == "approve" and (among(subject, heard) or among(mine, heard)):
        yield No("This person's yes counts already; a second person must decide too.")
    if c.decision == "reject":
        if c.reason is None:
            yield No("A no needs a reason (ADM-5).")
            return
        yield ApprovalRejected(
            at=by.at,
            approval=approval.id,
            by=subject,
            on_behalf_of=c.on_behalf_of,
            reason=c.reason,
            evidence=c.evidence,
            signature=c.signature,
        )
        yield from _settled(state, approval, by)
        return
    yield ApprovalGiven(
        at=by.at,
        approval=approval.id,
        by=subject,
        on_behalf_of=c.on_behalf_of,
        evidence=c.evidence,
        given=len(approval.given) + 1,
        needed=approval.needed,
        signature=c.signature,
    )
    if len(approval.given) + 1 >= approval.needed:
        yield ApprovalGranted(at=by.at, approval=approval.id, silent=False)
        yield from _settled(state, approval, by)


def _said(approval: Approval, c: DecideApproval, subject: Subject) -> bool:
    """Whether this very yes is on record and still counts."""
    return (
        approval.state in ("requested", "approved")
        and c.facts_hash == approval.facts_hash
        and any(
            same(g.subject, subject) and same(g.on_behalf_of or "", c.on_behalf_of or "")
            for g in approval.given
        )
    )


def _may_decide(approval: Approval, on_behalf_of: Subject | None, by: By) -> Iterator[No]:
    """Separation of duties: neither whoever decides nor whom they stand in for may be barred."""
    if among(by.actor.subject, approval.barred):
        yield No("Who asked for it, or is part of the case, cannot decide it.")
    if on_behalf_of is None:
        if by.actor.role not in approval.roles:
            yield No(f"It is for the role {' or '.join(approval.roles)} to decide.")
        return
    if among(on_behalf_of, approval.barred):
        yield No("Who asked for it, or is part of the case, cannot let somebody else decide it.")
    if not any(
        same(d.by, on_behalf_of) and same(d.to, by.actor.subject) and d.since <= by.at <= d.until
        for d in approval.delegations
    ):
        yield No("There is no delegation to this person that holds now.")


def delegate_approval(state: AnyCase, c: DelegateApproval, by: By) -> Results:
    """Let somebody else decide in the actor's place: explicit, dated and on record."""
    approval = find(state, c.approval)
    if approval is None:
        yield No("There is no such approval in this case.")
        return
    mine = (by.actor.subject, c.to, c.until, c.reason)
    if any((d.by, d.to, d.until, d.reason) == mine for d in approval.delegations):
        return
    yield from _open(approval)
    yield from _asked_by_then(approval, by)
    yield from _may_decide(approval, None, by)
    if among(c.to, approval.barred):
        yield No("That person asked for it, or is part of the case, and cannot decide it.")
    if same(c.to, by.actor.subject):
        yield No("Name another person than yourself.")
    if c.until <= by.at:
        yield No("The delegation must end later than it begins; correct `until`.")
    yield ApprovalDelegated(
        at=by.at,
        approval=approval.id,
        by=by.actor.subject,
        to=c.to,
        until=c.until,
        reason=c.reason,
    )


def withdraw_approval(state: AnyCase, c: WithdrawApproval, by: By) -> Results:
    """Whoever asked does not want it any more."""
    approval = find(state, c.approval)
    if approval is None:
        yield No("There is no such approval in this case.")
        return
    if approval.state == "withdrawn":
        return
    yield from _open(approval)
    yield from _asked_by_then(approval, by)
    by_rule = approval.asked_by == SYSTEM.subject and by.actor != SYSTEM
    if by_rule or not same(approval.asked_by, by.actor.subject):
        yield No("Only who asked for it can withdraw it.")
    yield from withdraw(state, approval, c.reason, by)


def withdraw(state: AnyCase, approval: Approval, reason: str, by: By) -> Events:
    """It is not wanted any more: the case went another way."""
    yield ApprovalWithdrawn(at=by.at, approval=approval.id, reason=reason)
    yield from _over(state, approval, by, "withdrawn")


def withdraw_all(state: AnyCase, reason: str, by: By) -> Events:
    """Withdraw all that is still asked."""
    for approval in state.approvals:
        if approval.state == "requested":
            yield from withdraw(state, approval, reason, by)


def lapse(state: AnyCase, facts_of: Callable[[Approval], Facts | None], by: By) -> Events:
    """What was asked or given on facts that are others in this `state` no longer counts.

    `state` is the case after the rest of the decision; `facts_of` says an approval's facts now, or
    None where it has done its work.
    """
    for approval in state.approvals:
        if approval.state not in ("requested", "approved"):
            continue
        facts = facts_of(approval)
        if facts is not None and facts_hash(facts) != approval.facts_hash:
            names = sorted(facts.keys() | approval.facts.keys())
            before = approval.facts
            differ = tuple(n for n in names if _of(facts, n) != _of(before, n))
            yield ApprovalLapsed(at=by.at, approval=approval.id, changed=differ)
            yield from _over(state, approval, by, "lapsed")


def silence_at(state: AnyCase) -> datetime | None:
    """When silence next speaks (ADM-7): the due time of the earliest approval still asked."""
    return min((at for _, at in _silent(state)), default=None)


def silent(state: AnyCase, by: By) -> Events:
    """What silence means for every approval that is due at or before `by.at` (ADM-7)."""
    for approval, due in _silent(state):
        if due > by.at:
            continue
        on_time = by._replace(at=due)
        match approval.silence:
            case "escalate":
                to = state.rules.approvals[approval.kind].escalates_to
                if to is not None:
                    yield ApprovalEscalated(at=due, approval=approval.id, to=to)
            case "approve":
                yield ApprovalGranted(at=due, approval=approval.id, silent=True)
                yield from _over(state, approval, on_time, "decided_by_silence")
            case "reject":
                yield ApprovalRejected(
                    at=due,
                    approval=approval.id,
                    by=None,
                    on_behalf_of=None,
                    reason=BY_SILENCE,
                    evidence=None,
                )
                yield from _over(state, approval, on_time, "decided_by_silence")


def _silent(state: AnyCase) -> Iterator[tuple[Approval, datetime]]:
    """Approvals for which silence has yet to speak, and when it does."""
    for approval in state.approvals:
        if approval.state != "requested":
            continue
        terms = state.rules.approvals[approval.kind]
        if approval.silence == "escalate" and terms.escalates_to in approval.roles:
            continue
        yield approval, next(c.due for c in state.commitments if c.id == approval.commitment)


def find(state: AnyCase, id: str) -> Approval | None:
    return next((a for a in state.approvals if a.id == id), None)


def pending(state: AnyCase, kind: str) -> Approval | None:
    """The approval of this kind that is being asked."""
    return next((a for a in state.approvals if a.kind == kind and a.state == "requested"), None)


def _open(approval: Approval) -> Iterator[No]:
    if approval.state != "requested":
        yield No(f"It is {approval.state} already.")


def _settled(state: AnyCase, approval: Approval, by: By) -> Iterator[CommitmentEvents]:
    """Its promise is met, in time or late."""
    for c in state.commitments:
        if c.id == approval.commitment:
            yield from commitments.meet(c, by.at, by.id)


def _asked_by_then(approval: Approval, by: By) -> Iterator[No]:
    if by.at < approval.asked_at:
        yield No("It was not asked yet then; correct `occurred_at`.")


def _over(state: AnyCase, approval: Approval, by: By, reason: Code) -> Iterator[CommitmentEvents]:
    """Nobody decided it, and nobody has to any more: its promise is neither kept nor owed."""
    for c in state.commitments:
        if c.id == approval.commitment:
            yield from commitments.cancel(c, by.at, reason)


def evolve(approvals: tuple[Approval, ...], event: ApprovalEvents) -> tuple[Approval, ...]:
    """The approvals after one of their events."""
    if isinstance(event, ApprovalRequested):
        return (
            *approvals,
            made(
                Approval,
                id=event.approval,
                kind=event.kind,
                rule=event.rule,
                roles=(event.role,),
                facts=event.facts,
                facts_hash=event.facts_hash,
                asked_by=event.asked_by,
                asked_at=event.at,
                barred=event.barred,
                needed=event.needed,
                silence=event.silence,
                commitment=event.commitment,
                signed=event.signed,
            ),
        )
    return tuple([_changed(a, event) if a.id == event.approval else a for a in approvals])


def _changed(a: Approval, event: ApprovalEvents) -> Approval:
    match event:
        case ApprovalRequested():
            return a
        case ApprovalDelegated():
            delegation = made(
                Delegation,
                by=event.by,
                to=event.to,
                since=event.at,
                until=event.until,
                reason=event.reason,
            )
            return changed(a, delegations=(*a.delegations, delegation))
        case ApprovalGiven():
            yes = made(
                Consent,
                subject=event.by,
                on_behalf_of=event.on_behalf_of,
                at=event.at,
                signature=event.signature,
            )
            return changed(a, given=(*a.given, yes))
        case ApprovalGranted():
            return changed(a, state="approved", ended_at=event.at)
        case ApprovalRejected():
            return changed(a, state="rejected", ended_at=event.at)
        case ApprovalEscalated():
            return changed(a, roles=(*a.roles, event.to))
        case ApprovalLapsed():
            return changed(a, state="lapsed", ended_at=event.at)
        case ApprovalWithdrawn():
            return changed(a, state="withdrawn", ended_at=event.at)
