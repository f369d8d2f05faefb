"""`/v1/webhooks`: who is told of what; deliveries and dead letters, and trying them again."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import NAMESPACE_URL, uuid5

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from activities.subscriptions import NoSuchSubscription, Subscriptions
from gateway import webhooks
from gateway.commands import Invalid
from gateway.http.access import Caller, may_do, may_see
from gateway.http.idempotency import Done, Once
from gateway.http.problems import Failed
from gateway.http.serving import READS, WRITES, After, Limit, OfCase, Serving, ends_in, shown
from gateway.paging import paged
from schemas.base import CaseId, Value
from schemas.webhooks import (
    Carried,
    DeliveryRow,
    DeliveryState,
    NewSubscription,
    Redriven,
    SigningSecret,
    Subscription,
    SubscriptionChange,
    SubscriptionId,
)

router = APIRouter(tags=["webhooks"])

WebhookPath = Annotated[
    SubscriptionId, Path(description="A webhook, sub-…; to-customers and to-staff are messages'.")
]


class SubscriptionList(Value):
    """Everybody who is told of what happens, and how that fares."""

    webhooks: tuple[Subscription, ...]


class Removed(Value):
    """A webhook that is no more."""

    id: SubscriptionId


class TestResult(Value):
    """What a test event came to. Nothing of the receiver's answer but its status is kept."""

    delivered: bool
    status: str


class DeliveryPage(Value):
    """Deliveries in log order."""

    deliveries: tuple[DeliveryRow, ...]
    next: str | None
    """To go on with: `after` of the next page; null at the end."""


class Redrive(Value):
    """Which dead letters to try again; all of them where nothing is named."""

    webhook: SubscriptionId | None = None
    case: CaseId | None = None
    position: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    """In the log."""
    ordinal: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    """Of a message among its event's."""


class Redriving(Value):
    """How many are tried again, by webhook."""

    redriven: tuple[Redriven, ...]


@asynccontextmanager
async def _known() -> AsyncGenerator[None]:
    try:
        yield
    except NoSuchSubscription:
        raise Failed("no-such-entry") from None


@router.get(
    "/webhooks",
    name="list_webhooks",
    summary="List webhooks",
    response_model=SubscriptionList,
    responses=ends_in(),
)
async def list_webhooks(*, caller: Caller, session: Serving) -> Response:
    """Webhooks and the outbox's own roads, each with what waits and what is dead."""
    may_see(caller, "webhooks")
    found = await Subscriptions(session.pool).every(session.organisation)
    return shown(SubscriptionList(webhooks=tuple(found)))


@router.post(
    "/webhooks",
    name="add_webhook",
    summary="Add a webhook",
    status_code=201,
    response_model=Subscription,
    responses=ends_in(of=WRITES),
)
async def add_webhook(
    *, body: NewSubscription, caller: Caller, once: Once, session: Serving
) -> Response:
    """Events are posted as CloudEvents, signed as Standard Webhooks has it, each case in order.

    Answer 2xx within 15 seconds. Anything else is tried again for days; the `webhook-id` header
    stays the same, so that you can tell what you have had. 410 ends the webhook. Read its secret
    at `/webhooks/{webhook}/secret`.
    """
    may_do(caller, "manage_webhooks")
    id = f"sub-{uuid5(NAMESPACE_URL, f'standpipe/webhook/{once.command_id}').hex[:12]}"

    async def work() -> Done:
        made = await webhooks.subscribe(session, body, caller.subject, id=id)
        return Done(made, 201, {"Location": f"/v1/webhooks/{id}"})

    return await once(work)


@router.get(
    "/webhooks/{webhook}",
    name="show_webhook",
    summary="Show a webhook",
    response_model=Subscription,
    responses=ends_in("no-such-entry", of=READS),
)
async def show_webhook(*, webhook: WebhookPath, caller: Caller, session: Serving) -> Response:
    """How far it has got, and whether its receiver fails."""
    may_see(caller, "webhooks")
    async with _known():
        return shown(await Subscriptions(session.pool).find(session.organisation, webhook))


