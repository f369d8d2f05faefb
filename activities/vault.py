"""Personal data: encrypted per party here, in the process, before PostgreSQL sees any of it.

Each party has a random key, wrapped by the key-encryption key (KEK), which comes from the settings
and is never stored or shown. Erasing a party destroys its key; copies in backups die with those.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from os import urandom
from uuid import UUID, uuid4

import asyncpg
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from activities.database import as_owner, reached
from schemas.party import Party, PartyNote

NONCE_BYTES = 12
KEY_BYTES = 32

_PUT = "SELECT put_parties($1, $2, $3, $4, $5)"
_KEYS = "SELECT * FROM party_keys($1, $2)"
_READ = "SELECT * FROM read_party($1, $2)"
_ERASE = "SELECT erase_party($1, $2)"
_ADD_NOTE = "SELECT add_party_note($1, $2, $3, $4, $5)"
_NOTES = "SELECT * FROM read_party_notes($1, $2)"
_WRAPPED = """
    SELECT organisation, party_id, wrapped_key FROM parties WHERE key_id = $1 LIMIT 1000 FOR UPDATE
"""
_REWRAP = """
    UPDATE parties p SET key_id = $1, wrapped_key = n.wrapped_key
    FROM unnest($2::text[], $3::text[], $4::bytea[]) AS n(organisation, party_id, wrapped_key)
    WHERE p.organisation = n.organisation AND p.party_id = n.party_id
"""


class VaultError(Exception):
    """The vault can't do it. Messages name the party by its opaque id, never what is sealed."""


class PartyUnknown(VaultError):
    """Nobody by that id was ever put into the vault."""

    def __init__(self, party_id: str) -> None:
        super().__init__(f"The vault knows no {party_id}.")


class PartyErased(VaultError):
    """The party was erased, for good."""

    def __init__(self, party_id: str, erased_at: datetime) -> None:
        self.party_id = party_id
        self.erased_at = erased_at
        super().__init__(f"{party_id} was erased on {erased_at:%Y-%m-%d %H:%M} UTC.")


class WrongKey(VaultError):
    """The party's key is wrapped by another key-encryption key than the configured one."""


class Tampered(VaultError):
    """What the database holds is not what was put there, or was put there for another party."""


class Vault:
    """Parties of every organisation in one database."""

    def __init__(self, pool: asyncpg.Pool, key: bytes) -> None:
        self._pool = pool
        self._wrapping = _Wrapping(key)

    async def put(self, organisation: str, party_id: str, party: Party) -> None:
        """Keep a party's particulars, new or instead of the former ones. PartyErased if erased."""
        await self.put_many(organisation, {party_id: party})

    async def put_many(self, organisation: str, parties: Mapping[str, Party]) -> None:
        """The same for many, in one call. If one of them was erased, none is kept."""
        missing = dict(parties)
        while missing:
            # A second round only where another process put or erased one of them meanwhile.
            keys = await self._keys(organisation, list(missing))
            rows: list[tuple[str, str, bytes, bytes]] = []
            for party_id, party in missing.items():
                wrapped = keys.get(party_id)
                if wrapped is None:
                    key = urandom(KEY_BYTES)
                    wrapped = self._wrapping.wrap(key, organisation, party_id)
                else:
                    key = self._wrapping.unwrap(self._wrapping.id, wrapped, organisation, party_id)
                sealed = _seal(
                    key, party.model_dump_json().encode(), "party", organisation, party_id
                )
                rows.append((party_id, self._wrapping.id, wrapped, sealed))
            async with reached():
                written = await self._pool.fetch(_PUT, organisation, *zip(*rows, strict=True))
            for row in written:
                del missing[row[0]]

    async def show(self, organisation: str, party_id: str) -> Party:
        """A party's particulars, or PartyUnknown, PartyErased, WrongKey or Tampered."""
        async with reached():
            row = await self._pool.fetchrow(_READ, organisation, party_id)
        if row is None:
            raise PartyUnknown(party_id)
        if row["erased_at"] is not None:
            raise PartyErased(party_id, row["erased_at"])
        key = self._wrapping.unwrap(row["key_id"], row["wrapped_key"], organisation, party_id)
        opened = _open(key, row["sealed"], "party", organisation, party_id)
        return Party.model_validate_json(opened)

    async def erase(self, organisation: str, party_id: str) -> datetime:
        """Destroy a party's key, particulars and notes; returns when, also if it was long ago."""
        async with reached():
            erased_at = await self._pool.fetchval(_ERASE, organisation, party_id)
        if erased_at is None:
            raise PartyUnknown(party_id)
        return erased_at

    async def add_note(
        self, organisation: str, party_id: str, text: str, note_id: UUID | None = None
    ) -> UUID:
        """Keep a remark and return its id. With an id given, the same note again is kept once."""
        note = PartyNote(id=note_id or uuid4(), written_at=datetime.now(UTC), text=text)
        while True:
            wrapped = (await self._keys(organisation, [party_id])).get(party_id)
            if wrapped is None:
                raise PartyUnknown(party_id)
            key = self._wrapping.unwrap(self._wrapping.id, wrapped, organisation, party_id)
            sealed = _seal(key, note.text.encode(), "note", organisation, party_id, str(note.id))
            async with reached():
                if await self._pool.fetchval(
                    _ADD_NOTE, organisation, party_id, wrapped, note.id, sealed
                ):
                    return note.id

    async def notes(self, organisation: str, party_id: str) -> list[PartyNote]:
        """A party's remarks in the order in which they were made. Errors as for `show`."""
        wrapped = (await self._keys(organisation, [party_id])).get(party_id)
        if wrapped is None:
            raise PartyUnknown(party_id)
        key = self._wrapping.unwrap(self._wrapping.id, wrapped, organisation, party_id)
        async with reached():
            rows = await self._pool.fetch(_NOTES, organisation, party_id)
        return [
            PartyNote(
                id=row["note_id"],
                written_at=row["written_at"],
                text=_open(
                    key, row["sealed"], "note", organisation, party_id, str(row["note_id"])
                ).decode(),
            )
            for row in rows
        ]

    async def _keys(self, organisation: str, party_ids: list[str]) -> dict[str, bytes]:
        """The wrapped keys of those who are in the vault."""
        async with reached():
            rows = await self._pool.fetch(_KEYS, organisation, party_ids)
        for row in rows:
            if row["erased_at"] is not None:
                raise PartyErased(row["party_id"], row["erased_at"])
            self._wrapping.check(row["key_id"], row["party_id"])
        return {row["party_id"]: row["wrapped_key"] for row in rows}


