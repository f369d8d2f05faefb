"""A mapping says how a file of repairs is laid out and what its words mean here: a TOML file."""

import re
import tomllib
from collections.abc import Sequence
from datetime import datetime, time
from pathlib import Path
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, ValidationError, model_validator

from lifecycles.decisions import reasons_of
from schemas.base import Code, Value
from schemas.policy import Channel, Severity

V = TypeVar("V", bound=Value)


class FilingError(Exception):
    """A file, or the mapping for it, that cannot be used; the message lists all that is wrong."""


def _dates(value: str) -> str:
    example = datetime(2016, 6, 9)  # noqa: DTZ001 - local, as in the file
    try:
        if datetime.strptime(example.strftime(value), value) == example:  # noqa: DTZ007
            return value
    except (ValueError, re.error):
        pass
    raise ValueError('write how a date is written, with day, month and year: "%m/%d/%y"')


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("is no IANA time zone; give one like America/New_York") from None
    return value


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error:
        raise ValueError("is no regular expression") from None
    return value


DateForm = Annotated[str, AfterValidator(_dates)]
"""How a file writes dates, as in `strptime`."""
NumberForm = Annotated[str, AfterValidator(_pattern)]
"""What a file's own numbers look like: a regular expression."""


class GradeTerms(Value):
    """What one of the file's grades is called here."""

    category: Code
    severity: Severity


class Layout(Value):
    """One kind of file: the columns by which it is known, and which of them says what."""

    name: Code
    columns: tuple[str, ...]
    """The file is of this kind when its header has all of these, in any order."""
    number: str
    """The column of the file's own number, the key of a row."""
    district: str
    address: tuple[str, ...]
    """Personal: these go to the vault alone."""
    grade: str
    reported: str
    repaired: str | None = None
    """None where nothing in the file is repaired yet."""

    @model_validator(mode="after")
    def _check(self) -> "Layout":
        used = (self.number, self.district, *self.address, self.grade, self.reported, self.repaired)
        wrong = [
            f"columns does not list {column!r}"
            for column in dict.fromkeys(used)
            if column is not None and column not in self.columns
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class Mapping(Value):
    """What a source of files writes, and what it means here."""

    source: Code
    """The register that the numbers belong to: a number of it is one case, whatever the file."""
    title: str
    dates: DateForm
    """As in `strptime`. The files have no time of day: the two times below stand for it."""
    reported_time: time
    repaired_time: time
    time_zone: Annotated[str, AfterValidator(_zone)]
    """An IANA name; the dates and times are local to it."""
    numbers: NumberForm = r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}"
    """What the file's own numbers look like."""
    asset: Code
    """What the number names; asset `leak` and number 12 are leak-12."""
    channel: Channel = "filing"
    work: Code
    """What was done, where the file says only when."""
    grades: dict[str, GradeTerms]
    layouts: Annotated[tuple[Layout, ...], Field(min_length=1)]

    @property
    def date_example(self) -> str:
        return date_example(self.dates)


def date_example(dates: str) -> str:
    """A date as the files write it."""
    return datetime(2016, 6, 9).strftime(dates)  # noqa: DTZ001


def load_mapping(file: Path) -> Mapping:
    """The mapping that a TOML file holds. Raises `FilingError`."""
    return read_mapping(file, Mapping)


def read_mapping(file: Path, model: type[V]) -> V:
    """A mapping of whatever kind of file. Raises `FilingError` with all that is wrong."""
    try:
        return model.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise FilingError(f"{file} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FilingError(f"{file} is not TOML: {error}.") from None
    except ValidationError as error:
        listed = "\n  ".join(reasons_of(error))
        raise FilingError(f"{file} cannot be used:\n  {listed}") from None


def load_mappings(folder: Path) -> list[Mapping]:
    """Every mapping in a folder, in the order of the files' names. Raises `FilingError`."""
    return [load_mapping(file) for file in sorted(folder.glob("*.toml"))]


def find_mapping(header: Sequence[str], mappings: Sequence[Mapping]) -> tuple[Mapping, Layout]:
    """The mapping, and its layout, whose columns a file's header has. Raises `FilingError`."""
    known = [(mapping, layout) for mapping in mappings for layout in mapping.layouts]
    if not known:
        raise FilingError("There is no mapping for such files: give one with --map.")
    fitting = [pair for pair in known if not _lacking(header, pair[1])]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(_name(*pair) for pair in fitting)
        raise FilingError(f"The header fits several mappings: {names}. Give one with --map.")
    # The header itself is not repeated: where it is missing, the first line is a customer's.
    closest = sorted(known, key=lambda pair: len(_lacking(header, pair[1])))[:3]
    raise FilingError(
        "\n  ".join(
            f"To be {_name(*pair)}, the header lacks: {', '.join(_lacking(header, pair[1]))}."
            for pair in closest
        )
    )


def _lacking(header: Sequence[str], layout: Layout) -> list[str]:
    return [column for column in layout.columns if column not in header]


def _name(mapping: Mapping, layout: Layout) -> str:
    return f"{mapping.source} ({layout.name})"
