"""Working time. Pure: no clock, and nothing read but the time-zone data.

An instant is working time exactly when the local clock then shows a time inside a window of the
local date that it shows. That settles daylight saving: an hour that the clock skips is never
worked, one that it shows twice is worked twice; a window's edge that is skipped is the moment of
the skip, one that is shown twice counts each time. All reckoning is in UTC.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from schemas.calendar import WEEKDAYS, Calendar, Window

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000  # Instants are whole microseconds since the epoch: exact, and fast to compare.
_DAY = 86_400 * _SECOND
_STRETCH = 32 * _DAY
_LONGEST_CLOSED = 366 * _DAY
_YEARS = range(1900, 2200)
_END = (datetime(_YEARS.stop, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_OUT_OF_RANGE = f"working time is reckoned from {_YEARS.start} to {_YEARS.stop - 1} only"

# The locked tzdata package alone, never the system's copy: a replay on another machine, years from
# now, must find the same instants. Zones are made from its files directly, because resetting
# zoneinfo's search path would change the zones of every library in the process.
_ZONES = files("tzdata").joinpath("zoneinfo")


class OutOfRange(ValueError):
    """A time that no calendar reckons with."""


def working_between(calendar: Calendar, start: datetime, end: datetime) -> timedelta:
    """The working time from `start` to `end`, exact; negative when `end` is the earlier one.

    Raises ValueError for a naive time, or one outside the years 1900 to 2199.
    """
    hours = _hours(calendar)
    first, last = _instant(start), _instant(end)
    worked = _stretch(hours, last // _STRETCH).worked_until(last)
    worked -= _stretch(hours, first // _STRETCH).worked_until(first)
    low, high = sorted((first // _STRETCH, last // _STRETCH))
    between = sum(_stretch(hours, number).total for number in range(low, high))
    return timedelta(microseconds=worked + (between if first <= last else -between))


def add_working(calendar: Calendar, start: datetime, duration: timedelta) -> datetime:
    """The earliest instant (UTC) at which `duration` of working time has run since `start`.

    That is a window's end rather than the next one's start; no duration at all is `start` itself.
    Raises ValueError for a naive time, a negative duration, a result after 2199, or a calendar that
    stays closed for more than 366 days on the way.
    """
    if duration < timedelta(0):
        raise ValueError("working time can only be added, so the duration must not be negative")
    hours = _hours(calendar)
    begun = _instant(start)
    if not duration:
        return start.astimezone(UTC)
    number = begun // _STRETCH
    stretch = _stretch(hours, number)
    left = duration // _MICROSECOND + stretch.worked_until(begun)
    closed_since = begun
    while left > stretch.total:
        left -= stretch.total
        closed_since = max(closed_since, stretch.ends[-1] if stretch.ends else begun)
        number += 1
        if number * _STRETCH >= _END:
            raise OutOfRange(_OUT_OF_RANGE)
        stretch = _stretch(hours, number)
        opens = stretch.starts[0] if stretch.starts else (number + 1) * _STRETCH
        if opens - closed_since > _LONGEST_CLOSED:
            raise ValueError(
                f"calendar {calendar.version} has nothing open for more than 366 days on end from "
                f"{_utc(closed_since).date()}: correct its week and holidays"
            )
    i = bisect_left(stretch.worked, left)
    due = stretch.ends[i] - (stretch.worked[i] - left)
    if due >= _END:
        raise OutOfRange(_OUT_OF_RANGE)
    return _utc(due)


def end_of_day(calendar: Calendar, at: datetime) -> datetime:
    """The end (UTC) of the local day of `at`, for 'same day' rules (WAT-1.5b).

    It is the next local day's first instant: something at or after it was not done the same day.
    Where the clock goes back over midnight, the day ends when it is left for good.
    """
    zone = _zone(calendar.time_zone)
    instant = _instant(at)
    tomorrow = ((instant + _offset(zone, instant)) // _DAY + 1) * _DAY
    end = instant
    # Three days, for clocks have been set by a whole day where the date line was moved.
    for begin, until, offset in _pieces(zone, instant, instant + 3 * _DAY):
        if begin < tomorrow - offset:
            end = min(until, tomorrow - offset)
    return _utc(end)


def start_of_day(calendar: Calendar, day: date) -> datetime:
    """The first instant (UTC) of the local date `day`, which is the end of the one before."""
    noon = (day.toordinal() - 1 - _EPOCH_ORDINAL) * _DAY + _DAY // 2
    return end_of_day(calendar, _utc(noon - _offset(_zone(calendar.time_zone), noon)))


def open_at(calendar: Calendar, at: datetime) -> bool:
    """Whether `at` is working time: from a window's first instant until just before its end."""
    hours = _hours(calendar)
    instant = _instant(at)
    day, time = divmod(instant + _offset(hours.zone, instant), _DAY)
    return any(start <= time < end for start, end in hours.on(day))


