"""How Open311 answers, and how it tells what went wrong: in its own form, as JSON or XML."""

import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from gateway.http.access import Forbidden, keep
from gateway.http.problems import KINDS, Failed, failed
from gateway.http.serving import Responses
from gateway.open311 import MEDIA_TYPES, Format, NoSuchService, Wrong, written
from schemas.base import Value
from schemas.envelope import Json

STATUS: Mapping[str, int] = {
    "unauthorized": 403,
    "malformed": 400,
    "invalid": 400,
    "refused": 400,
    "key-missing": 400,
}
"""By kind of problem: as the standard has it, where that differs."""


MEANINGS: Mapping[int, str] = {
    400: "Not as described, or refused by the rules: every reason is an error.",
    403: "The api_key or the token is missing or not known, or is for other things.",
    404: "There is no such jurisdiction, service or request.",
    409: "The same request is still being done: send it again.",
    413: "Too large.",
    415: "Not a form.",
    422: "The Idempotency-Key was used for another request.",
    429: "Too many requests.",
    500: "A fault in Standpipe.",
    503: "A server that is needed does not answer.",
}
ALWAYS = (400, 404, 422, 429, 500, 503)
"""What every operation may end in; what the framework would tell by 422 is told by 400 here."""


def answers(
    what: str, example: Value | Sequence[Value], *statuses: int, status: int = 200
) -> Responses:
    """The answers of an operation, for its description."""
    told: Responses = {
        status: {
            "description": "As the standard has it, in the format that was asked for.",
            "content": _examples(what, example),
        }
    }
    for code in sorted({*ALWAYS, *statuses}):
        told[code] = {
            "description": MEANINGS[code],
            "model": tuple[Wrong, ...],
            "content": {
                **_examples("errors", [Wrong(code=code, description=MEANINGS[code])]),
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}},
            },
        }
    return told


def _examples(what: str, example: Value | Sequence[Value]) -> Json:
    return {
        "application/json": {"example": json.loads(written(what, example, "json"))},
        "text/xml": {
            "schema": {"type": "string"},
            "example": written(what, example, "xml").decode(),
        },
    }


class Open311Route(APIRoute):
    """Whatever goes wrong is told as the standard tells it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:  # noqa: BLE001 - faults go on
                return await _errors(request, error)

        return answered


async def _errors(request: Request, error: Exception) -> Response:
    """The errors that a failure is told as. Whatever is a fault goes on to whoever logs it."""
    if isinstance(error, Forbidden):
        error = await keep(request, error, getattr(request.state, "command_id", None))
    if isinstance(error, NoSuchService):
        error = Failed("not-found", [str(error)])
    found = failed(error)
    if found is None:
        raise error
    status = STATUS.get(found.kind, found.status)
    reasons = found.reasons or (found.detail or KINDS[found.kind].advice,)
    format: Format = "xml" if request.url.path.endswith(".xml") else "json"
    wrong = [Wrong(code=status, description=reason) for reason in reasons]
    headers = {k: v for k, v in found.headers.items() if k != "WWW-Authenticate"}
    return told("errors", wrong, format, status, headers)


def told(
    what: str,
    value: Value | Sequence[Value],
    format: Format,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer in one of the two formats; `what` is its root in XML."""
    body = written(what, value, format)
    return Response(body, status, dict(headers or {}), media_type=MEDIA_TYPES[format])
