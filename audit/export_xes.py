"""XES (IEEE 1849): a trace per case, for process mining that knows one notion of a case."""

import re
from collections.abc import Callable
from contextlib import aclosing
from typing import IO
from xml.sax.saxutils import quoteattr

from activities.database import Connection
from audit.export_flat import Type, attributes
from audit.export_rows import Row, Selection, rows

_TAGS: dict[Type, str] = {
    "time": "date",
    "integer": "int",
    "float": "float",
    "boolean": "boolean",
}
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<log xes.version="1849.2016" xes.features="">
<extension name="Concept" prefix="concept" uri="http://www.xes-standard.org/concept.xesext"/>
<extension name="Lifecycle" prefix="lifecycle" uri="http://www.xes-standard.org/lifecycle.xesext"/>
<extension name="Organizational" prefix="org" uri="http://www.xes-standard.org/org.xesext"/>
<extension name="Time" prefix="time" uri="http://www.xes-standard.org/time.xesext"/>
<global scope="trace">
<string key="concept:name" value="none"/>
<string key="kind" value="none"/>
</global>
<global scope="event">
<string key="concept:name" value="none"/>
<string key="lifecycle:transition" value="complete"/>
<date key="time:timestamp" value="1970-01-01T00:00:00Z"/>
<string key="org:resource" value="none"/>
<string key="org:role" value="none"/>
</global>
<classifier name="Activity" scope="event" keys="concept:name"/>
"""
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


async def write(
    connection: Connection,
    selection: Selection,
    out: IO[bytes],
    *,
    done: Callable[[int], None] = lambda count: None,
) -> int:
    """Write a whole export, case after case by their names; returns how many cases there are.

    Within a trace, events stand in the order in which they were decided, which is not always that
    of their times: a fact may be told late. Raises LogDamaged.
    """
    out.write(_HEAD.encode())
    out.write(_string("concept:name", selection.organisation).encode())
    cases = events = 0
    case = ""
    async with aclosing(rows(connection, selection, "case")) as chunks:
        async for chunk in chunks:
            lines: list[str] = []
            for row in chunk:
                stream = row.header["stream"]
                if stream != case:
                    lines.append("</trace>\n<trace>\n" if case else "<trace>\n")
                    lines.append(_string("concept:name", stream))
                    lines.append(_string("kind", row.kind))
                    case = stream
                    cases += 1
                lines.append(_event(row))
            events += len(chunk)
            out.write("".join(lines).encode())
            done(events)
    out.write(b"</trace>\n</log>\n" if case else b"</log>\n")
    return cases


def _event(row: Row) -> str:
    header, actor = row.header, row.actor
    parts = [
        "<event>\n",
        _string("concept:name", row.name),
        '<string key="lifecycle:transition" value="complete"/>\n',
        f'<date key="time:timestamp" value="{header["occurred_at"]}"/>\n',
        _string("org:resource", actor["subject"]),
        _string("org:role", actor["role"]),
    ]
    for name, type, value in attributes(row):
        if type == "string":
            parts.append(_string(name, value))
        else:
            parts.append(f'<{_TAGS[type]} key="{name}" value="{value}"/>\n')
    parts.append("</event>\n")
    return "".join(parts)


def _string(key: str, value: str) -> str:
    if not value.isprintable() or "<" in value or "&" in value or '"' in value:
        value = quoteattr(_NO_XML.sub("\ufffd", value))
        return f'<string key="{key}" value={value}/>\n'
    return f'<string key="{key}" value="{value}"/>\n'
