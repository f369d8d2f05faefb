"""Filling a year's Chinese holidays into a policy file, and leaving all else in it alone."""

import stat
import sys
import tomllib
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import holidays
import pytest

from gateway.holidays import HolidayChange, fill_holidays
from lifecycles.calendars import is_working_day
from schemas.calendar import Calendar

POLICY = """\
# The gas company's figures.
name = "gas"  # short

[calendar]  # WIN-h
version = 'CN-2025.3'  # raise it with every change
time_zone = "Asia/Shanghai"
# Everything is closed on these.
holidays = [
  # 2025
  2025-01-01,  # New Year
  "2025-10-01", 2025-10-02,
  # 2028, already known
  2028-01-01  # a Saturday
  # that is all
]  # see the notice
workdays = [2025-10-11]

[calendar.week]  # lunch is closed
mon = ["08:00-12:00", '13:00-17:00']
tue = ["08:00-12:00", "13:00-17:00"]
wed = ["08:00-12:00", "13:00-17:00"]
thu = ["08:00-12:00", "13:00-17:00"]
fri = ["08:00-12:00", "13:00-17:00"]

[repair]
figure = 24  # hours
"""

SPRING_FESTIVAL = [date(2026, 2, day) for day in (16, 17, 18, 19, 20, 23)]
MAKE_UP = ["2026-01-04", "2026-02-14", "2026-02-28", "2026-05-09", "2026-09-20", "2026-10-10"]

WriteFile = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    def write_file(text: str) -> Path:
        file = tmp_path / "gas.toml"
        file.write_bytes(text.encode())
        return file

    return write_file


def calendar_of(file: Path) -> Calendar:
    return Calendar.model_validate(tomllib.loads(file.read_bytes().decode())["calendar"])


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str], list[str]], None]:
    """Makes the library know these days and make-up days alone."""

    def know(days: dict[str, str], workdays: list[str]) -> None:
        class Days(dict[date, str]):
            weekend_workdays = frozenset(date.fromisoformat(day) for day in workdays)

        known = Days({date.fromisoformat(day): name for day, name in days.items()})
        fake = SimpleNamespace(country_holidays=lambda *_, **__: known)  # pyright: ignore[reportUnknownLambdaType]
        monkeypatch.setitem(sys.modules, "holidays", fake)

    return know


def test_2026_is_filled_with_its_days_off_and_make_up_days(write: WriteFile) -> None:
    file = write(POLICY)
    change = fill_holidays(file, 2026)
    calendar = calendar_of(file)

    assert change.changed
    assert change.arranged
    assert (change.version_before, change.version) == ("CN-2025.3", "CN-2026.1")
    assert calendar.version == "CN-2026.1"
    assert [d for d in calendar.holidays if d.year == 2026 and d.month == 2] == SPRING_FESTIVAL
    assert [d.isoformat() for d in calendar.workdays if d.year == 2026] == MAKE_UP
    assert set(SPRING_FESTIVAL) <= set(change.holidays_added)
    assert [d.isoformat() for d in change.workdays_added] == MAKE_UP
    assert (change.holidays_removed, change.workdays_removed) == ((), ())


def test_every_day_of_a_filled_year_is_worked_just_when_the_library_says_so(
    write: WriteFile,
) -> None:
    file = write(POLICY)
    for year in range(2015, 2027):
        fill_holidays(file, year)
    calendar = calendar_of(file)
    china = holidays.country_holidays("CN", years=range(2015, 2027))
    days = [date(2015, 1, 1) + timedelta(days=n) for n in range(365 * 12 + 3)]
    assert days[-1] == date(2026, 12, 31)
    differing = [d for d in days if is_working_day(calendar, d) != china.is_working_day(d)]
    assert differing == []


def test_comments_and_other_years_and_everything_else_stay(write: WriteFile) -> None:
    file = write(POLICY)
    fill_holidays(file, 2026)
    text = file.read_text()

    before, after = tomllib.loads(POLICY), tomllib.loads(text)
    for document in (before, after):
        for key in ("version", "holidays", "workdays"):
            del document["calendar"][key]
    assert after == before
    assert [line for line in POLICY.splitlines() if "#" in line and not line.startswith("  2")] == [
        line.replace("CN-2026.1", "CN-2025.3").replace('"CN-2025.3"', "'CN-2025.3'")
        for line in text.splitlines()
        if "#" in line and not line.startswith("  2")
    ]
    order = [
        "  # 2025",
        "  2025-01-01,  # New Year",
        '  "2025-10-01",',
        "  2025-10-02,",
        "  2026-01-01,  # New Year's Day",
        "  2026-10-07,  # Day off",
        "  # 2028, already known",
        "  2028-01-01,  # a Saturday",
        "  # that is all",
        "]  # see the notice",
        "workdays = [",
        "    2025-10-11,",
        "    2026-01-04,",
        "",
        "[calendar.week]  # lunch is closed",
    ]
    lines = iter(text.splitlines())
    assert [line for line in order if line not in lines] == []


def test_a_second_run_changes_nothing_and_does_not_touch_the_file(write: WriteFile) -> None:
    file = write(POLICY)
    first = fill_holidays(file, 2026)
    text, written = file.read_bytes(), file.stat().st_mtime_ns
    second = fill_holidays(file, 2026)
    assert second == HolidayChange(
        year=2026, arranged=True, version_before=first.version, version=first.version
    )
    assert not second.changed
    assert (file.read_bytes(), file.stat().st_mtime_ns) == (text, written)


