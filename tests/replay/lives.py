"""The lives whose histories are kept: between them, every path through the interpreter.

Each is told at a desk of its own, whose name is in its cases' names.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from temporalio import activity
from temporalio.client import WorkflowFailureError, WorkflowUpdateFailedError

from activities.cases import Conflict
from activities.database import DatabaseUnavailable
from activities.event_log import EventLog
from gateway.policies import content_of
from lifecycles.assessment_runs import half_year_before
from lifecycles.decisions import Rejected
from lifecycles.policies import pinned
from schemas.archive import register_id
from schemas.base import SYSTEM
from schemas.conduct import conduct_id
from schemas.envelope import AppendRequest, AppendResult
from schemas.satisfaction import SatisfactionReport
from tests.workflows.conftest import POLICIES
from tests.workflows.desk import ORGANISATION, Desk, ago, any_day, until, visit_on

LIVES: dict[str, Callable[[Desk], Awaitable[None]]] = {}
COMMON: dict[str, Any] = {"category": "no-gas", "severity": "common"}
SATISFIED: dict[str, Any] = {"party": "party-1", "consent": True, "result": "satisfied"}
SUPERVISOR = {"kind": "role", "id": "supervisor"}
DAY = timedelta(days=1)


class FalteringLog(EventLog):
    """A log that some cases do not reach."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        super().__init__(pool)
        self.away: set[str] = set()

    @activity.defn(name="append_events")
    async def append_events(self, request: AppendRequest) -> AppendResult:
        if request.stream in self.away:
            raise DatabaseUnavailable("PostgreSQL could not be reached.")
        return await super().append_events(request)


def life(tell: Callable[[Desk], Awaitable[None]]) -> Callable[[Desk], Awaitable[None]]:
    LIVES[tell.__name__.replace("_", "-")] = tell
    return tell


async def answered(desk: Desk, *case_ids: str) -> None:
    """Until no case waits for another's answer."""

    async def no_requests() -> bool:
        states = [await desk.handle(case_id).query("state") for case_id in case_ids]
        return not any(state["requests"] for state in states)

    await until(no_requests)


async def on_site(desk: Desk, **report: Any) -> str:
    case_id = await desk.opened(**report)
    await desk.send(
        case_id, "TriageRepair", **{**COMMON, **{k: report[k] for k in report if k in COMMON}}
    )
    await desk.send(case_id, "DispatchCrew", crew="k-1")
    await desk.send(case_id, "AcceptJob", crew="k-1")
    await desk.send(case_id, "RecordArrival", crew="k-1")
    return case_id


@life
async def on_time(desk: Desk) -> None:
    case_id = await on_site(desk)
    await desk.send(case_id, "MakeSafe", evidence="photo-1")
    await desk.send(case_id, "StartWork")
    await desk.send(case_id, "CompleteRepair", work=["valve"], evidence=["photo-2"])
    await desk.send(case_id, "RecordCallback", party="party-1", result="unreachable")
    await desk.send(case_id, "RecordCallback", **SATISFIED)


@life
async def untouched(desk: Desk) -> None:
    case_id = await desk.opened()
    await desk.later(case_id, 5 * DAY)


@life
async def no_access(desk: Desk) -> None:
    case_id = await desk.opened()
    await desk.send(case_id, "TriageRepair", **COMMON)
    await desk.send(case_id, "DispatchCrew", crew="k-1")
    for n in (1, 2):
        visit: dict[str, Any] = {"start": ago(days=-n), "end": ago(days=-n, hours=-2)}
        kind = "BookAppointment" if n == 1 else "MoveAppointment"
        more: dict[str, Any] = {} if n == 1 else {"reason": "rain"}
        await desk.send(case_id, kind, consent=f"call-{n}", **visit, **more)
    await desk.later(case_id, 3 * DAY)  # we do not come
    for n in (1, 2):
        await desk.send(
            case_id, "RecordNoAccess", crew="k-1", reason="nobody_in", evidence=f"card-{n}"
        )
    await desk.later(case_id, 8 * DAY)  # nobody answers: the case ends


@life
async def paused(desk: Desk) -> None:
    case_id = await on_site(desk)
    await desk.send(case_id, "RequestParts", parts=["valve"], stock="elsewhere")
    await desk.send(case_id, "PauseWork", reason="awaiting_parts", evidence="slip-1")
    await desk.send(case_id, "RecordPartsShipped", waybill="way-1")
    await desk.later(case_id, DAY)
    await desk.send(case_id, "RecordPartsArrived")
    await desk.send(case_id, "ResumeWork")
    await desk.send(case_id, "PauseWork", reason="customer_request", evidence="call-1")
    await desk.later(case_id, 15 * DAY)  # as long as the policy lets it wait
    await desk.send(case_id, "CompleteRepair", work=["valve"], warranty_parts=["valve"])


