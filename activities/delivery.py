"""Delivers what a subscription has coming, for a stretch: the activity of a delivery workflow.

One activity serves one subscription for minutes on end, because that costs Temporal next to
nothing: what is due, and when it is tried again, is in PostgreSQL, not in timers. Several lanes are
served at once, each strictly in order. A delivery that was answered is recorded at once; only a
crash between the two repeats it.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Protocol
from uuid import UUID, uuid4

import asyncpg
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.database import DatabaseUnavailable, reached
from activities.subscriptions import Subscriptions
from schemas.base import Value
from schemas.webhooks import Carried, DeliveryStretch, Due, Rest, Taken

_TAKE = "SELECT take_deliveries($1, $2, $3, $4, $5, $6)"
_RECORD = "SELECT record_delivery($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
_RELEASE = "SELECT release_deliveries($1, $2, $3)"

LANES = 8
"""Served at the same time; a slow receiver holds up no more of its own."""


GRACE = 2.0
"""Seconds. So long a worker that stops waits for answers, which it would else ask for again."""
TURNS = 4
"""Of all subscriptions at PostgreSQL at the same time: cases come first."""


class Patience(Value):
    """How long deliveries are tried, and how often."""

    days: float = 3.0
    """Then they are dead letters."""
    first: timedelta = timedelta(seconds=5)
    """Before the second attempt; then twice as long each time, but never longer than `longest`."""
    longest: timedelta = timedelta(hours=1)
    stretch: float = 600.0
    """Seconds that an activity serves before the workflow hears of it."""
    poll: float = 0.5
    """Seconds between looks at where the log ends."""
    nap: float = 30.0
    """Seconds. A receiver that takes nothing for longer is waited for by the workflow's timer."""


class Carrier(Protocol):
    """Carries deliveries to one receiver."""

    async def carry(self, due: Due) -> Carried:
        """Try once. Whatever the receiver does is told, not raised."""
        ...


class Roads(Protocol):
    """Knows how each subscription's deliveries travel."""

    def road(
        self, organisation: str, subscription: str, url: str | None
    ) -> AbstractAsyncContextManager[Carrier]:
        """The carrier to a subscription's receiver, for as long as it is used."""
        ...


class Deliveries:
    """One organisation's deliveries."""

    def __init__(
        self, pool: asyncpg.Pool, organisation: str, roads: Roads, patience: Patience | None = None
    ) -> None:
        self._pool = pool
        self._organisation = organisation
        self._roads = roads
        self._patience = patience or Patience()
        self._turns = asyncio.Semaphore(TURNS)

    @activity.defn(name="deliver")
    async def deliver(self, of: DeliveryStretch) -> Rest:
        """Deliver for a stretch, or until the subscription ends or its receiver takes nothing."""
        if of.organisation != self._organisation:
            raise ApplicationError("This worker serves another organisation.")
        await Subscriptions(self._pool).prune(of.organisation, of.subscription)
        ahead = max(timedelta(0), of.now - datetime.now(UTC))
        stretch = _Stretch(self._pool, of, ahead, self._roads, self._patience, self._turns)
        try:
            return await stretch.serve()
        finally:
            await _undisturbed(stretch.end())


