"""Checkpoints: whole trees, signed once, kept outside, and never two pasts of one log."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from activities.checkpoints import Checkpoints, Contradiction, Folder, NotKept, Pace
from activities.database import open_pool
from activities.event_log import EventLog
from audit import proofs
from audit.notes import Checkpoint, Signer, open_note, sign
from audit.proofs import Tile
from audit.tree import Frontier, ProofError, verify_consistency, verify_inclusion
from gateway.checkpoints import checkpoints, checkpoints_id, ensure_checkpoints
from gateway.session import Session
from schemas.checkpoints import Checkpointing
from settings import Settings, SettingsError
from stack import Endpoints, url_as
from tests.activities.appends import ORGANISATION
from tests.audit.signing import EDITED, ORIGIN, SIGNER, Book, book
from tests.conftest import Database
from tests.workflows.desk import until
from worker import build_worker, sandboxed


@pytest.fixture
async def log(database: Database, tmp_path: Path) -> AsyncIterator[Book]:
    async with book(database, tmp_path / "outside") as log:
        yield log


async def test_a_checkpoint_covers_every_event_and_is_kept_outside_the_database(log: Book) -> None:
    assert await log.signing().make() is None, "of nothing there is no checkpoint"
    await log.grow(3)
    made = await log.signing().make()
    assert made == Checkpoint(ORIGIN, 3, await log.root())
    note = log.kept.read_text()
    assert open_note(note, [SIGNER.verifier]) == made
    async with log.pool.acquire() as connection:
        assert await proofs.latest_checkpoint(connection, ORGANISATION) == note
    # Nothing new: nothing is signed, and a note that was lost outside comes back.
    log.kept.unlink()
    assert await log.signing().make() == made
    assert log.kept.read_text() == note
    assert await log.signed() == [made]


async def test_proofs_at_every_checkpoint_are_read_from_tiles_and_few_headers(log: Book) -> None:
    signing = log.signing()
    for step in (1, 254, 1, 1):
        await log.grow(step)
        await signing.make()
    for step in (300, 65_100, 35):
        await log.flood(step)
        await signing.make()
    signed = await log.signed()
    assert [c.size for c in signed] == [1, 255, 256, 257, 557, 65_657, 65_692]
    tiles = await log.pool.fetch(
        "SELECT level, count(*), max(number) AS last FROM tree_tiles GROUP BY 1 ORDER BY 1"
    )
    assert [tuple(row) for row in tiles] == [(0, 256, 255), (1, 1, 0)]

    leaves, random = await log.leaves(), Random(6)
    headers = 0

    def read(record: Any) -> None:
        nonlocal headers
        if "header FROM" in record.query:
            first, last = record.args[1:]
            headers += last - first

    async with log.pool.acquire() as connection:
        with connection.query_logger(read):
            for checkpoint in signed:
                size = checkpoint.size
                for index in {0, size - 1, *(random.randrange(size) for _ in range(12))}:
                    headers = 0
                    proof = await proofs.inclusion(connection, ORGANISATION, index, size)
                    verify_inclusion(leaves[index], index, size, proof, checkpoint.root)
                    await asyncio.sleep(0)  # it is told a moment later
                    assert headers < 256
            for old in signed:
                for new in signed[signed.index(old) :]:
                    headers = 0
                    proof = await proofs.consistency(connection, ORGANISATION, old.size, new.size)
                    verify_consistency(old.size, old.root, new.size, new.root, proof)
                    await asyncio.sleep(0)
                    assert headers < 256
        for position, size in ((1, 1), (2, 255), (256, 256), (557, 557), (558, 65_657)):
            note = await proofs.checkpoint_covering(connection, ORGANISATION, position)
            assert note is not None
            assert open_note(note, [SIGNER.verifier]).size == size
        assert await proofs.checkpoint_covering(connection, ORGANISATION, 65_693) is None
        # Tiles of any width, as C2SP's tlog-tiles serves them.
        for at, width, hashes in (
            (Tile(0, 0), 256, leaves[:256]),
            (Tile(0, 256), 156, leaves[65_536:]),
            (Tile(0, 256), 157, None),
            (Tile(2, 0), 1, [grown(leaves[:65_536])]),
            (Tile(2, 0), 2, None),
            (Tile(1, 0), 3, [grown(leaves[n * 256 :][:256]) for n in range(3)]),
        ):
            assert await proofs.tile(connection, ORGANISATION, at, width) == hashes
    # A worker died between two levels of tiles, in a database that knew of no checkpoint.
    await log.torn("DELETE FROM tree_tiles WHERE level = 1", "DELETE FROM checkpoints")
    assert await signing.make() == signed[-1]
    assert await log.pool.fetchval("SELECT count(*) FROM tree_tiles") == 257


def grown(leaves: list[bytes]) -> bytes:
    tree = Frontier()
    tree.extend(leaves)
    return tree.root()


async def test_a_proof_that_no_checkpoint_covers_is_not_made_up(log: Book) -> None:
    await log.grow(300)
    async with log.pool.acquire() as connection:
        with pytest.raises(ProofError, match="lacks hashes in tile"):
            await proofs.inclusion(connection, ORGANISATION, 0, 301)
        with pytest.raises(ProofError, match="no leaf"):
            await proofs.inclusion(connection, ORGANISATION, 300, 300)


CUT = (
    "DELETE FROM events WHERE position > 290",
    "UPDATE heads SET position = 290",
)
TORN = {
    "the tail was cut": CUT,
    "all was deleted": ("DELETE FROM events", "DELETE FROM heads"),
    "an event was taken out of the tail": (
        "DELETE FROM events WHERE position = 290",
        "UPDATE events SET position = position - 1 WHERE position > 290",
        "UPDATE heads SET position = position - 1",
    ),
    "an event disappeared": ("DELETE FROM events WHERE position = 299",),
    "a header was edited": (f"{EDITED} WHERE position = 270",),
    "a tile was edited": (
        "UPDATE tree_tiles SET root = sha256(root)",
        "UPDATE tree_tiles SET hashes = overlay(hashes PLACING root FROM 1 FOR 32)",
    ),
    "the checkpoint's root was edited": ("UPDATE checkpoints SET note = replace(note, '/', 'A')",),
    "checkpoints were deleted with their events": (
        *CUT,
        "DELETE FROM checkpoints",
    ),
}


@pytest.mark.parametrize("what", TORN)
async def test_a_log_that_contradicts_what_was_signed_is_never_signed_again(
    log: Book, what: str
) -> None:
    await log.grow(301)
    await log.signing().make()
    note = log.kept.read_text()
    await log.torn(*TORN[what])
    with pytest.raises(Contradiction) as found:
        await log.signing().make()
    assert "301" in str(found.value)
    assert log.kept.read_text() == note
    # Not even when so much has come after it that it looks long enough.
    await log.torn(
        "INSERT INTO heads SELECT 'town', 0 WHERE NOT EXISTS (SELECT FROM heads)",
    )
    await log.flood(700)
    rows = await log.pool.fetchval("SELECT count(*) FROM checkpoints")
    with pytest.raises(Contradiction):
        await log.signing().make()
    assert await log.pool.fetchval("SELECT count(*) FROM checkpoints") == rows
    assert log.kept.read_text() == note


async def test_an_older_backup_is_found_out_and_trusted_again_once_its_events_are_back(
    log: Book, servers: Endpoints, tmp_path: Path
) -> None:
    await log.grow(200)
    await log.signing().make()
    await log.grow(100)
    last = await log.signing().make()
    assert last is not None
    async with await another(servers) as backup:
        restored = Book(log.database, backup, log.folder)
        await restored.grow(200)
        with pytest.raises(Contradiction, match=r"has 200 events, and a checkpoint over 300"):
            await restored.signing().make()
        assert await restored.signed() == []
        await restored.grow(100)
        assert await restored.signing().make() == last
        await restored.grow(1)
        newer = await restored.signing().make()
        assert newer is not None
        assert newer.size == 301
        assert open_note(log.kept.read_text(), [SIGNER.verifier]) == newer


async def another(servers: Endpoints) -> asyncpg.Pool:
    assert servers.admin_url is not None
    name = f"test_{uuid4().hex}"
    connection = await asyncpg.connect(url_as(servers.admin_url, database="postgres"))
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE standpipe")
    await connection.close()
    return await open_pool(url_as(servers.admin_url, database=name, role="standpipe_worker"))


async def test_makers_at_the_same_time_sign_one_past(log: Book) -> None:
    for turn in range(5):
        await log.grow(60, stream=f"repair-{turn}")
        made = await asyncio.gather(
            *(log.signing().make() for _ in range(3)), return_exceptions=True
        )
        assert any(isinstance(each, Checkpoint) for each in made)
        assert not any(isinstance(each, Contradiction) for each in made)
    assert [c.size for c in await log.signed()] == [60, 120, 180, 240, 300]


async def test_the_note_outside_is_never_replaced_by_an_older_one(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "town")
    notes = {n: sign(Checkpoint(ORIGIN, n, bytes([n]) * 32), SIGNER) for n in (1, 2)}
    folder.write(notes[2], 2)
    folder.write(notes[1], 1)
    kept = folder.read()
    assert kept is not None
    assert (kept.size, kept.note) == (2, notes[2])
    assert {path.name for path in folder.path.parent.iterdir()} == {"checkpoint", ".lock"}
    folder.path.write_bytes(b"\xff")
    with pytest.raises(Contradiction, match="damaged"):
        folder.read()


async def test_a_folder_that_cannot_be_written_is_said_and_made_up_for(
    log: Book, tmp_path: Path
) -> None:
    await log.grow(2)
    (tmp_path / "outside").write_text("not a folder")
    with pytest.raises(NotKept, match="cannot be"):
        await log.signing().make()
    (tmp_path / "outside").unlink()
    made = await log.signing().make()
    assert made == open_note(log.kept.read_text(), [SIGNER.verifier])


async def test_a_new_key_goes_on_where_the_old_one_stopped(log: Book) -> None:
    await log.grow(2)
    await log.signing().make()
    newer = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))
    await log.grow(1)
    made = await Checkpoints(log.pool, ORGANISATION, newer, log.folder).make()
    assert made is not None
    assert open_note(log.kept.read_text(), [newer.verifier]) == made
    assert made.size == 3


@pytest.mark.parametrize("table", ["tree_tiles", "checkpoints", "timestamps"])
async def test_what_was_signed_is_never_changed(log: Book, table: str) -> None:
    await log.grow(300)
    await log.signing().make()
    admin = await asyncpg.connect(
        log.database.admin_url, server_settings={"search_path": "standpipe"}
    )
    try:
        for statement in (
            f"UPDATE {table} SET organisation = 'x'",
            f"DELETE FROM {table}",
            f"TRUNCATE {table}",
            f"SET session_replication_role = replica; DELETE FROM {table}",
        ):
            with pytest.raises(asyncpg.PostgresError) as refusal:
                await admin.execute(statement)
            assert refusal.value.sqlstate == "SP003"
    finally:
        await admin.close()
    for role in ("standpipe_worker", "standpipe_gateway", "standpipe_auditor"):
        connection = await asyncpg.connect(
            log.database.url(role), server_settings={"search_path": "standpipe"}
        )
        try:
            for statement in (
                f"INSERT INTO {table} SELECT * FROM {table}",
                f"DELETE FROM {table}",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
            if role != "standpipe_worker":
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(
                        "SELECT record_checkpoint('town', 301, sha256(''), 'x')"
                    )
        finally:
            await connection.close()


async def test_the_database_itself_takes_no_second_past(log: Book) -> None:
    await log.grow(300)
    await log.signing().make()
    root = await log.root()
    for size, other in ((300, bytes(32)), (299, root), (301, root)):
        with pytest.raises(asyncpg.PostgresError) as refusal:
            await log.pool.fetchval(
                "SELECT record_checkpoint($1, $2, $3, 'x')", ORGANISATION, size, other
            )
        assert refusal.value.sqlstate == "SP004"
    tile = b"".join((await log.leaves())[:256])
    for first, hashes in ((0, bytes(8192)), (2, tile)):
        with pytest.raises(asyncpg.PostgresError) as refusal:
            await log.pool.execute(
                "SELECT record_tiles($1, 0, $2, $3, $4)",
                ORGANISATION,
                first,
                [bytes(32)],
                [hashes],
            )
        assert refusal.value.sqlstate == "SP004"


async def sees(handle: WorkflowHandle[Any, Any], word: str) -> None:
    async def said() -> bool:
        details = await handle.query("__temporal_workflow_metadata")
        return word in str(details)

    await until(said)


async def test_the_workflow_signs_at_once_what_is_much_and_in_time_what_is_little(
    log: Book, temporal: Client, task_queue: str
) -> None:
    pace = Pace(stretch=0.4, poll=0.05, events=256, every=0.5)
    signing = log.signing(pace=pace)
    async with working(temporal, log, task_queue, signing) as handle:
        await log.grow(3)
        assert await log.signed() == []
        await signed_up_to(log, 3)
        slow = log.signing(pace=Pace(stretch=30, poll=0.05, every=3600))
    async with working(temporal, log, task_queue, slow) as handle:
        await log.grow(255)
        await asyncio.sleep(0.3)
        assert (await log.signed())[-1].size == 3
        await log.grow(1)
        await signed_up_to(log, 259)
        await handle.terminate()


async def test_the_workflow_stops_at_a_contradiction_says_so_and_goes_on_when_it_is_gone(
    log: Book, temporal: Client, task_queue: str
) -> None:
    await log.grow(3)
    signing = log.signing(pace=Pace(stretch=0.3, poll=0.05, every=0.1))
    async with working(temporal, log, task_queue, signing) as handle:
        await signed_up_to(log, 3)
        await sees(handle, "Signed up to position 3")
        await log.torn("UPDATE heads SET position = 2")
        await sees(handle, "No checkpoint is signed any more")
        await log.torn("UPDATE heads SET position = 3")
        await log.grow(1)
        await handle.signal("wake")
        await signed_up_to(log, 4)
        await sees(handle, "Signed up to position 4")
        await handle.terminate()
    history = await handle.fetch_history()
    failures = [e.activity_task_failed_event_attributes for e in history.events]
    (failure,) = [f.failure for f in failures if f.failure.message]
    assert failure.application_failure_info.type == "Contradiction"
    assert failure.application_failure_info.non_retryable
    assert failure.message.startswith("The log of town has 2 events")


async def test_who_has_the_key_sees_that_the_workflow_runs_and_who_has_not_leaves_it(
    log: Book, temporal: Client, task_queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    organisation = f"t-{uuid4().hex[:20]}"
    for name, value in {
        "DATABASE_URL": log.database.url(),
        "ORGANISATION": organisation,
        "TASK_QUEUE": task_queue,
        "DATA_DIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(f"STANDPIPE_{name}", value)
    async with Session(Settings()) as session:
        assert checkpoints(session) is None
        assert not await ensure_checkpoints(session, temporal)
    key = tmp_path / "key.pem"
    monkeypatch.setenv("STANDPIPE_CHECKPOINT_KEY_FILE", str(key))
    key.write_text("no key")
    async with Session(Settings()) as session:
        with pytest.raises(SettingsError, match="no Ed25519 private key"):
            checkpoints(session)
        key.write_bytes(
            SIGNER.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        assert checkpoints(session) is not None
        assert await ensure_checkpoints(session, temporal)
        assert await ensure_checkpoints(session, temporal), "the same again is as good"
    handle = temporal.get_workflow_handle(checkpoints_id(organisation))
    assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING
    await handle.terminate()


async def signed_up_to(log: Book, size: int) -> None:
    async def enough() -> bool:
        signed = await log.signed()
        return bool(signed) and signed[-1].size >= size

    await until(enough)
    assert (await log.signed())[-1].root == await log.root(size)


class working:
    """A worker, and the checkpoint workflow on it."""

    def __init__(self, client: Client, log: Book, task_queue: str, signing: Checkpoints) -> None:
        self._client = client
        self._queue = task_queue
        self._worker = build_worker(
            client,
            EventLog(log.pool),
            organisation=ORGANISATION,
            task_queue=task_queue,
            runner=sandboxed(),
            more_activities=[signing.serve],
        )

    async def __aenter__(self) -> WorkflowHandle[Any, Any]:
        await self._worker.__aenter__()
        self._handle = await self._client.start_workflow(
            "CheckpointWorkflow",
            Checkpointing(organisation=ORGANISATION).model_dump(mode="json"),
            id=f"checkpoints-{uuid4().hex}",
            task_queue=self._queue,
        )
        return self._handle

    async def __aexit__(self, *error: object) -> None:
        if error[0] is not None or (await self._handle.describe()).status == 1:
            await self._handle.terminate()
        await self._worker.__aexit__(None, None, None)
