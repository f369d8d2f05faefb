"""Personal data: encrypted per party here, in the process, before PostgreSQL sees any of it.

Each party has a random key, wrapped by the key-encryption key (KEK), which comes from the settings
and is never stored or shown. Erasing a party destroys its key; copies in backups die with those.
A party may be sealed to roles (WAT-2.5): the database then keeps every reading, granted or refused.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

import asyncpg

from activities.database import as_owner, reached
from activities.vault_keys import VaultError, Wrapping, random_key, seal, unseal
from schemas.base import Actor, Role
from schemas.party import Party, PartyNote

_PUT = "SELECT put_parties($1, $2, $3, $4, $5, $6)"
_KEYS = "SELECT * FROM party_keys($1, $2)"
_READ = "SELECT * FROM read_party($1, $2, $3, $4, $5)"
_ERASE = "SELECT erase_party($1, $2)"
_ADD_NOTE = "SELECT add_party_note($1, $2, $3, $4, $5)"
_NOTES = "SELECT * FROM read_party_notes($1, $2, $3, $4, $5)"
_WRAPPED = """
    SELECT organisation, party_id, key_id, wrapped_key, sealed_to
    FROM parties WHERE key_id = $1 LIMIT 1000 FOR UPDATE
"""
_WRAPPED_SECRETS = """
    SELECT organisation, id, key_id, wrapped_key, NULL::text[] AS sealed_to
    FROM subscriptions WHERE key_id = $1 FOR UPDATE
"""
_REWRAP_SECRET = """
    UPDATE subscriptions SET key_id = $3, wrapped_key = $4 WHERE organisation = $1 AND id = $2
"""
_REWRAP = """
    UPDATE parties p SET key_id = $1, wrapped_key = n.wrapped_key
    FROM unnest($2::text[], $3::text[], $4::bytea[]) AS n(organisation, party_id, wrapped_key)
    WHERE p.organisation = n.organisation AND p.party_id = n.party_id
"""


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


class PartySealed(VaultError):
    """The party is sealed to other roles than the reader's (WAT-2.5)."""

    def __init__(self, party_id: str, sealed_to: Sequence[str]) -> None:
        self.party_id = party_id
        self.sealed_to = tuple(sealed_to)
        roles = " or ".join(self.sealed_to).replace("_", " ")
        super().__init__(f"{party_id} is sealed: ask somebody in the role {roles} (WAT-2.5).")


class SealFixed(VaultError):
    """The party is in the vault under another seal, and a seal is set once."""

    def __init__(self, party_id: str) -> None:
        super().__init__(
            f"{party_id} is in the vault under another seal, which can't change:"
            " put the party under a new id."
        )


