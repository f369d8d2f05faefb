"""Sample arrears: driven by real commands, on fixed dates, with the shipped policies."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from lifecycles.arrears_money import balance
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import LIFECYCLES, Plan, Step, plan
from lifecycles.policies import Pinned, pinned
from schemas.arrears import ArrearsState, Guard, Permit, Stage
from schemas.base import SYSTEM, Actor, Event
from schemas.envelope import CommandEnvelope, Message
from schemas.policy import Policy
from tests.lifecycles.repair_cases import WATER, said

ARREARS = LIFECYCLES["arrears"]
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
"""08:00 in Shanghai: days count from here. No holiday is near until April."""
HOUR = 1 / 24
MINUTE = HOUR / 60
VISIT = 10 + HOUR
"""A Thursday, 09:00: the first permitted hour, and Friday is a working day."""

CLERK = Actor(subject="clerk-1", role="clerk", proof="token")
READER = Actor(subject="reader-1", role="reader", proof="token")
CREW = Actor(subject="crew-1", role="crew", proof="token")
OTHER_CREW = Actor(subject="crew-2", role="crew", proof="token")
BOSS = Actor(subject="boss-1", role="supervisor", proof="token")
HEAD = Actor(subject="head-1", role="division_head", proof="token")
ADMIN = Actor(subject="admin-1", role="admin", proof="token")

BILL: Mapping[str, Any] = {"bill": "B-1", "amount": 8000, "due": "2026-01-31"}
BILL_2: Mapping[str, Any] = {"bill": "B-2", "amount": 4000, "due": "2026-02-28"}
OPEN: Mapping[str, Any] = {
    "account": "A-1",
    "premises": "P-1",
    "reader": "reader-1",
    "dn": 20,
    "customer_class": "household",
    "party": "party-1",
    "district": "north",
    "currency": "CNY",
    "bills": [BILL, BILL_2],
    "run": "run-1",
}
LARGE: Mapping[str, Any] = {"dn": 40, "customer_class": "industrial"}
ORDER: Mapping[str, Any] = {"how": "door", "proof": "photo/order"}
CLOSED: Mapping[str, Any] = {"crew": "crew-1", "valve": "V-1", "seal": "S-1", "reading": 120}


def days(count: float) -> datetime:
    """So many days after Monday morning, to the second."""
    return MONDAY + timedelta(seconds=round(count * 86_400))


def command(
    name: str, at: float | None = None, /, *, id: str = "c", actor: Actor = CLERK, **body: Any
) -> CommandEnvelope[Any]:
    """A command as it comes in: parsed from JSON-like input."""
    return ARREARS.command(
        {
            "id": id,
            "actor": actor.model_dump(),
            "occurred_at": None if at is None else days(at),
            "body": {"type": name, **body},
        }
    )


def signature(now: datetime, minutes: float = 10) -> dict[str, Any]:
    """What a decision carries that is signed now; rules do not look whether it is genuine."""
    form = {"key": "k" * 43, "signature": "s" * 86, "version": 1, "nonce": "0" * 32}
    return {**form, "expires_at": now + timedelta(minutes=minutes)}


class Debt:
    """A case as its workflow drives it: commands, and the deadlines between them, in order."""

    def __init__(self, policy: Pinned = WATER, id: str = "arrears-1") -> None:
        self.state: ArrearsState = ARREARS.initial(id, "town", *policy)
        self.events: list[Event] = []
        self.heard: list[datetime] = []
        """When each of them was decided."""
        self.messages: list[Message] = []
        self.steps: list[Step] = []
        self.version = 0
        self.sent = 0

    def do(
        self,
        name: str,
        at: float,
        /,
        *,
        told: float | None = None,
        actor: Actor = CLERK,
        **body: Any,
    ) -> list[str]:
        """What a command causes that happened `at` (and was `told` only later): see `said`.

        Deadlines on the way pass first; they are in `events`. Raises `Rejected`.
        """
        self.sent += 1
        asked = [a for a in self.state.approvals if a.id == body.get("approval")]
        if name == "DecideApproval" and any(a.signed for a in asked):
            body = {"signature": signature(days(at if told is None else told)), **body}
        sent = command(name, at, id=f"c{self.sent}", actor=actor, **body)
        made = self._plan([sent], days(at if told is None else told))
        if made.refused:
            raise Rejected(made.refused[0][1])
        return [word for step in made.steps if step.command is sent for word in said(step.events)]

    def wait(self, until: float) -> list[str]:
        """What the clock causes up to then, both ends included."""
        made = self._plan([], days(until))
        return [word for step in made.steps for word in said(step.events)]

    def refusal(self, name: str, at: float, /, **fields: Any) -> list[str]:
        """The reasons against a command. The case must be as it was."""
        before, count = self.state, len(self.events)
        try:
            caused = self.do(name, at, **fields)
        except Rejected as refused:
            assert self.state == before or len(self.events) > count, "a refusal changed the case"
            return list(refused.reasons)
        raise AssertionError(f"{name} was not refused but caused {caused}")

    def pay(self, amount: int, at: float, payment: str = "pay-1", **fields: Any) -> list[str]:
        body = {"payment": payment, "amount": amount, "currency": "CNY", "paid_at": days(at)}
        return self.do("RecordPayment", at, **body | fields)

    def ask(self, at: float, **fields: Any) -> list[str]:
        """What asking for a permit causes, with a look into the log just before."""
        return self.do("IssuePermit", at, actor=fields.pop("actor", CREW), **asked(at, **fields))

    def denied(self, at: float, **fields: Any) -> list[str]:
        """Why no permit is issued."""
        body = asked(at, **fields)
        return self.refusal("IssuePermit", at, actor=fields.pop("actor", CREW), **body)

    def close(self, at: float, told: float | None = None, **fields: Any) -> list[str]:
        body = {**CLOSED, "permit": "permit-1", **fields}
        return self.do("RecordValveClosed", at, told=told, actor=CREW, **body)

    def decide(self, at: float, decision: str = "approve", actor: Actor = HEAD) -> list[str]:
        return self.do("DecideApproval", at, actor=actor, **self.choice(decision))

    def choice(self, decision: str = "approve", **fields: Any) -> dict[str, Any]:
        """What a decision of the latest approval must name."""
        asked = self.state.approvals[-1]
        usual = {"approval": asked.id, "decision": decision, "facts_hash": asked.facts_hash}
        return usual | ({"reason": "no-need"} if decision == "reject" else {}) | fields

    def permit(self, name: str = "permit-1") -> Permit:
        return next(p for p in self.state.permits if p.permit == name)

    def guard(self, name: str) -> Guard:
        """A guard of the latest permit."""
        return next(g for g in self.state.permits[-1].guards if g.name == name)

    @property
    def stage(self) -> Stage:
        return self.state.stage

    @property
    def balance(self) -> int:
        return balance(self.state)

    @property
    def held(self) -> list[str]:
        return [h.hold for h in self.state.holds]

    def last(self, name: str) -> Any:
        """The latest event of a type."""
        return next(e for e in reversed(self.events) if type(e).__name__ == name)

    def at(self, name: str) -> list[float]:
        """When events of a type happened, in days."""
        mine = [e for e in self.events if type(e).__name__ == name]
        return [(e.at - MONDAY) / timedelta(days=1) for e in mine]

    def told_to(self, recipient: str) -> list[str]:
        return [m.template for m in self.messages if m.recipient == recipient]

    def promise(self, name: str) -> Any:
        return next(c for c in reversed(self.state.commitments) if c.name == name)

    def _plan(self, commands: Sequence[CommandEnvelope[Any]], now: datetime) -> Plan:
        made = plan(ARREARS, self.state, self.version, commands, now)
        self.state, self.version = made.state, made.version
        self.steps += made.steps
        for step in made.steps:
            self.events += step.events
            self.heard += [step.decided_at] * len(step.events)
            self.messages += [message for _, message in step.messages]
        return made


def asked(at: float, **fields: Any) -> dict[str, Any]:
    """What a crew at the valve asks with."""
    fields.pop("actor", None)
    usual = {"permit": "permit-1", "crew": "crew-1", "premises_open": [], "checked_at": days(at)}
    return usual | fields


def hold(name: str = "dispute-1", kind: str = "dispute", **fields: Any) -> dict[str, Any]:
    return {"hold": name, "kind": kind, "source": "letter/7", **fields}


def instalments(*parts: tuple[int, int]) -> dict[str, Any]:
    """A plan: amounts, and so many days after Monday each is due."""
    first = date(2026, 3, 2)
    dues = [(amount, first + timedelta(days=day)) for amount, day in parts]
    return {
        "instalments": [{"amount": a, "due": due.isoformat()} for a, due in dues],
        "consent": "letter/plan",
    }


def again(base: Pinned = WATER, **changes: Any) -> Pinned:
    """A policy with other terms for arrears: dotted paths, as `permit__lifetime="PT5M"`."""
    content = json.loads(base.policy.model_dump_json())
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = content["arrears"]
        for parent in parents:
            at = at[parent]
        at[last] = value
    return pinned(Policy.model_validate(content).model_dump_json())


def opened(policy: Pinned = WATER, id: str = "arrears-1", **fields: Any) -> Debt:
    """Overdue by 12000 fen in two bills, since Monday morning."""
    debt = Debt(policy, id)
    debt.do("OpenArrears", 0, **{**OPEN, **fields})
    return debt


def reminded(policy: Pinned = WATER, **fields: Any) -> Debt:
    debt = opened(policy, **fields)
    for day in range(debt.state.rules.reminders):
        debt.do("RecordContact", day + HOUR, how="phone", evidence=f"call/{day}")
    return debt


def noticed(policy: Pinned = WATER, **fields: Any) -> Debt:
    """Noticed on the second evening: a week later the period is over."""
    debt = reminded(policy, **fields)
    debt.do("ServeNotice", 1.5, how="door", proof="photo/notice")
    return debt


def eligible(policy: Pinned = WATER, **fields: Any) -> Debt:
    debt = noticed(policy, **fields)
    debt.wait(9)
    return debt


def awaiting(policy: Pinned = WATER, **fields: Any) -> Debt:
    debt = eligible(policy, **{**LARGE, **fields})
    debt.do("RequestCutoff", 9, reason="unpaid")
    return debt


def authorised(policy: Pinned = WATER, **fields: Any) -> Debt:
    debt = eligible(policy, **fields)
    debt.do("AuthoriseCutoff", 9, actor=BOSS)
    return debt


def approved(policy: Pinned = WATER, **fields: Any) -> Debt:
    debt = awaiting(policy, **fields)
    debt.decide(9.1)
    return debt


def visited(debt: Debt | None = None) -> Debt:
    """A visit is due on the tenth day, 09:00 to 12:00."""
    debt = debt or authorised()
    window: dict[str, Any] = {"start": days(VISIT), "end": days(VISIT + 3 * HOUR)}
    debt.do("ScheduleVisit", 9.2, crew="crew-1", **window)
    return debt


def permitted(debt: Debt | None = None) -> Debt:
    debt = visited(debt)
    debt.ask(VISIT + HOUR)
    return debt


def stopped(debt: Debt | None = None) -> Debt:
    debt = permitted(debt)
    debt.close(VISIT + HOUR + 5 * MINUTE)
    return debt


def reopened(debt: Debt | None = None) -> Debt:
    debt = stopped(debt)
    debt.do("ReportSelfReopened", 11, evidence="photo/open")
    return debt


def ordered(debt: Debt | None = None) -> Debt:
    """The stop order's limit is over on the fifteenth day, a Tuesday, at 08:00."""
    debt = reopened(debt)
    debt.do("ServeStopOrder", 12, **ORDER)
    return debt


