"""Cases as the log would hold them, without a log: made by the rules, and altered by a forger."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from activities.canonical import (
    SealedDecision,
    SealedEvent,
    canonical,
    event_id,
    header,
    json_time,
    seal,
)
from audit.log import RawCase, RawDecision, RawEvent
from gateway.policies import content_of
from lifecycles.lifecycle import lifecycle_of, plan
from lifecycles.policies import pinned
from schemas.envelope import AppendRequest, Json

ORGANISATION = "town"
GAS = content_of("gas", Path(__file__).parents[2] / "policies")
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
"""08:00 in Shanghai: cases are reported then, and hours count from here."""

REPORT: dict[str, Any] = {
    **{"channel": "phone", "category": "no-gas", "district": "north", "party": "party-1"},
    "recorded": ["name", "address", "phone"],
}

Forge = Callable[[RawDecision], RawDecision]


def hours(count: float) -> datetime:
    """So many hours after the report."""
    return MONDAY + timedelta(hours=count)


class Told:
    """A case as it is lived: each word is decided as the workflow would, and kept."""

    def __init__(self, stream: str, policy: str = GAS) -> None:
        self.stream = stream
        self.policy = policy
        self.lifecycle = lifecycle_of(stream)
        self.state = self.lifecycle.initial(stream, ORGANISATION, *pinned(policy))
        self.version = 0
        self.decisions: list[RawDecision] = []
        self.outbox: dict[int, list[Json]] = {}
        self._words = 0

    def say(self, at: float, kind: str, *, happened: float | None = None, **body: Any) -> "Told":
        """A command, told so many hours after the report; it may have `happened` earlier."""
        self._words += 1
        word = {
            "id": f"c/{self._words}",
            "actor": {"subject": "clerk-1", "role": "clerk", "proof": "local"},
            "occurred_at": None if happened is None else hours(happened).isoformat(),
            "body": {"type": kind, **body},
        }
        return self.hear(at, word)

    def hear(self, at: float, *words: Json) -> "Told":
        """Commands as they are, or none: then only the clock is heard."""
        commands = [self.lifecycle.command(word) for word in words]
        made = plan(self.lifecycle, self.state, self.version, commands, hours(at))
        assert not made.refused, made.refused
        request = AppendRequest(
            organisation=ORGANISATION,
            stream=self.stream,
            expected_version=self.version,
            decisions=tuple(step.decision() for step in made.steps),
        )
        for decision in seal(request):
            held = row(self.stream, decision, hours(at))
            self.decisions.append(held)
            for place, message in decision.messages:
                position = held.events[place].position
                self.outbox.setdefault(position, []).append(message.model_dump())
        self.state, self.version = made.state, made.version
        return self

    def case(self, decisions: list[RawDecision] | None = None) -> RawCase:
        """It as the log holds it; with other `decisions`, as a forger left it."""
        told = self.decisions if decisions is None else decisions
        version = sum(len(d.events) for d in told)
        hash = sha256(self.policy.encode()).digest()
        kind = self.stream.partition("-")[0]
        return RawCase(self.stream, kind, version, hash, self.policy, tuple(told))

    def forged(self, place: int, forge: Forge) -> RawCase:
        """With one decision altered, and all hashes made to fit."""
        told = list(self.decisions)
        told[place] = rehashed(forge(told[place]))
        return self.case(told)


def repaired() -> Told:
    """A repair with deadlines that pass, one of them late, and a word that changes nothing."""
    return (
        Told("repair-1")
        .say(0, "ReportRepair", **REPORT)
        .say(0.1, "TriageRepair", category="no-gas", severity="common")
        .hear(4)  # nobody is sent: rungs are climbed
        .say(5, "DispatchCrew", crew="k-1")
        .say(5.5, "TakeCase")
        .say(5.6, "TakeCase")
        .say(7, "RecordArrival", happened=6.5, crew="k-1")
        .say(8, "CompleteRepair", work=["valve"], evidence=["photo-1"])
        .say(9, "RecordCallback", party="party-1", consent=True, result="satisfied")
    )


def rehashed(decision: RawDecision) -> RawDecision:
    """With every hash and header as they must be: whoever forges knows how."""
    hash = sha256(decision.command).digest()
    sealed = SealedDecision(
        command_id=decision.command_id,
        command=decision.command,
        command_hash=hash,
        decided_at=json_time(decision.decided_at),
        version=decision.version,
        events=(),
        messages=(),
    )
    events = tuple(
        e._replace(header=header(ORGANISATION, decision.stream, sealed, _sealed(e)))
        for e in decision.events
    )
    return decision._replace(command_hash=hash, event_count=len(events), events=events)


def reworded(decision: RawDecision, place: int, **fields: Any) -> RawDecision:
    """With other fields in one of its events."""
    event = decision.events[place]
    body = canonical(json.loads(event.body) | fields)
    events = list(decision.events)
    events[place] = event._replace(body=body)
    return decision._replace(events=tuple(events))


def commanded(decision: RawDecision, **fields: Any) -> RawDecision:
    """With other fields in its command."""
    return decision._replace(command=canonical(json.loads(decision.command) | fields))


def _sealed(e: RawEvent) -> SealedEvent:
    at = json_time(e.occurred_at)
    return SealedEvent(e.event_id, e.version, e.type, e.schema_version, at, e.body)


def row(
    stream: str,
    decision: SealedDecision,
    now: datetime,
    position: Callable[[int], int] = lambda version: 1000 + version,
) -> RawDecision:
    """A decision as the log holds it; `position` is an event's by its version."""
    events = tuple(
        RawEvent(
            position=position(e.version),
            stream=stream,
            version=e.version,
            event_id=event_id(ORGANISATION, stream, e.version),
            type=e.type,
            schema_version=e.schema_version,
            occurred_at=datetime.fromisoformat(e.occurred_at),
            recorded_at=now,
            command_id=decision.command_id,
            header=header(ORGANISATION, stream, decision, e),
            body=e.body,
        )
        for e in decision.events
    )
    actor = json.loads(decision.command)["actor"]
    return RawDecision(
        stream=stream,
        command_id=decision.command_id,
        command=decision.command,
        command_hash=decision.command_hash,
        actor=actor["subject"],
        role=actor["role"],
        proof=actor["proof"],
        decided_at=now,
        recorded_at=now,
        event_count=len(events),
        version=decision.version,
        position=position(decision.version),
        events=events,
    )
