"""What every kind of case has: an owner, promises, approvals, requests to other cases."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

from pydantic import Field

from schemas.approvals import Approval
from schemas.base import (
    CaseId,
    Code,
    Command,
    CommandId,
    Event,
    Organisation,
    Owner,
    Ownership,
    Reference,
    Value,
)
from schemas.commitments import Commitment, CommitmentEvents
from schemas.envelope import CaseRequest, SatisfactionAnswer
from schemas.policy import CaseRules, Policy


class TakeCase(Command):
    """The actor takes the case: first-contact responsibility (首问负责制, KUN-5.2.2)."""

    type: Literal["TakeCase"] = "TakeCase"


class HandOverCase(Command):
    """The owner hands the case to somebody else, explicitly and on record (KUN-5.2.2)."""

    type: Literal["HandOverCase"] = "HandOverCase"
    to: Owner
    reason: Code


class OwnerChanged(Event):
    """The case was taken or handed over."""

    type: Literal["OwnerChanged"] = "OwnerChanged"
    owner: Owner
    reason: Code


class RequestAnswered(Event):
    """The other case answered."""

    type: Literal["RequestAnswered"] = "RequestAnswered"
    request: CommandId
    accepted: bool
    reasons: tuple[str, ...]


SharedEvents = CommitmentEvents | OwnerChanged | RequestAnswered
"""What can happen in every kind of case."""

AnyStage = TypeVar("AnyStage", bound=StrEnum)


class CaseState(Value, Generic[AnyStage]):
    """What `decide` may consult in every kind of case. All times are UTC."""

    case_id: CaseId
    organisation: Organisation
    policy: Policy = Field(exclude=True, repr=False)
    policy_hash: str
    stage: AnyStage
    closed_at: datetime | None = None
    district: Code | None = None
    priority: bool = False
    owners: tuple[Ownership, ...] = ()
    commitments: tuple[Commitment, ...] = ()
    approvals: tuple[Approval, ...] = ()
    answers: tuple[SatisfactionAnswer, ...] = ()
    """Of customers who were called; those before a reopening too."""
    requests: tuple[CaseRequest, ...] = ()
    """Asked of other cases and not yet answered."""
    asked: int = 0
    places: tuple[Reference, ...] = ()
    """The premises that it registers with, as long as it is open (see lifecycles/presence.py)."""
    presence: int = 0
    """How often it told any of them whether it is open: the revision of the last word."""

    @property
    def rules(self) -> CaseRules:
        """This kind of case in the pinned policy."""
        raise NotImplementedError


AnyCase = CaseState[Any]
"""A case of whatever kind."""
