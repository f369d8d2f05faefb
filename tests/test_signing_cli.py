"""Signing on the command line: a key of one's own, enrolled by somebody else, lost in the end."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from gateway.signing import create_key
from tests.test_cli import cli, nowhere, read, run, servers_alone
from tests.test_cutoff_cli import Debt, ago, debt

__all__ = ["cli", "debt", "nowhere", "servers_alone"]

HEAD = ("--as", "head-1", "--role", "division_head", "--yes", "--json")
BY_ADMIN = ("--as", "admin-1", "--json")


@pytest.fixture
async def asked(debt: Debt) -> Debt:
    """Reminded and noticed in vain: the division head's written approval is asked for."""
    for day in (29, 28):
        evidence = ("--how", "phone", "--evidence", f"call/{day}")
        await debt.do("RecordContact", *evidence, "--occurred-at", ago(day))
    await debt.do("ServeNotice", "--how", "door", "--proof", "p/1", "--occurred-at", ago(20))
    await debt.do("RequestCutoff", "--reason", "unpaid")
    return debt


def created(file: Path) -> str:
    made = read(run("key", "create", "--key", str(file), "--no-passphrase", "--json"))
    assert made["file"] == str(file)
    return made["key"]


def test_a_key_is_for_its_owner_alone_and_never_overwritten(nowhere: Path) -> None:
    file = nowhere / "keys" / "head.pem"
    key = created(file)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", key)
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    again = run("key", "create", "--key", str(file), "--no-passphrase")
    assert again.exit_code == 2
    assert "there already" in again.stderr
    assert file.read_bytes() == before


def test_no_key_looks_like_an_option_of_the_command_line(tmp_path: Path) -> None:
    made = {create_key(tmp_path / f"{number}.pem", None) for number in range(500)}
    assert len(made) == 500
    assert not [key for key in made if key.startswith("-")]


@pytest.mark.usefixtures("nowhere")
def test_everything_wrong_with_a_key_is_told_at_once() -> None:
    wrong = run("key", "enrol", "no body", "short", "--json")
    assert wrong.exit_code == 2
    subject, key = json.loads(wrong.stdout)["reasons"]
    assert subject.startswith("WHO: ")
    assert key.startswith("KEY: ")
    nowhere_said = run("key", "create", "--no-passphrase")
    assert nowhere_said.exit_code == 2
    assert "STANDPIPE_SIGNING_KEY_FILE" in nowhere_said.stderr


@pytest.mark.parametrize("debt", [{"dn": 50}], indirect=True)
async def test_a_cutoff_is_approved_with_ones_own_enrolled_key(
    asked: Debt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debt, file = asked, tmp_path / "head.pem"
    approve = ("approve", debt.case, "cutoff-1", *HEAD)
    unsigned = await debt.cli(*approve)
    assert unsigned.exit_code == 2
    assert "--key" in unsigned.stderr

    key = await asyncio.to_thread(created, file)
    monkeypatch.setenv("STANDPIPE_SIGNING_KEY_FILE", str(file))
    assert await debt.refused(*approve[:-1]) == [
        "The signature's key is not enrolled to who decides: see `standpipe key`."
    ]
    own = await debt.cli("key", "enrol", "head-1", key, "--as", "head-1")
    assert own.exit_code == 1
    assert "own key" in own.stderr
    assert (await debt.read("key", "enrol", "head-1", key, *BY_ADMIN[:-1]))["enrolled"]

    outcome = read(await debt.cli(*approve))["outcome"]
    assert outcome["stage"] == "Authorised"
    (listed,) = (await debt.read("key", "list"))["keys"]
    assert (listed["key"], listed["subject"], listed["enrolled_by"]) == (key, "head-1", "admin-1")

    file.chmod(0o644)
    opened = await debt.cli("reject", debt.case, "cutoff-1", "--reason", "late", *HEAD)
    assert opened.exit_code == 2
    assert "open to others" in opened.stderr

    assert (await debt.read("key", "lost", key, *BY_ADMIN[:-1]))["reported"]
    assert not (await debt.read("key", "lost", key, *BY_ADMIN[:-1]))["reported"]
    assert "lost" in (await debt.cli("key", "list")).stdout
