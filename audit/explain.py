"""A case's state and story at any moment: what the organisation's log knew then, and no more. Pure.

What was told later about that time stands apart. Times are UTC; `local` ones carry their offset.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from audit.log import RawCase
from gateway.commands import Invalid
from gateway.standing import Stretch
from gateway.timeline import Entry, Timeline, timeline
from gateway.words import Clock, readable
from gateway.words.arrears import HOLDS
from lifecycles.lifecycle import CLOCK, lifecycle_of
from lifecycles.policies import Pinned
from schemas.arrears import (
    ArrearsState,
    HoldExpired,
    HoldPlaced,
    HoldReleased,
    Permit,
)
from schemas.base import Actor, Owner, Value
from schemas.case import AnyCase
from schemas.commitments import EscalationRaised
from schemas.envelope import CaseRequest, Json, RecordedDecision

FORMAT = "standpipe-explanation/1"
LATE = timedelta(minutes=1)
"""Whoever tells something no later than this told it at once."""


class Decided(Value):
    """One command that the case carried out: who, how that was proven, when, what it caused."""

    command_id: str
    command: str
    """Its type, such as RecordArrival."""
    actor: Actor
    by_clock: bool
    """Nobody sent it: a time was up."""
    at: datetime
    """Business time."""
    local: str
    decided_at: datetime
    told_late: bool
    """Whether it was told noticeably later than it happened."""
    versions: tuple[int, ...]
    """Its events', in `timeline.events`; none where it was so already."""


class Staged(Value):
    """How long the case was at a stage; `until` is None for the one it is at."""

    stage: str
    since: datetime
    until: datetime | None


class Owned(Value):
    """How long somebody had the case; `until` is None for whoever has it."""

    owner: Owner
    since: datetime
    until: datetime | None


class Escalated(Value):
    """A rung of a promise's ladder, and who was told."""

    commitment: str
    rule: str
    rung: int
    tell: str
    at: datetime


class Held(Value):
    """A reason why supply must not be stopped: since when, how long at most, what became of it."""

    hold: str
    kind: str
    text: str
    source: str
    placed_at: datetime
    until: datetime | None
    ended_at: datetime | None
    ended: Literal["released", "expired"] | None
    reason: str | None


class Asking(Value):
    """Something that this case has asked of another, which has not answered yet."""

    request: str
    case_id: str
    command: str


class Explanation(Value):
    """The JSON form of `standpipe audit explain`."""

    format: str = FORMAT
    case_id: str
    organisation: str
    policy: str
    policy_hash: str
    time_zone: str
    at: datetime
    local: str
    known: bool
    """Whether the log knew the case by then; all below is empty where it did not."""
    timeline: Timeline | None
    """Stage, owner, events, commitments, approvals, what was to come: as `case show` would then."""
    story: tuple[Decided, ...] = ()
    stages: tuple[Staged, ...] = ()
    owners: tuple[Owned, ...] = ()
    escalations: tuple[Escalated, ...] = ()
    holds: tuple[Held, ...] = ()
    permits: tuple[Permit, ...] = ()
    requests: tuple[Asking, ...] = ()
    told_later: tuple[Entry, ...] = ()
    """Events of that time or before which the log heard of only afterwards."""
    first_told: datetime | None = None
    """When the log first heard of the case."""
    later: int = 0
    """How many decisions came after that moment."""


class _Step(NamedTuple):
    event: Any
    after: AnyCase


def explain(
    organisation: str,
    case_id: str,
    policy: Pinned,
    decisions: Sequence[RecordedDecision],
    at: datetime,
) -> Explanation:
    """The case as the log knew it at `at`: decisions from then or before, in the log's order."""
    known, later = _parted(decisions, at)
    zone = policy.policy.calendar.time_zone
    clock = Clock(zone, at)
    about: dict[str, Any] = {
        "case_id": case_id,
        "organisation": organisation,
        "policy": f"{policy.policy.name} {policy.policy.version}",
        "policy_hash": policy.hash,
        "time_zone": zone,
        "at": at,
        "local": clock.local(at),
        "told_later": _told_later(organisation, case_id, policy, decisions, len(known), at),
        "first_told": decisions[0].decided_at if decisions else None,
        "later": len(later),
    }
    if not known:
        return Explanation(**about, known=False, timeline=None)
    lifecycle = lifecycle_of(case_id)
    state: AnyCase = lifecycle.initial(case_id, organisation, *policy)
    steps: list[_Step] = []
    for decision in known:
        for body in decision.bodies:
            event: Any = lifecycle.event(body)
            state = lifecycle.evolve(state, event)
            steps.append(_Step(event, state))
    return Explanation(
        **about,
        known=True,
        timeline=timeline(organisation, case_id, policy, known, at),
        story=tuple(_story(known, clock)),
        stages=tuple(_stages(steps)),
        owners=tuple(_owners(state)),
        escalations=tuple(_escalations(steps)),
        holds=tuple(_holds(steps)),
        permits=state.permits if isinstance(state, ArrearsState) else (),
        requests=tuple(_asking(r) for r in state.requests),
    )


def held(stretches: Iterable[Stretch]) -> list[tuple[Owner, timedelta]]:
    """Who had the case for how long while a promise's time ran, the longest first."""
    total: dict[Owner, int] = {}
    for s in stretches:
        total[s.owner] = total.get(s.owner, 0) + s.seconds
    ranked = sorted(total.items(), key=lambda entry: -entry[1])
    return [(owner, timedelta(seconds=seconds)) for owner, seconds in ranked]


