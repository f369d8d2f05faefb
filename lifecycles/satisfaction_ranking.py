"""Satisfaction: what a year's ranking leads to (GAS-3.4): yellow cards, and whether a head goes.

The lowest department gets a yellow card and a deadline to improve; lowest twice running, its head
loses the post, once somebody has approved that.
"""

from collections.abc import Iterator

from lifecycles import approvals, commitments, promises
from lifecycles import satisfaction_figures as figures
from lifecycles.calendars import local
from lifecycles.casework import fold, not_before, unit
from lifecycles.decisions import By, No
from lifecycles.satisfaction_evolve import Events, evolve
from schemas.approvals import (
    Approval,
    ApprovalGranted,
    ApprovalRejected,
    ApprovalRequested,
    DecideApproval,
    Facts,
)
from schemas.satisfaction import (
    HeadRemovalProposed,
    HeadRemovalRejected,
    HeadRemoved,
    ImprovementRecorded,
    RankYear,
    RecordImprovement,
    RegisterOpened,
    Removal,
    SatisfactionState,
    YearRanked,
    YearResult,
    YellowCardGiven,
)

Results = Iterator[Events | No]

IN_CHARGE = ("supervisor", "division_head", "admin")


def rank_year(state: SatisfactionState, c: RankYear, by: By) -> Results:
    wrong = [*may_record(by, "system"), *map(No, figures.faults(c.tallies))]
    if local(state.policy.calendar, by.at).year <= c.year:
        wrong.append(No(f"The year {c.year} is not over yet."))
    if wrong:
        yield from wrong
        return
    departments = figures.measured(c.tallies, state.rules.target)
    known = _result(state, c.year)
    if known and known.departments == departments:
        return
    if known:
        yield No(f"The year {c.year} is ranked already, on other figures; its ranking stands.")
        return
    if any(y.year > c.year for y in state.years):
        yield No("A later year is ranked already; years are ranked in their order.")
        return
    ranking = figures.ranking(departments, state.rules.fewest)
    events: list[Events] = [*opened(state, by)]
    events.append(
        YearRanked(
            at=by.at,
            year=c.year,
            ranking=ranking.ranked,
            unranked=ranking.unranked,
            lowest=ranking.lowest,
        )
    )
    before = _result(state, c.year - 1)
    for department in ranking.lowest:
        # Promises and approvals are numbered, so each is made on what those before have led to.
        events += _give_card(fold(evolve, state, events), department, c.year, by)
        if before and department in before.lowest:
            events += _propose_removal(fold(evolve, state, events), department, c.year, by)
    yield from events


def _give_card(state: SatisfactionState, department: str, year: int, by: By) -> Iterator[Events]:
    (terms,) = (t for t in state.rules.commitments if t.starts == "carded")
    clock = promises.timing(state)
    started = commitments.start(terms, clock, state.commitments, by.at, by.at)
    yield YellowCardGiven(at=by.at, department=department, year=year, commitment=started.commitment)
    yield started


def _propose_removal(
    state: SatisfactionState, department: str, year: int, by: By
) -> Iterator[Events]:
    rests_on = _facts_of(state, department, year)
    asked = [*approvals.request(state, "head_removal", rests_on, by, about=(department,))]
    (approval,) = (e.approval for e in asked if isinstance(e, ApprovalRequested))
    yield HeadRemovalProposed(at=by.at, department=department, year=year, approval=approval)
    yield from asked


def _facts_of(state: SatisfactionState, department: str, year: int) -> Facts:
    """What a removal rests on: the figures of both years."""
    rests_on: Facts = {"department": department, "year": year}
    for prefix, of in (("", year), ("year_before_", year - 1)):
        result = _result(state, of)
        for m in result.departments if result else ():
            if m.department == department:
                rests_on[f"{prefix}answered"] = m.answered
                rests_on[f"{prefix}satisfied"] = m.satisfied
    return rests_on


def facts(state: SatisfactionState, approval: Approval) -> Facts | None:
    """What an approval rests on now; None once the head has gone or stays."""
    removal = _removal(state, approval.id)
    return removal and _facts_of(state, removal.department, removal.year)


def record_improvement(state: SatisfactionState, c: RecordImprovement, by: By) -> Results:
    yield from may_record(by)
    cards = [card for card in state.cards if card.department == c.department]
    if not cards and any(c.department in y.lowest for y in state.years):
        return
    if not cards:
        yield No("This department has no yellow card.")
        return
    ids = [card.commitment for card in cards]
    owed = [o for o in state.commitments if o.id in ids]
    yield from not_before(max(o.start for o in owed), by, "the yellow card")
    yield ImprovementRecorded(at=by.at, department=c.department, evidence=c.evidence)
    for o in owed:
        yield from commitments.meet(o, by.at, by.id)


def decide_approval(state: SatisfactionState, c: DecideApproval, by: By) -> Results:
    for result in approvals.decide_approval(state, c, by):
        yield result
        yield from came_to(state, result)


def came_to(state: SatisfactionState, result: Events | No) -> Iterator[Events]:
    """What a yes or a no means for the head of the department."""
    if not isinstance(result, ApprovalGranted | ApprovalRejected):
        return
    removal = _removal(state, result.approval)
    if removal is None:
        return
    if isinstance(result, ApprovalGranted):
        yield HeadRemoved(at=result.at, department=removal.department, year=removal.year)
    else:
        yield HeadRemovalRejected(
            at=result.at,
            department=removal.department,
            year=removal.year,
            reason=result.reason,
        )


def may_record(by: By, *others: str) -> Iterator[No]:
    """Who keeps the register: those in charge, and `others`."""
    if by.actor.role not in (*IN_CHARGE, *others):
        yield No(f"This is for the role {', '.join(IN_CHARGE[:-1])} or {IN_CHARGE[-1]}.")


def opened(state: SatisfactionState, by: By) -> Iterator[RegisterOpened]:
    """The register begins with whatever is the first to stand in it."""
    if state.opened_at is None:
        yield RegisterOpened(
            at=by.at, case=state.case_id, policy=state.policy_hash, owner=unit(state)
        )


def _result(state: SatisfactionState, year: int) -> YearResult | None:
    return next((y for y in state.years if y.year == year), None)


def _removal(state: SatisfactionState, approval: str) -> Removal | None:
    return next((r for r in state.removals if r.approval == approval), None)
