"""Which civic app reports by Open311, and whether it reported this already."""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import cast
from urllib.parse import urlencode

from fastapi import Request
from fastapi.security import HTTPAuthorizationCredentials

from gateway.http.access import Principal, Unauthenticated
from gateway.http.idempotency import Keyed
from gateway.http.limits import FAILURES, InMemory, Limit, address_of
from gateway.reporting import case_of
from gateway.session import Session
from settings import Settings

SAME_SECONDS = 600
"""So long the same form without a key is the same report; up to twice that, if it is sent late."""


class Apps:
    """The civic apps that have a key."""

    def __init__(self, settings: Settings) -> None:
        here = InMemory()
        self._subjects = settings.open311_keys()
        self._organisation = settings.organisation
        self._often = Limit("subject", settings.rate_per_subject, here)
        self._failures = Limit("failures", FAILURES, here)

    async def admit(self, key: str, request: Request) -> Principal:
        """The service that a key stands for. Raises `Failed`."""
        subject = self._subjects.get(sha256(key.encode()).hexdigest())
        if subject is None:
            await self._failures.take(address_of(request.scope))
            raise Unauthenticated("The api_key is not known.", None)
        left = await self._often.take(subject.casefold())
        request.state.rate_limit = self._often.headers(left)
        return Principal(subject=subject, roles=("service",), organisation=self._organisation)


async def who(
    request: Request, key: str | None, given: HTTPAuthorizationCredentials | None
) -> Principal:
    """Who reports: an app by its key, or whoever has a bearer token. Raises `Failed`."""
    state = request.app.state
    if key is not None:
        principal = await cast("Apps", state.apps).admit(key, request)
    elif given is not None:
        principal = await state.access.admit(given.credentials, request)
    else:
        raise Unauthenticated("Send the app's api_key, or a bearer token.", None)
    request.state.principal = principal
    return principal


async def once(
    session: Session, principal: Principal, key: str | None, form: Mapping[str, str]
) -> Keyed:
    """The report as it may be made once."""
    told = urlencode(sorted(form.items())).encode()

    def under(key: str) -> Keyed:
        place = (session.pool, session.organisation, principal.subject)
        return Keyed(*place, key, b"POST open311\n" + told)

    if key is not None:
        return under(key)
    now = int(datetime.now(UTC).timestamp()) // SAME_SECONDS
    # With a secret in them, so that nobody finds out by trying what a form said.
    secret = session.settings.key_encryption_key()
    before, this = (
        under(hmac.digest(secret, b"open311 %d %b" % (then, told), "sha256").hex())
        for then in (now - 1, now)
    )
    made = case_of("repair", session.organisation, before.command_id)
    return before if await session.log.recorded(session.organisation, [made]) else this
