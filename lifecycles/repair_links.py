"""Repair, between cases: merging doubles, linking reports to a network fault, splitting again.

A case asks the other (`requests` in its state) until it answers; the id of the request is the id
of the command there, so that the other does it once. While it waits it takes in nobody itself: two
cases that ask each other are both refused rather than both gone.
"""

from collections.abc import Iterator

from lifecycles import casework, promises, repair_ends
from lifecycles.casework import BEGINNING, owner_of, unit
from lifecycles.decisions import By, No
from lifecycles.repair_stages import ACTIVE
from schemas.case import RequestAnswered, SharedEvents
from schemas.envelope import RecordAnswer
from schemas.repair import (
    AdoptionRefused,
    AdoptReport,
    FaultCleared,
    FaultLinked,
    GuardRelieved,
    LinkRequested,
    LinkToFault,
    MergeInto,
    MergeRequested,
    RecordFaultCleared,
    ReleaseReport,
    ReleaseRequested,
    RepairEvents,
    RepairMerged,
    RepairState,
    ReportAdopted,
    ReportReleased,
    ReportSplit,
    SplitOut,
)

Results = Iterator[RepairEvents | SharedEvents | No]


def merge_into(state: RepairState, c: MergeInto, by: By) -> Results:
    if state.merged_into == c.case or _asks(state) == ("merge", c.case):
        return
    yield from casework.may_join(state, c.case, _asks(state) is not None)
    if state.linked_to:
        yield No("It is linked to a network fault: split it out first.")
    if any(a.how == "link" for a in state.adopted):
        yield No("Reports are linked to this fault: split them out before you merge it.")
    yield MergeRequested(at=by.at, case=c.case)


def link_to_fault(state: RepairState, c: LinkToFault, by: By) -> Results:
    if state.linked_to == c.fault or _asks(state) == ("link", c.fault):
        return
    yield from casework.may_join(state, c.fault, _asks(state) is not None)
    if state.network:
        yield No("This is a network fault itself: merge it instead.")
    if state.linked_to:
        yield No("It is linked to another fault: split it out first.")
    yield LinkRequested(at=by.at, fault=c.fault)


def _asks(state: RepairState) -> tuple[str, str] | None:
    """The adoption that this case waits for: how, and by which case."""
    for request in state.requests:
        if request.command["type"] == "AdoptReport":
            return request.command["how"], request.case_id
    return None


def adopt_report(state: RepairState, c: AdoptReport, by: By) -> Results:
    if any(a.case == c.case for a in state.adopted):
        return
    if c.how == "link" and not state.network:
        yield No("Only a network fault takes in linked reports; merge it instead.")
    if _asks(state) or state.linked_to:
        yield No("This case is itself about to join another; ask that one.")
    yield from casework.may_adopt(c.reported_at, "reported_at", by)
    if c.reported_at < BEGINNING:
        return
    yield ReportAdopted(
        at=by.at,
        case=c.case,
        how=c.how,
        reported_at=c.reported_at,
        parties=c.parties,
        premises=c.premises,
    )
    if state.reported_at and c.reported_at < state.reported_at:
        yield from promises.backdate(state, "reported", by, c.reported_at)


def release_report(state: RepairState, c: ReleaseReport, by: By) -> Results:
    if any(a.case == c.case for a in state.adopted):
        yield ReportReleased(at=by.at, case=c.case)
        yield from repair_ends.let_go(state, c.case, by)


def record_answer(state: RepairState, c: RecordAnswer, by: By) -> Results:
    request = next((r for r in state.requests if r.id == c.request), None)
    if request is None:
        return
    yield RequestAnswered(at=by.at, request=c.request, accepted=c.accepted, reasons=c.reasons)
    if request.command["type"] != "AdoptReport":
        return
    if not c.accepted:
        yield AdoptionRefused(at=by.at, case=request.case_id, reasons=c.reasons)
    elif state.stage not in ACTIVE:
        yield ReleaseRequested(at=by.at, case=request.case_id)
    elif request.command["how"] == "merge":
        yield RepairMerged(at=by.at, case=request.case_id)
        yield from promises.cancel_all(state, by, "merged")
    else:
        yield FaultLinked(at=by.at, fault=request.case_id)
        yield from promises.cancel_all(state, by, "linked")


def split_out(state: RepairState, c: SplitOut, by: By) -> Results:
    other = state.merged_into or state.linked_to
    if other is None:
        yield No("It is neither merged into another case nor linked to a fault.")
        return
    owner = owner_of(state) if state.linked_to else None
    yield ReportSplit(at=by.at, case=other, reason=c.reason, owner=owner or unit(state))
    yield from promises.restore(state, by, "split", promises.owed_again(state))


def fault_cleared(state: RepairState, c: RecordFaultCleared, by: By) -> Results:
    if state.linked_to == c.fault and state.stage not in ACTIVE:
        return
    asked = (r for r in state.requests if r.command.get("how") == "link" and r.case_id == c.fault)
    joining = next(asked, None)
    if not joining and state.linked_to != c.fault:
        yield No("It is not linked to this fault.")
    if c.cleared_at > by.at:
        yield No("The clearing lies in the future; correct `cleared_at`.")
    if joining:
        # A fault tells only whom it took in: its word has overtaken its answer.
        yield from record_answer(state, RecordAnswer(request=joining.id, accepted=True), by)
    cleared = by._replace(at=max(c.cleared_at, state.reported_at or by.at))
    yield FaultCleared(at=cleared.at, fault=c.fault)
    if state.guard:
        yield GuardRelieved(at=cleared.at, guard=state.guard)
    if not joining:
        yield from promises.cancel_all(state, cleared, "closed")
    yield from repair_ends.follow_up(state, cleared)
