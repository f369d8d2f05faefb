"""A CSV file as records: any line ends, with or without BOM, and nothing swallowed."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_UNDECODED = re.compile("[\udc80-\udcff]")
_LISTED = 5


def read_table(path: Path, wrong: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The file's records and the lines where they begin; `wrong` hears why it is no such file."""
    undecoded: list[int] = []
    try:
        # With `newline=""` lines may end in CR, LF or both, as the csv module needs it.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            lines = _watched(file, undecoded)
            reader = csv.reader(lines, strict=True)
            begins = 1
            try:
                for fields in reader:
                    if fields:
                        yield begins, fields
                    begins = reader.line_num + 1
            except csv.Error as error:
                wrong.append(
                    f"The row that begins on line {begins} is not CSV ({error}):"
                    " close its quotes, and double those inside a field."
                )
                for _ in lines:
                    pass
    except OSError as error:
        wrong.append(f"{error.strerror}.")
    if undecoded:
        more = f" and {len(undecoded) - _LISTED} more" if len(undecoded) > _LISTED else ""
        where = ", ".join(str(line) for line in undecoded[:_LISTED])
        wrong.append(f"Not UTF-8 text in line {where}{more}: save it as CSV in UTF-8.")


def _watched(file: IO[str], undecoded: list[int]) -> Iterator[str]:
    for number, line in enumerate(file, 1):
        if "\0" in line or (not line.isascii() and _UNDECODED.search(line)):
            undecoded.append(number)
        yield line
