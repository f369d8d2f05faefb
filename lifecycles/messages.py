"""Messages for the outbox that every kind of case says alike: ids and a template only."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from schemas.approvals import (
    ApprovalDelegated,
    ApprovalEscalated,
    ApprovalGranted,
    ApprovalLapsed,
    ApprovalRejected,
    ApprovalRequested,
    ApprovalWithdrawn,
)
from schemas.base import Owner, Role, Subject
from schemas.case import AnyCase
from schemas.commitments import BreachWithdrawn, EscalationRaised
from schemas.envelope import Message

OwnerKinds = {"person": "staff", "unit": "unit", "role": "role"}


def message(
    s: AnyCase, to: str, recipient: str, template: str, /, **params: str | int | None
) -> Message:
    return Message.model_validate(
        {
            "to": to,
            "recipient": recipient,
            "template": template,
            "params": {"case": s.case_id, **params},
        }
    )


def role(s: AnyCase, name: str, template: str, /, **params: str | int | None) -> Message:
    return message(s, "role", name, template, **params)


def intake(s: AnyCase, template: str, /, **params: str | int | None) -> Message:
    """A word to the unit that receives such cases."""
    return message(s, "unit", s.rules.intake_unit, template, **params)


def owner(s: AnyCase, whose: Owner, template: str, /, **params: str | int | None) -> Message:
    return message(s, OwnerKinds[whose.kind], whose.id, template, **params)


def time(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def due(s: AnyCase, *commitments: str) -> str | None:
    """When the first of these promises is due."""
    return time(min((c.due for c in s.commitments if c.id in commitments), default=None))


def promised(s: AnyCase, e: Any, supervisor: Subject) -> Iterator[Message]:
    """What a promise's event tells: a rung of its ladder, or that a breach was none."""
    match e:
        case EscalationRaised():
            yield role(s, e.tell, "escalation", rule=e.rule, rung=e.rung, commitment=e.commitment)
        case BreachWithdrawn():
            yield role(s, supervisor, "breach_withdrawn", commitment=e.commitment)
        case _:
            return


def asked(s: AnyCase, e: Any) -> Iterator[Message]:
    """What is asked of whoever may decide, where it is the rule that asks, and not a person."""
    match e:
        case ApprovalRequested():
            what = {"approval": e.approval, "kind": e.kind, "rule": e.rule}
            yield role(s, e.role, "approval_requested", **what, due=due(s, e.commitment))
        case ApprovalEscalated():
            yield role(s, e.to, "approval_escalated", approval=e.approval, rule="ADM-7")
        case _:
            return


def approved(s: AnyCase, e: Any, next_level: Role | Subject) -> Iterator[Message]:
    """What an approval's event tells: whoever may decide, whoever asked, and the level above."""
    approval = next((a for a in s.approvals if a.id == getattr(e, "approval", None)), None)
    if approval is None:
        return
    match e:
        case ApprovalRequested():
            said = {"approval": e.approval, "due": due(s, e.commitment)}
            yield role(s, e.role, "approval_requested", **said)
        case ApprovalDelegated():
            until = time(e.until)
            yield message(s, "staff", e.to, "approval_delegated", approval=e.approval, until=until)
        case ApprovalEscalated():
            yield role(s, e.to, "approval_requested", approval=e.approval)
        case ApprovalGranted():
            yield message(s, "staff", approval.asked_by, "approval_granted", approval=e.approval)
        case ApprovalRejected():
            # ADM-5: a no has a reason and is reported to the next level.
            said = {"approval": e.approval, "reason": e.reason}
            yield message(s, "staff", approval.asked_by, "approval_rejected", **said)
            yield role(s, next_level, "approval_rejected", rule="ADM-5", **said)
        case ApprovalLapsed():
            changes = ",".join(e.changed)
            said = {"approval": e.approval, "changed": changes}
            yield message(s, "staff", approval.asked_by, "approval_lapsed", **said)
        case ApprovalWithdrawn():
            for name in approval.roles:
                yield role(s, name, "approval_withdrawn", approval=e.approval)
        case _:
            return
