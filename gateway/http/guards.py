"""What every request passes, whatever it asks: its size, its time, and headers that shut doors.

Other sites' pages get no leave to read an answer (no CORS): browsers keep them out.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway.http.limits import FAILURES, InMemory, Limit, PerAddress
from gateway.http.problems import Failed
from settings import Settings

MOST_BYTES = 1_048_576
"""Of a request's body."""
REQUEST_SECONDS = 30.0
"""Until an answer begins; what then streams may take as long as it likes."""

SERVER: Mapping[str, Any] = {
    "server_header": False,
    "ws": "none",
    "timeout_keep_alive": 30,
    "h11_max_incomplete_event_size": 32_768,
}
"""For uvicorn: what can only be set there."""

ALWAYS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
UNLESS_SET: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""A page may need other rules; what a person may see stays in no cache."""
HSTS = "max-age=31536000; includeSubDomains"


def guarded(app: FastAPI, settings: Settings) -> FastAPI:
    """The same application behind all guards. The last one added is the first one met."""
    app.state.forbidden = Limit("forbidden", FAILURES, InMemory())
    app.add_middleware(InTime)
    app.add_middleware(NotTooLarge)
    app.add_middleware(PerAddress, rate=settings.rate_per_address)
    app.add_middleware(Sealed)
    if settings.trusted_proxies is not None:
        # Met first: the others shall know where a request comes from, and how.
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=settings.trusted_proxies)
    return app


class Sealed:
    """Middleware: headers that shut doors, on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(ALWAYS)
                for name, value in UNLESS_SET.items():
                    headers.setdefault(name, value)
                if scope["scheme"] == "https":
                    headers["Strict-Transport-Security"] = HSTS
                if (limited := scope.get("state", {}).get("rate_limit")) is not None:
                    for name, value in limited.items():
                        headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sealed)


class NotTooLarge:
    """Middleware: no body of more than `most` bytes, whether it says so or not."""

    def __init__(self, app: ASGIApp, most: int = MOST_BYTES) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._declared(scope) > self._most:
            await self._refuse(scope, receive, send)
            return
        taken, answered = 0, False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._most:
                # For the application its client is gone; what it says to that goes nowhere.
                return {"type": "http.disconnect"}
            return message

        async def unless_refused(message: Message) -> None:
            nonlocal answered
            if taken <= self._most:
                answered = True
                await send(message)

        try:
            await self._app(scope, counted, unless_refused)
        except Exception:
            if taken <= self._most or answered:
                raise
        if taken > self._most and not answered:
            await self._refuse(scope, receive, send)

    def _declared(self, scope: Scope) -> int:
        for name, value in scope["headers"]:
            if name == b"content-length":
                return int(value) if value.isdigit() else 0
        return 0

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = f"A body may have {self._most:,} bytes."
        error = Failed("too-large", [reason], headers={"Connection": "close"})
        await error.response()(scope, receive, send)


class InTime:
    """Middleware: an answer begins within `seconds`, or it is told that none came in time."""

    def __init__(self, app: ASGIApp, seconds: float = REQUEST_SECONDS) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        limit = asyncio.timeout(self._seconds)

        async def begun(message: Message) -> None:
            if message["type"] == "http.response.start":
                limit.reschedule(None)
            await send(message)

        try:
            async with limit:
                await self._app(scope, receive, begun)
        except TimeoutError:
            if not limit.expired():
                raise
            late = Failed("unavailable", headers={"Retry-After": "1", "Connection": "close"})
            await late.response()(scope, receive, send)