@life
async def unhappy(desk: Desk) -> None:
    case_id = await on_site(desk, severity="hazard", priority=True)
    await desk.send(case_id, "CompleteRepair", work=["valve"])
    await desk.send(case_id, "FailInspection", reason="leaks", evidence="photo-1")
    for n in (2, 3):
        await desk.send(case_id, "CompleteRepair", work=["valve"])
        await desk.send(case_id, "PassInspection", evidence=f"photo-{n}")
        await desk.send(case_id, "RecordCallback", **{**SATISFIED, "result": "not_satisfied"})
        await desk.send(case_id, "DispatchCrew", crew=f"k-{n}")
        await desk.send(case_id, "RecordArrival", crew=f"k-{n}")


@life
async def declined(desk: Desk) -> None:
    case_id = await desk.opened()
    await desk.send(case_id, "TriageRepair", **COMMON)
    await desk.send(case_id, "PostGuard", guard="g-1")
    await desk.send(case_id, "DispatchCrew", crew="k-1")
    await desk.send(case_id, "DeclineJob", crew="k-1", reason="no_tools")
    await desk.send(case_id, "DispatchCrew", crew="k-2")
    await desk.send(case_id, "ReassignJob", crew="k-3", reason="nearer")
    await desk.later(case_id, timedelta(minutes=30))
    await desk.cases.send(case_id, desk.command("TakeCase", by="supervisor"))
    await desk.send(case_id, "HandOverCase", to={"kind": "unit", "id": "depot"}, reason="shift")
    await desk.send(
        case_id, "AnnounceInterruption", start=ago(days=-7), end=ago(days=-8), reason="works"
    )
    await desk.send(case_id, "AcceptJob", crew="k-3")


@life
async def exits(desk: Desk) -> None:
    solved = await desk.opened(category="ic-card")
    await desk.send(solved, "SolveByPhone", solution="card_reset")
    ours_no_longer = await desk.opened()
    await desk.send(ours_no_longer, "DeclareNotOurs", reason="inside_pipe", channel="plumber")
    await desk.handle(ours_no_longer).result()
    await desk.send(ours_no_longer, "ReopenCase", reason="ours_after_all")
    await desk.send(ours_no_longer, "CancelRepair", reason="withdrawn")
    sound = await on_site(desk)
    await desk.send(sound, "ReportNoFault", evidence="photo-1")
    hopeless = await on_site(desk)
    await desk.send(hopeless, "DeclareUnableToFix", reason="no_parts", channel="maker")
    away = await desk.opened()
    await desk.send(away, "TransferOut", to="water-works", reference="letter-1")
    await desk.handle(away).result()
    await desk.send(away, "RecordTransferReturned", reason="not_theirs")


@life
async def merged(desk: Desk) -> None:
    first, double = await desk.opened(), await desk.opened(party="party-2", at=ago(hours=1))
    await desk.send(double, "MergeInto", case=first)
    await desk.handle(double).result()
    await desk.send(double, "SplitOut", reason="another_fault")
    await answered(desk, double)
    await asyncio.gather(
        desk.send(double, "MergeInto", case=first), desk.send(first, "MergeInto", case=double)
    )
    await answered(desk, first, double)


@life
async def linked(desk: Desk) -> None:
    fault = await desk.opened(category="main-leak", channel="patrol", party=None)
    reports = [await desk.opened(party=f"party-{n}") for n in (1, 2)]
    for report in reports:
        await desk.send(report, "LinkToFault", fault=fault)
    await answered(desk, *reports)
    await desk.send(reports[1], "SplitOut", reason="another_fault")
    await desk.send(fault, "CompleteRepair", work=["clamp"])
    await desk.handle(fault).result()
    await desk.send(reports[1], "LinkToFault", fault=fault)
    await answered(desk, *reports)


