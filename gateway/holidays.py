"""Fills a year's Chinese public holidays and make-up working days (放假调休) into a policy file.

The days come from the `holidays` library, which follows the State Council's yearly arrangement.
This is a tool for whoever keeps the policy, and no part of a running case.
"""

import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, cast

import tomlkit

from schemas.base import Value
from schemas.calendar import WEEKDAYS, Calendar

_DAY = timedelta(days=1)


class HolidayChange(Value):
    """What filling in a year did to a policy file."""

    year: int
    arranged: bool
    """False while only the statutory days are known: the make-up days, and some of the days off,
    come with the State Council's arrangement, so run it again when that is announced."""
    version_before: str
    version: str
    holidays_added: tuple[date, ...] = ()
    holidays_removed: tuple[date, ...] = ()
    workdays_added: tuple[date, ...] = ()
    workdays_removed: tuple[date, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the file was written; a second run finds nothing to change."""
        return self.version != self.version_before


def fill_holidays(policy_file: Path, year: int) -> HolidayChange:
    """Make `year` in the file's [calendar] what the library knows of it, and raise its version.

    Every holiday of the year is listed, with the weekend days of its break on which the week is
    open. Dates of `year` that are not in the arrangement are removed, and told in the answer; other
    years' dates, comments and all else stay. Nothing is written unless the result is a valid
    calendar. Raises ValueError for a file or year that will not do, OSError for one that cannot be
    read or written, RuntimeError when the library is not installed.
    """
    source, before = _read(policy_file)
    if "calendar" not in before:
        raise ValueError(f"{policy_file.name} has no [calendar] table to fill: give it one first")
    table: dict[str, Any] = before["calendar"]
    old = Calendar.model_validate(table)
    known = _known_days(year, old)
    if not known.holidays:
        raise ValueError(f"the holidays library knows no Chinese public holidays in {year}")

    listed = {day for day in old.holidays if day.year == year}
    worked = {day for day in old.workdays if day.year == year}
    if worked and not known.workdays:
        raise ValueError(
            f"{policy_file.name} already has make-up working days for {year}, but the installed "
            "holidays library does not know that year's arrangement: update the library first"
        )
    same = listed == set(known.holidays) and worked == set(known.workdays)
    change = HolidayChange(
        year=year,
        arranged=bool(known.workdays),
        version_before=old.version,
        version=old.version if same else _next_version(old.version, year),
        holidays_added=tuple(sorted(set(known.holidays) - listed)),
        holidays_removed=tuple(sorted(listed - set(known.holidays))),
        workdays_added=tuple(sorted(set(known.workdays) - worked)),
        workdays_removed=tuple(sorted(worked - set(known.workdays))),
    )
    if same:
        return change

    new = {
        "version": change.version,
        "holidays": _merged(old.holidays, known.holidays, year),
        "workdays": _merged(old.workdays, known.workdays, year),
    }
    expected = Calendar.model_validate({**table, **new})
    edited = _edit(source, year, known, change.version)
    # The file is a person's work: write only what reads back as the same file with these changes.
    after = tomllib.loads(edited)
    if Calendar.model_validate(after["calendar"]) != expected or _rest(after) != _rest(before):
        raise ValueError(
            f"{policy_file.name} is laid out in a way that cannot be edited safely: "
            "write [calendar] as a table of its own, with holidays and workdays as lists"
        )
    _write(policy_file.resolve(), edited)
    return change


def _read(file: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = file.read_bytes().decode("utf-8")
        return text, tomllib.loads(text)
    except UnicodeDecodeError:
        raise ValueError(f"{file.name} is not UTF-8 text: save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file.name} is not valid TOML: {error}") from None


@dataclass(frozen=True)
class _Days:
    """Each day with the remark that is written beside it."""

    holidays: dict[date, str]
    workdays: dict[date, str]


def _known_days(year: int, calendar: Calendar) -> _Days:
    try:
        import holidays
    except ImportError:
        raise RuntimeError(
            "filling in holidays needs the holidays library: pip install holidays"
        ) from None
    # The years beside it too: a break round New Year reaches over.
    china = holidays.country_holidays("CN", years=range(year - 1, year + 2), language="en_US")
    named = {day: str(name).split(" (")[0] for day, name in china.items()}
    workdays = {day: "" for day in sorted(china.weekend_workdays) if day.year == year}
    weekends: dict[date, str] = {}
    for day in named:
        for step in (-_DAY, _DAY):
            beside = day + step
            while (
                beside.weekday() >= 5
                and beside not in named
                and beside not in china.weekend_workdays
            ):
                if calendar.week.get(WEEKDAYS[beside.weekday()]):
                    weekends[beside] = "Weekend of the holiday"
                beside += step
    off = sorted((named | weekends).items())
    return _Days({day: name for day, name in off if day.year == year}, workdays)


def _merged(old: Iterable[date], known: Iterable[date], year: int) -> list[date]:
    return sorted({*(day for day in old if day.year != year), *known})


def _next_version(version: str, year: int) -> str:
    match = re.fullmatch(r"(.*?)([0-9]{4})\.([0-9]+)", version)
    if match is None:
        return f"CN-{year}.1"
    # A version is never used twice, so filling in an earlier year counts on from the later one.
    prefix, last, count = match[1], int(match[2]), int(match[3])
    return f"{prefix}{year}.1" if year > last else f"{prefix}{last}.{count + 1}"


def _rest(document: dict[str, Any]) -> dict[str, Any]:
    calendar = document["calendar"]
    kept = {k: v for k, v in calendar.items() if k not in ("version", "holidays", "workdays")}
    return {**document, "calendar": kept}


def _edit(source: str, year: int, known: _Days, version: str) -> str:
    newline = "\r\n" if "\r\n" in source else "\n"
    document = tomlkit.parse(source)
    table = cast("dict[str, Any]", document["calendar"])
    table["version"] = version
    for key, days in (("holidays", known.holidays), ("workdays", known.workdays)):
        old = table[key].as_string() if key in table else "[]"
        new = _dates(old, year, days, newline)
        if new != old:
            # Assigned as a parsed item, because tomlkit's own editing of a list loses commas
            # beside comments.
            table[key] = tomlkit.parse(f"x = {new}{newline}")["x"]
    return document.as_string()


@dataclass(frozen=True)
class _Line:
    """One date of a list as it is written, or a remark that stands alone."""

    day: date | None
    text: str
    remark: str = ""


def _dates(old: str, year: int, known: dict[date, str], newline: str) -> str:
    """The list `old` with the days of `year` made the known ones, each remark kept in its place."""
    lines = _lines(old)
    written = {line.day for line in lines}
    if {day for day in written if day and day.year == year} == set(known):
        return old
    lines = [
        line for line in lines if line.day is None or line.day.year != year or line.day in known
    ]
    for day, name in known.items():
        if day not in written:
            earlier = (i for i, line in enumerate(lines, 1) if line.day and line.day < day)
            later = (i for i, line in enumerate(lines) if line.day and line.day > day)
            place = max(earlier, default=next(later, len(lines)))
            lines.insert(place, _Line(day, day.isoformat(), f"# {name}" if name else ""))
    indent = re.search(r"\n([ \t]+)\S", old)
    margin = newline + (indent[1] if indent else "    ")
    rows = (f"{line.text},  {line.remark}" if line.day else line.remark for line in lines)
    return "[" + "".join(margin + row.rstrip() for row in rows) + newline + "]"


def _lines(old: str) -> list[_Line]:
    lines: list[_Line] = []
    alone = True
    for token in re.findall(r"#[^\r\n]*|[\"']?[0-9]{4}-[0-9]{2}-[0-9]{2}[\"']?|\n", old):
        if token == "\n":
            alone = True
        elif not token.startswith("#"):
            lines.append(_Line(date.fromisoformat(token.strip("\"'")), token))
            alone = False
        elif alone:
            lines.append(_Line(None, "", token))
        else:
            lines[-1] = replace(lines[-1], remark=token)
    return lines


def _write(file: Path, text: str) -> None:
    """All or nothing, with the file's own permissions."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as temporary:
            temporary.write(text.encode("utf-8"))
        shutil.copymode(file, name)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
