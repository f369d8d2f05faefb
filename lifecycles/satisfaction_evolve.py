"""Satisfaction: the state after an event. Total: it refuses nothing and ignores nothing."""

from collections.abc import Iterable
from typing import Any, assert_never

from lifecycles import casework
from lifecycles.changes import changed, made
from schemas.approvals import ApprovalEvent, ApprovalEvents, ApprovalLapsed, ApprovalWithdrawn
from schemas.base import Ownership
from schemas.case import SharedEvents
from schemas.satisfaction import (
    Card,
    HeadRemovalProposed,
    HeadRemovalRejected,
    HeadRemoved,
    ImprovementRecorded,
    Measured,
    MonthReported,
    RegisterOpened,
    Removal,
    SampleDrawn,
    SatisfactionEvents,
    SatisfactionState,
    Stage,
    YearRanked,
    YearResult,
    YellowCardGiven,
)

Events = SatisfactionEvents | SharedEvents | ApprovalEvents
MONTHS_KEPT = 24


def evolve(state: SatisfactionState, event: Events) -> SatisfactionState:
    """The state after `event`."""
    if isinstance(event, ApprovalEvent | SharedEvents):
        after = casework.evolve(state, event)
        if isinstance(event, ApprovalWithdrawn | ApprovalLapsed):
            left = tuple(r for r in state.removals if r.approval != event.approval)
            after = changed(after, removals=left)
    else:
        after = changed(state, **_update(state, event))
    awaited = after.cards or any(a.state == "requested" for a in after.approvals)
    return changed(after, stage=Stage.AWAITING if awaited else Stage.AT_REST)


def _update(s: SatisfactionState, e: SatisfactionEvents) -> dict[str, Any]:
    match e:
        case RegisterOpened():
            return {"opened_at": e.at, "owners": (Ownership(owner=e.owner, since=e.at),)}
        case SampleDrawn():
            return {"sample": e}
        case MonthReported():
            months = {m.month: m for m in (*s.months, e)}
            return {"months": tuple(months[m] for m in sorted(months)[-MONTHS_KEPT:])}
        case YearRanked():
            every: list[Measured] = sorted((*e.ranking, *e.unranked), key=lambda m: m.department)
            result = made(YearResult, year=e.year, departments=tuple(every), lowest=e.lowest)
            return {"years": (*s.years, result)}
        case YellowCardGiven():
            card = made(Card, department=e.department, year=e.year, commitment=e.commitment)
            return {"cards": (*s.cards, card)}
        case ImprovementRecorded():
            return {"cards": tuple(c for c in s.cards if c.department != e.department)}
        case HeadRemovalProposed():
            removal = made(Removal, department=e.department, year=e.year, approval=e.approval)
            return {"removals": (*s.removals, removal)}
        case HeadRemoved() | HeadRemovalRejected():
            over = (e.department, e.year)
            return {"removals": tuple(r for r in s.removals if (r.department, r.year) != over)}
        case _:
            assert_never(e)


def after(state: SatisfactionState, events: Iterable[Events]) -> SatisfactionState:
    """The state after several."""
    for event in events:
        state = evolve(state, event)
    return state
