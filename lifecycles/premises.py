"""Premises: what is open on them, so that no arrears case there stops supply meanwhile.

Unopened → Watched ⇄ AtRest. Every repair, complaint and arrears case that names the premises says
when it is open there and when it no longer is. For each other case that is open, each open arrears
case is asked to place a hold, and to release it when the other ends. It is level-based: whatever
order the words arrive in, the holds come to the same. Nothing has a deadline, nobody is refused.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, assert_never

from lifecycles import casework
from lifecycles.casework import ask
from lifecycles.changes import changed, made
from lifecycles.decisions import By, No
from schemas.arrears import PlaceHold, ReleaseHold
from schemas.base import Code, Command, Ownership
from schemas.case import SharedEvents
from schemas.envelope import CaseSummary, CommandEnvelope, Message, RecordAnswer
from schemas.policy import Policy
from schemas.premises import (
    HoldReleaseRequested,
    HoldRequested,
    Interlock,
    PremisesEvents,
    PremisesOpened,
    PremisesRested,
    PremisesState,
    Presence,
    PresenceRecorded,
    RecordPresence,
    Stage,
)

__all__ = [
    "decide",
    "effects",
    "evolve",
    "initial",
    "last_together",
    "next_deadline",
    "possible",
    "story",
    "summary",
]

Events = PremisesEvents | SharedEvents
Results = Iterator[Events | No]

LONGEST_NAME = 60


def initial(case_id: str, organisation: str, policy: Policy, policy_hash: str) -> PremisesState:
    """Premises of which nothing is known yet; any policy will do."""
    return PremisesState(
        case_id=case_id, organisation=organisation, policy=policy, policy_hash=policy_hash
    )


def decide(state: PremisesState, command: CommandEnvelope[Any], now: datetime) -> list[Events]:
    """The events that the command causes; none where it is so already. Refuses nothing."""
    return casework.decide(RULEBOOK, state, command, now)


def record_presence(state: PremisesState, c: RecordPresence, by: By) -> Results:
    known = presence_of(state, c.case)
    if known and c.revision <= known.revision:
        return
    if state.opened_at is None:
        yield PremisesOpened(
            at=by.at,
            case=state.case_id,
            policy=state.policy_hash,
            premises=c.premises,
            owner=casework.unit(state),
        )
    yield PresenceRecorded(at=by.at, case=c.case, open=c.open, revision=c.revision, outage=c.outage)


def _settled(_: PremisesState, state: PremisesState, by: By) -> Iterator[PremisesEvents]:
    """What was asked becomes what is wanted."""
    want = {(i.arrears, i.hold): i for i in wanted(state)}
    have = {(i.arrears, i.hold): i for i in state.interlocks}
    for key, i in want.items():
        if key not in have:
            yield HoldRequested(
                at=by.at, arrears=i.arrears, hold=i.hold, kind=i.kind, source=i.source
            )
    for key, i in have.items():
        if key not in want:
            yield HoldReleaseRequested(at=by.at, arrears=i.arrears, hold=i.hold)
    if state.closed_at is None and not any(p.open for p in state.presences):
        yield PremisesRested(at=by.at)


def wanted(state: PremisesState) -> list[Interlock]:
    """Which arrears cases must wait for which others now."""
    return [
        Interlock(
            arrears=a.case,
            hold=hold_name(p),
            kind="outage" if p.outage else "open_case",
            source=p.case,
        )
        for a in state.presences
        if a.chased and a.open
        for p in state.presences
        if p.open and not p.chased
    ]


def hold_name(p: Presence) -> Code:
    """Each time that a case is open has a name of its own, for a name is used once."""
    name = f"{p.case}.{p.since}"
    if len(name) <= LONGEST_NAME:
        return name
    kind = p.case.partition("-")[0]
    return f"{kind}-x{sha256(p.case.encode()).hexdigest()[:32]}.{p.since}"


def presence_of(state: PremisesState, case: str) -> Presence | None:
    """What the premises know of a case."""
    return next((p for p in state.presences if p.case == case), None)


def evolve(state: PremisesState, event: Events) -> PremisesState:
    """The state after `event`. Total: it refuses nothing and ignores nothing."""
    if isinstance(event, SharedEvents):
        return casework.evolve(state, event)
    after = changed(state, **_update(state, event))
    if after.opened_at is None:
        stage = Stage.UNOPENED
    else:
        stage = Stage.AT_REST if after.closed_at else Stage.WATCHED
    return changed(after, stage=stage)


def _update(s: PremisesState, e: PremisesEvents) -> dict[str, Any]:
    match e:
        case PremisesOpened():
            owners = (made(Ownership, owner=e.owner, since=e.at),)
            return {"opened_at": e.at, "premises": e.premises, "owners": owners}
        case PresenceRecorded():
            return _recorded(s, e)
        case HoldRequested():
            place = PlaceHold(hold=e.hold, kind=e.kind, source=e.source)
            asked = made(Interlock, arrears=e.arrears, hold=e.hold, kind=e.kind, source=e.source)
            return {
                "interlocks": (*s.interlocks, asked),
                **ask(s, e.arrears, place.model_dump(mode="json")),
            }
        case HoldReleaseRequested():
            release = ReleaseHold(hold=e.hold, reason="closed")
            rest = tuple(i for i in s.interlocks if (i.arrears, i.hold) != (e.arrears, e.hold))
            return {"interlocks": rest, **ask(s, e.arrears, release.model_dump(mode="json"))}
        case PremisesRested():
            return {"closed_at": e.at}
        case _:
            assert_never(e)


def _recorded(s: PremisesState, e: PresenceRecorded) -> dict[str, Any]:
    known = presence_of(s, e.case)
    same = known is not None and known.open == e.open
    presence = made(
        Presence,
        case=e.case,
        open=e.open,
        revision=e.revision,
        since=known.since if known and same else e.revision,
        outage=known.outage if known and same else e.outage,
    )
    others = tuple(p for p in s.presences if p.case != e.case)
    update: dict[str, Any] = {"presences": (*others, presence)}
    if e.open:
        update["closed_at"] = None
    else:
        # An arrears case that has ended has let go of its holds itself.
        update["interlocks"] = tuple(i for i in s.interlocks if i.arrears != e.case)
    return update


def effects(state: PremisesState, event: Events) -> list[Message]:
    """Nobody is told anything: the cases themselves are."""
    return []


def possible(state: PremisesState) -> tuple[str, ...]:
    """Cases alone speak to premises."""
    return ()


def next_deadline(state: PremisesState) -> datetime | None:
    """None: the premises wait for cases alone."""
    return None


def last_together(state: PremisesState, first: datetime, limit: datetime) -> datetime:
    """The last deadline that can be decided together with the first: there are none."""
    return first


def summary(state: PremisesState) -> CaseSummary:
    """The premises as the read models show them."""
    return casework.summary(
        state,
        kind="premises",
        stage=state.stage,
        ended=state.stage == Stage.AT_REST,
        opened_at=state.opened_at,
        next_deadline_at=None,
    )


def story(state: PremisesState) -> str:
    """The premises in a few lines of Markdown, for Temporal's own UI."""
    there = ", ".join(p.case for p in state.presences if p.open) or "nothing"
    headline = f"**{state.stage}** open here: {there}; {len(state.interlocks)} holds"
    return casework.story(state, headline, None)


def _always(state: PremisesState, command: str) -> bool:
    return True


def _begun_at(state: PremisesState) -> datetime | None:
    """Words of other cases are never too early, however their servers' clocks go."""
    return casework.BEGINNING if state.opened_at else None


DECIDERS: Mapping[type[Command], Callable[[PremisesState, Any, By], Results]] = {
    RecordPresence: record_presence,
    RecordAnswer: casework.record_answer,  # a no changes nothing: what has ended needs no hold
}
RULEBOOK = casework.Rulebook[PremisesState](
    opening=("RecordPresence",),
    unopened="Nothing was ever open on these premises.",
    opened_already="These premises are known already.",
    deciders=DECIDERS,
    allowed=_always,
    possible=possible,
    begun_at=_begun_at,
    evolve=evolve,
    follows=_settled,
)
