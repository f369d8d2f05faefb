"""Satisfaction (满意度): the organisation's one register of samples, months, years and checks.

AtRest ⇄ Awaiting. The figures come in counted. The lowest department of a year gets a yellow card
(黄牌) and a deadline to improve; lowest twice running, the removal of its head is proposed, which
somebody must approve (GAS-3.4). Each month the departments are to check themselves, and the company
checks them (GAS-3.1). While nothing is awaited the case rests, and its workflow has ended until the
next command.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from lifecycles import approvals, casework
from lifecycles import satisfaction_checks as checks
from lifecycles import satisfaction_figures as figures
from lifecycles import satisfaction_ranking as ranking
from lifecycles.calendars import local
from lifecycles.changes import changed, made
from lifecycles.decisions import By, No, Rejected
from lifecycles.satisfaction_evolve import MONTHS_KEPT, Events, evolve
from lifecycles.satisfaction_messages import effects
from lifecycles.satisfaction_ranking import may_record, opened
from schemas.approvals import (
    DecideApproval,
    DelegateApproval,
    WithdrawApproval,
)
from schemas.base import Command
from schemas.case import HandOverCase, TakeCase
from schemas.envelope import CaseSummary, CommandEnvelope, DeadlinePassed, RecordAnswer
from schemas.policy import Policy
from schemas.satisfaction import (
    ComplaintsCollated,
    DrawSample,
    MonthReported,
    RankYear,
    RecordCheck,
    RecordImprovement,
    ReportMonth,
    SampleDrawn,
    SatisfactionState,
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

Results = Iterator[Events | No]

S = Stage
OPENED = (S.AT_REST, S.AWAITING)
FIGURES = ("DrawSample", "ReportMonth", "RankYear")
"""Whichever comes first opens the register."""

ALLOWED: Mapping[str, tuple[Stage, ...]] = {
    "DrawSample": (S.UNOPENED, *OPENED),
    "ReportMonth": (S.UNOPENED, *OPENED),
    "RankYear": (S.UNOPENED, *OPENED),
    "RecordImprovement": (S.AWAITING,),
    "RecordCheck": OPENED,
    "TakeCase": OPENED,
    "HandOverCase": OPENED,
    "DecideApproval": (S.AWAITING,),
    "DelegateApproval": (S.AWAITING,),
    "WithdrawApproval": (S.AWAITING,),
    "DeadlinePassed": (S.AWAITING,),
    "RecordAnswer": OPENED,
}

WINDOW = timedelta(hours=48)
"""A follow-up is called within it (KUN-5.3.6), so no sample reaches further back."""


def initial(case_id: str, organisation: str, policy: Policy, policy_hash: str) -> SatisfactionState:
    """A register in which nothing stands yet."""
    return SatisfactionState(
        case_id=case_id, organisation=organisation, policy=policy, policy_hash=policy_hash
    )


def decide(state: SatisfactionState, command: CommandEnvelope[Any], now: datetime) -> list[Events]:
    """The events that the command causes; none where it is so already.

    `now` is the instant of deciding (UTC); the events carry the command's business time.
    Raises `Rejected` with every reason at once (ADM-4).
    """
    if state.policy.satisfaction is None:
        raise Rejected(("The policy says nothing of satisfaction: add its section first.",))
    return casework.decide(RULEBOOK, state, command, now)


def possible(state: SatisfactionState) -> tuple[str, ...]:
    """The commands that somebody may send now."""
    sensible = {"RecordImprovement": bool(state.cards)}
    return casework.possible(state, ALLOWED, _allowed, sensible)


def _begun_at(state: SatisfactionState) -> datetime | None:
    return state.opened_at


def _allowed(state: SatisfactionState, command: str) -> bool:
    return state.stage in ALLOWED[command]


def draw_sample(state: SatisfactionState, c: DrawSample, by: By) -> Results:
    drawn = made(
        SampleDrawn,
        at=by.at,
        since=c.since,
        until=c.until,
        seed=c.seed,
        population=len(set(c.population)),
        population_hash=figures.population_hash(c.population),
        drawn=figures.draw(c.population, c.seed, state.rules.sample),
    )
    yield from may_record(by, "system")
    last = state.sample
    if last and changed(last, at=by.at) == drawn:
        return
    if c.until <= c.since:
        yield No("The time to draw from must end later than it begins; correct `until`.")
    if c.until - c.since > WINDOW:
        yield No("A sample reaches over 48 hours at most (KUN-5.3.6); correct `since`.")
    if c.until > by.at:
        yield No("The time to draw from is not over yet.")
    if last and c.since < last.until:
        yield No(f"It was drawn from up to {last.until:%Y-%m-%d %H:%M} UTC already; begin there.")
    yield from opened(state, by)
    yield drawn


def report_month(state: SatisfactionState, c: ReportMonth, by: By) -> Results:
    complaints = c.complaints or ()
    faults = (*figures.faults(c.tallies), *figures.collation_faults(complaints))
    wrong = [*may_record(by, "system"), *map(No, faults)]
    if f"{local(state.policy.calendar, by.at):%Y-%m}" <= c.month:
        wrong.append(No(f"The month {c.month} is not over yet."))
    if len(state.months) == MONTHS_KEPT and c.month < state.months[0].month:
        wrong.append(No(f"Only the latest {MONTHS_KEPT} months may be reported anew."))
    if wrong:
        yield from wrong
        return
    departments = figures.measured(c.tallies, state.rules.target)
    collated = tuple(sorted(complaints, key=lambda k: (k.category, k.department or "")))
    known = next((m for m in state.months if m.month == c.month), None)
    before = next((m for m in state.collated if m.month == c.month), None)
    events: list[Events] = []
    if known is None or known.departments != departments:
        events.append(MonthReported(at=by.at, month=c.month, departments=departments))
    if c.complaints is not None and (before is None or before.complaints != collated):
        events.append(ComplaintsCollated(at=by.at, month=c.month, complaints=collated))
    if not events:
        return
    events = [*opened(state, by), *events]
    yield from events
    if known is None:
        yield from checks.fall_due(casework.fold(evolve, state, events), c, by)


def passed(state: SatisfactionState, _: DeadlinePassed, by: By) -> Results:
    """Everything that is due at or before the deadline, in order of its time; silence too."""
    due: list[Events] = [*casework.passed(state, by.at), *approvals.silent(state, by)]
    for event in sorted(due, key=lambda event: event.at):
        yield event
        yield from ranking.came_to(state, event)


def next_deadline(state: SatisfactionState) -> datetime | None:
    """When the register next needs the clock (UTC), or None: it then waits for somebody."""
    return casework.next_deadline(state, approvals.silence_at(state))


def last_together(state: SatisfactionState, first: datetime, limit: datetime) -> datetime:
    """The last deadline, up to `limit`, that can be decided together with the first (UTC)."""
    return casework.last_together(state, first, limit, approvals.silence_at(state))


def summary(state: SatisfactionState) -> CaseSummary:
    """The register as the read models show it."""
    return casework.summary(
        state,
        kind="satisfaction",
        stage=state.stage,
        ended=state.stage == S.AT_REST,
        opened_at=state.opened_at,
        next_deadline_at=next_deadline(state),
    )


def story(state: SatisfactionState) -> str:
    """The register in a few lines of Markdown, for Temporal's own UI. Times are UTC."""
    last = state.months[-1].month if state.months else "none yet"
    carded = ", ".join(card.department for card in state.cards) or "none"
    headline = f"**{state.stage}** last month reported: {last}; yellow cards: {carded}"
    return casework.story(state, headline, next_deadline(state))


DECIDERS: Mapping[type[Command], Callable[[SatisfactionState, Any, By], Results]] = {
    DrawSample: draw_sample,
    ReportMonth: report_month,
    RankYear: ranking.rank_year,
    RecordImprovement: ranking.record_improvement,
    RecordCheck: checks.record_check,
    TakeCase: casework.take_case,
    HandOverCase: casework.hand_over,
    DecideApproval: ranking.decide_approval,
    DelegateApproval: approvals.delegate_approval,
    WithdrawApproval: approvals.withdraw_approval,
    DeadlinePassed: passed,
    RecordAnswer: casework.record_answer,
}
RULEBOOK = casework.Rulebook[SatisfactionState](
    opening=FIGURES,
    unopened="There is no such register yet; draw a sample or report a month first.",
    opened_already="The register is open already.",
    deciders=DECIDERS,
    allowed=_allowed,
    possible=possible,
    begun_at=_begun_at,
    evolve=evolve,
    facts=ranking.facts,
)
