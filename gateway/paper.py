"""Pages for print and for keeping: HTML without a script, nothing loaded from anywhere. Pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from html import escape
from zoneinfo import ZoneInfo

from gateway.words import readable
from schemas.base import Actor

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, "Noto Sans CJK SC", "PingFang SC", sans-serif; color: #1c2330;
  max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .5rem; border-bottom: 2px solid #d4dae4; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .35rem .5rem;
  border-bottom: 1px solid #d4dae4; overflow-wrap: anywhere; }
th { font-weight: 600; color: #54617a; }
td.mark { width: 1.5rem; font-weight: 700; }
tr { break-inside: avoid; }
ul { margin: .3rem 0; padding-left: 1.2rem; }
td ul { list-style: none; padding: 0; margin: 0; }
small, .quiet { color: #54617a; font-size: .85em; }
.yes { color: #1a7340; }
.no { color: #b3261e; }
.verdict { border-left: 5px solid; padding: .4rem .8rem; background: #f4f6f9; }
@media print {
  body { margin: 0; max-width: none; font-size: 10pt; }
  thead { display: table-header-group; }
  h2, h3 { break-after: avoid; }
}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def top(name: str, style: str = "") -> Iterator[str]:
    """The page down to its heading; `name` is plain text, `style` more than the house's own."""
    yield "<!DOCTYPE html>"
    yield '<html lang="en">'
    yield '<head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(name)}</title><style>{STYLE}{style}</style></head>"
    yield f"<body><header><h1>{escape(name)}</h1>"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Rows of cells that are HTML already."""
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values, both plain text."""
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in pairs)
    return f"<table><tbody>{rows}</tbody></table>"


def time(at: datetime, zone: ZoneInfo) -> str:
    """An instant by the organisation's clock, to the second."""
    there = at.astimezone(zone)
    return f'<time datetime="{there.isoformat()}">{there:%Y-%m-%d %H:%M:%S}</time>'


def heard(at: datetime, decided_at: datetime, zone: ZoneInfo) -> str:
    """When it was recorded, if that was noticeably later than it happened."""
    late = (decided_at - at).total_seconds() >= 60
    return f"<br><small>recorded {time(decided_at, zone)}</small>" if late else ""


def who(actor: Actor) -> str:
    """Somebody and the role in which they acted."""
    return escape(f"{actor.subject} ({readable(actor.role)})")
