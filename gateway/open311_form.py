"""A report out of an Open311 form: what the case is told, and what the vault alone. Pure."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from gateway.commands import Invalid
from gateway.open311 import SOURCE, NoSuchService
from schemas.base import Code, Reference
from schemas.envelope import Json
from schemas.party import Party
from schemas.policy import Policy

UNKNOWN_DISTRICT = "unknown"
"""Until somebody who looks at the address says which."""
LONGEST_NOTE = 4000
LONGEST_URL = 500
Form = Mapping[str, str]

_FIELDS = {
    "name": "first_name, last_name",
    "address": "address_string",
    "remarks": "description",
}
"""By a party's field: the form's, where it has another name."""


class Report(NamedTuple):
    """What a form says: the case's part, and the vault's."""

    command: Json
    party: Party


def report_of(form: Form, policy: Policy) -> Report:
    """What a form reports. Raises `NoSuchService`, or `Invalid` with everything that is wrong."""
    wrong: list[str] = []
    category = form.get("service_code")
    if category is None:
        wrong.append("service_code: missing.")
    elif category not in policy.repair.categories:
        raise NoSuchService
    place = _place(form, wrong)
    given = {code: value for name, value in form.items() if (code := _attribute(name)) is not None}
    known: Mapping[str, Any] = {"district": Code, "asset": Reference}
    if given.keys() - known.keys():
        wrong.append(f"attribute: there are only {', '.join(known)}.")
    wrong += [
        f"attribute[{code}]: see its datatype_description."
        for code in known
        if code in given and not _fits(known[code], given[code])
    ]
    party = _party(form, place, wrong)
    if wrong or party is None:
        raise Invalid(wrong)
    command: Json = {
        "type": "ReportRepair",
        "channel": "app",
        "category": category,
        "district": given.get("district", UNKNOWN_DISTRICT),
        "asset": given.get("asset"),
        "source": SOURCE,
    }
    premises = form.get("address_id")
    if premises is not None and _fits(Reference, premises):
        command["premises"] = premises
    return Report(command, party)


def _attribute(name: str) -> str | None:
    found = re.fullmatch(r"attribute\[([^\]]*)\](\[\])?", name)
    return None if found is None else found[1]


def _place(form: Form, wrong: list[str]) -> str | None:
    """Where it is, in words: an address, or coordinates (WGS 84)."""
    point: str | None = None
    if "lat" in form or "long" in form:
        point = _point(form.get("lat", ""), form.get("long", ""))
        if point is None:
            wrong.append("lat, long: give both, in degrees (WGS 84).")
    elif "address_string" not in form and "address_id" not in form:
        wrong.append("lat and long, address_string or address_id: give one of them.")
    return ", ".join(p for p in (form.get("address_string"), form.get("address_id"), point) if p)


def _point(lat: str, long: str) -> str | None:
    try:
        found = float(lat), float(long)
    except ValueError:
        return None
    if not (-90 <= found[0] <= 90 and -180 <= found[1] <= 180):
        return None
    return f"{found[0]:.6f} {found[1]:.6f}"


def _party(form: Form, place: str | None, wrong: list[str]) -> Party | None:
    note, picture = form.get("description"), form.get("media_url")
    if note is not None and len(note) > LONGEST_NOTE:
        wrong.append(f"description: at most {LONGEST_NOTE} characters.")
    if picture is not None and not (
        len(picture) <= LONGEST_URL and re.match(r"https?://[^\s/]", picture)
    ):
        wrong.append(f"media_url: an http(s) address of at most {LONGEST_URL} characters.")
    try:
        return Party(
            name=_name(form.get("first_name"), form.get("last_name")),
            phone=form.get("phone"),
            email=form.get("email"),
            address=place or None,
            remarks="\n".join(part for part in (note, picture) if part) or None,
        )
    except ValidationError as error:
        for item in error.errors(include_input=False, include_url=False):
            field = str(item["loc"][0])
            wrong.append(f"{_FIELDS.get(field, field)}: not as it should be.")
        return None


def _name(first: str | None, last: str | None) -> str | None:
    if first and last and not (first + last).isascii():
        return last + first
    return " ".join(part for part in (first, last) if part) or None


def _fits(kind: Any, value: str) -> bool:
    try:
        TypeAdapter[Any](kind).validate_python(value)
    except ValidationError:
        return False
    return True
