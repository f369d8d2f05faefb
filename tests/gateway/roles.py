"""Which role may send which command and see what, as tables that people can read.

Written down a second time, beside gateway/permissions.py, on purpose: who changes one must mean it.
"""

from collections.abc import Iterator

from schemas.base import Role

COLUMNS: dict[str, Role] = {
    "sv": "service",
    "cl": "clerk",
    "cr": "crew",
    "re": "reader",
    "su": "supervisor",
    "st": "station_head",
    "di": "division_head",
    "co": "conduct_officer",
    "au": "auditor",
    "ad": "admin",
}

MATRIX = """
                                sv cl cr re su st di co au ad
repair
    ReportRepair                x  x  x  x  x  x  x  .  .  .
    TriageRepair                .  x  .  .  x  .  .  .  .  .
    SolveByPhone                .  x  .  .  x  .  .  .  .  .
    DispatchCrew                .  x  .  .  x  .  .  .  .  .
    AcceptJob                   .  x  x  .  x  .  .  .  .  .
    DeclineJob                  .  x  x  .  x  .  .  .  .  .
    ReassignJob                 .  x  .  .  x  .  .  .  .  .
    TakeCase                    .  x  .  .  x  x  x  .  .  .
    HandOverCase                .  x  x  .  x  x  x  .  .  .
    BookAppointment             x  x  x  .  x  .  .  .  .  .
    MoveAppointment             x  x  x  .  x  .  .  .  .  .
    RecordArrival               .  x  x  .  x  .  .  .  .  .
    RecordNoAccess              .  x  x  .  x  .  .  .  .  .
    MakeSafe                    .  x  x  .  x  .  .  .  .  .
    StartWork                   .  x  x  .  x  .  .  .  .  .
    PauseWork                   .  x  x  .  x  .  .  .  .  .
    ResumeWork                  .  x  x  .  x  .  .  .  .  .
    RequestParts                .  x  x  .  x  .  .  .  .  .
    RecordPartsShipped          x  x  .  .  x  .  .  .  .  .
    RecordPartsArrived          x  x  x  .  x  .  .  .  .  .
    CompleteRepair              .  x  x  .  x  .  .  .  .  .
    PassInspection              .  x  .  .  x  .  .  .  .  .
    FailInspection              .  x  .  .  x  .  .  .  .  .
    RecordCallback              .  x  .  .  x  .  .  .  .  .
    ReopenCase                  .  x  .  .  x  .  .  .  .  .
    TransferOut                 .  x  .  .  x  .  .  .  .  .
    RecordTransferReturned      x  x  .  .  x  .  .  .  .  .
    MergeInto                   .  x  .  .  x  .  .  .  .  .
    SplitOut                    .  x  .  .  x  .  .  .  .  .
    LinkToFault                 .  x  .  .  x  .  .  .  .  .
    AdoptReport                 .  .  .  .  .  .  .  .  .  .
    ReleaseReport               .  .  .  .  .  .  .  .  .  .
    RecordFaultCleared          .  .  .  .  .  .  .  .  .  .
    PostGuard                   .  x  x  x  x  .  .  .  .  .
    AnnounceInterruption        .  x  .  .  x  .  .  .  .  .
    ReportNoFault               .  x  x  .  x  .  .  .  .  .
    DeclareNotOurs              .  x  x  .  x  .  .  .  .  .
    DeclareUnableToFix          .  x  x  .  x  .  .  .  .  .
    CancelRepair                x  x  .  .  x  .  .  .  .  .
    DeadlinePassed              .  .  .  .  .  .  .  .  .  .
    RecordAnswer                .  .  .  .  .  .  .  .  .  .

                                sv cl cr re su st di co au ad
complaint
    RegisterComplaint           x  x  x  x  x  x  x  .  .  .
    ScreenComplaint             .  x  .  .  x  .  .  .  .  .
    DeclareOutOfJurisdiction    .  x  .  .  x  .  .  .  .  .
    ReferComplaint              .  x  .  .  x  .  .  .  .  .
    HandOverComplaint           .  x  .  .  x  .  .  .  .  .
    AcknowledgeComplaint        .  x  .  .  x  x  x  .  .  .
    ReturnComplaint             .  x  .  .  x  x  x  .  .  .
    ArbitrateReturn             .  .  .  .  x  x  x  .  .  .
    TakeCase                    .  x  .  .  x  x  x  x  .  .
    HandOverCase                .  x  .  .  x  x  x  x  .  .
    EscalateComplaint           .  x  .  .  x  x  x  .  .  .
    StartInvestigation          .  x  .  .  x  x  x  x  .  .
    AskCustomer                 .  x  .  .  x  x  x  x  .  .
    RecordCustomerReply         x  x  .  .  x  x  x  x  .  .
    RequestExtension            .  x  .  .  x  x  x  x  .  .
    DecideFinding               .  x  .  .  x  x  x  x  .  .
    AnswerComplaint             .  x  .  .  x  x  x  x  .  .
    RecordFollowUp              .  x  .  .  x  .  .  .  .  .
    OrderRedo                   .  .  .  .  x  x  x  .  .  .
    CloseComplaint              .  .  .  .  x  x  x  .  .  .
    RecordApology               .  x  .  .  x  x  x  .  .  .
    WaiveApology                .  .  .  .  x  x  x  .  .  .
    RewardInformant             .  .  .  .  x  x  x  x  .  .
    AppealComplaint             x  x  .  .  x  .  .  .  .  .
    ConfirmDecision             .  .  .  .  .  x  x  x  .  x
    OverturnDecision            .  .  .  .  .  x  x  x  .  x
    ReferExternal               .  x  .  .  x  x  x  .  .  .
    WithdrawComplaint           x  x  .  .  x  .  .  .  .  .
    MergeRepeat                 .  x  .  .  x  .  .  .  .  .
    AdoptComplaint              .  .  .  .  .  .  .  .  .  .
    DecideApproval              .  x  .  .  x  x  x  x  .  x
    DelegateApproval            .  .  .  .  x  x  x  x  .  x
    WithdrawApproval            .  x  x  x  x  x  x  x  .  x
    DeadlinePassed              .  .  .  .  .  .  .  .  .  .
    RecordAnswer                .  .  .  .  .  .  .  .  .  .

                                sv cl cr re su st di co au ad
conduct
    RecordFinding               .  .  .  .  .  .  .  .  .  .
    RecordMeasure               .  .  .  .  x  .  x  x  .  x
    ConcludeInvestigation       .  .  .  .  x  .  x  x  .  x
    RecordReply                 .  x  x  x  x  x  x  x  .  x
    RecordRedress               .  .  .  .  x  .  x  x  .  x
    TakeCase                    .  .  .  .  x  .  x  x  .  x
    HandOverCase                .  .  .  .  x  .  x  x  .  x
    DecideApproval              .  x  .  .  x  x  x  x  .  x
    DelegateApproval            .  .  .  .  x  x  x  x  .  x
    WithdrawApproval            .  x  x  x  x  x  x  x  .  x
    DeadlinePassed              .  .  .  .  .  .  .  .  .  .
    RecordAnswer                .  .  .  .  .  .  .  .  .  .

                                sv cl cr re su st di co au ad
satisfaction
    DrawSample                  .  .  .  .  .  .  .  .  .  .
    ReportMonth                 .  .  .  .  .  .  .  .  .  .
    RankYear                    .  .  .  .  .  .  .  .  .  .
    RecordImprovement           .  .  .  .  x  .  x  .  .  x
    RecordCheck                 .  x  x  x  x  .  x  .  .  x
    TakeCase                    .  .  .  .  x  .  x  .  .  x
    HandOverCase                .  .  .  .  x  .  x  .  .  x
    DecideApproval              .  x  .  .  x  x  x  x  .  x
    DelegateApproval            .  .  .  .  x  x  x  x  .  x
    WithdrawApproval            .  x  x  x  x  x  x  x  .  x
    DeadlinePassed              .  .  .  .  .  .  .  .  .  .
    RecordAnswer                .  .  .  .  .  .  .  .  .  .

                                sv cl cr re su st di co au ad
premises
    RecordPresence              .  .  .  .  .  .  .  .  .  .
    RecordAnswer                .  .  .  .  .  .  .  .  .  .

                                sv cl cr re su st di co au ad
arrears
    OpenArrears                 x  .  .  .  x  .  .  .  .  .
    AddBills                    x  .  .  .  x  .  .  .  .  .
    RecordContact               .  x  .  x  x  .  .  .  .  .
    ServeNotice                 .  x  .  x  x  .  .  .  .  .
    PlaceHold                   x  x  x  x  x  x  x  .  .  .
    ReleaseHold                 .  x  .  .  x  x  x  .  .  .
    AgreePlan                   .  x  .  .  x  .  .  .  .  .
    RequestCutoff               .  x  .  .  x  .  .  .  .  .
    AuthoriseCutoff             .  .  .  .  x  .  x  .  .  .
    ScheduleVisit               .  x  .  .  x  .  .  .  .  .
    IssuePermit                 .  .  x  .  .  .  .  .  .  .
    RecordValveClosed           .  .  x  .  .  .  .  .  .  .
    RecordVisitFailed           .  x  x  .  x  .  .  .  .  .
    ReportSelfReopened          .  x  x  x  x  .  .  .  .  .
    ServeStopOrder              .  x  x  x  x  .  .  .  .  .
    RecordPayment               x  x  .  .  x  .  .  .  .  .
    ReversePayment              x  .  .  .  x  .  .  .  .  .
    CorrectBalance              .  .  .  .  x  x  x  .  .  .
    RecordReconnected           .  .  x  .  x  .  .  .  .  .
    RecordReconnectionFailed    .  .  x  .  x  .  .  .  .  .
    RecordMoveOut               x  x  .  .  x  .  .  .  .  .
    WriteOff                    .  x  .  .  x  x  x  .  .  .
    WithdrawArrears             .  .  .  .  x  x  x  .  .  .
    TakeCase                    .  x  .  .  x  x  x  .  .  .
    HandOverCase                .  x  .  .  x  x  x  .  .  .
    DecideApproval              .  x  .  .  x  x  x  x  .  x
    DelegateApproval            .  .  .  .  x  x  x  x  .  x
    WithdrawApproval            .  x  x  x  x  x  x  x  .  x
    DeadlinePassed              .  .  .  .  .  .  .  .  .  .
    RecordAnswer                .  .  .  .  .  .  .  .  .  .

                                sv cl cr re su st di co au ad
assessment
    OpenAssessment              .  .  .  .  .  .  .  .  .  .
    RequestExclusion            .  x  .  x  x  x  x  .  .  .
    TakeCase                    .  .  .  .  x  x  x  .  .  .
    HandOverCase                .  .  .  .  x  x  x  .  .  .
    DecideApproval              .  x  .  .  x  x  x  x  .  x
    DelegateApproval            .  .  .  .  x  x  x  x  .  x
    WithdrawApproval            .  x  x  x  x  x  x  x  .  x
    DeadlinePassed              .  .  .  .  .  .  .  .  .  .

                                sv cl cr re su st di co au ad
archive
    RecordHistory               .  .  .  .  .  .  .  .  .  .
    DeadlinePassed              .  .  .  .  .  .  .  .  .  .
"""

