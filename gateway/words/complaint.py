"""What happens in a complaint (投诉), in plain words. Pure."""

from collections.abc import Iterable, Mapping
from typing import assert_never

from gateway.words.plain import When, listed, owner_words, readable
from schemas.complaint import (
    Accused,
    ApologyRecorded,
    ApologyWaived,
    AppealDecided,
    ComplaintAcknowledged,
    ComplaintAdopted,
    ComplaintAnswered,
    ComplaintAppealed,
    ComplaintClosed,
    ComplaintEscalated,
    ComplaintEvents,
    ComplaintHandedOver,
    ComplaintReferred,
    ComplaintRegistered,
    ComplaintReturned,
    ComplaintScreened,
    ComplaintWithdrawn,
    CustomerAsked,
    CustomerReplied,
    DeclaredOutOfJurisdiction,
    DissatisfactionReviewed,
    ExtensionGranted,
    ExtensionRequested,
    FindingDecided,
    FollowUpDue,
    FollowUpRecorded,
    InformantRewarded,
    InvestigationStarted,
    MergedAsRepeat,
    RedoOrdered,
    ReferredExternal,
    RepeatMergeRefused,
    RepeatMergeRequested,
    ReturnArbitrated,
)

RULES: Mapping[str, tuple[str, ...]] = {
    "ComplaintRegistered": ("KUN-5.4.1", "PROP-1.3", "WAT-2.5", "ADM-2"),
    "DeclaredOutOfJurisdiction": ("KUN-5.4.2", "ADM-5"),
    "ComplaintReferred": ("ADM-6",),
    "ComplaintHandedOver": ("KUN-5.4.1", "PROP-1.3", "ADM-1"),
    "ComplaintAcknowledged": ("ADM-1",),
    "ReturnArbitrated": ("ADM-1",),
    "InvestigationStarted": ("KUN-2.2.6",),
    "ExtensionGranted": ("KUN-2.2.6",),
    "ComplaintEscalated": ("CNPC-2.6b", "KUN-5.4.2", "GAS-3.8.5"),
    "ComplaintAnswered": ("KUN-2.2.6", "PROP-1.3", "ADM-6"),
    "FollowUpDue": ("KUN-5.6", "CNPC-2.6a"),
    "FollowUpRecorded": ("KUN-5.6", "CNPC-2.6a"),
    "RedoOrdered": ("CNPC-2.6b",),
    "ApologyRecorded": ("GAS-2.6",),
    "ApologyWaived": ("GAS-2.6",),
    "InformantRewarded": ("WAT-2.5",),
    "ComplaintAppealed": ("WIN-3.4.3",),
    "AppealDecided": ("WIN-3.4.3",),
    "ReferredExternal": ("WIN-3.4.3",),
    "ComplaintClosed": ("ADM-6",),
}

BEFORE: Mapping[str, str] = {
    "handed_over": "it is handed over before",
    "acknowledged": "the department takes it before",
    "arbitrated": "a supervisor decides whose it is before",
    "apologised": "the apology is made or waived before",
    "answered": "the complainant is answered before",
    "reviewed": "a supervisor looks at it before",
    "appeal_decided": "the level above decides before",
    "referred": "it is passed on before",
}


def accused_in_words(accused: Iterable[Accused]) -> str:
    """Whom a complaint is about: "s-1041 (reports to s-2001)"."""
    return listed(
        a.staff + (f" (reports to {a.reports_to})" if a.reports_to else "") for a in accused
    )


