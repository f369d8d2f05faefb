"""What happens in every kind of case: owners, promises and approvals, in plain words. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import assert_never

from gateway.words.plain import When, listed, money, owner_words, readable
from schemas.approvals import (
    Approval,
    ApprovalDelegated,
    ApprovalEscalated,
    ApprovalEvents,
    ApprovalGiven,
    ApprovalGranted,
    ApprovalLapsed,
    ApprovalRejected,
    ApprovalRequested,
    ApprovalWithdrawn,
    Fact,
    Facts,
)
from schemas.case import OwnerChanged, RequestAnswered, SharedEvents
from schemas.commitments import (
    BreachWithdrawn,
    CommitmentBroken,
    CommitmentCancelled,
    CommitmentEvents,
    CommitmentKept,
    CommitmentMetLate,
    CommitmentPaused,
    CommitmentReset,
    CommitmentRestored,
    CommitmentResumed,
    CommitmentStarted,
    EscalationRaised,
)

Events = SharedEvents | ApprovalEvents

RULES: Mapping[str, tuple[str, ...]] = {
    "OwnerChanged": ("ADM-1",),
    "ApprovalEscalated": ("ADM-7",),
    "ApprovalRejected": ("ADM-5",),
}

BEFORE: Mapping[str, str] = {"approval_decided": "somebody decides before"}

_ASKED: Mapping[str, str] = {
    "confirmation": "to confirm that accounts are not the reader's fault",
    "cutoff": "a stop of supply (停供)",
    "exclusion": "not to count accounts against the reader",
    "extension": "more time for the answer",
    "reassignment": "a move out of the post",
    "head_removal": "the removal of a head of department",
    "write_off": "to give up a debt",
}
"""By the kind of approval: what is asked for."""


def words(event: Events, when: When) -> str:
    """What happened, as the business says it; `when` writes times."""
    if isinstance(event, ApprovalEvents):
        return _approval(event, when)
    match event:
        case OwnerChanged():
            return f"{owner_words(event.owner)} has the case ({event.reason})"
        case RequestAnswered():
            return "the other case agrees" if event.accepted else "the other case refuses"
        case _:
            return _promise(event, when)


def asked(kind: str) -> str:
    """What an approval is asked for, in plain words."""
    return _ASKED.get(kind, readable(kind))


def facts_in_words(facts: Facts, when: When) -> tuple[str, ...]:
    """The facts that an approval rests on, each as "name: value"; `when` writes times."""
    currency = facts.get("currency")
    if isinstance(currency, str):
        facts = {name: _priced(name, value, currency) for name, value in facts.items()}
    return tuple(f"{readable(name)}: {_fact(value, when)}" for name, value in facts.items())


def silence_in_words(silence: str, roles: tuple[str, ...], above: str | None = None) -> str:
    """What it means when nobody decides in time (超时默认, ADM-7); `above` is the role above."""
    match silence:
        case "approve":
            return "it counts as approved"
        case "reject":
            return "it counts as refused"
        case _ if len(roles) > 1:
            return "it stays open: it went up already"
        case _:
            return f"the {readable(above or 'role above')} may decide too"


def deciders(roles: tuple[str, ...]) -> str:
    """Who may decide an approval: "supervisor or division head"."""
    return " or ".join(readable(role) for role in roles)


def consents(approval: Approval) -> str:
    """Who has said yes so far, and how many it takes."""
    if not approval.given:
        return "nobody yet" + (f" of {approval.needed} people" if approval.needed > 1 else "")
    given = listed(
        g.subject + (f" in the place of {g.on_behalf_of}" if g.on_behalf_of else "")
        for g in approval.given
    )
    return f"{given}; {len(approval.given)} of {approval.needed}"


def _priced(name: str, value: Fact, currency: str) -> Fact:
    """The amounts among the facts, which are in the currency's smallest unit, as people read."""
    if name == "balance" and isinstance(value, int):
        return money(value, currency)
    if name == "bills" and isinstance(value, tuple):
        parts = [bill.rpartition(":") for bill in value]
        return tuple([f"{bill} {money(int(amount), currency)}" for bill, _, amount in parts])
    return value


def _fact(value: Fact, when: When) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int():
            return str(value)
        case tuple():
            return listed(_moment(part, when) for part in value) or "none"
        case _:
            return _moment(value, when)


def _moment(text: str, when: When) -> str:
    """Times as people read them; all else as it is."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if at.tzinfo is None else when(at)


def _approval(e: ApprovalEvents, when: When) -> str:
    name = e.approval
    match e:
        case ApprovalRequested():
            how_many = f", by {e.needed} people" if e.needed > 1 else ""
            return f"the {readable(e.role)} is asked to approve {asked(e.kind)} ({name}){how_many}"
        case ApprovalDelegated():
            return f"{e.to} may decide {name} in the place of {e.by} until {when(e.until)}"
        case ApprovalGiven():
            place = f" in the place of {e.on_behalf_of}" if e.on_behalf_of else ""
            how_many = f", {e.given} of {e.needed}" if e.needed > 1 else ""
            signed = ", signed" if e.signature else ""
            return f"{e.by}{place} says yes to {name}{how_many}{signed}"
        case ApprovalGranted():
            if e.silent:
                return f"{name} counts as approved: nobody decided in time (超时默认)"
            return f"{name} is approved"
        case ApprovalRejected():
            if e.by is None:
                return f"{name} counts as refused: nobody decided in time (超时默认)"
            return f"{e.by} refuses {name} ({e.reason}); reported above (否定报备)"
        case ApprovalEscalated():
            return f"{name}: nobody decided in time, the {readable(e.to)} may decide too"
        case ApprovalLapsed():
            changed = listed(readable(fact) for fact in e.changed)
            return f"{name} no longer counts: its facts changed ({changed})"
        case ApprovalWithdrawn():
            return f"{name} is withdrawn ({e.reason})"
        case _:
            assert_never(e)


def _promise(e: CommitmentEvents, when: When) -> str:
    name = e.commitment
    match e:
        case CommitmentStarted():
            late = "" if e.start == e.at else f", counted from {when(e.start)}"
            return f"promised: {name} by {when(e.due)}{late}"
        case CommitmentPaused():
            return f"{name}: time stands still ({e.reason}, {e.evidence})"
        case CommitmentResumed():
            return f"{name}: time runs again, due {when(e.due)}"
        case CommitmentReset():
            return f"{name}: by agreement now due {when(e.due)} ({e.consent})"
        case CommitmentRestored():
            return f"{name}: owed again ({e.reason}), due {when(e.due)}"
        case CommitmentKept():
            return f"{name} is kept"
        case CommitmentBroken():
            return f"{name} is broken"
        case CommitmentMetLate():
            return f"{name} is met, late"
        case CommitmentCancelled():
            return f"{name}: no longer owed ({e.reason})"
        case BreachWithdrawn():
            return f"{name}: breach withdrawn, {e.evidence} shows there was none"
        case EscalationRaised():
            return f"{name}: {e.tell.replace('_', ' ')} is told (rung {e.rung})"
        case _:
            assert_never(e)
