"""The HTTP API as one ASGI application: its routers, its problems, what runs beside it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.http import (
    approvals,
    cases,
    commands,
    events,
    keys,
    open311,
    opening,
    operations,
    parties,
    payments,
    registers,
    webhooks,
)
from gateway.http.access import Access, Forbidden, keep
from gateway.http.feed import Feed
from gateway.http.guards import guarded
from gateway.http.idempotency import forget
from gateway.http.open311_apps import Apps
from gateway.http.openapi import document
from gateway.http.problems import Failed, failed, fault
from gateway.policies import content_of
from gateway.session import Session, policy_folder
from schemas.envelope import Json

ROUTERS: Sequence[APIRouter] = (
    opening.router,
    cases.router,
    commands.router,
    approvals.router,
    parties.router,
    payments.router,
    registers.router,
    events.router,
    keys.router,
    operations.router,
    webhooks.router,
)
"""Under /v1."""
OPEN_ROUTERS: Sequence[APIRouter] = (operations.open_router, open311.router)
"""At the root; they say for themselves who may."""


class Api(FastAPI):
    """The application; its description is ours."""

    def openapi(self) -> Json:
        return document(self)


class Faults:
    """The outermost: a fault in Standpipe is a problem with an id, and is logged under it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def noticing(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noticing)
        except Exception as error:  # noqa: BLE001 - nobody else would answer
            found = failed(error)
            response = fault(error) if found is None else found.response()
            if not started:
                await response(scope, receive, send)


def build_app(session: Session, access: Access, *, more: Sequence[APIRouter] = ()) -> FastAPI:
    """The API of one organisation, on an open session.

    `access` says who a token speaks for. Raises PolicyError where the policy of new cases cannot be
    used; it is read here, once.
    """
    settings = session.settings
    app = routed(more)
    app.state.session = session
    app.state.access = access
    app.state.apps = Apps(settings)
    app.state.feed = Feed(session.log, session.organisation)
    app.state.policy = content_of(settings.policy, policy_folder(settings))
    for kind in (Failed, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _answer)
    app.add_middleware(Faults)
    return guarded(app, settings)


def routed(more: Sequence[APIRouter] = ()) -> FastAPI:
    """Every operation, with nothing behind it yet: enough to describe the API."""
    app = Api(
        openapi_url="/openapi.json",
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan,
        generate_unique_id_function=lambda route: route.name,
        separate_input_output_schemas=False,
        redirect_slashes=False,
    )
    for router in (*ROUTERS, *more):
        app.include_router(router, prefix="/v1")
    for router in OPEN_ROUTERS:
        app.include_router(router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    session: Session = app.state.session
    _made_ready(app)
    forgetting = asyncio.create_task(forget(session.pool))
    try:
        yield
    finally:
        forgetting.cancel()
        with suppress(asyncio.CancelledError):
            await forgetting


def _made_ready(app: FastAPI) -> None:
    """The framework makes routes ready as a request first comes by (0.4 s in all): do it before."""
    nowhere: Scope = {"type": "http", "method": "GET", "path": "/-", "root_path": "", "headers": []}
    for route in app.routes:
        route.matches(dict(nowhere))


async def _answer(request: Request, error: Exception) -> Response:
    """Whatever went wrong as a problem; what is forbidden is kept in the refusals."""
    if isinstance(error, Forbidden):
        error = await keep(request, error, getattr(request.state, "command_id", None))
    if isinstance(error, HTTPException) and error.status_code == 405:
        error = Failed("method-not-allowed", headers={"Allow": ", ".join(_methods(request))})
    found: Failed | None = failed(error)
    if found is None:
        raise error
    return found.response()


def _methods(request: Request) -> list[str]:
    """All that may be done at an address; the router tells of one."""
    scope = request.scope
    return [
        method
        for method in ("DELETE", "GET", "PATCH", "POST", "PUT")
        if any(
            route.matches({**scope, "method": method})[0] == Match.FULL
            for route in request.app.routes
        )
    ]
