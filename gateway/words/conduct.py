"""What happens in a staff file, in plain words. Pure."""

from collections.abc import Mapping
from typing import assert_never

from gateway.words.plain import When, listed, owner_words, readable
from schemas.conduct import (
    ConductEvents,
    FindingExpired,
    FindingOverturned,
    FindingRecorded,
    InvestigationConcluded,
    InvestigationDropped,
    InvestigationOpened,
    MarkEntered,
    MarkRemoved,
    MeasureDue,
    MeasureTaken,
    MeasureWithdrawn,
    Reassigned,
    ReassignmentProposed,
    ReassignmentRejected,
    ReassignmentWithdrawn,
    RedressDue,
    RedressMade,
    ReplyRecorded,
    StaffFileOpened,
    StaffFileRested,
)

RULES: Mapping[str, tuple[str, ...]] = {
    "FindingRecorded": ("WAT-3.2b",),
    "FindingOverturned": ("WAT-3.2b",),
    "FindingExpired": ("WAT-3.2b",),
    "MarkEntered": ("WAT-3.2a",),
    "MarkRemoved": ("WAT-3.2a",),
    "MeasureDue": ("WIN-2.5.1",),
    "MeasureTaken": ("WIN-2.5.1",),
    "MeasureWithdrawn": ("WIN-2.5.1",),
    "InvestigationOpened": ("WIN-2.5.2",),
    "InvestigationConcluded": ("WIN-2.5.2",),
    "InvestigationDropped": ("WIN-2.5.2",),
    "ReassignmentProposed": ("WAT-3.2b",),
    "ReplyRecorded": ("WAT-3.2b",),
    "Reassigned": ("WAT-3.2b",),
    "ReassignmentRejected": ("ADM-5",),
    "ReassignmentWithdrawn": ("WAT-3.2b",),
}

BEFORE: Mapping[str, str] = {
    "measure_taken": "the measure is taken before",
    "breach_judged": "the investigation is concluded before",
    "redress_made": "it is made good before",
}


def complaint_of(finding: str) -> str:
    """The complaint that a finding comes from."""
    return finding.partition("/")[0]


def words(e: ConductEvents, when: When) -> str:
    match e:
        case StaffFileOpened():
            return f"the file of {e.staff} begins; {owner_words(e.owner)} has it"
        case FindingRecorded():
            strike = f", counts from {e.counts_on} until {e.counts_until}" if e.strike else ""
            again = f", revision {e.revision}" if e.revision > 1 else ""
            what = f"{readable(e.outcome)}, {e.gravity}, {readable(e.cause)}"
            return f"finding of {e.complaint}: {what}{strike}{again}"
        case FindingOverturned():
            return f"finding of {e.complaint} does not stand: its strike and mark are gone"
        case MarkEntered():
            return f"black mark on the board for {complaint_of(e.finding)}"
        case MarkRemoved():
            return f"mark for {complaint_of(e.finding)} taken off ({e.reason})"
        case FindingExpired():
            return f"finding of {complaint_of(e.finding)} counts no more"
        case MeasureDue():
            return f"to be given: {readable(e.measure)}, step {e.step}, {complaint_of(e.finding)}"
        case MeasureTaken():
            return f"given: {readable(e.measure)}, by {e.by} ({e.evidence})"
        case MeasureWithdrawn():
            return f"no longer to be given: {readable(e.measure)}"
        case InvestigationOpened():
            return f"serious breach of {complaint_of(e.finding)} is investigated at once"
        case InvestigationConcluded():
            end = readable(e.penalty) if e.penalty else f"no penalty ({e.reason})"
            return f"investigation of {complaint_of(e.finding)} ends: {end} ({e.evidence})"
        case InvestigationDropped():
            return f"investigation of {complaint_of(e.finding)} is dropped"
        case ReassignmentProposed():
            rests = listed(complaint_of(f) for f in e.findings)
            return (
                f"a move out of the post is proposed, on {rests}; reply until {when(e.reply_until)}"
            )
        case ReplyRecorded():
            if e.evidence is None:
                return "no reply came in time; the proposal goes on"
            return f"the person replies ({e.evidence})"
        case Reassigned():
            return "moved out of the post"
        case ReassignmentRejected():
            return f"stays in the post ({e.reason}); reported above (否定报备)"
        case ReassignmentWithdrawn():
            return "the proposal is withdrawn: a finding that it rests on does not stand"
        case RedressDue():
            return f"to be made good: {listed(readable(of) for of in e.of)}"
        case RedressMade():
            return f"made good ({e.evidence})"
        case StaffFileRested():
            return "nothing counts any more and nothing is to be done: the file rests"
        case _:
            assert_never(e)
