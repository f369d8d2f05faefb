"""A staff file as a person wants to see it: what counts, since when and until when. Pure."""

from datetime import date
from zoneinfo import ZoneInfo

from gateway.session import NoSuchCase, Session
from gateway.standing import Asked, Promise
from gateway.timeline import Timeline
from gateway.words import listed, readable
from schemas.base import CaseId, Subject, Value
from schemas.conduct import Count, Proposal, conduct_id
from schemas.policy import ConductPolicy


class FileEntry(Count):
    """A finding with what it means today."""

    counts_now: bool
    """Whether it is a strike in the window of today."""
    text: str


class StaffFile(Value):
    """The JSON form of `standpipe staff show`. Dates are those of the organisation's calendar."""

    case_id: CaseId
    staff: Subject
    reports_to: Subject | None
    stage: str
    on: date
    strikes: int
    """Those that count on that day …"""
    needed: int
    """… and how many propose a reassignment (WAT-3.2b),"""
    window_months: int
    """within so many calendar months."""
    marks: int
    """Black marks that are on the board (WAT-3.2a)."""
    findings: tuple[FileEntry, ...]
    proposals: tuple[Proposal, ...]
    approvals: tuple[Asked, ...]
    owed: tuple[Promise, ...]
    """Promises that are running, or broken and still owed."""


async def find_staff_file(session: Session, staff: str) -> tuple[StaffFile, Timeline] | None:
    """Somebody's file, and its case; None where no complaint ever told of a finding."""
    case_id = conduct_id(session.organisation, staff)
    try:
        shown = await session.timeline(case_id)
    except NoSuchCase:
        return None
    rules = (await session.policy_of(case_id)).policy.conduct
    assert rules is not None, "a file opens only under a policy with a conduct section"
    return staff_file(shown, rules), shown


def staff_file(shown: Timeline, rules: ConductPolicy) -> StaffFile:
    """What the file says on the day of its timeline."""
    on = shown.as_of.astimezone(ZoneInfo(shown.time_zone)).date()
    findings = tuple(_entry(Count.model_validate(c), on) for c in shown.state["counts"])
    return StaffFile(
        case_id=shown.case_id,
        staff=shown.state["staff"],
        reports_to=shown.state["reports_to"],
        stage=shown.stage,
        on=on,
        strikes=sum(entry.counts_now for entry in findings),
        needed=rules.strikes,
        window_months=rules.window_months,
        marks=sum(entry.marked for entry in findings),
        findings=findings,
        proposals=tuple(Proposal.model_validate(p) for p in shown.state["proposals"]),
        approvals=shown.approvals,
        owed=tuple(
            c
            for c in shown.commitments
            if c.state in ("running", "paused") or (c.state == "broken" and c.ended_at is None)
        ),
    )


def _entry(count: Count, on: date) -> FileEntry:
    counts_now = count.strike and count.live and count.counts_on <= on < count.counts_until
    fields = {name: getattr(count, name) for name in Count.model_fields}
    return FileEntry(**fields, counts_now=counts_now, text=_standing(count, counts_now))


def _standing(count: Count, counts_now: bool) -> str:
    """What became of a finding, and what it led to."""
    parts: list[str] = []
    if count.overturned:
        parts.append("overturned: counts no more")
    elif counts_now:
        parts.append("counts as a strike")
    elif count.strike:
        parts.append("counts no more: the window rolled on")
    else:
        parts.append("no strike")
    if count.marked:
        parts.append("black mark on the board")
    if count.measure:
        parts.append(f"{readable(count.measure)} {'given' if count.measure_taken else 'is due'}")
    match count.investigation:
        case "open":
            parts.append("under investigation")
        case "concluded":
            end = readable(count.penalty) if count.penalty else "no penalty"
            parts.append(f"investigated: {end}")
        case "dropped":
            parts.append("investigation dropped")
        case None:
            pass
    if count.redress:
        parts.append(f"to be made good: {listed(readable(of) for of in count.redress)}")
    return "; ".join(parts)