class _Stretch:
    """A stretch of serving one subscription."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        of: DeliveryStretch,
        ahead: timedelta,
        roads: Roads,
        patience: Patience,
        turns: asyncio.Semaphore,
    ) -> None:
        self._pool = pool
        self._turns = turns
        self._of = of
        self._ahead = ahead
        self._roads = roads
        self._patience = patience
        self._taker: UUID = uuid4()
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._over = False
        self._url: str | None = None
        self._road: AbstractAsyncContextManager[Carrier] | None = None
        self._carrier: Carrier | None = None

    async def serve(self) -> Rest:
        """Until the stretch is over and nothing is under way."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._patience.stretch
        while True:
            activity.heartbeat()
            taken, over = None, loop.time() >= ends or activity.is_worker_shutdown()
            if over and not self._busy:
                return Rest(active=True)
            if not over and len(self._busy) < LANES:
                taken = await self._take()
                await self._begin(taken)
            if taken and not self._busy:
                if not taken.active:
                    return Rest(active=False)
                if taken.paused_until and taken.paused_until > self._now() + timedelta(
                    seconds=self._patience.nap
                ):
                    return Rest(active=True, until=taken.paused_until)
            await self._progress()

    async def end(self) -> None:
        """Let what is under way come to its end, or break it off, and another worker take over."""
        self._over = True
        if self._busy:
            await asyncio.wait(self._busy.values(), timeout=GRACE)
        for task in self._busy.values():
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)
        if self._road is not None:
            await self._road.__aexit__(None, None, None)
        async with reached():
            await self._pool.execute(
                _RELEASE, self._of.organisation, self._of.subscription, self._taker
            )

    def _now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    async def _take(self) -> Taken:
        async with self._turns, reached():
            taken = await self._pool.fetchval(
                _TAKE,
                self._of.organisation,
                self._of.subscription,
                self._taker,
                self._now(),
                LANES - len(self._busy),
                list(self._busy),
            )
        return Taken.model_validate_json(taken)

    async def _begin(self, taken: Taken) -> None:
        if not taken.due:
            return
        carrier = self._carrier
        if carrier is None or taken.url != self._url:
            if self._busy:
                return  # what goes to the former receiver ends first
            carrier = await self._reopened(taken.url)
        for lane, due in groupby(taken.due, key=lambda due: due.lane):
            self._busy[lane] = asyncio.create_task(self._lane(carrier, tuple(due)))

    async def _reopened(self, url: str | None) -> Carrier:
        """The carrier to where the subscription points now."""
        if self._road is not None:
            road, self._road = self._road, None
            await road.__aexit__(None, None, None)
        road = self._roads.road(self._of.organisation, self._of.subscription, url)
        self._carrier, self._url = await road.__aenter__(), url
        self._road = road
        return self._carrier

    async def _progress(self) -> None:
        """Wait until a lane is done, or it is time to look again."""
        if not self._busy:
            await asyncio.sleep(self._patience.poll)
            return
        await asyncio.wait(
            self._busy.values(),
            timeout=self._patience.poll,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for lane in [lane for lane, task in self._busy.items() if task.done()]:
            self._busy.pop(lane).result()

    async def _lane(self, carrier: Carrier, due: Sequence[Due]) -> None:
        """Deliver in order, up to the first that can't be delivered now."""
        for each in due:
            carried = await self._carried(carrier, each)
            became = await self._record(each, carried)
            if self._over or became not in ("delivered", "dead"):
                return

    async def _carried(self, carrier: Carrier, due: Due) -> Carried:
        """A fault of our own holds up its own lane alone, and shows."""
        try:
            return await carrier.carry(due)
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - it must not stop the others
            what = type(error).__name__
            where = f"{self._of.subscription}, position {due.position}"
            # Not what it says: that may be personal.
            activity.logger.error("A delivery could not be tried: %s: %s", where, what)
            return Carried(outcome="failed", status=f"a fault in Standpipe ({what})")

    async def _record(self, due: Due, carried: Carried) -> str | None:
        async with self._turns, reached():
            return await self._pool.fetchval(
                _RECORD,
                self._of.organisation,
                self._of.subscription,
                due.position,
                due.ordinal,
                carried.outcome,
                carried.status,
                self._now(),
                timedelta(days=self._patience.days),
                self._patience.first,
                self._patience.longest,
                carried.wait,
                None if carried.said is None else carried.said.model_dump_json(),
            )


async def _undisturbed(work: Coroutine[Any, Any, None]) -> None:
    """Work that is done to its end however often its caller is cancelled, who hears of it then."""
    task, cancelled = asyncio.create_task(work), None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled
