"""A case's time line as a picture: stages, owners, promises with their pauses and deadlines. Pure.

SVG that stands in a page of its own: no script, no font, no colour that print would lose alone.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import NamedTuple
from zoneinfo import ZoneInfo

from audit.explain import Escalated, Explanation
from gateway.standing import Promise
from gateway.timeline import Timeline
from gateway.words import Clock, owner_words, readable, span

STYLE = """
svg { width: 100%; height: auto; margin: .8rem 0; break-inside: avoid; }
svg text { font-size: 11px; fill: #1c2330; }
svg .axis { fill: #54617a; font-size: 10px; }
svg .grid { stroke: #e3e7ee; }
svg .stage { fill: #dbe7f6; stroke: #7b93b8; }
svg .owner { fill: #f1ead9; stroke: #b09a63; }
svg .ran { fill: #9fc3e6; }
svg .kept { fill: #a5d3b5; }
svg .broken { fill: #eba9a3; }
svg .cancelled { fill: #d4dae4; }
svg .left { fill: none; stroke: #7b93b8; stroke-dasharray: 3 2; }
svg .pause { fill: #ffffff; stroke: #54617a; stroke-dasharray: 2 2; }
svg .due { stroke: #1c2330; stroke-width: 2; }
svg .raised { fill: #c9821b; stroke: #6b430a; }
svg .at { stroke: #b3261e; stroke-width: 1.5; stroke-dasharray: 5 3; }
svg .now { fill: #b3261e; }
"""
_LEFT, _WIDTH, _LANE, _BAR = 168, 960, 24, 14
_RIGHT = _WIDTH - 14
_STEPS = [
    *(timedelta(minutes=m) for m in (5, 15, 30)),
    *(timedelta(hours=h) for h in (1, 3, 6, 12)),
    *(timedelta(days=d) for d in (1, 2, 7, 14, 30, 90, 180, 365, 730, 1825, 3650)),
]
_TICKS = 8
_LETTER = 6.3
"""About so wide is a letter."""


class _Scale(NamedTuple):
    since: datetime
    until: datetime

    def x(self, at: datetime) -> float:
        share = (at - self.since) / (self.until - self.since)
        return round(_LEFT + min(max(share, 0), 1) * (_RIGHT - _LEFT), 1)


class _Block(NamedTuple):
    label: str
    since: datetime
    until: datetime


def picture(shown: Explanation, timeline: Timeline) -> str:
    """The time line up to `shown.at`, and the deadlines that were ahead then."""
    return "\n".join(_lines(shown, timeline))


def _lines(shown: Explanation, timeline: Timeline) -> Iterator[str]:
    scale = _scale(shown, timeline)
    clock = Clock(shown.time_zone, shown.at)
    lanes = 2 + len(timeline.commitments)
    height = 18 + lanes * _LANE + 22
    name = f"Time line of {shown.case_id} until {clock.write(shown.at)}"
    yield f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">'
    yield f"<title>{escape(name)}</title>"
    bottom = 18 + lanes * _LANE
    yield from _axis(scale, ZoneInfo(shown.time_zone), bottom)
    stages = [_Block(s.stage, s.since, s.until or shown.at) for s in shown.stages]
    owners = [_Block(owner_words(o.owner), o.since, o.until or shown.at) for o in shown.owners]
    yield from _blocks("Stage", "stage", stages, scale, clock, 18)
    yield from _blocks("With", "owner", owners, scale, clock, 18 + _LANE)
    for number, c in enumerate(timeline.commitments, 2):
        raised = [e for e in shown.escalations if e.commitment == c.id]
        yield from _promise(c, raised, shown.at, scale, clock, 18 + number * _LANE)
    at = scale.x(shown.at)
    yield f'<line class="at" x1="{at}" y1="12" x2="{at}" y2="{bottom}"/>'
    anchor = "end" if at > (_LEFT + _RIGHT) / 2 else "start"
    when = escape(clock.write(shown.at))
    yield f'<text class="now" x="{at}" y="10" text-anchor="{anchor}">{when}</text>'
    yield "</svg>"


def _scale(shown: Explanation, timeline: Timeline) -> _Scale:
    """From the first thing that happened to the deadlines ahead, not much beyond `at`."""
    begun = [e.at for e in timeline.events] + [c.start for c in timeline.commitments]
    since = min([shown.at, *begun])
    horizon = shown.at + max((shown.at - since) / 2, timedelta(hours=1))
    ahead = [min(c.due, horizon) for c in timeline.commitments if _open(c)]
    until = max([shown.at, since + timedelta(minutes=5), *ahead])
    return _Scale(since, until + (until - since) / 40)


def _open(c: Promise) -> bool:
    return c.state in ("running", "paused") or (c.state == "broken" and c.ended_at is None)


def _axis(scale: _Scale, zone: ZoneInfo, bottom: int) -> Iterator[str]:
    length = scale.until - scale.since
    step = next((s for s in _STEPS if length / s <= _TICKS), _STEPS[-1])
    midnight = scale.since.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    number = (scale.since - midnight) // step + 1
    while (at := midnight + number * step) <= scale.until:
        x = scale.x(at)
        form = f"{at.day} {at:%b}" + (f" {at:%H:%M}" if step < timedelta(days=1) else f" {at:%Y}")
        yield f'<line class="grid" x1="{x}" y1="14" x2="{x}" y2="{bottom}"/>'
        yield f'<text class="axis" x="{x}" y="{bottom + 14}" text-anchor="middle">{form}</text>'
        number += 1


def _blocks(
    name: str, style: str, blocks: Sequence[_Block], scale: _Scale, clock: Clock, y: int
) -> Iterator[str]:
    yield _name(name, y)
    for label, since, until in blocks:
        left, right = scale.x(since), scale.x(until)
        yield _bar(style, left, right, y, f"{label}, {_stretch(since, until, clock)}")
        room = int((right - left - 6) / _LETTER)
        if room >= 3:
            short = label if len(label) <= room else f"{label[: room - 1]}…"
            yield f'<text x="{left + 3}" y="{y + _BAR - 3}">{escape(short)}</text>'


def _promise(
    c: Promise, raised: Sequence[Escalated], at: datetime, scale: _Scale, clock: Clock, y: int
) -> Iterator[str]:
    yield _name(c.id, y)
    end = c.met_at or c.ended_at or max(at, c.start)
    left, right, due = scale.x(c.start), scale.x(end), scale.x(c.due)
    told = f"{c.id} ({c.rule}): {c.text}"
    style = {"kept": "kept", "cancelled": "cancelled"}.get(c.state, "ran")
    yield _bar(style, left, right, y, told)
    if c.state == "broken" and end > c.due:
        yield _bar("broken", max(left, due), right, y, told)
    if _open(c) and c.due > end:
        yield _bar("left", right, due, y, told)
    for p in c.pauses:
        until = p.until or end
        why = f"{c.id} stood still, {_stretch(p.since, until, clock)}: {readable(p.reason)}"
        yield _bar("pause", scale.x(p.since), scale.x(until), y, f"{why} ({p.evidence})")
    if c.start <= c.due <= scale.until and c.state != "cancelled":
        yield (
            f'<line class="due" x1="{due}" y1="{y - 2}" x2="{due}" y2="{y + _BAR + 2}">'
            f"<title>{escape(f'{c.id} due {clock.write(c.due)}')}</title></line>"
        )
    for e in raised:
        x = scale.x(e.at)
        what = f"{clock.write(e.at)}: {readable(e.tell)} is told of {c.id} (rung {e.rung})"
        yield (
            f'<path class="raised" d="M{x} {y - 3} l4.5 8 h-9 z"><title>{escape(what)}</title>'
            "</path>"
        )


def _bar(style: str, left: float, right: float, y: int, told: str) -> str:
    width = round(max(right - left, 1), 1)
    return (
        f'<rect class="{style}" x="{left}" y="{y}" width="{width}" height="{_BAR}">'
        f"<title>{escape(told)}</title></rect>"
    )


def _name(name: str, y: int) -> str:
    short = name if len(name) <= 24 else f"{name[:23]}…"
    return f'<text x="{_LEFT - 8}" y="{y + _BAR - 3}" text-anchor="end">{escape(short)}</text>'


def _stretch(since: datetime, until: datetime, clock: Clock) -> str:
    return f"{clock.write(since)} to {clock.write(until)}, {span(until - since)}"
