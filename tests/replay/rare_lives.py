"""More lives, for what seldom happens: with the others, every command and event of every kind.

Most of it is told at once, as an import tells it: so a whole life is a short history.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from gateway.policies import content_of
from lifecycles.assessment_runs import half_year_before
from lifecycles.policies import pinned
from schemas.conduct import conduct_id
from schemas.envelope import Json
from tests.replay.lives import COMMON, DAY, LIVES, answered, life
from tests.workflows.conftest import POLICIES
from tests.workflows.desk import ORGANISATION, OWED, Desk, ago, any_day, until, visit_on

__all__ = ["LIVES"]

HOUR = timedelta(hours=1)
SYSTEM = {"subject": "standpipe", "role": "system", "proof": "system"}


class Past:
    """What happened in a case so long ago, told all at once."""

    def __init__(self, desk: Desk, case_id: str, began: datetime) -> None:
        self.desk, self.case_id, self.began = desk, case_id, began
        self.commands: list[Json] = []

    def say(self, kind: str, after: float, /, *, by: str = "clerk", **body: Any) -> None:
        """A command, so many days after the beginning."""
        who = body.pop("who", None)
        at = self.began + after * DAY
        self.commands.append(self.desk.command(kind, by=by, who=who, at=at, **body))

    def tell(self, kind: str, after: float, /, **body: Any) -> None:
        """A command of another case."""
        self.say(kind, after, **body)
        self.commands[-1]["actor"] = SYSTEM

    def asked(self, after: float, which: int = -1) -> Json:
        """What was asked by then, the last or another, as somebody decides it."""
        at = self.began + after * DAY
        known = [c for c in self.commands if datetime.fromisoformat(c["occurred_at"]) <= at]
        made = self.desk.planned(self.case_id, known, at)
        assert not made.refused, made.refused
        return {"approval": (a := made.state.approvals[which]).id, "facts_hash": a.facts_hash}

    def decide(
        self, after: float, decision: Literal["approve", "reject"], *, by: str, **body: Any
    ) -> None:
        reason = {"reason": "no_ground"} if decision == "reject" else {}
        self.say(
            "DecideApproval", after, by=by, decision=decision, **self.asked(after), **reason, **body
        )

    def delegate(self, after: float, *, by: str) -> None:
        end = (self.began + (after + 1) * DAY).isoformat()
        asked = self.asked(after)["approval"]
        self.say(
            "DelegateApproval",
            after,
            by=by,
            approval=asked,
            to="deputy-1",
            until=end,
            reason="leave",
        )

    def withdraw(self, after: float, **who: str) -> None:
        asked = self.asked(after)["approval"]
        self.say("WithdrawApproval", after, approval=asked, reason="mistake", **who)

    def change_hands(self, after: float, *, by: str = "clerk", to: str = "depot") -> None:
        """Somebody takes it and hands it on."""
        self.say("TakeCase", after, by=by)
        unit = {"kind": "unit", "id": to}
        self.say("HandOverCase", after + 0.01, by=by, to=unit, reason="shift")

    async def told(self) -> str:
        """The case, once the log has it."""
        assert await self.desk.cases.open_with_history(
            self.case_id, self.desk.policy, self.commands
        )

        async def known() -> bool:
            return await self.desk.log.case(ORGANISATION, self.case_id) is not None

        await until(known)
        return self.case_id


def finding(desk: Desk, number: int, staff: str, revision: int = 1, **body: Any) -> Json:
    complaint = f"complaint-{desk.names}-{number}9"
    when = ago(days=100).isoformat()
    usual: Json = {"staff": staff, "reports_to": "boss-1", "complaint": complaint}
    usual |= {"finding": f"{complaint}/{staff}", "revision": revision, "outcome": "upheld"}
    usual |= {"gravity": "light", "cause": "carelessness"}
    return usual | {"conduct_at": when, "decided_at": when} | body


@life
async def judged(desk: Desk) -> None:
    """A staff file: measures, investigations, a proposal refused; then all of it was wrong."""
    staff = "judged-9"
    file = Past(desk, conduct_id(ORGANISATION, staff), ago(days=60))
    officer = {"by": "conduct_officer"}

    def found(number: int, after: float, revision: int = 1, **body: Any) -> None:
        file.tell("RecordFinding", after, **finding(desk, number, staff, revision, **body))

    def about(number: int) -> str:
        return str(finding(desk, number, staff)["finding"])

    found(1, 0)
    file.change_hands(0.1, by="conduct_officer", to="conduct-office")
    file.say("RecordMeasure", 1, finding=about(1), evidence="minutes-1", **officer)
    found(2, 2, gravity="serious")
    judgement = {"penalty": "suspension", "evidence": "minutes-2"}
    file.say("ConcludeInvestigation", 3, finding=about(2), **judgement, **officer)
    found(3, 4, gravity="serious")
    file.say("RecordReply", 5, by="crew", who=staff, evidence="letter-1")
    file.delegate(5.1, by="division_head")
    found(1, 5.5, 2, cause="breach_of_rules")  # what was asked rests on other facts now
    file.decide(6, "reject", by="division_head")
    found(3, 7, 2, outcome="not_upheld")
    for number in (1, 2):
        found(number, 8, 3, outcome="not_upheld")
        file.say("RecordRedress", 9, finding=about(number), evidence="letter-2", **officer)
    found(4, 10)
    case_id = await file.told()
    late: dict[str, Any] = {"finding": about(4), "evidence": "minutes-3"}
    then = file.began + 12 * DAY
    await desk.send(case_id, "RecordMeasure", by="conduct_officer", at=then, **late)
    overturned = finding(desk, 4, staff, 2, outcome="not_upheld")
    await desk.cases.send(case_id, desk.command("RecordFinding", **overturned) | {"actor": SYSTEM})
    redress: dict[str, Any] = {"finding": about(4), "evidence": "letter-3"}
    await desk.send(case_id, "RecordRedress", by="conduct_officer", **redress)


@life
async def informed(desk: Desk) -> None:
    """An informant's complaint: late, put off in vain, rewarded; then one that nobody takes in."""
    case = Past(desk, desk.name("complaint"), ago(days=20))
    register = desk.complaint(
        at=case.began,
        about="staff",
        category="attitude",
        accused=[{"staff": "informed-9"}],
        confidential=True,
    )
    case.commands.append(register)
    hour = HOUR / DAY
    case.say("ScreenComplaint", 2 * hour, category="attitude", gravity="light")
    case.say("HandOverComplaint", 3 * hour, department="counter")
    case.say("AcknowledgeComplaint", 4 * hour, by="supervisor", who="s-77")
    case.say("StartInvestigation", 5 * hour, by="supervisor", who="s-77")
    case.change_hands(5.1 * hour, by="supervisor", to="counter")
    more = {
        "until": (case.began + 4 * DAY).isoformat(),
        "reason": "witness_away",
        "evidence": "memo-1",
    }
    investigator = {"by": "supervisor", "who": "s-77"}
    case.say("RequestExtension", 6 * hour, **more, **investigator)
    case.say("AskCustomer", 7 * hour, question="letter-1", **investigator)
    case.say("RecordCustomerReply", 8 * hour, evidence="letter-2")
    case.say("RequestExtension", 9 * hour, **more, **investigator)
    case.withdraw(10 * hour, **investigator)
    case.say("RequestExtension", 11 * hour, **more, **investigator)
    case.decide(20 * hour, "reject", by="division_head")
    upheld = {"conduct_at": (case.began - DAY).isoformat(), "evidence": "minutes-1"}
    judge = {"by": "supervisor", "who": "s-77"}
    case.say("DecideFinding", 21 * hour, staff="informed-9", outcome="upheld", **upheld, **judge)
    case.say("WaiveApology", 22 * hour, staff="informed-9", reason="not_wanted", **judge)
    case.say("AnswerComplaint", 23 * hour, outcome="upheld", answer="letter-3", **judge)
    case.say("RewardInformant", 24 * hour, evidence="slip-1", **judge)
    case_id = await case.told()
    called = case.began + 24 * HOUR
    await desk.send(case_id, "RecordFollowUp", at=called, consent=True, result="satisfied")
    repeat = await desk.registered(party="party-2")
    await desk.send(repeat, "MergeRepeat", case=case_id)
    await answered(desk, case_id, repeat)


