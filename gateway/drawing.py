"""Draws timelines and tables for a terminal; reads well at 80 columns and when piped."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.timeline import Entry, Promise, Timeline, held_words
from gateway.words import Clock, owner_words

_COLOURS = {
    "CommitmentBroken": "red",
    "AppointmentMissed": "red",
    "CommitmentMetLate": "yellow",
    "EscalationRaised": "yellow",
    "AccessFailed": "yellow",
    "RepairReopened": "yellow",
    "CommitmentKept": "green",
    "RepairClosed": "green",
    "CommitmentStarted": "dim",
}
_STATES = {"kept": "green", "broken": "red", "running": "cyan", "paused": "yellow"}


def table(*headings: str, title: str | None = None) -> Table:
    """An empty table in the house style."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for heading in headings:
        made.add_column(heading, overflow="fold")
    return made


def draw(shown: Timeline) -> RenderableType:
    """The whole case: what happened, what is owed, what comes next."""
    parts: list[RenderableType] = [_head(shown), drawn_events(shown, shown.events)]
    if shown.commitments:
        parts.append(_promises(shown.commitments))
    parts.append(drawn_next(shown))
    return Group(*parts)


def _head(shown: Timeline) -> Text:
    state = shown.state
    first = "special care, " if state["priority"] else ""
    head = Text.assemble(
        (shown.case_id, "bold"),
        "  ",
        (shown.stage, "bold green" if shown.ended else "bold cyan"),
        f"\n{first}{state['category']}, {state['severity']}, district {state['district']}",
        f"; policy {shown.policy}",
        f"\n{'last with' if shown.ended else 'with'} {owner_words(shown.owner)}",
    )
    if state["rework"]:
        head.append(f", reworked {state['rework']} times" if state["rework"] > 1 else ", reworked")
    for adopted in state["adopted"]:
        head.append(f"\n{'merged' if adopted['how'] == 'merge' else 'linked'}: {adopted['case']}")
    if state["merged_into"] or state["linked_to"]:
        head.append(f"\ngoes on in {state['merged_into'] or state['linked_to']}")
    head.append(f"\nall times {shown.time_zone}", "dim")
    return head


def drawn_events(shown: Timeline, entries: Iterable[Entry]) -> Table:
    """Events in a table, those of one decision together."""
    drawn = table("When", "Who", "What", "Rule")
    drawn.columns[0].no_wrap = True
    drawn.columns[1].max_width = 18
    drawn.columns[3].no_wrap = True
    for when, who, _, text, rule in _cells(shown, entries):
        drawn.add_row(when, who, text, rule)
    return drawn


def event_lines(shown: Timeline, entries: Iterable[Entry]) -> Table:
    """The same without a head, for events as they come: columns are alike from call to call."""
    lines = Table.grid(padding=(0, 1), expand=True)
    lines.add_column(width=12)
    lines.add_column(width=13, overflow="fold")
    lines.add_column(ratio=1, overflow="fold")
    lines.add_column(width=10)
    for when, _, subject, text, rule in _cells(shown, entries):
        lines.add_row(when, subject, text, rule)
    return lines


def _cells(
    shown: Timeline, entries: Iterable[Entry]
) -> Iterator[tuple[str, Text, Text, Text, str]]:
    """When, who with the role, who without, what, and the rule; of a decision's first event all."""
    clock = Clock(shown.time_zone, shown.as_of)
    before: tuple[datetime, str] | None = None
    for e in entries:
        text = Text(e.text, style=_COLOURS.get(e.type, ""))
        when, who, subject = "", Text(), Text()
        if before != (e.at, e.command_id):
            before = (e.at, e.command_id)
            when, subject = clock.write(e.at), Text(e.actor.subject)
            who = Text(f"{e.actor.subject} ({e.actor.role.replace('_', ' ')})")
            if e.command_id.startswith("deadline/"):
                who = subject = Text("the clock")
            if _came_late(e):
                text.append(f" (recorded {clock.write(e.decided_at)})", "dim")
        yield when, who, subject, text, e.rule or ""


def _came_late(e: Entry) -> bool:
    """Whether somebody told it noticeably after it happened; imports always do."""
    told = e.actor.proof not in ("import", "system")
    return told and (e.decided_at - e.at).total_seconds() >= 60


def _promises(commitments: Iterable[Promise]) -> Table:
    drawn = table("Promise", "Rule", "Where it stands", "Who had the case meanwhile")
    drawn.columns[1].no_wrap = True
    for c in commitments:
        style = _STATES.get(c.state, "dim")
        drawn.add_row(c.id, c.rule, Text(c.text, style=style), Text(held_words(c.held), "dim"))
    return drawn


def drawn_next(shown: Timeline) -> RenderableType:
    """What the clock will do, unless; and what somebody can do."""
    if shown.ended:
        later = f" Still possible: {', '.join(shown.possible)}." if shown.possible else ""
        return Text(f"The case has ended; nothing more comes by itself.{later}")
    if not shown.next:
        lines: RenderableType = Text("  Nothing by itself: the case waits for somebody.")
    else:
        lines = _lines(shown)
    return Group(
        Text("What happens next, if nobody acts", style="bold"),
        lines,
        Text(f"Possible now: {', '.join(shown.possible)}", style="dim"),
    )


def _lines(shown: Timeline) -> Table:
    clock = Clock(shown.time_zone, shown.as_of)
    lines = Table.grid(padding=(0, 1))
    for c in shown.next:
        rule = f" ({c.rule})" if c.rule else ""
        when = Text(f"  {clock.write(c.at)}", style="cyan", no_wrap=True)
        lines.add_row(when, Text(f"{c.text}{rule} unless {c.unless}"))
    return lines
