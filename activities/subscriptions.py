"""Who is told of what: subscriptions, their secrets, and what became of their deliveries.

A secret is sealed here, in the process, under the vault's key-encryption key; PostgreSQL never sees
it. The migration's functions are the only way in.
"""

import base64
from collections.abc import Sequence
from datetime import timedelta
from secrets import token_bytes, token_hex

import asyncpg

from activities.database import reached
from activities.vault_keys import Wrapping
from schemas.webhooks import DeliveryRow, DeliveryState, Redriven, Subscription

SECRET_BYTES = 32

_COLUMNS = """
    s.id, s.feed, s.url, s.types, s.active, s.ended, s.created_at, s.created_by, s.position,
    s.failing_since, s.resume_at
"""
_COUNT = """
    (
        SELECT count(*) FROM deliveries d
        WHERE d.organisation = s.organisation AND d.subscription = s.id AND d.state = '{state}'
    ) AS {state}
"""
_LIST = f"""
    SELECT {_COLUMNS}, {_COUNT.format(state="waiting")}, {_COUNT.format(state="dead")}
    FROM subscribers s
    WHERE s.organisation = $1 AND ($2::text IS NULL OR s.id = $2)
    ORDER BY s.feed, s.created_at, s.id
"""
_DELIVERIES = """
    SELECT subscription, position, ordinal, stream AS case_id, state, attempts, due_since, ended_at,
        status, channel, template, language, encode(text_hash, 'hex') AS text_hash
    FROM deliveries
    WHERE organisation = $1 AND ($2::text IS NULL OR subscription = $2)
        AND ($3::text IS NULL OR state = $3) AND ($4::text IS NULL OR stream = $4)
        AND (position, ordinal, subscription) > ($5, $6, $7)
    ORDER BY position, ordinal, subscription
    LIMIT $8
"""
_ADD = "SELECT add_subscription($1, $2, $3, $4, $5, $6, $7, $8, $9)"
_CHANGE = "SELECT change_subscription($1, $2, $3, $4, $5)"
_REMOVE = "SELECT remove_subscription($1, $2)"
_SECRET = "SELECT * FROM subscription_secret($1, $2)"
_REDRIVE = "SELECT * FROM redrive_deliveries($1, $2, $3, $4, $5)"
_PRUNE = "SELECT prune_deliveries($1, $2, clock_timestamp() - $3::interval)"

KEPT = timedelta(days=30)
"""So long it is known which events were delivered; what was said to people stays known."""


class NoSuchSubscription(Exception):
    """Nobody is subscribed by that id."""

    def __init__(self) -> None:
        super().__init__("There is no such subscription: see `standpipe webhook list`.")


class Subscriptions:
    """The subscriptions of every organisation in one database; DatabaseUnavailable as usual."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def add(
        self,
        organisation: str,
        url: str,
        types: Sequence[str] | None,
        *,
        by: str,
        key: bytes,
        after: int | None = None,
        id: str | None = None,
    ) -> str:
        """Subscribe a URL to events, None for all of them, with a new secret; returns its id.

        The same `id` again changes nothing.
        """
        secret, id = token_bytes(SECRET_BYTES), id or f"sub-{token_hex(6)}"
        wrapping = Wrapping(key)
        wrapped = wrapping.wrap(secret, organisation, id, None)
        async with reached():
            await self._pool.execute(
                _ADD, organisation, id, "events", url, types, wrapping.id, wrapped, by, after
            )
        return id

    async def ensure_messages(self, organisation: str, id: str, to: Sequence[str]) -> bool:
        """Deliver the outbox's messages to these kinds of recipients, from now on; False if so."""
        async with reached():
            return await self._pool.fetchval(
                _ADD, organisation, id, "messages", None, to, None, None, "standpipe", None
            )

    async def change(
        self,
        organisation: str,
        id: str,
        *,
        url: str | None = None,
        types: Sequence[str] | None = None,
        active: bool | None = None,
    ) -> None:
        """Change what is given; `types` of ["*"] means all. NoSuchSubscription."""
        async with reached():
            if not await self._pool.fetchval(_CHANGE, organisation, id, url, types, active):
                raise NoSuchSubscription

    async def remove(self, organisation: str, id: str) -> None:
        """Unsubscribe, and forget what waited or was dead. NoSuchSubscription."""
        async with reached():
            if not await self._pool.fetchval(_REMOVE, organisation, id):
                raise NoSuchSubscription

    async def every(self, organisation: str) -> list[Subscription]:
        """All of them, the outbox's own last."""
        async with reached():
            rows = await self._pool.fetch(_LIST, organisation, None)
        return [Subscription.model_validate(dict(row)) for row in rows]

    async def find(self, organisation: str, id: str) -> Subscription:
        """One of them. NoSuchSubscription."""
        async with reached():
            row = await self._pool.fetchrow(_LIST, organisation, id)
        if row is None:
            raise NoSuchSubscription
        return Subscription.model_validate(dict(row))

    async def secret(self, organisation: str, id: str, key: bytes) -> tuple[str, bytes]:
        """A webhook's URL and what signs its deliveries. NoSuchSubscription, WrongKey, Tampered."""
        async with reached():
            row = await self._pool.fetchrow(_SECRET, organisation, id)
        if row is None:
            raise NoSuchSubscription
        return row["url"], Wrapping(key).unwrap(row, organisation, id)

    async def deliveries(
        self,
        organisation: str,
        *,
        subscription: str | None = None,
        state: DeliveryState | None = None,
        case_id: str | None = None,
        after: tuple[int, int, str] = (0, -1, ""),
        limit: int = 100,
    ) -> list[DeliveryRow]:
        """Deliveries in log order, after a position, ordinal and subscription."""
        async with reached():
            rows = await self._pool.fetch(
                _DELIVERIES, organisation, subscription, state, case_id, *after, limit
            )
        return [DeliveryRow.model_validate(dict(row)) for row in rows]

    async def redrive(
        self,
        organisation: str,
        *,
        subscription: str | None = None,
        case_id: str | None = None,
        place: tuple[int, int | None] | None = None,
    ) -> list[Redriven]:
        """Try what is dead again, with all its patience anew: all of it, or what is named.

        `place` is a position in the log, and a message's ordinal. A message from before anybody
        delivered messages is taken up by its place alone.
        """
        position, ordinal = place or (None, None)
        async with reached():
            rows = await self._pool.fetch(
                _REDRIVE, organisation, subscription, case_id, position, ordinal
            )
        return [
            Redriven(subscription=row["subscription"], deliveries=row["redriven"]) for row in rows
        ]

    async def prune(self, organisation: str, id: str) -> int:
        """Forget events that were delivered long ago; returns how many."""
        async with reached():
            return await self._pool.fetchval(_PRUNE, organisation, id, KEPT)


def readable(secret: bytes) -> str:
    """A secret as Standard Webhooks writes it."""
    return f"whsec_{base64.b64encode(secret).decode()}"
