"""Arrears, payment by instalments: agreed with the customer, kept, or broken by the clock."""

from datetime import datetime
from itertools import pairwise

from lifecycles.arrears_evolve import Events, Results, evolve
from lifecycles.arrears_money import balance, paid
from lifecycles.calendars import local, start_of_day
from lifecycles.decisions import By, No
from lifecycles.holds import place_another
from schemas.arrears import (
    AgreePlan,
    ArrearsState,
    HoldReleased,
    Instalment,
    Plan,
    PlanAgreed,
    PlanBroken,
    PlanKept,
)
from schemas.base import Code


def agree(state: ArrearsState, c: AgreePlan, by: By) -> Results:
    known = state.plan
    if known and (known.instalments, known.consent) == (c.instalments, c.consent):
        return
    terms = state.rules.plan
    today = local(state.policy.calendar, by.at).date()
    dues = [i.due for i in c.instalments]
    if len(dues) > terms.most:
        yield No(f"At most {terms.most} instalments can be agreed.")
    if any(later <= earlier for earlier, later in pairwise(dues)):
        yield No("Each instalment must be due later than the one before; put them in order.")
    if min(dues) < today:
        yield No("An instalment would be due before the plan is agreed; correct it.")
    if max(dues) > today + terms.longest:
        yield No(f"A plan lasts at most {terms.longest.days} days; agree on earlier instalments.")
    if sum(i.amount for i in c.instalments) < balance(state):
        yield No("The instalments must add up to what is owed at least.")
    held = list(place_another(state, "payment-plan", "payment_plan", c.consent, by))
    name = getattr(held[0], "hold", "payment-plan")
    yield PlanAgreed(at=by.at, instalments=c.instalments, consent=c.consent, hold=name)
    yield from held


def kept(state: ArrearsState, by: By) -> Events:
    """All of it is paid, or so much that the debt is settled."""
    plan = state.plan
    if plan is None:
        return
    whole = sum(i.amount for i in plan.instalments)
    if state.settled_at is not None or received(state, plan) >= whole:
        yield PlanKept(at=by.at)
        yield from _released(state, plan, "plan_kept", by)


def broken(state: ArrearsState, by: By) -> Events:
    """An instalment is late: what has come in since the agreement does not reach it."""
    plan = state.plan
    missed = missed_next(state)
    if plan is None or missed is None or late_at(state, missed[0]) > by.at:
        return
    instalment, expected = missed
    gone = PlanBroken(
        at=by.at, due=instalment.due, expected=expected, received=received(state, plan)
    )
    yield gone
    yield from _released(evolve(state, gone), plan, "plan_broken", by)


def _released(state: ArrearsState, plan: Plan, reason: Code, by: By) -> Events:
    if any(h.hold == plan.hold for h in state.holds):
        yield HoldReleased(at=by.at, hold=plan.hold, reason=reason)


def received(state: ArrearsState, plan: Plan) -> int:
    """What has come in since the plan was agreed."""
    return paid(state) - plan.paid_before


def missed_next(state: ArrearsState) -> tuple[Instalment, int] | None:
    """The first instalment that is not yet reached, and what all up to it come to."""
    if state.plan is None:
        return None
    money, expected = received(state, state.plan), 0
    for instalment in state.plan.instalments:
        expected += instalment.amount
        if money < expected:
            return instalment, expected
    return None


def late_at(state: ArrearsState, instalment: Instalment) -> datetime:
    """When it breaks the plan (UTC): its local day is over, and the grace after it."""
    day_after = start_of_day(state.policy.calendar, instalment.due + instalment.due.resolution)
    return day_after + state.rules.plan.grace


def next_late(state: ArrearsState) -> datetime | None:
    missed = missed_next(state)
    return late_at(state, missed[0]) if missed else None
