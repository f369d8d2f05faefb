"""Staff file (投诉记录): what complaints that were upheld mean for a member of staff.

Unopened → Marked → AtRest, and again with the next finding. While a finding counts: a mark, a
measure from the ladder, or UnderInvestigation; three within the window → ReassignmentProposed (the
right of reply) → AwaitingApproval → Reassigned, or not. An overturned finding takes back, or has
made good, whatever it led to. Nobody has a say in their own file.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from lifecycles import approvals, casework
from lifecycles import conduct_findings as findings
from lifecycles import conduct_proposals as proposals
from lifecycles.conduct_evolve import Results, evolve
from lifecycles.conduct_messages import effects
from lifecycles.conduct_stages import (
    ALLOWED,
    ENDED,
    PENDING,
    allowed,
    barred,
    expires_at,
    open_proposal,
    pending,
    strikes,
    superior,
)
from lifecycles.decisions import By, No, Rejected
from schemas.approvals import DecideApproval, DelegateApproval, WithdrawApproval
from schemas.base import SYSTEM, Command
from schemas.case import HandOverCase, TakeCase
from schemas.conduct import (
    ConcludeInvestigation,
    ConductState,
    RecordFinding,
    RecordMeasure,
    RecordRedress,
    RecordReply,
    Stage,
)
from schemas.envelope import CaseSummary, CommandEnvelope, DeadlinePassed, RecordAnswer
from schemas.policy import Policy

__all__ = [
    "DECIDERS",
    "RULEBOOK",
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


def initial(case_id: str, organisation: str, policy: Policy, policy_hash: str) -> ConductState:
    """A file of which nothing is known yet. `Rejected` where the policy has no conduct section."""
    if policy.conduct is None:
        raise Rejected(["This policy keeps no staff files: add a conduct section to it."])
    return ConductState(
        case_id=case_id, organisation=organisation, policy=policy, policy_hash=policy_hash
    )


def decide(state: ConductState, command: CommandEnvelope[Any], now: datetime) -> list[Any]:
    """The events that the command causes; none where it is so already.

    `now` is the instant of deciding (UTC); the events carry the command's business time.
    Raises `Rejected` with every reason at once (ADM-4).
    """
    return casework.decide(RULEBOOK, state, command, now)


def possible(state: ConductState) -> tuple[str, ...]:
    """The commands that somebody may send now."""
    waiting = {name for k in state.counts for name in pending(k)}
    proposed = open_proposal(state)
    sensible = {
        # A complaint alone tells of findings, and nobody takes the rule's own question back.
        "RecordFinding": False,
        "WithdrawApproval": False,
        "RecordReply": proposed is not None and proposed.reply is None,
        **{name: name in waiting for name in PENDING},
    }
    return casework.possible(state, ALLOWED, allowed, sensible)


def _begun_at(state: ConductState) -> datetime | None:
    return state.opened_at


def _against(state: ConductState, command: CommandEnvelope[Any]) -> Iterator[str]:
    """Whoever the file bars is told so, after why it is not the time for it."""
    kind = command.body.type
    for reason in _no_say(state, command):
        if not allowed(state, kind):
            # `casework.decide` says so, too, but later; a refusal says it once.
            yield casework.not_now(RULEBOOK, state, kind)
        yield reason


def _no_say(state: ConductState, command: CommandEnvelope[Any]) -> Iterator[str]:
    actor = command.actor
    if actor == SYSTEM:
        return
    above = superior(state)
    if state.staff and approvals.same(actor.subject, state.staff):
        if not isinstance(command.body, RecordReply):
            yield "Nobody acts in their own file, except to reply to a proposal."
    elif above and approvals.same(actor.subject, above):
        yield "Whom the person reports to has no part in the file."


def hand_over(state: ConductState, c: HandOverCase, by: By) -> Results:
    if approvals.among(c.to.id, barred(state)):
        yield No("This person can't have the file: hand it to somebody else.")
    yield from casework.hand_over(state, c, by)


def passed(state: ConductState, _: DeadlinePassed, by: By) -> Results:
    """Everything that is due at or before the deadline."""
    steps = (casework.passed_in_order, findings.expired, proposals.reply_over, proposals.silence)
    yield from casework.in_turn(evolve, state, by, *steps)


def next_deadline(state: ConductState) -> datetime | None:
    """When the file next needs the clock (UTC), or None: it then waits for somebody."""
    if state.stage in ENDED or state.stage == Stage.UNOPENED:
        return None
    return casework.next_deadline(state, *_others(state))


def last_together(state: ConductState, first: datetime, limit: datetime) -> datetime:
    """The last deadline, up to `limit`, that can be decided together with the first (UTC)."""
    return casework.last_together(state, first, limit, *_others(state))


def _others(state: ConductState) -> tuple[datetime | None, ...]:
    """Deadlines beside those of the promises."""
    live = [k for k in state.counts if k.live]
    first = min(live, key=lambda k: k.counts_until, default=None)
    proposed = open_proposal(state)
    return (
        expires_at(state, first) if first else None,
        proposed.reply_until if proposed and not proposed.replied else None,
        approvals.silence_at(state),
    )


def summary(state: ConductState) -> CaseSummary:
    """The file as the read models show it."""
    return casework.summary(
        state,
        kind="conduct",
        stage=state.stage,
        ended=state.stage in ENDED,
        opened_at=state.opened_at,
        next_deadline_at=next_deadline(state),
    )


def story(state: ConductState) -> str:
    """The file in a few lines of Markdown, for Temporal's own UI. Times are UTC."""
    live = sum(k.live for k in strikes(state))
    marks = sum(k.marked for k in state.counts)
    headline = f"**{state.stage}** {live} strikes, {marks} marks"
    return casework.story(state, headline, next_deadline(state))


DECIDERS: Mapping[type[Command], Callable[[ConductState, Any, By], Results]] = {
    RecordFinding: findings.record_finding,
    RecordMeasure: findings.record_measure,
    ConcludeInvestigation: findings.conclude_investigation,
    RecordReply: proposals.record_reply,
    RecordRedress: findings.record_redress,
    TakeCase: casework.take_case,
    HandOverCase: hand_over,
    DecideApproval: proposals.decide_approval,
    DelegateApproval: approvals.delegate_approval,
    WithdrawApproval: approvals.withdraw_approval,
    DeadlinePassed: passed,
    RecordAnswer: casework.record_answer,
}
RULEBOOK = casework.Rulebook[ConductState](
    opening=("RecordFinding",),
    unopened="There is no such staff file yet; a complaint's first finding opens it.",
    opened_already="This staff file is open already.",
    deciders=DECIDERS,
    allowed=allowed,
    possible=possible,
    begun_at=_begun_at,
    evolve=evolve,
    facts=proposals.facts,
    against=_against,
    follows=proposals.settled,
)
