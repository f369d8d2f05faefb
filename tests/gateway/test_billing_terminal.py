"""`import arrears` and `import payments` as people and scripts use them."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import Client
from typer.testing import CliRunner, Result

from activities.database import open_pool
from activities.event_log import EventLog
from cli import app
from stack import Endpoints
from tests.conftest import Database
from worker import build_worker

ROOT = Path(__file__).parents[2]
TODAY = datetime.now(UTC).date()
DUE, PAID = (TODAY - timedelta(days=n) for n in (30, 3))

Cli = Callable[..., Awaitable[Result]]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A company's files and its policy; returns the options that name them."""
    monkeypatch.chdir(tmp_path)
    water = (ROOT / "policies" / "water.toml").read_text(encoding="utf-8")
    Path("pounds.toml").write_text(
        water.replace('currency = "CNY"', 'currency = "GBP"'), encoding="utf-8"
    )
    Path("customers.csv").write_text(
        "customer_id,region,is_vulnerable\nC000001,North,0\nC000002,North,0\nC000003,North,0\n"
    )
    Path("bills.csv").write_text(
        "customer_id,bill_period_end,bill_amount,due_date\n"
        f"C000001,p1,90.00,{DUE}\nC000002,p1,90.005,{DUE}\nC000003,p1,9.00,{DUE}\n"
    )
    Path("payments.csv").write_text("customer_id,payment_date,amount,method\n")
    Path("paid.csv").write_text(
        "customer_id,payment_date,amount,method\n"
        f"C000001,{PAID},88.00,Cash\nC000003,{PAID},1.00,Cash\nC000001,{PAID},-1,Cash\n"
    )
    return ["--customers", "customers.csv", "--bills", "bills.csv", "--payments", "payments.csv"]


@pytest.fixture
async def cli(
    files: list[str],
    monkeypatch: pytest.MonkeyPatch,
    servers: Endpoints,
    database: Database,
    temporal: Client,
    task_queue: str,
) -> AsyncIterator[Cli]:
    """The command line on real servers with a worker; it runs in a thread, on its own loop."""
    organisation = f"t-{uuid4().hex[:20]}"
    for name, value in {
        "STANDPIPE_DATABASE_URL": database.url(),
        "STANDPIPE_KEY": base64.b64encode(os.urandom(32)).decode(),
        "STANDPIPE_TASK_QUEUE": task_queue,
        "STANDPIPE_ORGANISATION": organisation,
        "TEMPORAL_ADDRESS": servers.temporal_address,
    }.items():
        monkeypatch.setenv(name, value)
    pool = await open_pool(database.url())
    async with build_worker(
        temporal, EventLog(pool), organisation=organisation, task_queue=task_queue
    ):
        yield lambda *words: asyncio.to_thread(run, *words)
    await pool.close()


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def read(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


async def test_a_run_and_later_payments_say_what_they_did_and_twice_changes_nothing(
    cli: Cli, files: list[str]
) -> None:
    bill_run = ("import", "arrears", *files, "--as-of", str(PAID), "--policy", "pounds.toml")
    first = read(await cli(*bill_run, "--json"))
    assert first == {
        "run": f"water-accounts/{PAID}",
        "currency": "GBP",
        "changed": True,
        "accounts": 3,
        "opened": 1,
        "updated": 0,
        "settled": 0,
        "unchanged": 0,
        "below": 1,
        "clear": 0,
        "set_aside": 1,
        "rejected": 1,
        "differences": [],
    }
    assert Path("bills.rejects.csv").read_text().splitlines() == [
        "file,line,account,reasons",
        "bills,3,C000002,bill_amount: has more than 2 decimals.",
    ]
    again = await cli(*bill_run)
    assert f"Nothing changed by run water-accounts/{PAID}." in again.stdout.replace("\n", " ")

    posted = read(await cli("import", "payments", "paid.csv", "--json"))
    assert posted == {
        "changed": True,
        "payments": 2,
        "posted": 1,
        "known": 0,
        "settled": 1,
        "rejected": 1,
        "without_case": {"payments": 1, "accounts": ["C000003"]},
    }
    twice = await cli("import", "payments", "paid.csv")
    assert twice.exit_code == 0
    assert "Nothing changed. Payments posted: 0; known: 1" in twice.stdout
    assert "Accounts without an open case: C000003." in twice.stdout


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--as-of", "2099-01-01", "--policy", "pounds.toml"), "lies in the future"),
        (("--as-of", "yesterday", "--policy", "pounds.toml"), "write one like 2026-03-31"),
        (("--as-of", "2026-01-01", "--policy", "water"), "the files are in gbp"),
        (("--as-of", "2026-01-01", "--policy", "estate"), "policy estate"),
    ],
)
def test_wrong_input_is_told_before_anything_runs(
    files: list[str], more: tuple[str, ...], told: str
) -> None:
    result = run("import", "arrears", *files, *more)
    assert result.exit_code == 2
    assert told in result.stderr.lower().replace("\n", " ")


def test_help_says_how_to_make_a_policy_in_the_files_currency() -> None:
    text = " ".join(run("import", "arrears", "--help").stdout.split())
    assert "copy policies/water.toml" in text
