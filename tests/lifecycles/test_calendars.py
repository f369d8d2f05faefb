"""Working time: fixed examples by hand, and properties against a minute-by-minute reckoning."""

import time
import zoneinfo
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lifecycles import calendars
from lifecycles.calendars import (
    add_working,
    end_of_day,
    is_working_day,
    local,
    open_at,
    working_between,
)
from schemas.calendar import WEEKDAYS, Calendar, Window

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
OFFICE = ("08:00-12:00", "13:00-17:00")
ALWAYS = {day: ["00:00-24:00"] for day in WEEKDAYS}


def calendar(zone: str = "Asia/Shanghai", *windows: str, **fields: Any) -> Calendar:
    """Open on Monday to Friday, in office hours unless others are given."""
    week = dict.fromkeys(WEEKDAYS[:5], windows or OFFICE)
    return Calendar.model_validate(
        {"version": "test.1", "time_zone": zone, "week": week} | fields,
    )


def shanghai(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+08:00")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}Z")


SPRING_FESTIVAL = calendar(
    holidays=[f"2026-02-{day}" for day in (16, 17, 18, 19, 20, 23)],
    workdays=["2026-02-14", "2026-02-28"],
)


# Windows, holidays and make-up days (WIN-h)


def test_time_does_not_run_over_lunch() -> None:
    office = calendar()
    begun = shanghai("2026-03-02T11:30")
    assert working_between(office, begun, shanghai("2026-03-02T13:30")) == HOUR
    assert add_working(office, begun, HOUR) == shanghai("2026-03-02T13:30")
    assert not open_at(office, shanghai("2026-03-02T12:00"))
    assert open_at(office, shanghai("2026-03-02T13:00"))


@pytest.mark.parametrize(
    ("windows", "due"),
    [
        (["08:00-18:00"], "2026-03-03T10:00"),
        (["09:00-12:00", "13:00-17:00"], "2026-03-03T15:00"),
        (["08:30-12:00", "13:00-17:30"], "2026-03-03T13:30"),
    ],
)
def test_twelve_working_hours_from_monday_morning_follow_the_window_s_hours(
    windows: list[str], due: str
) -> None:
    open_on_weekdays = calendar("Asia/Shanghai", *windows)
    begun = shanghai("2026-03-02T07:00")
    assert add_working(open_on_weekdays, begun, 12 * HOUR) == shanghai(due)


def test_time_that_runs_out_at_closing_is_due_at_closing_and_not_the_next_morning() -> None:
    friday = shanghai("2026-03-06T16:00")
    assert add_working(calendar(), friday, HOUR) == shanghai("2026-03-06T17:00")
    assert add_working(calendar(), friday, HOUR + INSTANT) == (
        shanghai("2026-03-09T08:00") + INSTANT
    )


def test_no_duration_ends_where_it_starts_even_when_closed() -> None:
    sunday = shanghai("2026-03-08T03:00")
    due = add_working(calendar(), sunday, timedelta(0))
    assert (due, due.tzinfo) == (sunday, UTC)


def test_spring_festival_2026_is_closed_and_its_make_up_saturdays_are_open() -> None:
    friday = shanghai("2026-02-13T16:00")
    assert add_working(SPRING_FESTIVAL, friday, 8 * HOUR) == shanghai("2026-02-14T16:00")
    assert add_working(SPRING_FESTIVAL, friday, 10 * HOUR) == shanghai("2026-02-24T09:00")
    assert working_between(SPRING_FESTIVAL, friday, shanghai("2026-03-01T00:00")) == (
        HOUR + 2 * 8 * HOUR + 4 * 8 * HOUR
    )
    week = [date(2026, 2, day) for day in range(13, 25)]
    assert [day.day for day in week if is_working_day(SPRING_FESTIVAL, day)] == [13, 14, 24]


def test_make_up_days_use_their_own_windows_when_they_have_some() -> None:
    short = calendar(workdays=["2026-02-14"], makeup=["09:00-11:00"])
    begin, end = shanghai("2026-02-14T00:00"), shanghai("2026-02-16T00:00")
    assert working_between(short, begin, end) == 2 * HOUR


