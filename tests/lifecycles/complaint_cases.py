"""Sample complaints: cases driven by real commands, on fixed dates, with the shipped policies."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from lifecycles.lifecycle import LIFECYCLES
from lifecycles.policies import Pinned, pinned
from schemas.base import Actor, Event
from schemas.complaint import ComplaintState, Finding, Stage
from schemas.envelope import CaseRequest, CommandEnvelope, Message
from schemas.policy import ComplaintPolicy, Policy
from tests.lifecycles import repair_cases
from tests.lifecycles.repair_cases import CLERK, GAS, hours

COMPLAINT = LIFECYCLES["complaint"]
RULES: ComplaintPolicy = COMPLAINT.initial("complaint-1", "town", *GAS).rules

ACCUSED = Actor(subject="Staff-9", role="clerk", proof="token")
SUPERIOR = Actor(subject="boss-9", role="supervisor", proof="token")
JUDGE = Actor(subject="field-3", role="clerk", proof="token")
"""Of the department; investigates and answers."""
SUPERVISOR = Actor(subject="super-1", role="supervisor", proof="token")
HEAD = Actor(subject="head-1", role="division_head", proof="token")

REGISTER: Mapping[str, Any] = {
    "channel": "phone",
    "about": "staff",
    "category": "late",
    "district": "north",
    "accused": [{"staff": "staff-9", "reports_to": "boss-9"}],
    "party": "party-1",
    "recorded": ["name", "phone"],
}
ANONYMOUS: Mapping[str, Any] = {"party": None, "anonymous": True, "recorded": []}
SERVICE: Mapping[str, Any] = {"about": "service", "accused": []}
SCREEN: Mapping[str, Any] = {"category": "late", "gravity": "light"}
FINDING: Mapping[str, Any] = {
    "staff": "staff-9",
    "outcome": "upheld",
    "conduct_at": hours(-20),
    "evidence": "minutes/1",
}
UPHELD: Mapping[str, Any] = {"outcome": "upheld", "answer": "letter/1"}
NOT_UPHELD: Mapping[str, Any] = {
    "outcome": "not_upheld",
    "answer": "letter/1",
    "reason": "no-proof",
}
OVERTURN: Mapping[str, Any] = {
    "outcome": "not_upheld",
    "findings": [{"staff": "staff-9", "outcome": "not_upheld"}],
    "reason": "another-person",
    "answer": "letter/2",
}
EXTENSION: Mapping[str, Any] = {"until": hours(72), "reason": "laboratory", "evidence": "memo/1"}


def command(
    name: str, at: float | None = None, /, *, id: str = "c", actor: Actor = CLERK, **body: Any
) -> CommandEnvelope[Any]:
    """A command as it comes in: parsed from JSON-like input."""
    return repair_cases.command(name, at, id=id, actor=actor, lifecycle=COMPLAINT, **body)


class Case(repair_cases.Case):
    """A complaint as its workflow drives it."""

    lifecycle = COMPLAINT
    state: ComplaintState  # type: ignore[assignment]

    def __init__(
        self, policy: Pinned = GAS, id: str = "complaint-1", state: ComplaintState | None = None
    ) -> None:
        self.state = state or COMPLAINT.initial(id, "town", *policy)
        self.events: list[Event] = []
        self.version = 0
        self.sent = 0

    def finding(self, staff: str = "staff-9") -> Finding:
        return next(f for f in self.state.findings if f.staff == staff)

    def told_file(self) -> list[dict[str, Any]]:
        """What staff files have been told, in order, and not yet answered."""
        return [r.command for r in self.state.requests if r.command["type"] == "RecordFinding"]

    def merge(self) -> CaseRequest:
        """What this case has asked the other that shall take it in."""
        return next(r for r in self.state.requests if r.command["type"] == "AdoptComplaint")

    def choice(self, decision: str = "approve", **fields: Any) -> dict[str, Any]:
        """What a decision of the latest approval must name."""
        asked = self.state.approvals[-1]
        usual = {"approval": asked.id, "decision": decision, "facts_hash": asked.facts_hash}
        return usual | ({"reason": "no-need"} if decision == "reject" else {}) | fields


def messages(case: Case, name: str, at: float, /, **fields: Any) -> list[tuple[str, str, str]]:
    """To whom a command makes the case say what: kind of recipient, recipient, template."""
    return [(m.to, m.recipient, m.template) for m in words(case, name, at, **fields)]


def words(case: Case, name: str, at: float, /, **fields: Any) -> list[Message]:
    before = len(case.events)
    case.do(name, at, **fields)
    return [m for e in case.events[before:] for m in COMPLAINT.effects(case.state, e)]


@cache
def policy(**changes: Any) -> Pinned:
    """The gas policy with other terms for complaints: dotted paths, as `extension__most=2`."""
    content = json.loads(GAS.policy.model_dump_json())
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = content["complaint"]
        for parent in parents:
            at = at[parent]
        if value is ...:
            del at[last]
        else:
            at[last] = value
    return pinned(Policy.model_validate(content).model_dump_json())


def registered(policy: Pinned = GAS, id: str = "complaint-1", **fields: Any) -> Case:
    case = Case(policy, id)
    actor = fields.pop("actor", CLERK)
    case.do("RegisterComplaint", fields.pop("at", 0), actor=actor, **{**REGISTER, **fields})
    return case


def screened(policy: Pinned = GAS, **fields: Any) -> Case:
    case = registered(policy, **fields)
    facts: dict[str, Any] = {"category": case.state.category, "gravity": case.state.gravity}
    case.do("ScreenComplaint", 0.1, **facts)
    return case


def handed_over(policy: Pinned = GAS, **fields: Any) -> Case:
    case = screened(policy, **fields)
    case.do("HandOverComplaint", 0.2, department=case.state.rules.departments[0])
    return case


def returned(times: int = 1, policy: Pinned = GAS, **fields: Any) -> Case:
    case = handed_over(policy, **fields)
    for time in range(times):
        at = 0.3 + time / 100
        if time:
            case.do("HandOverComplaint", at, department="billing")
        case.do("ReturnComplaint", at, actor=JUDGE, ground="not-ours", evidence="slip/1")
    return case


def arbitrated(**fields: Any) -> Case:
    case = returned(2, **fields)
    case.do("ArbitrateReturn", 0.4, actor=SUPERVISOR, department="field-service", reason="theirs")
    return case


def acknowledged(policy: Pinned = GAS, **fields: Any) -> Case:
    case = handed_over(policy, **fields)
    case.do("AcknowledgeComplaint", 0.5, actor=JUDGE)
    return case


def investigating(policy: Pinned = GAS, **fields: Any) -> Case:
    case = acknowledged(policy, **fields)
    case.do("StartInvestigation", 1, actor=JUDGE)
    return case


def awaiting(policy: Pinned = GAS, **fields: Any) -> Case:
    case = investigating(policy, **fields)
    case.do("AskCustomer", 2, actor=JUDGE, question="letter/q1")
    return case


def found(outcome: str = "upheld", policy: Pinned = GAS, **fields: Any) -> Case:
    """Investigated, and a finding decided about each of the accused."""
    case = investigating(policy, **fields)
    for a in case.state.accused:
        finding = {**FINDING, "staff": a.staff, "outcome": outcome, "reason": "no-proof"}
        case.do("DecideFinding", 2, actor=JUDGE, **finding)
    return case


def answered(outcome: str = "upheld", at: float = 3, **fields: Any) -> Case:
    """Answered: the complainant is to be called, or it is closed where nobody can be."""
    case = found(outcome, **fields)
    reply = {**NOT_UPHELD, "outcome": outcome}
    case.do("AnswerComplaint", at, actor=JUDGE, **reply)
    return case


def called(result: str = "satisfied", at: float = 4, **fields: Any) -> Case:
    """Called: an apology may still be owed."""
    case = answered(**fields)
    consent = result != "no_consent"
    case.do("RecordFollowUp", at, consent=consent, result=result)
    return case


def closed(**fields: Any) -> Case:
    case = called(**fields)
    for a in case.state.accused:
        if case.state.stage == Stage.ANSWERED:
            case.do("RecordApology", 4.2, staff=a.staff, evidence="letter/3")
    return case


def redo(**fields: Any) -> Case:
    case = answered(**fields)
    case.do("OrderRedo", 4, actor=SUPERVISOR, reason="unclear")
    return case


def appealed(at: float = 4, **fields: Any) -> Case:
    case = answered(**fields)
    case.do("AppealComplaint", at, ground="wrong", evidence="letter/4")
    return case


def confirmed(**fields: Any) -> Case:
    case = appealed(**fields)
    case.do("ConfirmDecision", 4.5, actor=HEAD, reason="right", answer="letter/5")
    return case


def declined(**fields: Any) -> Case:
    case = screened(**fields)
    case.do("DeclareOutOfJurisdiction", 0.5, reason="another-company")
    return case


def merged(**fields: Any) -> Case:
    case = acknowledged(**fields)
    case.do("MergeRepeat", 1, case="complaint-2")
    case.answer(case.merge(), 1.1)
    return case


def then(start: Callable[[], Case], name: str, /, **body: Any) -> Case:
    case = start()
    case.do(name, 4.6, **body)
    return case


def moment(start: Callable[[], Case], name: str, stage: Stage, **body: Any) -> Case:
    """The first moment, between two events of one decision, at which a case is at that stage."""
    case = start()
    for event in COMPLAINT.decide(case.state, command(name, 5, **body), hours(5)):
        case.state = COMPLAINT.evolve(case.state, event)
        if case.state.stage == stage:
            return case
    raise AssertionError(f"{name} does not come through {stage}")


SAMPLES: Mapping[Stage, Callable[[], Case]] = {
    Stage.UNREGISTERED: Case,
    Stage.REGISTERED: registered,
    Stage.SCREENED: screened,
    Stage.HANDED_OVER: handed_over,
    Stage.RETURNED: returned,
    Stage.ARBITRATED: arbitrated,
    Stage.ACKNOWLEDGED: acknowledged,
    Stage.INVESTIGATING: found,
    Stage.AWAITING_CUSTOMER: awaiting,
    Stage.ANSWERED: called,
    Stage.FOLLOW_UP: answered,
    Stage.REDO: redo,
    Stage.APPEALED: appealed,
    Stage.OUT_OF_JURISDICTION: declined,
    Stage.CLOSED: closed,
    Stage.REFERRED: lambda: then(declined, "ReferComplaint", to="water", reference="letter/6"),
    Stage.WITHDRAWN: lambda: then(found, "WithdrawComplaint", reason="settled"),
    Stage.MERGED_AS_REPEAT: merged,
    Stage.EXTERNAL: lambda: then(
        confirmed, "ReferExternal", body="consumer-council", reference="letter/7"
    ),
}
"""A case at each stage, reached as a case reaches it, by five hours after it was registered."""

COMMANDS: Mapping[str, Mapping[str, Any]] = {
    "RegisterComplaint": REGISTER,
    "ScreenComplaint": {"category": "bill", "gravity": "serious"},
    "DeclareOutOfJurisdiction": {"reason": "another-company"},
    "ReferComplaint": {"to": "water", "reference": "letter/6"},
    "HandOverComplaint": {"department": "billing"},
    "AcknowledgeComplaint": {},
    "ReturnComplaint": {"ground": "not-ours", "evidence": "slip/1"},
    "ArbitrateReturn": {"department": "billing", "reason": "theirs"},
    "TakeCase": {},
    "HandOverCase": {"to": {"kind": "role", "id": "supervisor"}, "reason": "hard"},
    "EscalateComplaint": {"to": {"kind": "role", "id": "division_head"}, "reason": "too-hard"},
    "StartInvestigation": {},
    "AskCustomer": {"question": "letter/q2"},
    "RecordCustomerReply": {"evidence": "letter/r1"},
    "RequestExtension": EXTENSION,
    "DecideFinding": {**FINDING, "outcome": "not_upheld", "reason": "no-proof"},
    "AnswerComplaint": UPHELD,
    "RecordFollowUp": {"consent": True, "result": "satisfied"},
    "OrderRedo": {"reason": "unclear"},
    "CloseComplaint": {"reason": "right"},
    "RecordApology": {"staff": "staff-9", "evidence": "letter/3"},
    "WaiveApology": {"staff": "staff-9", "reason": "not-wanted"},
    "RewardInformant": {"evidence": "slip/2"},
    "AppealComplaint": {"ground": "wrong", "evidence": "letter/4"},
    "ConfirmDecision": {"reason": "right", "answer": "letter/5"},
    "OverturnDecision": OVERTURN,
    "ReferExternal": {"body": "consumer-council", "reference": "letter/7"},
    "WithdrawComplaint": {"reason": "settled"},
    "MergeRepeat": {"case": "complaint-3"},
    "AdoptComplaint": {"case": "complaint-9", "registered_at": hours(1), "party": "party-9"},
    "DecideApproval": {
        "approval": "extension-1",
        "decision": "approve",
        "facts_hash": "0" * 64,
    },
    "DelegateApproval": {
        "approval": "extension-1",
        "to": "super-2",
        "until": hours(90),
        "reason": "leave",
    },
    "WithdrawApproval": {"approval": "extension-1", "reason": "not-needed"},
    "DeadlinePassed": {"at": hours(5)},
    "RecordAnswer": {"request": "complaint-1/asks/9", "accepted": True},
}
"""A well-formed command of every type, as a head of division sends it five hours on."""
