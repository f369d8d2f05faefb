"""Who may try what: one table of roles by kind of case and command, and of roles by what they see.

It says who may ask at all; the case then decides by its own rules (whose number, who is barred,
which role the policy names). Nobody sends the clock's commands or what one case asks of another.
"""

from collections.abc import Iterable, Mapping
from typing import get_args

from schemas.base import SYSTEM, Role

Roles = tuple[Role, ...]

ROLES: Roles = tuple(role for role in get_args(Role) if role != SYSTEM.role)
"""All that somebody may have; the system's is no one's."""

NOBODY: Roles = ()
OFFICE: Roles = ("clerk", "supervisor")
HEADS: Roles = ("station_head", "division_head")
CHIEFS: Roles = ("supervisor", *HEADS)
DESK: Roles = ("clerk", *CHIEFS)
FIELD: Roles = ("clerk", "crew", "supervisor")
"""What happens on site; a clerk notes down what a crew says by radio, under the clerk's number."""
FINDERS: Roles = ("service", "clerk", "crew", "reader", *CHIEFS)
"""Whoever finds something wrong says so (WAT-1.5, WAT-2.9)."""
JUDGES: Roles = ("supervisor", "division_head", "conduct_officer", "admin")
"""Who keeps staff files, as their lifecycle has it."""
IN_CHARGE: Roles = ("supervisor", "division_head", "admin")
"""Who keeps the satisfaction register."""
ABOVE: Roles = (*HEADS, "conduct_officer", "admin")
"""The level above (WIN-3.4.3); which of them it is, the policy says."""
PEOPLE: Roles = ("clerk", "crew", "reader", *CHIEFS, "conduct_officer", "admin")
"""Those who work here; auditors look on and change nothing."""
EVERYBODY: Roles = ("service", *PEOPLE, "auditor")

_OF_ITSELF: Mapping[str, Roles] = {"DeadlinePassed": NOBODY, "RecordAnswer": NOBODY}

_APPROVALS: Mapping[str, Roles] = {
    # The policy names the role that decides; a clerk may be somebody's delegate, on record.
    "DecideApproval": (*DESK, "conduct_officer", "admin"),
    "DelegateApproval": (*CHIEFS, "conduct_officer", "admin"),
    "WithdrawApproval": PEOPLE,  # whoever asked for it, and nobody else
}

