"""A witness takes what has only grown, refuses a second past for ever, and keeps the evidence."""

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner, Result

from activities.auditors import ROLE
from activities.canonical import leaf_hash
from audit.notes import Checkpoint, Cosignature, Kind, Signer, Verifier, cosignatures, open_note
from audit.notes import sign as signed
from audit.tree import Frontier, Node, ProofError, consistency_path, hashes_of
from audit.witness import SplitView, StateError, Witness
from cli import app
from tests.audit.authority import Authority, answering
from tests.audit.signing import EDITED, ORIGIN, SIGNER, Book, book
from tests.conftest import Database
from tests.workflows.desk import until

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
AUDITOR = Signer(
    "auditor.example/w1", Ed25519PrivateKey.from_private_bytes(b"w" * 32), Kind.COSIGNER
)
PEM = SIGNER.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
STRANGER = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"s" * 32))


class Log:
    """A log that shows what it likes."""

    def __init__(self, *leaves: str, signer: Signer = SIGNER, origin: str = ORIGIN) -> None:
        self.leaves = [leaf_hash(each.encode()) for each in leaves]
        self.note: str | None = signed(
            Checkpoint(origin, len(leaves), self.root(0, len(leaves))), signer
        )
        self.proof: list[bytes] | None = None

    def root(self, start: int, end: int) -> bytes:
        tree = Frontier()
        tree.extend(self.leaves[start:end])
        return tree.root()

    def node(self, node: Node) -> bytes:
        return self.root(node.number << node.level, (node.number + 1) << node.level)

    async def latest(self) -> str | None:
        return self.note

    async def consistency(self, old_size: int, size: int) -> Sequence[bytes]:
        if self.proof is not None:
            return self.proof
        return hashes_of(consistency_path(old_size, size), self.node)


def witness(folder: Path, **options: Any) -> Witness:
    return Witness(folder / "state", SIGNER.verifier, clock=lambda: NOON, **options)


async def test_a_witness_takes_what_has_only_grown(tmp_path: Path) -> None:
    watching = witness(tmp_path)
    nothing = Log()
    nothing.note = None
    assert await watching.look(nothing) is None
    sizes = [(await looked(watching, *"abcdefg"[:size])) for size in (1, 3, 3, 4, 7)]
    assert sizes == [(None, 1), (1, 3), (3, 3), (3, 4), (4, 7)]
    assert watching.note.read_text() == Log(*"abcdefg").note
    # Another day, another process: it goes on where it stopped.
    assert await looked(witness(tmp_path), *"abcdefgh") == (7, 8)


async def looked(watching: Witness, *leaves: str) -> tuple[int | None, int]:
    seen = await watching.look(Log(*leaves))
    assert seen is not None
    assert seen.root == Log(*leaves).root(0, len(leaves)).hex()
    return seen.before, seen.size


async def test_a_witness_signs_what_it_found_consistent(tmp_path: Path) -> None:
    watching = witness(tmp_path, cosigner=AUDITOR)
    for leaves in ("abc", "abcd"):
        seen = await watching.look(Log(*leaves))
        assert seen is not None
        assert seen.cosigned_by == AUDITOR.name
        note = watching.note.read_text()
        assert open_note(note, [SIGNER.verifier, AUDITOR.verifier]).size == len(leaves)
        assert cosignatures(note, [AUDITOR.verifier]) == [
            Cosignature(AUDITOR.name, int(NOON.timestamp()))
        ]


def without_proof(log: Log) -> Log:
    async def none(old_size: int, size: int) -> Sequence[bytes]:
        raise ProofError("tiles are missing")

    log.consistency = none
    return log


def showing(log: Log, **fields: Any) -> Log:
    for name, value in fields.items():
        setattr(log, name, value)
    return log


