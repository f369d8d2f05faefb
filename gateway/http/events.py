"""`/v1/events`: an organisation's log as CloudEvents, in pages, or followed as it grows.

No gaps and no doubles: positions count from 1 without gaps, and whoever goes on after the last one
they know misses nothing, whichever gateway they ask and however often the connection is lost.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.types import Receive, Scope, Send

from gateway.cloudevents import cloudevent, serialized
from gateway.http.access import Caller, Principal, may_see
from gateway.http.feed import HEARTBEAT_SECONDS, SPAN, Chosen, Feed
from gateway.http.problems import Failed
from gateway.http.serving import Limit, OfCase, Serving, ends_in
from gateway.permissions import kinds_seen
from gateway.session import Session
from gateway.webhooks import chosen
from lifecycles.lifecycle import LIFECYCLES
from schemas.envelope import Json

BATCH = "application/cloudevents-batch+json"
STREAM = "text/event-stream"
HEAD = "Standpipe-Head"
"""The header that says where the log ends."""
MOST = 2**63 - 1

EVENT: Json = {
    "specversion": "1.0",
    "id": "5a1c3c0e-8a4d-5f57-9a83-0d2f4f0c7b11",
    "source": "urn:standpipe:town",
    "type": "standpipe.repair.CrewArrived",
    "subject": "repair-1f2e3d",
    "time": "2026-05-01T00:00:00Z",
    "datacontenttype": "application/json",
    "partitionkey": "repair-1f2e3d",
    "position": 120,
    "schemaversion": 1,
    "data": {"type": "CrewArrived", "schema_version": 1, "at": "2026-05-01T00:00:00Z"},
}
SCHEMA: Json = {
    "type": "object",
    "description": "A CloudEvent (1.0). `id` is the same wherever and however often it is sent.",
    "required": list(EVENT),
    "properties": {
        "specversion": {"type": "string", "const": "1.0"},
        "id": {"type": "string", "format": "uuid"},
        "source": {"type": "string", "description": "The organisation's log."},
        "type": {"type": "string", "description": "standpipe, kind of case, type of event."},
        "subject": {"type": "string", "description": "The case."},
        "time": {"type": "string", "format": "date-time", "description": "Business time (UTC)."},
        "datacontenttype": {"type": "string", "const": "application/json"},
        "partitionkey": {"type": "string", "description": "The case: its events are in order."},
        "position": {"type": "integer", "minimum": 1, "description": "In the organisation's log."},
        "schemaversion": {"type": "integer", "minimum": 1, "description": "Of `data`."},
        "data": {"type": "object", "description": "The event as the log holds it."},
    },
    "additionalProperties": True,
}
PAGED: dict[str, Any] = {
    "description": "Some events, in log order; none where the log has no more.",
    "content": {
        BATCH: {
            "schema": {"type": "array", "items": SCHEMA},
            "example": [EVENT],
        }
    },
    "headers": {
        "Link": {
            "description": "The next page (rel=next), where the log has more now.",
            "schema": {"type": "string"},
        },
        HEAD: {
            "description": "The position at which the log ends now.",
            "schema": {"type": "integer", "minimum": 0},
        },
    },
}
STREAMED: dict[str, Any] = {
    "description": (
        "Server-sent events: `id` is the position, `event` the CloudEvent's type, `data` the"
        f" CloudEvent. A comment at least every {2 * HEARTBEAT_SECONDS:g} seconds. The gateway ends"
        " the stream when it stops, and after an hour: come again with Last-Event-ID."
    ),
    "content": {
        STREAM: {
            "schema": {"description": "Events as the HTML standard has them, without end."},
            "example": (f"id: 120\nevent: {EVENT['type']}\ndata: {serialized(EVENT).decode()}\n\n"),
        }
    },
}

Types = Annotated[
    list[str] | None,
    Query(
        alias="type",
        max_length=50,
        description="Of these types alone, such as repair.CrewArrived or repair.*",
    ),
]
Position = Annotated[int, Query(ge=0, le=MOST, description="Those after this position.")]
LastEventId = Annotated[
    int | None,
    Header(
        alias="Last-Event-ID",
        ge=0,
        le=MOST,
        description="The last position that you have; goes before `after`.",
    ),
]

router = APIRouter(tags=["events"])


async def feed_of(request: Request) -> Feed:
    """Whoever follows this gateway's log."""
    return request.app.state.feed


