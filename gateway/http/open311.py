"""`/open311/v2`: Open311 GeoReport v2: civic apps report repairs and see what became of them.

A report is done once. With an `Idempotency-Key` as everywhere; without one, which is how apps are
written, the same form of the same app within ten minutes is the same report. Looking needs no key,
as the standard has it, and shows only what came in this way, and nothing personal.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials

from gateway.commands import Invalid
from gateway.http.access import BEARER, acting
from gateway.http.bodies import envelope_of
from gateway.http.idempotency import Done
from gateway.http.open311_answers import Open311Route, answers, told
from gateway.http.open311_apps import once, who
from gateway.http.problems import Failed
from gateway.http.serving import NewCasesPolicy, Serving
from gateway.open311 import (
    ATTRIBUTES,
    Format,
    MadeRequest,
    Service,
    ServiceDefinition,
    ServiceRequest,
    definition,
    instant,
    services,
)
from gateway.open311_form import report_of
from gateway.open311_requests import MOST_REQUESTS, requests
from gateway.reporting import report
from gateway.session import Session
from lifecycles.policies import pinned
from schemas.envelope import Json
from schemas.policy import Policy

LONGEST_SPAN = timedelta(days=90)
FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 100

router = APIRouter(prefix="/open311/v2", route_class=Open311Route, tags=["open311"])

FormatPath = Annotated[Format, Path(description="json or xml.")]
Jurisdiction = Annotated[
    str | None, Query(max_length=100, description="The organisation; needed nowhere.")
]
ServicePath = Annotated[str, Path(max_length=60, description="Such as no-gas.")]
MaybeKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="As everywhere; without one the same form soon after is the same report.",
    ),
]
List = Annotated[str | None, Query(max_length=20_000, description="One, or several with commas.")]
Instant = Annotated[str | None, Query(max_length=40, examples=["2026-05-01T00:00:00Z"])]


_SERVICE = Service(
    service_code="no-gas",
    service_name="No gas",
    description="Town gas: no gas",
    metadata=True,
    type="realtime",
    keywords="no,gas",
    group="Town gas",
)
_REQUEST = ServiceRequest(
    service_request_id="repair-1f2e3d",
    status="open",
    status_notes="Dispatched",
    service_name="No gas",
    service_code="no-gas",
    agency_responsible="gas-control-room",
    requested_datetime="2026-05-01T00:00:00Z",
    updated_datetime="2026-05-01T00:20:00Z",
    expected_datetime="2026-05-02T00:00:00Z",
)
_FIELDS = (
    *("service_code", "lat", "long", "address_string", "address_id", "email", "first_name"),
    *("last_name", "phone", "description", "media_url", "attribute[district]", "attribute[asset]"),
    *("jurisdiction_id", "api_key"),
)
_FORM: Json = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["service_code"],
                    "properties": {name: {"type": "string"} for name in _FIELDS},
                },
                "example": {
                    "api_key": "the app's",
                    "service_code": "no-gas",
                    "address_string": "5 Lane 12",
                    "phone": "13800000000",
                },
            }
        },
    },
}


@router.get(
    "/services.{format}",
    name="list_services",
    summary="What can be reported",
    response_model=tuple[Service, ...],
    responses=answers("services", [_SERVICE]),
)
async def list_services(
    *,
    format: FormatPath,
    session: Serving,
    policy: NewCasesPolicy,
    jurisdiction_id: Jurisdiction = None,
) -> Response:
    """The repairs of the organisation's policy."""
    _here(session, jurisdiction_id)
    return told("services", services(_policy(policy)), format)


@router.get(
    "/services/{service_code}.{format}",
    name="define_service",
    summary="What a report may say",
    response_model=ServiceDefinition,
    responses=answers(
        "service_definition", ServiceDefinition(service_code="no-gas", attributes=ATTRIBUTES)
    ),
)
async def define_service(
    *,
    service_code: ServicePath,
    format: FormatPath,
    session: Serving,
    policy: NewCasesPolicy,
    jurisdiction_id: Jurisdiction = None,
) -> Response:
    """What a service may be told beside the standard's own fields; none of it is required."""
    _here(session, jurisdiction_id)
    return told("service_definition", definition(_policy(policy), service_code), format)


