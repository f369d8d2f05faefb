"""The second pass of `audit verify`: case by case, what the rows say and mean.

Versions and decisions without a gap, columns and headers as the bytes say, the pinned policy; then,
where all of that can be read, what `verify_meaning` finds.
"""

import json
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

from activities.canonical import SealedDecision, SealedEvent, event_id, header, json_time
from activities.database import Connection
from audit.log import CASES, RawCase, RawDecision, RawEvent, cases
from audit.verdict import KEPT, Findings, brief
from audit.verify_meaning import Meaning, read_kept
from schemas.envelope import Json

# What belongs to no case, in the order in which it is looked for; and how it is told.
_LOST = {
    "event": """
        SELECT e.stream, e.position, e.version, count(*) OVER () FROM events e
        WHERE e.organisation = $1 AND NOT EXISTS (
            SELECT FROM streams s WHERE s.organisation = e.organisation AND s.stream = e.stream
        )
        ORDER BY e.position LIMIT $2
    """,
    "decision": """
        SELECT d.stream, d.position, d.version, count(*) OVER () FROM decisions d
        WHERE d.organisation = $1 AND NOT EXISTS (
            SELECT FROM streams s WHERE s.organisation = d.organisation AND s.stream = d.stream
        )
        ORDER BY d.stream, d.version LIMIT $2
    """,
    "read model": """
        SELECT c.case_id AS stream, NULL AS position, c.version, count(*) OVER () FROM cases c
        WHERE c.organisation = $1 AND NOT EXISTS (
            SELECT FROM streams s WHERE s.organisation = c.organisation AND s.stream = c.case_id
        )
        ORDER BY c.case_id LIMIT $2
    """,
    "message": """
        SELECT o.stream, o.position, NULL AS version, count(*) OVER () FROM outbox o
        WHERE o.organisation = $1 AND NOT EXISTS (
            SELECT FROM events e
            WHERE e.organisation = o.organisation AND e.position = o.position
        )
        ORDER BY o.position, o.ordinal LIMIT $2
    """,
}


@dataclass
class Counts:
    """How much was read."""

    cases: int = 0
    events: int = 0


async def read_cases(
    connection: Connection,
    organisation: str,
    head: int,
    findings: Findings,
    report: Callable[[int], None],
) -> Counts:
    """Check every case; `head` is the log's last position."""
    counts, meaning = Counts(), Meaning(organisation, findings)

    def damaged(what: str) -> None:
        findings.add("row", f"A row holds a time or a number that is none: {brief(what)}.")

    async with aclosing(cases(connection, organisation, damaged=damaged)) as every:
        async for batch in _batched(every, CASES):
            kept = await read_kept(connection, organisation, batch)
            for case in batch:
                events = _events(case)
                _Case(organisation, head, case, events, findings).check()
                meaning.check(case, events, kept)
                counts.cases += 1
                counts.events += len(events)
            report(counts.events)
    for what, query in _LOST.items():
        rows = await connection.fetch(query, organisation, KEPT)
        for row in rows:
            findings.add(
                "lost",
                f"A {what} belongs to no case in the log.",
                position=row["position"],
                stream=row["stream"],
                version=row["version"],
            )
        findings.more("lost", rows[0]["count"] - len(rows) if rows else 0)
    return counts


def _events(case: RawCase) -> list[RawEvent]:
    """All events of the stream, by version."""
    caused = [event for decision in case.decisions for event in decision.events]
    return sorted((*caused, *case.orphans), key=lambda event: (event.version, event.position))


async def _batched(every: AsyncGenerator[RawCase], size: int) -> AsyncGenerator[list[RawCase]]:
    batch: list[RawCase] = []
    async for case in every:
        batch.append(case)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