def local(calendar: Calendar, at: datetime) -> datetime:
    """`at` as the local clock shows it, with the offset of that moment.

    The offset is fixed, so that sums and differences of such times remain exact; it can be pickled.
    """
    _instant(at)
    shown = at.astimezone(_zone(calendar.time_zone))
    return at.astimezone(timezone(shown.utcoffset() or timedelta(0), shown.tzname() or "UTC"))


def months_later(day: date, months: int) -> date:
    """The same day so many calendar months on; the month's last where it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = (date(year + month // 11, (month + 1) % 12 + 1, 1) - date.resolution).day
    return date(year, month + 1, min(day.day, last))


def is_working_day(calendar: Calendar, day: date) -> bool:
    """Whether the calendar has windows on the local date `day`."""
    if isinstance(day, datetime):
        raise TypeError("give the local date: local(calendar, at).date()")
    return bool(_hours(calendar).on(day.toordinal() - _EPOCH_ORDINAL))


_Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False, slots=True)
class _Hours:
    """A calendar made ready for reckoning. Compared by identity: a cheap key for the cache."""

    zone: ZoneInfo
    week: tuple[_Spans, ...]
    special: dict[int, _Spans]

    def on(self, day: int) -> _Spans:
        """The windows of the day so many days after 1970-01-01, which was a Thursday."""
        special = self.special.get(day)
        return self.week[(day + 3) % 7] if special is None else special


@dataclass(frozen=True, eq=False, slots=True)
class _Stretch:
    """The open spans of 32 UTC days, in order, and the working time run by each one's end."""

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    worked: tuple[int, ...]
    total: int

    def worked_until(self, instant: int) -> int:
        i = bisect_right(self.starts, instant) - 1
        return 0 if i < 0 else self.worked[i] - max(0, self.ends[i] - instant)


@lru_cache(maxsize=64)
def _hours(calendar: Calendar) -> _Hours:
    def spans(windows: tuple[Window, ...]) -> _Spans:
        return tuple((w.start * 60 * _SECOND, w.end * 60 * _SECOND) for w in windows)

    week = tuple(spans(calendar.week.get(day, ())) for day in WEEKDAYS)
    makeup = spans(calendar.makeup) or week[0]
    special = {day.toordinal() - _EPOCH_ORDINAL: makeup for day in calendar.workdays}
    special |= {day.toordinal() - _EPOCH_ORDINAL: () for day in calendar.holidays}
    return _Hours(_zone(calendar.time_zone), week, special)


@lru_cache(maxsize=1024)
def _stretch(hours: _Hours, number: int) -> _Stretch:
    begin = number * _STRETCH
    starts: list[int] = []
    ends: list[int] = []
    worked: list[int] = []
    total = 0
    for piece_begin, piece_end, offset in _pieces(hours.zone, begin, begin + _STRETCH):
        days = range((piece_begin + offset) // _DAY, (piece_end + offset - 1) // _DAY + 1)
        for day in days:
            midnight = day * _DAY - offset
            for span_start, span_end in hours.on(day):
                start = max(piece_begin, midnight + span_start)
                end = min(piece_end, midnight + span_end)
                if start < end:
                    total += end - start
                    starts.append(start)
                    ends.append(end)
                    worked.append(total)
    return _Stretch(tuple(starts), tuple(ends), tuple(worked), total)


def _pieces(zone: ZoneInfo, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The time from `begin` to `end`, cut where the clock is changed: start, end and UTC offset."""
    at, offset = begin, _offset(zone, begin)
    piece = begin
    while at < end:
        # A day at a time: no zone has ever changed its clock twice within one.
        step = min(at + _DAY, end)
        after = _offset(zone, step)
        if after != offset:
            change = _first_with(zone, after, at, step)
            yield piece, change, offset
            piece, offset = change, after
        at = step
    if piece < end:
        yield piece, end, offset


def _first_with(zone: ZoneInfo, offset: int, before: int, by: int) -> int:
    """The instant after `before`, and no later than `by`, from which `offset` holds."""
    while by - before > 1:
        middle = (before + by) // 2
        if _offset(zone, middle) == offset:
            by = middle
        else:
            before = middle
    return by


def _offset(zone: ZoneInfo, instant: int) -> int:
    return (_utc(instant).astimezone(zone).utcoffset() or timedelta(0)) // _MICROSECOND


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    with _ZONES.joinpath(*name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def _instant(at: datetime) -> int:
    if at.utcoffset() is None:
        raise ValueError("working time needs times with a time zone, such as UTC")
    if at.year not in _YEARS:
        raise OutOfRange(_OUT_OF_RANGE)
    return (at - _EPOCH) // _MICROSECOND


def _utc(instant: int) -> datetime:
    return _EPOCH + timedelta(microseconds=instant)
