"""Draws timelines and tables for a terminal; reads well at 80 columns and when piped."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.headlines import headline
from gateway.standing import Asked, Promise, held_words
from gateway.timeline import Entry, Timeline
from gateway.words import Clock, listed, owner_words
from gateway.words.case import consents, deciders

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
    "ComplaintReturned": "yellow",
    "ComplaintEscalated": "yellow",
    "ComplaintAppealed": "yellow",
    "RedoOrdered": "yellow",
    "ComplaintClosed": "green",
    "ReassignmentProposed": "red",
    "Reassigned": "red",
    "ApprovalRequested": "cyan",
    "ApprovalGranted": "green",
    "ApprovalRejected": "red",
    "ApprovalEscalated": "yellow",
    "YellowCardGiven": "yellow",
    "ValveClosed": "red",
    "UnpermittedCut": "bold red",
    "PermitIssued": "cyan",
    "PermitRevoked": "yellow",
    "SelfReopened": "yellow",
    "HoldPlaced": "yellow",
    "PlanBroken": "yellow",
    "DebtSettled": "green",
    "SupplyRestored": "green",
    "ArrearsClosed": "green",
    "ExclusionRefused": "red",
    "AccountsExcluded": "green",
    "AssessmentSettled": "green",
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
    parts: list[RenderableType] = [drawn_head(shown), drawn_events(shown, shown.events)]
    if shown.commitments:
        parts.append(drawn_promises(shown.commitments))
    clock = Clock(shown.time_zone, shown.as_of)
    parts += [drawn_approval(a, clock) for a in shown.approvals if a.state == "requested"]
    parts.append(drawn_next(shown))
    return Group(*parts)


def drawn_head(shown: Timeline) -> Text:
    """What the case is, its stage, and who has it."""
    head = Text.assemble(
        (shown.case_id, "bold"), "  ", (shown.stage, "bold green" if shown.ended else "bold cyan")
    )
    first, *rest = headline(shown)
    held = f"{'last with' if shown.ended else 'with'} {owner_words(shown.owner)}"
    head.append("".join(f"\n{line}" for line in (first, held, *rest)))
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


def drawn_promises(commitments: Iterable[Promise]) -> Table:
    """Commitments: where each stands, and who had the case while it ran."""
    drawn = table("Promise", "Rule", "Where it stands", "Who had the case meanwhile")
    drawn.columns[1].no_wrap = True
    for c in commitments:
        style = _STATES.get(c.state, "dim")
        drawn.add_row(c.id, c.rule, Text(c.text, style=style), Text(held_words(c.held), "dim"))
    return drawn


def drawn_approval(asked: Asked, clock: Clock) -> RenderableType:
    """What is asked of somebody, on which facts, until when, and what silence means."""
    barred = f", but not {listed(asked.barred)}" if asked.barred else ""
    lines = Table.grid(padding=(0, 1))
    for name, text in (
        ("on these facts", "\n".join(asked.facts_text)),
        ("decided by", f"{deciders(asked.roles)}{barred}"),
        ("yes so far", consents(asked)),
        *(
            ("delegated", f"{d.by} to {d.to}, until {clock.write(d.until)} ({d.reason})")
            for d in asked.delegations
        ),
        ("until", f"{clock.write(asked.due)}; then {asked.silence_text} (超时默认, ADM-7)"),
    ):
        lines.add_row(Text(f"  {name}", style="dim", no_wrap=True), Text(text))
    head = f"Asked: {asked.about} ({asked.id}, {asked.rule}), by {asked.asked_by}"
    return Group(Text(head, style="bold"), lines)


def drawn_next(shown: Timeline) -> RenderableType:
    """What the clock will do, unless; and what somebody can do."""
    if shown.ended:
        later = f" Still possible: {', '.join(shown.possible)}." if shown.possible else ""
        state = "rests" if shown.stage == "AtRest" else "has ended"
        return Text(f"The case {state}; nothing more comes by itself.{later}")
    waits = listed(request["case_id"] for request in shown.state["requests"])
    if not shown.next:
        whom = f"the answer of {waits}" if waits else "somebody"
        lines: RenderableType = Text(f"  Nothing by itself: the case waits for {whom}.")
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
