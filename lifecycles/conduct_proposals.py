"""Staff file, three strikes (WAT-3.2b): proposed, replied to, decided by a human."""

from collections.abc import Iterable
from functools import partial

from lifecycles import approvals
from lifecycles.casework import in_turn
from lifecycles.conduct_evolve import Results, evolve
from lifecycles.conduct_findings import JUDGES
from lifecycles.conduct_stages import (
    REASSIGNMENT,
    barred,
    count_of,
    founded,
    open_proposal,
    pending,
    strikes,
    superior,
    within_window,
)
from lifecycles.decisions import By, No
from schemas.approvals import (
    Approval,
    ApprovalEvents,
    ApprovalGranted,
    ApprovalRejected,
    DecideApproval,
    Facts,
)
from schemas.base import SYSTEM
from schemas.case import SharedEvents
from schemas.conduct import (
    ConductState,
    Count,
    Proposal,
    Reassigned,
    ReassignmentProposed,
    ReassignmentRejected,
    ReassignmentWithdrawn,
    RecordReply,
    ReplyRecorded,
    StaffFileRested,
)


def settled(_: ConductState, state: ConductState, by: By) -> Results:
    """What follows from every decision: it ends with nothing left that would follow."""
    yield from in_turn(evolve, state, by, _withdrawn, _proposed, _lapsed, _asked, _rested)


def _withdrawn(state: ConductState, by: By) -> Results:
    """A proposal that has lost its ground is withdrawn, and the approval asked for it."""
    p = open_proposal(state)
    if p is None or founded(state, p.findings):
        return
    yield ReassignmentWithdrawn(at=by.at, proposal=p.number)
    if asked := approvals.pending(state, REASSIGNMENT):
        yield from approvals.withdraw(state, asked, "overturned", by)


def _proposed(state: ConductState, by: By) -> Results:
    """Only one at a time: two third strikes that arrive at once propose once."""
    if open_proposal(state) is None and (findings := _enough(state)):
        yield ReassignmentProposed(
            at=by.at,
            proposal=len(state.proposals) + 1,
            findings=tuple(k.finding for k in findings),
            reply_until=by.at + state.rules.reply_within,
        )


def _enough(state: ConductState) -> list[Count]:
    """The latest strikes that are enough for a proposal, or none.

    Those that led to a reassignment are spent. After a rejection one must be new. Neighbours in
    time suffice: if any set holds the new one within a window, so do neighbours among it.
    """
    spent = {f for p in state.proposals if p.state == "reassigned" for f in p.findings}
    old = {f for p in state.proposals if p.state == "rejected" for f in p.considered}
    free = [k for k in strikes(state) if k.finding not in spent]
    free.sort(key=lambda k: (k.counts_on, k.finding))
    number = state.rules.strikes
    for last in range(len(free), number - 1, -1):
        findings = free[last - number : last]
        if within_window(findings) and any(k.finding not in old for k in findings):
            return findings
    return []


def record_reply(state: ConductState, c: RecordReply, by: By) -> Results:
    """The reply; told late, it still counts if it was made in time and nothing is decided yet."""
    p = open_proposal(state)
    if p is None:
        yield No("No reassignment is proposed to which there could be a reply.")
        return
    if p.reply == c.evidence:
        return
    if p.reply is not None:
        yield No("There is a reply already; add to its evidence instead.")
    if not approvals.same(by.actor.subject, state.staff or "") and by.actor.role not in JUDGES:
        yield No(f"It is for the person, or for one of these roles: {', '.join(JUDGES)}.")
    if by.at > p.reply_until:
        yield No("The time to reply is over.")
    if by.at < p.reply_until - state.rules.reply_within:
        yield No("It cannot come before the proposal; correct `occurred_at`.")
    yield ReplyRecorded(at=by.at, evidence=c.evidence)


def reply_over(state: ConductState, by: By) -> Results:
    """The time to reply passed in silence."""
    p = open_proposal(state)
    if p and not p.replied and p.reply_until <= by.at:
        yield ReplyRecorded(at=p.reply_until, evidence=None)


def _lapsed(state: ConductState, by: By) -> Results:
    """What was asked or given on facts that are others now; `_asked` then asks anew."""
    yield from approvals.lapse(state, partial(facts, state), by)


def _asked(state: ConductState, by: By) -> Results:
    """After the reply a human decides. The rule asks, so nobody can take the question back."""
    p = open_proposal(state)
    if p and p.replied and approvals.pending(state, REASSIGNMENT) is None:
        asker = by._replace(actor=SYSTEM)
        yield from approvals.request(state, REASSIGNMENT, _facts(state, p), asker, barred(state))


def facts(state: ConductState, approval: Approval) -> Facts | None:
    """What an approval rests on now; None where its proposal is decided or withdrawn."""
    p = open_proposal(state)
    if p is None or approval.facts.get("proposal") != p.number:
        return None
    return _facts(state, p)


def _facts(state: ConductState, p: Proposal) -> Facts:
    counts = [k for finding in p.findings if (k := count_of(state, finding))]
    return {
        "proposal": p.number,
        "staff": state.staff,
        "superior": superior(state),
        "findings": p.findings,
        "complaints": tuple(k.complaint for k in counts),
        "counts_on": tuple(k.counts_on.isoformat() for k in counts),
        "revisions": tuple(str(k.revision) for k in counts),
        "reply": p.reply,
    }


def decide_approval(state: ConductState, c: DecideApproval, by: By) -> Results:
    yield from _verdict(state, approvals.decide_approval(state, c, by))


def silence(state: ConductState, by: By) -> Results:
    """What it means that nobody decided in time (ADM-7)."""
    yield from _verdict(state, approvals.silent(state, by))


def _verdict(state: ConductState, events: Iterable[ApprovalEvents | SharedEvents | No]) -> Results:
    """The approval's own events, then what they mean for the person."""
    p = open_proposal(state)
    for event in list(events):
        yield event
        if p and isinstance(event, ApprovalGranted):
            yield Reassigned(at=event.at, proposal=p.number, findings=p.findings)
        elif p and isinstance(event, ApprovalRejected):
            yield ReassignmentRejected(at=event.at, proposal=p.number, reason=event.reason)


def _rested(state: ConductState, by: By) -> Results:
    """Nothing counts and nothing is to be done: the file rests until the next finding."""
    if state.opened_at is None or state.closed_at is not None or open_proposal(state):
        return
    if not any(k.live or any(pending(k)) for k in state.counts):
        yield StaffFileRested(at=max(by.at, state.opened_at))
