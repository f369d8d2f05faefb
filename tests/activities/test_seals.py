"""Parties sealed to roles (WAT-2.5): nobody else reads them, and every look at them is kept."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from activities.vault import (
    PartyErased,
    PartySealed,
    PartyUnknown,
    SealFixed,
    Vault,
    rewrap,
)
from activities.vault_keys import Tampered, VaultError
from schemas.base import Actor, Role
from schemas.party import Party
from tests.activities.appends import ORGANISATION
from tests.activities.conftest import KEY
from tests.conftest import Database

LI = Party(name="Li Marker", phone="555-Marker")
SEAL: tuple[Role, ...] = ("supervisor", "conduct_officer")
OFFICER = Actor(subject="s-4", role="conduct_officer", proof="token")
CLERK = Actor(subject="s-7", role="clerk", proof="local")
ADMIN = Actor(subject="s-1", role="admin", proof="token")


async def readings(admin: asyncpg.Connection) -> list[tuple[Any, ...]]:
    rows = await admin.fetch(
        "SELECT party_id, what, subject, role, proof, granted FROM vault_readings ORDER BY number"
    )
    return [tuple(row) for row in rows]


@pytest.fixture
async def sealed(vault: Vault) -> None:
    await vault.put(ORGANISATION, "party-1", LI, sealed_to=SEAL)
    await vault.add_note(ORGANISATION, "party-1", "Marker called")


@pytest.mark.usefixtures("sealed")
async def test_a_sealed_party_is_shown_to_its_roles_alone(vault: Vault) -> None:
    assert await vault.show(ORGANISATION, "party-1", reader=OFFICER) == LI
    (note,) = await vault.notes(ORGANISATION, "party-1", reader=OFFICER)
    assert note.text == "Marker called"
    for reader in (CLERK, ADMIN, None):
        for asked in (
            vault.show(ORGANISATION, "party-1", reader=reader),
            vault.notes(ORGANISATION, "party-1", reader=reader),
        ):
            with pytest.raises(PartySealed, match="conduct officer or supervisor") as caught:
                await asked
            assert "Marker" not in str(caught.value)


@pytest.mark.usefixtures("sealed")
async def test_every_look_at_a_sealed_party_is_kept_granted_or_refused(
    vault: Vault, admin: asyncpg.Connection
) -> None:
    await vault.show(ORGANISATION, "party-1", reader=OFFICER)
    await vault.notes(ORGANISATION, "party-1", reader=OFFICER)
    for reader in (CLERK, None):
        with pytest.raises(PartySealed):
            await vault.show(ORGANISATION, "party-1", reader=reader)
    with pytest.raises(PartySealed):
        await vault.notes(ORGANISATION, "party-1", reader=CLERK)
    assert await readings(admin) == [
        ("party-1", "particulars", "s-4", "conduct_officer", "token", True),
        ("party-1", "notes", "s-4", "conduct_officer", "token", True),
        ("party-1", "particulars", "s-7", "clerk", "local", False),
        ("party-1", "particulars", None, None, None, False),
        ("party-1", "notes", "s-7", "clerk", "local", False),
    ]
    row = await admin.fetchrow("SELECT organisation, min(at) AS at FROM vault_readings GROUP BY 1")
    assert row is not None
    assert row["organisation"] == ORGANISATION
    assert abs((datetime.now(UTC) - row["at"]).total_seconds()) < 60


async def test_an_open_party_is_shown_to_whoever_asks_and_nothing_is_kept(
    vault: Vault, admin: asyncpg.Connection
) -> None:
    await vault.put(ORGANISATION, "party-1", LI)
    for reader in (None, CLERK):
        assert await vault.show(ORGANISATION, "party-1", reader=reader) == LI
        assert await vault.notes(ORGANISATION, "party-1", reader=reader) == []
    with pytest.raises(PartyUnknown):
        await vault.show(ORGANISATION, "party-2", reader=CLERK)
    assert await readings(admin) == []


@pytest.mark.usefixtures("sealed")
async def test_a_note_can_be_added_by_who_may_not_read(
    vault: Vault, admin: asyncpg.Connection
) -> None:
    await vault.check(ORGANISATION, "party-1")
    await vault.add_note(ORGANISATION, "party-1", "called again")
    assert await readings(admin) == []
    texts = [n.text for n in await vault.notes(ORGANISATION, "party-1", reader=OFFICER)]
    assert texts == ["Marker called", "called again"]


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize(
    "tampered",
    [
        "NULL",
        "ARRAY['clerk']",
        "sealed_to || 'clerk'::text",
        "sealed_to[1:1]",
        "ARRAY['supervisor', 'conduct_officer']",
    ],
)
async def test_a_seal_changed_in_the_table_opens_nothing(
    vault: Vault, admin: asyncpg.Connection, tampered: str
) -> None:
    await admin.execute(f"UPDATE parties SET sealed_to = {tampered}")
    readers = (CLERK, OFFICER, None) if tampered == "NULL" else (CLERK, OFFICER)
    for reader in readers:
        for asked in (
            vault.show(ORGANISATION, "party-1", reader=reader),
            vault.notes(ORGANISATION, "party-1", reader=reader),
        ):
            with pytest.raises((Tampered, PartySealed)) as caught:
                await asked
            seal = await admin.fetchval("SELECT sealed_to FROM parties")
            let = seal is None or (reader is not None and reader.role in seal)
            assert isinstance(caught.value, Tampered) is let


async def test_an_open_party_cannot_be_sealed_in_the_table(
    vault: Vault, admin: asyncpg.Connection
) -> None:
    await vault.put(ORGANISATION, "party-1", LI)
    await admin.execute("UPDATE parties SET sealed_to = ARRAY['clerk']")
    with pytest.raises(Tampered):
        await vault.show(ORGANISATION, "party-1", reader=CLERK)


@pytest.mark.usefixtures("sealed")
async def test_a_seal_is_set_once(vault: Vault) -> None:
    moved = LI.model_copy(update={"address": "Elsewhere 1"})
    await vault.put(ORGANISATION, "party-1", moved)  # as it is sealed
    with pytest.raises(PartySealed):
        await vault.show(ORGANISATION, "party-1", reader=CLERK)
    await vault.put(ORGANISATION, "party-1", moved, sealed_to=(*SEAL[::-1], SEAL[0]))  # the same
    assert await vault.show(ORGANISATION, "party-1", reader=OFFICER) == moved
    with pytest.raises(SealFixed, match="party-1 is in the vault under another seal"):
        await vault.put(ORGANISATION, "party-1", LI, sealed_to=("clerk",))
    await vault.put(ORGANISATION, "party-2", LI)
    with pytest.raises(SealFixed):
        await vault.put_many(ORGANISATION, {"party-2": moved, "party-3": LI}, sealed_to=SEAL)
    assert await vault.show(ORGANISATION, "party-2") == LI
    with pytest.raises(PartyUnknown):
        await vault.show(ORGANISATION, "party-3")
    with pytest.raises(VaultError, match="at least one role"):
        await vault.put(ORGANISATION, "party-4", LI, sealed_to=())


async def test_many_are_sealed_at_once_and_whoever_comes_first_sets_the_seal(vault: Vault) -> None:
    many = {f"party-{n}": Party(name=f"Name {n}") for n in range(10)}
    await vault.put_many(ORGANISATION, many, sealed_to=SEAL)
    assert await vault.show(ORGANISATION, "party-9", reader=OFFICER) == many["party-9"]
    seals: list[tuple[Role, ...]] = [("clerk",), ("supervisor",), ("clerk",), ("supervisor",)]
    results = await asyncio.gather(
        *(vault.put(ORGANISATION, "party-race", LI, sealed_to=seal) for seal in seals),
        return_exceptions=True,
    )
    refused = [seal for seal, result in zip(seals, results, strict=True) if result is not None]
    assert all(isinstance(result, SealFixed) for result in results if result is not None)
    assert len(set(refused)) == 1
    (winner,) = {"clerk", "supervisor"} - set(refused[0])
    reader = Actor.model_validate({"subject": "s-2", "role": winner, "proof": "token"})
    assert await vault.show(ORGANISATION, "party-race", reader=reader) == LI


@pytest.mark.usefixtures("sealed")
async def test_an_erased_party_leaves_the_record_of_who_looked(
    vault: Vault, admin: asyncpg.Connection
) -> None:
    await vault.show(ORGANISATION, "party-1", reader=OFFICER)
    before = await readings(admin)
    await vault.erase(ORGANISATION, "party-1")
    for reader in (OFFICER, CLERK, None):
        for asked in (
            vault.show(ORGANISATION, "party-1", reader=reader),
            vault.notes(ORGANISATION, "party-1", reader=reader),
        ):
            with pytest.raises(PartyErased):
                await asked
    with pytest.raises(PartyErased):
        await vault.check(ORGANISATION, "party-1")
    assert await readings(admin) == before


@pytest.mark.usefixtures("sealed")
async def test_a_seal_outlasts_the_key_that_it_is_bound_with(
    vault: Vault, pool: asyncpg.Pool, database: Database, admin: asyncpg.Connection
) -> None:
    other_key = bytes(32)
    assert await rewrap(database.admin_url, KEY, other_key, lambda _: None) == 1
    new = Vault(pool, other_key)
    assert await new.show(ORGANISATION, "party-1", reader=OFFICER) == LI
    with pytest.raises(PartySealed):
        await new.show(ORGANISATION, "party-1", reader=CLERK)
    await admin.execute("UPDATE parties SET sealed_to = NULL")
    with pytest.raises(Tampered):
        await new.show(ORGANISATION, "party-1", reader=CLERK)


@pytest.mark.usefixtures("sealed")
async def test_the_database_itself_gives_a_sealed_party_to_its_roles_alone(
    database: Database,
) -> None:
    # Whoever has the gateway's login but not its program.
    connection = await asyncpg.connect(
        database.url("standpipe_gateway"), server_settings={"search_path": "standpipe"}
    )
    try:
        for function in ("read_party", "read_party_notes"):
            query = f"SELECT granted, sealed FROM {function}('town', 'party-1', 's-7', $1, 'local')"
            for role in ("clerk", "", None):
                refused = await connection.fetch(query, role)
                assert [tuple(row) for row in refused] == [(False, None)]
            (let,) = await connection.fetch(query, "supervisor")
            assert let["granted"] is True
            assert let["sealed"] is not None
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                "SELECT may_read(NULL::parties, 'notes', 's-7', 'clerk', 'local')"
            )
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM vault_readings")
    finally:
        await connection.close()