class _Case:
    """One case's rows, and whether they fit each other."""

    def __init__(
        self,
        organisation: str,
        head: int,
        case: RawCase,
        events: Sequence[RawEvent],
        findings: Findings,
    ) -> None:
        self._organisation = organisation
        self._head = head
        self._case = case
        self._events = events
        self._findings = findings

    def check(self) -> None:
        case = self._case
        if case.kind != case.stream.partition("-")[0]:
            self._add("stream", f"Its kind is {brief(case.kind)}, which its name contradicts.")
        if not case.decisions:
            self._add("stream", "Nothing was ever decided in it.")
        if case.version != len(self._events):
            self._add(
                "stream",
                f"It should be at version {case.version}, and has {len(self._events)} events.",
            )
        if case.policy is None:
            self._add("policy", f"Its policy {case.policy_hash.hex()} is not there.")
        elif sha256(case.policy.encode()).digest() != case.policy_hash:
            self._add("policy", f"What is kept as its policy {case.policy_hash.hex()} is another.")
        self._check_order()
        self._check_decisions()
        for event in case.orphans:
            self._add(
                "decision",
                f"It names {brief(event.command_id)} as its command, and there is no such"
                " decision.",
                event,
            )

    def _check_order(self) -> None:
        position = 0
        for expected, event in enumerate(self._events, 1):
            if event.version != expected:
                self._add("version", f"Version {expected} was expected here.", event)
                break
            if event.position <= position:
                self._add("order", f"It stands before version {expected - 1}.", event)
            position = event.position

    def _check_decisions(self) -> None:
        version, position = 0, 0
        for decision in self._case.decisions:
            caused = decision.events
            name = brief(decision.command_id)
            if decision.event_count != len(caused):
                self._told(
                    decision,
                    f"{name} caused {decision.event_count} events, it says; there"
                    f" are {len(caused)}.",
                )
            elif [e.version for e in caused] != list(range(version + 1, version + 1 + len(caused))):
                self._told(decision, f"The events of {name} are not those after version {version}.")
            version += len(caused)
            if decision.version != version:
                self._told(
                    decision,
                    f"{name} says that it led to version {decision.version}; expected {version}.",
                )
            if caused:
                first = caused[0].position
                if [e.position for e in caused] != list(range(first, first + len(caused))):
                    self._told(decision, f"The events of {name} do not stand together.")
                if decision.position != caused[-1].position:
                    self._told(
                        decision,
                        f"{name} says position {decision.position}; expected"
                        f" {caused[-1].position}.",
                    )
                # Of decisions that caused nothing, nobody keeps in which order they came.
                position = caused[-1].position
            elif not position <= decision.position <= self._head:
                self._told(
                    decision,
                    f"{name} says position {decision.position}, where it can't have been taken.",
                )
            decided_at = json_time(decision.decided_at)
            for event in caused:
                self._check_event(decided_at, decision, event)

    def _check_event(self, decided_at: str, decision: RawDecision, event: RawEvent) -> None:
        true = event_id(self._organisation, event.stream, event.version)
        if event.event_id != true:
            self._add("event-id", f"Its id is {event.event_id}; expected {true}.", event)
        if event.recorded_at != decision.recorded_at:
            self._add("recorded", "It and its decision were not recorded together.", event)
        if event.header == self._plain_header(decided_at, decision, event):
            return
        expected = header(
            *(self._organisation, event.stream),
            SealedDecision(
                *(decision.command_id, decision.command, decision.command_hash, decided_at),
                *(decision.version, (), ()),
            ),
            SealedEvent(
                *(event.event_id, event.version, event.type, event.schema_version),
                *(json_time(event.occurred_at), event.body),
            ),
        )
        if event.header != expected:
            for what in _differing(event.header, expected):
                self._add("header", what, event)

    def _plain_header(self, decided_at: str, decision: RawDecision, event: RawEvent) -> bytes:
        """Its header, where no name in it holds what JSON would escape; far faster."""
        return (
            f'{{"body_hash":"{sha256(event.body).hexdigest()}"'
            f',"command_hash":"{decision.command_hash.hex()}"'
            f',"command_id":"{decision.command_id}","decided_at":"{decided_at}"'
            f',"event_id":"{event.event_id}","occurred_at":"{json_time(event.occurred_at)}"'
            f',"organisation":"{self._organisation}","schema_version":{event.schema_version}'
            f',"stream":"{event.stream}","type":"{event.type}","version":{event.version}}}'
        ).encode()

    def _told(self, decision: RawDecision, what: str) -> None:
        self._findings.add("decision", what, stream=self._case.stream, version=decision.version)

    def _add(self, check: str, what: str, event: RawEvent | None = None) -> None:
        self._findings.add(
            check,
            what,
            position=event and event.position,
            stream=self._case.stream,
            version=event and event.version,
        )


def _differing(said: bytes, expected: bytes) -> Iterator[str]:
    """What a header says, and what the rows do; of the body the first pass has told."""
    before, after = _object(said), _object(expected)
    differing = [name for name in after if before.get(name) != after[name]]
    for name in differing:
        if name != "body_hash":
            here, there = brief(before.get(name)), brief(after[name])
            yield f"Its header says {name} {here}; its rows say {there}."
    if not differing:
        yield "Its header is not the canonical JSON of what it commits to."


def _object(text: bytes) -> Json:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    return cast("Json", value) if isinstance(value, dict) else {}
