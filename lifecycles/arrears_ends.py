"""Arrears: how a case ends, and the promises that its stages make and keep."""

from collections.abc import Mapping

from lifecycles import approvals, commitments, promises
from lifecycles.arrears_evolve import Events, Results
from lifecycles.arrears_money import balance
from lifecycles.arrears_stages import closes_at
from lifecycles.decisions import By, No
from schemas.arrears import (
    ArrearsClosed,
    ArrearsState,
    ArrearsWithdrawn,
    MovedOut,
    RecordMoveOut,
    Stage,
    WithdrawArrears,
)

S = Stage
MILESTONES: Mapping[Stage, str] = {
    S.OVERDUE: "opened",
    S.REMINDED: "reminded",
    S.NOTICE_SERVED: "notice_served",
    S.ELIGIBLE: "eligible",
    S.AWAITING_APPROVAL: "eligible",
    S.AUTHORISED: "authorised",
    S.VISIT_DUE: "visit_due",
    S.TEMPORARILY_STOPPED: "stopped",
    S.SELF_REOPENED: "self_reopened",
    S.STOP_ORDER_SERVED: "stop_order_served",
    S.FULLY_STOPPED: "fully_stopped",
}
"""What a stage starts and keeps. Reconnection has a clock of its own, beside the stages."""
RANK = {name: n for n, name in enumerate(dict.fromkeys(MILESTONES.values()), 1)}


def move_out(state: ArrearsState, c: RecordMoveOut, by: By) -> Results:
    if state.ends_as == Stage.MOVED_OUT:
        return
    if c.moved_at > by.heard:
        yield No("The customer has not moved yet; correct `moved_at`, or tell it then.")
    left = balance(state)
    yield MovedOut(at=by.at, moved_at=c.moved_at, evidence=c.evidence, balance=left)


def withdraw(state: ArrearsState, c: WithdrawArrears, by: By) -> Results:
    if state.ends_as == Stage.WITHDRAWN:
        return
    if state.stops:
        yield No("Supply was stopped: it can't be undone as a mistake; correct the balance.")
    yield ArrearsWithdrawn(at=by.at, reason=c.reason)


def closed(state: ArrearsState, by: By) -> Events:
    """Paid, supply on, and no payment can be taken back any more."""
    end = closes_at(state)
    if end is not None and end <= by.at:
        yield ArrearsClosed(at=end)


def ended(before: ArrearsState, state: ArrearsState, by: By) -> Events:
    """Nobody has to decide any more what an ended case asked for."""
    if state.ends_as and not before.ends_as:
        yield from approvals.withdraw_all(state, "ended", by)


def milestones(before: ArrearsState, state: ArrearsState, by: By) -> Events:
    """A new stage keeps promises and starts others; going back ends those of later stages."""
    if state.stage == before.stage:
        return
    reached = MILESTONES.get(state.stage)
    rank = RANK.get(reached or "", 0)
    for c in state.commitments:
        terms = promises.terms_of(state.rules, c)
        if RANK.get(terms.starts, 0) > rank and terms.ends != reached:
            yield from commitments.cancel(c, by.at, "chase_ended" if rank == 0 else "set_back")
    if reached:
        yield from promises.reach(state, reached, by)
