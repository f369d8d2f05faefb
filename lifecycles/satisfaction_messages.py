"""Satisfaction: who must be told what, as messages for the outbox: ids and a template only."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Literal

from lifecycles import approvals
from lifecycles.changes import made
from schemas.approvals import (
    ApprovalEscalated,
    ApprovalEvents,
    ApprovalLapsed,
    ApprovalRejected,
    ApprovalRequested,
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
    return list(_messages(state, event))


def _messages(
    s: SatisfactionState, e: SatisfactionEvents | SharedEvents | ApprovalEvents
) -> Iterator[Message]:
    match e:
        case EscalationRaised():
            rung: dict[str, Param] = {"rule": e.rule, "rung": e.rung, "commitment": e.commitment}
            for check in s.checks:
                if check.commitment == e.commitment:
                    rung |= {"department": check.department, "period": check.period}
            yield _message(s, "role", e.tell, "escalation", **rung)
        case BreachWithdrawn():
            yield _office(s, "breach_withdrawn", commitment=e.commitment)
        case SampleDrawn():
            before = _time(e.since + CALL_WITHIN)
            for case in e.drawn:
                yield _office(s, "sample_call", call=case, before=before)
        case MonthReported():
            yield _office(s, "month_reported", month=e.month, departments=len(e.departments))
            for m in e.departments:
                if m.on_target is False:
                    found = {"month": e.month, "rate": m.rate, "low": m.low, "high": m.high}
                    yield _unit(s, m.department, "below_target", **found, rule="CNPC-2.5")
        case ComplaintsCollated():
            yield from _fed_back(s, e)
        case SelfCheckDue():
            due = _due_of(s, e.commitment)
            yield _unit(s, e.department, "self_check_due", month=e.month, due=due, rule="GAS-3.1")
        case CompanyCheckDue():
            # Not to the department, nor to a unit that may be the one: it may be unannounced.
            check = {"department": e.department, "period": e.period}
            due = _due_of(s, e.commitment)
            yield _above(s, "company_check_due", **check, due=due, rule="GAS-3.1")
        case YearRanked():
            yield _office(s, "year_ranked", year=e.year, departments=len(e.ranking))
        case YellowCardGiven():
            due = _due_of(s, e.commitment)
            yield _unit(s, e.department, "yellow_card", year=e.year, due=due, rule="GAS-3.4")
        case ImprovementRecorded():
            yield _unit(s, e.department, "improvement_recorded", evidence=e.evidence)
        case HeadRemoved():
            yield _unit(s, e.department, "head_removed", year=e.year, rule="GAS-3.4")
            yield _office(s, "head_removed", department=e.department, year=e.year)
        case HeadRemovalRejected():
            yield _unit(s, e.department, "head_stays", year=e.year)
        case ApprovalRequested():
            asked = {"approval": e.approval, "kind": e.kind, "rule": e.rule}
            yield _message(
                s, "role", e.role, "approval_requested", **asked, due=_due_of(s, e.commitment)
            )
        case ApprovalEscalated():
            yield _message(s, "role", e.to, "approval_escalated", approval=e.approval, rule="ADM-7")
        case ApprovalRejected():
            # ADM-5: a no is reported to the next level.
            found = approvals.find(s, e.approval)
            above = found and s.rules.approvals[found.kind].escalates_to
            if above:
                no = {"approval": e.approval, "reason": e.reason}
                yield _message(s, "role", above, "approval_rejected", **no, rule="ADM-5")
        case ApprovalLapsed() | ApprovalWithdrawn():
            found = approvals.find(s, e.approval)
            for role in found.roles if found else ():
                yield _message(s, "role", role, "approval_ended", approval=e.approval)
        case _:
            return


def _message(
    s: SatisfactionState,
    to: Literal["role", "unit"],
    recipient: str,
    template: str,
    /,
    **params: Param,
) -> Message:
    return made(
        Message,
        to=to,
        recipient=recipient,
        template=template,
        params={"case": s.case_id, **params},
    )


def _unit(s: SatisfactionState, department: str, template: str, /, **params: Param) -> Message:
    return _message(s, "unit", department, template, **params)


def _office(s: SatisfactionState, template: str, /, **params: Param) -> Message:
    return _unit(s, s.rules.intake_unit, template, **params)


def _above(s: SatisfactionState, template: str, /, **params: Param) -> Message:
    return _message(s, "role", s.rules.next_level, template, **params)


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


def _due_of(s: SatisfactionState, commitment: str) -> str | None:
    return _time(next((c.due for c in s.commitments if c.id == commitment), None))


def _time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
