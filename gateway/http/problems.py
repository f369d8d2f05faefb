"""What goes wrong over HTTP, as problem details (RFC 9457): every reason at once (ADM-4).

No problem repeats what was sent: it may be personal.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from traceback import format_tb
from typing import Any, NamedTuple, cast
from uuid import uuid4

import asyncpg
from fastapi import Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from temporalio.client import WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError

from activities.cases import Conflict
from activities.database import DatabaseUnavailable
from activities.signing_keys import KeyRefused
from activities.vault import PartyErased, PartySealed, PartyUnknown, SealFixed
from gateway.commands import Invalid
from gateway.session import NoSuchCase
from lifecycles.calendars import OutOfRange
from lifecycles.decisions import MOST_REASONS, Rejected
from lifecycles.lifecycle import TOO_FAR
from schemas.base import Value
from stack import StackError

MEDIA_TYPE = "application/problem+json"
FOLDER = "/problems/"
"""Where each type of problem is described: a type is a path below it."""
SOON = 1
"""Seconds after which a request may be sent again."""

log = logging.getLogger("standpipe.http")


class Kind(NamedTuple):
    """A type of problem: its status, its title, and what to do about it."""

    status: int
    title: str
    advice: str


KINDS: Mapping[str, Kind] = {
    "malformed": Kind(400, "Not readable", "Send one JSON object in UTF-8."),
    "key-missing": Kind(
        400,
        "Idempotency-Key missing or wrong",
        "Send an Idempotency-Key of 1 to 255 printable ASCII letters, a new UUID for each new"
        " request, and the same one when you send a request again.",
    ),
    "unauthorized": Kind(401, "Who are you?", "Send a valid bearer token."),
    "forbidden": Kind(
        403, "Not for your role", "Ask somebody in one of the roles that the reasons name."
    ),
    "party-sealed": Kind(
        403, "Sealed", "The party is sealed to other roles (WAT-2.5), and this look was recorded."
    ),
    "not-found": Kind(404, "No such address", "See /openapi.json for those there are."),
    "no-such-case": Kind(404, "No such case", "List cases at /v1/cases."),
    "no-such-command": Kind(404, "No such command", "See the case's `possible` commands."),
    "no-such-party": Kind(404, "No such party", "Put the party into the vault first."),
    "no-such-entry": Kind(404, "Nothing by that name", "See the list that it would be in."),
    "method-not-allowed": Kind(405, "Not this way", "Use a method that `Allow` names."),
    "refused": Kind(
        409,
        "Refused",
        "The rules refuse it; mend every reason, then send it under a new key. `possible` are the"
        " commands that the case takes now.",
    ),
    "in-progress": Kind(
        409, "Still being done", "Send the same request again after the seconds in Retry-After."
    ),
    "conflict": Kind(
        409, "Done before, with other content", "Send it as a new request, under a new key."
    ),
    "party-erased": Kind(410, "Erased", "The party was erased for good."),
    "too-large": Kind(413, "Too large", "Send less at a time."),
    "unsupported-media-type": Kind(415, "Not JSON", "Send Content-Type: application/json."),
    "invalid": Kind(422, "Not as described", "Mend every reason: /openapi.json describes it."),
    "key-reused": Kind(
        422,
        "Idempotency-Key used for another request",
        "A key belongs to one method, address and body: use a new one.",
    ),
    "too-many-requests": Kind(
        429, "Too many requests", "Send it again after the seconds in Retry-After."
    ),
    "fault": Kind(
        500,
        "A fault in Standpipe",
        "Tell the operator the `instance`, under which it is logged. What you asked for may have"
        " been done: the same request under the same key is safe.",
    ),
    "unavailable": Kind(
        503,
        "Not now",
        "A server that is needed does not answer. What you asked for may still be done: the same"
        " request under the same key is safe.",
    ),
}
"""Every type of problem, by the last part of its address."""


class Problem(Value):
    """Problem details (RFC 9457)."""

    type: str
    """Which problem: a path that describes it."""
    title: str
    status: int
    detail: str
    instance: str
    """This very occurrence: a 500 is logged under it."""
    reasons: tuple[str, ...] = ()
    """Everything that stands against it, at once (ADM-4)."""
    possible: tuple[str, ...] = ()
    """Commands that the case takes now."""


class Failed(Exception):
    """A request that ends in a problem; `kind` is one of `KINDS`."""

    def __init__(
        self,
        kind: str,
        reasons: Iterable[str] = (),
        *,
        detail: str | None = None,
        possible: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.reasons = tuple(dict.fromkeys(reasons))
        self.detail = detail
        self.possible = tuple(possible)
        self.headers = dict(headers or {})
        super().__init__(kind)

    @property
    def status(self) -> int:
        return KINDS[self.kind].status

    def problem(self, instance: str | None = None) -> Problem:
        """It as problem details, as a new occurrence unless named."""
        known = KINDS[self.kind]
        return Problem(
            type=f"{FOLDER}{self.kind}",
            title=known.title,
            status=known.status,
            detail=self.detail or (self.reasons[0] if len(self.reasons) == 1 else known.advice),
            instance=instance or f"urn:uuid:{uuid4()}",
            reasons=self.reasons,
            possible=self.possible,
        )

    def response(self) -> Response:
        return answer(self.problem(), self.headers)


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """A problem as it goes out."""
    return Response(
        problem.model_dump_json(exclude_defaults=True),
        problem.status,
        dict(headers or {}),
        media_type=MEDIA_TYPE,
    )


def failed(error: BaseException) -> Failed | None:
    """An error as the problem that the caller is told; None for a fault in Standpipe."""
    match error:
        case Failed():
            return error
        case BaseExceptionGroup():
            return failed(error.exceptions[0])
        case RequestValidationError():
            return _invalid(error)
        case Rejected():
            return Failed("refused", error.reasons)
        case Invalid():
            return Failed("invalid", (reason.lstrip("-") for reason in error.reasons))
        case Conflict():
            return Failed("conflict", [str(error)])
        case KeyRefused():
            return Failed("refused", [str(error)])
        case NoSuchCase():
            return Failed("no-such-case")
        case PartyUnknown():
            return Failed("no-such-party")
        case PartyErased():
            return Failed("party-erased", [str(error)])
        case PartySealed():
            return Failed("party-sealed", [str(error)])
        case SealFixed():
            return Failed("conflict", [str(error)])
        case OutOfRange():
            return Failed("invalid", TOO_FAR)
        case DatabaseUnavailable() | StackError() | RPCError():
            return _unavailable()
        case TimeoutError() | WorkflowUpdateRPCTimeoutOrCancelledError():
            return _unavailable()
        case asyncpg.InvalidAuthorizationSpecificationError() | asyncpg.InvalidCatalogNameError():
            return _unavailable()
        case asyncpg.UndefinedTableError() | asyncpg.UndefinedFunctionError():
            return Failed("unavailable", ["The database lacks this version's tables."])
        case HTTPException():
            return _of_framework(error)
        case _:
            return None


def fault(error: BaseException) -> Response:
    """What the caller is told of a fault in Standpipe; the log holds where it was, by `instance`.

    Not what it says: a message may hold what somebody sent.
    """
    problem = Failed("fault").problem()
    where = "".join(format_tb(error.__traceback__))
    log.error("%s: %s\n%s", problem.instance, type(error).__name__, where)
    return answer(problem)


def _unavailable() -> Failed:
    return Failed("unavailable", headers={"Retry-After": str(SOON)})


def _of_framework(error: HTTPException) -> Failed:
    status, said = error.status_code, getattr(error, "reasons", ())
    by_status = {404: "not-found", 403: "forbidden", 409: "refused", 422: "invalid"}
    of_status = (kind for kind, known in KINDS.items() if known.status == status)
    kind = by_status.get(status) or next(of_status, "fault" if status >= 500 else "malformed")
    return Failed(kind, said, headers=error.headers)


def _invalid(error: RequestValidationError) -> Failed:
    items = cast("list[dict[str, Any]]", error.errors())
    if any(item["type"] == "json_invalid" for item in items):
        return Failed("malformed")
    reasons = [_reason(item) for item in items[:MOST_REASONS]]
    if len(items) > MOST_REASONS:
        reasons.append(f"{len(items) - MOST_REASONS} more places are wrong.")
    keyless = any(str(item["loc"][-1]).lower() == "idempotency-key" for item in items)
    return Failed("key-missing" if keyless else "invalid", reasons)


def _reason(item: Mapping[str, Any]) -> str:
    where = ".".join(_place(part) for part in item["loc"]) or "body"
    what = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "missing":
        what = "missing"
    elif item["type"] == "extra_forbidden":
        what = "there is no such field"
    elif item["type"] == "string_pattern_mismatch":
        what = f"must match {item.get('ctx', {}).get('pattern', 'its pattern')}"
    return f"{where}: {what}"


def _place(part: str | int) -> str:
    """Where something is wrong; a name that is none of ours may be anything."""
    return str(part) if re.fullmatch(r"[A-Za-z][A-Za-z_-]{0,39}|[0-9]{1,6}", str(part)) else "?"
