"""What a case's bytes mean: every event and command by its schema, and what follows from them.

The read model and the messages in the outbox are folded from the log once more, with the rules of
this build, and compared with what the database holds.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from activities.canonical import canonical
from activities.database import Connection
from audit.log import RawCase, RawDecision, RawEvent
from audit.verdict import Findings, brief
from lifecycles.lifecycle import LIFECYCLES, Lifecycle
from lifecycles.policies import pinned
from schemas.base import Event
from schemas.envelope import CaseSummary, CommandEnvelope, Message

_UNREADABLE = (ValueError, OverflowError, RecursionError)
"""What anybody can have written raises these, pydantic's ValidationError and bad UTF-8 included."""

_ROWS = """
    SELECT case_id, to_jsonb(c)::text AS row FROM cases c
    WHERE organisation = $1 AND case_id = ANY($2)
"""
_OUTBOX = """
    SELECT position, ordinal, event_id::text, stream, recipient_kind, recipient, template,
        params::text
    FROM outbox WHERE organisation = $1 AND position = ANY($2)
    ORDER BY position, ordinal
"""


class Sent(NamedTuple):
    """A message as the outbox holds it."""

    ordinal: int
    event_id: str
    stream: str
    to: str
    recipient: str
    template: str
    params: str


class Kept(NamedTuple):
    """What the database keeps beside the log of some cases."""

    rows: dict[str, str]
    """Read models as JSON, by case."""
    outbox: dict[int, list[Sent]]
    """By position."""


async def read_kept(connection: Connection, organisation: str, batch: Sequence[RawCase]) -> Kept:
    """What is kept of these cases."""
    names = [case.stream for case in batch]
    places = [event.position for case in batch for d in case.decisions for event in d.events]
    rows = await connection.fetch(_ROWS, organisation, names)
    outbox = defaultdict[int, list[Sent]](list)
    for position, *message in await connection.fetch(_OUTBOX, organisation, places):
        outbox[position].append(Sent(*message))
    return Kept({row["case_id"]: row["row"] for row in rows}, outbox)


