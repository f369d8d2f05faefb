"""Satisfaction: who must be told what, as messages for the outbox: ids and a template only."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

from lifecycles import approvals, messages
from lifecycles.messages import due, intake, message, role, time
from schemas.approvals import (
    ApprovalEvents,
    ApprovalLapsed,
    ApprovalRejected,
    ApprovalWithdrawn,
)
from schemas.case import SharedEvents
from schemas.commitments import BreachWithdrawn, EscalationRaised
from schemas.envelope import Message
from schemas.satisfaction import (
    CompanyCheckDue,
    ComplaintCounts,
    ComplaintsCollated,
    HeadRemovalRejected,
    HeadRemoved,
    ImprovementRecorded,
    MonthReported,
    SampleDrawn,
    SatisfactionEvents,
    SatisfactionState,
    SelfCheckDue,
    YearRanked,
    YellowCardGiven,
)

Param = str | int | None

CALL_WITHIN = timedelta(hours=48)
"""From the day's first follow-up on, so that none of the calls comes too late (KUN-5.3.6)."""


COUNTS = tuple(n for n in ComplaintCounts.model_fields if n not in ("category", "department"))


def effects(
    state: SatisfactionState, event: SatisfactionEvents | SharedEvents | ApprovalEvents
) -> list[Message]:
    """What the outside is to be told of an event; `state` is the case after the whole decision."""
    return [*messages.asked(state, event), *_messages(state, event)]


def _messages(
    s: SatisfactionState, e: SatisfactionEvents | SharedEvents | ApprovalEvents
) -> Iterator[Message]:
    match e:
        case EscalationRaised():
            rung: dict[str, Param] = {"rule": e.rule, "rung": e.rung, "commitment": e.commitment}
            for check in s.checks:
                if check.commitment == e.commitment:
                    rung |= {"department": check.department, "period": check.period}
            yield role(s, e.tell, "escalation", **rung)
        case BreachWithdrawn():
            yield intake(s, "breach_withdrawn", commitment=e.commitment)
        case SampleDrawn():
            before = time(e.since + CALL_WITHIN)
            for case in e.drawn:
                yield intake(s, "sample_call", call=case, before=before)
        case MonthReported():
            yield intake(s, "month_reported", month=e.month, departments=len(e.departments))
            for m in e.departments:
                if m.on_target is False:
                    found = {"month": e.month, "rate": m.rate, "low": m.low, "high": m.high}
                    yield _unit(s, m.department, "below_target", **found, rule="CNPC-2.5")
        case ComplaintsCollated():
            yield from _fed_back(s, e)
        case SelfCheckDue():
            told = {"month": e.month, "due": due(s, e.commitment), "rule": "GAS-3.1"}
            yield _unit(s, e.department, "self_check_due", **told)
        case CompanyCheckDue():
            # Not to the department, nor to a unit that may be the one: it may be unannounced.
            check = {"department": e.department, "period": e.period}
            until = due(s, e.commitment)
            yield _above(s, "company_check_due", **check, due=until, rule="GAS-3.1")
        case YearRanked():
            yield intake(s, "year_ranked", year=e.year, departments=len(e.ranking))
        case YellowCardGiven():
            until = due(s, e.commitment)
            yield _unit(s, e.department, "yellow_card", year=e.year, due=until, rule="GAS-3.4")
        case ImprovementRecorded():
            yield _unit(s, e.department, "improvement_recorded", evidence=e.evidence)
        case HeadRemoved():
            yield _unit(s, e.department, "head_removed", year=e.year, rule="GAS-3.4")
            yield intake(s, "head_removed", department=e.department, year=e.year)
        case HeadRemovalRejected():
            yield _unit(s, e.department, "head_stays", year=e.year)
        case ApprovalRejected():
            # ADM-5: a no is reported to the next level.
            found = approvals.find(s, e.approval)
            above = found and s.rules.approvals[found.kind].escalates_to
            if above:
                no = {"approval": e.approval, "reason": e.reason}
                yield role(s, above, "approval_rejected", **no, rule="ADM-5")
        case ApprovalLapsed() | ApprovalWithdrawn():
            found = approvals.find(s, e.approval)
            for name in found.roles if found else ():
                yield role(s, name, "approval_ended", approval=e.approval)
        case _:
            return


def _unit(s: SatisfactionState, department: str, template: str, /, **params: Param) -> Message:
    return message(s, "unit", department, template, **params)


def _above(s: SatisfactionState, template: str, /, **params: Param) -> Message:
    return role(s, s.rules.next_level, template, **params)


def _fed_back(s: SatisfactionState, e: ComplaintsCollated) -> Iterator[Message]:
    """The month's complaints: to the level above as a whole, to each department its own."""
    told = {"month": e.month, "rule": "WIN-1.7"}
    yield _above(s, "complaints_collated", **told, **_totals(e.complaints))
    for department in sorted({c.department for c in e.complaints if c.department is not None}):
        own = [c for c in e.complaints if c.department == department]
        yield _unit(s, department, "complaints_fed_back", **told, **_totals(own))


def _totals(complaints: Iterable[ComplaintCounts]) -> dict[str, int]:
    every = list(complaints)
    return {count: sum(getattr(c, count) for c in every) for count in COUNTS}