@life
async def muddled(desk: Desk) -> None:
    """Arrears with bills added and corrected, a plan kept and undone, a crew that goes in vain."""
    desk = replace(desk, policy=any_day(desk.policy))
    case = Past(desk, desk.name("arrears"), ago(days=40))
    case.commands.append(desk.overdue(case.began))
    bill = {"bill": "B-2", "amount": 4_000, "due": (case.began - DAY).date().isoformat()}
    case.say("AddBills", 1, currency="CNY", bills=[bill], run="run-2")
    case.change_hands(1.1)
    wrong = {"bill": "B-2", "amount": 3_000, "currency": "CNY", "reason": "misread"}
    case.say("CorrectBalance", 1.2, evidence="slip-1", **wrong)
    weather = {"hold": "storm", "kind": "weather", "source": "bulletin-1"}
    case.say("PlaceHold", 1.3, **weather)
    case.say("WriteOff", 5, reason="bankrupt")
    case.delegate(5.1, by="division_head")
    case.withdraw(5.2)
    parts = [{"amount": OWED + 3_000, "due": (case.began + 9 * DAY).date().isoformat()}]
    case.say("AgreePlan", 6, instalments=parts, consent="letter-1")
    paid = {"amount": OWED + 3_000, "currency": "CNY"}
    at = case.began + 8 * DAY
    case.say("RecordPayment", 8, payment="pay-1", paid_at=at.isoformat(), **paid)
    case.say("ReversePayment", 10, payment="pay-1", reason="bounced")
    case.say("RecordContact", 11, how="phone", evidence="call-1")
    case.say("RecordContact", 12, how="door", evidence="photo-1")
    case.say("ServeNotice", 13, how="door", proof="photo-2")
    now = (datetime.now(UTC) - case.began) / DAY
    minute = HOUR / DAY / 60
    case.say("AuthoriseCutoff", now - 60 * minute, by="supervisor")
    case.say("ScheduleVisit", now - 50 * minute, **visit_on(datetime.now(UTC)))
    crew: dict[str, Any] = {"by": "crew", "crew": "crew-1"}
    case.say("RecordVisitFailed", now - 40 * minute, reason="dog", evidence="photo-3", **crew)
    valve = {"valve": "V-1", "seal": "S-1", "reading": 120}
    case.say("RecordValveClosed", now - 30 * minute, **valve, **crew)
    at = case.began + (now - 20 * minute) * DAY
    case.say("RecordPayment", now - 20 * minute, payment="pay-2", paid_at=at.isoformat(), **paid)
    nobody = {"reason": "nobody_in", "evidence": "card-1"}
    case.say("RecordReconnectionFailed", now - 10 * minute, **nobody, **crew)
    case_id = await case.told()
    await desk.later(case_id, 3 * DAY)  # nobody restores it in time, it seems
    on: dict[str, Any] = {"crew": "crew-1", "seal_removed": "S-1", "reading": 120}
    told = await desk.clock(case_id) - 3 * DAY
    await desk.send(case_id, "RecordReconnected", by="crew", at=told, **on)
    await answered(desk, case_id)


