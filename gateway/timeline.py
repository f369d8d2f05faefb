"""A case as a person wants to see it: what happened, what is owed, what comes next, unless. Pure.

Everything is folded anew from the case's decisions in the log; `draw` puts it on a terminal.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from gateway.words import Clock, owner_words, rule_of, span, unless, words
from lifecycles.calendars import working_between
from lifecycles.casework import owner_of
from lifecycles.commitments import attribution
from lifecycles.lifecycle import Lifecycle, deadline, lifecycle_of
from lifecycles.policies import Pinned
from lifecycles.promises import terms_of
from lifecycles.repair import possible
from lifecycles.repair_stages import ENDED
from schemas.base import Actor, Owner, Value
from schemas.commitments import (
    Commitment,
    CommitmentBroken,
    CommitmentEvent,
    EscalationRaised,
    Pause,
)
from schemas.envelope import Json, RecordedDecision
from schemas.repair import AppointmentMissed, RepairCancelled, RepairState, WorkResumed


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


class Stretch(Value):
    """How long somebody had the case while a promise's time ran."""

    owner: Owner
    since: datetime
    until: datetime
    seconds: int


class Promise(Value):
    """A commitment with what is left of its time, or what was missed."""

    id: str
    name: str
    rule: str
    state: str
    start: datetime
    due: datetime
    agreed: bool
    met_at: datetime | None
    ended_at: datetime | None
    margin_seconds: int | None
    """Left or to spare; below zero: late. Working time where the promise runs on that."""
    fired: int
    """Rungs of its ladder that were told."""
    pauses: tuple[Pause, ...]
    held: tuple[Stretch, ...]
    text: str


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
    state: RepairState = lifecycle.initial(case_id, organisation, *policy)
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
                    text=words(event, clock.write),
                    rule=rule_of(event, policy.policy, _rule(state, event)),
                    type=event.type,
                    command_id=decision.command_id,
                    body=body,
                )
            )
    return Timeline(
        case_id=case_id,
        organisation=organisation,
        policy=f"{policy.policy.name} {policy.policy.version}",
        policy_hash=policy.hash,
        time_zone=policy.policy.calendar.time_zone,
        as_of=now,
        stage=state.stage,
        ended=state.stage in ENDED,
        owner=owner_of(state),
        version=version,
        events=tuple(entries),
        commitments=tuple(_promise(state, c, now, clock) for c in state.commitments),
        next=tuple(coming(lifecycle, state, version, now, ahead)),
        possible=possible(state),
        state=state.model_dump(mode="json"),
    )


def coming(
    lifecycle: Lifecycle, state: RepairState, version: int, now: datetime, ahead: int
) -> Iterable[Coming]:
    """What the clock will do if nobody acts: the lifecycle decides its next deadlines, on trial."""
    clock = Clock(state.policy.calendar.time_zone, now)
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
                    text=words(event, clock.write) + early,
                    rule=rule_of(event, state.policy, _rule(state, event)),
                    unless=hindrance,
                )
        state = lifecycle.fold(state, events)
        version += len(events)


def _hindrance(state: RepairState, event: Any) -> str | None:
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
        case _:
            return None


def _hastened(state: RepairState, event: EscalationRaised) -> bool:
    c = next(c for c in state.commitments if c.id == event.commitment)
    return event.at < c.rungs[event.rung - 1]


def _rule(state: RepairState, event: Any) -> str | None:
    """The rule of the commitment that an event belongs to."""
    if not isinstance(event, CommitmentEvent):
        return None
    return next((c.rule for c in state.commitments if c.id == event.commitment), None)


def _promise(state: RepairState, c: Commitment, now: datetime, clock: Clock) -> Promise:
    margin = _margin(state, c, now)
    return Promise(
        id=c.id,
        name=c.name,
        rule=c.rule,
        state=c.state,
        start=c.start,
        due=c.due,
        agreed=c.agreed,
        met_at=c.met_at,
        ended_at=c.ended_at,
        margin_seconds=None if margin is None else int(margin.total_seconds()),
        fired=c.fired,
        pauses=c.pauses,
        held=tuple(
            Stretch(
                owner=h.owner,
                since=h.since,
                until=h.until,
                seconds=int((h.until - h.since).total_seconds()),
            )
            for h in attribution(c, state.owners, now)
        ),
        text=_standing(c, margin, clock),
    )


def _margin(state: RepairState, c: Commitment, now: datetime) -> timedelta | None:
    if c.state == "cancelled":
        return None
    at = c.met_at or c.ended_at or now
    if c.state == "paused":
        at = c.pauses[-1].since
    if terms_of(state.rules, c).basis == "working" and not c.agreed:
        return working_between(state.policy.calendar, at, c.due)
    return c.due - at


def _standing(c: Commitment, margin: timedelta | None, clock: Clock) -> str:
    late = span(margin or timedelta(0))
    match c.state:
        case "running" if margin is not None and margin < timedelta(0):
            return f"due {clock.write(c.due)}, {late} ago; the breach is not recorded yet"
        case "running":
            return f"due {clock.write(c.due)}, {late} left"
        case "paused":
            return f"time stands still since {clock.write(c.pauses[-1].since)}, {late} left"
        case "kept":
            return f"kept, {late} to spare"
        case "broken" if c.met_at is not None:
            return f"broken, met {late} late"
        case "broken" if c.ended_at is not None:
            return f"broken; {late} late when no longer owed ({c.cancelled})"
        case "broken":
            return f"broken, {late} late so far"
        case "cancelled":
            return f"no longer owed ({c.cancelled})"


def held_words(held: Iterable[Stretch]) -> str:
    """Who had the case while a promise's time ran, longest first."""
    total: dict[str, int] = {}
    for stretch in held:
        who = owner_words(stretch.owner)
        total[who] = total.get(who, 0) + stretch.seconds
    ranked = sorted(((w, s) for w, s in total.items() if s), key=lambda entry: -entry[1])
    return ", ".join(f"{who} {span(timedelta(seconds=s))}" for who, s in ranked)
