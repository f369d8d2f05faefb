"""A dossier as one HTML page: no script, nothing loaded from anywhere, fit for printing. Pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from html import escape
from zoneinfo import ZoneInfo

from gateway.words import readable
from schemas.dossier import Condition, Dossier, PermitFile, Proof, StopFile

_STYLE = """
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
_MARKS = {True: ("yes", "✓"), False: ("no", "✗"), None: ("quiet", "·")}


def page(found: Dossier) -> str:
    """The whole page; times by the organisation's clock, their offset with them."""
    return "\n".join(_lines(found)) + "\n"


def _lines(d: Dossier) -> Iterator[str]:
    zone = ZoneInfo(d.time_zone)
    name = escape(f"Dossier of {d.case_id}")
    yield "<!DOCTYPE html>"
    yield '<html lang="en">'
    yield '<head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{name}</title><style>{_STYLE}</style></head>"
    yield f"<body><header><h1>{name}</h1>"
    yield f"<p>Stop of supply for unpaid bills (欠费停供), as of {_time(d.as_of, zone)}."
    yield f"All times {escape(d.time_zone)}.</p></header>"
    yield _verdict(d.complete, d.missing, _head(d))
    yield _facts(_about(d))
    for stop in d.stops:
        yield from _stop(stop, zone)
    if d.permits:
        yield "<h2>Permits (停供许可)</h2>"
        yield _table(
            ("Permit", "Crew", "Issued, before", "Open there then", "What became of it"),
            (_permit(p, zone) for p in d.permits),
        )
    yield "<h2>Time line</h2>"
    yield _table(
        ("No.", "When", "Who", "What"),
        (
            (str(e.version), _time(e.at, zone) + _heard(e, zone), _who(e), escape(e.text))
            for e in d.events
        ),
    )
    yield "<footer><p class='quiet'>Each event is named by its stream and version, its position in"
    yield f"the log of {escape(d.organisation)}, and its id. Policy {escape(d.policy)},"
    yield f"{escape(d.policy_hash)}. Form {escape(d.format)}.</p></footer>"
    yield "</body></html>"


def _head(d: Dossier) -> str:
    made = [stop for stop in d.stops if stop.state == "made"]
    if made:
        what = "Every closing of a valve is proven."
        return what if d.complete else "Not every closing of a valve is proven. Missing:"
    if d.stops:
        return "No valve was closed. Missing so far:"
    return "No valve was closed, and none is to be."


def _verdict(good: bool, missing: Iterable[str], head: str) -> str:
    listed = "".join(f"<li>{escape(why)}</li>" for why in missing)
    style = "yes" if good else "no"
    return f'<div class="verdict {style}"><strong>{escape(head)}</strong>' + (
        f"<ul>{listed}</ul></div>" if listed else "</div>"
    )


def _about(d: Dossier) -> Iterator[tuple[str, str]]:
    yield "Account, premises", f"{d.account or '-'}, {d.premises or '-'}"
    special = [readable(name) for name in ("boilers", "continuous_production") if getattr(d, name)]
    yield "Meter, customer", ", ".join((f"DN{d.dn}", d.customer_class, *special))
    yield "Stage, supply", f"{d.stage}, {readable(d.supply)}"
    yield "Balance", d.balance_text


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in pairs)
    return f"<table><tbody>{rows}</tbody></table>"


def _stop(stop: StopFile, zone: ZoneInfo) -> Iterator[str]:
    planned = "planned" if stop.state == "planned" else "made"
    kind = "Full" if stop.kind == "full" else "Temporary"
    yield f"<section><h2>{stop.number}. {kind} stop, {planned}</h2>"
    head = "Proven." if stop.complete else "Missing:" if stop.missing else "Not proven."
    yield _verdict(stop.complete, stop.missing, head)
    yield "<h3>Conditions</h3>"
    yield _table(
        ("", "Condition", "Rule", "Anew", "Shown by"),
        (_condition(c, zone) for c in stop.conditions),
    )
    yield "<h3>What happened</h3>"
    told = (
        ("Permit issued", stop.permit.issued if stop.permit else None),
        ("Valve closed", stop.closing),
        ("Incident", stop.incident),
        ("Opened by the customer", stop.reopened),
        ("Supply restored (复供)", stop.restored),
    )
    rows = [(escape(what), _evidence((e,), zone, told=True)) for what, e in told if e is not None]
    yield _table(("What", "Event"), rows) if rows else "<p>Nothing yet.</p>"
    yield "</section>"


def _condition(c: Condition, zone: ZoneInfo) -> tuple[str, ...]:
    proof = f"<small>{escape(c.proof)}</small>" if c.proof else ""
    return (
        _mark(c.held),
        escape(c.title),
        escape(c.rule or ""),
        _mark(c.again),
        _evidence(c.evidence, zone) + proof,
    )


def _mark(held: bool | None) -> str:
    style, sign = _MARKS[held]
    return f'<span class="{style}">{sign}</span>'


def _evidence(events: Iterable[Proof], zone: ZoneInfo, *, told: bool = False) -> str:
    items = "".join(
        f"<li>{escape(e.text) if told else escape(e.type)}, {_time(e.at, zone)}, {_who(e)}"
        f"<br><small>{escape(e.stream)}/{e.version}, position {e.position},"
        f" {escape(str(e.event_id))}</small></li>"
        for e in events
    )
    return f"<ul>{items}</ul>" if items else ""


def _permit(p: PermitFile, zone: ZoneInfo) -> tuple[str, ...]:
    kind = "full" if p.full else "temporary"
    became = f"{p.state}, {_time(p.ended.at, zone)}" if p.ended else p.state
    return (
        f"{escape(p.permit)}<br><small>{kind} stop</small>",
        escape(p.crew),
        f"{_time(p.issued_at, zone)}<br>{_time(p.expires_at, zone)}",
        escape(", ".join(p.open_cases) or "nothing"),
        became,
    )


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Rows of cells that are HTML already."""
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _time(at: datetime, zone: ZoneInfo) -> str:
    there = at.astimezone(zone)
    return f'<time datetime="{there.isoformat()}">{there:%Y-%m-%d %H:%M:%S}</time>'


def _heard(e: Proof, zone: ZoneInfo) -> str:
    late = (e.decided_at - e.at).total_seconds() >= 60
    return f"<br><small>recorded {_time(e.decided_at, zone)}</small>" if late else ""


def _who(e: Proof) -> str:
    return escape(f"{e.actor.subject} ({readable(e.actor.role)})")