@life
async def refused(desk: Desk) -> None:
    case_id = await desk.opened()
    handle = desk.handle(case_id)
    taken = desk.command("TakeCase", by="supervisor")
    with suppress(Rejected):
        await desk.send(case_id, "StartWork")
    with suppress(WorkflowUpdateFailedError):
        await handle.execute_update("command", {"id": 7})
    for raw in (desk.command("StartWork"), {"id": 7}, taken, taken):
        await handle.signal("submit", raw)
    await handle.signal("submit", args=[])
    await desk.cases.send(case_id, taken)
    with suppress(Conflict):
        await desk.cases.send(case_id, desk.command("StartWork", id=taken["id"]))
    await handle.signal("submit", desk.command("StartWork", id=taken["id"]))
    await asyncio.gather(
        *(desk.send(case_id, kind) for kind in ("TakeCase", "StartWork", "ResumeWork")),
        return_exceptions=True,
    )


@life
async def told_late(desk: Desk) -> None:
    start = ago(days=40)
    whole, part = desk.name(), desk.name()
    commands = [
        desk.report(at=start),
        desk.command("TriageRepair", at=start + DAY / 100, **COMMON),
        desk.command("DispatchCrew", at=start + DAY / 4, crew="k-1"),
        desk.command("RecordArrival", at=start + DAY / 3, crew="k-1"),
        desk.command("CompleteRepair", at=start + 2 * DAY, work=["valve"]),
        desk.command("RecordCallback", at=start + 3 * DAY, **SATISFIED),
    ]
    await desk.cases.open_with_history(whole, desk.policy, commands)
    await desk.cases.open_with_history(part, desk.policy, [desk.report(at=ago(hours=3))])
    await desk.send(part, "TriageRepair", at=ago(hours=2), **COMMON)
    await desk.send(part, "DispatchCrew", at=ago(hours=2.9), crew="k-1")  # withdraws a breach
    await desk.later(part, DAY / 2)


@life
async def behind(desk: Desk) -> None:
    case_id = await desk.opened()
    await desk.append(case_id, desk.command("TriageRepair", **COMMON))
    await desk.send(case_id, "DispatchCrew", crew="k-1")
    await desk.reset(case_id, 0, reapply=True)
    await desk.send(case_id, "AcceptJob", crew="k-1")
    await desk.reset(case_id, 1, reapply=False)
    await desk.send(case_id, "RecordArrival", crew="k-1")
    await desk.handle(case_id).terminate()
    await desk.send(case_id, "CompleteRepair", work=["valve"])
    await desk.append(case_id, desk.command("RecordCallback", **SATISFIED))
    with suppress(Rejected):
        await desk.send(case_id, "StartWork")


@life
async def continued(desk: Desk) -> None:
    case_id = await desk.opened()
    for n in range(60):
        owner = {"kind": "person", "id": f"c-{n}"}
        await desk.send(case_id, "HandOverCase", to=owner, reason="shift")


@life
async def out_of_reach(desk: Desk) -> None:
    """Postgres is away for so long that the workflow waits with timers."""
    case_id = await desk.opened()
    assert isinstance(desk.log, FalteringLog)
    desk.log.away.add(case_id)
    sent = asyncio.create_task(desk.send(case_id, "TakeCase"))
    await asyncio.sleep(15)
    desk.log.away.clear()
    await sent


@life
async def unborn(desk: Desk) -> None:
    nothing, refused_report, invalid = desk.name(), desk.name(), desk.name()
    for case_id, argument in (
        (nothing, desk.opening(nothing)),
        (refused_report, desk.opening(refused_report, [desk.report(party=None)])),
        (invalid, {"case_id": 7}),
    ):
        with suppress(WorkflowFailureError):
            await (await desk.start(case_id, argument)).result()


def choice(state: dict[str, Any]) -> dict[str, Any]:
    """The approval that is asked for, as somebody decides it."""
    asked = next(a for a in state["approvals"] if a["state"] == "requested")
    return {"approval": asked["id"], "facts_hash": asked["facts_hash"]}


async def struck(desk: Desk, staff: str, **finding: Any) -> str:
    """A complaint upheld about somebody, whose file knows it."""
    case_id = await desk.investigating(staff)
    await desk.found(case_id, staff, **finding)
    await answered(desk, case_id)
    return case_id


