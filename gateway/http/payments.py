"""`POST /v1/payments`: money that came in, told to the account's open arrears case."""

from fastapi import APIRouter, Response
from pydantic import ConfigDict, Field

from gateway.account_cases import post_payment
from gateway.billing import Payment
from gateway.http.access import Caller, acting
from gateway.http.idempotency import Done, Once
from gateway.http.serving import WRITES, AsRole, Serving, ends_in
from schemas.arrears import Currency, Minor
from schemas.base import CaseId, Day, Reference, Value

router = APIRouter(tags=["payments"])


class NewPayment(Value):
    """Money that came in for an account."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "account": "A-20114",
                    "payment": "PAY-771",
                    "amount": 12_000,
                    "currency": "CNY",
                    "paid_on": "2026-05-02",
                }
            ]
        }
    )

    account: Reference
    payment: Reference = Field(description="Its number: under it, it counts once.")
    amount: Minor = Field(description="In the currency's smallest unit.")
    currency: Currency
    paid_on: Day = Field(description="The day it was paid, by the organisation's calendar.")


class PostedPayment(Value):
    """What came of a payment."""

    account: Reference
    payment: Reference
    case_id: CaseId | None
    """The case that knows it; null where the account has no open one, and nobody chases it."""
    known: bool
    """Whether it was known already, or counted when the case was opened."""
    settled: bool
    """Whether the debt ended by it."""
    events: tuple[str, ...]


@router.post(
    "/payments",
    name="post_payment",
    summary="Post a payment",
    response_model=PostedPayment,
    response_description="The account's case knows of it, if there is one.",
    responses=ends_in(of=WRITES),
)
async def post(
    *,
    body: NewPayment,
    caller: Caller,
    once: Once,
    session: Serving,
    as_role: AsRole = None,
) -> Response:
    """Tell the account's case of a payment, whoever else tells it too: it counts once."""
    actor = acting(caller, "arrears", "RecordPayment", as_role=as_role)

    async def work() -> Done:
        posted = await post_payment(
            session,
            body.account,
            Payment(body.payment, body.amount, body.paid_on),
            body.currency,
            once.command_id,
            actor.model_dump(mode="json"),
        )
        return Done(
            PostedPayment(
                account=body.account,
                payment=body.payment,
                case_id=posted.case_id,
                known=posted.known,
                settled=posted.settled,
                events=posted.events,
            )
        )

    return await once(work)
