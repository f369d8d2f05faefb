"""The vault: what is personal opens with the right key in the right place, and nowhere else."""

import asyncio
import traceback
from datetime import UTC, datetime

import asyncpg
import pytest
from pydantic import ValidationError

from activities.event_log import EventLog
from activities.vault import (
    PartyErased,
    PartyUnknown,
    Vault,
    rewrap,
)
from activities.vault_keys import Tampered, VaultError, WrongKey
from schemas.party import Party
from tests.activities.appends import ORGANISATION, decision, event, request
from tests.activities.conftest import KEY
from tests.conftest import Database

LI = Party(
    name="Li Marker",
    phone="555-Marker",
    address="Marker Road 7 燃气",
    remarks="Marker: ring twice",
    special_care=True,
)
OTHER_KEY = bytes(32)


async def test_a_party_comes_back_as_it_was_put(vault: Vault) -> None:
    await vault.put(ORGANISATION, "party-1", LI)
    await vault.put(ORGANISATION, "party-2", Party())
    assert await vault.show(ORGANISATION, "party-1") == LI
    assert await vault.show(ORGANISATION, "party-2") == Party()


async def test_a_party_put_again_keeps_its_notes(vault: Vault) -> None:
    await vault.put(ORGANISATION, "party-1", LI)
    note = await vault.add_note(ORGANISATION, "party-1", "has a dog")
    moved = LI.model_copy(update={"address": "Elsewhere 1"})
    await vault.put(ORGANISATION, "party-1", moved)
    assert await vault.show(ORGANISATION, "party-1") == moved
    assert [(n.id, n.text) for n in await vault.notes(ORGANISATION, "party-1")] == [
        (note, "has a dog")
    ]


async def test_a_note_sent_twice_is_kept_once(vault: Vault) -> None:
    await vault.put(ORGANISATION, "party-1", LI)
    first = await vault.add_note(ORGANISATION, "party-1", "first")
    second = await vault.add_note(ORGANISATION, "party-1", "second")
    assert await vault.add_note(ORGANISATION, "party-1", "first", first) == first
    assert [n.id for n in await vault.notes(ORGANISATION, "party-1")] == [first, second]


async def test_many_are_put_at_once_new_ones_and_known_ones(vault: Vault) -> None:
    await vault.put(ORGANISATION, "party-3", Party(name="Before"))
    many = {f"party-{n}": Party(name=f"Name {n}") for n in range(50)}
    await vault.put_many(ORGANISATION, many)
    await vault.put_many(ORGANISATION, {})
    for party_id in ("party-0", "party-3", "party-49"):
        assert await vault.show(ORGANISATION, party_id) == many[party_id]


async def test_a_party_put_by_many_at_once_has_one_key(vault: Vault) -> None:
    parties = [Party(name=f"Name {n}") for n in range(8)]
    await asyncio.gather(*(vault.put(ORGANISATION, "party-1", party) for party in parties))
    assert await vault.show(ORGANISATION, "party-1") in parties


async def test_an_erased_party_is_gone_for_good(vault: Vault, admin: asyncpg.Connection) -> None:
    await vault.put(ORGANISATION, "party-1", LI)
    await vault.add_note(ORGANISATION, "party-1", "has a dog")
    erased_at = await vault.erase(ORGANISATION, "party-1")
    assert abs((datetime.now(UTC) - erased_at).total_seconds()) < 60
    assert await vault.erase(ORGANISATION, "party-1") == erased_at
    for late in (
        vault.show(ORGANISATION, "party-1"),
        vault.notes(ORGANISATION, "party-1"),
        vault.add_note(ORGANISATION, "party-1", "more"),
        vault.put(ORGANISATION, "party-1", LI),
        vault.put_many(ORGANISATION, {"party-0": LI, "party-1": LI}),
    ):
        with pytest.raises(PartyErased, match="party-1 was erased on") as caught:
            await late
        assert caught.value.erased_at == erased_at
    with pytest.raises(PartyUnknown):
        await vault.show(ORGANISATION, "party-0")
    row = await admin.fetchrow("SELECT * FROM parties")
    assert row is not None
    assert (row["key_id"], row["wrapped_key"], row["sealed"]) == (None, None, None)
    assert await admin.fetchval("SELECT count(*) FROM party_notes") == 0


async def test_an_unknown_party_is_unknown_in_every_way(vault: Vault) -> None:
    await vault.put("estate", "party-1", LI)
    for asked in (
        vault.show(ORGANISATION, "party-1"),
        vault.notes(ORGANISATION, "party-1"),
        vault.erase(ORGANISATION, "party-1"),
        vault.add_note(ORGANISATION, "party-1", "more"),
    ):
        with pytest.raises(PartyUnknown, match="knows no party-1"):
            await asked
    assert await vault.show("estate", "party-1") == LI


async def test_another_key_opens_nothing_and_spoils_nothing(
    vault: Vault, pool: asyncpg.Pool
) -> None:
    await vault.put(ORGANISATION, "party-1", LI)
    wrong = Vault(pool, OTHER_KEY)
    for asked in (
        wrong.show(ORGANISATION, "party-1"),
        wrong.notes(ORGANISATION, "party-1"),
        wrong.put(ORGANISATION, "party-1", Party(name="Other")),
        wrong.add_note(ORGANISATION, "party-1", "more"),
    ):
        with pytest.raises(WrongKey, match="STANDPIPE_KEY"):
            await asked
    assert await vault.show(ORGANISATION, "party-1") == LI
    with pytest.raises(VaultError, match="32 bytes"):
        Vault(pool, b"short")


