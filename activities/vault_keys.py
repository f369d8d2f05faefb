"""How the vault seals: AES-GCM, every key and text bound to the place that it belongs to."""

from collections.abc import Sequence
from hashlib import sha256
from os import urandom

import asyncpg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
KEY_BYTES = 32


class VaultError(Exception):
    """The vault can't do it. Messages name the party by its opaque id, never what is sealed."""


class WrongKey(VaultError):
    """The party's key is wrapped by another key-encryption key than the configured one."""


class Tampered(VaultError):
    """What the database holds is not what was put there, or was put there for another party."""


class Wrapping:
    """The key-encryption key at work. Its id is a fingerprint, which tells nothing of it."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise VaultError(f"The key-encryption key must have {KEY_BYTES} bytes.")
        self._key = key
        self.id = sha256(b"standpipe key id\0" + key).hexdigest()[:16]

    def wrap(
        self, key: bytes, organisation: str, party_id: str, sealed_to: Sequence[str] | None
    ) -> bytes:
        """A party's key for its row, which must say the same organisation, party and roles."""
        return seal(self._key, key, *_place(organisation, party_id, sealed_to))

    def unwrap(self, row: asyncpg.Record, organisation: str, party_id: str) -> bytes:
        """The key in a party's row. WrongKey, or Tampered where the row is not as it was put."""
        self.check(row["key_id"], party_id)
        place = _place(organisation, party_id, row["sealed_to"])
        return unseal(self._key, row["wrapped_key"], *place)

    def check(self, key_id: str, party_id: str) -> None:
        """WrongKey unless it is this one that a party's key is wrapped by."""
        if key_id != self.id:
            raise WrongKey(
                f"{party_id} is sealed under key {key_id}, the configured key is {self.id}:"
                " set STANDPIPE_KEY or STANDPIPE_KEY_FILE to the right one."
            )


def random_key() -> bytes:
    """A party's own key."""
    return urandom(KEY_BYTES)


def seal(key: bytes, content: bytes, *place: str) -> bytes:
    """Encrypt what opens in this place alone."""
    nonce = urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, content, _bound_to(place))


def unseal(key: bytes, sealed: bytes, *place: str) -> bytes:
    """What was sealed for this place. Tampered if it was not."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound_to(place))
    except (InvalidTag, ValueError):
        raise Tampered(
            f"The {place[0]} of {place[2]} was changed outside Standpipe: restore it from a backup."
        ) from None


def _place(organisation: str, party_id: str, sealed_to: Sequence[str] | None) -> tuple[str, ...]:
    # So that a party is sealed to whom its row says: with other roles there, its key won't unwrap.
    seal = () if sealed_to is None else ("sealed to", *sealed_to)
    return ("key", organisation, party_id, *seal)


def _bound_to(place: tuple[str, ...]) -> bytes:
    return "\0".join(("standpipe vault 1", *place)).encode()
