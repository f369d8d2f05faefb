"""A dossier as one HTML page: no script, nothing loaded from anywhere, fit for printing. Pure."""

from collections.abc import Iterable, Iterator
from html import escape
from zoneinfo import ZoneInfo

from gateway.paper import facts, heard, table, time, top, who
from gateway.words import readable
from schemas.dossier import Condition, Dossier, PermitFile, Proof, StopFile

_MARKS = {True: ("yes", "✓"), False: ("no", "✗"), None: ("quiet", "·")}


def page(found: Dossier) -> str:
    """The whole page; times by the organisation's clock, their offset with them."""
    return "\n".join(_lines(found)) + "\n"


def _lines(d: Dossier) -> Iterator[str]:
    zone = ZoneInfo(d.time_zone)
    yield from top(f"Dossier of {d.case_id}")
    yield f"<p>Stop of supply for unpaid bills (欠费停供), as of {time(d.as_of, zone)}."
    yield f"All times {escape(d.time_zone)}.</p></header>"
    yield _verdict(d.complete, d.missing, _head(d))
    yield facts(_about(d))
    for stop in d.stops:
        yield from _stop(stop, zone)
    if d.permits:
        yield "<h2>Permits (停供许可)</h2>"
        yield table(
            ("Permit", "Crew", "Issued, before", "Open there then", "What became of it"),
            (_permit(p, zone) for p in d.permits),
        )
    yield "<h2>Time line</h2>"
    yield table(
        ("No.", "When", "Who", "What"),
        (
            (
                str(e.version),
                time(e.at, zone) + heard(e.at, e.decided_at, zone),
                who(e.actor),
                escape(e.text),
            )
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


def _stop(stop: StopFile, zone: ZoneInfo) -> Iterator[str]:
    planned = "planned" if stop.state == "planned" else "made"
    kind = "Full" if stop.kind == "full" else "Temporary"
    yield f"<section><h2>{stop.number}. {kind} stop, {planned}</h2>"
    head = "Proven." if stop.complete else "Missing:" if stop.missing else "Not proven."
    yield _verdict(stop.complete, stop.missing, head)
    yield "<h3>Conditions</h3>"
    yield table(
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
    yield table(("What", "Event"), rows) if rows else "<p>Nothing yet.</p>"
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
        f"<li>{escape(e.text) if told else escape(e.type)}, {time(e.at, zone)}, {who(e.actor)}"
        f"<br><small>{escape(e.stream)}/{e.version}, position {e.position},"
        f" {escape(str(e.event_id))}</small></li>"
        for e in events
    )
    return f"<ul>{items}</ul>" if items else ""


def _permit(p: PermitFile, zone: ZoneInfo) -> tuple[str, ...]:
    kind = "full" if p.full else "temporary"
    became = f"{p.state}, {time(p.ended.at, zone)}" if p.ended else p.state
    return (
        f"{escape(p.permit)}<br><small>{kind} stop</small>",
        escape(p.crew),
        f"{time(p.issued_at, zone)}<br>{time(p.expires_at, zone)}",
        escape(", ".join(p.open_cases) or "nothing"),
        became,
    )
