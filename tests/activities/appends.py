"""Small appends for the log tests. Their content means nothing to the log."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from activities.canonical import canonical
from schemas.envelope import (
    AppendRequest,
    AppendResult,
    ApprovalSummary,
    AssessmentSummary,
    CaseSummary,
    CommitmentSummary,
    Decision,
    Json,
    Message,
    PartPaymentSummary,
    Recorded,
    SatisfactionAnswer,
    StopSummary,
)

ORGANISATION = "town"
START = datetime(2026, 5, 1, 8, 0, 0, 123456, tzinfo=UTC)
POLICY = canonical({"name": "gas", "title": "燃气", "version": "1"}).decode()


def event(name: str = "CrewArrived", **body: Any) -> Json:
    return {"type": name, "schema_version": 1, "at": "2026-05-01T07:30:00Z"} | body


def decision(
    id: str, *events: Json, messages: Sequence[tuple[int, Message]] = (), **body: Any
) -> Decision:
    return Decision(
        command={
            "id": id,
            "actor": {"subject": "crew-7", "role": "crew", "proof": "token"},
            "occurred_at": None,
            "body": {"type": "RecordArrival"} | body,
        },
        decided_at=START,
        events=tuple(events),
        messages=tuple(messages),
    )


def summary(**fields: Any) -> CaseSummary:
    return CaseSummary.model_validate(
        {
            "kind": "repair",
            "stage": "Reported",
            "final": False,
            "owner_kind": "unit",
            "owner": "intake",
            "district": "east",
            "category": "leak",
            "severity": "common",
            "priority": False,
            "opened_at": START,
            "closed_at": None,
            "next_due_at": START + timedelta(hours=6),
            "next_deadline_at": START + timedelta(hours=5),
            "commitments": (promise("attend", START + timedelta(hours=6)),),
        }
        | fields
    )


def promise(name: str, due: datetime, **fields: Any) -> CommitmentSummary:
    return CommitmentSummary.model_validate(
        {
            "id": name,
            "name": name,
            "rule": "KUN-2.2.4b",
            "state": "running",
            "start": START,
            "due": due,
            "met_at": None,
            "ended_at": None,
            "fired": 0,
        }
        | fields
    )


def approval(name: str, due: datetime, **fields: Any) -> ApprovalSummary:
    return ApprovalSummary.model_validate(
        {
            "id": name,
            "kind": "extension",
            "rule": "ADM-7",
            "roles": ("supervisor",),
            "facts": {"days": 3, "accused": ("s-1", "s-2"), "place": "东区", "reason": None},
            "facts_hash": "0" * 64,
            "asked_by": "s-9",
            "asked_at": START,
            "barred": ("s-1", "s-9"),
            "needed": 2,
            "silence": "escalate",
            "commitment": f"approve-{name}",
            "due": due,
        }
        | fields
    )


def answer(at: datetime, result: str = "satisfied", department: str = "east") -> SatisfactionAnswer:
    return SatisfactionAnswer.model_validate({"at": at, "department": department, "result": result})


def stop(since: timedelta = timedelta(0), **fields: Any) -> StopSummary:
    """A closed valve, so long after the start."""
    usual: dict[str, Any] = {
        "account": "A-1",
        "premises": "P-1",
        "kind": "temporary",
        "since": START + since,
        "crew": "k-7",
        "permitted": True,
        "valve": "V-1",
        "seal": "S-1",
        "reading": 120,
    }
    return StopSummary.model_validate(usual | fields)


def part(since: timedelta = timedelta(0), **fields: Any) -> PartPaymentSummary:
    """A part payment, so long after the start."""
    usual: dict[str, Any] = {
        "account": "A-1",
        "payment": "pay-1",
        "amount": 100,
        "currency": "CNY",
        "paid_at": START + since,
    }
    return PartPaymentSummary.model_validate(usual | fields)


def assessed(**fields: Any) -> AssessmentSummary:
    """A reader's half-year."""
    usual: dict[str, Any] = {
        "reader": "E-7",
        "half_year": "2026-H1",
        "accounts": 21,
        "excluded": 1,
        "counted": 20,
        "amount": 4000,
        "currency": "CNY",
    }
    return AssessmentSummary.model_validate(usual | fields)


def request(
    stream: str,
    expected: int,
    *decisions: Decision,
    organisation: str = ORGANISATION,
    policy: str | None = POLICY,
    case: CaseSummary | None = None,
) -> AppendRequest:
    return AppendRequest(
        organisation=organisation,
        stream=stream,
        expected_version=expected,
        policy=policy,
        decisions=decisions,
        summary=case or summary(),
    )


def catch_up(stream: str, after: int = 0) -> AppendRequest:
    """What a case asks when it has nothing to say: what did I miss?"""
    return AppendRequest(organisation=ORGANISATION, stream=stream, expected_version=after)


def commands(result: AppendResult) -> list[str]:
    return [recorded.command_id for recorded in result.recorded]


def held(recorded: Sequence[Recorded]) -> tuple[Recorded, ...]:
    """What was just appended, as a later answer tells of it: without the receipt."""
    return tuple(r.model_copy(update={"leaves": ()}) for r in recorded)