SPLIT: dict[str, tuple[Callable[[], Log], str]] = {
    "another past": (lambda: Log(*"abXdefg"), "did not grow out of"),
    "another past of the same size": (lambda: Log(*"abcdX"), "did not grow out of"),
    "fewer events": (lambda: Log(*"abcd"), "has signed 5 events, and now shows 4"),
    "none at all": (lambda: showing(Log(), note=None), "no checkpoint any more"),
    "an empty log": (lambda: Log(), "now shows 0"),
    "another's signature": (lambda: Log(*"abcdef", signer=STRANGER), "not signed"),
    "another log": (lambda: Log(*"abcdef", origin="standpipe/village"), "another log"),
    "no note": (lambda: showing(Log(*"abcdef"), note="\ud800 broken"), "not signed"),
    "no proof": (lambda: without_proof(Log(*"abcdef")), "tiles are missing"),
    "a wrong proof": (lambda: showing(Log(*"abcdef"), proof=[bytes(32)]), "did not grow"),
}


@pytest.mark.parametrize("what", SPLIT)
async def test_a_second_past_is_refused_for_ever_and_both_are_kept(
    tmp_path: Path, what: str
) -> None:
    made, why = SPLIT[what]
    watching = witness(tmp_path)
    await watching.look(Log(*"abcde"))
    known = watching.note.read_bytes()
    with pytest.raises(SplitView, match=why) as refusal:
        await watching.look(made())
    assert watching.note.read_bytes() == known
    evidence = {path.name: path for path in refusal.value.evidence.iterdir()}
    assert evidence["known"].read_bytes() == known
    shown = made().note
    if shown is not None:
        assert evidence["shown"].read_bytes() == shown.encode(errors="backslashreplace")
    assert refusal.value.why in evidence["why"].read_text()
    [b64decode(line, validate=True) for line in evidence["proof"].read_text().splitlines()]
    clock = iter((NOON.replace(hour=13), NOON.replace(hour=14)))
    later = Witness(tmp_path / "state", SIGNER.verifier, clock=lambda: next(clock))
    with pytest.raises(SplitView):
        await later.look(made())
    # The true log is still taken.
    assert (await looked(watching, *"abcdefg")) == (5, 7)


async def test_a_witness_without_its_memory_says_so(tmp_path: Path) -> None:
    watching = witness(tmp_path)
    await watching.look(Log(*"abc"))
    watching.note.write_text("something else")
    with pytest.raises(StateError, match="cannot be used"):
        await watching.look(Log(*"abc"))
    other = Witness(tmp_path / "state", STRANGER.verifier)
    with pytest.raises(StateError, match="give the key"):
        await other.look(Log(*"abc"))
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"exists|Not a directory"):
        await Witness(tmp_path / "file", SIGNER.verifier).look(Log(*"abc"))


@pytest.fixture
async def log(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Book]:
    monkeypatch.chdir(tmp_path)
    async with book(database, tmp_path / "outside") as log:
        for name, value in {
            "STANDPIPE_DATABASE_URL": database.url(ROLE),
            "STANDPIPE_CHECKPOINT_DIR": str(log.folder),
        }.items():
            monkeypatch.setenv(name, value)
        yield log


async def run(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["audit", *words])