def words(e: ComplaintEvents, when: When) -> str:
    match e:
        case ComplaintRegistered():
            return _registered(e)
        case ComplaintScreened():
            about = f", about {accused_in_words(e.accused)}" if e.accused else ""
            return f"screened: ours, {e.category}, {e.gravity}{about}"
        case DeclaredOutOfJurisdiction():
            return f"not ours to answer ({e.reason}); the complainant is told why (否定报备)"
        case ComplaintReferred():
            return f"passed on to {e.to} ({e.reference})"
        case ComplaintHandedOver():
            return f"handed over to {e.department}"
        case ComplaintAcknowledged():
            return f"{owner_words(e.owner)} takes it (首问负责)"
        case ComplaintReturned():
            then = "; a supervisor must now decide whose it is" if e.arbitrate else ""
            return (
                f"{e.department} gives it back, return {e.returns} ({e.ground}, {e.evidence}){then}"
            )
        case ReturnArbitrated():
            return f"decided for good: it is {e.department}'s ({e.reason})"
        case InvestigationStarted():
            return f"{e.investigator} looks into it"
        case CustomerAsked():
            return f"the complainant is asked ({e.question}), waits until {when(e.until)} at most"
        case CustomerReplied():
            if e.evidence is None:
                return "the complainant did not reply in time, work goes on"
            return f"the complainant replies ({e.evidence})"
        case ExtensionRequested():
            return f"more time is asked for, until {when(e.until)} ({e.reason}, {e.evidence})"
        case ExtensionGranted():
            return f"the answer is due {when(e.until)} now ({e.reason}); the complainant is told"
        case ComplaintEscalated():
            return f"goes up to {owner_words(e.owner)} ({e.reason}); the complainant is told why"
        case FindingDecided():
            return _finding(e)
        case ComplaintAnswered():
            return f"answered: {_outcome(e.outcome, e.reason)} ({e.answer})"
        case FollowUpDue():
            return "follow-up call due (回访)"
        case FollowUpRecorded():
            more = "" if e.done else "; to be called again"
            return f"follow-up call {e.attempt}: {readable(e.result)}{more}"
        case RedoOrdered():
            return f"to be done again, time {e.redo} ({e.reason}); {owner_words(e.owner)} has it"
        case DissatisfactionReviewed():
            return f"a supervisor finds the answer right all the same ({e.reason})"
        case ApologyRecorded():
            return f"{e.staff} has apologised ({e.evidence})"
        case ApologyWaived():
            return f"no apology is owed by {e.staff} after all ({e.reason})"
        case InformantRewarded():
            return f"the informant is rewarded ({e.evidence})"
        case ComplaintAppealed():
            return f"appealed ({e.ground}, {e.evidence}); {owner_words(e.owner)} has it"
        case AppealDecided():
            what = _outcome(e.outcome, e.reason)
            return f"the level above has {e.decision} the decision: {what} ({e.answer})"
        case ComplaintClosed():
            return f"closed, {readable(e.outcome)}; the complainant is told (办结告知)"
        case ReferredExternal():
            return f"{e.body} outside has it now ({e.reference})"
        case ComplaintWithdrawn():
            return f"withdrawn by the complainant ({e.reason}); a finding stays a finding"
        case RepeatMergeRequested():
            return f"asks {e.case} to take it in"
        case MergedAsRepeat():
            return f"goes on in {e.case}"
        case RepeatMergeRefused():
            return f"{e.case} would not take it in: {' '.join(e.reasons)}"
        case ComplaintAdopted():
            return f"takes in a repeat, {e.case}, registered {when(e.registered_at)}"
        case _:
            assert_never(e)


def _registered(e: ComplaintRegistered) -> str:
    match e.about:
        case "staff":
            about = accused_in_words(e.accused) or "staff"
        case "case":
            about = e.about_case or "a case"
        case "place":
            about = e.place or "a place"
        case "service":
            about = "the service"
    how = [
        "anonymous" if e.anonymous else "",
        "in confidence" if e.confidential else "",
        "special care" if e.priority else "",
    ]
    what = listed(part for part in (e.category, e.gravity, f"district {e.district}", *how) if part)
    return f"registered by {e.channel}, about {about}: {what}; {owner_words(e.owner)} has it"


def _finding(e: FindingDecided) -> str:
    who = "the level above finds" if e.appeal else "found"
    again = f", revision {e.revision}" if e.revision > 1 else ""
    why = f", {e.gravity}, {readable(e.cause)}" if e.outcome != "not_upheld" else ""
    return f"{who} about {e.staff}: {_outcome(e.outcome, e.reason)}{why}{again} ({e.evidence})"


def _outcome(outcome: str, reason: str | None) -> str:
    no = " (否定报备)" if outcome == "not_upheld" else ""
    return readable(outcome) + (f" because of {reason}" if reason else "") + no
