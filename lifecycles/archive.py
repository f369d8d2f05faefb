"""The archive register: by month, the hashes of the Temporal histories that were archived.

Unopened → Open → Closed. The archiver enters every run of a case that has ended; the register
closes some days after its month, or when it is full, so that it is a case that ends and is archived
itself, in the next one. The log thus commits to every history.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, assert_never

from lifecycles import casework
from lifecycles.changes import changed
from lifecycles.decisions import By, No
from schemas.archive import (
    ArchiveClosed,
    ArchiveEvents,
    ArchiveOpened,
    ArchiveState,
    HistoryArchived,
    RecordHistory,
    Stage,
    open_until,
)
from schemas.base import Command
from schemas.case import SharedEvents
from schemas.envelope import CaseSummary, CommandEnvelope, DeadlinePassed, Message
from schemas.policy import Policy

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

Events = ArchiveEvents | SharedEvents
Results = Iterator[Events | No]

ROOM = 500
"""Histories in a volume: whoever takes one up again reads all of it."""


def initial(case_id: str, organisation: str, policy: Policy, policy_hash: str) -> ArchiveState:
    """A register with nothing in it; any policy will do."""
    return ArchiveState(
        case_id=case_id, organisation=organisation, policy=policy, policy_hash=policy_hash
    )


def decide(state: ArchiveState, command: CommandEnvelope[Any], now: datetime) -> list[Events]:
    """The events that the command causes. Raises `Rejected` where the next register is due."""
    return casework.decide(RULEBOOK, state, command, now)


def record_history(state: ArchiveState, c: RecordHistory, by: By) -> Results:
    room, until = state.room, state.until
    if state.opened_at is None:
        room, until = ROOM, open_until(state.case_id)
        if until is None:
            yield No("A register is named archive-ORGANISATION--YEAR-MONTH; correct its name.")
            return
        yield ArchiveOpened(
            at=by.at,
            case=state.case_id,
            policy=state.policy_hash,
            owner=casework.unit(state),
            until=until,
            room=room,
        )
    if until is not None and by.at >= until:
        yield No("This register's month is over; enter it in the present one.")
    yield HistoryArchived(at=by.at, **c.model_dump(exclude={"type"}))
    if state.entered + 1 >= room:
        yield ArchiveClosed(at=by.at, reason="full")


def pass_deadline(state: ArchiveState, c: DeadlinePassed, by: By) -> Results:
    due = next_deadline(state)
    if due is not None and due <= by.at:
        yield ArchiveClosed(at=due, reason="month_over")


def evolve(state: ArchiveState, event: Events) -> ArchiveState:
    """The state after `event`. Total: it refuses nothing and ignores nothing."""
    if isinstance(event, SharedEvents):
        return casework.evolve(state, event)
    after = changed(state, **_update(state, event))
    if after.opened_at is None:
        stage = Stage.UNOPENED
    else:
        stage = Stage.CLOSED if after.closed_at else Stage.OPEN
    return changed(after, stage=stage)


def _update(s: ArchiveState, e: ArchiveEvents) -> dict[str, Any]:
    match e:
        case ArchiveOpened():
            opened = {"opened_at": e.at, "until": e.until, "room": e.room}
            return {**opened, **casework.owned(s, e.owner, e.at)}
        case HistoryArchived():
            return {"entered": s.entered + 1}
        case ArchiveClosed():
            return {"closed_at": e.at}
        case _:
            assert_never(e)


def effects(state: ArchiveState, event: Events) -> list[Message]:
    """Nobody is told: whoever audits looks."""
    return []


def possible(state: ArchiveState) -> tuple[str, ...]:
    """The archiver alone speaks to a register."""
    return ()


def next_deadline(state: ArchiveState) -> datetime | None:
    """When an open register closes."""
    return None if state.closed_at else state.until


def last_together(state: ArchiveState, first: datetime, limit: datetime) -> datetime:
    """The last deadline that can be decided together with the first: there is one."""
    return first


def summary(state: ArchiveState) -> CaseSummary:
    """The register as the read models show it."""
    return casework.summary(
        state,
        kind="archive",
        stage=state.stage,
        ended=state.stage == Stage.CLOSED,
        opened_at=state.opened_at,
        next_deadline_at=next_deadline(state),
    )


def story(state: ArchiveState) -> str:
    """The register in a few lines of Markdown, for Temporal's own UI."""
    headline = f"**{state.stage}** {state.entered} histories archived"
    return casework.story(state, headline, next_deadline(state))


def _allowed(state: ArchiveState, command: str) -> bool:
    return state.closed_at is None


def _begun_at(state: ArchiveState) -> datetime | None:
    """What the archiver says is never too early, however its clock goes."""
    return casework.BEGINNING if state.opened_at else None


DECIDERS: Mapping[type[Command], Callable[[ArchiveState, Any, By], Results]] = {
    RecordHistory: record_history,
    DeadlinePassed: pass_deadline,
}
RULEBOOK = casework.Rulebook[ArchiveState](
    opening=("RecordHistory",),
    unopened="There is no such register yet.",
    opened_already="This register is closed; enter it in the next one.",
    deciders=DECIDERS,
    allowed=_allowed,
    possible=possible,
    begun_at=_begun_at,
    evolve=evolve,
)
