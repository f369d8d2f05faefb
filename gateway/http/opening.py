"""`POST /v1/repairs`, `/complaints` and `/arrears`: a case opens, personal data in the vault."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field

from gateway.account_cases import open_arrears
from gateway.http.access import Caller, Principal, acting
from gateway.http.bodies import Body, body_of, command_of, envelope_of, takes
from gateway.http.idempotency import Done, Keyed, Once
from gateway.http.problems import Failed
from gateway.http.serving import WRITES, AsRole, NewCasesPolicy, Serving, ends_in
from gateway.reporting import report
from gateway.session import Session
from schemas.arrears import OpenArrears
from schemas.base import CaseId, PartyId, Role, Value
from schemas.complaint import RegisterComplaint
from schemas.envelope import CommandOutcome, Json
from schemas.party import Party
from schemas.repair import ReportRepair

FILLED_IN = ("recorded", "priority")
"""What the gateway sees by itself when it puts the particulars into the vault."""
CUSTOMER = (
    "Who it is, for the vault alone: the case knows an opaque id. Leave it out where you name a"
    " `party` that the vault knows, or where nobody is to be named."
)
SEALED_TO = (
    "With an informant's particulars: the roles that alone may see them (WAT-2.5). Needed there."
)

REPAIR: Json = {
    "channel": "phone",
    "category": "no-gas",
    "severity": "common",
    "district": "north",
    "premises": "P-20114",
    "customer": {"name": "Li Na", "phone": "13800000000", "address": "5 Lane 12"},
}
COMPLAINT: Json = {
    "channel": "phone",
    "about": "staff",
    "accused": [{"staff": "s-1041"}],
    "category": "attitude",
    "district": "north",
    "customer": {"name": "Wu Jing", "phone": "13800000001"},
}
ARREARS: Json = {
    "account": "A-20114",
    "premises": "P-20114",
    "dn": 20,
    "customer_class": "household",
    "district": "north",
    "currency": "CNY",
    "bills": [{"bill": "B-2026-03", "amount": 12_000, "due": "2026-03-31"}],
    "run": "billing/2026-04-30",
}


class OpenedCase(Value):
    """A case that was opened."""

    case_id: CaseId
    party_id: PartyId | None
    """Whom the vault knows as its customer."""
    outcome: CommandOutcome


def _customer() -> tuple[Any, Any]:
    return (Party | None, Field(default=None, description=CUSTOMER))


NewRepair = body_of(
    ReportRepair, without=FILLED_IN, more={"customer": _customer()}, examples=(REPAIR,)
)
NewComplaint = body_of(
    RegisterComplaint,
    without=FILLED_IN,
    more={
        "customer": _customer(),
        "sealed_to": (tuple[Role, ...], Field(default=(), description=SEALED_TO)),
    },
    examples=(COMPLAINT,),
)
NewArrears = body_of(OpenArrears, examples=(ARREARS,))

router = APIRouter(tags=["cases"])

OPENED = "The case is open: the report is in the log, and its promises run."
LOCATED: dict[str, Any] = {
    "description": OPENED,
    "headers": {"Location": {"description": "The case's address.", "schema": {"type": "string"}}},
}


@router.post(
    "/repairs",
    name="ReportRepair",
    summary="Report a repair",
    status_code=201,
    response_model=OpenedCase,
    responses={201: LOCATED, **ends_in("no-such-party", "party-erased", "party-sealed", of=WRITES)},
)
@takes(NewRepair)
async def report_repair(
    *,
    body: Any,
    caller: Caller,
    once: Once,
    session: Serving,
    policy: NewCasesPolicy,
    as_role: AsRole = None,
) -> Response:
    """Somebody reports a fault (报修, KUN-5.5.1); its clocks start now, or when it occurred."""
    return await _reported("repair", "ReportRepair", body, caller, once, session, policy, as_role)


@router.post(
    "/complaints",
    name="RegisterComplaint",
    summary="Register a complaint",
    status_code=201,
    response_model=OpenedCase,
    responses={201: LOCATED, **ends_in("no-such-party", "party-erased", "party-sealed", of=WRITES)},
)
@takes(NewComplaint)
async def register_complaint(
    *,
    body: Any,
    caller: Caller,
    once: Once,
    session: Serving,
    policy: NewCasesPolicy,
    as_role: AsRole = None,
) -> Response:
    """Somebody complains (投诉, KUN-5.4.1), or informs in confidence (WAT-2.5)."""
    if wrong := _contradictions(body):
        raise Failed("invalid", wrong)
    return await _reported(
        "complaint", "RegisterComplaint", body, caller, once, session, policy, as_role
    )


@router.post(
    "/arrears",
    name="OpenArrears",
    summary="Open an arrears case",
    status_code=201,
    response_model=OpenedCase,
    responses={201: LOCATED, **ends_in(of=WRITES)},
)
@takes(NewArrears)
async def open_account(
    *,
    body: Any,
    caller: Caller,
    once: Once,
    session: Serving,
    policy: NewCasesPolicy,
    as_role: AsRole = None,
) -> Response:
    """An account is overdue (欠费, WAT-C1). It has one open case at most."""
    actor = acting(caller, "arrears", "OpenArrears", as_role=as_role)
    command = command_of("OpenArrears", body)
    envelope = envelope_of(
        command, once.command_id, actor.model_dump(mode="json"), body.occurred_at
    )

    async def work() -> Done:
        case_id, outcome = await open_arrears(session, policy, body.account, envelope)
        return _opened(OpenedCase(case_id=case_id, party_id=body.party, outcome=outcome))

    return await once(work)


async def _reported(
    kind: str,
    name: str,
    body: Any,
    caller: Principal,
    once: Keyed,
    session: Session,
    policy: str,
    as_role: AsRole,
) -> Response:
    customer: Party | None = body.customer
    sealed_to: tuple[Role, ...] = getattr(body, "sealed_to", ())
    if customer is not None and body.party is not None:
        raise Failed("invalid", ["body.party: leave it out where you give the customer."])
    actor = acting(caller, kind, name, as_role=as_role)
    given: Body = body
    command = command_of(name, given, without=("customer", "sealed_to"))
    envelope = envelope_of(
        command, once.command_id, actor.model_dump(mode="json"), given.occurred_at
    )

    async def work() -> Done:
        opened = await report(
            await session.cases(),
            session.vault,
            session.organisation,
            policy,
            envelope,
            customer,
            datetime.now(UTC),
            sealed_to=sealed_to,
        )
        return _opened(
            OpenedCase(case_id=opened.case_id, party_id=opened.party_id, outcome=opened.outcome)
        )

    return await once(work)


def _opened(case: OpenedCase) -> Done:
    return Done(case, 201, {"Location": f"/v1/cases/{case.case_id}"})


def _contradictions(body: Any) -> list[str]:
    """What does not go together; `report` says the rest."""
    wrong: list[str] = []
    if body.anonymous and (body.customer is not None or body.party is not None):
        wrong.append("body.anonymous: leave out the customer and the party.")
    if body.sealed_to and not body.confidential:
        wrong.append("body.sealed_to: only with confidential.")
    if body.sealed_to and body.party is not None:
        wrong.append("body.sealed_to: whom the vault knows keeps their seal; leave it out.")
    if body.confidential and body.customer is not None and not body.sealed_to:
        wrong.append("body.sealed_to: missing; say which roles alone may see who it is.")
    return wrong
