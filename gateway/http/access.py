"""Who calls, and in which role: the bearer token's subject, never a field of the request (KUN-8.4).

`Caller` is a dependency of every endpoint but health; `acting` says in which role a caller sends a
command, `may_see` and `may_do` the rest. What is forbidden is kept in the refusals (see `keep`).
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Protocol
from uuid import uuid4

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import TypeAdapter, ValidationError

from activities.database import DatabaseUnavailable
from activities.event_log import EventLog
from gateway.http.limits import Limit, Limits, address_of
from gateway.http.problems import Failed
from gateway.issuer_keys import IssuerSilent
from gateway.permissions import DOES, SEES, Roles, resource_of, senders
from gateway.session import Session
from gateway.tokens import BadToken, Principal, Tokens
from schemas.base import Actor, CaseId, CommandId, Organisation, Role, Subject
from schemas.envelope import Refusal
from settings import Settings

NOT_OF_A_CASE: Literal["gateway"] = "gateway"
"""Stands for the case in a refusal that is about none."""


class Unauthenticated(Failed):
    """401: nobody knows who calls. `error` is as RFC 6750 has it; None where no token came."""

    def __init__(self, detail: str, error: str | None = "invalid_token") -> None:
        told = "" if error is None else f', error="{error}", error_description="{detail}"'
        challenge = {"WWW-Authenticate": f'Bearer realm="standpipe"{told}'}
        super().__init__("unauthorized", [detail], headers=challenge)


class Forbidden(Failed):
    """403: it is known who calls, and they may not. `what` they tried, of which case."""

    def __init__(
        self, principal: Principal, detail: str, *, what: str, of: str = NOT_OF_A_CASE
    ) -> None:
        challenge = {"WWW-Authenticate": 'Bearer realm="standpipe", error="insufficient_scope"'}
        super().__init__("forbidden", [detail], headers=challenge)
        self.principal = principal
        self.what = what
        self.of = of


class Access(Protocol):
    """Who may come in: what `app.state.access` is."""

    async def admit(self, token: str | None, request: Request) -> Principal:
        """Whom the token speaks for. Raises `Failed`.

        401 for nobody, 403 for another organisation's, 429 for one who asks too often, 503 while
        the issuer's keys cannot be had.
        """
        ...


class Door(Access):
    """Lets in whoever has a good token of this organisation, as often as the limits allow."""

    def __init__(self, tokens: Tokens, limits: Limits, organisation: Organisation) -> None:
        self._tokens = tokens
        self._limits = limits
        self._organisation = organisation

    async def admit(self, token: str | None, request: Request) -> Principal:
        if token is None:
            raise Unauthenticated("Send a bearer token.", None)
        try:
            found = await self._tokens.verify(token)
        except BadToken as error:
            await self._limits.failures.take(address_of(request.scope))
            raise Unauthenticated(str(error)) from None
        except IssuerSilent:
            raise Failed(
                "unavailable",
                ["The issuer of tokens does not answer, so nobody can be recognised now."],
                headers={"Retry-After": "5"},
            ) from None
        if found.organisation != self._organisation:
            raise Forbidden(found, "The token is for another organisation.", what="enter")
        left = await self._limits.subject.take(found.subject.casefold())
        request.state.rate_limit = self._limits.subject.headers(left)
        if _decides(request):
            await self._limits.decisions.take(self._organisation, found.subject.casefold())
        return found


def access_of(settings: Settings, tokens: Tokens, session: Session) -> Access:
    """The door of this gateway, for the tokens that it trusts."""
    return Door(tokens, Limits(settings, session.pool), session.organisation)


def _decides(request: Request) -> bool:
    path = request.url.path
    return request.method == "POST" and path.endswith(("/decision", "/commands/DecideApproval"))


BEARER = HTTPBearer(
    scheme_name="bearer",
    bearerFormat="JWT",
    description=(
        "An access token of the organisation's OpenID Connect issuer; of `standpipe up` on one's"
        " own machine, from `standpipe token`."
    ),
    auto_error=False,
)


async def caller(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
) -> Principal:
    """Who calls, by their bearer token. Raises `Failed`."""
    access: Access = request.app.state.access
    return await access.admit(given.credentials if given else None, request)


Caller = Annotated[Principal, Depends(caller)]


def acting(
    principal: Principal,
    to: str,
    command: str,
    *,
    as_role: Role | None = None,
    wanted: Roles = (),
) -> Actor:
    """Who sends a command, in which role: of theirs, the first that may.

    `to` is the case, or the kind of case that it opens. `wanted` are roles that the case itself
    asks for, such as an approval's: one of them goes first. With `as_role` in that role and no
    other. Raises `Forbidden`, naming the roles that may.
    """
    allowed = senders(to.partition("-")[0], command)
    held: Roles = (
        principal.roles if as_role is None else tuple(r for r in principal.roles if r == as_role)
    )
    able: list[Role] = [role for role in held if role in allowed]
    fitting: list[Role] = [role for role in able if role in wanted]
    if able:
        return principal.actor((fitting or able)[0])
    if as_role is not None and as_role not in principal.roles:
        raise Forbidden(principal, f"The token has no role {as_role}.", what=command, of=to)
    raise Forbidden(principal, _only(allowed, f"send {command}"), what=command, of=to)


def may_see(
    principal: Principal, resource: str, *, about: Subject | None = None, of: str = NOT_OF_A_CASE
) -> None:
    """Whether a caller may look at a resource of `permissions.SEES`; else raises `Forbidden`.

    `about` is whom a staff file or an assessment is about: everybody may see their own.
    """
    if about is not None and about.casefold() == principal.subject.casefold():
        return
    if not set(principal.roles) & set(SEES[resource]):
        raise Forbidden(principal, _only(SEES[resource], "see this"), what=f"see-{resource}", of=of)


def may_see_case(principal: Principal, case: str, *, about: Subject | None = None) -> None:
    """The same for one case and its timeline, by its kind."""
    may_see(principal, resource_of(case.partition("-")[0]), about=about, of=case)


def may_do(principal: Principal, act: str) -> None:
    """Whether a caller may do something of `permissions.DOES`; else raises `Forbidden`."""
    if not set(principal.roles) & set(DOES[act]):
        raise Forbidden(principal, _only(DOES[act], "do this"), what=act)


def reading(principal: Principal, sealed_to: Iterable[str]) -> Actor:
    """In which role a caller reads a party, whose seal names these roles, if any (WAT-2.5).

    The vault decides, and keeps every look at a sealed party: so one who may read parties but not
    this one gets as far as there. Raises `Forbidden` for all others.
    """
    named = set(sealed_to)
    sealed: list[Role] = [r for r in principal.roles if r in SEES["sealed_parties"] and r in named]
    usual: list[Role] = [r for r in principal.roles if r in SEES["parties"]]
    able = sealed or usual
    if not able:
        raise Forbidden(principal, _only(SEES["parties"], "see parties"), what="see-parties")
    return principal.actor(able[0])


async def keep(request: Request, error: Forbidden, command_id: str | None = None) -> Failed:
    """Put a forbidden attempt on record, under the id of its command if it has one.

    What the caller is told: 403, or 429 after too many of them, which are then not kept.
    """
    state = request.app.state
    session: Session = state.session
    attempts: Limit = state.forbidden
    try:
        await attempts.take(error.principal.subject.casefold())
    except Failed as too_many:
        return too_many
    with suppress(DatabaseUnavailable):  # it is forbidden all the same
        kept = refusal(error, session.organisation, command_id)
        await EventLog(session.pool).record_refusal(kept)
    return error


def refusal(error: Forbidden, organisation: Organisation, command_id: str | None) -> Refusal:
    """A forbidden attempt as the refusals table keeps it; under an id of its own without one."""
    known = fits(CommandId, command_id)
    return Refusal(
        organisation=organisation,
        stream=error.of if fits(CaseId, error.of) else NOT_OF_A_CASE,
        command_id=command_id if command_id and known else f"forbidden-{uuid4().hex}",
        command_type=error.what,
        actor=error.principal.subject,
        refused_at=datetime.now(UTC),
        reasons=error.reasons,
    )


def fits(kind: Any, value: object) -> bool:
    """Whether a value is of an annotated type."""
    try:
        TypeAdapter[Any](kind).validate_python(value)
    except ValidationError:
        return False
    return True


def _only(allowed: Roles, what: str) -> str:
    if not allowed:
        return f"Nobody may {what} from outside: the case does it itself."
    *most, last = (role.replace("_", " ") for role in allowed)
    named = f"{', '.join(most)} or {last}" if most else last
    return f"Only the role {named} may {what}."
