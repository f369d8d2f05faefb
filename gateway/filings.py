"""A file of repairs, row by row, as the commands that open their cases.

Every row becomes a `Row` or a `Reject` with all its reasons. Import and rehearsal share this code,
so that they agree.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from gateway.mappings import FilingError, Layout, Mapping, find_mapping
from gateway.tables import read_table
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import LIFECYCLES, Plan, dump, plan
from lifecycles.policies import Pinned
from schemas.envelope import Json

_REPAIR = LIFECYCLES["repair"]
_CASES = UUID("8b0f1c7e-5f0b-5a0e-9a7c-3f6d0a6d2a51")  # never changes: cases are named after it
_ACTOR: Json = {"subject": "import", "role": "service", "proof": "import"}
_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


@dataclass(frozen=True, slots=True)
class Filing:
    """A file that can be read as a whole, and the mapping that fits it."""

    path: Path
    mapping: Mapping
    layout: Layout
    header: tuple[str, ...]
    rows: int


class Record(NamedTuple):
    """A row as it stands in the file."""

    line: int
    """Where it begins, counted from 1; the header is line 1."""
    fields: list[str]
    first: int | None = None
    """The line where its number stood already."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row that makes sense: a case to open."""

    line: int
    number: str
    """The file's own number, the row's key."""
    organisation: str
    case_id: str
    """The same whenever and wherever the row is read."""
    district: str
    priority: bool
    commands: list[Json]
    """Command envelopes, in business order."""
    address: str = field(repr=False)
    """Personal: for the vault alone."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that opens no case, with every reason, none of which repeats what the row says."""

    line: int
    number: str
    """Empty where the row has no number that looks like one."""
    reasons: tuple[str, ...]


def open_filing(path: Path, mappings: Sequence[Mapping], policies: Sequence[Pinned] = ()) -> Filing:
    """Look the whole file over, find its mapping, and see that the policies know its categories.

    Raises `FilingError` with everything that is wrong, before anything is started.
    """
    wrong: list[str] = []
    header: tuple[str, ...] = ()
    rows = 0
    for _, fields in read_table(path, wrong):
        if not header:
            header = tuple(name.strip() for name in fields)
        else:
            rows += 1
    found = None
    if not header and not wrong:
        wrong.append("It is empty: the first line must name the columns.")
    elif header:
        try:
            found = find_mapping(header, mappings)
        except FilingError as error:
            wrong.append(str(error))
    if found:
        wrong += [
            f"The header names {column!r} twice."
            for column in found[1].columns
            if header.count(column) > 1
        ]
        wrong += [reason for pinned in policies for reason in _unknown(found[0], pinned)]
    if wrong or found is None:
        raise FilingError("\n  ".join([f"{path} cannot be read as a filing:", *wrong]))
    return Filing(path, *found, header, rows)


def _unknown(mapping: Mapping, pinned: Pinned) -> Iterator[str]:
    known = pinned.policy.repair.categories
    named = dict.fromkeys(grade.category for grade in mapping.grades.values())
    unknown = [category for category in named if category not in known]
    if unknown:
        yield (
            f"Policy {pinned.policy.name} does not know the categories that the mapping names:"
            f" {', '.join(unknown)}; it knows: {', '.join(known)}."
        )


def records(filing: Filing) -> Iterator[Record]:
    """The file's rows below its header; where a number stands again, its first line is named."""
    seen: dict[str, int] = {}
    key = filing.header.index(filing.layout.number)
    wrong: list[str] = []
    rows = read_table(filing.path, wrong)
    next(rows, None)
    for line, fields in rows:
        number = fields[key].strip() if key < len(fields) else ""
        first = seen.setdefault(number, line) if number else line
        yield Record(line, fields, first if first != line else None)
    if wrong:
        raise FilingError("\n  ".join([f"{filing.path} changed while it was read:", *wrong]))


