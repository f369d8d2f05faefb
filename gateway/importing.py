"""Opens a case for every row of a file; safe to interrupt and to run again.

The file's own number is the key: a row that the log or Temporal knows is not opened twice.
Addresses go to the vault first, under a party named like the case; the case knows nothing of it.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from activities.cases import Cases
from activities.log_reader import LogReader
from activities.vault import PartyErased, Vault
from gateway.filings import Filing, Reject, Row, read_filing
from gateway.rehearse import RuleOutcome
from lifecycles.decisions import Rejected
from schemas.envelope import Json
from schemas.party import Party

BATCH = 256
QUIET_SECONDS = 60.0
"""So long may nothing be recorded before somebody should look for a worker."""


class NothingRecorded(Exception):
    """The cases were opened, but nobody works on them."""


@dataclass
class Progress:
    """How far an import is; every row ends up in one of `opened`, `known` and `rejects`."""

    opened: int = 0
    known: int = 0
    """Opened by an earlier run."""
    rejects: list[Reject] = field(default_factory=list[Reject])
    cases: list[str] = field(default_factory=list[str])
    """Of all rows that make sense, in no particular order."""
    recorded: int = 0
    """Of those, how many the log holds."""

    @property
    def rows(self) -> int:
        return self.opened + self.known + len(self.rejects)


Report = Callable[[Progress], None]


async def import_rows(
    filing: Filing,
    organisation: str,
    policy: str,
    now: datetime,
    *,
    cases: Cases,
    log: LogReader,
    vault: Vault,
    concurrency: int,
    report: Report,
) -> Progress:
    """Open every row's case with what already happened to it, `concurrency` at a time.

    Returns when the log holds all of them. Raises `FilingError` if the file changes meanwhile,
    NothingRecorded if nobody works on the cases.
    """
    progress = Progress()
    room = asyncio.Semaphore(concurrency)

    async def open_one(row: Row) -> None:
        async with room:
            try:
                new = await cases.open_with_history(row.case_id, policy, row.commands)
            except Rejected as refusal:
                progress.rejects.append(Reject(row.line, row.number, refusal.reasons))
            else:
                progress.opened += new
                progress.known += not new
                progress.cases.append(row.case_id)
        report(progress)

    for batch in _batches(read_filing(filing, organisation, now)):
        progress.rejects += [row for row in batch if isinstance(row, Reject)]
        rows = [row for row in batch if isinstance(row, Row)]
        known = await log.recorded(organisation, [row.case_id for row in rows])
        fresh = [row for row in rows if row.case_id not in known]
        progress.known += len(known)
        progress.recorded += len(known)
        progress.cases += known
        await keep_addresses(vault, organisation, fresh)
        await asyncio.gather(*(open_one(row) for row in fresh))
        report(progress)

    def recorded(waiting: int) -> None:
        progress.recorded = len(progress.cases) - waiting
        report(progress)

    await until_recorded(progress.cases, organisation, log, recorded)
    progress.rejects.sort(key=lambda reject: reject.line)
    return progress


def party_of(case_id: str) -> str:
    """Under which name the vault keeps an imported case's address."""
    return f"party-{case_id.partition('-')[2]}"


async def outcomes(
    log: LogReader, organisation: str, case_ids: Sequence[str], now: datetime
) -> dict[str, RuleOutcome]:
    """What became of the cases' promises, by rule, as the read model has it."""
    rules: dict[str, RuleOutcome] = {}
    for case in await log.cases_of(organisation, case_ids):
        for c in case.commitments:
            rules.setdefault(c.rule, RuleOutcome()).add(c, now)
    return dict(sorted(rules.items()))


def to_json(progress: Progress, rules: dict[str, RuleOutcome]) -> Json:
    """The JSON form of an import; `cases`, `rejected` and `rules` as in a rehearsal."""
    return {
        "cases": len(progress.cases),
        "opened": progress.opened,
        "known": progress.known,
        "rejected": len(progress.rejects),
        "rules": {rule: outcome.to_json() for rule, outcome in rules.items()},
    }


def _batches(rows: Iterator[Row | Reject]) -> Iterable[list[Row | Reject]]:
    return iter(lambda: list(islice(rows, BATCH)), [])


async def keep_addresses(vault: Vault, organisation: str, rows: Sequence[Row]) -> None:
    """Put the rows' addresses into the vault, but for those who were erased from it."""
    parties = {party_of(row.case_id): Party(address=row.address) for row in rows if row.address}
    while parties:
        try:
            await vault.put_many(organisation, parties)
        except PartyErased as erased:
            # Somebody's right to be forgotten outlives the file.
            del parties[erased.party_id]
        else:
            return


async def until_recorded(
    case_ids: Iterable[str], organisation: str, log: LogReader, report: Callable[[int], None]
) -> None:
    """Wait until the log holds the cases; `report` hears how many it does not.

    Raises NothingRecorded if nobody works on them.
    """
    waiting = set(case_ids)
    news = time.monotonic()
    while True:
        there = await log.recorded(organisation, waiting)
        if there:
            news = time.monotonic()
        waiting -= there
        report(len(waiting))
        if not waiting:
            return
        if time.monotonic() - news > QUIET_SECONDS:
            raise NothingRecorded(
                f"{len(waiting)} cases wait to be recorded, and nothing was for"
                f" {QUIET_SECONDS:.0f} seconds: does `standpipe up` or `standpipe worker` run?"
                " The same import again goes on from here."
            )
        await asyncio.sleep(0.5)
