"""A case as a person wants to see it: what happened, what is owed, what comes next, unless. Pure.

Everything is folded anew from the case's decisions in the log; `draw` puts it on a terminal.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from gateway.commands import NOT_FOR_PEOPLE
from gateway.standing import Asked, Promise, approval, promise
from gateway.words import Clock, obeyed, rule_of, unless, words
from lifecycles.casework import owner_of
from lifecycles.lifecycle import Lifecycle, deadline, lifecycle_of
from lifecycles.policies import Pinned
from lifecycles.promises import terms_of
from schemas.approvals import (
    ApprovalEscalated,
    ApprovalEvent,
    ApprovalGranted,
    ApprovalRejected,
)
from schemas.archive import ArchiveClosed
from schemas.arrears import (
    ArrearsClosed,
    ArrearsState,
    BecameEligible,
    HoldExpired,
    PermitExpired,
    PlanBroken,
    VisitMissed,
)
from schemas.assessment import AssessmentSettled
from schemas.base import Actor, Owner, Value
from schemas.case import AnyCase
from schemas.commitments import CommitmentBroken, CommitmentEvent, EscalationRaised
from schemas.complaint import CustomerReplied
from schemas.conduct import FindingExpired, MarkRemoved, ReplyRecorded
from schemas.envelope import Json, RecordedDecision
from schemas.repair import AppointmentMissed, RepairCancelled, WorkResumed


class Entry(Value):
    """An event: when (business time), who, what in plain words, on which rule."""

    version: int
    at: datetime
    local: str
    """The same instant by the organisation's clock, with its offset."""
    decided_at: datetime
    actor: Actor
    text: str
    rule: str | None
    type: str
    command_id: str
    body: Json


class Coming(Value):
    """What the clock brings if nobody acts."""

    at: datetime
    local: str
    text: str
    rule: str | None
    unless: str


class Timeline(Value):
    """The JSON form of `standpipe case show`. Instants are UTC; `local` ones carry their offset."""

    case_id: str
    organisation: str
    policy: str
    policy_hash: str
    time_zone: str
    as_of: datetime
    stage: str
    ended: bool
    owner: Owner | None
    version: int
    events: tuple[Entry, ...]
    commitments: tuple[Promise, ...]
    approvals: tuple[Asked, ...]
    next: tuple[Coming, ...]
    possible: tuple[str, ...]
    """Commands that somebody may send now."""
    state: Json


def timeline(
    organisation: str,
    case_id: str,
    policy: Pinned,
    decisions: Sequence[RecordedDecision],
    now: datetime,
    *,
    ahead: int = 3,
) -> Timeline:
    """The case up to `now`, and at most `ahead` instants at which the clock will act.

    A case whose clock was fast-forwarded is shown as of its last decision, if that is later.
    """
    now = max([now, *(d.decided_at for d in decisions)])
    lifecycle = lifecycle_of(case_id)
    clock = Clock(policy.policy.calendar.time_zone, now)
    binding = obeyed(policy.policy)
    state: AnyCase = lifecycle.initial(case_id, organisation, *policy)
    entries: list[Entry] = []
    version = 0
    for decision in decisions:
        actor = Actor.model_validate(decision.command["actor"])
        for body in decision.bodies:
            event: Any = lifecycle.event(body)
            state = lifecycle.evolve(state, event)
            version += 1
            entries.append(
                Entry(
                    version=version,
                    at=event.at,
                    local=clock.local(event.at),
                    decided_at=decision.decided_at,
                    actor=actor,
                    text=words(event, clock.write, currency_of(state)),
                    rule=_rule(state, event) or rule_of(event, binding),
                    type=event.type,
                    command_id=decision.command_id,
                    body=body,
                )
            )
    due = {c.id: c.due for c in state.commitments}
    return Timeline(
        case_id=case_id,
        organisation=organisation,
        policy=f"{policy.policy.name} {policy.policy.version}",
        policy_hash=policy.hash,
        time_zone=policy.policy.calendar.time_zone,
        as_of=now,
        stage=state.stage,
        ended=lifecycle.summary(state).final,
        owner=owner_of(state),
        version=version,
        events=tuple(entries),
        commitments=tuple(promise(state, c, now, clock) for c in state.commitments),
        approvals=tuple(
            approval(a, due[a.commitment], state.rules.approvals[a.kind], clock)
            for a in state.approvals
        ),
        next=tuple(coming(lifecycle, state, version, now, ahead)),
        possible=tuple(n for n in lifecycle.possible(state) if n not in NOT_FOR_PEOPLE),
        state=state.model_dump(mode="json"),
    )


