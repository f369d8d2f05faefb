"""What travels between gateway, workflow and log: commands, decisions, messages, answers."""

from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import Field

from schemas.approvals import Approval
from schemas.base import (
    Actor,
    CaseId,
    Code,
    Command,
    CommandId,
    Organisation,
    Reference,
    RuleId,
    Subject,
    UtcTime,
    Value,
    nothing,
)
from schemas.signing import Signature, Statement

AnyCommand = TypeVar("AnyCommand", bound=Command)
Json = dict[str, Any]


class CommandEnvelope(Value, Generic[AnyCommand]):
    """A command with its identity, its actor and, if it happened earlier, when (business time)."""

    id: CommandId
    actor: Actor
    occurred_at: UtcTime | None = None
    """None means: now, when it is decided."""
    body: AnyCommand


class DeadlinePassed(Command):
    """The clock's own command: everything due at or before `at` is decided, at its due time."""

    type: Literal["DeadlinePassed"] = "DeadlinePassed"
    at: UtcTime


class RecordAnswer(Command):
    """The other case's answer to something that this case asked of it."""

    type: Literal["RecordAnswer"] = "RecordAnswer"
    request: CommandId
    accepted: bool
    reasons: tuple[str, ...] = ()


class OpenCase(Value):
    """A case workflow's only argument.

    `commands` may have happened long ago; they and the deadlines between them are applied in
    business order. Without commands the workflow reads the log first and goes on from there.
    """

    organisation: Organisation
    case_id: CaseId
    policy: str
    """The pinned policy: its canonical JSON."""
    commands: tuple[Json, ...] = ()


class CommandOutcome(Value):
    """What a command caused. Events are named by type; none means that it was already so."""

    command_id: CommandId
    command_hash: str
    version: int
    """The stream's version after it."""
    position: int
    """The organisation's log position of its last event."""
    events: tuple[str, ...]
    stage: str


class Message(Value):
    """A word to the outside, said through the outbox: ids and a template, nothing personal."""

    to: Literal["party", "crew", "staff", "role", "unit"]
    recipient: Subject
    template: Code
    params: dict[str, str | int | None]


class CaseRequest(Value):
    """Something that this case asks of another: asked again until it answers, done there once."""

    id: CommandId
    """Also the command id in the other case."""
    case_id: CaseId
    command: Json
    opens: bool = False
    """Whether the other case is opened by this, under the asker's policy, if there is none yet."""


class CaseAnswer(Value):
    """What the other case answered."""

    accepted: bool
    reasons: tuple[str, ...] = ()


class CommitmentSummary(Value):
    """A commitment as the read model shows it."""

    id: Code
    name: Code
    rule: RuleId
    state: str
    start: UtcTime
    due: UtcTime
    met_at: UtcTime | None
    ended_at: UtcTime | None
    fired: int


class ApprovalSummary(Approval):
    """An approval as the read model shows it."""

    due: UtcTime


class SatisfactionAnswer(Value):
    """What came of asking a customer (回访), and which department it tells of."""

    at: UtcTime
    department: Subject
    result: Literal["satisfied", "not_satisfied", "unreachable", "no_consent"]


class StopSummary(Value):
    """A closed valve as the stop register shows it (WAT-C4c); times are UTC."""

    account: Reference
    premises: Reference
    kind: Literal["temporary", "full"]
    since: UtcTime
    crew: Subject
    permitted: bool
    valve: Reference
    seal: Reference
    reading: int
    """The meter's, in litres."""
    reopened_at: UtcTime | None = None
    """When the customer opened it himself (WAT-C4a)."""
    restored_at: UtcTime | None = None


class PartPaymentSummary(Value):
    """A payment that covered no whole bill when it came, as the register shows it (WAT-B9)."""

    account: Reference
    payment: Reference
    amount: int
    """In the currency's smallest unit."""
    currency: str
    paid_at: UtcTime
    reversed_at: UtcTime | None = None
    """When it was taken back."""


class AssessmentSummary(Value):
    """A reader's half-yearly assessment as lists show it (WAT-P1)."""

    reader: Subject
    half_year: str
    accounts: int
    """Those that were overdue."""
    excluded: int
    """Those of them that are not counted (WAT-P2)."""
    counted: int
    amount: int
    """What that comes to, as it stands; in the currency's smallest unit."""
    currency: str


