"""Requests that start or change something are done once (IETF draft httpapi-idempotency-key).

The same key and request get the same answer, another request under the key a problem. The id of the
command, and with it that of a case to open, is made of organisation, subject and key: a gateway may
die at any point, and the same request finishes what was begun and begins nothing else.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated
from uuid import NAMESPACE_URL, uuid4, uuid5

import asyncpg
from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from activities.database import DatabaseUnavailable, reached
from gateway.http.access import Caller
from gateway.http.problems import MEDIA_TYPE, Failed, failed
from gateway.http.serving import Serving

WORK_SECONDS = 25.0
"""What a request may take; then it is told to come again."""
LEASE = timedelta(seconds=40)
"""A gateway that has not answered by then is gone: longer than its work, stored answer included."""
KEPT = timedelta(days=90)
"""How long answers are kept. Temporal forgets a closed case's ids sooner, the log never does."""
FORGET_SECONDS = 3600.0
_AT_ONCE = 1000

_BEGIN = "SELECT * FROM begin_request($1, $2, $3, $4, $5, $6)"
_FINISH = "SELECT * FROM finish_request($1, $2, $3, $4, $5, $6)"
_RELEASE = "SELECT release_request($1, $2, $3, $4)"
_FORGET = "SELECT forget_requests($1, $2)"

Key = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="A new UUID for each new request; the same one when you send it again.",
        examples=["8e03978e-40d5-43dd-bc93-6894a57f9324"],
    ),
]

Headers = Mapping[str, str]
Work = Callable[[], Awaitable["Done"]]


class Done:
    """What a request came to: the body, its status, headers that matter."""

    def __init__(self, body: BaseModel, status: int = 200, headers: Headers | None = None) -> None:
        self.status = status
        self.headers = dict(headers or {})
        self.body = body.model_dump_json().encode()


class Keyed:
    """One request under one key. Await it with the work that it asks for."""

    def __init__(
        self, pool: asyncpg.Pool, organisation: str, subject: str, key: str, request: bytes
    ) -> None:
        self._pool = pool
        self._place = (organisation, subject, sha256(key.encode()).digest())
        # With the key in it nobody finds out by trying what a short request said.
        self._request = sha256(key.encode() + b"\n" + request).digest()
        self._holder = uuid4()
        name = f"standpipe/http/{organisation}/{subject}/{key}"
        self.command_id = f"http-{uuid5(NAMESPACE_URL, name).hex}"
        """The same for the same request, sent again."""

    async def __call__(self, work: Work) -> Response:
        """Do the work and keep its answer, or give the one that is kept.

        A refusal is an answer too; where nothing can be told, nothing is kept. Raises `Failed`
        where the key is in use.
        """
        async with reached():
            row = await self._pool.fetchrow(
                _BEGIN, *self._place, self._request, self._holder, LEASE
            )
        assert row is not None
        match row["outcome"]:
            case "answered":
                return _stored(row)
            case "other":
                raise Failed("key-reused")
            case "busy":
                raise Failed("in-progress", headers={"Retry-After": str(row["wait"])})
            case _:
                return await self._do(work)

    async def _do(self, work: Work) -> Response:
        try:
            async with asyncio.timeout(WORK_SECONDS):
                done = await work()
            status, headers, body = done.status, done.headers, done.body
        except Exception as error:
            found = failed(error)
            if found is None or found.status >= 500:
                await self._release()
                raise
            status, headers = found.status, found.headers
            body = found.problem().model_dump_json(exclude_defaults=True).encode()
        async with reached():
            row = await self._pool.fetchrow(
                _FINISH, *self._place, status, json.dumps(headers), body
            )
        return _response(status, headers, body) if row is None else _stored(row)

    async def _release(self) -> None:
        with suppress(DatabaseUnavailable):  # then its lease ends by itself
            async with reached():
                await self._pool.execute(_RELEASE, *self._place, self._holder)


async def once(request: Request, caller: Caller, session: Serving, key: Key) -> Keyed:
    """The request as it may be done once; a body that is not JSON is a problem."""
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/json" and not kind.endswith("+json"):
        raise Failed("unsupported-media-type")
    asked = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    keyed = Keyed(session.pool, session.organisation, caller.subject, key, asked + body)
    request.state.command_id = keyed.command_id
    return keyed


Once = Annotated[Keyed, Depends(once)]


async def forget(pool: asyncpg.Pool) -> None:
    """Forget old answers, again and again, as long as the gateway runs."""
    while True:
        try:
            before = datetime.now(UTC) - KEPT
            forgotten = _AT_ONCE
            while forgotten == _AT_ONCE:
                async with reached():
                    forgotten = await pool.fetchval(_FORGET, before, _AT_ONCE)
        except (DatabaseUnavailable, asyncpg.PostgresError) as error:
            logging.getLogger("standpipe.http").warning(
                "Old answers are not forgotten yet: %s", type(error).__name__
            )
        await asyncio.sleep(FORGET_SECONDS)


def _stored(row: asyncpg.Record) -> Response:
    return _response(row["status"], json.loads(row["headers"]), row["body"])


def _response(status: int, headers: Headers, body: bytes) -> Response:
    media_type = "application/json" if status < 400 else MEDIA_TYPE
    return Response(body, status, dict(headers), media_type=media_type)