@router.post(
    "/requests.{format}",
    name="make_request",
    summary="Report a repair, from a civic app",
    status_code=201,
    response_model=tuple[MadeRequest, ...],
    responses=answers(
        "service_requests",
        [MadeRequest(service_request_id="repair-1f2e3d")],
        *(403, 409, 413, 415),
        status=201,
    ),
    openapi_extra=_FORM | {"security": [{}]},
)
async def make_request(
    *,
    format: FormatPath,
    request: Request,
    session: Serving,
    policy: NewCasesPolicy,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)],
    key: MaybeKey = None,
    jurisdiction_id: Jurisdiction = None,
) -> Response:
    """A fault, reported by an app with its `api_key` in the form, or a bearer token of a service.

    Names, phones, addresses, places and words go to the vault and are shown to nobody here. The
    rules of the channel `app` say which of them must be there (KUN-5.5.1). `device_id` and
    `account_id` are not kept.
    """
    form = await _form(request)
    principal = await who(request, form.pop("api_key", None), given)
    named = form.pop("jurisdiction_id", None)
    _here(session, jurisdiction_id or named)
    actor = acting(principal, "repair", "ReportRepair")
    made = report_of(form, _policy(policy))
    keyed = await once(session, principal, key, form)
    request.state.command_id = keyed.command_id
    envelope = envelope_of(made.command, keyed.command_id, actor.model_dump(mode="json"), None)

    async def work() -> Done:
        opened = await report(
            await session.cases(),
            session.vault,
            session.organisation,
            policy,
            envelope,
            made.party,
            datetime.now(UTC),
        )
        return Done(MadeRequest(service_request_id=opened.case_id), 201)

    answer = await keyed(work)
    found: Json = json.loads(bytes(answer.body))
    if answer.status_code >= 400:
        kind = str(found["type"]).rpartition("/")[2]
        raise Failed(kind, found.get("reasons", ()), detail=found["detail"])
    return told("service_requests", [MadeRequest.model_validate(found)], format, 201)


@router.get(
    "/requests.{format}",
    name="list_requests",
    summary="What became of reports",
    response_model=tuple[ServiceRequest, ...],
    responses=answers("service_requests", [_REQUEST]),
)
async def list_requests(
    *,
    format: FormatPath,
    session: Serving,
    service_request_id: List = None,
    service_code: List = None,
    start_date: Instant = None,
    end_date: Instant = None,
    status: Annotated[
        str | None, Query(max_length=40, description="open, closed, or both.")
    ] = None,
    jurisdiction_id: Jurisdiction = None,
) -> Response:
    """Those that came in by Open311: of 90 days at most, a thousand at most, the latest first."""
    _here(session, jurisdiction_id)
    if (ids := _several(service_request_id)) is not None:
        found = await requests(session, ids[:MOST_REQUESTS])
    else:
        codes, is_open = _several(service_code), _open(status)
        since, until = _span(start_date, end_date)
        found = await requests(session, codes=codes, since=since, until=until, is_open=is_open)
    return told("service_requests", found, format)


@router.get(
    "/requests/{service_request_id}.{format}",
    name="show_request",
    summary="What became of a report",
    response_model=tuple[ServiceRequest, ...],
    responses=answers("service_requests", [_REQUEST]),
)
async def show_request(
    *,
    service_request_id: Annotated[str, Path(max_length=80)],
    format: FormatPath,
    session: Serving,
    jurisdiction_id: Jurisdiction = None,
) -> Response:
    """One that came in by Open311; `expected_datetime` is what the organisation promised."""
    _here(session, jurisdiction_id)
    found = await requests(session, [service_request_id])
    if not found:
        raise Failed("no-such-case", ["service_request_id was not found."])
    return told("service_requests", found, format)


async def _form(request: Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM:
        raise Failed("unsupported-media-type", [f"Send Content-Type: {FORM}."])
    try:
        text = (await request.body()).decode()
        return dict(parse_qsl(text, max_num_fields=MOST_FIELDS, errors="strict"))
    except ValueError:
        raise Failed("malformed", ["Send a form in UTF-8, with each field once."]) from None


def _policy(content: str) -> Policy:
    return pinned(content).policy


def _here(session: Session, jurisdiction: str | None) -> None:
    if jurisdiction not in (None, "", session.organisation):
        raise Failed("not-found", ["jurisdiction_id was not found."])


def _several(text: str | None) -> list[str] | None:
    return None if not text else [part.strip() for part in text.split(",") if part.strip()]


def _open(status: str | None) -> bool | None:
    """Whether those that are open are wanted, or those that are closed; None: all."""
    wanted = set(_several(status) or ("open", "closed"))
    if not wanted <= {"open", "closed"}:
        raise Invalid(["status: open, closed, or both with a comma between."])
    return "open" in wanted if len(wanted) == 1 else None


def _span(start: str | None, end: str | None) -> tuple[datetime, datetime]:
    since = None if start is None else instant(start, "start_date")
    until = None if end is None else instant(end, "end_date")
    if since is None:
        until = until or datetime.now(UTC)
        return until - LONGEST_SPAN, until
    until = until or since + LONGEST_SPAN
    if not timedelta(0) <= until - since <= LONGEST_SPAN:
        raise Invalid(["start_date, end_date: in this order, and 90 days apart at most."])
    return since, until
