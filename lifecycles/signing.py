"""Signed decisions (签字): what is signed, and what an append has to see for itself. Pure.

Nothing is verified here: rules do no cryptography. A decision that rests on a signature, or on what
is open on some premises, names a check, and the append writes it only if the check holds.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Literal

import rfc8785

from lifecycles.decisions import By, No
from schemas.approvals import Approval, Consent, DecideApproval
from schemas.arrears import ArrearsState, IssuePermit, PermitIssued
from schemas.base import Event, Subject
from schemas.case import AnyCase
from schemas.envelope import Check, CommandEnvelope, PremisesCheck, SignatureCheck
from schemas.signing import Signature, Statement

LONGEST = timedelta(hours=1)
"""A signature is for a decision that is made now; nobody signs for next month."""


def canonical(statement: Statement) -> bytes:
    """The bytes that are signed: canonical JSON (RFC 8785)."""
    return rfc8785.dumps(statement.model_dump(mode="json"))


def lacking(approval: Approval, signature: Signature | None, by: By) -> Iterator[No]:
    """Why a decision is not signed as it must be, as far as that shows without its key."""
    if signature is None:
        if approval.signed:
            yield No("This needs the signature of whoever decides: `standpipe approve` signs.")
        return
    if by.at != by.heard:
        yield No("What is signed is decided now: leave out `occurred_at`.")
    if signature.expires_at < by.heard:
        yield No("The signature has expired: look at the facts again and sign anew.")
    if signature.expires_at > by.heard + LONGEST:
        yield No("The signature holds for longer than an hour: sign for a shorter time.")


def checks(
    state: AnyCase, command: CommandEnvelope[Any], events: Sequence[Event]
) -> tuple[Check, ...]:
    """What must be seen to hold when these events are written; `state` is the case after them."""
    body = command.body
    if isinstance(body, DecideApproval) and body.signature is not None and events:
        return tuple(_given(state, body, body.signature, command.actor.subject))
    issued = any(isinstance(event, PermitIssued) for event in events)
    if issued and isinstance(body, IssuePermit) and isinstance(state, ArrearsState):
        return tuple(_permitted(state, body))
    return ()


def _given(
    state: AnyCase, c: DecideApproval, signature: Signature, subject: Subject
) -> Iterator[Check]:
    for approval in state.approvals:
        if approval.id == c.approval:
            statement = _statement(state, approval, c.decision, subject, c.on_behalf_of, signature)
            yield SignatureCheck(statement=statement, signature=signature, fresh=True)


def _permitted(state: ArrearsState, c: IssuePermit) -> Iterator[Check]:
    """No valve closes on a signature that is not, or no longer, good; nor on a caller's word."""
    places = tuple(place for place in (state.premises, *state.shared_valve) if place)
    if places:
        yield PremisesCheck(premises=places, known=c.premises_open)
    for approval in state.approvals:
        if approval.id == state.approval:
            yield from _consents(state, approval)


def _consents(state: AnyCase, approval: Approval) -> Iterator[Check]:
    for yes in approval.given:
        if yes.signature is not None:
            yield SignatureCheck(
                statement=consented(state, approval, yes, yes.signature),
                signature=yes.signature,
                fresh=False,
            )


def consented(state: AnyCase, approval: Approval, yes: Consent, signature: Signature) -> Statement:
    """What somebody signed who said yes."""
    return _statement(state, approval, "approve", yes.subject, yes.on_behalf_of, signature)


def _statement(
    state: AnyCase,
    approval: Approval,
    decision: Literal["approve", "reject"],
    subject: Subject,
    on_behalf_of: Subject | None,
    signature: Signature,
) -> Statement:
    return Statement(
        organisation=state.organisation,
        case=state.case_id,
        approval=approval.id,
        action=approval.kind,
        decision=decision,
        facts_hash=approval.facts_hash,
        subject=subject,
        on_behalf_of=on_behalf_of,
        version=signature.version,
        nonce=signature.nonce,
        expires_at=signature.expires_at,
    )
