"""Complaint, between cases: a repeat of the same matter goes on in the complaint that has it.

A case asks the other (`requests` in its state) until it answers. While it waits it takes in nobody
itself: two cases that ask each other are both refused rather than both gone.
"""

from collections.abc import Iterator

from lifecycles import casework, promises
from lifecycles.casework import BEGINNING
from lifecycles.complaint_evolve import AnyEvent, evolve, merged
from lifecycles.complaint_intake import conclude, relieved
from lifecycles.complaint_stages import ACTIVE, apologies_owed, asks, earliest, scope
from lifecycles.decisions import By, No
from schemas.case import RequestAnswered
from schemas.complaint import (
    AdoptComplaint,
    ComplaintAdopted,
    ComplaintState,
    MergedAsRepeat,
    MergeRepeat,
    RepeatMergeRefused,
    RepeatMergeRequested,
)
from schemas.envelope import RecordAnswer

Results = Iterator[AnyEvent | No]


def merge_repeat(state: ComplaintState, c: MergeRepeat, by: By) -> Results:
    if c.case in (state.merged_into, asks(state)):
        return
    yield from casework.may_join(state, c.case, asks(state) is not None)
    if state.repeats:
        yield No("Repeats were merged into this one: merge the other into it instead.")
    if state.findings:
        yield No("Findings were decided in this one: merge the other into it instead.")
    yield RepeatMergeRequested(at=by.at, case=c.case)


def adopt(state: ComplaintState, c: AdoptComplaint, by: By) -> Results:
    if any(r.case == c.case for r in state.repeats):
        return
    if c.case == state.case_id:
        yield No("A case cannot take in itself; name another.")
    if asks(state):
        yield No("This case is itself about to join another; ask that one.")
    yield from casework.may_adopt(c.registered_at, "registered_at", by)
    if c.registered_at < BEGINNING:
        return
    since = earliest(state)
    if state.extensions and since and c.registered_at < since:
        yield No(
            "More time was granted in this complaint, which the earlier one has no part in:"
            " merge this one into it instead."
        )
    taken = ComplaintAdopted(
        at=by.at,
        case=c.case,
        registered_at=c.registered_at,
        party=c.party,
        accused=c.accused,
        premises=c.premises,
    )
    yield taken
    if since and c.registered_at < since:
        # A broken one too: a late fact may yet undo the breach, but never start the clock anew.
        states = ("running", "paused", "broken")
        yield from promises.backdate(state, "registered", by, c.registered_at, states)
    yield from relieved(state, merged(state.accused, c.accused), by)
    if apologies_owed(after := evolve(state, taken)):
        # An anonymous complaint now has a complainant who is owed an apology (GAS-2.6).
        yield from promises.begin(after, "upheld", by, scope(after))


def record_answer(state: ComplaintState, c: RecordAnswer, by: By) -> Results:
    request = next((r for r in state.requests if r.id == c.request), None)
    if request is None:
        return
    yield RequestAnswered(at=by.at, request=c.request, accepted=c.accepted, reasons=c.reasons)
    if request.command["type"] != "AdoptComplaint":
        return
    if not c.accepted:
        yield RepeatMergeRefused(at=by.at, case=request.case_id, reasons=c.reasons)
    elif state.stage in ACTIVE:
        yield MergedAsRepeat(at=by.at, case=request.case_id)
        yield from conclude(state, "merged", by)