async def rewrap(
    admin_url: str, old_key: bytes, new_key: bytes, report: Callable[[str], None]
) -> int:
    """Wrap every party's key anew; returns how many. Safe to interrupt and run again.

    Stop whatever uses the old key first: it can't read what is done already.
    """
    old, new = _Wrapping(old_key), _Wrapping(new_key)
    done = 0
    async with reached(), as_owner(admin_url) as connection:
        while True:
            async with connection.transaction():
                rows = await connection.fetch(_WRAPPED, old.id)
                if not rows or old.id == new.id:
                    return done
                columns: list[tuple[str, str, bytes]] = []
                for row in rows:
                    place = row["organisation"], row["party_id"]
                    key = old.unwrap(old.id, row["wrapped_key"], *place)
                    columns.append((*place, new.wrap(key, *place)))
                await connection.execute(_REWRAP, new.id, *zip(*columns, strict=True))
            done += len(rows)
            report(f"{done} keys wrapped anew")


class _Wrapping:
    """The key-encryption key at work. Its id is a fingerprint, which tells nothing of it."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise VaultError(f"The key-encryption key must have {KEY_BYTES} bytes.")
        self._key = key
        self.id = sha256(b"standpipe key id\0" + key).hexdigest()[:16]

    def wrap(self, key: bytes, organisation: str, party_id: str) -> bytes:
        return _seal(self._key, key, "key", organisation, party_id)

    def unwrap(self, key_id: str, wrapped: bytes, organisation: str, party_id: str) -> bytes:
        self.check(key_id, party_id)
        return _open(self._key, wrapped, "key", organisation, party_id)

    def check(self, key_id: str, party_id: str) -> None:
        if key_id != self.id:
            raise WrongKey(
                f"{party_id} is sealed under key {key_id}, the configured key is {self.id}:"
                " set STANDPIPE_KEY or STANDPIPE_KEY_FILE to the right one."
            )


def _seal(key: bytes, content: bytes, *place: str) -> bytes:
    nonce = urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, content, _bound_to(place))


def _open(key: bytes, sealed: bytes, *place: str) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound_to(place))
    except (InvalidTag, ValueError):
        raise Tampered(
            f"The {place[0]} of {place[2]} was changed outside Standpipe: restore it from a backup."
        ) from None


def _bound_to(place: tuple[str, ...]) -> bytes:
    """What a sealed text belongs to: it opens nowhere else."""
    return "\0".join(("standpipe vault 1", *place)).encode()