def test_a_make_up_day_replaces_the_windows_its_weekday_has() -> None:
    week = {"mon": OFFICE, "sat": ["09:00-10:00"]}
    open_on_saturdays = calendar(week=week, workdays=["2026-02-14"])
    begin, end = shanghai("2026-02-14T00:00"), shanghai("2026-02-15T00:00")
    assert working_between(open_on_saturdays, begin, end) == 8 * HOUR
    assert working_between(open_on_saturdays, begin + 7 * 24 * HOUR, end + 7 * 24 * HOUR) == HOUR


def test_round_the_clock_every_second_counts() -> None:
    always = calendar(week=ALWAYS)
    begin, end = utc("2026-01-01T11:22:33.444555"), utc("2027-03-04T05:06:07.000008")
    assert working_between(always, begin, end) == end - begin
    assert add_working(always, begin, end - begin) == end


# Clock changes and other habits of time zones


SUNDAYS = {"sun": ["00:00-24:00"]}


@pytest.mark.parametrize(
    ("zone", "begin", "end", "hours"),
    [
        ("America/New_York", "2026-03-08T05:00", "2026-03-09T04:00", 23),
        ("America/New_York", "2026-11-01T04:00", "2026-11-02T05:00", 25),
        ("Europe/Lisbon", "2026-03-29T00:00", "2026-03-29T23:00", 23),
        ("Europe/Lisbon", "2026-10-24T23:00", "2026-10-26T00:00", 25),
        ("Australia/Lord_Howe", "2026-04-04T13:00", "2026-04-05T13:30", 24.5),
        ("Australia/Lord_Howe", "2026-10-03T13:30", "2026-10-04T13:00", 23.5),
        ("Asia/Shanghai", "2026-03-28T16:00", "2026-03-29T16:00", 24),
    ],
)
def test_a_sunday_of_clock_change_is_as_long_as_it_really_is(
    zone: str, begin: str, end: str, hours: float
) -> None:
    sundays = calendar(zone, week=SUNDAYS)
    a_day = timedelta(days=1)
    assert working_between(sundays, utc(begin) - a_day, utc(end) + a_day) == hours * HOUR
    assert add_working(sundays, utc(begin) - a_day, hours * HOUR) == utc(end)
    assert local(sundays, utc(begin)).time() == local(sundays, utc(end)).time()
    assert end_of_day(sundays, utc(begin)) == utc(end)


@pytest.mark.parametrize(
    ("window", "spring", "autumn"),
    [
        ("01:30-02:30", 0.5, 1.5),  # an edge in the hour that is skipped, or shown twice
        ("02:30-03:30", 0.5, 1),
        ("02:00-03:00", 0, 1),  # the skipped hour itself
        ("01:00-02:00", 1, 2),  # the repeated hour itself
        ("00:30-01:30", 1, 1.5),
        ("00:00-04:00", 3, 5),
    ],
)
def test_a_window_counts_each_time_that_the_new_york_clock_shows_it(
    window: str, spring: float, autumn: float
) -> None:
    sundays = calendar("America/New_York", week={"sun": [window]})
    worked = working_between(sundays, utc("2026-03-08T00:00"), utc("2026-03-09T12:00"))
    assert worked == spring * HOUR
    worked = working_between(sundays, utc("2026-11-01T00:00"), utc("2026-11-02T12:00"))
    assert worked == autumn * HOUR


def test_between_the_two_showings_of_a_repeated_half_hour_the_window_is_closed() -> None:
    sundays = calendar("America/New_York", week={"sun": ["00:30-01:30"]})
    moments = ["05:29", "05:30", "05:59", "06:00", "06:29", "06:30"]
    assert [open_at(sundays, utc(f"2026-11-01T{m}")) for m in moments] == (
        [True, False, False, True, True, False]
    )