class CaseSummary(Value):
    """A case as the read models show it; written with the events that made it so."""

    kind: Code
    stage: str
    final: bool
    """Whether the case has ended and nothing is asked of another case any more."""
    owner_kind: str | None
    owner: str | None
    district: str | None
    category: str | None
    severity: str | None
    priority: bool
    opened_at: UtcTime | None
    closed_at: UtcTime | None
    next_due_at: UtcTime | None
    """The earliest due time among running commitments."""
    next_deadline_at: UtcTime | None
    """When the case wakes by itself."""
    commitments: tuple[CommitmentSummary, ...]
    approvals: tuple[ApprovalSummary, ...] = ()
    answers: tuple[SatisfactionAnswer, ...] = ()
    premises: tuple[Reference, ...] = ()
    """Those that it concerns, as cases meet on them: small letters."""
    stops: tuple[StopSummary, ...] = ()
    """Every closing of a valve, in order (WAT-C4c)."""
    part_payments: tuple[PartPaymentSummary, ...] = ()
    """Those that covered no whole bill, in order (WAT-B9)."""
    assessment: AssessmentSummary | None = None


class SignatureCheck(Value):
    """The signature is over this statement, by a key enrolled to whom the statement names."""

    type: Literal["signature"] = "signature"
    statement: Statement
    signature: Signature
    fresh: bool
    """Given just now, so its nonce must be unused; otherwise given earlier, and still good."""


class PremisesCheck(Value):
    """Nothing is open on the premises beside what the command knew of."""

    type: Literal["premises"] = "premises"
    premises: tuple[Reference, ...]
    known: tuple[CaseId, ...]


Check = SignatureCheck | PremisesCheck


class Decision(Value):
    """One command and the events it caused: the unit that the log keeps."""

    command: Json
    """The command envelope; its canonical bytes are kept and hashed."""
    decided_at: UtcTime
    events: tuple[Json, ...]
    messages: tuple[tuple[int, Message], ...] = ()
    """Each with the index of the event, in this decision, that it belongs to."""
    checks: tuple[Check, ...] = Field(default=(), exclude_if=nothing)
    """What must hold when it is written; the log does not keep them."""


class AppendRequest(Value):
    """Decisions to append to one stream in one transaction if it is still at `expected_version`."""

    organisation: Organisation
    stream: CaseId
    expected_version: int
    policy: str | None = None
    """The pinned policy's canonical JSON; stored once, by its hash, with the first append."""
    decisions: tuple[Decision, ...] = ()
    summary: CaseSummary | None = None
    """The state after all of them; required where there is an event."""


class Recorded(Value):
    """A decision that the log holds."""

    command_id: CommandId
    command_hash: str
    version: int
    """The stream's version after its last event."""
    position: int
    """The log position of its last event (the log's head where it caused none)."""
    events: tuple[str, ...]
    """Types, in order."""
    leaves: tuple[str, ...] = Field(default=(), exclude_if=nothing)
    """Its events' leaf hashes, in hex, where they have just been appended.

    With the position they are a receipt: Temporal's history keeps it, out of the log's reach.
    """


class AppendResult(Value):
    """`appended`: `recorded` lists the new decisions. `behind` or `unproven`: nothing was written.

    When behind, `events` are all bodies after the expected version, in order, and `recorded` the
    decisions that the log holds: those after the expected version and those whose ids were asked
    about. `conflicts` are ids that the log holds with other content. `unproven` are the reasons, by
    command id, why a check does not hold.
    """

    status: Literal["appended", "behind", "unproven"]
    version: int
    more: bool = False
    """Whether the log holds more, after `version`, than fits into one answer: ask again."""
    recorded: tuple[Recorded, ...] = ()
    events: tuple[Json, ...] = ()
    conflicts: tuple[CommandId, ...] = ()
    unproven: dict[CommandId, tuple[str, ...]] = Field(
        default_factory=dict[CommandId, tuple[str, ...]], exclude_if=nothing
    )


class Refusal(Value):
    """A command that was refused, or that its sender may not send; Temporal keeps none of them."""

    organisation: Organisation
    stream: CaseId | Literal["gateway"]
    """The case; the gateway itself where what was forbidden concerns none."""
    command_id: str
    command_type: str
    actor: str
    refused_at: UtcTime
    reasons: tuple[str, ...]


class EventEnvelope(Value):
    """An event as the log holds it: where it stands, when, who caused it, and its body as stored.

    `occurred_at` is business time, `decided_at` when the case decided it, `recorded_at` when the
    log took it in. Positions count from 1 within an organisation's log, versions within a stream.
    """

    position: int
    stream: CaseId
    version: int
    event_id: UUID
    type: str
    schema_version: int
    occurred_at: UtcTime
    decided_at: UtcTime
    recorded_at: UtcTime
    command_id: CommandId
    actor: Actor
    body: Json


class RecordedDecision(Recorded):
    """A decision with all that is needed to decide it again: the command and what it caused."""

    command: Json
    decided_at: UtcTime
    bodies: tuple[Json, ...]
