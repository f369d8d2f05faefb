"""A page of a list, and where it ended, as text to go on after."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

from gateway.commands import Invalid

Row = TypeVar("Row")

WRONG = "--after: give the `next` of an earlier answer"


def paged(
    rows: Sequence[Row], limit: int, place_of: Callable[[Row], object]
) -> tuple[tuple[Row, ...], str | None]:
    """The page of rows that were asked for with one more, and what to go on after, if any."""
    page = tuple(rows[:limit])
    return page, str(place_of(page[-1])) if len(rows) > limit else None


class Place(NamedTuple):
    """An entry of a case in a list that is in order of time (UTC)."""

    at: datetime
    case_id: str
    entry: str

    def __str__(self) -> str:
        # Without a plus sign, which a query would read as a space.
        return f"{self.at.isoformat().replace('+00:00', 'Z')}/{self.case_id}/{self.entry}"


def place(text: str | None) -> Place | None:
    """A place in a list. Raises `Invalid` where it is none."""
    if text is None:
        return None
    try:
        at, case_id, entry = text.split("/")
        when = datetime.fromisoformat(at)
    except ValueError:
        raise Invalid([WRONG]) from None
    if when.tzinfo is None:
        raise Invalid([WRONG])
    return Place(when, case_id, entry)


def numbered(text: str | None) -> tuple[datetime, str, int] | None:
    """The same in a list whose entries are numbered by case. Raises `Invalid`."""
    found = place(text)
    if found is None:
        return None
    return found.at, found.case_id, number(found.entry)


def number(text: str, most: int = 2**31 - 1) -> int:
    """A number in a place. Raises `Invalid`."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 20 and int(text) <= most):
        raise Invalid([WRONG])
    return int(text)


def message(text: str | None) -> tuple[int, int]:
    """A message's position and number, such as 120/0; before all where none is given."""
    if text is None:
        return (0, -1)
    position, _, ordinal = text.partition("/")
    return number(position, 2**63 - 1), number(ordinal)


def pair(text: str | None) -> tuple[str, str] | None:
    """Two names that a list is sorted by. Raises `Invalid`."""
    if text is None:
        return None
    first, slash, second = text.partition("/")
    if not (first and slash and second):
        raise Invalid([WRONG])
    return first, second
