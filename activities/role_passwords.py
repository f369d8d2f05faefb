"""Sets the passwords with which roles log in; PostgreSQL never sees them, only what proves them."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from os import urandom

import asyncpg

from activities.database import COMMAND_SECONDS, reached

ROLES = ("standpipe_worker", "standpipe_gateway", "standpipe_auditor")
ITERATIONS = 4096


async def set_passwords(admin_url: str, passwords: Mapping[str, str]) -> None:
    """Give each role its password, in one transaction. The same again is as good."""
    async with reached():
        connection = await asyncpg.connect(admin_url, timeout=COMMAND_SECONDS)
        try:
            async with connection.transaction():
                for role, password in passwords.items():
                    statement = await connection.fetchval(
                        "SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)",
                        role,
                        verifier(password, urandom(16)),
                    )
                    await connection.execute(statement)
        finally:
            await connection.close(timeout=COMMAND_SECONDS)


def verifier(password: str, salt: bytes) -> str:
    """What PostgreSQL stores for a password (SCRAM-SHA-256, RFC 5803). ASCII passwords only."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, ITERATIONS)
    client = hmac.digest(salted, b"Client Key", "sha256")
    server = hmac.digest(salted, b"Server Key", "sha256")
    stored = hashlib.sha256(client).digest()
    parts = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(ITERATIONS, *parts)