SEEN = """
                                sv cl cr re su st di co au ad
see
    repairs                     x  x  x  x  x  x  x  x  x  x
    complaints                  x  x  .  .  x  x  x  x  x  x
    arrears                     x  x  x  x  x  x  x  .  x  x
    premises                    x  x  x  .  x  x  x  .  x  x
    satisfaction                .  x  .  .  x  x  x  x  x  x
    staff_files                 .  .  .  .  x  .  x  x  x  x
    assessments                 .  .  .  .  x  x  x  .  x  x
    archive                     .  .  .  .  .  .  .  .  x  x
    approvals                   .  x  .  .  x  x  x  x  x  x
    parties                     .  x  x  .  x  x  x  .  .  .
    sealed_parties              .  .  .  .  x  x  x  x  .  .
    stops                       x  x  x  x  x  x  x  .  x  x
    part_payments               x  x  .  .  x  x  x  .  x  x
    outbox                      .  .  .  .  x  .  .  .  x  x
    refusals                    .  .  .  .  x  x  x  x  x  x
    policies                    x  x  x  x  x  x  x  x  x  x
    events                      x  .  .  .  .  .  .  .  x  x
    webhooks                    .  .  .  .  .  .  .  .  x  x
    signing_keys                .  .  .  .  .  .  .  .  x  x

                                sv cl cr re su st di co au ad
do
    put_party                   x  x  x  x  x  x  x  .  .  .
    erase_party                 .  .  .  .  .  .  .  .  .  x
    redrive_messages            .  .  .  .  x  .  .  .  .  x
    manage_webhooks             .  .  .  .  .  .  .  .  .  x
    enrol_keys                  .  .  .  .  .  .  .  .  .  x
"""


def cells(table: str) -> Iterator[tuple[str, str, str, bool]]:
    """Of a table: which section and line, which role, and whether it may."""
    section, columns = "", []
    for line in filter(None, map(str.rstrip, table.splitlines())):
        words = line.split()
        if set(words) <= set(COLUMNS):
            columns = words
        elif not line.startswith(" "):
            section = words[0]
        else:
            name, *marks = words
            assert len(marks) == len(columns) == len(COLUMNS), (
                f"{section} {name}: a mark is missing"
            )
            for column, mark in zip(columns, marks, strict=True):
                assert mark in "x."
                yield section, name, COLUMNS[column], mark == "x"


COMMAND_CELLS = list(cells(MATRIX))
"""Kind of case, command, role, and whether it may."""
