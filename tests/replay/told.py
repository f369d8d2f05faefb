"""What the golden histories hold: commands that were carried out, events that they caused."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from temporalio.api.common.v1 import Payloads
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.client import WorkflowHistory

from activities.canonical import command_hash, seal
from activities.event_log import leaves
from audit.replay import Attempt, Replaying
from lifecycles.lifecycle import CLOCK, LIFECYCLES, Lifecycle

Types = dict[str, set[str]]
"""By kind of case."""


def all_commands() -> Types:
    return {kind: _tags(_body(lifecycle)) for kind, lifecycle in LIFECYCLES.items()}


def all_events() -> Types:
    return {kind: _tags(each.events.json_schema()) for kind, each in LIFECYCLES.items()}


def told(histories: Iterable[WorkflowHistory]) -> tuple[Types, Types]:
    """The types of the commands that were carried out, and of the events that were recorded."""
    commands: Types = {kind: set() for kind in LIFECYCLES}
    events: Types = {kind: set() for kind in LIFECYCLES}
    known = list(histories)
    sent = {c["id"]: c["body"]["type"] for h in known for e in h.events for c in _commands(e)}
    for history in known:
        kind = history.workflow_id.partition("-")[0]
        for receipt in (r for e in history.events for r in _receipts(e)):
            name = receipt["command_id"]
            fallback = "DeadlinePassed" if name.startswith(CLOCK) else "RecordAnswer"
            commands[kind].add(sent.get(name, fallback))
            events[kind].update(receipt["events"])
    return commands, events


async def disagreements(histories: Iterable[WorkflowHistory]) -> dict[str, str]:
    """Histories that today's rules do not replay, or in which they decide otherwise, and how."""
    wrong: dict[str, str] = {}
    async with Replaying.begun() as replaying:
        for history in histories:
            made = await replaying.replay(history.workflow_id, History(events=history.events))
            differ = made.failure or next((d for a in made.attempts for d in _differ(a)), None)
            if differ:
                wrong[history.workflow_id] = differ
    return wrong


def _differ(attempt: Attempt) -> Iterator[str]:
    """Decisions that are not those for which the log gave its receipt."""
    request, answer = attempt
    if answer is None or answer.status != "appended":
        return
    receipts = {r.command_id: r for r in answer.recorded}
    for decision, sealed in zip(request.decisions, seal(request), strict=True):
        receipt = receipts.get(sealed.command_id)
        types = tuple(e.type for e in sealed.events)
        if receipt is None:
            yield f"{sealed.command_id}: {types}, of which nothing is recorded"
        elif (receipt.events, receipt.version) != (types, sealed.version):
            yield f"{sealed.command_id}: {types} instead of {receipt.events}"
        elif receipt.command_hash != command_hash(decision.command):
            yield f"{sealed.command_id}: another command"
        elif receipt.leaves not in ((), leaves(request, sealed)):
            yield f"{sealed.command_id}: other words in {types}"


def _body(lifecycle: Lifecycle) -> dict[str, Any]:
    return lifecycle.commands.json_schema()["properties"]["body"]


def _tags(schema: Mapping[str, Any]) -> set[str]:
    return set(schema["discriminator"]["mapping"])


def _commands(event: HistoryEvent) -> Iterator[dict[str, Any]]:
    """Commands that came in, whatever way."""
    started = event.workflow_execution_started_event_attributes
    for value in _json(started.input):
        yield from value.get("commands") or ()
    for payloads in (
        event.workflow_execution_update_accepted_event_attributes.accepted_request.input.args,
        event.workflow_execution_update_admitted_event_attributes.request.input.args,
        event.workflow_execution_signaled_event_attributes.input,
    ):
        yield from (v for v in _json(payloads) if isinstance(v.get("body"), dict) and "id" in v)


def _receipts(event: HistoryEvent) -> Iterator[dict[str, Any]]:
    """What the log recorded of an append."""
    for payloads in event.marker_recorded_event_attributes.details.values():
        for value in _json(payloads):
            yield from value.get("recorded") or ()


def _json(payloads: Payloads) -> Iterator[dict[str, Any]]:
    for payload in payloads.payloads:
        if payload.metadata.get("encoding", b"").startswith(b"json/"):
            value = json.loads(payload.data)
            if isinstance(value, dict):
                yield value