@life
async def complained(desk: Desk) -> None:
    """More time asked for and given, the customer asked, answered, redone, called, appealed."""
    case_id = await desk.investigating()
    await desk.send(case_id, "AskCustomer", question="letter-1")
    await desk.send(case_id, "RecordCustomerReply", evidence="letter-2")
    wanted: dict[str, Any] = {
        "until": ago(days=-4).isoformat(),
        "reason": "lab",
        "evidence": "memo-1",
    }
    await desk.send(case_id, "RequestExtension", **wanted)
    asked = choice(await desk.handle(case_id).query("state"))
    until_then = ago(days=-9).isoformat()
    await desk.send(
        case_id,
        "DelegateApproval",
        by="supervisor",
        approval=asked["approval"],
        to="deputy-1",
        until=until_then,
        reason="leave",
    )
    yes: dict[str, Any] = {"decision": "approve", "on_behalf_of": "supervisor-1", **asked}
    await desk.send(case_id, "DecideApproval", by="clerk", who="deputy-1", **yes)
    await desk.send(case_id, "AskCustomer", question="letter-3")
    await desk.later(case_id, 4 * DAY)  # no reply
    await desk.send(case_id, "EscalateComplaint", to=SUPERVISOR, reason="hard")
    no: dict[str, Any] = {"outcome": "not_upheld", "answer": "letter-4", "reason": "no_ground"}
    await desk.send(case_id, "AnswerComplaint", **no)
    await desk.send(case_id, "OrderRedo", by="supervisor", reason="unclear")
    await desk.send(case_id, "StartInvestigation")
    await desk.send(case_id, "AnswerComplaint", **no)
    await desk.send(case_id, "RecordFollowUp", consent=True, result="not_satisfied")
    await desk.send(case_id, "AppealComplaint", ground="wrong", evidence="letter-5")
    confirmed: dict[str, Any] = {"reason": "right", "answer": "letter-6"}
    await desk.send(case_id, "ConfirmDecision", by="division_head", **confirmed)
    await desk.send(case_id, "ReferExternal", body="ombudsman", reference="letter-7")


@life
async def nobody_answers(desk: Desk) -> None:
    case_id = await desk.registered()
    await desk.later(case_id, 5 * DAY)
    unhappy = await desk.investigating()
    await desk.send(unhappy, "AnswerComplaint", outcome="upheld", answer="letter-1")
    await desk.send(unhappy, "RecordFollowUp", consent=True, result="not_satisfied")
    await desk.send(unhappy, "CloseComplaint", by="supervisor", reason="answer_right")
    await desk.handle(unhappy).result()
    await desk.send(unhappy, "AppealComplaint", ground="wrong", evidence="letter-2")


@life
async def returned(desk: Desk) -> None:
    case_id = await desk.registered()
    await desk.send(case_id, "ScreenComplaint", category="late", gravity="light")
    for department in ("billing", "counter"):
        await desk.send(case_id, "HandOverComplaint", department=department)
        await desk.send(case_id, "ReturnComplaint", ground="not_ours", evidence="slip-1")
    await desk.send(
        case_id, "ArbitrateReturn", by="supervisor", department="billing", reason="theirs"
    )
    await desk.send(case_id, "WithdrawComplaint", reason="settled")
    away = await desk.registered(anonymous=True, party=None)
    await desk.send(away, "DeclareOutOfJurisdiction", reason="private_pipe")
    await desk.send(away, "ReferComplaint", to="city", reference="letter-1")
    first, repeat = await desk.registered(), await desk.registered(party="party-2")
    await desk.send(repeat, "MergeRepeat", case=first)
    await desk.handle(repeat).result()


@life
async def three_strikes(desk: Desk) -> None:
    staff = "three-strikes-9"
    for gravity in ("light", "light", "serious"):
        await struck(desk, staff, gravity=gravity)
    file = conduct_id(ORGANISATION, staff)
    await desk.later(file, 8 * DAY)  # no reply
    await desk.later(file, 6 * DAY)  # nobody decides: it goes up
    yes: dict[str, Any] = {"decision": "approve", **choice(await desk.handle(file).query("state"))}
    await desk.send(file, "DecideApproval", by="division_head", **yes)
    await desk.later(file, 400 * DAY)


@life
async def overturned(desk: Desk) -> None:
    staff = "overturned-9"
    cases = [await struck(desk, staff) for _ in range(3)]
    file = conduct_id(ORGANISATION, staff)
    await desk.send(file, "RecordReply", by="crew", who=staff, evidence="letter-1")
    last = cases[-1]
    await desk.send(last, "RecordApology", staff=staff, evidence="letter-2")
    await desk.send(last, "AnswerComplaint", outcome="upheld", answer="letter-3")
    await desk.send(last, "AppealComplaint", ground="wrong_person", evidence="letter-4")
    otherwise: dict[str, Any] = {
        "outcome": "not_upheld",
        "findings": [{"staff": staff, "outcome": "not_upheld"}],
        "reason": "mistaken",
        "answer": "letter-5",
    }
    await desk.send(last, "OverturnDecision", by="division_head", **otherwise)
    await answered(desk, last)


