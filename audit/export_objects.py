"""What an event concerns: cases, customers, crews, staff, units, premises; opaque ids, all."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from audit.export_rows import Row
from lifecycles.lifecycle import LIFECYCLES
from schemas.premises import place_of

FIELDS: dict[str, str] = {
    "crew": "crew",
    "premises": "premises",
    **dict.fromkeys(("department", "departments", "drawn", "lowest"), "unit"),
    **dict.fromkeys(("answered_by", "asked_by", "barred", "by", "checked_by"), "staff"),
    **dict.fromkeys(("decided_by", "guard", "investigator", "on_behalf_of"), "staff"),
    **dict.fromkeys(("reader", "reports_to", "staff"), "staff"),
}
"""Which type of object a body's field names."""
CASES = frozenset(("about_case", "arrears", "case", "complaint", "drawn", "fault", "source"))
"""Fields that may name another case."""
OF_OWNERS = {"person": "staff", "unit": "unit", "role": "role"}
OF_ACTORS = {"crew": "crew", "system": "service", "service": "service"}
"""By role; whoever has another is staff."""

_CASE = re.compile(rf"({'|'.join(LIFECYCLES)})-[a-z0-9-]{{1,60}}", re.ASCII)
_TO_PERSONS = frozenset(("ApprovalDelegated",))
"""Events whose `to` is a person; elsewhere it is a role, or another organisation."""


class Thing(NamedTuple):
    """An object."""

    id: str
    type: str


class Relation(NamedTuple):
    """What an event has to do with an object."""

    thing: Thing
    qualifier: str


def case_of(stream: str) -> Thing:
    """The object that a case is."""
    return Thing(stream, f"case.{stream.partition('-')[0]}")


def relations(row: Row) -> Iterator[Relation]:
    """All objects that an event concerns: its case, who did it, and those that its body names."""
    stream, actor = row.header["stream"], row.actor
    yield Relation(case_of(stream), "case")
    yield Relation(_thing(OF_ACTORS.get(actor["role"], "staff"), actor["subject"]), "actor")
    for name, value in row.body.items():
        yield from _named(row.header, name, value)


def _named(header: dict[str, Any], name: str, value: Any) -> Iterator[Relation]:
    match value:
        case str():
            if name in FIELDS or name in CASES or name in ("party", "parties", "to"):
                yield from _thing_named(header, name, value)
        case {"kind": str(kind), "id": str(id)} if kind in OF_OWNERS:
            yield Relation(_thing(OF_OWNERS[kind], id), name)
        case dict():
            inside = cast("dict[str, Any]", value)
            for key, part in inside.items():
                yield from _named(header, key, part)
        case list():
            parts = cast("list[Any]", value)
            for part in parts:
                yield from _named(header, name, part)
        case _:
            return


def _thing_named(header: dict[str, Any], name: str, value: str) -> Iterator[Relation]:
    if name in CASES and _CASE.fullmatch(value):
        if value != header["stream"]:
            yield Relation(case_of(value), "other case" if name == "case" else name)
    elif name in ("party", "parties"):
        yield Relation(Thing(value, "party"), "party")
    elif name == "departments":
        yield Relation(_thing("unit", value), "department")
    elif name in FIELDS:
        yield Relation(_thing(FIELDS[name], value), name)
    elif name == "to" and header["type"] in _TO_PERSONS:
        yield Relation(_thing("staff", value), name)


def _thing(type: str, id: str) -> Thing:
    """An id of ours is unique among its type alone; premises meet whatever their capitals."""
    return Thing(f"{type}/{place_of(id) if type == 'premises' else id}", type)