@router.get(
    "/webhooks/{webhook}/secret",
    name="show_webhook_secret",
    summary="Show what signs a webhook's deliveries",
    response_model=SigningSecret,
    responses=ends_in("no-such-entry", of=READS),
)
async def show_secret(*, webhook: WebhookPath, caller: Caller, session: Serving) -> Response:
    """For its receiver alone: whoever knows it can forge events to it."""
    may_do(caller, "manage_webhooks")
    async with _known():
        answer = shown(await webhooks.secret_of(session, webhook))
    answer.headers["Cache-Control"] = "no-store"
    return answer


@router.patch(
    "/webhooks/{webhook}",
    name="change_webhook",
    summary="Change, pause or resume a webhook",
    response_model=Subscription,
    responses=ends_in("no-such-entry", "malformed", of=READS),
)
async def change_webhook(
    *, webhook: WebhookPath, body: SubscriptionChange, caller: Caller, session: Serving
) -> Response:
    """What is left out stays. Resumed, it goes on where it stopped."""
    may_do(caller, "manage_webhooks")
    async with _known():
        return shown(await webhooks.change(session, webhook, body))


@router.delete(
    "/webhooks/{webhook}",
    name="remove_webhook",
    summary="Remove a webhook",
    response_model=Removed,
    responses=ends_in("no-such-entry", of=READS),
)
async def remove_webhook(*, webhook: WebhookPath, caller: Caller, session: Serving) -> Response:
    """What waited for it, or was dead, is forgotten."""
    may_do(caller, "manage_webhooks")
    async with _known():
        await webhooks.unsubscribe(session, webhook)
    return shown(Removed(id=webhook))


@router.post(
    "/webhooks/{webhook}/test",
    name="test_webhook",
    summary="Send a test event",
    response_model=TestResult,
    responses=ends_in("no-such-entry", of=WRITES),
)
async def test_webhook(
    *, webhook: WebhookPath, caller: Caller, once: Once, session: Serving
) -> Response:
    """Post an event of type standpipe.webhook.test, once and now, and tell what came of it."""
    may_do(caller, "manage_webhooks")

    async def work() -> Done:
        async with _known():
            carried: Carried = await webhooks.try_out(session, webhook)
        return Done(TestResult(delivered=carried.outcome == "delivered", status=carried.status))

    return await once(work)


@router.get(
    "/deliveries",
    name="list_deliveries",
    summary="List deliveries and dead letters",
    response_model=DeliveryPage,
    responses=ends_in(),
)
async def list_deliveries(
    *,
    caller: Caller,
    session: Serving,
    webhook: Annotated[SubscriptionId | None, Query(description="Of this webhook alone.")] = None,
    state: Annotated[DeliveryState | None, Query(description="`dead` for dead letters.")] = None,
    case: OfCase = None,
    after: After = None,
    limit: Limit = 50,
) -> Response:
    """What waits, what is dead, and for 30 days what was delivered; messages' for good."""
    may_see(caller, "webhooks")
    rows = await Subscriptions(session.pool).deliveries(
        session.organisation,
        subscription=webhook,
        state=state,
        case_id=case,
        after=_place(after),
        limit=limit + 1,
    )
    page, following = paged(
        rows, limit, lambda row: f"{row.position}/{row.ordinal}/{row.subscription}"
    )
    return shown(DeliveryPage(deliveries=page, next=following))


@router.post(
    "/deliveries/redrive",
    name="redrive_deliveries",
    summary="Try dead letters again",
    response_model=Redriving,
    responses=ends_in(of=WRITES),
)
async def redrive(*, body: Redrive, caller: Caller, once: Once, session: Serving) -> Response:
    """All of them, or those that are named: at once, and with patience anew."""
    may_do(caller, "redrive_messages")
    if body.ordinal is not None and body.position is None:
        raise Invalid(["ordinal: needs position beside it"])

    async def work() -> Done:
        done = await webhooks.redrive(
            session,
            subscription=body.webhook,
            case_id=body.case,
            place=None if body.position is None else (body.position, body.ordinal),
        )
        return Done(Redriving(redriven=tuple(done)))

    return await once(work)


def _place(after: str | None) -> tuple[int, int, str]:
    if after is None:
        return 0, -1, ""
    try:
        position, ordinal, subscription = after.split("/")
        place = int(position), int(ordinal), subscription
    except ValueError:
        raise Invalid(["after: give the `next` of an earlier answer"]) from None
    if not (0 <= place[0] < 2**63 and 0 <= place[1] < 2**31):
        raise Invalid(["after: give the `next` of an earlier answer"])
    return place