@life
async def measured(desk: Desk) -> None:
    """What the schedules start, and the register that it tells."""
    for number, what in enumerate(("sample", "month", "month", "year"), 1):
        report = SatisfactionReport.model_validate(
            {
                "organisation": ORGANISATION,
                "what": what,
                "policy": desk.policy,
                "register_id": "satisfaction-measured-9",
            }
        )
        await desk.client.execute_workflow(
            "SatisfactionReportWorkflow",
            report.model_dump(mode="json"),
            id=f"report-measured-{number}",
            task_queue=desk.task_queue,
        )


@life
async def cut_off(desk: Desk) -> None:
    """Stopped for a while, opened by the customer, stopped in full, paid, and on again."""
    desk = replace(desk, policy=any_day(desk.policy))
    case_id = await desk.authorised()
    with suppress(Rejected):
        await desk.ask_permit(case_id, for_full_stop=True)
    await desk.ask_permit(case_id)
    await desk.close_valve(case_id)
    await desk.send(case_id, "ReportSelfReopened", evidence="photo-3")
    await desk.send(case_id, "ServeStopOrder", how="door", proof="photo-4")
    await desk.later(case_id, 4 * DAY)
    await desk.ask_permit(case_id, "permit-2", for_full_stop=True)
    await desk.close_valve(case_id, "permit-2", full=True, seal="S-2")
    await desk.pay(case_id)
    await desk.later(case_id, DAY * 2)  # nobody restores it in time
    on: dict[str, Any] = {"crew": "crew-1", "seal_removed": "S-2", "reading": 121}
    await desk.send(case_id, "RecordReconnected", by="crew", **on)
    await desk.later(case_id, 31 * DAY)
    await desk.handle(case_id).result()
    # Told only now, of a case that has ended: an incident.
    await desk.close_valve(case_id, None, seal="S-3")
    await answered(desk, case_id)


@life
async def spared(desk: Desk) -> None:
    """Paid while the crew stands at the valve, and taken back."""
    desk = replace(desk, policy=any_day(desk.policy))
    case_id = await desk.authorised()
    await desk.ask_permit(case_id)
    await desk.pay(case_id)
    await desk.send(case_id, "ReversePayment", payment="pay-1", reason="bounced")
    late = await desk.authorised()
    await desk.ask_permit(late)
    await desk.later(late, DAY)
    moved: dict[str, Any] = {"moved_at": ago(days=1).isoformat(), "evidence": "letter-1"}
    await desk.send(late, "RecordMoveOut", **moved)
    await answered(desk, late)


@life
async def approved_cutoff(desk: Desk) -> None:
    """A large meter: silence, then a yes that lapses; instalments; given up in the end."""
    desk = replace(desk, policy=any_day(desk.policy))
    case_id = await desk.eligible(dn=50, boilers=True)
    await desk.send(case_id, "RequestCutoff", reason="unpaid")
    await desk.later(case_id, 8 * DAY)
    await desk.pay(case_id, 100)  # it lapses
    await desk.send(case_id, "RequestCutoff", reason="unpaid")
    await desk.decide(case_id)
    await desk.send(case_id, "ScheduleVisit", **visit_on(await desk.clock(case_id)))
    await desk.pay(case_id, 200, payment="pay-2")
    due = (datetime.now(UTC) + 20 * DAY).date().isoformat()
    parts = [{"amount": 11_700, "due": due}]
    await desk.send(case_id, "AgreePlan", instalments=parts, consent="letter-1")
    await desk.later(case_id, 30 * DAY)
    await desk.send(case_id, "WriteOff", reason="bankrupt")
    await desk.later(case_id, 40 * DAY)  # silence is a no
    await desk.send(case_id, "WriteOff", reason="bankrupt")
    await desk.decide(case_id, who="head-2")
    await answered(desk, case_id)