def fully_permitted(debt: Debt | None = None) -> Debt:
    debt = ordered(debt)
    debt.ask(15 + 2 * HOUR, permit="permit-2", for_full_stop=True)
    return debt


def fully_stopped(debt: Debt | None = None) -> Debt:
    debt = fully_permitted(debt)
    at = 15 + 2 * HOUR + MINUTE
    debt.close(at, permit="permit-2", full=True, seal="S-2")
    return debt


def reconnecting(debt: Debt | None = None) -> Debt:
    debt = stopped(debt)
    debt.pay(12000, 11)
    return debt


def planned(policy: Pinned = WATER, **fields: Any) -> Debt:
    debt = eligible(policy, **fields)
    debt.do("AgreePlan", 9, **instalments((6000, 20), (6000, 50)))
    return debt


def paid(policy: Pinned = WATER, **fields: Any) -> Debt:
    debt = noticed(policy, **fields)
    debt.pay(12000, 3)
    return debt


def closed() -> Debt:
    debt = paid()
    debt.wait(40)
    return debt


def moved_out() -> Debt:
    debt = noticed()
    debt.do("RecordMoveOut", 2, moved_at=days(1), evidence="letter/9")
    return debt


def written_off() -> Debt:
    debt = noticed()
    debt.do("WriteOff", 2, reason="bankrupt")
    debt.decide(3)
    return debt


