"""Followers of the log: one reader at its end for all of them, pages at their own pace behind it.

Positions have no gaps and are in commit order, so whoever goes on after a position misses nothing.
One query for the log's end per POLL_SECONDS, while anybody follows, finds what is new. That costs
less than to be notified: with NOTIFY, commits of all organisations would queue for one lock.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from activities.database import DatabaseUnavailable
from activities.log_reader import LogReader
from gateway.cloudevents import cloudevent, serialized
from gateway.http.problems import Failed
from schemas.envelope import EventEnvelope

POLL_SECONDS = 0.1
HEARTBEAT_SECONDS = 15.0
"""So long at most is nothing said; who hears nothing for longer has lost the connection."""
LONGEST_SECONDS = 3600.0
"""Then a follower has to come again, with a token that is good then."""
MOST_FOLLOWERS = 1000
MOST_OF_ONE = 200
"""Followers of one subject."""
PAGE = 200
SPAN = 20_000
"""So many positions at most are looked through at a time, for a filter that takes few."""
KEPT_EVENTS = 2000
KEPT_BYTES = 8_000_000
"""What is kept of the log's end, for all followers together."""
CHUNK_BYTES = 65_536
READ_SECONDS = 10.0
"""For a page; then the database counts as away."""
CATCHING_UP = 2
"""So many may read the log at once behind its end: the other connections are for requests."""
_NEW = 500
"""Events before the end that are kept at first: those who were just cut off need them."""
_LONGEST_PAUSE = 2.0

log = logging.getLogger("standpipe.http")


class Chosen(NamedTuple):
    """Which events somebody follows; None: all that there are."""

    kinds: frozenset[str] | None = None
    types: frozenset[str] | None = None
    case: str | None = None


class Told(NamedTuple):
    """An event of the log, ready to be sent."""

    case: str
    kind: str
    type: str
    frame: bytes

    def is_of(self, chosen: Chosen) -> bool:
        return (
            (chosen.kinds is None or self.kind in chosen.kinds)
            and (chosen.types is None or self.type in chosen.types)
            and (chosen.case is None or self.case == chosen.case)
        )


def frame(envelope: EventEnvelope, organisation: str) -> bytes:
    """An event as server-sent events have it: its id is its position, its data the CloudEvent."""
    event = cloudevent(envelope, organisation)
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (
        envelope.position,
        event["type"].encode(),
        serialized(event),
    )