def test_the_day_that_apia_left_out_is_never_worked() -> None:
    apia = calendar("Pacific/Apia", week={day: ["08:00-17:00"] for day in WEEKDAYS})
    noon_29th = utc("2011-12-29T22:00")
    assert local(apia, noon_29th).isoformat() == "2011-12-29T12:00:00-10:00"
    assert end_of_day(apia, noon_29th) == utc("2011-12-30T10:00")
    assert local(apia, utc("2011-12-30T10:00")).date() == date(2011, 12, 31)
    assert add_working(apia, noon_29th, 8 * HOUR) == utc("2011-12-30T21:00")
    new_year = utc("2011-12-31T10:00")
    assert working_between(apia, utc("2011-12-29T10:00"), new_year) == 18 * HOUR


def test_kathmandu_opens_at_its_own_quarter_to() -> None:
    kathmandu = calendar("Asia/Kathmandu")
    assert add_working(kathmandu, utc("2026-03-02T00:00"), HOUR) == utc("2026-03-02T03:15")
    assert not open_at(kathmandu, utc("2026-03-02T02:14:59.999999"))
    assert open_at(kathmandu, utc("2026-03-02T02:15"))


@pytest.mark.parametrize(
    ("zone", "at", "end"),
    [
        ("Asia/Shanghai", "2026-05-01T15:59:59.999999", "2026-05-01T16:00"),
        ("Asia/Shanghai", "2026-05-01T16:00", "2026-05-02T16:00"),
        # Midnight itself is skipped.
        ("America/Sao_Paulo", "2018-11-03T12:00", "2018-11-04T03:00"),
        # The hour after midnight is shown twice: the day before ends at the first midnight.
        ("America/Havana", "2025-11-01T12:00", "2025-11-02T04:00"),
        ("America/Havana", "2025-11-02T04:30", "2025-11-03T05:00"),
        # At 00:01 the clock goes back to the day before, which ends at the second midnight.
        ("America/Goose_Bay", "2010-11-06T12:00", "2010-11-07T04:00"),
    ],
)
def test_the_local_day_ends_when_the_clock_leaves_it_for_good(zone: str, at: str, end: str) -> None:
    assert end_of_day(calendar(zone), utc(at)) == utc(end)


def test_local_time_keeps_its_offset_so_that_differences_stay_exact() -> None:
    new_york = calendar("America/New_York")
    before = local(new_york, utc("2026-03-08T06:30"))
    after = local(new_york, utc("2026-03-08T07:30"))
    assert (before.isoformat(), before.tzname()) == ("2026-03-08T01:30:00-05:00", "EST")
    assert (after.isoformat(), after.tzname()) == ("2026-03-08T03:30:00-04:00", "EDT")
    assert after - before == HOUR


# The same instants everywhere


def test_the_machine_s_own_time_zone_and_zone_files_change_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def due() -> datetime:
        for cached in ("_hours", "_stretch", "_zone"):
            getattr(calendars, cached).cache_clear()
        return add_working(SPRING_FESTIVAL, shanghai("2026-02-13T16:00"), 10 * HOUR)

    expected = due()
    false_zone = tmp_path / "Asia" / "Shanghai"
    false_zone.parent.mkdir()
    false_zone.write_bytes(files("tzdata").joinpath("zoneinfo", "UTC").read_bytes())
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    zoneinfo.reset_tzpath(to=[str(tmp_path)])
    try:
        false_time = datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo.no_cache("Asia/Shanghai"))
        assert false_time.utcoffset() == timedelta(0)
        assert due() == expected
    finally:
        zoneinfo.reset_tzpath()
        monkeypatch.undo()
        time.tzset()


def test_zones_are_no_business_of_other_libraries() -> None:
    path = zoneinfo.TZPATH
    add_working(calendar("Europe/Lisbon"), utc("2026-03-02T00:00"), HOUR)
    assert path == zoneinfo.TZPATH
    assert calendars._zone("Europe/Lisbon") is not zoneinfo.ZoneInfo("Europe/Lisbon")  # pyright: ignore[reportPrivateUsage]