class Reader:
    """Turns a filing's records into rows or rejects."""

    def __init__(self, filing: Filing, organisation: str, now: datetime) -> None:
        self._organisation = organisation
        self._now = now
        self._width = len(filing.header)
        self._mapping = filing.mapping
        self._layout = filing.layout
        self._place = {name: i for i, name in enumerate(filing.header)}
        self._address = [self._place[name] for name in filing.layout.address]

    def read(self, record: Record) -> Row | Reject:
        """The record as a case to open, or every reason why it is none."""
        line, fields, _ = record
        mapping, layout = self._mapping, self._layout
        number = self._text(fields, layout.number)
        if not (_NUMBER.fullmatch(number) and re.fullmatch(mapping.numbers, number)):
            number = ""
        if len(fields) != self._width:
            wrong = (
                f"It has {len(fields)} fields, the header {self._width}; quote commas inside one."
            )
            return Reject(line, number, (wrong,))

        reasons = list(self._wrong_number(record, number))
        reported = self._time(fields, layout.reported, mapping.reported_time, reasons)
        repaired = None
        if layout.repaired:
            repaired = self._time(fields, layout.repaired, mapping.repaired_time, reasons)
            if reported and repaired and repaired < reported:
                reasons.append(f"{layout.repaired}: before {layout.reported}; correct one of them.")
        grade = mapping.grades.get(self._text(fields, layout.grade))
        if grade is None:
            reasons.append(f"{layout.grade}: unknown; known are {', '.join(mapping.grades)}.")
        district = code_of(self._text(fields, layout.district))
        if not district:
            reasons.append(f"{layout.district}: missing, or nothing that a-z and 0-9 can write.")
        if reasons or reported is None or grade is None:
            return Reject(line, number, tuple(reasons))

        source = f"{mapping.source}/{number}"
        report: Json = {
            "type": "ReportRepair",
            "channel": mapping.channel,
            "category": grade.category,
            "severity": grade.severity,
            "asset": f"{mapping.asset}-{number}",
            "district": district,
            "source": source,
        }
        commands = [_command(f"import/{source}/report", reported, report)]
        if repaired:
            complete: Json = {"type": "CompleteRepair", "work": [mapping.work]}
            commands.append(_command(f"import/{source}/complete", repaired, complete))
        return Row(
            line=line,
            number=number,
            organisation=self._organisation,
            case_id=f"repair-{uuid5(_CASES, f'{self._organisation}/{source}').hex}",
            district=district,
            priority=False,
            commands=commands,
            address=", ".join(text for i in self._address if (text := fields[i].strip())),
        )

    def _text(self, fields: list[str], column: str) -> str:
        place = self._place[column]
        return fields[place].strip() if place < len(fields) else ""

    def _wrong_number(self, record: Record, number: str) -> Iterator[str]:
        column = self._layout.number
        if not self._text(record.fields, column):
            yield f"{column}: missing."
        elif not number:
            yield f"{column}: must look like {self._mapping.numbers}."
        if record.first is not None:
            yield f"{column}: stands already in line {record.first}; each number may stand once."

    def _time(
        self, fields: list[str], column: str, at: time, reasons: list[str]
    ) -> datetime | None:
        text = self._text(fields, column)
        when = _instant(text, self._mapping.dates, at, self._mapping.time_zone)
        if not text:
            reasons.append(f"{column}: missing.")
        elif when is None:
            reasons.append(f"{column}: no date; write one like {self._mapping.date_example}.")
        elif when > self._now:
            reasons.append(f"{column}: lies in the future.")
        return when


def read_filing(filing: Filing, organisation: str, now: datetime) -> Iterator[Row | Reject]:
    """Every row of the file, in its order, read as it is asked for."""
    return map(Reader(filing, organisation, now).read, records(filing))


def check(row: Row, pinned: Pinned, now: datetime) -> Plan | Reject:
    """What the row's commands and the clock up to `now` come to, or a reject: one was refused."""
    state = _REPAIR.initial(row.case_id, row.organisation, *pinned)
    try:
        made = plan(_REPAIR, state, 0, [_REPAIR.command(raw) for raw in row.commands], now)
    except Rejected as refusal:
        return Reject(row.line, row.number, refusal.reasons)
    if made.refused:
        reasons = (reason for _, refused in made.refused for reason in refused)
        return Reject(row.line, row.number, tuple(dict.fromkeys(reasons)))
    return made


def admitted(
    filing: Filing, organisation: str, pinned: Pinned, now: datetime
) -> Iterator[Row | Reject]:
    """Every row of the file: a `Row` where the lifecycle takes it under the policy."""
    for row in read_filing(filing, organisation, now):
        outcome = row if isinstance(row, Reject) else check(row, pinned, now)
        yield outcome if isinstance(outcome, Reject) else row


def events_of(row: Row, pinned: Pinned, now: datetime) -> list[Json]:
    """The events that the row's case has by `now`, in their order. Raises `Rejected`."""
    made = check(row, pinned, now)
    if isinstance(made, Reject):
        raise Rejected(made.reasons)
    return [dump(event) for step in made.steps for event in step.events]


def write_rejects(path: Path, rejects: Iterable[Reject]) -> int:
    """Write them as CSV (line, number, reasons), and return how many there were."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("line", "number", "reasons"))
        for reject in rejects:
            writer.writerow((reject.line, reject.number, " ".join(reject.reasons)))
            count += 1
    return count


def _command(command_id: str, at: datetime, body: Json) -> Json:
    return {"id": command_id, "actor": _ACTOR, "occurred_at": at.isoformat(), "body": body}


@lru_cache(maxsize=65_536)
def _instant(text: str, dates: str, at: time, time_zone: str) -> datetime | None:
    """A local date and time in UTC; None where the text is no date. Few dates make many rows."""
    try:
        day = datetime.strptime(text, dates)  # noqa: DTZ007 - local until the next line
    except ValueError:
        return None
    return datetime.combine(day, at, ZoneInfo(time_zone)).astimezone(UTC)


@lru_cache(maxsize=65_536)
def code_of(name: str) -> str:
    """A name as a word of a code list: "EAST BOSTON" is east-boston. May leave nothing."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].rstrip("-")
