"""Webhooks as people handle them: subscribe, change, try out, try dead letters again."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from urllib.parse import urlsplit
from uuid import uuid4

from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.common import WorkflowIDConflictPolicy as OnConflict
from temporalio.service import RPCError, RPCStatusCode

from activities.cases import ORGANISATION
from activities.posting import ForbiddenTarget, Poster, check_target
from activities.subscriptions import Subscriptions, readable
from gateway.carriers import OurRoads
from gateway.cloudevents import MEDIA_TYPE, TEST_TYPE, serialized, source, stamp
from gateway.commands import Invalid
from gateway.session import Session
from lifecycles.lifecycle import LIFECYCLES
from schemas.envelope import Json
from schemas.webhooks import (
    Carried,
    Delivering,
    NewSubscription,
    Redriven,
    SigningSecret,
    Subscription,
    SubscriptionChange,
)

WORKFLOW = "DeliveryWorkflow"
MOST = 50
"""Subscriptions of an organisation: each takes one of a worker's hundred activities."""


def workflow_id(organisation: str, subscription: str) -> str:
    """The workflow that delivers what a subscription has coming."""
    return f"delivery-{organisation}-{subscription}"


@cache
def event_types() -> tuple[str, ...]:
    """Every type of event, as subscriptions name them: repair.CrewArrived."""
    found: list[str] = []
    for kind, lifecycle in LIFECYCLES.items():
        mapping = lifecycle.events.json_schema()["discriminator"]["mapping"]
        found += [f"{kind}.{name}" for name in mapping]
    return tuple(sorted(found))


def chosen(patterns: Sequence[str]) -> list[str] | None:
    """The types that patterns name, None for all, future ones included. Raises `Invalid`.

    A pattern is a type (repair.CrewArrived), a kind's (repair.*) or all (*).
    """
    found: set[str] = set()
    wrong: list[str] = []
    for pattern in (p.removeprefix("standpipe.") for p in patterns):
        if pattern == "*":
            return None
        known = event_types()
        named = [t for t in known if t == pattern or pattern == f"{t.partition('.')[0]}.*"]
        if not named:
            kinds = ", ".join(f"{kind}.*" for kind in LIFECYCLES)
            wrong.append(f"types: there is no such type; write KIND.Type, one of {kinds}, or *")
        found.update(named)
    if wrong:
        raise Invalid(wrong)
    return sorted(found)


def patterns(given: Sequence[str]) -> list[str] | None:
    """The same as a subscription keeps them: with a kind's patterns, whose types may grow.

    Raises `Invalid`.
    """
    if chosen(given) is None:
        return None
    return sorted({pattern.removeprefix("standpipe.") for pattern in given})


async def subscribe(
    session: Session, new: NewSubscription, by: str, *, id: str | None = None
) -> Subscription:
    """Subscribe a URL to events; deliveries begin at once. Raises `Invalid` with all reasons.

    The same `id` again changes nothing.
    """
    types, wrong = _patterns(new.types)
    wrong += await _wrong_target(new.url, private=session.settings.private_targets)
    known = Subscriptions(session.pool)
    if len(await known.every(session.organisation)) >= MOST:
        wrong.append(f"there are {MOST} webhooks already: remove one first")
    if wrong:
        raise Invalid(wrong)
    key = session.settings.key_encryption_key()
    id = await known.add(
        session.organisation, new.url, types, by=by, key=key, after=new.after, id=id
    )
    await _deliver(await session.client(), session.organisation, id, session.settings.task_queue)
    return await known.find(session.organisation, id)


async def secret_of(session: Session, id: str) -> SigningSecret:
    """What signs a webhook's deliveries. NoSuchSubscription, VaultError."""
    key = session.settings.key_encryption_key()
    _, secret = await Subscriptions(session.pool).secret(session.organisation, id, key)
    return SigningSecret(id=id, secret=readable(secret))


async def change(session: Session, id: str, wanted: SubscriptionChange) -> Subscription:
    """Change a subscription. Raises `Invalid`, NoSuchSubscription."""
    known = Subscriptions(session.pool)
    before = await known.find(session.organisation, id)
    types, wrong = (None, []) if wanted.types is None else _patterns(wanted.types)
    if wanted.url is not None:
        wrong += await _wrong_target(wanted.url, private=session.settings.private_targets)
    if before.feed == "messages" and (wanted.url is not None or wanted.types is not None):
        wrong.append("where messages go stands in the workers' settings: pause or resume them only")
    if wrong:
        raise Invalid(wrong)
    every = ["*"] if wanted.types is not None and types is None else types
    await known.change(session.organisation, id, url=wanted.url, types=every, active=wanted.active)
    after = await known.find(session.organisation, id)
    if after.active:
        await _wake(session, id)
    return after