def test_ten_years_take_little_time_even_when_nothing_is_cached() -> None:
    new_york = calendar("America/New_York")
    begin, end = utc("2016-01-01T00:00"), utc("2026-01-01T00:00")
    calendars._stretch.cache_clear()  # pyright: ignore[reportPrivateUsage]
    started = time.process_time()
    worked = working_between(new_york, begin, end)
    calendars._stretch.cache_clear()  # pyright: ignore[reportPrivateUsage]
    due = add_working(new_york, begin, worked)
    assert time.process_time() - started < 0.2
    assert working_between(new_york, due, end) == timedelta(0)


# What is refused


@pytest.mark.parametrize(
    "reckon",
    [
        lambda c, t: working_between(c, t, utc("2026-03-02T00:00")),
        lambda c, t: working_between(c, utc("2026-03-02T00:00"), t),
        lambda c, t: add_working(c, t, HOUR),
        lambda c, t: add_working(c, t, timedelta(0)),
        end_of_day,
        open_at,
        local,
    ],
)
@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (datetime.fromisoformat("2026-03-02T00:00"), "time zone"),
        (datetime(1899, 12, 31, tzinfo=UTC), "1900 to 2199"),
        (datetime(2200, 1, 1, tzinfo=UTC), "1900 to 2199"),
    ],
)
def test_naive_and_absurd_times_are_refused(
    reckon: Callable[[Calendar, datetime], object], at: datetime, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        reckon(calendar(), at)


def test_a_negative_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        add_working(calendar(), utc("2026-03-02T00:00"), -INSTANT)


def test_a_date_and_time_is_no_working_day() -> None:
    with pytest.raises(TypeError, match="local date"):
        is_working_day(calendar(), utc("2026-03-02T00:00"))


def closed_for(days: int) -> Calendar:
    first = date(2026, 3, 2)
    return calendar("UTC", week=ALWAYS, holidays=[first + timedelta(n) for n in range(days)])


def test_a_calendar_that_stays_closed_for_more_than_366_days_says_so() -> None:
    begun = utc("2026-03-01T23:00")
    assert add_working(closed_for(366), begun, 2 * HOUR) == utc("2027-03-03T01:00")
    with pytest.raises(ValueError, match="more than 366 days on end from 2026-03-02"):
        add_working(closed_for(367), begun, 2 * HOUR)
    with pytest.raises(ValueError, match="more than 366 days on end from 2026-03-02"):
        add_working(closed_for(4000), begun, 2 * HOUR)
    assert add_working(closed_for(4000), begun, HOUR) == utc("2026-03-02T00:00")
    assert add_working(closed_for(4000), utc("2037-02-12T00:00"), HOUR) == utc("2037-02-12T01:00")


def test_a_duration_that_no_business_has_ends_with_a_reason_and_not_never() -> None:
    with pytest.raises(ValueError, match="1900 to 2199"):
        add_working(calendar(week={"mon": ["08:00-08:01"]}), utc("2026-03-02T00:00"), 9999 * HOUR)


# The calendar itself


def wrongs(**fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        calendar(**fields)
    return str(caught.value)


def test_everything_that_is_wrong_with_a_calendar_is_listed_at_once() -> None:
    answer = wrongs(
        time_zone="Mars/Olympus",
        week={
            "mon": ["12:00-11:00", "10:00-13:00", "12:30-14:00"],
            "tue": ["8-12"],
            "wed": ["00:00-24:01"],
        },
        holidays=["2026-02-16", "2026-02-16", "2026-02-17"],
        workdays=["2026-02-17", "2026-02-28", "2026-02-28"],
        makeup=["09:00-09:00"],
    )
    for reason in [
        "no IANA time zone",
        "window 1 must end after it starts",
        "window 2 must come before window 1",
        "window 3 starts before window 2 ends",
        "week.tue.0",
        "week.wed.0",
        'write a window like "08:00-12:00"',
        "holidays: 2026-02-16 is listed more than once",
        "workdays: 2026-02-28 is listed more than once",
        "2026-02-17 is both a holiday and a make-up working day",
        "makeup",
    ]:
        assert reason in answer
    assert "Mars" not in answer


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"week": {}}, "at least one window"),
        ({"week": {"mon": []}}, "at least one window"),
        ({"week": {"monday": OFFICE}}, "'mon', 'tue'"),
        ({"week": {"tue": OFFICE}, "workdays": ["2026-02-14"]}, "Monday is closed"),
        ({"holidays": [20260216]}, "write a date like"),
        ({"holidays": ["20260216"]}, "write a date like"),
        ({"holidays": [datetime.fromisoformat("2026-02-16T00:00")]}, "write a date like"),
        ({"holidays": ["2026-02-30"]}, "valid date"),
        ({"time_zone": "../UTC"}, "no IANA time zone"),
        ({"version": ""}, "at least 1 character"),
        ({"lunch": "12:00-13:00"}, "Extra inputs"),
    ],
)
def test_a_wrong_calendar_is_refused(fields: dict[str, Any], reason: str) -> None:
    assert reason in wrongs(**fields)