Following = Annotated[Feed, Depends(feed_of)]


@router.get(
    "/events",
    name="list_events",
    summary="Page through the log",
    response_class=Response,
    responses={200: PAGED, **ends_in()},
)
async def list_events(
    *,
    caller: Caller,
    session: Serving,
    after: Position = 0,
    types: Types = None,
    case: OfCase = None,
    limit: Limit = 100,
) -> Response:
    """Events of the kinds of case that your roles may see, in log order.

    Go on with `Link`, or after the last position that you have: the log only grows. With a filter
    a page may be empty although the log has more.
    """
    wanted = _chosen(caller, types, case)
    head = await _head(session, after)
    until = min(after + SPAN, head)
    page = await session.log.tail(
        session.organisation,
        after,
        limit,
        until=until,
        stream=wanted.case,
        kinds=wanted.kinds,
        types=wanted.types,
    )
    reached = page[-1].position if len(page) == limit else until
    headers = {HEAD: str(head)}
    if reached < head:
        asked = [("after", reached), ("limit", limit), *(("type", t) for t in types or ())]
        query = urlencode([*asked, *([("case", case)] if case else [])])
        headers["Link"] = f'</v1/events?{query}>; rel="next"'
    body = b",".join(serialized(cloudevent(e, session.organisation)) for e in page)
    return Response(b"[%b]" % body, headers=headers, media_type=BATCH)


@router.get(
    "/events/stream",
    name="follow_events",
    summary="Follow the log",
    response_class=Response,
    responses={200: STREAMED, **ends_in()},
)
async def follow_events(
    *,
    caller: Caller,
    session: Serving,
    feed: Following,
    after: Position = 0,
    types: Types = None,
    case: OfCase = None,
    last: LastEventId = None,
) -> Response:
    """Events after a position, and then each new one, as it happens: at your own pace.

    A connection that is lost, for whatever reason, is taken up with the last `id` as Last-Event-ID,
    as every client for server-sent events does by itself; nothing is missed and nothing doubled.
    """
    wanted = _chosen(caller, types, case)
    since = after if last is None else last
    feed.admit(caller.subject)
    await _head(session, since)
    return Streamed(feed.follow(caller.subject, since, wanted))


class Streamed(Response):
    """An answer without end, until its reader leaves."""

    media_type = STREAM

    def __init__(self, chunks: AsyncGenerator[bytes]) -> None:
        self.status_code = 200
        self.background = None
        self.body = b""
        self._chunks = chunks
        self.init_headers(HEADERS)
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        telling = asyncio.create_task(self._tell(send))
        leaving = asyncio.create_task(_gone(receive))
        both = (telling, leaving)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        if not telling.cancelled():
            telling.result()

    async def _tell(self, send: Send) -> None:
        """A chunk is only asked for when the one before is on its way: a slow reader holds one."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        async with aclosing(self._chunks):
            await send(start)
            async for chunk in self._chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


HEADERS: Mapping[str, str] = {
    "X-Accel-Buffering": "no",  # whoever stands between shall not keep events back
    "Connection": "close",
}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _chosen(caller: Principal, types: list[str] | None, case: str | None) -> Chosen:
    may_see(caller, "events")
    kinds = frozenset(kinds_seen(caller.roles))
    named = None if types is None else chosen(types)
    return Chosen(
        None if kinds >= LIFECYCLES.keys() else kinds,
        None if named is None else frozenset(named),
        case,
    )


async def _head(session: Session, after: int) -> int:
    """Where the log ends; after that is nothing to go on after."""
    head = await session.log.head(session.organisation)
    if after > head:
        raise Failed("invalid", [f"after: the log ends at {head}; was it restored from a backup?"])
    return head
