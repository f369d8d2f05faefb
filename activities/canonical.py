"""The exact bytes that the log keeps and proves: canonical JSON (RFC 8785), hashes, event headers.

Pure: the append, the auditor and the rebuild get the same bytes from the same decisions.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid5

import rfc8785

from schemas.envelope import AppendRequest, Decision, Json, Message

NAMESPACE = UUID("6f0c8a52-1f0e-5b7a-9d53-7a1f5d3c2e91")
"""Of all event ids. Changing it changes every event's identity: never do."""

_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode
_beyond_plain = re.compile(r"[:,\[]-?[0-9]+(?:[.eE]|[0-9]{15})|^-?[0-9]+[.eE0-9]")
"""Perhaps a number other than a small integer; a text that looks like one only costs time."""


@dataclass(frozen=True, slots=True)
class SealedEvent:
    """One event's exact bytes."""

    type: str
    header: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class SealedDecision:
    """One decision's exact bytes, and what is said about it."""

    command_id: str
    command_hash: str
    command: bytes
    decided_at: datetime
    version: int
    """The stream's version after its last event."""
    events: tuple[SealedEvent, ...]
    messages: tuple[tuple[int, Message], ...]


def canonical(value: Any) -> bytes:
    """RFC 8785 canonical JSON. ValueError for what has none, such as NaN or 2**53.

    The standard library's encoder, several times faster, gives the same bytes for what we mostly
    have: ASCII text and small integers.
    """
    try:
        text = _encode(value)
    except ValueError:
        text = ""
    if text.isascii() and text and not _beyond_plain.search(text):
        return text.encode()
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise ValueError(f"This has no canonical JSON: {type(error).__name__}.") from None


def command_hash(envelope: Json) -> str:
    """SHA-256, in hex, over the canonical bytes of the whole command envelope.

    All of it counts: id, actor, `occurred_at` (null included) and body. So always dump a
    CommandEnvelope the same way, `model_dump(mode="json")`.
    """
    return sha256(canonical(envelope)).hexdigest()


def event_id(organisation: str, stream: str, version: int) -> UUID:
    """An event's identity: its place, and nothing of who wrote it or when."""
    return uuid5(NAMESPACE, f"{organisation}/{stream}/{version}")


def leaf_hash(header: bytes) -> bytes:
    """The event's leaf in the organisation's Merkle tree (RFC 6962)."""
    return sha256(b"\x00" + header).digest()


def json_time(time: datetime) -> str:
    """An instant as pydantic writes it in JSON: `2026-01-01T00:00:00Z`."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def seal(request: AppendRequest) -> list[SealedDecision]:
    """The bytes of every decision and event of a request.

    A header commits to where the event stands, to its body and to the command that caused it. It
    holds neither position nor recording time: those are the log's, and a restored log must have
    the same leaves. ValueError lists all that an event or command lacks.
    """
    _check(request.decisions)
    sealed: list[SealedDecision] = []
    version = request.expected_version
    for decision in request.decisions:
        command = canonical(decision.command)
        shared = {
            "command_hash": sha256(command).hexdigest(),
            "command_id": decision.command["id"],
            "decided_at": json_time(decision.decided_at),
            "organisation": request.organisation,
            "stream": request.stream,
        }
        events: list[SealedEvent] = []
        for event in decision.events:
            version += 1
            events.append(_seal_event(shared, version, event))
        sealed.append(
            SealedDecision(
                command_id=shared["command_id"],
                command_hash=shared["command_hash"],
                command=command,
                decided_at=decision.decided_at,
                version=version,
                events=tuple(events),
                messages=decision.messages,
            )
        )
    return sealed


def _seal_event(shared: Mapping[str, str], version: int, event: Json) -> SealedEvent:
    body = canonical(event)
    header = {
        **shared,
        "body_hash": sha256(body).hexdigest(),
        "event_id": str(event_id(shared["organisation"], shared["stream"], version)),
        "occurred_at": event["at"],
        "schema_version": event["schema_version"],
        "type": event["type"],
        "version": version,
    }
    return SealedEvent(type=event["type"], header=canonical(header), body=body)


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
