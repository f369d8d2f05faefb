"""Assessment (考核): what a reader's overdue accounts of a half-year come to (WAT-P1).

Open → AwaitingConfirmation → AwaitingApproval → Open …, and Closed when the time to object is over
and nothing is being decided. An account that is not the reader's fault is not counted once the
station head has confirmed it and the division has approved it (WAT-P2). Nobody has a say in their
own assessment; what is settled stands.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from lifecycles import approvals, casework
from lifecycles import assessment_exclusions as exclusions
from lifecycles.assessment_evolve import Events, evolve
from lifecycles.assessment_exclusions import is_reader
from lifecycles.assessment_messages import effects
from lifecycles.assessment_runs import half_year_of
from lifecycles.changes import changed, made
from lifecycles.decisions import By, No, Rejected
from schemas.approvals import DecideApproval, DelegateApproval, WithdrawApproval
from schemas.assessment import (
    AssessmentOpened,
    AssessmentSettled,
    AssessmentState,
    OpenAssessment,
    RequestExclusion,
    Stage,
)
from schemas.base import SYSTEM, Command
from schemas.case import HandOverCase, TakeCase
from schemas.envelope import AssessmentSummary, CaseSummary, CommandEnvelope, DeadlinePassed
from schemas.policy import Band, Policy

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

Results = Iterator[Events | No]

S = Stage
LIVE = (S.OPEN, S.AWAITING_CONFIRMATION, S.AWAITING_APPROVAL)
ASKED = (S.AWAITING_CONFIRMATION, S.AWAITING_APPROVAL)

ALLOWED: Mapping[str, tuple[Stage, ...]] = {
    "OpenAssessment": (S.UNOPENED,),
    "RequestExclusion": LIVE,
    "TakeCase": LIVE,
    "HandOverCase": LIVE,
    "DecideApproval": ASKED,
    "DelegateApproval": ASKED,
    "WithdrawApproval": ASKED,
    "DeadlinePassed": LIVE,
}


def initial(case_id: str, organisation: str, policy: Policy, policy_hash: str) -> AssessmentState:
    """An assessment of which nothing is known yet. `Rejected` if the policy says nothing of it."""
    if policy.assessment is None:
        raise Rejected(["This policy assesses nobody: add an [assessment] section to it."])
    return AssessmentState(
        case_id=case_id, organisation=organisation, policy=policy, policy_hash=policy_hash
    )


def decide(state: AssessmentState, command: CommandEnvelope[Any], now: datetime) -> list[Events]:
    """The events that the command causes; none where it is so already.

    `now` is the instant of deciding (UTC); the events carry the command's business time.
    Raises `Rejected` with every reason at once (ADM-4).
    """
    return casework.decide(RULEBOOK, state, command, now)


def amount(bands: Sequence[Band], accounts: int) -> int:
    """What so many overdue accounts come to (WAT-P1), in the currency's smallest unit.

    The rule says "up to 20 accounts, each ¥2; above 20, ¥5 each". We read it account by account:
    the first twenty cost ¥2 each, the 21st and every further one ¥5. Else one account more, the
    21st, would cost ¥65. The policy's bands say so explicitly.
    """
    total, before = 0, 0
    for band in bands:
        until = accounts if band.up_to is None else min(accounts, band.up_to)
        total += max(until - before, 0) * band.each
        before = max(until, before)
    return total


def counted(state: AssessmentState) -> int:
    """How many accounts count: those that are not excluded (WAT-P2)."""
    return len(state.accounts) - _excluded(state)


def _excluded(state: AssessmentState) -> int:
    return sum(len(x.accounts) for x in state.exclusions if x.state == "excluded")


def open_case(state: AssessmentState, c: OpenAssessment, by: By) -> Results:
    accounts = tuple(sorted(set(c.accounts)))
    known = (state.reader, state.half_year, state.known_until, state.accounts)
    if known == (c.reader, c.half_year, c.known_until, accounts):
        return
    half = half_year_of(state.policy.calendar, c.half_year)
    if by.at < half.ended:
        yield No(f"The half-year {c.half_year} is not over yet.")
    if not half.ended <= c.known_until <= by.heard:
        yield No("`known_until` must lie between the half-year's end and now.")
    yield AssessmentOpened(
        at=by.at,
        case=state.case_id,
        policy=state.policy_hash,
        reader=c.reader,
        half_year=c.half_year,
        half_year_ended=half.ended,
        known_until=c.known_until,
        accounts=accounts,
        objections_until=by.at + state.rules.objection_period,
        owner=casework.unit(state),
    )


def hand_over(state: AssessmentState, c: HandOverCase, by: By) -> Results:
    if is_reader(state, c.to.id):
        yield No("The reader can't have their own assessment: hand it to somebody else.")
    yield from casework.hand_over(state, c, by)


def passed(state: AssessmentState, _: DeadlinePassed, by: By) -> Results:
    """Everything that is due at or before the deadline."""
    settled = partial(_settled, state)
    yield from casework.in_turn(
        evolve, state, by, casework.passed_in_order, exclusions.silence, settled
    )


def _settled(_: AssessmentState, state: AssessmentState, by: By) -> Iterator[Events]:
    """The time to object is over, and nothing is being decided."""
    at = _settles_at(state)
    if at is not None and at <= by.at:
        number = counted(state)
        arrears = state.policy.arrears
        assert arrears is not None, "a policy with an assessment section has one on arrears"
        yield AssessmentSettled(
            at=by.at,
            counted=number,
            excluded=_excluded(state),
            amount=amount(state.rules.bands, number),
            currency=arrears.currency,
        )


def _settles_at(state: AssessmentState) -> datetime | None:
    """When it is settled unless somebody asks for an exclusion (UTC); None while one is decided."""
    if state.settled or any(x.pending for x in state.exclusions):
        return None
    return state.objections_until


def against(state: AssessmentState, command: CommandEnvelope[Any]) -> Iterator[str]:
    """Nobody has a say in their own assessment."""
    own = isinstance(command.body, RequestExclusion | WithdrawApproval)
    if not own and command.actor != SYSTEM and is_reader(state, command.actor.subject):
        yield "Nobody acts in their own assessment, except to ask for an exclusion."


def possible(state: AssessmentState) -> tuple[str, ...]:
    """The commands that somebody may send now."""
    return casework.possible(state, ALLOWED, _allowed, {})


def _allowed(state: AssessmentState, command: str) -> bool:
    return state.stage in ALLOWED[command]


def _begun_at(state: AssessmentState) -> datetime | None:
    return state.opened_at


def next_deadline(state: AssessmentState) -> datetime | None:
    """When the case next needs the clock (UTC), or None: it then waits for somebody."""
    if state.stage not in LIVE:
        return None
    return casework.next_deadline(state, *_others(state))


def last_together(state: AssessmentState, first: datetime, limit: datetime) -> datetime:
    """The last deadline, up to `limit`, that can be decided together with the first (UTC)."""
    return casework.last_together(state, first, limit, *_others(state))


def _others(state: AssessmentState) -> tuple[datetime | None, ...]:
    """Deadlines beside those of the approvals' promises."""
    return approvals.silence_at(state), _settles_at(state)