class Vault:
    """Parties of every organisation in one database."""

    def __init__(self, pool: asyncpg.Pool, key: bytes) -> None:
        self._pool = pool
        self._wrapping = Wrapping(key)

    async def put(
        self,
        organisation: str,
        party_id: str,
        party: Party,
        *,
        sealed_to: Iterable[Role] | None = None,
    ) -> None:
        """Keep a party's particulars, new or instead of the former ones. PartyErased if erased.

        `sealed_to` are the only roles that may read a new party and its notes; without any it is
        open to whoever may read the vault. A known one keeps the seal that it has: without
        `sealed_to` silently, SealFixed if that is another.
        """
        await self.put_many(organisation, {party_id: party}, sealed_to=sealed_to)

    async def put_many(
        self,
        organisation: str,
        parties: Mapping[str, Party],
        *,
        sealed_to: Iterable[Role] | None = None,
    ) -> None:
        """The same for many, in one call. If one of them was erased, none is kept."""
        wanted = None if sealed_to is None else sorted(set(sealed_to))
        if wanted == []:
            raise VaultError("Name at least one role to which the party is sealed.")
        missing = dict(parties)
        while missing:
            # A second round only where another process put or erased one of them meanwhile.
            keys = await self._keys(organisation, list(missing))
            rows: list[tuple[str, str, bytes, bytes]] = []
            for party_id, party in missing.items():
                known = keys.get(party_id)
                if known is None:
                    key = random_key()
                    wrapped = self._wrapping.wrap(key, organisation, party_id, wanted)
                else:
                    if wanted is not None and wanted != known["sealed_to"]:
                        raise SealFixed(party_id)
                    key = self._wrapping.unwrap(known, organisation, party_id)
                    wrapped = known["wrapped_key"]
                sealed = seal(
                    key, party.model_dump_json().encode(), "party", organisation, party_id
                )
                rows.append((party_id, self._wrapping.id, wrapped, sealed))
            async with reached():
                written = await self._pool.fetch(
                    _PUT, organisation, *zip(*rows, strict=True), wanted
                )
            for row in written:
                del missing[row[0]]

    async def show(self, organisation: str, party_id: str, *, reader: Actor | None = None) -> Party:
        """A party's particulars, or PartyUnknown, PartyErased, PartySealed, WrongKey or Tampered.

        `reader` is who looks, in which role. A sealed party is shown to nobody without one, and
        every look at it is kept.
        """
        async with reached():
            row = await self._pool.fetchrow(_READ, organisation, party_id, *_about(reader))
        if row is None:
            raise PartyUnknown(party_id)
        key = self._key(row, organisation, party_id)
        opened = unseal(key, row["sealed"], "party", organisation, party_id)
        return Party.model_validate_json(opened)

    async def check(self, organisation: str, party_id: str) -> None:
        """PartyUnknown, PartyErased or WrongKey if notes can't be added; nothing is read of it."""
        if not await self._keys(organisation, [party_id]):
            raise PartyUnknown(party_id)

    async def seal_of(self, organisation: str, party_id: str) -> tuple[str, ...]:
        """The roles that a party is sealed to (WAT-2.5), if any. Errors as for `check`."""
        keys = await self._keys(organisation, [party_id])
        if party_id not in keys:
            raise PartyUnknown(party_id)
        return tuple(keys[party_id]["sealed_to"] or ())

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
            known = (await self._keys(organisation, [party_id])).get(party_id)
            if known is None:
                raise PartyUnknown(party_id)
            key = self._wrapping.unwrap(known, organisation, party_id)
            sealed = seal(key, note.text.encode(), "note", organisation, party_id, str(note.id))
            async with reached():
                if await self._pool.fetchval(
                    _ADD_NOTE, organisation, party_id, known["wrapped_key"], note.id, sealed
                ):
                    return note.id

    async def notes(
        self, organisation: str, party_id: str, *, reader: Actor | None = None
    ) -> list[PartyNote]:
        """A party's remarks in the order in which they were made. Errors as for `show`."""
        async with reached():
            rows = await self._pool.fetch(_NOTES, organisation, party_id, *_about(reader))
        if not rows:
            raise PartyUnknown(party_id)
        key = self._key(rows[0], organisation, party_id)
        return [
            PartyNote(
                id=row["note_id"],
                written_at=row["written_at"],
                text=unseal(
                    key, row["sealed"], "note", organisation, party_id, str(row["note_id"])
                ).decode(),
            )
            for row in rows
            if row["note_id"] is not None
        ]

    def _key(self, row: asyncpg.Record, organisation: str, party_id: str) -> bytes:
        """The key of a party that was read, if its reader was let."""
        if row["erased_at"] is not None:
            raise PartyErased(party_id, row["erased_at"])
        if not row["granted"]:
            raise PartySealed(party_id, row["sealed_to"])
        return self._wrapping.unwrap(row, organisation, party_id)

    async def _keys(self, organisation: str, party_ids: list[str]) -> dict[str, asyncpg.Record]:
        """The wrapped keys, with their seals, of those who are in the vault."""
        async with reached():
            rows = await self._pool.fetch(_KEYS, organisation, party_ids)
        for row in rows:
            if row["erased_at"] is not None:
                raise PartyErased(row["party_id"], row["erased_at"])
            self._wrapping.check(row["key_id"], row["party_id"])
        return {row["party_id"]: row for row in rows}


async def rewrap(
    admin_url: str, old_key: bytes, new_key: bytes, report: Callable[[str], None]
) -> int:
    """Wrap every party's key, and every webhook's secret, anew; returns how many.

    Safe to interrupt and run again. Stop whatever uses the old key first: it can't read what is
    done already.
    """
    old, new = Wrapping(old_key), Wrapping(new_key)
    done = 0
    async with reached(), as_owner(admin_url) as connection:
        async with connection.transaction():
            for row in await connection.fetch(_WRAPPED_SECRETS, old.id):
                place = row["organisation"], row["id"]
                secret = new.wrap(old.unwrap(row, *place), *place, None)
                await connection.execute(_REWRAP_SECRET, *place, new.id, secret)
                done += 1
        while True:
            async with connection.transaction():
                rows = await connection.fetch(_WRAPPED, old.id)
                if not rows or old.id == new.id:
                    return done
                columns: list[tuple[str, str, bytes]] = []
                for row in rows:
                    place = row["organisation"], row["party_id"]
                    key = old.unwrap(row, *place)
                    columns.append((*place, new.wrap(key, *place, row["sealed_to"])))
                await connection.execute(_REWRAP, new.id, *zip(*columns, strict=True))
            done += len(rows)
            report(f"{done} keys wrapped anew")


def _about(reader: Actor | None) -> tuple[str | None, str | None, str | None]:
    return (None, None, None) if reader is None else (reader.subject, reader.role, reader.proof)
