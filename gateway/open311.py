"""Open311 GeoReport v2 as data: services, a report out of a form, requests, JSON and XML. Pure.

Civic apps report faults by it. Who reports, where and in which words is for the vault alone: a
request tells nobody more than what became of it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, cast
from xml.etree import ElementTree

from gateway.commands import Invalid
from schemas.base import Value
from schemas.envelope import CommitmentSummary
from schemas.policy import Policy

Format = Literal["json", "xml"]

SOURCE = "open311"
"""What a case has as its source that came in this way."""
MEDIA_TYPES: Mapping[str, str] = {"json": "application/json", "xml": "text/xml; charset=utf-8"}


class Service(Value):
    """Something that can be reported."""

    service_code: str
    service_name: str
    description: str
    metadata: bool
    """Whether it may be told more than the standard's own fields: see its definition."""
    type: Literal["realtime"]
    """A report is a case at once, and its id is the answer."""
    keywords: str
    group: str


class Attribute(Value):
    """Something that a report may say beside the standard's own fields."""

    variable: bool
    code: str
    datatype: Literal["string"]
    required: bool
    datatype_description: str
    order: int
    description: str


class ServiceDefinition(Value):
    """What a service may be told."""

    service_code: str
    attributes: tuple[Attribute, ...]


class MadeRequest(Value):
    """A report that is a case now."""

    service_request_id: str
    service_notice: str | None = None
    account_id: str | None = None


class ServiceRequest(Value):
    """A report as everybody may know it. Nothing personal: neither words nor places."""

    service_request_id: str
    status: Literal["open", "closed"]
    status_notes: str
    """The stage of the case."""
    service_name: str
    service_code: str
    description: None = None
    agency_responsible: str | None
    """The unit that has it, until a person does."""
    service_notice: None = None
    requested_datetime: str
    updated_datetime: str
    expected_datetime: str | None
    """By when the organisation promised it to be repaired."""
    address: None = None
    address_id: None = None
    zipcode: None = None
    lat: None = None
    long: None = None
    media_url: None = None


class Wrong(Value):
    """One of the reasons why a call failed."""

    code: int
    description: str


ATTRIBUTES = (
    Attribute(
        variable=True,
        code="district",
        datatype="string",
        required=False,
        datatype_description="A word of small letters, digits, dots and hyphens.",
        order=1,
        description="The district, by the organisation's own name for it",
    ),
    Attribute(
        variable=True,
        code="asset",
        datatype="string",
        required=False,
        datatype_description="As it stands on the device.",
        order=2,
        description="The number on the meter, valve or main",
    ),
)
"""What every service may be told."""


class RequestRow(Value):
    """A repair that came in by Open311, as the read models have it."""

    case_id: str
    stage: str
    category: str
    owner_kind: str | None
    owner: str | None
    opened_at: datetime
    closed_at: datetime | None
    updated_at: datetime
    commitments: tuple[CommitmentSummary, ...]
    policy: str
    """The hash of the policy that it pinned."""


class NoSuchService(Exception):
    """The policy has no such category."""

    def __init__(self) -> None:
        super().__init__("service_code was not found: see the services.")


def services(policy: Policy) -> list[Service]:
    """What can be reported: the categories of the policy."""
    return [
        Service(
            service_code=category,
            service_name=_words(category),
            description=f"{policy.title}: {_words(category).lower()}",
            metadata=True,
            type="realtime",
            keywords=",".join(re.split("[-_.]", category)),
            group=policy.title,
        )
        for category in policy.repair.categories
    ]


def definition(policy: Policy, service_code: str) -> ServiceDefinition:
    """What a service may be told. Raises `NoSuchService`."""
    if service_code not in policy.repair.categories:
        raise NoSuchService
    return ServiceDefinition(service_code=service_code, attributes=ATTRIBUTES)


def request_of(row: RequestRow, policy: Policy) -> ServiceRequest:
    """A request as everybody may know it."""
    expected = _expected(row, policy)
    return ServiceRequest(
        service_request_id=row.case_id,
        status="open" if row.closed_at is None else "closed",
        status_notes=_words(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", row.stage)),
        service_name=_words(row.category),
        service_code=row.category,
        agency_responsible=row.owner if row.owner_kind == "unit" else None,
        requested_datetime=_stamp(row.opened_at),
        updated_datetime=_stamp(row.updated_at),
        expected_datetime=None if expected is None else _stamp(expected),
    )


def instant(text: str, name: str) -> datetime:
    """A time as a query has it. Raises `Invalid`."""
    try:
        # A plus sign that was not escaped arrives as a space.
        at = datetime.fromisoformat(text.strip().replace(" ", "+"))
        if at.tzinfo is not None and 1970 < at.year < 9000:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Invalid([f"{name}: write a time with its zone, such as 2026-05-01T00:00:00Z."])


def written(what: str, answer: Value | Sequence[Value], format: Format) -> bytes:
    """An answer in one of the two formats; `what` is its root in XML."""
    told = _plain(answer)
    if format == "json":
        return json.dumps(told, ensure_ascii=False).encode()
    return ElementTree.tostring(_element(what, told), encoding="UTF-8", xml_declaration=True)


_ITEMS: Mapping[str, str] = {
    "services": "service",
    "service_requests": "request",
    "attributes": "attribute",
    "errors": "error",
}


def _plain(answer: Value | Sequence[Value]) -> Any:
    if isinstance(answer, Value):
        return answer.model_dump(mode="json")
    return [part.model_dump(mode="json") for part in answer]


def _element(name: str, value: Any) -> ElementTree.Element:
    made = ElementTree.Element(name)
    match value:
        case None:
            pass
        case bool():
            made.text = "true" if value else "false"
        case dict():
            fields = cast("dict[str, Any]", value)
            made.extend(_element(field, part) for field, part in fields.items())
        case list():
            items = cast("list[Any]", value)
            made.extend(_element(_ITEMS[name], item) for item in items)
        case _:
            made.text = str(value)
    return made


def _words(code: str) -> str:
    return re.sub("[-_. ]+", " ", code).capitalize()


def _expected(row: RequestRow, policy: Policy) -> datetime | None:
    """By when it shall be repaired: what the policy promises."""
    names = {terms.name for terms in policy.repair.commitments if terms.ends == "fixed"}
    promised = [c.due for c in row.commitments if c.name in names and c.state != "cancelled"]
    return max(promised, default=None)


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
