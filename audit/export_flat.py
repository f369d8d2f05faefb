"""An event's body as flat, typed attributes, for formats that know no nested ones."""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, cast

from audit.export_rows import Row

Type = Literal["string", "time", "integer", "float", "boolean"]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
_OUTSIDE = frozenset(("type", "schema_version", "at"))
"""What a body says that every event has anyway."""


class Attribute(NamedTuple):
    """One value and its type."""

    name: str
    type: Type
    value: str
    """As text; a time is ISO 8601 in UTC, a boolean true or false."""


def attributes(row: Row) -> Iterator[Attribute]:
    """The log's own words on an event, then its body's: `owner.id` is the id in the owner."""
    header = row.header
    yield Attribute("log.position", "integer", str(row.position))
    yield Attribute("log.version", "integer", str(header["version"]))
    yield Attribute("log.schema_version", "integer", str(header["schema_version"]))
    yield Attribute("log.decided_at", "time", str(header["decided_at"]))
    yield Attribute("log.recorded_at", "time", row.recorded_at)
    yield Attribute("command.id", "string", str(header["command_id"]))
    yield Attribute("command.type", "string", row.command)
    yield Attribute("actor.role", "string", str(row.actor["role"]))
    yield Attribute("actor.proof", "string", str(row.actor["proof"]))
    for name, value in row.body.items():
        if name not in _OUTSIDE:
            yield from _flat(name, value)


def _flat(name: str, value: Any) -> Iterator[Attribute]:
    """A list is one attribute, its JSON; what is null is none."""
    match value:
        case None:
            return
        case str():
            yield Attribute(name, "time" if _TIME.fullmatch(value) else "string", value)
        case bool():
            yield Attribute(name, "boolean", "true" if value else "false")
        case int():
            # Larger ones fit into no integer of the formats.
            kind: Type = "integer" if -(2**63) <= value < 2**63 else "string"
            yield Attribute(name, kind, str(value))
        case float():
            yield Attribute(name, "float", repr(value))
        case dict():
            inside = cast("dict[str, Any]", value)
            for key, part in inside.items():
                yield from _flat(f"{name}.{key}", part)
        case _:
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            yield Attribute(name, "string", text)
