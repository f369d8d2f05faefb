"""Every repair command in every stage: what it causes, and why it is refused."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from lifecycles.decisions import Rejected
from lifecycles.lifecycle import plan
from lifecycles.repair import DECIDERS, possible
from lifecycles.repair_stages import ALLOWED
from schemas.envelope import DeadlinePassed
from schemas.repair import RepairState, Stage
from tests.lifecycles.repair_cases import (
    APP,
    COMMANDS,
    CONSENT,
    CREW,
    ESTATE,
    GAS,
    REPAIR,
    REPORT,
    SAMPLES,
    Case,
    accepted,
    closed,
    command,
    dispatched,
    fault,
    fixed,
    hours,
    linked,
    on_site,
    paused,
    reported,
    said,
    triaged,
    unhappy,
    working,
)

ACTIVE = "Reported Triaged Dispatched Accepted OnSite MadeSafe Working Paused"
LIVE = f"{ACTIVE} Fixed Inspected CallbackDue"
ENDED = "Closed Merged Transferred SolvedByPhone NotOurs NoFaultFound UnableToFix Cancelled"

CAUSES: Mapping[str, Mapping[str, str]] = {
    "ReportRepair": {
        "Unreported": "RepairReported CommitmentStarted:dispatch CommitmentStarted:attend"
        " CommitmentStarted:repair"
    },
    "TriageRepair": {"Reported Triaged": "RepairTriaged"},
    "SolveByPhone": {
        "Reported Triaged": "This kind of fault needs a visit; dispatch a crew (KUN-5.5.2)."
    },
    "DispatchCrew": {"Triaged": "CrewDispatched CommitmentMetLate:dispatch"},
    "AcceptJob": {"Dispatched": "JobAccepted"},
    "DeclineJob": {"Dispatched Accepted": "JobDeclined"},
    "ReassignJob": {
        "Dispatched Accepted OnSite MadeSafe Working": "JobReassigned",
        "Paused": "WorkResumed CommitmentResumed:repair JobReassigned",
    },
    "TakeCase": {
        "Reported Triaged Dispatched": "",
        "Accepted OnSite MadeSafe Working Paused Fixed Inspected CallbackDue": "OwnerChanged",
    },
    "HandOverCase": {LIVE: "OwnerChanged"},
    "BookAppointment": {
        "Reported Triaged Dispatched Accepted": "AppointmentBooked CommitmentReset:attend"
        " CommitmentReset:repair",
        "Paused": "The work is paused; resume it before you agree a time.",
    },
    "MoveAppointment": {
        "Reported Triaged Dispatched Accepted": "There is no appointment to move;"
        " use BookAppointment.",
        "Paused": "There is no appointment to move; use BookAppointment."
        " The work is paused; resume it before you agree a time.",
    },
    "RecordArrival": {
        "Dispatched Accepted": "CrewArrived CommitmentKept:attend",
        "Paused": "The work is paused; resume it first.",
    },
    "RecordNoAccess": {
        "Dispatched Accepted": "AccessFailed CommitmentKept:attend WorkPaused"
        " CommitmentPaused:repair",
        "OnSite": "AccessFailed WorkPaused CommitmentPaused:repair",
        "Paused": "The work is paused; resume it first.",
    },
    "MakeSafe": {"OnSite Working": "SiteMadeSafe"},
    "StartWork": {"OnSite MadeSafe": "WorkStarted"},
    "PauseWork": {
        "Reported Triaged Dispatched Accepted": "WorkPaused CommitmentPaused:attend"
        " CommitmentPaused:repair",
        "OnSite MadeSafe Working": "WorkPaused CommitmentPaused:repair",
    },
    "ResumeWork": {"Paused": "WorkResumed CommitmentResumed:repair"},
    "RequestParts": {"OnSite MadeSafe Working Paused": "PartsRequested"},
    "RecordPartsShipped": {
        "OnSite MadeSafe Working Paused": "No parts were requested; use RequestParts first."
    },
    "RecordPartsArrived": {
        "OnSite MadeSafe Working Paused": "No parts were requested; use RequestParts first."
    },
    "CompleteRepair": {
        "OnSite MadeSafe Working": "RepairCompleted CommitmentKept:repair CallbackDue"
        " CommitmentStarted:follow_up"
    },
    "PassInspection": {"Fixed": "InspectionPassed CallbackDue CommitmentStarted:follow_up"},
    "FailInspection": {"Fixed": "InspectionFailed CommitmentRestored:repair"},
    "RecordCallback": {"CallbackDue": "CallbackRecorded CommitmentKept:follow_up RepairClosed"},
    "ReopenCase": {
        "Closed NotOurs NoFaultFound UnableToFix Cancelled": "RepairReopened"
        " CommitmentRestored:repair",
        "SolvedByPhone": "RepairReopened CommitmentRestored:dispatch CommitmentRestored:attend"
        " CommitmentRestored:repair",
    },
    "TransferOut": {
        "Reported Triaged": "RepairTransferred CommitmentCancelled:dispatch"
        " CommitmentCancelled:attend CommitmentCancelled:repair",
        "Dispatched Accepted": "RepairTransferred CommitmentCancelled:attend"
        " CommitmentCancelled:repair",
        "OnSite MadeSafe Working Paused": "RepairTransferred CommitmentCancelled:repair",
    },
    "RecordTransferReturned": {"Transferred": "TransferReturned CommitmentRestored:repair"},
    "MergeInto": {ACTIVE: "MergeRequested"},
    "SplitOut": {
        ACTIVE: "It is neither merged into another case nor linked to a fault.",
        "Merged": "ReportSplit CommitmentRestored:attend CommitmentRestored:repair",
    },
    "LinkToFault": {ACTIVE: "LinkRequested"},
    "AdoptReport": {ACTIVE: "ReportAdopted"},
    "ReleaseReport": {f"{LIVE} {ENDED}": ""},
    "RecordFaultCleared": {ACTIVE: "It is not linked to this fault."},
    "PostGuard": {"Reported Triaged Dispatched Accepted Paused": "GuardPosted"},
    "AnnounceInterruption": {ACTIVE: "InterruptionAnnounced"},
    "ReportNoFault": {"OnSite MadeSafe Working": "NoFaultReported CommitmentCancelled:repair"},
    "DeclareNotOurs": {
        "Reported Triaged": "DeclaredNotOurs CommitmentCancelled:dispatch"
        " CommitmentCancelled:attend CommitmentCancelled:repair",
        "Dispatched Accepted": "DeclaredNotOurs CommitmentCancelled:attend"
        " CommitmentCancelled:repair",
        "OnSite MadeSafe Working Paused": "DeclaredNotOurs CommitmentCancelled:repair",
    },
    "DeclareUnableToFix": {
        "OnSite MadeSafe Working Paused": "DeclaredUnableToFix CommitmentCancelled:repair"
    },
    "CancelRepair": {
        "Reported Triaged": "RepairCancelled CommitmentCancelled:dispatch"
        " CommitmentCancelled:attend CommitmentCancelled:repair",
        "Dispatched Accepted": "RepairCancelled CommitmentCancelled:attend"
        " CommitmentCancelled:repair",
        "OnSite MadeSafe Working Paused": "RepairCancelled CommitmentCancelled:repair",
    },
    "DeadlinePassed": {f"{LIVE} {ENDED}": ""},
    "RecordAnswer": {f"{LIVE} {ENDED}": ""},
}
"""By command and stages, for the samples: the events, or the sentence that refuses it."""

ALREADY_SO: Mapping[str, str] = {
    "SolveByPhone": "SolvedByPhone",
    "AcceptJob": "Accepted",
    "TakeCase": "SolvedByPhone",
    "RecordArrival": "OnSite",
    "MakeSafe": "MadeSafe",
    "StartWork": "Working",
    "ResumeWork": f"{LIVE} {ENDED}".replace("Paused ", ""),
    "CompleteRepair": "Fixed Inspected CallbackDue",
    "PassInspection": "Inspected",
    "RecordCallback": "Closed",
    "ReportNoFault": "NoFaultFound",
    "DeclareNotOurs": "NotOurs",
    "DeclareUnableToFix": "UnableToFix",
    "CancelRepair": "Cancelled",
}
"""Stages that admit a command no more because what it asks has come about."""


@cache
def sample(stage: Stage) -> RepairState:
    return SAMPLES[stage]().state


def expected(stage: Stage, name: str) -> str | None:
    """What the tables say; None where the stage does not admit the command."""
    for stages, caused in CAUSES[name].items():
        if stage in stages.split():
            return caused
    return "" if stage in ALREADY_SO.get(name, "").split() else None


def test_there_is_a_sample_of_every_stage_and_every_command() -> None:
    assert [sample(stage).stage for stage in Stage] == list(Stage)
    assert list(COMMANDS) == list(CAUSES) == list(ALLOWED)
    assert [kind.__name__ for kind in DECIDERS] == list(ALLOWED)


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("name", COMMANDS)
def test_each_stage_admits_what_the_table_says_and_refuses_the_rest(
    stage: Stage, name: str
) -> None:
    case = Case(state=sample(stage))
    case.wait(5)
    before = case.state
    wanted = expected(stage, name)
    if wanted is None or wanted.endswith("."):
        reasons = case.refusal(name, 5, **COMMANDS[name])
        assert case.state == before, "a refused command changed the case"
        if wanted is None:
            assert stage not in ALLOWED[name]
            assert reasons[0] == not_possible(stage, name, before)
        else:
            assert " ".join(reasons) == wanted
    else:
        caused = case.do(name, 5, **COMMANDS[name])
        assert caused == [word.replace(":", " ") for word in wanted.split()]
        assert caused == [] or stage in ALLOWED[name]


def not_possible(stage: Stage, name: str, state: RepairState) -> str:
    if stage == Stage.UNREPORTED:
        return "There is no such case yet; report the repair first."
    if name == "ReportRepair":
        return "This case is reported already; report another fault under a new case."
    return f"{name} is not possible at stage {stage}; possible now: {', '.join(possible(state))}."


def test_a_refusal_names_what_people_may_do_and_not_what_cases_say_among_themselves() -> None:
    assert possible(sample(Stage.MERGED)) == ("SplitOut",)
    assert possible(sample(Stage.TRANSFERRED)) == ("RecordTransferReturned",)
    for stage in Stage:
        among_cases = {"AdoptReport", "ReleaseReport", "RecordFaultCleared", "RecordAnswer"}
        assert not among_cases & {*possible(sample(stage))}
        assert "DeadlinePassed" not in possible(sample(stage))


@pytest.mark.parametrize(
    ("start", "name", "body"),
    [
        (reported, "TriageRepair", {"category": "meter", "severity": "major"}),
        (lambda: reported(category="ic-card"), "SolveByPhone", {"solution": "card-cleaned"}),
        (triaged, "DispatchCrew", {"crew": "crew-1"}),
        (dispatched, "AcceptJob", {"crew": "crew-1"}),
        (accepted, "ReassignJob", {"crew": "crew-2", "reason": "nearer"}),
        (accepted, "TakeCase", {}),
        (accepted, "HandOverCase", {"to": {"kind": "person", "id": "c-2"}, "reason": "leave"}),
        (accepted, "BookAppointment", {"start": hours(9), "end": hours(10), "consent": CONSENT}),
        (accepted, "RecordArrival", {"crew": "crew-1"}),
        (on_site, "MakeSafe", {"evidence": "photo/1"}),
        (on_site, "StartWork", {}),
        (working, "PauseWork", {"reason": "awaiting_parts", "evidence": "photo/1"}),
        (paused, "ResumeWork", {}),
        (working, "RequestParts", {"parts": ["valve"], "stock": "elsewhere"}),
        (working, "CompleteRepair", {"work": ["valve"]}),
        (SAMPLES[Stage.FIXED], "CompleteRepair", {"work": ["valve"]}),
        (SAMPLES[Stage.FIXED], "PassInspection", {"evidence": "photo/4"}),
        (fixed, "RecordCallback", {"party": "party-1", "result": "no_consent"}),
        (accepted, "TransferOut", {"to": "water", "reference": "letter/1"}),
        (accepted, "MergeInto", {"case": "repair-3"}),
        (accepted, "LinkToFault", {"fault": "repair-3"}),
        (accepted, "AdoptReport", COMMANDS["AdoptReport"]),
        (linked, "RecordFaultCleared", {"fault": "repair-2", "cleared_at": hours(4)}),
        (accepted, "PostGuard", {"guard": "guard-1"}),
        (accepted, "AnnounceInterruption", COMMANDS["AnnounceInterruption"]),
        (on_site, "ReportNoFault", {"evidence": "photo/1"}),
        (accepted, "DeclareNotOurs", {"reason": "boiler", "channel": "maker"}),
        (on_site, "DeclareUnableToFix", {"reason": "no-part", "channel": "maker"}),
        (accepted, "CancelRepair", {"reason": "mistake"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_doing_again_what_is_done_causes_nothing(start: Any, name: str, body: Any) -> None:
    case: Case = start()
    if case.state.stage == Stage.FIXED and name == "CompleteRepair":
        assert case.do(name, 5, **body) == []
    else:
        assert case.do(name, 5, **body) != []
    assert case.do(name, 5.1, **body) == []


def test_moving_an_appointment_to_where_it_is_causes_nothing() -> None:
    case = accepted()
    times: dict[str, Any] = {"start": hours(9), "end": hours(10), "consent": CONSENT}
    case.do("BookAppointment", 1, **times)
    assert case.do("MoveAppointment", 2, reason="storm", **times) == []


def test_a_transfer_to_yet_another_organisation_is_not_taken_for_the_first() -> None:
    case = accepted()
    case.do("TransferOut", 1, to="water", reference="letter/1")
    assert case.refusal("TransferOut", 2, to="heating", reference="letter/2")


def test_the_same_waybill_is_recorded_once() -> None:
    case = working()
    case.do("RequestParts", 2, parts=["valve"], stock="elsewhere")
    assert case.do("RecordPartsShipped", 3, waybill="waybill/1") == ["PartsShipped"]
    assert case.do("RecordPartsShipped", 4, waybill="waybill/1") == []
    assert case.do("RecordPartsShipped", 5, waybill="waybill/2") == ["PartsShipped"]
    assert case.do("RecordPartsArrived", 6) == ["PartsArrived"]


# All reasons at once (ADM-4)


def test_ADM_4_a_report_is_refused_with_every_reason_at_once() -> None:
    case = Case()
    reasons = case.refusal(
        "ReportRepair", 2, told=1, **{**REPORT, "party": None, "recorded": ["name"]}
    )
    assert reasons == [
        "This lies in the future; leave out `occurred_at` or correct it.",
        "Record who reports it: a party is needed (KUN-5.5.1).",
        "Record the customer's address, phone (KUN-5.5.1).",
    ]


def test_ADM_4_a_late_arrival_is_refused_with_every_reason_at_once() -> None:
    assert paused().refusal("RecordArrival", -1, told=3, crew="crew-2") == [
        "This lies before the report of the case; correct `occurred_at`.",
        "Another crew has this job; reassign it first.",
        "This cannot have happened before the crew was dispatched; correct `occurred_at`.",
        "The work is paused; resume it first.",
        "This cannot have happened before it was paused; correct `occurred_at`.",
    ]


def test_ADM_4_a_bad_appointment_is_refused_with_every_reason_at_once() -> None:
    booked = accepted()
    booked.do("BookAppointment", 1, start=hours(9), end=hours(10), consent=CONSENT)
    assert booked.refusal("BookAppointment", 3, start=hours(2), end=hours(1), consent=CONSENT) == [
        "There is an appointment already; use MoveAppointment (KUN-7.1.4).",
        "The appointment must end after it starts.",
        "The appointment must lie ahead.",
    ]
    far = accepted().refusal("BookAppointment", 3, start=hours(4), end=hours(9000), consent=CONSENT)
    assert far == ["The appointment must end within 366 days."]


def test_ADM_4_a_callback_is_refused_with_every_reason_at_once() -> None:
    reasons = closed().refusal(
        "RecordCallback", 2, told=5, party="party-1", consent=False, result="not_satisfied"
    )
    assert reasons[0].startswith("RecordCallback is not possible at stage Closed;")
    assert reasons[1:] == [
        "This cannot have happened before the repair was completed; correct `occurred_at`.",
        "This party's follow-up is done.",
        "A call begins by asking consent: with consent it has a result,"
        " without it the result is no_consent (KUN-5.6).",
    ]


@pytest.mark.parametrize(
    ("start", "name", "body", "reason"),
    [
        (Case, "ReportRepair", {**REPORT, "category": "weather"}, "The category is unknown; this"),
        (reported, "TriageRepair", {"category": "x", "severity": "minor"}, "The category is unkno"),
        (accepted, "ReassignJob", {"crew": "crew-1", "reason": "x"}, "This crew has the job alre"),
        (accepted, "PauseWork", {"reason": "tired", "evidence": "x"}, "The policy allows no pause"),
        (accepted, "MergeInto", {"case": "repair-1"}, "A case cannot take in itself; name another"),
        (accepted, "LinkToFault", {"fault": "arrears-1"}, "Only a repair case can take in a repai"),
        (fixed, "RecordCallback", {"party": "party-9", "result": "unreachable"}, "This party is n"),
        (accepted, "AnnounceInterruption", {"start": hours(50), "end": hours(49), "reason": "x"},
         "The interruption must end after it starts."),
        (accepted, "AdoptReport", {"case": "repair-9", "how": "link", "reported_at": hours(0)},
         "Only a network fault takes in linked reports; merge it instead."),
        (accepted, "AdoptReport", {"case": "repair-9", "how": "merge", "reported_at": hours(99)},
         "The report lies in the future; correct `reported_at`."),
        (accepted, "AdoptReport",
         {"case": "repair-9", "how": "merge", "reported_at": "0001-01-02T00:00:00Z"},
         "The report lies before 1970; correct `reported_at`."),
        (linked, "RecordFaultCleared", {"fault": "repair-2", "cleared_at": hours(99)},
         "The clearing lies in the future; correct `cleared_at`."),
        (linked, "TriageRepair", {"category": "meter", "severity": "major"},
         "TriageRepair is not possible at stage Accepted;"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_do(start: Any, name: str, body: Any, reason: str) -> None:
    assert start().refusal(name, 5, **body)[0].startswith(reason)


@pytest.mark.parametrize(
    ("start", "name", "body", "what"),
    [
        (dispatched, "AcceptJob", {"crew": "crew-1"}, "the crew was dispatched"),
        (dispatched, "DeclineJob", {"crew": "crew-1", "reason": "x"}, "the crew was dispatched"),
        (dispatched, "RecordArrival", {"crew": "crew-1"}, "the crew was dispatched"),
        (dispatched, "RecordNoAccess", COMMANDS["RecordNoAccess"], "the crew was dispatched"),
        (on_site, "MakeSafe", {"evidence": "x"}, "the crew arrived"),
        (on_site, "StartWork", {}, "the crew arrived"),
        (paused, "ResumeWork", {}, "it was paused"),
        (paused, "ReassignJob", {"crew": "crew-2", "reason": "x"}, "it was paused"),
        (SAMPLES[Stage.FIXED], "PassInspection", {"evidence": "x"}, "the repair was completed"),
        (SAMPLES[Stage.FIXED], "FailInspection", COMMANDS["FailInspection"], "the repair was"),
    ],
)
def test_a_fact_that_comes_late_cannot_have_happened_before_its_cause(
    start: Any, name: str, body: Any, what: str
) -> None:
    (reason,) = start().refusal(name, 0.01, told=5, **body)
    assert reason.startswith(f"This cannot have happened before {what}")


@pytest.mark.parametrize(
    ("start", "name", "at", "reason"),
    [
        (on_site, "CompleteRepair", 0.9, "It cannot be repaired before the crew arrived"),
        (closed, "ReopenCase", 3.9, "It cannot be reopened before it ended"),
        (SAMPLES[Stage.TRANSFERRED], "RecordTransferReturned", 1, "It cannot come back before it"),
    ],
)
def test_nothing_ends_or_returns_before_it_could(
    start: Any, name: str, at: float, reason: str
) -> None:
    assert start().refusal(name, at, told=5, **COMMANDS[name])[0].startswith(reason)


def test_a_case_that_does_not_exist_says_so_whatever_is_asked() -> None:
    assert Case().refusal("AcceptJob", 9, told=5, crew="crew-1") == [
        "There is no such case yet; report the repair first.",
        "This lies in the future; leave out `occurred_at` or correct it.",
    ]


# Bad input


def test_bad_input_is_refused_as_a_whole_and_without_repeating_it() -> None:
    raw = {
        "id": "#",
        "actor": {"subject": "clerk-1", "role": "clerk", "proof": "token"},
        "occurred_at": "2026-03-02T08:00:00",
        "body": {"type": "AcceptJob", "crew": "Zhang San", "phone": "13800000000"},
    }
    with pytest.raises(Rejected) as refused:
        REPAIR.command(raw)
    text = " ".join(refused.value.reasons)
    assert [r.partition(":")[0] for r in refused.value.reasons] == [
        "id",
        "occurred_at",
        "body.AcceptJob.crew",
        "body.AcceptJob.phone",
    ]
    assert "needs a time zone" in text
    assert "13800000000" not in text
    assert "Zhang" not in text


def test_an_unknown_command_is_told_the_known_ones() -> None:
    with pytest.raises(Rejected, match=r"unknown type; known: .*'AcceptJob'"):
        command("AcceptJobs", crew="crew-1")


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+08:00", "9999-12-31T23:59:59-08:00"])
def test_a_time_beyond_the_calendar_is_refused_and_never_crashes(time: str) -> None:
    with pytest.raises(Rejected):
        command("BookAppointment", start=time, end=hours(2), consent=CONSENT)


@pytest.mark.parametrize("time", ["0001-01-02T00:00:00Z", "1969-12-31T23:59:59Z"])
@pytest.mark.parametrize("policy", ["gas", "water", "estate"])
def test_a_report_from_before_our_time_is_refused(time: str, policy: str) -> None:
    raw = command("ReportRepair", **REPORT).model_dump(mode="json") | {"occurred_at": time}
    with pytest.raises(Rejected, match="before 1970"):
        REPAIR.decide(Case().state, REPAIR.command(raw), hours(0))


def test_a_time_at_the_end_of_the_calendar_is_refused_and_never_crashes() -> None:
    end = "9999-12-30T00:00:00Z"
    assert accepted().refusal("BookAppointment", 1, start=hours(2), end=end, consent=CONSENT)
    raw = command("CompleteRepair", work=["valve"]).model_dump(mode="json") | {"occurred_at": end}
    with pytest.raises(Rejected, match="in the future"):
        REPAIR.decide(working().state, REPAIR.command(raw), hours(5))


def test_what_would_be_refused_anyhow_is_not_offered() -> None:
    case = accepted()
    absent = {"MoveAppointment", "SplitOut", "RecordPartsShipped", "RecordPartsArrived"}
    assert not absent & {*possible(case.state)}
    start, end = hours(10).isoformat(), hours(12).isoformat()
    case.do("BookAppointment", 1, start=start, end=end, consent=CONSENT)
    assert "MoveAppointment" in possible(case.state)
    assert "BookAppointment" not in possible(case.state)


# The clock's own command


def test_nobody_can_make_a_deadline_pass_before_its_time() -> None:
    with pytest.raises(Rejected, match="in the future"):
        REPAIR.decide(reported().state, command("DeadlinePassed", at=hours(30)), hours(1))


def test_a_deadline_that_somebody_made_up_does_no_harm() -> None:
    case = accepted()
    sent = command("DeadlinePassed", at=hours(0.5))
    made = plan(REPAIR, case.state, case.version, [sent], hours(0.5))
    assert made.refused == []
    assert made.state == case.state


def test_deadlines_between_two_commands_pass_in_order_of_time_and_under_names_of_their_own() -> (
    None
):
    case = dispatched()
    sent = [
        command("AcceptJob", 5, id="a", crew="crew-1"),
        command("RecordArrival", 7, id="b", crew="crew-1"),
    ]
    made = plan(REPAIR, case.state, 7, sent, hours(8))
    assert [(step.command.id, " ".join(said(step.events))) for step in made.steps] == [
        (
            "deadline/7/2026-03-02T04:48:00+00:00",
            "EscalationRaised attend EscalationRaised attend",
        ),
        ("a", "JobAccepted"),
        (
            "deadline/10/2026-03-02T06:00:00+00:00",
            "CommitmentBroken attend EscalationRaised attend",
        ),
        ("b", "CrewArrived CommitmentMetLate attend"),
    ]
    clock = [s for s in made.steps if isinstance(s.command.body, DeadlinePassed)]
    assert [s.events[-1].at for s in clock] == [s.command.body.at for s in clock]
    assert [event.at for event in clock[0].events] == [hours(3), hours(4.8)]
    assert made.version == 7 + 7


def test_a_refusal_does_not_stop_the_others() -> None:
    case = dispatched()
    sent = [
        command("MakeSafe", 0.5, id="a", evidence="photo/1"),
        command("AcceptJob", 0.5, id="b", crew="crew-1"),
    ]
    made = plan(REPAIR, case.state, 7, sent, hours(1))
    assert [refused.id for refused, _ in made.refused] == ["a"]
    assert made.state.stage == Stage.ACCEPTED


# Reopening, coming back


def test_an_unhappy_customer_brings_the_case_back_to_the_unit_without_a_crew() -> None:
    case = unhappy()
    assert case.state.stage == Stage.TRIAGED
    assert case.state.crew is None
    assert case.state.owners[-1].owner.id == GAS.policy.repair.intake_unit
    assert [f.result for f in case.state.follow_ups] == [None]
    case.do("DispatchCrew", 5, crew="crew-2")
    case.do("RecordArrival", 6, crew="crew-2")
    assert case.do("CompleteRepair", 7, work=["valve"])[0] == "RepairCompleted"


def test_a_reassigned_job_goes_on_with_the_other_crew_even_out_of_a_pause() -> None:
    case = paused()
    case.do("ReassignJob", 5, crew="crew-2", reason="nearer")
    assert case.state.stage == Stage.DISPATCHED
    assert case.state.crew == "crew-2"
    assert case.state.pause_ends is None
    assert case.do("RecordArrival", 6, crew="crew-2") == ["CrewArrived"]


def test_a_transferred_case_comes_back_to_where_it_was_and_not_into_a_pause() -> None:
    case = paused()
    case.do("TransferOut", 5, to="water", reference="letter/1")
    case.do("RecordTransferReturned", 30, reason="theirs")
    assert case.state.stage == Stage.WORKING


def test_a_case_can_end_only_so_long_ago_to_be_reopened() -> None:
    case = closed()
    (reason,) = case.refusal("ReopenCase", 4 + 30 * 24 + 0.1, reason="again")
    assert reason == "It ended more than 30 days ago: report a new repair instead."
    assert case.do("ReopenCase", 4 + 30 * 24, reason="again")[0] == "RepairReopened"


def test_a_retriage_changes_the_promises_and_keeps_the_clock() -> None:
    case = fault(id="repair-1")
    assert [(c.rule, c.due) for c in case.state.commitments] == [("KUN-2.2.3a", hours(4))]
    caused = case.do("TriageRepair", 1, category="pipe-leak", severity="major")
    assert caused == ["RepairTriaged", "CommitmentCancelled clear", "CommitmentStarted clear-2"]
    assert case.promise("clear-2").start == hours(0)
    assert case.promise("clear-2").due == hours(24)


def test_a_report_taken_by_a_service_belongs_to_the_unit_until_a_person_takes_it() -> None:
    case = reported(channel="app", actor=APP)
    assert case.state.owners[-1].owner.model_dump() == {"kind": "unit", "id": "gas-control-room"}
    case.do("TakeCase", 0.1)
    assert case.state.owners[-1].owner.model_dump() == {"kind": "person", "id": "clerk-1"}
    assert reported().state.owners[-1].owner.kind == "person"
    assert accepted().state.owners[-1].owner.id == CREW.subject


def test_a_case_has_one_story_and_one_summary_at_every_stage() -> None:
    for stage in Stage:
        state = sample(stage)
        summary = REPAIR.summary(state)
        assert summary.stage == stage
        assert summary.final == (stage in ENDED.split())
        assert summary.next_deadline_at == REPAIR.next_deadline(state)
        assert (summary.owner is None) == (stage == Stage.UNREPORTED)
        assert str(stage) in REPAIR.story(state)


def test_a_case_with_something_to_ask_is_not_over() -> None:
    case = accepted(policy=ESTATE, category="heating")
    case.do("MergeInto", 1, case="repair-2")
    case.do("CancelRepair", 2, reason="mistake")
    assert REPAIR.summary(case.state).final is False
    case.answer(case.state.requests[0], 3, "It is closed.")
    assert REPAIR.summary(case.state).final is True
