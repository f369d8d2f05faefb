"""What the read models answer: rows of cases, of the outbox and the refusals."""

from typing import Literal

from schemas.base import CaseId, Code, Subject, UtcTime, Value
from schemas.envelope import (
    ApprovalSummary,
    AssessmentSummary,
    CaseSummary,
    Message,
    PartPaymentSummary,
    Refusal,
    StopSummary,
)


class CaseRow(CaseSummary):
    """A case in a list."""

    case_id: CaseId
    version: int


class WorkRow(CaseRow):
    """An open case on the worklist."""

    waiting_since: UtcTime | None
    """The earliest due time of a promise that is running, or broken and still outstanding."""


class ApprovalRow(ApprovalSummary):
    """An approval of some case; `kind` is the approval's own."""

    case_id: CaseId
    case_kind: Code
    district: Code | None


class StopRow(StopSummary):
    """A line of the stop register (WAT-C4c)."""

    case_id: CaseId
    number: int
    """The first, second, … closing of a valve in this case."""
    district: Code | None


class PartPaymentRow(PartPaymentSummary):
    """A line of the register of part payments (WAT-B9)."""

    case_id: CaseId
    number: int
    """The first, second, … part payment of this case."""
    district: Code | None


class AssessmentRow(AssessmentSummary):
    """A reader's assessment in a list (WAT-P1)."""

    case_id: CaseId
    stage: str
    closed_at: UtcTime | None
    """When it was settled."""


class CaseFilter(Value):
    """Which cases to list; what is left out does not matter."""

    kind: Code | None = None
    stage: str | None = None
    final: bool | None = None
    owner: Subject | None = None
    district: Code | None = None
    category: Code | None = None
    severity: Code | None = None
    priority: bool | None = None


class OutboxRow(Value):
    """A message, and the event that makes it true."""

    id: str
    """The event's id and the message's number among the event's."""
    position: int
    ordinal: int
    case_id: CaseId
    recorded_at: UtcTime
    state: Literal["waiting", "delivered", "dead"]
    status: str | None = None
    """What the last attempt to deliver it came to, if there was one."""
    message: Message


class RefusalRow(Refusal):
    """A refused signal as it was kept."""

    number: int
    recorded_at: UtcTime