def summary(state: AssessmentState) -> CaseSummary:
    """The case as the read models show it, with its line in the list of assessments."""
    shown = casework.summary(
        state,
        kind="assessment",
        stage=state.stage,
        ended=state.stage == Stage.CLOSED,
        opened_at=state.opened_at,
        next_deadline_at=next_deadline(state),
    )
    return changed(shown, assessment=_line(state))


def _line(state: AssessmentState) -> AssessmentSummary | None:
    arrears = state.policy.arrears
    if state.reader is None or state.half_year is None or arrears is None:
        return None
    number = counted(state)
    return made(
        AssessmentSummary,
        reader=state.reader,
        half_year=state.half_year,
        accounts=len(state.accounts),
        excluded=_excluded(state),
        counted=number,
        amount=amount(state.rules.bands, number),
        currency=arrears.currency,
    )


def story(state: AssessmentState) -> str:
    """The case in a few lines of Markdown, for Temporal's own UI. Times are UTC."""
    what = f"{state.half_year} of {state.reader}: {counted(state)} of {len(state.accounts)} count"
    return casework.story(state, f"**{state.stage}** {what}", next_deadline(state))


DECIDERS: Mapping[type[Command], Callable[[AssessmentState, Any, By], Results]] = {
    OpenAssessment: open_case,
    RequestExclusion: exclusions.request_exclusion,
    TakeCase: casework.take_case,
    HandOverCase: hand_over,
    DecideApproval: exclusions.decide_approval,
    DelegateApproval: approvals.delegate_approval,
    WithdrawApproval: exclusions.withdraw_approval,
    DeadlinePassed: passed,
}
RULEBOOK = casework.Rulebook[AssessmentState](
    opening=("OpenAssessment",),
    unopened="There is no such assessment yet; the half-yearly run opens it.",
    opened_already="This assessment is open already, and what it was opened on stands.",
    deciders=DECIDERS,
    allowed=_allowed,
    possible=possible,
    begun_at=_begun_at,
    evolve=evolve,
    facts=exclusions.facts,
    against=against,
    follows=_settled,
)
