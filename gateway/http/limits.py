"""How often somebody may ask: per address, per subject; decisions on approvals in all processes.

The library's own storage in memory walks through every key at every hit (1.5 ms at 10,000 of them),
and it has none in PostgreSQL: so there are two small ones here.
"""

import math
import time
from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv6Address, ip_address

import asyncpg
from limits import RateLimitItem, parse
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from activities.database import reached
from gateway.http.problems import Failed
from settings import Settings

FAILURES = "60/minute"
"""Tokens that prove nothing, from one address; and forbidden attempts of one subject."""
PRUNED_EVERY = 1000

_COUNT = "SELECT count, ends_at FROM count_once($1, $2, $3)"
_COUNTED = "SELECT count, ends_at FROM counted($1)"


class InMemory(Storage):
    """Counts of this process. What is over is forgotten by the way."""

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._clock = clock
        self._counts: dict[str, tuple[int, float]] = {}
        self._since_pruned = 0

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        now = self._clock()
        self._prune(now)
        count, ends_at = self._counts.get(key, (0, 0.0))
        if ends_at <= now:
            count, ends_at = 0, now + expiry
        self._counts[key] = count + amount, ends_at
        return count + amount

    async def get(self, key: str) -> int:
        count, ends_at = self._counts.get(key, (0, 0.0))
        return count if ends_at > self._clock() else 0

    async def get_expiry(self, key: str) -> float:
        now = self._clock()
        return max(now, self._counts.get(key, (0, now))[1])

    async def check(self) -> bool:
        return True

    async def reset(self) -> int | None:
        self._counts.clear()
        return None

    async def clear(self, key: str) -> None:
        self._counts.pop(key, None)

    def _prune(self, now: float) -> None:
        self._since_pruned += 1
        if self._since_pruned > max(PRUNED_EVERY, len(self._counts)):
            self._counts = {k: kept for k, kept in self._counts.items() if kept[1] > now}
            self._since_pruned = 0


class InPostgres(Storage):
    """Counts of all gateways together, which outlive them. DatabaseUnavailable if not reached."""

    STORAGE_SCHEME = None

    def __init__(self, pool: asyncpg.Pool) -> None:
        super().__init__()
        self._pool = pool

    @property
    def base_exceptions(self) -> type[Exception]:
        return asyncpg.PostgresError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        async with reached():
            row = await self._pool.fetchrow(_COUNT, key, timedelta(seconds=expiry), amount)
        return row["count"] if row else amount

    async def get(self, key: str) -> int:
        async with reached():
            row = await self._pool.fetchrow(_COUNTED, key)
        return row["count"] if row else 0

    async def get_expiry(self, key: str) -> float:
        async with reached():
            row = await self._pool.fetchrow(_COUNTED, key)
        return row["ends_at"].timestamp() if row else time.time()

    async def check(self) -> bool:
        async with reached():
            return await self._pool.fetchval("SELECT true")

    async def reset(self) -> int | None:
        raise NotImplementedError("what was counted ends by itself")

    async def clear(self, key: str) -> None:
        raise NotImplementedError("what was counted ends by itself")


class Limit:
    """One limit by its name, as `RateLimit` headers tell it."""

    def __init__(self, name: str, rate: str, storage: Storage) -> None:
        self._name = name
        self._item: RateLimitItem = parse(rate)
        self._limiter = FixedWindowRateLimiter(storage)
        self.policy = f'"{name}";q={self._item.amount};w={self._item.get_expiry()}'

    async def take(self, *who: str) -> str:
        """One more by somebody; what they have left, as `RateLimit` tells it. Raises 429."""
        allowed = await self._limiter.hit(self._item, self._name, *who)
        stats = await self._limiter.get_window_stats(self._item, self._name, *who)
        seconds = max(1, math.ceil(stats.reset_time - time.time()))
        left = f'"{self._name}";r={stats.remaining};t={seconds}'
        if not allowed:
            headers = {"Retry-After": str(seconds)}
            raise Failed("too-many-requests", headers=headers | self.headers(left))
        return left

    def headers(self, left: str) -> dict[str, str]:
        """As the IETF draft httpapi-ratelimit-headers has them."""
        return {"RateLimit-Policy": self.policy, "RateLimit": left}


class Limits:
    """What is limited for each caller; decisions on approvals in all gateways together."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool | None) -> None:
        here = InMemory()
        self.subject = Limit("subject", settings.rate_per_subject, here)
        self.failures = Limit("failures", FAILURES, here)
        shared = here if pool is None else InPostgres(pool)
        self.decisions = Limit("decisions", settings.rate_of_decisions, shared)


def address_of(scope: Scope) -> str:
    """Whence a request comes: an address, or the network of an IPv6 one, which has plenty."""
    client: tuple[str, int] | None = scope.get("client")
    if client is None:
        return "local"
    try:
        address = ip_address(client[0])
    except ValueError:
        return "local"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return address.exploded[:19]
    return str(getattr(address, "ipv4_mapped", None) or address)


class PerAddress:
    """Middleware: so many requests from one address, whoever they are of."""

    def __init__(self, app: ASGIApp, rate: str) -> None:
        self._app = app
        self._limit = Limit("address", rate, InMemory())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                await self._limit.take(address_of(scope))
            except Failed as error:
                await error.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)
