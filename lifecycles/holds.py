"""Holds: named reasons why supply must not be stopped; placed, released, or expired by themselves.

A name is used once. So what places and releases a hold from another case may arrive in either
order: a hold that was released before it was placed is never placed.
"""

from collections.abc import Iterable
from datetime import datetime

from lifecycles.arrears_evolve import Events, Results
from lifecycles.arrears_stages import ENDED
from lifecycles.decisions import By, No
from schemas.arrears import (
    ArrearsState,
    Hold,
    HoldExpired,
    HoldPlaced,
    HoldReleased,
    PlaceHold,
    ReleaseHold,
)
from schemas.base import SYSTEM, Code, Reference
from schemas.policy import HoldKind

PERSONAL: tuple[HoldKind, ...] = ("vulnerable", "medical")
"""Holds for somebody's sake who lives there."""


def place(state: ArrearsState, c: PlaceHold, by: By) -> Results:
    known = find(state, c.hold)
    if known and known.kind == c.kind:
        return
    if by.actor == SYSTEM and (c.hold in state.released or state.stage in ENDED):
        # The other case was quicker to end than its word to arrive, or nothing is left to stop.
        return
    if known or c.hold in state.released:
        yield No("A hold of this name was placed before: give this one another name.")
    longest = state.rules.holds[c.kind].longest
    until = min(_times(c.until, by.at + longest if longest else None), default=None)
    if c.until and c.until <= by.at:
        yield No("The hold must end later than it begins; correct `until`.")
    yield HoldPlaced(at=by.at, hold=c.hold, kind=c.kind, source=c.source, until=until)


def release(state: ArrearsState, c: ReleaseHold, by: By) -> Results:
    if c.hold in state.released or (by.actor == SYSTEM and state.stage in ENDED):
        return
    if find(state, c.hold) is None and by.actor != SYSTEM:
        yield No("No such hold stands; check its name.")
    if state.plan and state.plan.hold == c.hold:
        yield No("The plan holds it: it ends when the plan is kept or broken.")
    yield HoldReleased(at=by.at, hold=c.hold, reason=c.reason)


def place_another(
    state: ArrearsState, name: Code, kind: HoldKind, source: Reference, by: By
) -> Events:
    """A hold that the case places itself, under a name that was not used yet."""
    used = {*state.released, *(h.hold for h in state.holds)}
    number, free = 1, name
    while free in used:
        number += 1
        free = f"{name}-{number}"
    longest = state.rules.holds[kind].longest
    until = by.at + longest if longest else None
    yield HoldPlaced(at=by.at, hold=free, kind=kind, source=source, until=until)


def expired(state: ArrearsState, by: By) -> Events:
    """Those whose time is over."""
    over = [h for h in state.holds if h.until and h.until <= by.at]
    for h in sorted(over, key=lambda h: (h.until or by.at, h.hold)):
        yield HoldExpired(at=h.until or by.at, hold=h.hold)


def next_expiry(state: ArrearsState) -> datetime | None:
    return min(_times(*(h.until for h in state.holds)), default=None)


def find(state: ArrearsState, name: Code) -> Hold | None:
    """The hold of this name that stands now."""
    return next((h for h in state.holds if h.hold == name), None)


def _times(*times: datetime | None) -> Iterable[datetime]:
    return (t for t in times if t is not None)
