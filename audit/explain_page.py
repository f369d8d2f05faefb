"""A case at a moment as one HTML page: no script, nothing loaded, fit for printing. Pure."""

from collections.abc import Iterator
from html import escape
from zoneinfo import ZoneInfo

from audit.explain import Decided, Explanation, Held
from audit.explain_picture import STYLE, picture
from gateway import paper
from gateway.headlines import headline
from gateway.standing import Asked, Promise, held_words
from gateway.timeline import Entry, Timeline
from gateway.words import listed, owner_words, readable
from gateway.words.case import consents, deciders
from schemas.arrears import Permit


def page(shown: Explanation) -> str:
    """The whole page; times by the organisation's clock, their offset with them."""
    return "\n".join(_lines(shown)) + "\n"


def _lines(shown: Explanation) -> Iterator[str]:
    zone = ZoneInfo(shown.time_zone)
    there = shown.at.astimezone(zone)
    yield from paper.top(f"{shown.case_id}, {there:%Y-%m-%d %H:%M}", STYLE)
    yield f"<p>As the log of {escape(shown.organisation)} knew it at"
    yield f"{paper.time(shown.at, zone)}. All times {escape(shown.time_zone)}.</p></header>"
    if shown.timeline is None:
        yield f"<p>{escape(unknown(shown))}</p>"
    else:
        yield from _then(shown, shown.timeline, zone)
    if shown.told_later:
        yield "<h2>Told later about that time</h2>"
        yield _entries(shown.told_later, zone)
    yield f"<footer><p class='quiet'>{escape(sequel(shown))} Policy {escape(shown.policy)},"
    yield f"{escape(shown.policy_hash)}. Form {escape(shown.format)}.</p></footer>"
    yield "</body></html>"


def unknown(shown: Explanation) -> str:
    """That the log did not know the case yet."""
    if shown.first_told is None:
        return "The log knows nothing of this case."
    there = shown.first_told.astimezone(ZoneInfo(shown.time_zone))
    return (
        "The log did not know this case then: it first heard of it at"
        f" {there:%Y-%m-%d %H:%M:%S} ({shown.time_zone})."
    )


def sequel(shown: Explanation) -> str:
    """What came after that moment, in a sentence."""
    if not shown.later:
        return "Nothing was decided afterwards."
    told = ", but for what they told of that time" if shown.told_later else ""
    return f"What was decided afterwards ({shown.later} decisions) is left out{told}."


def _then(shown: Explanation, then: Timeline, zone: ZoneInfo) -> Iterator[str]:
    first, *rest = headline(then)
    yield paper.facts(
        [
            ("Stage", then.stage + (" (ended)" if then.ended else "")),
            ("With", owner_words(then.owner)),
            ("What it is", "; ".join((first, *rest))),
            ("Open requests", listed(f"{r.command} of {r.case_id}" for r in shown.requests) or "-"),
        ]
    )
    yield "<h2>Time line</h2>"
    yield picture(shown, then)
    yield "<p class='quiet'>Bars: how long a promise ran, green when kept, red when late; hollow:"
    yield "its time stood still, or was left. Black strokes: due. Triangles: somebody was told.</p>"
    if then.commitments:
        yield "<h2>Promises (服务承诺)</h2>"
        heads = ("Promise", "Rule", "Due", "Where it stood", "Who had the case while it ran")
        yield paper.table(heads, (_promise(c, zone) for c in then.commitments))
    if then.approvals:
        yield "<h2>Approvals</h2>"
        heads = ("Asked", "By whom, of whom", "On these facts", "Yes so far", "State")
        yield paper.table(heads, (_approval(a, zone) for a in then.approvals))
    if shown.holds:
        yield "<h2>Holds</h2>"
        heads = ("Hold", "Why", "Placed", "What became of it")
        yield paper.table(heads, (_hold(h, zone) for h in shown.holds))
    if shown.permits:
        yield "<h2>Permits (停供许可)</h2>"
        heads = ("Permit", "Crew", "Issued, before", "State")
        yield paper.table(heads, (_permit(p, zone) for p in shown.permits))
    yield "<h2>Story</h2>"
    events = {e.version: e for e in then.events}
    yield paper.table(
        ("When", "Who, how proven", "What", "Rule"),
        (_decided(d, [events[v] for v in d.versions], zone) for d in shown.story),
    )
    if then.next:
        yield "<h2>What the clock would have brought next</h2>"
        rows = (
            (paper.time(c.at, zone), escape(f"{c.text}, unless {c.unless}"), escape(c.rule or ""))
            for c in then.next
        )
        yield paper.table(("When", "What", "Rule"), rows)