def test_a_year_that_is_not_arranged_yet_is_said_to_be_so_and_completed_later(
    write: WriteFile, library: Callable[[dict[str, str], list[str]], None]
) -> None:
    file = write(POLICY)
    library({"2031-01-01": "New Year's Day", "2031-01-28": "Tomorrow (observed)"}, [])
    early = fill_holidays(file, 2031)
    assert not early.arranged
    assert early.version == "CN-2031.1"
    assert calendar_of(file).workdays == (date(2025, 10, 11),)
    assert not fill_holidays(file, 2031).arranged

    library({"2031-01-01": "New Year's Day", "2031-01-02": "Day off"}, ["2031-01-04"])
    late = fill_holidays(file, 2031)
    assert late.arranged
    assert late.version == "CN-2031.2"
    assert late.holidays_added == (date(2031, 1, 2),)
    assert late.holidays_removed == (date(2031, 1, 28),)
    assert late.workdays_added == (date(2031, 1, 4),)


def test_make_up_days_that_the_library_does_not_know_are_not_thrown_away(
    write: WriteFile, library: Callable[[dict[str, str], list[str]], None]
) -> None:
    file = write(POLICY.replace("[2025-10-11]", "[2031-01-04]"))
    library({"2031-01-01": "New Year's Day"}, ["2030-12-28"])
    with pytest.raises(ValueError, match="update the library"):
        fill_holidays(file, 2031)
    assert file.read_text() == POLICY.replace("[2025-10-11]", "[2031-01-04]")


def test_a_unit_open_on_saturdays_is_closed_on_those_of_a_break_but_no_others(
    write: WriteFile,
) -> None:
    file = write(POLICY.replace("[repair]", 'sat = ["09:00-11:00"]\n\n[repair]'))
    fill_holidays(file, 2026)
    calendar = calendar_of(file)
    saturdays = [date(2026, 2, day) for day in (7, 14, 21, 28)]
    assert [is_working_day(calendar, d) for d in saturdays] == [True, True, False, True]
    assert date(2026, 2, 21) in calendar.holidays
    assert date(2026, 2, 22) not in calendar.holidays  # its Sundays are closed anyway


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("CN-2025.9", "CN-2026.1"),
        ("CN-2026.1", "CN-2026.2"),
        ("CN-2026.9", "CN-2026.10"),
        ("CN-2028.4", "CN-2028.5"),
        ("gas-2025.1", "gas-2026.1"),
        ("first", "CN-2026.1"),
    ],
)
def test_the_version_rises_and_never_repeats(write: WriteFile, before: str, after: str) -> None:
    file = write(POLICY.replace("CN-2025.3", before))
    assert fill_holidays(file, 2026).version == after
    assert calendar_of(file).version == after


def test_lists_that_are_missing_or_empty_are_begun(write: WriteFile) -> None:
    without = POLICY[: POLICY.index("# Everything")] + POLICY[POLICY.index("[calendar.week]") :]
    file = write(without)
    fill_holidays(file, 2026)
    full = calendar_of(file)
    assert {d.year for d in full.holidays + full.workdays} == {2026}
    assert "]\n\n[calendar.week]" in file.read_text()

    empty = without.replace("time_zone =", "holidays = []\nworkdays = []\ntime_zone =")
    file = write(empty)
    fill_holidays(file, 2026)
    assert calendar_of(file) == full


def test_windows_line_ends_and_permissions_stay(write: WriteFile) -> None:
    file = write(POLICY.replace("\n", "\r\n"))
    file.chmod(0o640)
    fill_holidays(file, 2026)
    text = file.read_bytes().decode()
    assert text.count("\n") == text.count("\r\n") > POLICY.count("\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [f.name for f in file.parent.iterdir()] == ["gas.toml"]


def test_a_link_to_the_policy_stays_a_link(write: WriteFile, tmp_path: Path) -> None:
    file = write(POLICY)
    link = tmp_path / "current.toml"
    link.symlink_to(file)
    fill_holidays(link, 2026)
    assert link.is_symlink()
    assert calendar_of(file).version == "CN-2026.1"


@pytest.mark.parametrize(
    ("text", "year", "reason"),
    [
        ("name = 'gas'\n", 2026, r"no \[calendar\] table"),
        ("calendar = 1\n", 2026, "Calendar"),
        ("[calendar\n", 2026, "not valid TOML"),
        (POLICY.replace("Asia/Shanghai", "China"), 2026, "no IANA time zone"),
        (POLICY.replace("2025-01-01", "2025-10-02"), 2026, "more than once"),
        (POLICY, 1900, "knows no Chinese public holidays in 1900"),
        (POLICY, -5, "knows no Chinese public holidays"),
        (POLICY.replace("mon =", "sat ="), 2026, "Monday is closed"),
    ],
)
def test_a_file_or_year_that_will_not_do_is_refused_and_left_as_it_was(
    write: WriteFile, text: str, year: int, reason: str
) -> None:
    file = write(text)
    with pytest.raises(ValueError, match=reason):
        fill_holidays(file, year)
    assert file.read_text() == text
    assert [f.name for f in file.parent.iterdir()] == ["gas.toml"]


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "gas.toml"
    file.write_bytes(POLICY.replace("figures", "数字").encode("gb18030"))
    with pytest.raises(ValueError, match="save it as UTF-8"):
        fill_holidays(file, 2026)


def test_without_the_library_it_says_what_to_install(
    write: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "holidays", None)
    with pytest.raises(RuntimeError, match="pip install holidays"):
        fill_holidays(write(POLICY), 2026)