def test_windows_that_touch_are_in_order() -> None:
    touching = calendar("UTC", "00:00-12:00", "12:00-24:00")
    assert working_between(touching, utc("2026-03-02T00:00"), utc("2026-03-03T00:00")) == 24 * HOUR


def test_calendars_of_equal_content_are_equal_hash_alike_and_dump_alike() -> None:
    days = ["2026-02-16", "2026-02-17"]
    one = calendar(holidays=days, week={"tue": OFFICE, "mon": OFFICE, "sat": []})
    other = calendar(holidays=days[::-1], week={"mon": OFFICE, "tue": OFFICE})
    assert (one, hash(one)) == (other, hash(other))
    assert one.model_dump_json() == other.model_dump_json()
    assert one != calendar(holidays=days)


# Properties

ZONES = [
    "UTC",
    "Asia/Shanghai",
    "America/New_York",
    "Europe/Lisbon",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "America/Havana",
    "America/Goose_Bay",
    "America/Sao_Paulo",
    "Africa/Casablanca",
]
# Clock changes in those zones, so that the examples crowd round them.
MOMENTS = [
    utc("2026-03-08T07:00"),
    utc("2025-11-02T06:00"),
    utc("2025-03-30T01:00"),
    utc("2025-10-26T01:00"),
    utc("2025-04-05T15:00"),
    utc("2025-10-04T15:30"),
    utc("2011-12-30T10:00"),
    utc("2010-11-07T03:01"),
    utc("2018-11-04T03:00"),
    utc("2025-02-23T02:00"),
]
moments = st.sampled_from(MOMENTS)
near = st.timedeltas(-timedelta(days=3), timedelta(days=3))
instants = st.builds(lambda moment, by: moment + by, moments, near)
durations = st.timedeltas(timedelta(0), timedelta(days=40))


@st.composite
def windows(draw: st.DrawFn) -> list[str]:
    edges = sorted(draw(st.lists(st.integers(0, 1440), max_size=6, unique=True)))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    return [
        f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}" for start, end in pairs
    ]


@st.composite
def any_calendars(draw: st.DrawFn) -> Calendar:
    week = draw(st.fixed_dictionaries({day: windows() for day in WEEKDAYS}))
    if not any(week.values()):
        week["wed"] = ["23:00-24:00"]
    day = draw(moments).date()
    special = [day + timedelta(n) for n in draw(st.sets(st.integers(-4, 4), max_size=6))]
    cut = draw(st.integers(0, len(special)))
    return calendar(
        draw(st.sampled_from(ZONES)),
        week=week,
        holidays=special[:cut],
        workdays=special[cut:],
        makeup=draw(windows()) or ["09:00-10:00"],
    )


relaxed = settings(deadline=None)