def coming(
    lifecycle: Lifecycle, state: AnyCase, version: int, now: datetime, ahead: int
) -> Iterable[Coming]:
    """What the clock will do if nobody acts: the lifecycle decides its next deadlines, on trial."""
    clock = Clock(state.policy.calendar.time_zone, now)
    binding = obeyed(state.policy)
    for _ in range(ahead):
        at = lifecycle.next_deadline(state)
        if at is None:
            return
        events = lifecycle.decide(state, deadline(at, version), max(at, now))
        for event in events:
            hindrance = _hindrance(state, event)
            if hindrance is not None:
                early = ""
                if isinstance(event, EscalationRaised) and _hastened(state, event):
                    early = ", early because nobody has taken the case"
                yield Coming(
                    at=event.at,
                    local=clock.local(event.at),
                    text=words(event, clock.write, currency_of(state)) + early,
                    rule=_rule(state, event) or rule_of(event, binding),
                    unless=hindrance,
                )
        state = lifecycle.fold(state, events)
        version += len(events)


def currency_of(state: AnyCase) -> str | None:
    """What the amounts of a case are in; None where there are none."""
    return state.currency if isinstance(state, ArrearsState) else None


def _hindrance(state: AnyCase, event: Any) -> str | None:
    """What must happen before, so that the event does not; None for what only comes along."""
    match event:
        case CommitmentBroken() | EscalationRaised():
            c = next(c for c in state.commitments if c.id == event.commitment)
            return unless(terms_of(state.rules, c).ends)
        case AppointmentMissed():
            return unless("arrived")
        case WorkResumed():
            return "somebody resumes the work before"
        case RepairCancelled():
            return "the customer agrees a time before"
        case CustomerReplied():
            return "the complainant replies before"
        case ReplyRecorded():
            return "the person replies before"
        case BecameEligible():
            return unless("paid")
        case HoldExpired():
            return unless("released")
        case VisitMissed():
            return unless("stopped")
        case PermitExpired():
            return unless("redeemed")
        case PlanBroken():
            return unless("instalment_paid")
        case ArrearsClosed():
            return unless("reversed")
        case AssessmentSettled():
            return unless("exclusion_requested")
        case FindingExpired() | MarkRemoved():
            return "the finding is overturned before"
        case ArchiveClosed():
            return "it is full before"
        case ApprovalEscalated() | ApprovalGranted() | ApprovalRejected():
            return unless("approval_decided")
        case _:
            return None


def _hastened(state: AnyCase, event: EscalationRaised) -> bool:
    c = next(c for c in state.commitments if c.id == event.commitment)
    return event.at < c.rungs[event.rung - 1]


def _rule(state: AnyCase, event: Any) -> str | None:
    """The rule of the commitment or approval that an event belongs to."""
    match event:
        case ApprovalGranted(silent=True) | ApprovalRejected(by=None):
            return "ADM-7"
        case ApprovalEscalated() | ApprovalRejected():
            return None
        case CommitmentEvent():
            return next((c.rule for c in state.commitments if c.id == event.commitment), None)
        case ApprovalEvent():
            return next((a.rule for a in state.approvals if a.id == event.approval), None)
        case _:
            return None
