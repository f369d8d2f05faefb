"""The embedded servers' own tiny issuer: a key in the data directory, and tokens signed with it.

For one's own machine: a gateway that works on real servers never trusts it.
"""

import base64
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.issuer_keys import public_key
from schemas.base import Organisation, Role, Subject
from stack import StackError
from stack.embedded import kept_secret

NAME = "urn:standpipe:embedded"
CLAIMS = ("sub", "roles", "organisation")
FILE = "issuer-key"
ALGORITHM = "EdDSA"


class OwnKeys:
    """The one public key of the embedded issuer."""

    def __init__(self, kid: str, key: jwt.PyJWK) -> None:
        self._kid = kid
        self._key = key

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """The key, if it is of that id."""
        return self._key if kid == self._kid else None


def own_keys(data_dir: Path) -> OwnKeys:
    """What verifies the tokens made here; the key is made on first use. StackError if not safe."""
    entry = _public(_private(data_dir))
    key = public_key(entry)
    assert key is not None, "an Ed25519 key of our own can be used"
    return OwnKeys(_thumbprint(entry), key)


def mint(
    data_dir: Path,
    subject: Subject,
    roles: Sequence[Role],
    organisation: Organisation,
    audience: str,
    now: datetime,
    lifetime: timedelta,
) -> str:
    """A token for somebody in some roles, good from now on. StackError without a safe key."""
    private = _private(data_dir)
    claims = {
        "iss": NAME,
        "aud": audience,
        "sub": subject,
        "roles": list(roles),
        "organisation": organisation,
        "iat": now,
        "exp": now + lifetime,
        "jti": uuid4().hex,
    }
    return jwt.encode(claims, private, ALGORITHM, {"kid": _thumbprint(_public(private))})


def _private(data_dir: Path) -> Ed25519PrivateKey:
    path = data_dir / FILE
    if not data_dir.is_dir():
        raise StackError(f"Nothing was ever started in {data_dir}: do so with `standpipe up`.")
    content = kept_secret(path, _new)
    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise StackError(
            f"{path} does not hold the issuer's key: delete it, and a new one is made."
        )
    return key


def _new() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public(private: Ed25519PrivateKey) -> dict[str, Any]:
    """As a JSON Web Key."""
    raw = private.public_key().public_bytes_raw()
    return {"crv": "Ed25519", "kty": "OKP", "x": _base64(raw)}


def _thumbprint(entry: dict[str, Any]) -> str:
    """The key's id: its RFC 7638 thumbprint."""
    told = json.dumps(entry, separators=(",", ":"), sort_keys=True)
    return _base64(sha256(told.encode()).digest())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
