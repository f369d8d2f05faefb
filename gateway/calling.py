"""How a client speaks to a gateway: again where that helps, and its problems as one exception.

Every request may be sent again: reading changes nothing, and whatever starts or changes something
carries an Idempotency-Key that stays the same.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from itertools import count
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
"""Seconds between two attempts, which grow from one to the other."""
ANSWER_SECONDS = 40.0
"""A gateway answers sooner, if only to say that it could not."""
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0
"""Twice as long as a gateway keeps a stream silent."""
PASSING = (429, 502, 503, 504)

Query = Mapping[str, str | int | bool | Sequence[str] | None]
Token = str | Callable[[], str]


class Problem(Exception):
    """The gateway says no (RFC 9457): why, all of it, and what is possible instead."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        *,
        kind: str = "",
        instance: str = "",
        reasons: Sequence[str] = (),
        possible: Sequence[str] = (),
        retry_after: int | None = None,
    ) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        """What to do about it."""
        self.kind = kind
        """The last part of its type, such as refused; empty where no gateway said it."""
        self.instance = instance
        """This very occurrence, as the gateway's operator finds it in the log."""
        self.reasons = tuple(reasons)
        self.possible = tuple(possible)
        """Commands that the case takes now, where it refused one."""
        self.retry_after = retry_after
        """Seconds after which the same request may be sent again."""
        told = " ".join(self.reasons) or detail
        super().__init__(f"{title} ({status}): {told}" if told else f"{title} ({status})")

    @property
    def passing(self) -> bool:
        """Whether the same request may well succeed later."""
        return self.status in PASSING or self.kind == "in-progress"


class Unreachable(Exception):
    """No gateway answered. It may be done all the same: under the same key it is done once."""


class Frame(NamedTuple):
    """A server-sent event."""

    id: str | None
    event: str | None
    data: str


class Line:
    """The line to one gateway, for whomever the token speaks for."""

    def __init__(
        self, base_url: str, token: Token, http: httpx.AsyncClient | None, patience: float
    ) -> None:
        """For `patience` seconds an attempt that failed is followed by another."""
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url: give a gateway's address, such as https://gw.example.org")
        self._base = base_url.rstrip("/")
        self._token = token
        self._patience = patience
        self._own = http is None
        self._http = http or httpx.AsyncClient(
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        )

    async def close(self) -> None:
        """Hang up, unless the connections are somebody else's."""
        if self._own:
            await self._http.aclose()

    async def get(self, path: str, query: Query | None = None) -> httpx.Response:
        """What is there. Raises `Problem`, `Unreachable`."""
        return await self._ask("GET", path, query=query)

    async def delete(self, path: str) -> httpx.Response:
        """Do away with it; again is as once. Raises `Problem`, `Unreachable`."""
        return await self._ask("DELETE", path)

    async def post(
        self, path: str, body: object, *, key: str | None, query: Query | None = None
    ) -> httpx.Response:
        """Do something once, under a new key or this one. Raises `Problem`, `Unreachable`."""
        return await self._ask("POST", path, query=query, body=body, key=key or str(uuid4()))

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        key: str | None = None,
    ) -> httpx.Response:
        until = time.monotonic() + self._patience
        for attempt in count():
            try:
                answer = await self._http.request(
                    method,
                    self._base + path,
                    params=_params(query),
                    json=body,
                    headers=self._headers({"Idempotency-Key": key}),
                )
            except httpx.TransportError as error:
                failure: Problem | Unreachable = _unreachable(error)
            else:
                if answer.is_success:
                    return answer
                failure = problem_of(answer)
            await _wait(failure, attempt, until)
        raise AssertionError("the count has no end")

    async def follow(
        self, path: str, query: Query, last: Callable[[], int]
    ) -> AsyncGenerator[Frame]:
        """Server-sent events without end: a lost connection is taken up after the `last` one.

        Raises `Problem`, and `Unreachable` where none could be had for as long as the patience.
        """
        failed, until = 0, None
        while True:
            failure: Problem | Unreachable | None = None
            try:
                async with self._stream(path, query, last()) as chunks:
                    failed, until = 0, None
                    async with aclosing(frames(chunks)) as told:
                        async for frame in told:
                            yield frame
            except httpx.TransportError as error:
                failure = _unreachable(error)
            except Problem as problem:
                failure = problem
            if failure is None:  # it stops, or the connection was an hour old
                await asyncio.sleep(FIRST_PAUSE)
                continue
            until = until or time.monotonic() + self._patience
            await _wait(failure, failed, until)
            failed += 1

    @asynccontextmanager
    async def _stream(
        self, path: str, query: Query, last: int
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        headers = self._headers({"Accept": "text/event-stream", "Last-Event-ID": str(last)})
        timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        async with self._http.stream(
            "GET", self._base + path, params=_params(query), headers=headers, timeout=timeout
        ) as answer:
            if not answer.is_success:
                await answer.aread()
                raise problem_of(answer)
            yield answer.aiter_bytes()

    def _headers(self, more: Mapping[str, str | None]) -> dict[str, str]:
        token = self._token if isinstance(self._token, str) else self._token()
        given = {name: value for name, value in more.items() if value is not None}
        return {"Authorization": f"Bearer {token}", **given}


async def frames(chunks: AsyncIterator[bytes]) -> AsyncGenerator[Frame]:
    """Server-sent events out of a stream; what is cut off at its end was never sent.

    Lines end with a line feed, with a carriage return before it or not, and with nothing else that
    Unicode would have as a line's end: events may hold that.
    """
    rest = b""
    fields: dict[str, str] = {}
    data: list[str] = []
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in (line.removesuffix(b"\r").decode() for line in lines):
            name, _, value = line.partition(":")
            if line == "":
                if data:
                    yield Frame(fields.get("id"), fields.get("event"), "\n".join(data))
                fields, data = {}, []
            elif name == "data":
                data.append(value.removeprefix(" "))
            else:  # a comment has no name
                fields[name] = value.removeprefix(" ")


def problem_of(answer: httpx.Response) -> Problem:
    """What an answer says went wrong, whoever gave it."""
    told: dict[str, Any] = {}
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        found: object = answer.json()
        told = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    folder, _, kind = str(told.get("type", "")).rpartition("/")
    after = answer.headers.get("retry-after", "")
    return Problem(
        answer.status_code,
        told.get("title") or answer.reason_phrase or "No answer of a gateway",
        told.get("detail", ""),
        kind=kind if folder == "/problems" else "",
        instance=told.get("instance", ""),
        reasons=told.get("reasons", ()),
        possible=told.get("possible", ()),
        retry_after=int(after) if after.isdecimal() else None,
    )


async def _wait(failure: Problem | Unreachable, failed: int, until: float) -> None:
    """Wait before another attempt; raise the failure where there is to be none."""
    pause = min(FIRST_PAUSE * 2 ** min(failed, 10), LONGEST_PAUSE) * random.uniform(0.5, 1.0)
    if isinstance(failure, Problem):
        if not failure.passing:
            raise failure
        pause = max(pause, failure.retry_after or 0)
    if time.monotonic() + pause > until:
        raise failure
    await asyncio.sleep(pause)


def _unreachable(error: httpx.TransportError) -> Unreachable:
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        raise error  # a request that nobody can send
    return Unreachable(f"The gateway does not answer ({type(error).__name__}).")


def _params(query: Query | None) -> dict[str, Any] | None:
    """What is asked beyond the path; None leaves what the path may hold of it."""
    return {name: value for name, value in (query or {}).items() if value is not None} or None
