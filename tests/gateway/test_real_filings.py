"""A gas company's own filings through real workflows: they say what the rehearsal says.

Every so-many-th row lives on the real servers, to keep the run short; the whole files go through
the rehearsal in test_rehearse.py, against counts made independently.
"""

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.cases import Cases
from activities.database import open_pool
from activities.event_log import EventLog
from activities.vault import Vault
from gateway.filings import Filing, Reject, admitted, events_of, open_filing
from gateway.importing import import_rows, outcomes
from gateway.mappings import load_mappings
from gateway.policies import content_of
from gateway.rehearse import rehearse
from lifecycles.policies import pinned
from tests.conftest import Database
from worker import build_worker

ROOT = Path(__file__).parents[2]
LEAKS = ROOT.parent / "shared" / "data" / "gas-leaks"
POLICY = content_of("gas", ROOT / "policies")

pytestmark = pytest.mark.skipif(
    not LEAKS.is_dir(), reason="needs ../shared/data/gas-leaks, which is not here"
)


@pytest.fixture
async def log(database: Database) -> AsyncIterator[EventLog]:
    pool = await open_pool(database.url())
    yield EventLog(pool)
    await pool.close()


def some_of(name: str, nth: int, folder: Path) -> tuple[Filing, int]:
    """Every nth row of a real file, among them all whose dates make no sense; and how many."""
    header, *rows = (LEAKS / name).read_text(encoding="utf-8").splitlines()
    mappings = load_mappings(ROOT / "policies" / "mappings")
    whole = open_filing(LEAKS / name, mappings)
    now = datetime.now(UTC)
    odd = {
        row.line
        for row in admitted(whole, "boston", pinned(POLICY), now)
        if isinstance(row, Reject)
    }
    chosen = [row for n, row in enumerate(rows) if n % nth == 0 or n + 2 in odd]
    file = folder / name
    file.write_text("\n".join([header, *chosen]) + "\n", encoding="utf-8")
    return open_filing(file, mappings), len(chosen)


@pytest.mark.parametrize(
    ("name", "nth", "rejected", "final"),
    [
        ("boston-gas-2016-repaired.csv", 12, 1, True),
        ("boston-gas-2016-open.csv", 18, 0, False),
    ],
)
async def test_imported_cases_hold_event_for_event_what_the_rehearsal_foresaw(
    name: str,
    nth: int,
    rejected: int,
    final: bool,
    temporal: Client,
    task_queue: str,
    log: EventLog,
    tmp_path: Path,
) -> None:
    filing, rows = some_of(name, nth, tmp_path)
    organisation = f"boston-{os.urandom(3).hex()}"
    now = datetime.now(UTC)
    worker = build_worker(temporal, log, organisation=organisation, task_queue=task_queue)
    async with worker:
        done = await import_rows(
            filing,
            organisation,
            POLICY,
            now,
            cases=Cases(temporal, log, organisation, task_queue),
            log=log,
            vault=Vault(log._pool, os.urandom(32)),  # pyright: ignore[reportPrivateUsage]
            concurrency=16,
            report=lambda _: None,
        )
    assert (done.opened, len(done.rejects)) == (rows - rejected, rejected)
    assert len(set(done.cases)) == rows - rejected

    foreseen = rehearse(filing, organisation, pinned(POLICY), now).to_json()["rules"]
    recorded = await outcomes(log, organisation, done.cases, now)
    assert {
        rule: (counts["kept"], counts["broken"], counts["escalations"])
        for rule, counts in foreseen.items()
    } == {
        rule: (o.states["kept"], o.states["broken"], o.to_json()["escalations"])
        for rule, o in recorded.items()
    }

    read = 0
    for row in admitted(filing, organisation, pinned(POLICY), now):
        if isinstance(row, Reject):
            continue
        stream = await log.read_stream(organisation, row.case_id)
        assert [event.body for event in stream] == events_of(row, pinned(POLICY), now)
        case = await log.case(organisation, row.case_id)
        assert case is not None
        assert case.final is final
        read += 1
    assert read == rows - rejected
