"""Which repair command is allowed in which stage: the table that `decide` obeys."""

from collections.abc import Mapping

from lifecycles.promises import Scope
from schemas.repair import RepairState, Stage

S = Stage
WAITING = (S.REPORTED, S.TRIAGED, S.DISPATCHED, S.ACCEPTED)
AT_WORK = (S.ON_SITE, S.MADE_SAFE, S.WORKING)
ACTIVE = (*WAITING, *AT_WORK, S.PAUSED)
"""Nothing is repaired yet."""
CLOSING = (S.FIXED, S.INSPECTED, S.CALLBACK_DUE)
LIVE = (*ACTIVE, *CLOSING)
EXITS = (S.SOLVED_BY_PHONE, S.NOT_OURS, S.NO_FAULT_FOUND, S.UNABLE_TO_FIX, S.CANCELLED)
ENDED = (S.CLOSED, S.MERGED, S.TRANSFERRED, *EXITS)
"""The workflow ends here; a command that brings the case back starts it again from the log."""

ALLOWED: Mapping[str, tuple[Stage, ...]] = {
    "ReportRepair": (S.UNREPORTED,),
    "TriageRepair": (S.REPORTED, S.TRIAGED),
    "SolveByPhone": (S.REPORTED, S.TRIAGED),
    "DispatchCrew": (S.TRIAGED,),
    "AcceptJob": (S.DISPATCHED,),
    "DeclineJob": (S.DISPATCHED, S.ACCEPTED),
    "ReassignJob": (S.DISPATCHED, S.ACCEPTED, *AT_WORK, S.PAUSED),
    "TakeCase": LIVE,
    "HandOverCase": LIVE,
    "BookAppointment": (*WAITING, S.PAUSED),
    "MoveAppointment": (*WAITING, S.PAUSED),
    "RecordArrival": (S.DISPATCHED, S.ACCEPTED, S.PAUSED),
    "RecordNoAccess": (S.DISPATCHED, S.ACCEPTED, S.ON_SITE, S.PAUSED),
    "MakeSafe": (S.ON_SITE, S.WORKING),
    "StartWork": (S.ON_SITE, S.MADE_SAFE),
    "PauseWork": (*WAITING, *AT_WORK),
    "ResumeWork": (S.PAUSED,),
    "RequestParts": (*AT_WORK, S.PAUSED),
    "RecordPartsShipped": (*AT_WORK, S.PAUSED),
    "RecordPartsArrived": (*AT_WORK, S.PAUSED),
    "CompleteRepair": AT_WORK,
    "PassInspection": (S.FIXED,),
    "FailInspection": (S.FIXED,),
    "RecordCallback": (S.CALLBACK_DUE,),
    "ReopenCase": (S.CLOSED, *EXITS),
    "TransferOut": ACTIVE,
    "RecordTransferReturned": (S.TRANSFERRED,),
    "MergeInto": ACTIVE,
    "SplitOut": (S.MERGED, *ACTIVE),
    "LinkToFault": ACTIVE,
    "AdoptReport": ACTIVE,
    "ReleaseReport": (*LIVE, *ENDED),
    "RecordFaultCleared": ACTIVE,
    "PostGuard": (*WAITING, S.PAUSED),
    "AnnounceInterruption": ACTIVE,
    "ReportNoFault": AT_WORK,
    "DeclareNotOurs": (*WAITING, *AT_WORK, S.PAUSED),
    "DeclareUnableToFix": (*AT_WORK, S.PAUSED),
    "CancelRepair": ACTIVE,
    "DeadlinePassed": LIVE,
    "RecordAnswer": (*LIVE, *ENDED),
}
"""A network fault may also be completed from any active stage: whoever clears it says only that."""


def allowed(state: RepairState, command: str) -> bool:
    """Whether the case's stage admits the command."""
    return state.stage in ALLOWED[command] or (
        command == "CompleteRepair" and state.network and state.stage in ACTIVE
    )


def scope(state: RepairState) -> Scope:
    """The facts on which its promises depend."""
    return Scope(state.network, state.severity, state.category, state.channel)
