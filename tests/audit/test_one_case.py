"""One case for an auditor on a real log: explained, and its dossier proven, on the command line."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner, Result

from activities.checkpoints import Checkpoints
from activities.database import open_pool
from activities.event_log import EventLog
from cli import app
from lifecycles.lifecycle import LIFECYCLES
from schemas.envelope import AppendRequest
from tests.audit.test_dossier import KEY, OTHER, POLICY
from tests.conftest import Database
from tests.lifecycles.arrears_cases import days, stopped

Cli = Callable[..., Awaitable[Result]]


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["audit", *words])


class Office:
    """A log with one case in it, and an auditor beside it."""

    def __init__(self, checkpoints: Checkpoints, folder: Path) -> None:
        self.checkpoints, self.folder = checkpoints, folder

    async def ask(self, *words: str) -> Result:
        return await asyncio.to_thread(run, *words)

    async def told(self, *words: str) -> Any:
        result = await self.ask(*words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
async def office(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Office]:
    monkeypatch.setenv("STANDPIPE_DATABASE_URL", database.url("standpipe_auditor"))
    monkeypatch.setenv("STANDPIPE_ORGANISATION", "town")
    monkeypatch.setenv("STANDPIPE_DATA_DIR", str(tmp_path))
    pool = await open_pool(database.url())
    debt = stopped()
    decisions = (step.decision().model_copy(update={"checks": ()}) for step in debt.steps)
    request = AppendRequest(
        organisation="town",
        stream="arrears-1",
        expected_version=0,
        policy=POLICY,
        decisions=tuple(decisions),
        summary=LIFECYCLES["arrears"].summary(debt.state),
    )
    assert (await EventLog(pool).append_events(request)).status == "appended"
    yield Office(Checkpoints(pool, "town", KEY, tmp_path / "checkpoints"), tmp_path)
    await pool.close()


async def test_a_dossier_is_written_once_a_checkpoint_covers_it_and_checks_anywhere(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = str(office.folder / "files")
    early = await office.ask("dossier", "arrears-1", "--out", out)
    assert early.exit_code == 1
    assert "not under a checkpoint: there is none yet" in early.stderr
    assert "standpipe audit checkpoint --make" in early.stderr
    await office.checkpoints.make()
    auditors = await office.told("dossier", "arrears-1", "--out", out)
    assert (auditors["signed"], auditors["complete"]) == (False, True)
    data, html = map(Path, auditors["files"])
    assert "Every closing of a valve is proven." in html.read_text()
    unsigned = await office.ask("check-dossier", str(data), "--key", KEY.vkey)
    assert unsigned.exit_code == 0, unsigned.output
    assert "that nothing came after them, it does not show" in " ".join(unsigned.stdout.split())
    assert (await office.ask("check-dossier", str(data), "--key", KEY.vkey, "--signed")).exit_code

    key = office.folder / "key.pem"
    pem = KEY.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key.write_bytes(pem)
    key.chmod(0o600)
    monkeypatch.setenv("STANDPIPE_CHECKPOINT_KEY_FILE", str(key))
    ours = await office.told("dossier", "arrears-1", "--out", out)
    assert ours["signed"]
    monkeypatch.setenv("STANDPIPE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    pinned = office.folder / "pinned"
    pinned.write_text(f"{KEY.vkey}\n")
    checked = await office.told("check-dossier", str(data), "--key", str(pinned), "--signed")
    assert (checked["ok"], checked["signed"], checked["proven"]) == (True, True, ours["events"])
    assert checked["checkpoint"]["size"] == ours["events"]

    data.write_text(data.read_text().replace('"crew": "crew-1"', '"crew": "crew-2"', 1))
    forged = await office.ask("check-dossier", str(data), "--key", KEY.vkey, "--json")
    assert forged.exit_code == 1
    assert {"signature", "dossier"} == {f["check"] for f in json.loads(forged.stdout)["findings"]}
    assert (await office.ask("check-dossier", str(data), "--key", OTHER.vkey)).exit_code == 1
    for words in ((str(data), "--key", "a+b+c"), ("nowhere.json", "--key", KEY.vkey)):
        assert (await office.ask("check-dossier", *words)).exit_code == 2


async def test_a_case_is_explained_at_any_moment_from_the_log_alone(office: Office) -> None:
    at = days(10.05).isoformat()
    then = await office.told("explain", "arrears-1", "--at", at)
    assert (then["known"], then["timeline"]["stage"]) == (True, "VisitDue")
    assert then["at"] == days(10.05).isoformat().replace("+00:00", "Z")
    file = office.folder / "case.html"
    drawn = await office.ask(
        "explain", "arrears-1", "--at", "2026-03-12T09:00", "--html", str(file)
    )
    assert drawn.exit_code == 0, drawn.output
    assert "<svg" in file.read_text()
    assert "VisitDue" in drawn.stdout
    assert (await office.told("explain", "arrears-1"))["timeline"]["stage"] == "TemporarilyStopped"
    before = await office.told("explain", "arrears-1", "--at", "2026-03-01")
    assert (before["known"], before["timeline"]) == (False, None)
    for words, code, why in (
        (("arrears-1", "--at", "soon"), 2, "write a day"),
        (("arrears-1", "--at", "2999-01-01"), 2, "lies in the future"),
        (("arrears-2",), 1, "There is no case arrears-2"),
        (("nothing-2",), 2, "CASE"),
    ):
        refused = await office.ask("explain", *words)
        assert (refused.exit_code, why in refused.output) == (code, True), refused.output
