"""Signing keys (签字密钥): whose they are, and whether a decision's signature is good."""

import base64
from collections.abc import AsyncGenerator
from datetime import datetime

import asyncpg
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from activities.database import reached
from lifecycles.approvals import same
from lifecycles.signing import canonical
from schemas.base import Subject, UtcTime, Value
from schemas.envelope import SignatureCheck
from schemas.signing import PublicKey

MONTHS = 6
"""For so long a key is valid (WAT-F25b)."""

_KEYS = """
    SELECT key, subject, enrolled_at, enrolled_by, valid_until, lost_at, lost_by
    FROM signing_keys
    WHERE organisation = $1 AND ($2::text IS NULL OR lower(subject) = lower($2))
        AND ($3::text IS NULL OR key = $3)
    ORDER BY lower(subject), enrolled_at, key
"""


class SigningKey(Value):
    """A person's public key. Times are UTC."""

    key: PublicKey
    subject: Subject
    enrolled_at: UtcTime
    enrolled_by: Subject
    valid_until: UtcTime
    lost_at: UtcTime | None
    lost_by: Subject | None

    def holds(self, at: datetime) -> bool:
        return self.lost_at is None and at < self.valid_until


class KeyRefused(Exception):
    """A key cannot be enrolled; the message says why."""


class SigningKeys:
    """The register of who signs with which key."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def enrol(
        self, organisation: str, key: str, subject: str, by: str, *, months: int = MONTHS
    ) -> bool:
        """Make it that person's key; False where it is already. Raises `KeyRefused`."""
        try:
            async with reached():
                fresh = await self._pool.fetchval(
                    "SELECT enrol_key($1, $2, $3, $4, $5)", organisation, key, subject, by, months
                )
        except asyncpg.PostgresError as error:
            if error.sqlstate == "SP004":
                raise KeyRefused(f"{str(error).capitalize()}.") from None
            raise
        if not fresh:
            known = await self.find(organisation, key)
            if known is None or not same(known.subject, subject):
                raise KeyRefused("The key is another person's already: create a new one.")
            if known.lost_at is not None:
                raise KeyRefused("The key was reported lost: create a new one.")
        return fresh

    async def report_lost(self, organisation: str, key: str, by: str) -> bool:
        """From now on it signs nothing (WAT-F25b); False where there is no such key in use."""
        async with reached():
            return await self._pool.fetchval("SELECT lose_key($1, $2, $3)", organisation, key, by)

    async def list(self, organisation: str, subject: str | None = None) -> list[SigningKey]:
        """All keys that there ever were, or one person's, by person and age."""
        async with reached():
            rows = await self._pool.fetch(_KEYS, organisation, subject, None)
        return [SigningKey.model_validate(dict(row)) for row in rows]

    async def doubts(
        self, check: SignatureCheck, stream: str, command_id: str
    ) -> AsyncGenerator[str]:
        """Why a signature is not good now; one that was just given is used up by its command."""
        statement, signature = check.statement, check.signature
        known = await self.find(statement.organisation, signature.key)
        if known is None or not same(known.subject, statement.subject):
            yield "The signature's key is not enrolled to who decides: see `standpipe key`."
            return
        if known.lost_at is not None:
            yield (
                "The signature's key was reported lost: withdraw the approval (WithdrawApproval),"
                " and have it decided and signed anew."
            )
        if check.fresh and statement.expires_at >= known.valid_until:
            yield "The signature's key is too old (WAT-F25b): create and enrol a new one."
        if not verified(check):
            yield "The signature is not over this decision: look at the facts and sign anew."
            return
        if check.fresh:
            async with reached():
                ours = await self._pool.fetchval(
                    "SELECT use_nonce($1, $2, $3, $4)",
                    statement.organisation,
                    statement.nonce,
                    stream,
                    command_id,
                )
            if not ours:
                yield "The signature was used before: sign anew."

    async def find(self, organisation: str, key: str) -> SigningKey | None:
        """Whose a key is, or was."""
        async with reached():
            row = await self._pool.fetchrow(_KEYS, organisation, None, key)
        return None if row is None else SigningKey.model_validate(dict(row))


def verified(check: SignatureCheck) -> bool:
    """Whether the signature is over the statement, by the key that it names."""
    try:
        public = Ed25519PublicKey.from_public_bytes(decoded(check.signature.key))
        public.verify(decoded(check.signature.signature), canonical(check.statement))
    except (InvalidSignature, ValueError):
        return False
    return True


def encoded(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """The other way. Raises ValueError."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
