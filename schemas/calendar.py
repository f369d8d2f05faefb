"""A working calendar: when a unit is open, in local wall-clock time, and its special days."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from schemas.base import Value

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)
"""Monday first, as `date.weekday()` counts."""

_ZONE_LIST = files("tzdata").joinpath("zones")
_T = TypeVar("_T")
_WINDOW = r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)"


class Window(Value):
    """Opening hours within one local day, written "08:00-12:00"; "24:00" is the day's end.

    That a window ends after it starts is checked with the rest of its day, so that one answer says
    all that is wrong there.
    """

    start: Annotated[int, Field(ge=0, le=1440)]
    """Minutes after local midnight, by the clock on the wall."""
    end: Annotated[int, Field(ge=0, le=1440)]
    """Minutes after local midnight; the window is closed from this minute on."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        match = re.fullmatch(_WINDOW, value)
        if match is None:
            raise ValueError('write a window like "08:00-12:00", in 24-hour time')
        hour, minute, end_hour, end_minute = (int(x) if x else None for x in match.groups())
        end = 1440 if end_hour is None else end_hour * 60 + (end_minute or 0)
        return {"start": (hour or 0) * 60 + (minute or 0), "end": end}

    @model_serializer
    def _write(self) -> str:
        return "-".join(f"{m // 60:02}:{m % 60:02}" for m in (self.start, self.end))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^{_WINDOW}$", "title": "Window"}


def _in_order(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    wrong = [
        f"window {i} must end after it starts"
        for i, window in enumerate(windows, 1)
        if window.end <= window.start
    ]
    for i in range(1, len(windows)):
        earlier, later = windows[i - 1], windows[i]
        if later.start < earlier.start:
            wrong.append(f"window {i + 1} must come before window {i}: sort them by their start")
        elif later.start < earlier.end:
            wrong.append(f"window {i + 1} starts before window {i} ends: join them or part them")
    return _or_raise(windows, wrong)


Windows = Annotated[tuple[Window, ...], AfterValidator(_in_order)]
"""One day's windows, in order and apart."""


def _plain_date(value: object) -> object:
    # Else pydantic would take a number, or a text of digits, for seconds since 1970.
    text = isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value)
    if text or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    raise ValueError("write a date like 2027-02-06")


Dates = tuple[Annotated[date, BeforeValidator(_plain_date)], ...]


class Calendar(Value):
    """When working time runs (WIN-h). Equal content is equal, hashes alike and dumps alike."""

    version: Annotated[str, Field(min_length=1, max_length=60)]
    """Changes whenever anything below changes, such as CN-2027.1."""
    time_zone: str
    """An IANA name, such as Asia/Shanghai; all windows and dates are local to it."""
    week: dict[Weekday, Windows]
    """The ordinary week; a day that is missing or empty is closed."""
    holidays: Dates = ()
    """Local dates on which everything is closed; kept in order."""
    workdays: Annotated[Dates, Field(validate_default=True)] = ()
    """Make-up working days (调休上班): the `makeup` windows apply, whatever the weekday."""
    makeup: Annotated[Windows, Field(validate_default=True)] = ()
    """The windows of make-up working days; when empty, Monday's."""

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in _zone_names():
            raise ValueError("is no IANA time zone; give one like Asia/Shanghai or Europe/Lisbon")
        return value

    @field_validator("week")
    @classmethod
    def _open_some_time(cls, value: dict[Weekday, Windows]) -> dict[Weekday, Windows]:
        week: dict[Weekday, Windows] = {day: value[day] for day in WEEKDAYS if value.get(day)}
        return _or_raise(week, [] if week else ["give at least one window on one day"])

    @field_validator("holidays", "workdays")
    @classmethod
    def _sorted(cls, value: tuple[date, ...]) -> tuple[date, ...]:
        return tuple(sorted(value))

    @field_validator("workdays")
    @classmethod
    def _dates_once(cls, value: tuple[date, ...], info: ValidationInfo) -> tuple[date, ...]:
        # Here for both lists, so that a date listed twice does not hide one that is in both.
        holidays: tuple[date, ...] = info.data.get("holidays", ())
        both = set(holidays).intersection(value)
        wrong = [
            *(f"holidays: {day} is listed more than once" for day in _repeated(holidays)),
            *(f"workdays: {day} is listed more than once" for day in _repeated(value)),
            *(f"{day} is both a holiday and a make-up working day" for day in sorted(both)),
        ]
        return _or_raise(value, wrong)

    @field_validator("makeup")
    @classmethod
    def _has_hours(cls, value: tuple[Window, ...], info: ValidationInfo) -> tuple[Window, ...]:
        data: Mapping[str, Any] = info.data
        asked = data.get("workdays") and "week" in data
        if asked and not value and "mon" not in data["week"]:
            raise ValueError(
                "Monday is closed: give the windows in which make-up working days are worked"
            )
        return value

    def __hash__(self) -> int:
        """Cheap, for every reckoning asks it; calendars that hash alike are compared in full."""
        return hash((self.version, self.time_zone))


def _repeated(days: Iterable[date]) -> list[date]:
    return sorted(day for day, times in Counter(days).items() if times > 1)


def _or_raise(value: _T, wrong: list[str]) -> _T:
    if wrong:
        raise ValueError("; ".join(wrong))
    return value


@lru_cache(maxsize=1)
def _zone_names() -> frozenset[str]:
    """The names in the locked tzdata package: the system's own list differs between machines."""
    return frozenset(_ZONE_LIST.read_text(encoding="utf-8").split())