class Feed:
    """The end of one organisation's log, and who follows it."""

    def __init__(self, log: LogReader, organisation: str) -> None:
        self._log = log
        self._organisation = organisation
        self._followers: Counter[str] = Counter()
        self._catching_up = asyncio.Semaphore(CATCHING_UP)
        self._watching: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._stopped = False
        self._restored = 0
        """So often did the log turn out shorter than it was."""
        self._forget()

    def stop(self) -> None:
        """Every follower ends, and nobody new begins."""
        self._stopped = True
        self._news.set()

    def admit(self, subject: str) -> None:
        """Whether one more may follow; else raises `Failed`."""
        if self._stopped:
            raise Failed("unavailable", headers={"Retry-After": "1"})
        if self._followers[subject] >= MOST_OF_ONE:
            reason = f"One subject may follow {MOST_OF_ONE} times at once."
            raise Failed("too-many-requests", [reason], headers={"Retry-After": "60"})
        if self._followers.total() >= MOST_FOLLOWERS:
            raise Failed("unavailable", headers={"Retry-After": "60"})

    async def follow(self, subject: str, after: int, chosen: Chosen) -> AsyncGenerator[bytes]:
        """What a follower is sent: every chosen event after a position, in order and once.

        It goes on at the pace at which it is asked for more, whatever becomes of the database, and
        ends with `stop`, after an hour, or when the log turns out shorter than it was.
        """
        loop = asyncio.get_running_loop()
        # Not all at once, where all began at once.
        ends = loop.time() + LONGEST_SECONDS * random.uniform(0.9, 1)
        async with self._following(subject):
            restored = self._restored
            yield b": standpipe\n\n"
            said = loop.time()
            while not self._stopped and self._restored == restored and loop.time() < ends:
                news = self._news
                said_until = said + HEARTBEAT_SECONDS
                frames, reached = await self._after(after, chosen)
                if not frames and reached == after:
                    await _within(said_until - loop.time(), news)
                if frames or loop.time() >= said_until:
                    yield frames or b":\n\n"
                    said = loop.time()
                after = reached

    async def _after(self, position: int, chosen: Chosen) -> tuple[bytes, int]:
        """Some events after a position, and how far that is; nothing where no more is known."""
        if self._head is None or position >= self._head:
            return b"", position
        if position < self._since:
            return await self._caught_up(position, self._head, chosen)
        frames: list[bytes] = []
        size = 0
        at = position - self._since
        for told in self._kept[at : at + PAGE]:
            position += 1
            if told.is_of(chosen):
                frames.append(told.frame)
                size += len(told.frame)
                if size >= CHUNK_BYTES:
                    break
        return b"".join(frames), position

    async def _caught_up(self, position: int, head: int, chosen: Chosen) -> tuple[bytes, int]:
        until = min(position + SPAN, head)
        try:
            async with self._catching_up, asyncio.timeout(READ_SECONDS):
                page = await self._log.tail(
                    self._organisation,
                    position,
                    PAGE,
                    until=until,
                    stream=chosen.case,
                    kinds=chosen.kinds,
                    types=chosen.types,
                )
        except (DatabaseUnavailable, TimeoutError):
            return b"", position  # whoever watches says when it is back
        frames = b"".join(frame(envelope, self._organisation) for envelope in page)
        return frames, page[-1].position if len(page) == PAGE else until

    @asynccontextmanager
    async def _following(self, subject: str) -> AsyncGenerator[None]:
        self._followers[subject] += 1
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            self._followers[subject] -= 1
            if not self._followers[subject]:
                del self._followers[subject]
            if not self._followers:
                self._rest()

    def _rest(self) -> None:
        """Nobody follows: nothing is watched, and nothing kept."""
        if self._watching is not None:
            self._watching.cancel()
        self._watching = None
        self._forget()

    async def _watch(self) -> None:
        """Keep the end of the log at hand, until cancelled."""
        pause = POLL_SECONDS
        while True:
            try:
                await self._look()
                if pause > POLL_SECONDS:
                    self._tell()
                pause = POLL_SECONDS
            except Exception as error:  # noqa: BLE001 - else all would wait for ever
                if pause == POLL_SECONDS:
                    log.warning("Followers of the log wait: %s", type(error).__name__)
                pause = min(2 * pause, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _look(self) -> None:
        head = await self._log.head(self._organisation)
        if self._head is not None and head < self._head:
            # It came back from an older backup: what a follower was told may never have been.
            self._restored += 1
            self._forget()
            self._tell()
        if self._head is None:
            self._head = self._since = max(0, head - _NEW)
        while self._head < head:
            async with asyncio.timeout(READ_SECONDS):
                page = await self._log.tail(self._organisation, self._head, PAGE, until=head)
            for envelope in page:
                self._keep(envelope)
            self._head = page[-1].position
            self._tell()

    def _keep(self, envelope: EventEnvelope) -> None:
        kind = envelope.stream.partition("-")[0]
        sent = frame(envelope, self._organisation)
        self._kept.append(Told(envelope.stream, kind, f"{kind}.{envelope.type}", sent))
        self._size += len(sent)
        if len(self._kept) > KEPT_EVENTS or self._size > KEPT_BYTES:
            # Half of it at once: a list moves all that stays.
            gone = self._kept[: (len(self._kept) + 1) // 2]
            del self._kept[: len(gone)]
            self._since += len(gone)
            self._size -= sum(len(told.frame) for told in gone)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _forget(self) -> None:
        self._kept: list[Told] = []
        self._size = 0
        self._since = 0
        self._head: int | None = None


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Wait until it happens, so many seconds at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
