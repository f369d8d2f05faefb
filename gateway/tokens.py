"""Bearer tokens: a signed word of the organisation's OpenID Connect issuer about who calls.

Each key verifies with its own algorithm alone: which one a token names counts for nothing. No error
repeats anything of a token.
"""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, NamedTuple, Protocol, cast

import httpx
import jwt
from pydantic import ValidationError

from gateway import issuer
from gateway.issuer_keys import FETCH_SECONDS, PublishedKeys
from gateway.permissions import ROLES
from schemas.base import SYSTEM, Actor, Organisation, Role, Subject, Value
from settings import Settings, SettingsError

LEEWAY_SECONDS = 30
"""So far may the issuer's clock and ours be apart."""
LONGEST = 8192
"""In characters; a longer one is not even looked at."""
MOST_SEEN = 10_000
NEEDED = ("exp", "iat", "iss", "aud")
UNSET = (
    "STANDPIPE_OIDC_ISSUER: set it to the issuer whose tokens the gateway shall accept, and"
    " STANDPIPE_OIDC_AUDIENCE to the gateway's name there. Tokens of `standpipe token` are good for"
    " the embedded servers alone."
)


class BadToken(Exception):
    """A token that proves nothing; the message says why, without anything of it."""


class Principal(Value):
    """Somebody whose token was verified."""

    subject: Subject
    roles: tuple[Role, ...]
    """As the token has them, in its order; those that Standpipe does not know are left out."""
    organisation: Organisation

    def actor(self, role: Role) -> Actor:
        """This person in one of their roles, as events name them."""
        return Actor(subject=self.subject, role=role, proof="token")


class Keys(Protocol):
    """Where an issuer's public keys come from."""

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """The key of that id, if there is one. Raises `IssuerSilent`."""
        ...


class _Seen(NamedTuple):
    """A token that was verified."""

    kid: str
    key: jwt.PyJWK
    expires: float
    """In seconds since 1970."""
    principal: Principal


class Tokens:
    """Verifies the tokens of one issuer for one audience."""

    def __init__(
        self, keys: Keys, issuer: str, audience: str, claims: tuple[str, str, str]
    ) -> None:
        """`claims` name the subject's, the roles' and the organisation's."""
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._claims = claims
        self._seen: dict[bytes, _Seen] = {}

    async def verify(self, token: str) -> Principal:
        """Whom the token speaks for. Raises `BadToken`, or `IssuerSilent`."""
        # Callers send the same token again and again: the same bytes under the same key, which the
        # issuer still has, were signed the first time and are signed now.
        digest = sha256(token.encode(errors="replace")).digest()
        seen = self._seen.get(digest)
        if seen and time.time() < seen.expires and await self._keys.find(seen.kid) is seen.key:
            return seen.principal
        kid = _key_id(token)
        key = await self._keys.find(kid)
        if key is None:
            raise BadToken("The token is signed with a key that its issuer does not have.")
        try:
            found = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": [*NEEDED], "enforce_minimum_key_length": True},
            )
        except (jwt.PyJWTError, ValueError, ArithmeticError) as error:
            raise BadToken(_why(error)) from None
        principal = self._principal(found)
        if len(self._seen) >= MOST_SEEN:
            self._seen.clear()
        self._seen[digest] = _Seen(kid, key, float(found["exp"]), principal)
        return principal

    def _principal(self, found: Mapping[str, Any]) -> Principal:
        subject, roles, organisation = (_claim(found, name) for name in self._claims)
        try:
            principal = Principal(subject=subject, roles=_roles(roles), organisation=organisation)
        except ValidationError as error:
            wrong = sorted({str(item["loc"][0]) for item in error.errors(include_input=False)})
            raise BadToken(
                f"The token does not say who calls, as Standpipe needs it: {', '.join(wrong)}."
            ) from None
        if principal.subject.casefold() == SYSTEM.subject:
            raise BadToken("Nobody but Standpipe itself has its name.")
        return principal


@asynccontextmanager
async def trusted(settings: Settings) -> AsyncGenerator[Tokens]:
    """The tokens that this gateway accepts, as long as it runs.

    Those of the issuer that the settings name; else, on the embedded servers alone, those of
    `standpipe token`. SettingsError where neither can be, StackError where the key is not safe.
    """
    claims = (
        settings.oidc_subject_claim,
        settings.oidc_roles_claim,
        settings.oidc_organisation_claim,
    )
    if settings.oidc_issuer is not None:
        async with httpx.AsyncClient(timeout=FETCH_SECONDS, follow_redirects=False) as client:
            keys = PublishedKeys(client, settings.oidc_issuer, settings.oidc_jwks_url)
            yield Tokens(keys, settings.oidc_issuer, settings.oidc_audience, claims)
        return
    if settings.database_url is not None:
        raise SettingsError(UNSET)
    own = issuer.own_keys(settings.data_dir)
    yield Tokens(own, issuer.NAME, settings.oidc_audience, issuer.CLAIMS)


def _key_id(token: str) -> str:
    if len(token) > LONGEST:
        raise BadToken("The token is too long.")
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise BadToken("The token is not one: it must be a signed JSON Web Token.") from None
    if not isinstance(kid, str):
        raise BadToken("The token does not name its key (kid).")
    return kid


def _claim(found: Mapping[str, Any], name: str) -> Any:
    """A claim by its whole name, or by the way into it."""
    if name in found:
        return found[name]
    inner: Any = found
    for part in name.split("."):
        inner = cast("dict[str, Any]", inner).get(part) if isinstance(inner, dict) else None
    return inner


def _roles(value: Any) -> tuple[Any, ...]:
    """Those that we know, each once; a list, or one text of many with spaces between."""
    given = value.split() if isinstance(value, str) else value
    if given is None:
        return ()
    if not isinstance(given, list):
        return (given,)  # which is no role: it shall be seen
    listed = cast("list[Any]", given)
    return tuple(dict.fromkeys(r for r in listed if isinstance(r, str) and r in ROLES))


def _why(error: Exception) -> str:
    match error:
        case jwt.ExpiredSignatureError():
            return "The token has expired: get a new one."
        case jwt.ImmatureSignatureError():
            return "The token is not valid yet: compare the issuer's clock with this one."
        case jwt.InvalidAudienceError():
            return "The token is for another audience."
        case jwt.InvalidIssuerError():
            return "The token is another issuer's."
        case jwt.MissingRequiredClaimError():
            return f"The token lacks one of the claims {', '.join(NEEDED)}."
        case _:
            return "The token is not genuine."
