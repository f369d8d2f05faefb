"""Staff file: how it stands, who may not touch it, and which command is allowed at which stage."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from lifecycles import approvals
from lifecycles.calendars import start_of_day
from schemas.base import Code, Subject
from schemas.conduct import ConductState, Count, Proposal, Stage

S = Stage
LIVE = (
    S.MARKED,
    S.REASSIGNED,
    S.UNDER_INVESTIGATION,
    S.REASSIGNMENT_PROPOSED,
    S.AWAITING_APPROVAL,
)
ENDED = (S.AT_REST,)
"""The workflow ends here; the next finding starts it again from the log."""

ALLOWED: Mapping[str, tuple[Stage, ...]] = {
    "RecordFinding": tuple(S),
    "RecordMeasure": LIVE,
    "ConcludeInvestigation": LIVE,
    "RecordReply": (S.REASSIGNMENT_PROPOSED, S.AWAITING_APPROVAL),
    "RecordRedress": LIVE,
    "TakeCase": LIVE,
    "HandOverCase": LIVE,
    "DecideApproval": (S.AWAITING_APPROVAL,),
    "DelegateApproval": (S.AWAITING_APPROVAL,),
    "WithdrawApproval": (S.AWAITING_APPROVAL,),
    "DeadlinePassed": LIVE,
    "RecordAnswer": (*LIVE, S.AT_REST),
}

REASSIGNMENT = "reassignment"
"""The kind of approval, and what must be made good where it was wrong."""


def allowed(state: ConductState, command: str) -> bool:
    """Whether the file's stage admits the command."""
    return state.stage in ALLOWED[command]


def stage_of(state: ConductState) -> Stage:
    """What is most grave names the stage."""
    if state.opened_at is None:
        return Stage.UNOPENED
    if state.closed_at is not None:
        return Stage.AT_REST
    if open_proposal(state):
        asked = approvals.pending(state, REASSIGNMENT)
        return Stage.AWAITING_APPROVAL if asked else Stage.REASSIGNMENT_PROPOSED
    if any(k.investigation == "open" for k in state.counts):
        return Stage.UNDER_INVESTIGATION
    live = {k.finding for k in state.counts if k.live}
    if any(p.state == "reassigned" and live.intersection(p.findings) for p in state.proposals):
        return Stage.REASSIGNED
    return Stage.MARKED


def open_proposal(state: ConductState) -> Proposal | None:
    """The proposed reassignment that waits for a reply or an approval; there is never a second."""
    return next((p for p in state.proposals if p.state == "open"), None)


def count_of(state: ConductState, finding: str) -> Count | None:
    """What the file knows of a finding; a staff number's capitals do not matter."""
    return next((k for k in state.counts if approvals.same(k.finding, finding)), None)


def strikes(state: ConductState) -> list[Count]:
    """The findings that count towards a reassignment unless overturned, expired ones included."""
    return [k for k in state.counts if k.strike and not k.overturned]


def within_window(strikes: list[Count]) -> bool:
    """Whether the latest came before the earliest ceased to count."""
    return max(k.counts_on for k in strikes) < min(k.counts_until for k in strikes)


def founded(state: ConductState, findings: Iterable[str]) -> bool:
    """Whether findings still bear a reassignment: all are strikes, within one window."""
    counts = [count_of(state, finding) for finding in findings]
    standing = [k for k in counts if k is not None and k.strike and not k.overturned]
    return len(standing) == len(counts) and within_window(standing)


def wronged(state: ConductState, k: Count) -> Iterator[Code]:
    """What was done to the person on a finding's ground that is gone."""
    if k.overturned and k.measure and k.measure_taken:
        yield k.measure
    if k.penalty and (k.overturned or k.gravity != "serious"):
        yield k.penalty
    rests = [p for p in state.proposals if k.finding in p.findings]
    moved = any(p.state == "reassigned" for p in rests) or REASSIGNMENT in k.redress
    if moved and any(
        p.state in ("reassigned", "withdrawn") and not founded(state, p.findings) for p in rests
    ):
        yield REASSIGNMENT


def expires_at(state: ConductState, k: Count) -> datetime:
    """The instant (UTC) from which a finding counts no more: a local day's first."""
    return start_of_day(state.policy.calendar, k.counts_until)


def barred(state: ConductState) -> tuple[Subject, ...]:
    """Who has no say in the file: the person, and whom they report to where the policy says so."""
    return tuple(s for s in (state.staff, superior(state)) if s is not None)


def superior(state: ConductState) -> Subject | None:
    """Whom the person reports to, where the policy bars them."""
    excluded = "superior" in state.rules.approvals[REASSIGNMENT].exclude
    return state.reports_to if excluded else None


PENDING = ("RecordMeasure", "ConcludeInvestigation", "RecordRedress")
"""What a finding may wait for."""


def pending(k: Count) -> Iterator[str]:
    """The commands that a finding still waits for."""
    if k.measure is not None and not k.measure_taken:
        yield "RecordMeasure"
    if k.investigation == "open":
        yield "ConcludeInvestigation"
    if k.redress:
        yield "RecordRedress"
