"""Rehearsed cases per second against the same cases imported live."""

import asyncio
import random
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from activities.cases import Cases
from activities.event_log import EventLog
from bench.measure import Line, Report, rate
from gateway.filings import Filing, Row, open_filing, read_filing
from gateway.mappings import load_mappings
from gateway.rehearse import rehearse
from lifecycles.policies import pinned

HEADER = (
    "leak Number,Reported Address,Cross Street,Town,Reported Date,"
    "15-SQ-05 Class,16-SQ-05 Class,Grade,Repaired Date,State"
)


async def compare(report: Report, cases: Cases, log: EventLog, policy: str, quick: bool) -> None:
    """Invented filings of the shipped layout, the same kind of row on both sides."""
    mappings = load_mappings(Path("policies/mappings"))
    with TemporaryDirectory() as folder:
        few, many = Path(folder) / "few.csv", Path(folder) / "many.csv"

        async def live() -> float:
            count = 16 if quick else 96
            _write(few, count)
            filing = open_filing(few, mappings)
            return await rate(count, lambda: _import(filing, cases, log, policy))

        async def rehearsed() -> float:
            count = 2_000 if quick else 40_000
            _write(many, count)
            filing = open_filing(many, mappings, [pinned(policy)])
            begin = time.perf_counter()
            done = await asyncio.to_thread(
                rehearse, filing, "bench", pinned(policy), datetime.now(UTC)
            )
            assert done.cases == count
            return count / (time.perf_counter() - begin)

        per_second = await report.interleaved(
            "rehearsed and live", {"rehearsed": rehearsed, "live": live}
        )
    report.lines.append(
        Line(
            "rehearsed cases against the same imported live",
            per_second["rehearsed"],
            per_second["live"],
            "cases/s",
            300,
        )
    )


async def _import(filing: Filing, cases: Cases, log: EventLog, policy: str) -> None:
    """One workflow per row, sixteen at a time, until the log holds them all."""
    rows = iter([r for r in read_filing(filing, "bench", datetime.now(UTC)) if isinstance(r, Row)])
    ids: list[str] = []

    async def one_after_another() -> None:
        for row in rows:
            await cases.open_with_history(row.case_id, policy, row.commands)
            ids.append(row.case_id)

    async with asyncio.TaskGroup() as group:
        for _ in range(16):
            group.create_task(one_after_another())
    for case_id in ids:
        while await log.case("bench", case_id) is None:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


def _write(file: Path, count: int) -> None:
    """Leaks with new numbers, so that every round opens cases of its own."""
    chance = random.Random(uuid4().int)
    first = chance.randrange(10**6, 10**11)
    lines = [HEADER]
    for number in range(first, first + count):
        reported = date(2016, 1, 1) + timedelta(days=chance.randrange(300))
        repaired = reported + timedelta(days=chance.choice((0, 0, 1, 3, 20)))
        grade = chance.choice(("1", "1", "2", "2A", "3"))
        lines.append(
            f"{number},1 INVENTED ST,,NOWHERE,{_short(reported)},,,{grade},{_short(repaired)},MA"
        )
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _short(day: date) -> str:
    return f"{day.month}/{day.day}/{day:%y}"