COMMANDS: Mapping[str, Mapping[str, Roles]] = {
    "repair": {
        "ReportRepair": FINDERS,
        "TriageRepair": OFFICE,
        "SolveByPhone": OFFICE,
        "DispatchCrew": OFFICE,
        "AcceptJob": FIELD,
        "DeclineJob": FIELD,
        "ReassignJob": OFFICE,
        "TakeCase": DESK,
        "HandOverCase": ("clerk", "crew", *CHIEFS),
        "BookAppointment": ("service", *FIELD),
        "MoveAppointment": ("service", *FIELD),
        "RecordArrival": FIELD,
        "RecordNoAccess": FIELD,
        "MakeSafe": FIELD,
        "StartWork": FIELD,
        "PauseWork": FIELD,
        "ResumeWork": FIELD,
        "RequestParts": FIELD,
        "RecordPartsShipped": ("service", *OFFICE),
        "RecordPartsArrived": ("service", *FIELD),
        "CompleteRepair": FIELD,
        "PassInspection": OFFICE,  # never by who did the work
        "FailInspection": OFFICE,
        "RecordCallback": OFFICE,
        "ReopenCase": OFFICE,
        "TransferOut": OFFICE,
        "RecordTransferReturned": ("service", *OFFICE),
        "MergeInto": OFFICE,
        "SplitOut": OFFICE,
        "LinkToFault": OFFICE,
        "AdoptReport": NOBODY,
        "ReleaseReport": NOBODY,
        "RecordFaultCleared": NOBODY,
        "PostGuard": ("clerk", "crew", "reader", "supervisor"),  # WAT-1.5c: whoever found it stays
        "AnnounceInterruption": OFFICE,
        "ReportNoFault": FIELD,
        "DeclareNotOurs": FIELD,
        "DeclareUnableToFix": FIELD,
        "CancelRepair": ("service", *OFFICE),
        **_OF_ITSELF,
    },
    "complaint": {
        "RegisterComplaint": FINDERS,
        "ScreenComplaint": OFFICE,
        "DeclareOutOfJurisdiction": OFFICE,
        "ReferComplaint": OFFICE,
        "HandOverComplaint": OFFICE,
        "AcknowledgeComplaint": DESK,
        "ReturnComplaint": DESK,
        "ArbitrateReturn": CHIEFS,
        "TakeCase": (*DESK, "conduct_officer"),
        "HandOverCase": (*DESK, "conduct_officer"),
        "EscalateComplaint": DESK,
        "StartInvestigation": (*DESK, "conduct_officer"),
        "AskCustomer": (*DESK, "conduct_officer"),
        "RecordCustomerReply": ("service", *DESK, "conduct_officer"),
        "RequestExtension": (*DESK, "conduct_officer"),
        "DecideFinding": (*DESK, "conduct_officer"),
        "AnswerComplaint": (*DESK, "conduct_officer"),
        "RecordFollowUp": OFFICE,
        "OrderRedo": CHIEFS,  # a reviewer's: never the investigator's own clerk
        "CloseComplaint": CHIEFS,
        "RecordApology": DESK,
        "WaiveApology": CHIEFS,
        "RewardInformant": (*CHIEFS, "conduct_officer"),
        "AppealComplaint": ("service", *OFFICE),
        "ConfirmDecision": ABOVE,
        "OverturnDecision": ABOVE,
        "ReferExternal": DESK,
        "WithdrawComplaint": ("service", *OFFICE),
        "MergeRepeat": OFFICE,
        "AdoptComplaint": NOBODY,
        **_APPROVALS,
        **_OF_ITSELF,
    },
    "conduct": {
        "RecordFinding": NOBODY,
        "RecordMeasure": JUDGES,
        "ConcludeInvestigation": JUDGES,
        "RecordReply": PEOPLE,  # the person's own right of reply
        "RecordRedress": JUDGES,
        "TakeCase": JUDGES,
        "HandOverCase": JUDGES,
        **_APPROVALS,
        **_OF_ITSELF,
    },
    "satisfaction": {
        "DrawSample": NOBODY,
        "ReportMonth": NOBODY,
        "RankYear": NOBODY,
        "RecordImprovement": IN_CHARGE,
        "RecordCheck": ("clerk", "crew", "reader", *IN_CHARGE),  # a department checks itself
        "TakeCase": IN_CHARGE,
        "HandOverCase": IN_CHARGE,
        **_APPROVALS,
        **_OF_ITSELF,
    },
    "premises": {"RecordPresence": NOBODY, "RecordAnswer": NOBODY},
    "arrears": {
        "OpenArrears": ("service", "supervisor"),
        "AddBills": ("service", "supervisor"),
        "RecordContact": ("clerk", "reader", "supervisor"),
        "ServeNotice": ("clerk", "reader", "supervisor"),
        "PlaceHold": FINDERS,  # a reason not to stop supply may come from anywhere
        "ReleaseHold": DESK,
        "AgreePlan": OFFICE,
        "RequestCutoff": OFFICE,
        "AuthoriseCutoff": ("supervisor", "division_head"),
        "ScheduleVisit": OFFICE,
        "IssuePermit": ("crew",),
        "RecordValveClosed": ("crew",),
        "RecordVisitFailed": FIELD,
        "ReportSelfReopened": ("clerk", "crew", "reader", "supervisor"),
        "ServeStopOrder": ("clerk", "crew", "reader", "supervisor"),
        "RecordPayment": ("service", *OFFICE),
        "ReversePayment": ("service", "supervisor"),
        "CorrectBalance": CHIEFS,  # WAT-B6: never on one's own, the evidence is its approval
        "RecordReconnected": ("crew", "supervisor"),
        "RecordReconnectionFailed": ("crew", "supervisor"),
        "RecordMoveOut": ("service", *OFFICE),
        "WriteOff": DESK,
        "WithdrawArrears": CHIEFS,
        "TakeCase": DESK,
        "HandOverCase": DESK,
        **_APPROVALS,
        **_OF_ITSELF,
    },
    "assessment": {
        "OpenAssessment": NOBODY,
        "RequestExclusion": ("clerk", "reader", *CHIEFS),
        "TakeCase": CHIEFS,
        "HandOverCase": CHIEFS,
        **_APPROVALS,
        "DeadlinePassed": NOBODY,
    },
    "archive": {"RecordHistory": NOBODY, "DeadlinePassed": NOBODY},
}
"""By kind of case and command: the roles that may send it through the gateway."""