@life
async def signed_cutoff(desk: Desk) -> None:
    """A yes that nobody signed, forged ones beside a true note, then the true one; paid."""
    desk = replace(desk, policy=any_day(desk.policy))
    case_id = await desk.eligible(dn=50)
    await desk.send(case_id, "RequestCutoff", reason="unpaid")
    yes = await desk.choice(case_id, "approve", "division_head-1")
    forged = {**yes, "signature": {**yes["signature"], "signature": "A" * 86}}
    unsigned = {name: yes[name] for name in yes if name != "signature"}
    for choice in (unsigned, forged):
        with suppress(Rejected):
            await desk.send(case_id, "DecideApproval", by="division_head", **choice)
    command = desk.command("DecideApproval", by="division_head", **forged)
    contact = desk.send(case_id, "RecordContact", how="phone", evidence="call-9")
    await asyncio.gather(desk.handle(case_id).signal("submit", command), contact)
    await desk.decide(case_id)
    await desk.send(case_id, "ScheduleVisit", **visit_on(await desk.clock(case_id)))
    await desk.ask_permit(case_id)
    await desk.close_valve(case_id)
    await desk.pay(case_id, 12_000, payment="pay-3", at=await desk.clock(case_id))
    facts = {"crew": "crew-1", "seal_removed": "S-1", "reading": 120}
    await desk.send(case_id, "RecordReconnected", by="crew", **facts)
    await desk.later(case_id, 40 * DAY)
    await answered(desk, case_id)


@life
async def interlocked(desk: Desk) -> None:
    """Arrears that wait for what else is open on the premises."""
    place = "interlocked-9"
    repair = await desk.opened(premises=place)
    case_id = await desk.owing(premises=place)
    await answered(desk, repair, case_id)
    complaint = await desk.registered(premises=place)
    await desk.send(repair, "CancelRepair", reason="mistake")
    await answered(desk, repair, complaint)
    await desk.send(complaint, "WithdrawComplaint", reason="settled")
    await answered(desk, complaint)
    await desk.send(case_id, "WithdrawArrears", reason="mistake")
    await desk.handle(case_id).result()


@life
async def assessed(desk: Desk) -> None:
    """A reader's half-year: one exclusion by two steps, one refused, one withdrawn; settled.

    And the run that opens such cases, of a half-year in which nobody was chased.
    """
    desk = replace(desk, policy=content_of("water", POLICIES))
    case_id = desk.name("assessment")
    system = {"subject": "standpipe", "role": "system", "proof": "system"}
    half = half_year_before(pinned(desk.policy).policy.calendar, ago(days=10))
    known: dict[str, Any] = {"half_year": half.name, "known_until": half.counted.isoformat()}
    accounts = [f"arrears-assessed-{n}" for n in range(21)]
    body = {"reader": "reader-7", "accounts": accounts, **known}
    opening = desk.command("OpenAssessment", **body) | {"actor": system}
    await desk.cases.open(case_id, desk.policy, opening)
    for number in range(3):
        asked = {"accounts": accounts[number : number + 1], "ground": "vacant"}
        await desk.send(case_id, "RequestExclusion", **asked, evidence=f"photo-{number}")
        if number < 2:
            await desk.decide(case_id, by="station_head")
        if number == 0:
            await desk.decide(case_id)
        elif number == 1:
            await desk.decide(case_id, "reject", reason="visited")
    with suppress(Rejected):
        await desk.decide(case_id, by="station_head", who="reader-7")
    last = (await desk.known(case_id))["approvals"][-1]["id"]
    await desk.send(case_id, "WithdrawApproval", approval=last, reason="mistake")
    await desk.later(case_id, 11 * DAY)
    await desk.handle(case_id).result()
    run = {"organisation": ORGANISATION, "policy": desk.policy, "half_year": "2001-H1"}
    await desk.client.execute_workflow(
        "AssessmentRunWorkflow", run, id=desk.name("run"), task_queue=desk.task_queue
    )


@life
async def archived(desk: Desk) -> None:
    """A month's register: entered several at a time, told twice, over; what comes late."""
    register = register_id(ORGANISATION, datetime.now(UTC))

    async def entered(number: int, sha256: str = "0") -> None:
        history = {
            "case": f"repair-archived-{number}",
            "run": f"run-{number}",
            "sha256": sha256 * 64,
        }
        made = {"bytes": 9000, "events": 24, "build_id": "0.1.0+1", "sdk": "1", "lock": None}
        body = {"type": "RecordHistory", **history, **made, "original": True}
        command = {"id": f"archive/run-{number}", "actor": SYSTEM.model_dump(), "body": body}
        await desk.cases.open(register, desk.policy, command)

    await entered(1)
    await asyncio.gather(*(entered(number) for number in range(2, 6)))
    await entered(2)
    with suppress(Conflict):
        await entered(2, "f")
    await desk.later(register, 40 * DAY)
    await desk.handle(register).result()
    await entered(3)
    with suppress(Rejected):
        await entered(6)