@relaxed
@given(any_calendars(), instants, durations)
def test_the_time_added_is_the_time_between_and_ends_as_early_as_it_can(
    any_calendar: Calendar, start: datetime, duration: timedelta
) -> None:
    due = add_working(any_calendar, start, duration)
    assert due.tzinfo is UTC
    assert working_between(any_calendar, start, due) == duration
    if duration:
        assert open_at(any_calendar, due - INSTANT)
    else:
        assert due == start


@relaxed
@given(any_calendars(), instants, instants, instants)
def test_times_between_add_up_in_whatever_order(
    any_calendar: Calendar, a: datetime, b: datetime, c: datetime
) -> None:
    total = working_between(any_calendar, a, b) + working_between(any_calendar, b, c)
    assert total == working_between(any_calendar, a, c)
    assert working_between(any_calendar, a, b) == -working_between(any_calendar, b, a)


@relaxed
@given(any_calendars(), instants, instants, durations, durations)
def test_later_starts_and_longer_durations_are_never_due_earlier(
    any_calendar: Calendar, a: datetime, b: datetime, short: timedelta, more: timedelta
) -> None:
    first, second = min(a, b), max(a, b)
    due = add_working(any_calendar, first, short)
    assert due <= add_working(any_calendar, second, short) or not short
    assert due <= add_working(any_calendar, first, short + more)
    assert timedelta(0) <= working_between(any_calendar, first, second) <= second - first


@relaxed
@given(any_calendars(), instants)
def test_an_instant_is_worked_just_when_it_is_open(any_calendar: Calendar, at: datetime) -> None:
    worked = working_between(any_calendar, at, at + INSTANT)
    assert worked == (INSTANT if open_at(any_calendar, at) else timedelta(0))


@relaxed
@given(st.sampled_from(ZONES), instants)
def test_the_local_day_is_still_shown_just_before_its_end_and_not_at_it(
    zone: str, at: datetime
) -> None:
    end = end_of_day(calendar(zone), at)
    assert at < end
    shown = zoneinfo.ZoneInfo(zone)
    today = at.astimezone(shown).date()
    assert (end - INSTANT).astimezone(shown).date() == today
    assert all((end + n * HOUR).astimezone(shown).date() > today for n in range(30))


def by_the_minute(any_calendar: Calendar, start: datetime, minutes: int) -> int:
    """Look at the clock on the wall every minute, as a person would."""
    wall = zoneinfo.ZoneInfo(any_calendar.time_zone)
    raw = any_calendar.model_dump(mode="json")
    count = 0
    for n in range(minutes):
        shown = (start + n * MINUTE).astimezone(wall)
        today, clock = shown.date().isoformat(), shown.strftime("%H:%M")
        if today in raw["holidays"]:
            hours: list[str] = []
        elif today in raw["workdays"]:
            hours = raw["makeup"]
        else:
            hours = raw["week"].get(shown.strftime("%a").lower(), [])
        count += any(begin <= clock < end for begin, end in (w.split("-") for w in hours))
    return count


@settings(deadline=None, max_examples=40)
@given(any_calendars(), moments, st.integers(-2880, 0), st.integers(0, 4320))
def test_working_time_agrees_with_looking_at_the_clock_every_minute(
    any_calendar: Calendar, moment: datetime, before: int, minutes: int
) -> None:
    start = moment + before * MINUTE
    worked = working_between(any_calendar, start, start + minutes * MINUTE)
    assert worked == by_the_minute(any_calendar, start, minutes) * MINUTE


@relaxed
@given(any_calendars())
def test_a_calendar_survives_json_unchanged(any_calendar: Calendar) -> None:
    text = any_calendar.model_dump_json()
    again = Calendar.model_validate_json(text)
    assert (again, hash(again)) == (any_calendar, hash(any_calendar))
    assert again.model_dump_json() == text
    assert Calendar.model_validate(any_calendar.model_dump(mode="json")) == any_calendar


@pytest.mark.parametrize("text", ["00:00-24:00", "08:05-08:06", "23:59-24:00"])
def test_a_window_is_written_as_it_was_read(text: str) -> None:
    assert Window.model_validate(text).model_dump() == text
