"""Complaint: who must be told what, as messages for the outbox: ids and a template only."""

from collections.abc import Iterator

from lifecycles import messages
from lifecycles.complaint_evolve import AnyEvent
from lifecycles.complaint_stages import complainants, finding_of, owes
from lifecycles.messages import intake, message, owner, role, time
from schemas.case import OwnerChanged, RequestAnswered
from schemas.complaint import (
    AppealDecided,
    ComplaintAdopted,
    ComplaintAnswered,
    ComplaintAppealed,
    ComplaintClosed,
    ComplaintEscalated,
    ComplaintHandedOver,
    ComplaintReferred,
    ComplaintRegistered,
    ComplaintReturned,
    ComplaintState,
    ComplaintWithdrawn,
    CustomerAsked,
    DeclaredOutOfJurisdiction,
    DissatisfactionReviewed,
    ExtensionGranted,
    FindingDecided,
    FollowUpDue,
    MergedAsRepeat,
    RedoOrdered,
    ReferredExternal,
    RepeatMergeRefused,
    ReturnArbitrated,
)
from schemas.envelope import Message


def effects(state: ComplaintState, event: AnyEvent) -> list[Message]:
    """What the outside is to be told of an event; `state` is the case after the whole decision."""
    return [
        *messages.promised(state, event, state.rules.follow_up.supervisor),
        *messages.approved(state, event, state.rules.next_level),
        *_messages(state, event),
    ]


def _messages(s: ComplaintState, e: AnyEvent) -> Iterator[Message]:
    next_level = s.rules.next_level
    match e:
        case ComplaintRegistered():
            # ADM-2: the complainant learns by when we promise to answer.
            yield from _parties(s, "complaint_received", due=_answer_due(s))
            known = s.rules.categories.get(e.category)
            usual = known.department if known else None
            what = {"category": e.category, "gravity": e.gravity, "department": usual}
            yield intake(s, "new_complaint", **what)
            if e.text is not None:  # KUN-6.1.16: a written opinion is passed to the head.
                yield role(s, next_level, "written_complaint", text=e.text, rule="KUN-6.1.16")
            elif "PROP-1.3" in s.policy.rules:  # the head gets a report of every incident.
                yield role(s, next_level, "incident_report", category=e.category, rule="PROP-1.3")
        case DeclaredOutOfJurisdiction():
            yield from _parties(s, "out_of_jurisdiction", reason=e.reason)
            yield role(s, next_level, "out_of_jurisdiction", reason=e.reason, rule="ADM-5")
        case ComplaintReferred():
            yield from _parties(s, "referred", to=e.to, reference=e.reference)
        case ComplaintHandedOver() | ReturnArbitrated():
            yield owner(s, e.owner, "complaint_handed_over", due=_answer_due(s))
        case ComplaintReturned():
            template = "arbitrate" if e.arbitrate else "complaint_returned"
            yield owner(s, e.owner, template, department=e.department, ground=e.ground)
        case ComplaintEscalated():
            # CNPC-2.6b: what can't be solved goes up, and the complainant is told why.
            yield owner(s, e.owner, "escalated_to_you", reason=e.reason)
            yield from _parties(s, "escalated", reason=e.reason)
        case CustomerAsked():
            yield from _parties(s, "question", question=e.question, until=time(e.until))
        case ExtensionGranted():
            yield from _parties(s, "answer_later", until=time(e.until), reason=e.reason)
        case FindingDecided():
            yield from _finding(s, e)
        case ComplaintAnswered():
            yield from _parties(s, "answered", outcome=e.outcome, answer=e.answer)
            if e.outcome == "not_upheld":
                yield role(s, next_level, "not_upheld", reason=e.reason, rule="ADM-5")
        case FollowUpDue():
            if complainants(s):
                yield intake(s, "follow_up_due")
        case RedoOrdered():
            yield owner(s, e.owner, "redo", reason=e.reason, due=_answer_due(s))
            yield from _parties(s, "looked_into_again")
        case DissatisfactionReviewed():
            yield from _parties(s, "answer_stands", reason=e.reason)
            yield role(s, next_level, "answer_stands", reason=e.reason, rule="ADM-5")
        case ComplaintAppealed():
            yield owner(s, e.owner, "appeal", ground=e.ground)
            yield from _parties(s, "appeal_received")
        case AppealDecided():
            yield from _parties(s, "appeal_decided", outcome=e.outcome, answer=e.answer)
        case ComplaintClosed():
            yield from _parties(s, "done")  # ADM-6
        case ReferredExternal():
            yield from _parties(s, "referred_outside", body=e.body, reference=e.reference)
        case ComplaintWithdrawn():
            yield from _parties(s, "withdrawn", reason=e.reason)
        case MergedAsRepeat():
            yield from _parties(s, "joined", case_joined=e.case)
        case ComplaintAdopted():
            if e.party is not None:
                said = {"case_joined": e.case, "due": _answer_due(s)}
                yield message(s, "party", e.party, "complaint_received", **said)
        case RepeatMergeRefused():
            yield intake(s, "merge_refused", other=e.case)
        case RequestAnswered():
            if not e.accepted:
                yield role(s, s.rules.follow_up.supervisor, "request_refused", request=e.request)
        case OwnerChanged():
            if e.reason in ("accused", "not_satisfied"):
                yield owner(s, e.owner, "needs_an_owner", reason=e.reason)
        case _:
            return


def _finding(s: ComplaintState, e: FindingDecided) -> Iterator[Message]:
    if owes(s, finding_of(s, e.staff)):
        yield message(s, "staff", e.staff, "apology_due", rule="GAS-2.6")
    if e.outcome == "not_upheld" and not e.appeal:
        yield role(s, s.rules.next_level, "not_upheld", reason=e.reason, rule="ADM-5")


def _parties(s: ComplaintState, template: str, /, **params: str | int | None) -> Iterator[Message]:
    """A word to everybody who complains; to nobody where they stayed anonymous."""
    for party in complainants(s):
        yield message(s, "party", party, template, **params)


def _answer_due(s: ComplaintState) -> str | None:
    rules = s.rules
    owed = (c for c in s.commitments if rules.terms[c.name, c.rule].ends == "answered")
    return time(min((c.due for c in owed if c.outstanding), default=None))
