"""A log of any size, made at once: real lives under many names, written by COPY as a superuser.

It is what append_events would have written, and everything in it verifies.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

import asyncpg

from activities.canonical import SealedDecision, SealedEvent, event_id, header, seal
from bench.lives import Life, lives
from lifecycles.lifecycle import LIFECYCLES, plan
from lifecycles.policies import pinned
from schemas.envelope import AppendRequest, Json

AT_ONCE = 400
"""So many cases are alive side by side: their events alternate in the log."""
MINUTE = timedelta(minutes=1)
NAME = "0name000000"
"""In a template, where the name of a case is to stand: as long as that."""

_CASES = """
    INSERT INTO cases
    SELECT r.* FROM unnest($1::jsonb[]) s, jsonb_populate_record(NULL::cases, s) r
"""
_HEAD = "INSERT INTO heads (organisation, position) VALUES ($1, $2)"
_POLICY = "INSERT INTO policies (hash, content) VALUES ($1, $2) ON CONFLICT DO NOTHING"
_OUTBOX = (
    *("organisation", "position", "ordinal", "event_id", "stream", "recipient_kind", "recipient"),
    *("template", "params"),
)


class Log(NamedTuple):
    """An organisation's log in the database, and how long it is."""

    organisation: str
    events: int


class _Template(NamedTuple):
    """A life, an append after the other, and the row of the case that it leads to."""

    kind: str
    policy: bytes
    appends: tuple[tuple[SealedDecision, ...], ...]
    version: int
    row: str


async def large_log(admin_url: str, organisation: str, events: int) -> Log:
    """Write a log of at least so many events for an organisation without one."""
    connection = await asyncpg.connect(
        admin_url, server_settings={"search_path": "standpipe", "timezone": "UTC"}
    )
    try:
        templates = [_template(organisation, life) for life in lives()]
        for template in templates:
            await connection.execute(_POLICY, sha256(template.policy).digest(), template.policy)
        position = first = 0
        while position < events:
            rows = _Rows(organisation, position)
            rows.live(templates, range(first, first + AT_ONCE))
            await rows.write(connection)
            position, first = rows.position, first + AT_ONCE
        await connection.execute(_HEAD, organisation, position)
        await connection.execute("VACUUM (ANALYZE) events, decisions, streams, cases, outbox")
    finally:
        await connection.close()
    return Log(organisation, position)


class _Rows:
    """Rows that are written together."""

    def __init__(self, organisation: str, position: int) -> None:
        self._organisation = organisation
        self.position = position
        self._now = datetime.now(UTC)
        self._events: list[tuple[Any, ...]] = []
        self._decisions: list[tuple[Any, ...]] = []
        self._streams: list[tuple[Any, ...]] = []
        self._outbox: list[tuple[Any, ...]] = []
        self._cases: list[str] = []

    def live(self, templates: Sequence[_Template], numbers: Sequence[int]) -> None:
        """Cases of these numbers, an append of each in turn."""
        alive = [self._life(templates[n % len(templates)], f"{n:011x}") for n in numbers]
        while alive:
            alive = [life for life in alive if next(life, False)]

    async def write(self, connection: asyncpg.Connection) -> None:
        async with connection.transaction():
            await connection.copy_records_to_table("streams", records=self._streams)
            await connection.copy_records_to_table("events", records=self._events)
            await connection.copy_records_to_table("decisions", records=self._decisions)
            await connection.copy_records_to_table("outbox", records=self._outbox, columns=_OUTBOX)
            await connection.execute(_CASES, self._cases)

    def _life(self, template: _Template, name: str) -> Iterator[bool]:
        organisation, stream = self._organisation, f"{template.kind}-{name}"
        for append in template.appends:
            for decision in append:
                self._append(stream, _renamed(organisation, stream, decision, name))
            yield True
        self._cases.append(template.row.replace(NAME, name))
        hash = sha256(template.policy).digest()
        self._streams.append((organisation, stream, template.kind, template.version, hash))

    def _append(self, stream: str, decision: SealedDecision) -> None:
        organisation, before = self._organisation, self.position
        for event in decision.events:
            self.position += 1
            self._events.append(
                (
                    *(organisation, self.position, stream, event.version, event.event_id),
                    *(event.type, event.schema_version, _time(event.occurred_at), self._now),
                    *(decision.command_id, header(organisation, stream, decision, event)),
                    event.body,
                )
            )
        actor: Json = json.loads(decision.command)["actor"]
        self._decisions.append(
            (
                *(organisation, stream, decision.command_id, decision.command_hash),
                *(decision.command, actor["subject"], actor["role"], actor["proof"]),
                *(_time(decision.decided_at), self._now, len(decision.events), decision.version),
                self.position,
            )
        )
        ordinals: dict[int, int] = {}
        for place, message in decision.messages:
            ordinal = ordinals[place] = ordinals.get(place, -1) + 1
            self._outbox.append(
                (
                    *(organisation, before + 1 + place, ordinal, decision.events[place].event_id),
                    *(stream, message.to, message.recipient, message.template),
                    json.dumps(message.params),
                )
            )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _template(organisation: str, life: Life) -> _Template:
    lifecycle, stream = LIFECYCLES[life.kind], f"{life.kind}-{NAME}"
    state = lifecycle.initial(stream, organisation, *pinned(life.policy))
    version, now = 0, datetime.now(UTC)
    appends: list[tuple[SealedDecision, ...]] = []
    for command in life.said(NAME):
        made = plan(lifecycle, state, version, [lifecycle.command(command)], now)
        assert not made.refused, made.refused
        request = AppendRequest(
            organisation=organisation,
            stream=stream,
            expected_version=version,
            decisions=tuple(step.decision() for step in made.steps),
        )
        appends.append(tuple(seal(request)))
        state, version, now = made.state, made.version, now + MINUTE
    row = lifecycle.summary(state).model_dump(mode="json") | {
        "organisation": organisation,
        "case_id": stream,
        "version": version,
    }
    return _Template(life.kind, life.policy.encode(), tuple(appends), version, json.dumps(row))


def _renamed(organisation: str, stream: str, decision: SealedDecision, name: str) -> SealedDecision:
    """The same, said of the stream with that name."""
    old, new = NAME.encode(), name.encode()

    def event(e: SealedEvent) -> SealedEvent:
        id = event_id(organisation, stream, e.version)
        return e._replace(event_id=id, body=e.body.replace(old, new))

    command = decision.command.replace(old, new)
    return decision._replace(
        command=command,
        command_hash=sha256(command).digest(),
        command_id=decision.command_id.replace(NAME, name),
        events=tuple(event(e) for e in decision.events),
        messages=tuple(
            (place, message.model_validate_json(message.model_dump_json().replace(NAME, name)))
            for place, message in decision.messages
        ),
    )