async def read(*words: str) -> Any:
    result = await run(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


async def test_an_auditor_reads_what_was_signed_and_a_worker_signs_now(
    log: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await read("checkpoint"))["note"] is None
    assert "No checkpoint is signed yet" in (await run("checkpoint")).stdout
    for words in (("key",), ("checkpoint", "--make")):
        without = await run(*words)
        assert without.exit_code == 1
        assert "The log's key is not here" in without.stderr
    await log.grow(5)
    authority = Authority(tmp_path / "authority")
    with monkeypatch.context() as worker, answering(authority.stamp) as url:
        worker.setenv("STANDPIPE_DATABASE_URL", log.database.url())
        key = tmp_path / "log.pem"
        key.write_bytes(PEM)
        worker.setenv("STANDPIPE_CHECKPOINT_KEY_FILE", str(key))
        worker.setenv("STANDPIPE_TIMESTAMP_URL", url)
        vkey = (await read("key"))["vkey"]
        made = await read("checkpoint", "--make")
        assert vkey in (await run("key")).stdout
    assert vkey == made["vkey"] == SIGNER.vkey
    assert list(made["stamps"]) == [url]
    await log.grow(2)
    shown = await read("checkpoint", "--timestamp-roots", str(authority.root_file))
    assert (shown["origin"], shown["size"], shown["later"]) == (ORIGIN, 5, 2)
    assert shown["root"] == (await log.root(5)).hex()
    assert shown["note"] == made["note"] == log.kept.read_text()
    assert shown["vkey"] is None
    assert datetime.fromisoformat(shown["stamps"][url])
    stranger = Authority(tmp_path / "stranger")
    wrong = await run("checkpoint", "--timestamp-roots", str(stranger.root_file))
    assert (wrong.exit_code, "does not hold" in wrong.stderr) == (1, True)
    assert (await run("checkpoint", "--timestamp-roots", str(key))).exit_code == 2
    # The database was set back: the note outside tells.
    await log.torn("DELETE FROM checkpoints", "UPDATE heads SET position = 4")
    back = await run("checkpoint")
    assert back.exit_code == 1
    assert "has 4 events, and a checkpoint over 5 of them was signed" in " ".join(
        back.stderr.split()
    )


async def test_a_witness_runs_from_a_terminal_and_its_exit_code_tells(
    log: Book, tmp_path: Path
) -> None:
    state, cosigning = tmp_path / "state", tmp_path / "witness.pem"
    words = ("witness", "--key", SIGNER.vkey, "--state", str(state))
    signs = (*words, "--cosign-key", str(cosigning), "--name", "auditor.example/w1")
    assert await read(*words) is None
    await log.grow(300)
    await log.signing().make()
    first = await read(*signs)
    assert (first["before"], first["size"], first["cosigned_by"]) == (None, 300, AUDITOR.name)
    assert cosigning.stat().st_mode & 0o077 == 0
    await log.grow(300)
    await log.signing().make()
    (tmp_path / "pinned").write_text(f"{SIGNER.vkey}\n")
    again = await read(*signs[:2], str(tmp_path / "pinned"), *signs[3:])
    assert (again["before"], again["size"]) == (300, 600)
    assert again["cosigner"] == first["cosigner"]
    note = (state / "checkpoint").read_text()
    ours = Verifier.parse(again["cosigner"])
    assert [each.name for each in cosignatures(note, [ours])] == [AUDITOR.name]
    assert (await run(*words)).stdout.endswith(f"Kept in {state / 'checkpoint'}.\n")

    for wrong in ("not-a-key", str(tmp_path / "none"), AUDITOR.vkey, STRANGER.vkey):
        assert (await run("witness", "--key", wrong, "--state", str(state))).exit_code == 2
    # One who can do anything to the database, and has the log's own key, signs another past.
    looked = (state / "checkpoint").stat().st_mtime_ns
    watching = asyncio.create_task(run(*signs, "--every", "1"))
    await until(lambda: later(state / "checkpoint", looked))
    await log.torn(
        f"{EDITED} WHERE position = 9",
        "DELETE FROM checkpoints",
        "DELETE FROM tree_tiles",
    )
    log.kept.unlink()
    forged = await log.signing().make()
    assert forged is not None
    found = await watching
    assert found.exit_code == 1
    assert "of 600 events did not grow out of the one of 600" in " ".join(found.stderr.split())
    assert open_note((state / "checkpoint").read_text(), [ours, SIGNER.verifier]) != forged
    (evidence,) = (state / "evidence").iterdir()
    assert open_note((evidence / "shown").read_text(), [SIGNER.verifier]) == forged


async def later(path: Path, than: int) -> bool:
    return path.stat().st_mtime_ns > than


async def test_a_witness_of_a_database_that_is_away_says_so(
    log: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDPIPE_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    words = ("witness", "--key", SIGNER.vkey, "--state", str(tmp_path / "state"))
    assert (await run(*words)).exit_code == 3
    assert not (tmp_path / "state" / "evidence").exists(), "nobody to be seen is no second past"
