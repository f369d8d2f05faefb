"""Imports: one case per row whatever happens on the way, addresses in the vault alone."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from activities.cases import Cases
from activities.database import open_pool
from activities.event_log import EventLog
from activities.vault import PartyErased, Vault
from gateway import importing
from gateway.filings import Filing, Row, open_filing, read_filing
from gateway.importing import NothingRecorded, Progress, import_rows, outcomes, party_of
from gateway.mappings import load_mappings
from gateway.policies import content_of
from tests.conftest import Database
from worker import build_worker

ROOT = Path(__file__).parents[2]
HEADER = (
    "leak Number,Reported Address,Cross Street,Town,Reported Date,15-SQ-05 Class,16-SQ-05 Class,"
    "Grade,Repaired Date,State"
)
ROWS = tuple(
    f"80{n:04},{n} SECRET LANE,,NORTH TOWN,7/4/16,Not Discovered Yet,Not Discovered Yet,"
    f"{grade},{repaired},MA"
    for n, (grade, repaired) in enumerate(
        [("1", "7/4/16"), ("1", "7/9/16"), ("2", "7/4/16"), ("3", "8/1/16"), ("1", "7/1/16")]
    )
)
"""Kept, broken, broken, broken; and one that was repaired before it was reported."""


@dataclass(frozen=True)
class Importer:
    client: Client
    log: EventLog
    vault: Vault
    task_queue: str

    async def run(self, filing: Filing, seen: list[int] | None = None) -> Progress:
        return await import_rows(
            filing,
            "town",
            content_of("gas", ROOT / "policies"),
            datetime.now(UTC),
            cases=Cases(self.client, self.log, "town", self.task_queue),
            log=self.log,
            vault=self.vault,
            concurrency=2,
            report=lambda progress: None if seen is None else seen.append(progress.rows),
        )


@pytest.fixture
async def importer(
    database: Database, temporal: Client, task_queue: str
) -> AsyncIterator[Importer]:
    pool = await open_pool(database.url())
    yield Importer(temporal, EventLog(pool), Vault(pool, os.urandom(32)), task_queue)
    await pool.close()


def filing(folder: Path, rows: tuple[str, ...] = ROWS) -> Filing:
    # Numbers of this test alone: Temporal, which the tests share, knows a case by its number.
    salt = str(int.from_bytes(os.urandom(2)))
    file = folder / "leaks.csv"
    lines = [HEADER, *(f"{salt}{row}" for row in rows)]
    file.write_text("\n".join(lines) + "\n")
    return open_filing(file, load_mappings(ROOT / "policies" / "mappings"))


async def test_every_row_becomes_a_case_or_a_reject_and_is_recorded_when_it_returns(
    importer: Importer, tmp_path: Path
) -> None:
    file = filing(tmp_path)
    seen: list[int] = []
    async with worker(importer):
        done = await importer.run(file, seen)
        rules = await outcomes(importer.log, "town", done.cases, datetime.now(UTC))
    assert (done.opened, done.known, done.recorded) == (4, 0, 4)
    assert [(r.line, len(r.reasons)) for r in done.rejects] == [(6, 1)]
    assert seen == sorted(seen)
    assert seen[-1] == file.rows == 5
    counts = {rule: (o.states["kept"], o.states["broken"]) for rule, o in rules.items()}
    assert counts == {"KUN-2.2.3a": (0, 2), "KUN-2.2.3b": (1, 1)}


async def test_addresses_are_in_the_vault_under_the_case_and_in_no_event(
    importer: Importer, tmp_path: Path
) -> None:
    async with worker(importer):
        done = await importer.run(filing(tmp_path))
    for case in done.cases:
        assert "SECRET LANE" in str((await importer.vault.show("town", party_of(case))).address)
        for decision in await importer.log.read_decisions("town", case):
            assert "SECRET" not in decision.model_dump_json()


async def test_an_interrupted_import_opens_the_rest_when_it_is_run_again(
    importer: Importer, tmp_path: Path
) -> None:
    file = filing(tmp_path)
    opened = asyncio.Event()

    async def interrupted() -> None:
        # Without a worker it waits for ever, with every case opened and none recorded.
        await importer.run(file, Watching(opened))

    first = asyncio.create_task(interrupted())
    await opened.wait()
    first.cancel()
    await asyncio.wait([first])
    async with worker(importer):
        done = await importer.run(file)
    assert done.opened + done.known == done.recorded == 4
    assert done.known >= 1


class Watching(list[int]):
    """Says when the first row is through."""

    def __init__(self, opened: asyncio.Event) -> None:
        super().__init__()
        self._opened = opened

    def append(self, item: int) -> None:
        super().append(item)
        self._opened.set()


async def test_who_was_erased_stays_erased_when_the_file_comes_again(
    importer: Importer, tmp_path: Path
) -> None:
    file = filing(tmp_path)
    async with worker(importer):
        first, *others = (await importer.run(file)).cases
        await importer.vault.erase("town", party_of(first))
        # Even where the log forgot the case, so that its row is new.
        await importing.keep_addresses(importer.vault, "town", rows_of(file))
    with pytest.raises(PartyErased):
        await importer.vault.show("town", party_of(first))
    for case in others:
        assert (await importer.vault.show("town", party_of(case))).address


async def test_an_import_that_nobody_works_on_says_so(
    importer: Importer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "QUIET_SECONDS", 0.5)
    with pytest.raises(NothingRecorded, match="4 cases wait to be recorded"):
        await importer.run(filing(tmp_path))


def worker(importer: Importer) -> Worker:
    return build_worker(
        importer.client, importer.log, organisation="town", task_queue=importer.task_queue
    )


def rows_of(file: Filing) -> list[Row]:
    rows = read_filing(file, "town", datetime.now(UTC))
    return [row for row in rows if isinstance(row, Row)]
