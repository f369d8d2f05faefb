"""An event's body as flat, typed attributes, for formats that know no nested ones."""

import json
import re
from typing import Any, Literal, cast

from audit.export_rows import Row

Type = Literal["string", "time", "integer", "float", "boolean"]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
_ODD = re.compile(r"[^A-Za-z0-9_.-]")
_OUTSIDE = frozenset(("type", "schema_version", "at"))
"""What a body says that every event has anyway."""


Attribute = tuple[str, Type, str]
"""Name, type, and value as text; a time is ISO 8601 in UTC, a boolean true or false."""


def attributes(row: Row) -> list[Attribute]:
    """The log's own words on an event, then its body's: `owner.id` is the id in the owner."""
    header = row.header
    found: list[Attribute] = [
        ("log.position", "integer", str(row.position)),
        ("log.version", "integer", str(header["version"])),
        ("log.schema_version", "integer", str(header["schema_version"])),
        ("log.decided_at", "time", str(header["decided_at"])),
        ("log.recorded_at", "time", row.recorded_at),
        ("command.id", "string", str(header["command_id"])),
        ("command.type", "string", row.command),
        ("actor.role", "string", str(row.actor["role"])),
        ("actor.proof", "string", str(row.actor["proof"])),
    ]
    for name, value in row.body.items():
        if name not in _OUTSIDE:
            _flatten(_plain(name), value, found)
    return found


def _flatten(name: str, value: Any, found: list[Attribute]) -> None:
    """A list is one attribute, its JSON; what is null is none."""
    match value:
        case None:
            return
        case str():
            found.append((name, "time" if _TIME.fullmatch(value) else "string", value))
        case bool():
            found.append((name, "boolean", "true" if value else "false"))
        case int():
            # Larger ones fit into no integer of the formats.
            fits = -(2**63) <= value < 2**63
            found.append((name, "integer" if fits else "string", str(value)))
        case float():
            found.append((name, "float", repr(value)))
        case dict():
            for key, part in cast("dict[str, Any]", value).items():
                _flatten(f"{name}.{_plain(key)}", part, found)
        case _:
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            found.append((name, "string", text))


def _plain(name: str) -> str:
    """A name that every format takes: a fact's may have hyphens, and nobody's has more."""
    return name if name.isidentifier() else _ODD.sub("_", name)