def _promise(c: Promise, zone: ZoneInfo) -> tuple[str, ...]:
    pauses = "".join(
        f"<br><small>stood still {paper.time(p.since, zone)} to"
        f" {paper.time(p.until, zone) if p.until else '…'}: {escape(readable(p.reason))}"
        f" ({escape(p.evidence)})</small>"
        for p in c.pauses
    )
    stood = escape(c.text) + pauses
    return (
        escape(c.id),
        escape(c.rule),
        paper.time(c.due, zone),
        stood,
        escape(held_words(c.held)),
    )


def _approval(a: Asked, zone: ZoneInfo) -> tuple[str, ...]:
    barred = f"<br><small>not {escape(listed(a.barred))}</small>" if a.barred else ""
    delegated = "".join(
        f"<br><small>{escape(d.by)} lets {escape(d.to)} decide until"
        f" {paper.time(d.until, zone)} ({escape(readable(d.reason))})</small>"
        for d in a.delegations
    )
    given = "".join(f"<br><small>{paper.time(g.at, zone)}</small>" for g in a.given)
    ended = f", {paper.time(a.ended_at, zone)}" if a.ended_at else ""
    return (
        f"{escape(a.about)}<br><small>{escape(a.id)}, {escape(a.rule)}</small>",
        f"{escape(a.asked_by)}, {paper.time(a.asked_at, zone)}<br>{escape(deciders(a.roles))}"
        f"{barred}{delegated}",
        "<br>".join(escape(fact) for fact in a.facts_text),
        escape(consents(a)) + given,
        f"{a.state}{ended}<br><small>due {paper.time(a.due, zone)};"
        f" then {escape(a.silence_text)}</small>",
    )


def _hold(h: Held, zone: ZoneInfo) -> tuple[str, ...]:
    if h.ended_at is None:
        state = f"stands, until {paper.time(h.until, zone)}" if h.until else "stands"
    else:
        state = f"{h.ended} {paper.time(h.ended_at, zone)}"
    why = f" ({escape(readable(h.reason))})" if h.reason else ""
    about = f"{escape(h.text)}<br><small>{escape(h.source)}</small>"
    return escape(h.hold), about, paper.time(h.placed_at, zone), state + why


def _permit(p: Permit, zone: ZoneInfo) -> tuple[str, ...]:
    kind = "full" if p.full else "temporary"
    ended = f", {paper.time(p.ended_at, zone)}" if p.ended_at else ""
    return (
        f"{escape(p.permit)}<br><small>{kind} stop</small>",
        escape(p.crew),
        f"{paper.time(p.issued_at, zone)}<br>{paper.time(p.expires_at, zone)}",
        p.state + ended,
    )


def _decided(d: Decided, events: list[Entry], zone: ZoneInfo) -> tuple[str, ...]:
    late = f"<br><small>told {paper.time(d.decided_at, zone)}</small>" if d.told_late else ""
    who = "the clock" if d.by_clock else f"{paper.who(d.actor)}, {escape(d.actor.proof)}"
    what = "".join(f"<li>{escape(e.text)}</li>" for e in events) or "<li>it was so already</li>"
    rules = dict.fromkeys(e.rule for e in events if e.rule)
    command = "" if d.by_clock else f"<small>{escape(d.command)}</small>"
    return (
        paper.time(d.at, zone) + late,
        who,
        f"{command}<ul>{what}</ul>",
        escape(listed(rules)),
    )


def _entries(entries: tuple[Entry, ...], zone: ZoneInfo) -> str:
    rows = (
        (
            paper.time(e.at, zone) + f"<br><small>told {paper.time(e.decided_at, zone)}</small>",
            paper.who(e.actor),
            escape(e.text),
            escape(e.rule or ""),
        )
        for e in entries
    )
    return paper.table(("When", "Who", "What", "Rule"), rows)