SEES: Mapping[str, Roles] = {
    "repairs": EVERYBODY,
    "complaints": ("service", *DESK, "conduct_officer", "auditor", "admin"),
    "arrears": ("service", "clerk", "crew", "reader", *CHIEFS, "auditor", "admin"),
    "premises": ("service", "clerk", "crew", *CHIEFS, "auditor", "admin"),
    "satisfaction": (*DESK, "conduct_officer", "auditor", "admin"),
    "staff_files": (*JUDGES, "auditor"),  # and everybody their own
    "assessments": (*CHIEFS, "auditor", "admin"),  # and everybody their own
    "archive": ("auditor", "admin"),
    "approvals": (*DESK, "conduct_officer", "auditor", "admin"),
    "parties": ("clerk", "crew", *CHIEFS),  # least privilege (KUN-8.3): who must call or visit
    "sealed_parties": (*CHIEFS, "conduct_officer"),  # whom the seal names, of these (WAT-2.5)
    "stops": ("service", "clerk", "crew", "reader", *CHIEFS, "auditor", "admin"),
    "part_payments": ("service", *DESK, "auditor", "admin"),
    "outbox": ("supervisor", "auditor", "admin"),
    "refusals": (*CHIEFS, "conduct_officer", "auditor", "admin"),
    "policies": EVERYBODY,
    "events": ("service", "auditor", "admin"),
    "webhooks": ("auditor", "admin"),
    "signing_keys": ("auditor", "admin"),  # and everybody their own
}
"""By what there is to see: the roles that may."""

DOES: Mapping[str, Roles] = {
    "put_party": FINDERS,  # whoever may open a case
    "erase_party": ("admin",),  # for good
    "redrive_messages": ("supervisor", "admin"),
    "manage_webhooks": ("admin",),
    "enrol_keys": ("admin",),
}
"""By what else can be done through the gateway, beside commands to cases: the roles that may."""

_CASES = {
    "repair": "repairs",
    "complaint": "complaints",
    "conduct": "staff_files",
    "satisfaction": "satisfaction",
    "premises": "premises",
    "arrears": "arrears",
    "assessment": "assessments",
    "archive": "archive",
}
"""By kind of case: as what it is seen."""


def senders(kind: str, command: str) -> Roles:
    """The roles that may send a command to a kind of case; none where there is no such command."""
    return COMMANDS.get(kind, {}).get(command, NOBODY)


def resource_of(kind: str) -> str:
    """As what a kind of case is seen, in `SEES`. KeyError where there is no such kind."""
    return _CASES[kind]


def kinds_seen(roles: Iterable[Role]) -> tuple[str, ...]:
    """The kinds of case that somebody with these roles may list, show and follow."""
    held = set(roles)
    return tuple(kind for kind, resource in _CASES.items() if held & set(SEES[resource]))