async def unsubscribe(session: Session, id: str) -> None:
    """End a webhook, and forget what waits for it. Raises `Invalid`, NoSuchSubscription."""
    known = Subscriptions(session.pool)
    if (await known.find(session.organisation, id)).feed == "messages":
        raise Invalid(
            [
                "messages are not removed: pause them, or take the provider out of"
                " the workers' settings"
            ]
        )
    await known.remove(session.organisation, id)


async def try_out(session: Session, id: str) -> Carried:
    """Send a test event, once and now, and tell what came of it. NoSuchSubscription, VaultError."""
    key = session.settings.key_encryption_key()
    url, secret = await Subscriptions(session.pool).secret(session.organisation, id, key)
    event: Json = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": source(session.organisation),
        "type": TEST_TYPE,
        "time": stamp(datetime.now(UTC)),
        "datacontenttype": "application/json",
        "data": {"subscription": id},
    }
    async with Poster(secret, private=session.settings.private_targets) as poster:
        return await poster.post(url, event["id"], serialized(event), MEDIA_TYPE)


async def redrive(
    session: Session,
    *,
    subscription: str | None = None,
    case_id: str | None = None,
    place: tuple[int, int | None] | None = None,
) -> list[Redriven]:
    """Try dead letters again, all or those that are named: at once, and with patience anew."""
    known = Subscriptions(session.pool)
    again = await known.redrive(
        session.organisation, subscription=subscription, case_id=case_id, place=place
    )
    for each in again:
        if (await known.find(session.organisation, each.subscription)).active:
            await _wake(session, each.subscription)
    return again


async def ensure_deliveries(session: Session, client: Client) -> list[str]:
    """Begin what the settings name, and see that everything active is delivered; returns its ids.

    A road for messages begins where the log ends when it is first configured: what was said before
    stays in the outbox, where somebody may take it up. SettingsError without the key.
    """
    known = Subscriptions(session.pool)
    roads = OurRoads(session.pool, session.settings).kinds()
    for id, kinds in roads.items():
        await known.ensure_messages(session.organisation, id, kinds)
    ids = [
        each.id
        for each in await known.every(session.organisation)
        if each.active and (each.feed == "events" or each.id in roads)
    ]
    if ids:
        session.settings.key_encryption_key()  # without it nothing could be signed: say so now
    for id in ids:
        await _deliver(client, session.organisation, id, session.settings.task_queue)
    return ids


async def _wake(session: Session, id: str) -> None:
    """See that a subscription is delivered now, whatever its workflow waits for."""
    client = await session.client()
    await _deliver(client, session.organisation, id, session.settings.task_queue)
    try:
        await client.get_workflow_handle(workflow_id(session.organisation, id)).signal("wake")
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        # It ended between the two, as one does that was paused.
        await _deliver(client, session.organisation, id, session.settings.task_queue)


async def _deliver(client: Client, organisation: str, id: str, task_queue: str) -> None:
    await client.start_workflow(
        WORKFLOW,
        Delivering(organisation=organisation, subscription=id).model_dump(mode="json"),
        id=workflow_id(organisation, id),
        task_queue=task_queue,
        id_conflict_policy=OnConflict.USE_EXISTING,
        search_attributes=TypedSearchAttributes([SearchAttributePair(ORGANISATION, organisation)]),
    )


def _patterns(given: Sequence[str]) -> tuple[list[str] | None, list[str]]:
    try:
        return patterns(given), []
    except Invalid as wrong:
        return None, list(wrong.reasons)


async def _wrong_target(url: str, *, private: bool) -> list[str]:
    """What is wrong with a URL; its host is looked up, as it will be for every delivery."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return ["url: is not readable; check its host and port"]
    if not host or parts.username is not None or parts.fragment:
        return ["url: must have a host, and neither a user nor a fragment"]
    if private:
        return []
    if parts.scheme != "https":
        return ["url: must begin with https://"]
    try:
        await check_target(host, port)
    except ForbiddenTarget as refusal:
        return [f"url: {refusal}"]
    except (OSError, UnicodeError):
        return ["url: its host is not found"]
    return []
