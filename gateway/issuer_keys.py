"""The public keys of an OpenID Connect issuer: fetched when needed, kept through an outage.

They may change at any time (rotation), and nobody who sends rubbish can make us ask for them often.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from settings import LOOPBACK

ALGORITHMS = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
"""By kind of key, the one algorithm that it may be used with; no shared secrets."""
CURVES = {"EC": "P-256", "OKP": "Ed25519"}
SMALLEST_RSA = 2048
FRESH_SECONDS = 600.0
"""So long are they used without asking again."""
KEPT_SECONDS = 3600.0
"""So long while the issuer does not answer: whoever had a token then has none by now."""
PAUSE_SECONDS = 5.0
"""Between two askings at least."""
FETCH_SECONDS = 5.0
LARGEST = 512 * 1024
MOST_KEYS = 100

log = logging.getLogger("standpipe.tokens")


class IssuerSilent(Exception):
    """The issuer's keys cannot be had now, and none are kept that may still be used."""


def public_key(entry: Mapping[str, Any]) -> jwt.PyJWK | None:
    """A key of a key set that may verify tokens, tied to its algorithm; None for any other."""
    kind = entry.get("kty")
    algorithm = ALGORITHMS.get(kind) if isinstance(kind, str) else None
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        return None
    if entry.get("use", "sig") != "sig" or "verify" not in str(entry.get("key_ops", "verify")):
        return None
    if kind in CURVES and entry.get("crv") != CURVES[kind]:
        return None
    if "d" in entry:
        log.warning("The issuer publishes a private key: it is not trusted.")
        return None
    try:
        key = jwt.PyJWK(dict(entry), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < SMALLEST_RSA:
        return None
    return key


def _usable(listed: object) -> Iterator[tuple[str, jwt.PyJWK]]:
    entries = cast("list[Any]", listed) if isinstance(listed, list) else []
    for entry in entries[:MOST_KEYS]:
        known = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
        kid, key = known.get("kid"), public_key(known)
        if isinstance(kid, str) and key is not None:
            yield kid, key


class PublishedKeys:
    """What an issuer publishes, by key id. `clock` is in seconds and never goes back."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        issuer: str,
        jwks_url: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._asking = asyncio.Lock()

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """The key of that id; None if the issuer has none. IssuerSilent if that can't be known."""
        if kid in self._keys:
            # While somebody asks anew, the others go on with what is kept.
            good_for = KEPT_SECONDS if self._asking.locked() else FRESH_SECONDS
            if self._age(self._fetched_at) < good_for:
                return self._keys[kid]
        before = self._fetched_at
        async with self._asking:
            if self._fetched_at == before and self._age(self._tried_at) >= PAUSE_SECONDS:
                await self._ask()
        if self._age(self._fetched_at) >= KEPT_SECONDS:
            raise IssuerSilent
        if kid not in self._keys and self._tried_at != self._fetched_at:
            raise IssuerSilent  # it may be new: only the issuer knows
        return self._keys.get(kid)

    def _age(self, since: float | None) -> float:
        return float("inf") if since is None else self._clock() - since

    async def _ask(self) -> None:
        self._tried_at = self._clock()
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                listed = (await self._json(await self._address())).get("keys")
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            TimeoutError,
            ValueError,
            RecursionError,
        ) as error:
            log.warning("The issuer's keys cannot be had now: %s.", type(error).__name__)
            return
        found = dict(_usable(listed))
        if not found:
            log.warning("The issuer publishes no key that can be used: the former ones are kept.")
            return
        self._keys = found
        self._fetched_at = self._tried_at

    async def _address(self) -> str:
        if self._jwks_url is not None:
            return self._jwks_url
        found = await self._json(self._issuer.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != self._issuer:
            raise ValueError("the discovery document is another issuer's")
        address = found.get("jwks_uri")
        parts = urlsplit(address) if isinstance(address, str) else None
        if parts is None or not (parts.scheme == "https" or parts.hostname in LOOPBACK):
            raise ValueError("the keys are not at a safe address")
        return cast("str", address)

    async def _json(self, address: str) -> dict[str, Any]:
        async with self._client.stream("GET", address) as answer:
            answer.raise_for_status()
            content = bytearray()
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > LARGEST:
                    raise ValueError("the answer is too large")
        found = json.loads(content)
        if not isinstance(found, dict):
            raise ValueError("the answer is no object")
        return cast("dict[str, Any]", found)
