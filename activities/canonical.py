"""The exact bytes that the log keeps and proves: canonical JSON (RFC 8785), hashes, event headers.

Pure: the append, the auditor and the rebuild get the same bytes from the same decisions.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha1, sha256
from typing import Any, NamedTuple
from uuid import UUID

import rfc8785

from schemas.envelope import AppendRequest, Decision, Json, Message

NAMESPACE = UUID("6f0c8a52-1f0e-5b7a-9d53-7a1f5d3c2e91")
"""Of all event ids. Changing it changes every event's identity: never do."""

_kind: Callable[[Any], object] = type
_SIMPLE: frozenset[object] = frozenset((str, bool, type(None)))
_LISTS: frozenset[object] = frozenset((list, tuple))
_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode


class SealedEvent(NamedTuple):
    """One event's exact bytes, and what its header says of it."""

    event_id: UUID
    version: int
    type: str
    schema_version: int
    occurred_at: str
    body: bytes


class SealedDecision(NamedTuple):
    """One decision's exact bytes, and what is said about it."""

    command_id: str
    command: bytes
    command_hash: bytes
    decided_at: str
    version: int
    """The stream's version after its last event."""
    events: tuple[SealedEvent, ...]
    messages: tuple[tuple[int, Message], ...]


def canonical(value: Any) -> bytes:
    """RFC 8785 canonical JSON. ValueError for what has none, such as NaN or 2**53."""
    # The standard library's encoder is several times faster, and gives the same bytes for what we
    # mostly have: ASCII text and small integers.
    if _plain((value,)):
        text = _encode(value)
        if text.isascii():
            return text.encode()
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise ValueError(f"This has no canonical JSON: {type(error).__name__}.") from None


def _plain(values: Iterable[Any]) -> bool:
    """Whether there are only texts, small integers, booleans and nulls in it."""
    for value in values:
        kind = _kind(value)
        if kind in _SIMPLE:
            continue
        if kind is int:
            if not -(2**53) < value < 2**53:
                return False
        elif kind is dict:
            if not _plain(value.values()):
                return False
        elif kind not in _LISTS or not _plain(value):
            return False
    return True


def command_hash(envelope: Json) -> str:
    """SHA-256, in hex, over the canonical bytes of the whole command envelope.

    All of it counts: id, actor, `occurred_at` (null included) and body. So always dump a
    CommandEnvelope the same way, `model_dump(mode="json")`.
    """
    return sha256(canonical(envelope)).hexdigest()


def event_id(organisation: str, stream: str, version: int) -> UUID:
    """An event's identity: its place, and nothing of who wrote it or when."""
    name = f"{organisation}/{stream}/{version}".encode()
    # uuid5, in half the time
    return UUID(bytes=sha1(NAMESPACE.bytes + name).digest()[:16], version=5)


def leaf_hash(header: bytes) -> bytes:
    """The event's leaf in the organisation's Merkle tree (RFC 6962)."""
    return sha256(b"\x00" + header).digest()


def json_time(time: datetime) -> str:
    """An instant as pydantic writes it in JSON: `2026-01-01T00:00:00Z`."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def seal(request: AppendRequest) -> list[SealedDecision]:
    """The bytes of every decision and event of a request.

    ValueError lists all that an event or command lacks.
    """
    _check(request.decisions)
    sealed: list[SealedDecision] = []
    version = request.expected_version
    for decision in request.decisions:
        events: list[SealedEvent] = []
        for event in decision.events:
            version += 1
            events.append(
                SealedEvent(
                    event_id=event_id(request.organisation, request.stream, version),
                    version=version,
                    type=event["type"],
                    schema_version=event["schema_version"],
                    occurred_at=event["at"],
                    body=canonical(event),
                )
            )
        command = canonical(decision.command)
        sealed.append(
            SealedDecision(
                command_id=decision.command["id"],
                command=command,
                command_hash=sha256(command).digest(),
                decided_at=json_time(decision.decided_at),
                version=version,
                events=tuple(events),
                messages=decision.messages,
            )
        )
    return sealed


def header(organisation: str, stream: str, decision: SealedDecision, event: SealedEvent) -> bytes:
    """What is proved of an event: where it stands, its body, and the command that caused it.

    It holds neither position nor recording time: those are the log's own, and a restored log must
    have the same leaves. append_events in PostgreSQL builds the same bytes, which is what an
    auditor checks.
    """
    return canonical(
        {
            "body_hash": sha256(event.body).hexdigest(),
            "command_hash": decision.command_hash.hex(),
            "command_id": decision.command_id,
            "decided_at": decision.decided_at,
            "event_id": str(event.event_id),
            "occurred_at": event.occurred_at,
            "organisation": organisation,
            "schema_version": event.schema_version,
            "stream": stream,
            "type": event.type,
            "version": event.version,
        }
    )


def _check(decisions: Sequence[Decision]) -> None:
    wrong: list[str] = []
    seen: set[str] = set()
    for number, decision in enumerate(decisions, 1):
        wrong += [
            f"decision {number}: the command has no {key}"
            for key in ("id", "actor", "body")
            if key not in decision.command
        ]
        name = decision.command.get("id")
        if name in seen:
            wrong.append(f"decision {number}: its command id stands in this append already")
        seen.add(str(name))
        for place, event in enumerate(decision.events):
            wrong += [
                f"decision {number}, event {place + 1}: no {key}"
                for key in ("type", "schema_version", "at")
                if key not in event
            ]
        wrong += [
            f"decision {number}: a message belongs to event {place}, which there is not"
            for place, _ in decision.messages
            if not 0 <= place < len(decision.events)
        ]
    if wrong:
        raise ValueError("; ".join(wrong))
