"""Signing a decision with one's own key: the key's file, and the signature for a command."""

import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from activities.signing_keys import encoded
from gateway.timeline import Timeline
from lifecycles.signing import canonical
from schemas.approvals import Approval
from schemas.signing import PublicKey, Signature, Statement

LIFETIME = timedelta(minutes=10)
"""A signature is for a decision that is made now."""


class KeyFileError(Exception):
    """A key file cannot be used; the message says why and what to do, and never what it holds."""


def create_key(path: Path, passphrase: str | None) -> PublicKey:
    """Write a new private key that only its owner can read; returns the public one.

    The public one never begins with a hyphen, as one in 64 would: people give it to commands.
    Raises `KeyFileError`, also where the file exists: a key is never overwritten.
    """
    while public_key(key := Ed25519PrivateKey.generate()).startswith("-"):
        pass
    sealed = (
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption()
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
    except FileExistsError:
        raise KeyFileError(f"{path} is there already: name another file.") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}.") from None
    return public_key(key)


def load_key(path: Path, passphrase: str | None = None) -> Ed25519PrivateKey:
    """The private key in a file. Raises `KeyFileError`; `needs_passphrase` says whether one must
    be asked for first.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path} is open to others: chmod 600 it; better, report it lost.")
        key = serialization.load_pem_private_key(
            path.read_bytes(), passphrase.encode() if passphrase else None
        )
    except OSError as error:
        raise KeyFileError(
            f"{path} cannot be read: {error.strerror}. `standpipe key create` makes one."
        ) from None
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path} holds no key, or its passphrase is another one.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} holds another kind of key: `standpipe key create` makes one.")
    return key


def needs_passphrase(path: Path) -> bool:
    """Whether a key file is sealed with one. False where there is no such file."""
    try:
        return b"BEGIN ENCRYPTED" in path.read_bytes()
    except OSError:
        return False


def public_key(key: Ed25519PrivateKey) -> PublicKey:
    return encoded(key.public_key().public_bytes_raw())


def statement(
    case: Timeline,
    asked: Approval,
    decision: Literal["approve", "reject"],
    subject: str,
    on_behalf_of: str | None = None,
    *,
    now: datetime | None = None,
) -> Statement:
    """What somebody is about to sign of a case that they look at, for ten minutes from `now`."""
    return Statement(
        organisation=case.organisation,
        case=case.case_id,
        approval=asked.id,
        action=asked.kind,
        decision=decision,
        facts_hash=asked.facts_hash,
        subject=subject,
        on_behalf_of=on_behalf_of,
        version=case.version,
        nonce=secrets.token_hex(16),
        expires_at=(now or datetime.now(UTC)) + LIFETIME,
    )


def sign(key: Ed25519PrivateKey, said: Statement) -> Signature:
    """The signature as a command carries it."""
    return Signature(
        key=public_key(key),
        signature=encoded(key.sign(canonical(said))),
        version=said.version,
        nonce=said.nonce,
        expires_at=said.expires_at,
    )