def moment(text: str, time_zone: str, latest: datetime) -> datetime:
    """An instant as a person writes it: with a zone, or by the clock of `time_zone`.

    A day alone means its end; the end of a day that is not over is `latest`. Raises `Invalid`.
    """
    zone = ZoneInfo(time_zone)
    try:
        day = date.fromisoformat(text)
    except ValueError:
        at = _instant(text, zone, time_zone)
    else:
        begin = datetime.combine(day, time(), zone)
        if begin.astimezone(UTC) > latest:
            raise Invalid([_FUTURE])
        end = datetime.combine(day + timedelta(days=1), time(), zone).astimezone(UTC)
        return min(end - timedelta.resolution, latest)
    if at > latest:
        raise Invalid([_FUTURE])
    return at


_FUTURE = "--at: lies in the future, of which the log knows nothing."


def _instant(text: str, zone: ZoneInfo, name: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=zone)
            if at.utcoffset() != at.replace(fold=1).utcoffset():
                raise Invalid(
                    [f"--at: the clock of {name} is put forward or back then; add an offset."]
                )
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(
            [
                f"--at: write a day, or a day and a time by the clock of {name}, or a time with"
                " its offset: 2026-03-12, 2026-03-12T14:00, 2026-03-12T14:00+08:00."
            ]
        ) from None


def recorded(case: RawCase) -> list[RecordedDecision]:
    """A case's decisions as the lifecycles fold them, from the log's bytes."""
    return [
        RecordedDecision(
            command_id=d.command_id,
            command_hash=d.command_hash.hex(),
            version=d.version,
            position=d.position,
            events=tuple(e.type for e in d.events),
            command=_json(d.command),
            decided_at=d.decided_at,
            bodies=tuple(_json(e.body) for e in d.events),
        )
        for d in case.decisions
    ]


def _parted(
    decisions: Sequence[RecordedDecision], at: datetime
) -> tuple[Sequence[RecordedDecision], Sequence[RecordedDecision]]:
    """What was decided by then, and what afterwards; never a decision without those before it."""
    latest = accumulate((d.decided_at for d in decisions), max)
    count = sum(1 for instant in latest if instant <= at)
    return decisions[:count], decisions[count:]


def _told_later(
    organisation: str,
    case_id: str,
    policy: Pinned,
    decisions: Sequence[RecordedDecision],
    known: int,
    at: datetime,
) -> tuple[Entry, ...]:
    """What is of that time by its business time, and was decided only afterwards."""
    if known == len(decisions):
        return ()
    version = sum(len(d.bodies) for d in decisions[:known])
    whole = timeline(organisation, case_id, policy, decisions, at, ahead=0)
    return tuple(e for e in whole.events[version:] if e.at <= at)


def _story(decisions: Iterable[RecordedDecision], clock: Clock) -> Iterator[Decided]:
    for d in decisions:
        command = d.command
        told = command.get("occurred_at")
        at = datetime.fromisoformat(told) if told else d.decided_at
        by_clock = d.command_id.startswith(CLOCK)
        if by_clock:
            at = datetime.fromisoformat(command["body"]["at"])
        yield Decided(
            command_id=d.command_id,
            command=command["body"]["type"],
            actor=Actor.model_validate(command["actor"]),
            by_clock=by_clock,
            at=at,
            local=clock.local(at),
            decided_at=d.decided_at,
            told_late=not by_clock and d.decided_at - at >= LATE,
            versions=tuple(range(d.version - len(d.bodies) + 1, d.version + 1)),
        )


def _stages(steps: Iterable[_Step]) -> Iterator[Staged]:
    """By business time; where a late word changes it, a stage ends no sooner than it began."""
    last: tuple[str, datetime] | None = None
    for event, after in steps:
        stage = str(after.stage)
        if last is None:
            last = stage, event.at
        elif last[0] != stage:
            at = max(last[1], event.at)
            yield Staged(stage=last[0], since=last[1], until=at)
            last = stage, at
    if last is not None:
        yield Staged(stage=last[0], since=last[1], until=None)


def _owners(state: AnyCase) -> Iterator[Owned]:
    for i, o in enumerate(state.owners):
        after = state.owners[i + 1].since if i + 1 < len(state.owners) else None
        yield Owned(owner=o.owner, since=o.since, until=after)


def _escalations(steps: Iterable[_Step]) -> Iterator[Escalated]:
    for event, _ in steps:
        if isinstance(event, EscalationRaised):
            yield Escalated(
                commitment=event.commitment,
                rule=event.rule,
                rung=event.rung,
                tell=event.tell,
                at=event.at,
            )


def _holds(steps: Iterable[_Step]) -> list[Held]:
    found: dict[str, Held] = {}
    for event, _ in steps:
        match event:
            case HoldPlaced():
                found[event.hold] = Held(
                    hold=event.hold,
                    kind=event.kind,
                    text=HOLDS.get(event.kind, readable(event.kind)),
                    source=event.source,
                    placed_at=event.at,
                    until=event.until,
                    ended_at=None,
                    ended=None,
                    reason=None,
                )
            case HoldReleased() | HoldExpired() if event.hold in found:
                released = isinstance(event, HoldReleased)
                found[event.hold] = found[event.hold].model_copy(
                    update={
                        "ended_at": event.at,
                        "ended": "released" if released else "expired",
                        "reason": event.reason if released else None,
                    }
                )
            case _:
                pass
    return list(found.values())


def _asking(request: CaseRequest) -> Asking:
    return Asking(request=request.id, case_id=request.case_id, command=request.command["type"])


def _json(content: bytes) -> Json:
    return json.loads(content)