async def test_a_key_that_only_claims_to_be_right_opens_nothing(
    vault: Vault, pool: asyncpg.Pool, admin: asyncpg.Connection
) -> None:
    other = Vault(pool, OTHER_KEY)
    await vault.put(ORGANISATION, "party-1", LI)
    await other.put(ORGANISATION, "party-2", LI)
    await admin.execute(
        "UPDATE parties SET key_id = (SELECT key_id FROM parties WHERE party_id = 'party-2')"
    )
    with pytest.raises(Tampered):
        await other.show(ORGANISATION, "party-1")


@pytest.mark.parametrize("column", ["wrapped_key", "sealed"])
@pytest.mark.parametrize(
    "damage",
    [
        "set_byte({0}, 0, get_byte({0}, 0) # 1)",
        "set_byte({0}, length({0}) - 1, get_byte({0}, length({0}) - 1) # 1)",
        "substr({0}, 1, length({0}) - 1)",
        "'\\x00'::bytea",
    ],
)
async def test_what_was_tampered_with_does_not_open(
    vault: Vault, admin: asyncpg.Connection, column: str, damage: str
) -> None:
    await vault.put(ORGANISATION, "party-1", LI)
    await admin.execute(f"UPDATE parties SET {column} = {damage.format(column)}")
    with pytest.raises(Tampered, match="of party-1 was changed outside"):
        await vault.show(ORGANISATION, "party-1")


@pytest.mark.parametrize("columns", ["sealed", "wrapped_key, sealed"])
@pytest.mark.parametrize("other", [("town", "party-2"), ("estate", "party-1")])
async def test_one_partys_row_does_not_open_as_anothers(
    vault: Vault, admin: asyncpg.Connection, columns: str, other: tuple[str, str]
) -> None:
    await vault.put(ORGANISATION, "party-1", LI)
    await vault.put(*other, Party(name="Other"))
    await admin.execute(
        f"UPDATE parties p SET ({columns}) = (SELECT {columns} FROM parties o"
        " WHERE (o.organisation, o.party_id) <> (p.organisation, p.party_id))".replace(
            "SET (sealed) =", "SET sealed ="
        )
    )
    for organisation, party_id in ((ORGANISATION, "party-1"), other):
        with pytest.raises(Tampered):
            await vault.show(organisation, party_id)


async def test_one_note_does_not_open_as_another(vault: Vault, admin: asyncpg.Connection) -> None:
    await vault.put(ORGANISATION, "party-1", LI)
    for text in ("first", "second"):
        await vault.add_note(ORGANISATION, "party-1", text)
    await admin.execute(
        "UPDATE party_notes n SET sealed ="
        " (SELECT sealed FROM party_notes o WHERE o.note_id <> n.note_id)"
    )
    with pytest.raises(Tampered, match="note of party-1"):
        await vault.notes(ORGANISATION, "party-1")


async def test_keys_are_wrapped_anew_when_the_key_changes(
    vault: Vault, pool: asyncpg.Pool, database: Database
) -> None:
    await vault.put_many(ORGANISATION, {f"party-{n}": LI for n in range(1500)})
    await vault.add_note(ORGANISATION, "party-7", "has a dog")
    await vault.erase(ORGANISATION, "party-9")
    said: list[str] = []
    assert await rewrap(database.admin_url, KEY, OTHER_KEY, said.append) == 1499
    assert said == ["1000 keys wrapped anew", "1499 keys wrapped anew"]
    assert await rewrap(database.admin_url, KEY, OTHER_KEY, said.append) == 0
    new = Vault(pool, OTHER_KEY)
    assert await new.show(ORGANISATION, "party-1499") == LI
    assert [n.text for n in await new.notes(ORGANISATION, "party-7")] == ["has a dog"]
    with pytest.raises(WrongKey):
        await vault.show(ORGANISATION, "party-1")


async def test_nothing_personal_and_no_key_is_in_the_database(
    vault: Vault, log: EventLog, admin: asyncpg.Connection
) -> None:
    await vault.put(ORGANISATION, "party-1", LI)
    await vault.put(ORGANISATION, "party-1", LI.model_copy(update={"name": "Marker Li"}))
    await vault.add_note(ORGANISATION, "party-1", "Marker: has a dog")
    await log.append_events(request("repair-1", 0, decision("a", event(party="party-1"))))
    tables = await admin.fetch(
        "SELECT format('%I.%I', schemaname, relname) FROM pg_stat_user_tables"
    )
    assert len(tables) > 8
    seen = ""
    for row in tables:
        for line in await admin.fetch(f"SELECT to_jsonb(t)::text FROM {row[0]} t"):
            seen += line[0]
    assert "party-1" in seen
    secrets = [b"Marker", KEY]
    for secret in secrets:
        assert secret.hex() not in seen
    assert "Marker" not in seen


async def test_nothing_personal_shows_itself(vault: Vault, pool: asyncpg.Pool) -> None:
    assert "Marker" not in repr(LI) + str(LI) + f"{LI}" + repr([LI])
    await vault.put(ORGANISATION, "party-1", LI)
    await vault.add_note(ORGANISATION, "party-1", "Marker")
    assert "Marker" not in repr(await vault.notes(ORGANISATION, "party-1"))
    assert KEY.hex() not in repr(vault) + repr(vars(vault))

    with pytest.raises(ValidationError) as invalid:
        Party.model_validate({"name": "Marker" * 100, "phone": 5, "nickname": "Marker"})
    assert "Marker" not in str(invalid.value)
    with pytest.raises(ValidationError) as too_long:
        await vault.add_note(ORGANISATION, "party-1", "Marker" * 2000)
    assert "Marker" not in str(too_long.value)
    with pytest.raises(WrongKey) as wrong:
        await Vault(pool, OTHER_KEY).show(ORGANISATION, "party-1")
    told = "".join(traceback.format_exception(wrong.value))
    assert "Marker" not in told
    assert OTHER_KEY.hex() not in told
