"""What an event concerns: cases, customers, crews, staff, units, premises; opaque ids, all."""

import re
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
PARTIES = frozenset(("party", "parties"))
OF_OWNERS = {"person": "staff", "unit": "unit", "role": "role"}
OF_ACTORS = {"crew": "crew", "system": "service", "service": "service"}
"""By role; whoever has another is staff."""

_CASE = re.compile(rf"({'|'.join(LIFECYCLES)})-[a-z0-9-]{{1,60}}", re.ASCII)
_NAMED = FIELDS.keys() | CASES | PARTIES | {"to"}
_TO_PERSONS = frozenset(("ApprovalDelegated",))
"""Events whose `to` is a person; elsewhere it is a role, or another organisation."""


class Thing(NamedTuple):
    """An object."""

    id: str
    type: str


Relation = tuple[Thing, str]
"""An object, and what an event has to do with it."""


def case_of(stream: str) -> Thing:
    """The object that a case is."""
    return Thing(stream, f"case.{stream.partition('-')[0]}")


def relations(row: Row) -> list[Relation]:
    """All objects that an event concerns: its case, who did it, and those that its body names."""
    header, actor = row.header, row.actor
    found: list[Relation] = [
        (case_of(header["stream"]), "case"),
        (_thing(OF_ACTORS.get(actor["role"], "staff"), actor["subject"]), "actor"),
    ]
    for name, value in row.body.items():
        _look(header, name, value, found)
    return found


def _look(header: dict[str, Any], name: str, value: Any, found: list[Relation]) -> None:
    """Wherever in a body, a field means what its name says."""
    match value:
        case str():
            if name in _NAMED:
                _take(header, name, value, found)
        case {"kind": str(kind), "id": str(id)} if kind in OF_OWNERS:
            found.append((_thing(OF_OWNERS[kind], id), name))
        case dict():
            for key, part in cast("dict[str, Any]", value).items():
                _look(header, key, part, found)
        case list():
            for part in cast("list[Any]", value):
                _look(header, name, part, found)
        case _:
            return


def _take(header: dict[str, Any], name: str, value: str, found: list[Relation]) -> None:
    if name in CASES and _CASE.fullmatch(value):
        if value != header["stream"]:
            found.append((case_of(value), "other case" if name == "case" else name))
    elif name in PARTIES:
        found.append((Thing(value, "party"), "party"))
    elif name in FIELDS:
        qualifier = "department" if name == "departments" else name
        found.append((_thing(FIELDS[name], value), qualifier))
    elif name == "to" and header["type"] in _TO_PERSONS:
        found.append((_thing("staff", value), name))


def _thing(type: str, id: str) -> Thing:
    """An id of ours is unique among its type alone; premises meet whatever their capitals."""
    return Thing(f"{type}/{place_of(id) if type == 'premises' else id}", type)
