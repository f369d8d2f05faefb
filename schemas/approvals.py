"""Approvals: decisions that a person in a role must take, bound to the facts they were asked on."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.base import (
    Code,
    Command,
    Event,
    Reference,
    Role,
    RuleId,
    Subject,
    UtcTime,
    Value,
    nothing,
)
from schemas.signing import Signature

Fact = str | int | bool | tuple[str, ...] | None
Facts = dict[Code, Fact]
"""What an approval rests on, by name: codes, counts and ids, nothing personal."""

Silence = Literal["escalate", "approve", "reject"]
"""What it means when nobody decides in time (ADM-7)."""

ApprovalState = Literal["requested", "approved", "rejected", "lapsed", "withdrawn"]

FactsHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256, in hex, of the facts' canonical JSON (RFC 8785)."""


class Delegation(Value):
    """Somebody who may decide in another's place, since when and until when, both included."""

    by: Subject
    to: Subject
    since: UtcTime
    until: UtcTime
    reason: Code


class Consent(Value):
    """One person's yes."""

    subject: Subject
    on_behalf_of: Subject | None
    at: UtcTime
    signature: Signature | None = Field(default=None, exclude_if=nothing)


class Approval(Value):
    """An approval inside a case. All times are UTC.

    Its clock and ladder are the commitment that `commitment` names.
    """

    id: Code
    kind: Code
    rule: RuleId
    roles: tuple[Role, ...]
    """Who may decide: the role that was asked, and the one it went up to."""
    facts: Facts
    facts_hash: FactsHash
    asked_by: Subject
    asked_at: UtcTime
    barred: tuple[Subject, ...]
    """Who cannot decide: who asked, whom the case is about, whom the policy excludes."""
    needed: int
    """How many different people must say yes."""
    silence: Silence
    commitment: Code
    signed: bool = Field(default=False, exclude_if=nothing)
    """Whether a yes or no needs the signature of whoever gives it."""
    state: ApprovalState = "requested"
    given: tuple[Consent, ...] = ()
    delegations: tuple[Delegation, ...] = ()
    ended_at: UtcTime | None = None


# Commands


class DecideApproval(Command):
    """Say yes or no to what was asked; a *no* needs a reason (ADM-5)."""

    type: Literal["DecideApproval"] = "DecideApproval"
    approval: Code
    decision: Literal["approve", "reject"]
    facts_hash: FactsHash
    """The facts that were looked at: if they are others by now, look again."""
    reason: Code | None = None
    evidence: Reference | None = None
    on_behalf_of: Subject | None = None
    """Whose delegate decides; None for oneself."""
    signature: Signature | None = Field(default=None, exclude_if=nothing)
    """Over the `Statement` of this decision; needed where the approval is a signed one."""


class DelegateApproval(Command):
    """Let somebody else decide in the actor's place, up to a date."""

    type: Literal["DelegateApproval"] = "DelegateApproval"
    approval: Code
    to: Subject
    until: UtcTime
    reason: Code


class WithdrawApproval(Command):
    """Whoever asked does not want it any more."""

    type: Literal["WithdrawApproval"] = "WithdrawApproval"
    approval: Code
    reason: Code


ApprovalCommands = DecideApproval | DelegateApproval | WithdrawApproval


# Events


class ApprovalEvent(Event):
    """Something that happened to one approval."""

    approval: Code


class ApprovalRequested(ApprovalEvent):
    """A decision was asked of a role, on exactly these facts."""

    type: Literal["ApprovalRequested"] = "ApprovalRequested"
    kind: Code
    rule: RuleId
    role: Role
    facts: Facts
    facts_hash: FactsHash
    asked_by: Subject
    barred: tuple[Subject, ...]
    needed: int
    silence: Silence
    commitment: Code
    signed: bool = Field(default=False, exclude_if=nothing)


class ApprovalDelegated(ApprovalEvent):
    """Somebody may decide in another's place."""

    type: Literal["ApprovalDelegated"] = "ApprovalDelegated"
    by: Subject
    to: Subject
    until: UtcTime
    reason: Code


class ApprovalGiven(ApprovalEvent):
    """One person said yes; `given` of `needed` now."""

    type: Literal["ApprovalGiven"] = "ApprovalGiven"
    by: Subject
    on_behalf_of: Subject | None
    evidence: Reference | None
    given: int
    needed: int
    signature: Signature | None = Field(default=None, exclude_if=nothing)


class ApprovalGranted(ApprovalEvent):
    """It is approved: by all who are needed, or by silence where the policy says so (ADM-7)."""

    type: Literal["ApprovalGranted"] = "ApprovalGranted"
    silent: bool


class ApprovalRejected(ApprovalEvent):
    """It was refused, with a reason (ADM-5); `by` is None where silence refused it (ADM-7)."""

    type: Literal["ApprovalRejected"] = "ApprovalRejected"
    by: Subject | None
    on_behalf_of: Subject | None
    reason: Code
    evidence: Reference | None
    signature: Signature | None = Field(default=None, exclude_if=nothing)


class ApprovalEscalated(ApprovalEvent):
    """Nobody decided in time: the role above may decide too (ADM-7)."""

    type: Literal["ApprovalEscalated"] = "ApprovalEscalated"
    to: Role


class ApprovalLapsed(ApprovalEvent):
    """Its facts changed: what was asked or given no longer counts."""

    type: Literal["ApprovalLapsed"] = "ApprovalLapsed"
    changed: tuple[Code, ...]
    """The names of the facts that changed."""


class ApprovalWithdrawn(ApprovalEvent):
    """It is not wanted any more."""

    type: Literal["ApprovalWithdrawn"] = "ApprovalWithdrawn"
    reason: Code


ApprovalEvents = (
    ApprovalRequested
    | ApprovalDelegated
    | ApprovalGiven
    | ApprovalGranted
    | ApprovalRejected
    | ApprovalEscalated
    | ApprovalLapsed
    | ApprovalWithdrawn
)