def withdrawn() -> Debt:
    debt = opened()
    debt.do("WithdrawArrears", 1, reason="mistake")
    return debt


SAMPLES: Mapping[Stage, Callable[[], Debt]] = {
    Stage.UNOPENED: Debt,
    Stage.OVERDUE: opened,
    Stage.REMINDED: reminded,
    Stage.NOTICE_SERVED: noticed,
    Stage.ELIGIBLE: eligible,
    Stage.AWAITING_APPROVAL: awaiting,
    Stage.AUTHORISED: authorised,
    Stage.VISIT_DUE: visited,
    Stage.TEMPORARILY_STOPPED: stopped,
    Stage.SELF_REOPENED: reopened,
    Stage.STOP_ORDER_SERVED: ordered,
    Stage.FULLY_STOPPED: fully_stopped,
    Stage.RECONNECT_DUE: reconnecting,
    Stage.PLAN_ACTIVE: planned,
    Stage.PAID: paid,
    Stage.CLOSED: closed,
    Stage.MOVED_OUT: moved_out,
    Stage.WRITTEN_OFF: written_off,
    Stage.WITHDRAWN: withdrawn,
}
"""A case at each stage, reached as a case reaches it, by the sixteenth day; closed by the 40th."""

COMMANDS: Mapping[str, tuple[Actor, Mapping[str, Any]]] = {
    "OpenArrears": (CLERK, {**OPEN, "run": "run-9"}),
    "AddBills": (CLERK, {
        "currency": "CNY", "run": "run-2",
        "bills": [{"bill": "B-3", "amount": 7000, "due": "2026-03-01"}],
    }),
    "RecordContact": (READER, {"how": "door", "evidence": "photo/77"}),
    "ServeNotice": (CLERK, {"how": "door", "proof": "photo/new"}),
    "PlaceHold": (CLERK, hold()),
    "ReleaseHold": (CLERK, {"hold": "none", "reason": "settled"}),
    "AgreePlan": (CLERK, instalments((12000, 60))),
    "RequestCutoff": (CLERK, {"reason": "unpaid"}),
    "AuthoriseCutoff": (BOSS, {}),
    "ScheduleVisit": (CLERK, {
        "crew": "crew-1", "start": days(50 + HOUR), "end": days(50 + 2 * HOUR),
    }),
    "IssuePermit": (CREW, asked(45)),
    "RecordValveClosed": (CREW, {**CLOSED, "seal": "S-9"}),
    "RecordVisitFailed": (CREW, {"crew": "crew-1", "reason": "nobody-in", "evidence": "card/1"}),
    "ReportSelfReopened": (CLERK, {"evidence": "photo/open"}),
    "ServeStopOrder": (CLERK, {"how": "door", "proof": "photo/order-9"}),
    "RecordPayment": (CLERK, {
        "payment": "pay-9", "amount": 100, "currency": "CNY", "paid_at": days(2),
    }),
    "ReversePayment": (CLERK, {"payment": "pay-1", "reason": "bounced"}),
    "CorrectBalance": (CLERK, {
        "bill": "B-1", "amount": 7900, "currency": "CNY", "reason": "misread",
        "evidence": "photo/meter",
    }),
    "RecordReconnected": (CREW, {"crew": "crew-1", "seal_removed": "S-1", "reading": 121}),
    "RecordReconnectionFailed": (CREW, {
        "crew": "crew-1", "reason": "nobody-in", "evidence": "card/2",
    }),
    "RecordMoveOut": (CLERK, {"moved_at": days(2), "evidence": "letter/9"}),
    "WriteOff": (CLERK, {"reason": "bankrupt"}),
    "WithdrawArrears": (CLERK, {"reason": "mistake"}),
    "TakeCase": (CLERK, {}),
    "HandOverCase": (CLERK, {"to": {"kind": "person", "id": "clerk-2"}, "reason": "leave"}),
    "DecideApproval": (HEAD, {"approval": "cutoff-1", "decision": "approve",
                              "facts_hash": "0" * 64}),
    "DelegateApproval": (HEAD, {"approval": "cutoff-1", "to": "head-2", "until": days(99),
                                "reason": "leave"}),
    "WithdrawApproval": (CLERK, {"approval": "cutoff-1", "reason": "not-needed"}),
    "DeadlinePassed": (SYSTEM, {"at": days(45)}),
    "RecordAnswer": (SYSTEM, {"request": "arrears-1/asks/1", "accepted": True}),
}  # fmt: skip
"""A command of every type, as it might be sent on the 45th day."""