class Meaning:
    """Reads cases as the rules do."""

    def __init__(self, organisation: str, findings: Findings) -> None:
        self._organisation = organisation
        self._findings = findings

    def check(self, case: RawCase, events: Sequence[RawEvent], kept: Kept) -> None:
        """All that can be read of a case, up to what can't."""
        lifecycle = LIFECYCLES.get(case.stream.partition("-")[0])
        if lifecycle is None:
            self._add("stream", "There is no such kind of case.", case)
            return
        typed = {id(event): self._event(case, lifecycle, event) for event in events}
        for decision in case.decisions:
            self._command(case, lifecycle, decision)
        state = self._initial(case, lifecycle)
        if state is None:
            return
        if events and (opening := typed[id(events[0])]) is not None:
            named = getattr(opening, "policy", None)
            if isinstance(named, str) and named != case.policy_hash.hex():
                self._add(
                    "policy",
                    f"It was opened under the policy {brief(named)}; its stream says"
                    f" {case.policy_hash.hex()}.",
                    case,
                    events[0],
                )
        try:
            for decision in case.decisions:
                caused: list[Event] = []
                for raw in decision.events:
                    event = typed[id(raw)]
                    if event is None:
                        return
                    caused.append(event)
                state = lifecycle.fold(state, caused)
                self._messages(case, lifecycle, state, decision, caused, kept)
            summary = lifecycle.summary(state)
        except Exception as error:  # noqa: BLE001 - rules may stumble over what never happened
            self._add(
                "fold", f"Its events do not follow each other ({type(error).__name__}).", case
            )
            return
        self._row(case, len(events), summary, kept.rows.get(case.stream))

    def _event(self, case: RawCase, lifecycle: Lifecycle, raw: RawEvent) -> Event | None:
        """An event by its schema, if its columns and its bytes are of one."""
        event = self._typed(lifecycle.events, raw.body, "event", case, raw)
        if event is None:
            return None
        said = (event.type, event.schema_version, event.at)
        if said != (raw.type, raw.schema_version, raw.occurred_at):
            self._add(
                "column", "Its type, schema version or time is not what its body says.", case, raw
            )
        return event

    def _command(self, case: RawCase, lifecycle: Lifecycle, raw: RawDecision) -> None:
        command: CommandEnvelope[Any] | None = self._typed(
            lifecycle.commands, raw.command, f"command {brief(raw.command_id)}", case
        )
        if command is None:
            return
        actor = command.actor
        said = (command.id, actor.subject, actor.role, actor.proof)
        if said != (raw.command_id, raw.actor, raw.role, raw.proof):
            self._add(
                "column",
                f"Command {brief(raw.command_id)} says another id or actor than its decision.",
                case,
            )

    def _typed(
        self, adapter: Any, content: bytes, what: str, case: RawCase, raw: RawEvent | None = None
    ) -> Any:
        try:
            value = adapter.validate_json(content)
            plain = canonical(json.loads(content)) == content
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = brief(".".join(str(part) for part in first["loc"]))
            self._add(
                "schema", f"This is no {what} of this build: {where}: {first['type']}.", case, raw
            )
            return None
        except _UNREADABLE as error:
            self._add("schema", f"This is no {what}: {type(error).__name__}.", case, raw)
            return None
        if not plain:
            self._add("schema", f"This {what} is not canonical JSON.", case, raw)
        return value

    def _initial(self, case: RawCase, lifecycle: Lifecycle) -> Any:
        if case.policy is None:
            return None
        try:
            return lifecycle.initial(case.stream, self._organisation, *pinned(case.policy))
        except _UNREADABLE:
            self._add("policy", f"Its policy {case.policy_hash.hex()} is none of this build.", case)
            return None

    def _messages(
        self,
        case: RawCase,
        lifecycle: Lifecycle,
        state: Any,
        decision: RawDecision,
        caused: Sequence[Event],
        kept: Kept,
    ) -> None:
        """Whether the outbox holds what a decision gave cause to say, and nothing else."""
        for raw, event in zip(decision.events, caused, strict=True):
            due = lifecycle.effects(state, event)
            sent = kept.outbox.get(raw.position, ())
            if not due and not sent:
                continue
            if len(due) != len(sent):
                self._add(
                    "outbox",
                    f"The outbox has {len(sent)} messages of it; expected {len(due)}.",
                    case,
                    raw,
                )
                continue
            for ordinal, (message, row) in enumerate(zip(due, sent, strict=True)):
                if not _same(message, ordinal, raw, row):
                    self._add(
                        "outbox",
                        f"Message {ordinal} of it in the outbox is another than"
                        " what the event gives cause to say.",
                        case,
                        raw,
                    )

    def _row(self, case: RawCase, count: int, summary: CaseSummary, row: str | None) -> None:
        """The read model against the fold."""
        if row is None:
            if count:
                self._add("read-model", "There is no read model of it; rebuild it.", case)
            return
        live = json.loads(row)
        version = live.pop("version")
        del live["organisation"], live["case_id"]
        if version != count:
            self._add("read-model", f"Its version is {version}; the log says {count}.", case)
        try:
            read = CaseSummary.model_validate(live)
        except _UNREADABLE:
            self._add("read-model", "It holds what no case can hold.", case)
            return
        if read != summary:
            differing = [
                name
                for name in CaseSummary.model_fields
                if getattr(read, name) != getattr(summary, name)
            ]
            self._add("read-model", f"It differs from the log in {', '.join(differing)}.", case)

    def _add(self, check: str, what: str, case: RawCase, event: RawEvent | None = None) -> None:
        self._findings.add(
            check,
            what,
            position=event and event.position,
            stream=case.stream,
            version=event and event.version,
        )


def _same(message: Message, ordinal: int, raw: RawEvent, row: Sent) -> bool:
    return (
        row[:-1]
        == (
            *(ordinal, str(raw.event_id), raw.stream, message.to, message.recipient),
            message.template,
        )
        and json.loads(row.params) == message.model_dump(mode="json")["params"]
    )