@life
async def objected(desk: Desk) -> None:
    """An assessment: the first step taken late by a level above, the second told late."""
    desk = replace(desk, policy=content_of("water", POLICIES))
    case = Past(desk, desk.name("assessment"), ago(days=20))
    calendar = pinned(desk.policy).policy.calendar
    half = half_year_before(calendar, ago(days=40))
    accounts = [f"arrears-objected-{n}" for n in range(2)]
    known = {"half_year": half.name, "known_until": half.counted.isoformat()}
    case.tell("OpenAssessment", 0, reader="reader-7", accounts=accounts, **known)
    case.change_hands(0.1)
    asked = {"accounts": accounts[:1], "ground": "vacant", "evidence": "photo-1"}
    case.say("RequestExclusion", 1, **asked)
    case.delegate(2, by="station_head")
    case.decide(8, "approve", by="division_head")
    case_id = await case.told()
    asked_now = case.asked(15)
    told = case.began + 9 * DAY
    yes: dict[str, Any] = {"by": "division_head", "who": "head-2", "decision": "approve"}
    await desk.send(case_id, "DecideApproval", at=told, **yes, **asked_now)


@life
async def ranked(desk: Desk) -> None:
    """Three years of the register: cards, heads proposed for removal, checks done and missed."""
    last_month = (datetime.now(UTC).replace(day=1) - DAY).replace(day=2)
    case = Past(desk, desk.name("satisfaction"), last_month - 20 * DAY)
    low, high = ({"asked": 20, "answered": 20, "satisfied": n} for n in (1, 20))
    figures = {"north": low, "east": low, "south": high}
    tallies = [{"department": name, **counts} for name, counts in figures.items()]
    year = case.began.year
    case.tell("RankYear", 0, year=year - 3, tallies=tallies)
    case.change_hands(0.1)
    case.say("RankYear", 1, by="admin", year=year - 2, tallies=tallies)
    case.delegate(1.5, by="division_head")
    case.withdraw(2, by="admin")
    no: dict[str, Any] = {"decision": "reject", "reason": "new_head"}
    case.say("DecideApproval", 12, by="admin", who="admin-2", **case.asked(12, -2), **no)
    case.tell("RankYear", 13, year=year - 1, tallies=tallies)
    case.decide(14, "approve", by="division_head")
    improved = {"department": "north", "evidence": "report-1"}
    case.say("RecordImprovement", 15, by="division_head", **improved)
    counts = dict.fromkeys(("open", "appealed", "overturned", "late"), 0)
    counts |= dict.fromkeys(("partly_upheld", "not_upheld"), 0)
    counts |= dict.fromkeys(("registered", "in_time", "upheld"), 1)
    collated = [{"category": "late", "department": "counter", **counts}]
    month = f"{last_month - 10 * DAY:%Y-%m}"
    seed = "0123456789abcdef" * 2
    case.tell("ReportMonth", 20, month=month, tallies=tallies, complaints=collated, seed=seed)
    check = {"kind": "self", "period": month, "evidence": "slip-1"}
    case.say("RecordCheck", 21, department="counter", **check)
    case_id = await case.told()
    late = case.began + 22 * DAY
    await desk.send(case_id, "RecordCheck", at=late, department="metering", **check)


@life
async def put_right(desk: Desk) -> None:
    """A crew that did come in time, as we hear late; a report that its fault waits for no more."""
    case = Past(desk, desk.name(), ago(days=2))
    case.commands.append(desk.report(at=case.began))
    case.say("TriageRepair", 0.1, **COMMON)
    case.say("PostGuard", 0.1, guard="g-1")
    case.say("DispatchCrew", 0.2, crew="k-1")
    start, end = ((case.began + n * DAY).isoformat() for n in (1, 1.2))
    case.say("BookAppointment", 0.3, start=start, end=end, consent="call-1")
    case_id = await case.told()
    await desk.send(case_id, "RecordArrival", at=case.began + 1.1 * DAY, crew="k-1")
    fault = await desk.opened(category="main-leak", channel="patrol", party=None)
    report = await desk.opened()
    await desk.send(report, "LinkToFault", fault=fault)
    await answered(desk, report)
    await desk.send(report, "CancelRepair", reason="withdrawn")
    await answered(desk, report)
