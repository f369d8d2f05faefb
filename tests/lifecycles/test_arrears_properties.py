"""What holds for every arrears case, whatever happens in whatever order: above all, no wrong cut.

The conditions of a stop are worked out here anew, from the events and the policy alone.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from lifecycles.casework import owner_of
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import dump
from lifecycles.policies import Pinned
from schemas.arrears import ArrearsState, Stage
from schemas.base import SYSTEM, Actor
from tests.lifecycles.arrears_cases import (
    ADMIN,
    ARREARS,
    BOSS,
    CLERK,
    CREW,
    HEAD,
    HOUR,
    LARGE,
    MINUTE,
    MONDAY,
    OPEN,
    OTHER_CREW,
    READER,
    VISIT,
    Debt,
    again,
    approved,
    asked,
    authorised,
    days,
    instalments,
    reopened,
)
from tests.lifecycles.repair_cases import ESTATE, WATER

SHANGHAI = ZoneInfo("Asia/Shanghai")
ENDED = (Stage.CLOSED, Stage.MOVED_OUT, Stage.WRITTEN_OFF, Stage.WITHDRAWN)
MONEY = ("BillsAdded", "PaymentReceived", "PaymentReversed", "BalanceCorrected")


@cache
def policies() -> Sequence[Pinned]:
    lenient = again(
        WATER, fresh_notice=False, permit__protected_seasons=(), permit__working_days_after=0
    )
    frost = again(WATER, permit__protected_seasons=[{"first": "03-16", "last": "03-19"}])
    slow = again(WATER, permit__lifetime="PT45M")
    return (WATER, again(ESTATE, threshold=5000), lenient, slow, frost)


# What the events say, worked out anew


def kind(event: Any) -> str:
    return type(event).__name__


class Facts:
    """Where a case stands after some of its events."""

    def __init__(self, policy: Pinned, events: Sequence[Any]) -> None:
        assert policy.policy.arrears is not None
        self.policy, self.rules = policy.policy, policy.policy.arrears
        self.events = events

    def all(self, *kinds: str) -> list[Any]:
        return [e for e in self.events if kind(e) in kinds]

    def since(self, *kinds: str) -> list[Any]:
        """The events after the last of these kinds; all of them if there is none."""
        places = [i for i, e in enumerate(self.events) if kind(e) in kinds]
        return list(self.events[places[-1] + 1 :]) if places else list(self.events)

    @property
    def opening(self) -> Any:
        return self.events[0]

    @property
    def debt(self) -> int:
        bills = {b.bill: b.amount for e in self.all("ArrearsOpened", "BillsAdded") for b in e.bills}
        for e in self.all("BalanceCorrected"):
            bills[e.bill] = e.amount
        came = {e.payment: e.amount for e in self.all("PaymentReceived")}
        back = {e.payment for e in self.all("PaymentReversed")}
        total = sum(bills.values()) - sum(came.values())
        return total + sum(came[payment] for payment in back)

    @property
    def holds(self) -> set[str]:
        standing: set[str] = set()
        for e in self.events:
            if kind(e) == "HoldPlaced":
                standing.add(e.hold)
            elif kind(e) in ("HoldReleased", "HoldExpired"):
                standing.discard(e.hold)
            elif kind(e) in ("MovedOut", "DebtWrittenOff", "ArrearsWithdrawn", "ArrearsClosed"):
                standing.clear()
        return standing

    @property
    def supply(self) -> str:
        told = {"ValveClosed": "off", "SupplyRestored": "on", "SelfReopened": "reopened"}
        return next((told[kind(e)] for e in reversed(self.events) if kind(e) in told), "on")

    def wrong(self, permit: Any, sent: dict[str, Any], now: datetime) -> list[str]:
        """Which conditions of the stop are not met at the instant `now`."""
        o, rules = self.opening, self.rules
        clock = now.astimezone(SHANGHAI)
        calls = sorted(e.at for e in self.all("ContactRecorded"))
        called = {at.astimezone(SHANGHAI).date() for at in calls if at <= now}
        notice = next((e for e in reversed(self.events) if kind(e) == "NoticeServed"), None)
        dropped = [e for e in self.since("NoticeServed") if kind(e) == "NoticeVoided"]
        ok = {
            "reminders": len(called) >= rules.reminders,
            "notice": notice is not None
            and not any(e.kind == "notice" for e in dropped)
            and notice.at + rules.notice_period <= now,
            "debt": self.debt >= max(rules.threshold, 1),
            "holds": not self.holds,
            "cases": not sent["premises_open"],
            "look": abs(now - sent["checked_at"]) <= rules.permit.freshness,
            "neighbours": not o.shared_valve,
            "hours": rules.permit.hours.start
            <= clock.hour * 60 + clock.minute
            < rules.permit.hours.end,
            "days": all(self.worked(clock.date(), n) for n in self.days_after()),
            "season": not any(
                self.in_season(s.first, s.last, clock.date())
                for s in rules.permit.protected_seasons
            ),
            "reader": permit.crew.casefold() != (o.reader or "").casefold(),
            "authority": self.authorised(permit),
            "supply": self.supply == ("reopened" if permit.full else "on"),
        }
        if permit.full:
            order = [e for e in self.since("ValveClosed") if kind(e) == "StopOrderServed"]
            voided = any(e.kind == "stop_order" for e in self.since("StopOrderServed")
                         if kind(e) == "NoticeVoided")  # fmt: skip
            ok["order"] = (
                bool(order) and not voided and order[-1].at + rules.stop_order_period <= now
            )
            restored = self.since("SupplyRestored")
            ok["first stop"] = not any(kind(e) == "UnpermittedCut" for e in restored)
        else:
            plans = [e for e in self.events if kind(e) == "VisitScheduled"]
            gone = {kind(e) for e in self.since("VisitScheduled")}
            ok["visit"] = (
                bool(plans)
                and plans[-1].crew == permit.crew
                and plans[-1].start <= now < plans[-1].end
                and not gone & {"VisitMissed", "VisitCancelled"}
            )
        return [name for name, met in ok.items() if not met]

    def days_after(self) -> range:
        return range(self.rules.permit.working_days_after + 1)

    def worked(self, day: date, later: int) -> bool:
        day += timedelta(days=later)
        calendar = self.policy.calendar
        if day in calendar.holidays:
            return False
        return day in calendar.workdays or f"{day:%a}".lower() in calendar.week

    def in_season(self, first: str, last: str, day: date) -> bool:
        begin, end = ((*map(int, text.split("-")),) for text in (first, last))
        today = (day.month, day.day)
        return begin <= today <= end if begin <= end else today >= begin or today <= end

    def authorised(self, permit: Any) -> bool:
        """A person who may said yes, and nothing that it rests on has happened since."""
        o = self.opening
        large = o.dn >= self.rules.large_meter or o.boilers or o.continuous_production
        if permit.full and not large:
            return True
        yes = next((e for e in reversed(self.events) if kind(e) == "CutoffAuthorised"), None)
        if yes is None or yes.by == o.reader:
            return False
        later = {kind(e) for e in self.since("CutoffAuthorised")}
        if later & {"AuthorisationLapsed", "HoldPlaced", "DebtSettled", "ValveClosed"}:
            return False
        if not large:
            return True
        if yes.approval is None:
            return False
        places = [
            i for i, e in enumerate(self.events)
            if kind(e) == "ApprovalRequested" and e.approval == yes.approval
        ]  # fmt: skip
        after = self.events[places[-1] :]
        given = [e.by for e in after if kind(e) == "ApprovalGiven" and e.approval == yes.approval]
        changed = {*MONEY, "HoldPlaced", "NoticeServed", "NoticeVoided", "StopOrderServed"}
        return (
            bool(given)
            and o.reader not in given
            and after[0].asked_by not in given
            and permit.crew not in given
            and not changed & {kind(e) for e in after}
        )


SPOILS = ("PaymentReceived", "HoldPlaced", "PaymentReversed", "BalanceCorrected", "BillsAdded")
"""What must not have been heard of between a permit's issue and the closing of the valve."""


def check_stops(debt: Debt, policy: Pinned, sent: dict[str, dict[str, Any]]) -> None:
    """Every closing that counts as permitted was right, when it was permitted and when made."""
    events: list[Any] = list(debt.events)
    redeemed: list[str] = []
    for event, told in zip(events, debt.heard, strict=True):
        if kind(event) == "PermitIssued":
            assert event.at == told, "a permit was issued for another time than now"
    for i, stop in enumerate(events):
        if kind(stop) != "ValveClosed":
            continue
        incident = kind(events[i + 1]) == "UnpermittedCut" if i + 1 < len(events) else False
        assert incident == (stop.permit is None), "a cut without permit passed unnoticed"
        if stop.permit is None:
            continue
        redeemed.append(stop.permit)
        j = next(
            j for j, e in enumerate(events) if kind(e) == "PermitIssued" and e.permit == stop.permit
        )
        permit = events[j]
        assert j < i
        assert permit.crew == stop.crew
        assert permit.full == (stop.kind == "full")
        rules = Facts(policy, events[:j]).rules
        assert permit.at <= stop.at < permit.at + rules.permit.lifetime
        body = sent[stop.permit]
        assert Facts(policy, events[:j]).wrong(permit, body, permit.at) == []
        # At the closing, with all that was heard of before; the look into the log was earlier.
        known = [e for e, told in zip(events[:i], debt.heard[:i], strict=True) if told <= stop.at]
        look = {**body, "checked_at": stop.at}
        assert Facts(policy, known).wrong(permit, look, stop.at) == [], stop.at
        between = [kind(e) for e in known[j + 1 :]]
        assert not set(between) & set(SPOILS)
    assert len(redeemed) == len(set(redeemed)), "a permit was redeemed twice"


def check(debt: Debt, policy: Pinned) -> None:
    state = debt.state
    facts = Facts(policy, debt.events)
    assert debt.balance == facts.debt, "the balance is not bills less payments and reversals"
    assert all(type(n) is int for n in amounts([dump(e) for e in debt.events]))
    assert owner_of(state) is not None
    assert {h.hold for h in state.holds} == facts.holds
    assert (state.supply == "on") == (facts.supply == "on"), "the stop register is wrong"
    assert [s.permitted for s in state.stops] == [
        e.permit is not None for e in facts.all("ValveClosed")
    ]
    flying = [p for p in state.permits if p.state == "issued"]
    assert len(flying) <= 1
    if flying:
        assert not state.holds
        assert state.stage in (Stage.VISIT_DUE, Stage.STOP_ORDER_SERVED)
    if state.stage in (Stage.AUTHORISED, Stage.VISIT_DUE):
        assert not state.holds
        assert facts.debt >= facts.rules.threshold
        if state.approval:
            assert [a.state for a in state.approvals if a.id == state.approval] == ["approved"]
    ended = state.stage in ENDED
    if not ended and state.supply == "on" and state.ends_as is None:
        assert (state.stage == Stage.PAID) == (facts.debt < facts.rules.threshold)
    paid = facts.debt < facts.rules.threshold or state.ends_as is not None
    owed = [c for c in state.commitments if c.name == "reconnect" and c.outstanding]
    assert len(owed) <= 1
    if state.supply != "on" and (paid or state.wrongful):
        assert owed, "nobody owes it to restore supply"
    if state.supply == "on":
        assert not owed
    assert state.happened == debt.version
    assert (ARREARS.next_deadline(state) is None) or not ended
    stored = ArrearsState.model_validate(state.model_dump() | {"policy": state.policy})
    assert stored == state, "the state does not survive being stored"


def amounts(body: Any) -> Iterator[Any]:
    """Every amount of money anywhere in the body."""
    for key, value in body.items() if isinstance(body, dict) else enumerate(body):
        if key in ("amount", "balance", "received", "expected"):
            yield value
        elif isinstance(value, dict | list):
            yield from amounts(value)


# A life


class Life:
    """A case that goes its way, and is disturbed on it."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.policy: Pinned
        self.calm: float = self.pick([0.7, 0.9, 0.97])
        self.number = 0
        self.sent: dict[str, dict[str, Any]] = {}
        if self.chance.random() < 0.3:
            # The second stop is far away: some lives begin after the first.
            self.policy, self.now = WATER, self.pick([11.0, 14.0, 15.0])
            self.debt = reopened(self.pick([authorised, approved])())
            self.sent["permit-1"] = asked(VISIT + HOUR)
            return
        self.policy, self.now = self.pick(policies()), 0.0
        self.debt = Debt(self.policy, "arrears-1")
        more: dict[str, Any] = {**self.pick([{}, {}, LARGE, {"boilers": True}])}
        if self.chance.random() < 0.1:
            more |= self.pick([{"vulnerable": True}, {"shared_valve": ["P-2"]}])
        bills = self.pick([OPEN["bills"], [{"bill": "B-1", "amount": 90000, "due": "2026-01-31"}]])
        self.send("OpenArrears", **{**OPEN, **more, "bills": bills})

    def pick(self, of: Sequence[Any]) -> Any:
        return self.chance.choice(of)

    def fresh(self, word: str) -> str:
        self.number += 1
        return f"{word}-{self.number}"

    def at(self, clock: float) -> None:
        self.now = max(self.now, clock)

    def day_of(self, time: datetime) -> float:
        return (time - MONDAY) / timedelta(days=1)

    def send(self, name: str, actor: Actor = CLERK, ago: float = 0, **body: Any) -> list[str]:
        """A command now, about something that happened so long ago; a refusal is an answer."""
        try:
            return self.debt.do(name, max(0, self.now - ago), told=self.now, actor=actor, **body)
        except Rejected:
            return []

    def step(self) -> None:
        if self.chance.random() < self.calm:
            self.go_on()
        else:
            self.at(self.now + self.pick([0, 0, 0.1, 1, 6]))
            self.disturb()

    def go_on(self) -> None:
        """Whatever usually comes next."""
        state, stage = self.debt.state, self.debt.stage
        if stage == Stage.OVERDUE:
            self.at(self.now + 1)
            self.send("RecordContact", READER, how="phone", evidence=self.fresh("call"))
        elif stage == Stage.REMINDED:
            self.send("ServeNotice", how="door", proof=self.fresh("photo"))
        elif stage == Stage.NOTICE_SERVED and state.notice:
            self.at(self.day_of(state.notice.effective_at))
        elif stage == Stage.ELIGIBLE:
            self.send("AuthoriseCutoff", BOSS)
            self.send("RequestCutoff", reason="unpaid")
        elif stage == Stage.AWAITING_APPROVAL:
            self.decide()
        elif stage == Stage.AUTHORISED:
            self.schedule()
        elif stage == Stage.VISIT_DUE and state.visit_start:
            self.at(self.day_of(state.visit_start) - self.pick([0, 0, 0, 10]) * MINUTE)
            self.ask(False)
        elif stage == Stage.TEMPORARILY_STOPPED:
            self.send("ReportSelfReopened", evidence=self.fresh("photo"))
        elif stage == Stage.SELF_REOPENED:
            self.send("ServeStopOrder", how="door", proof=self.fresh("photo"))
        elif state.wrongful:
            self.restore()
        elif stage == Stage.STOP_ORDER_SERVED and state.stop_order:
            if self.chance.random() < 0.6:
                self.at(self.day_of(state.stop_order.effective_at))
            if self.chance.random() < 0.8:
                self.send("RequestCutoff", reason="unpaid")
                self.decide()
                self.to_hours()
            self.ask(True)
        elif stage in (Stage.RECONNECT_DUE, Stage.FULLY_STOPPED):
            self.restore()
        else:
            self.at(self.now + 5)

    def decide(self, decision: str = "approve") -> None:
        if self.debt.state.approvals:
            actor = self.pick([HEAD, HEAD, HEAD, ADMIN, CLERK, READER])
            self.send("DecideApproval", actor, **self.debt.choice(decision))

    def schedule(self) -> None:
        day = int(self.now) + self.pick([1, 1, 1, 2, 3])
        begin = day + self.pick([1, 1, 2, 3, 6, 0]) * HOUR
        end = begin + self.pick([1, 1, 3, 8]) * HOUR
        crew = self.pick(["crew-1", "crew-1", "crew-2", "reader-1", "head-1"])
        self.send("ScheduleVisit", crew=crew, start=days(begin), end=days(end))

    def to_hours(self) -> None:
        """Mostly to a permitted hour, sometimes just anywhere."""
        if self.chance.random() < 0.9:
            self.at(int(self.now) + 1 + self.pick([1, 2, 6, 6.9]) * HOUR)

    def ask(self, full: bool) -> None:
        """A crew asks, mostly rightly; then it closes the valve, or something comes in between."""
        if self.chance.random() < 0.3:
            self.at(self.now + self.pick([1, 30, 50, 59, 200]) * MINUTE)
        name = self.fresh("permit")
        crew = self.debt.state.visit_crew or self.pick(["crew-1"] * 3 + ["reader-1", "head-1"])
        actor = Actor(subject=crew, role="crew", proof="token")
        if self.chance.random() < 0.4:
            actor = Actor(subject="handheld", role="service", proof="token")
        body = asked(self.now, permit=name, crew=crew, for_full_stop=full)
        if self.chance.random() < 0.15:
            body |= self.pick([
                {"premises_open": ["repair-5"]}, {"checked_at": days(self.now - 2 * MINUTE)},
                {"checked_at": days(self.now + 1 * MINUTE)}, {"crew": "crew-9"},
                {"for_full_stop": not full},
            ])  # fmt: skip
        self.sent[name] = body
        ago = self.pick([0] * 12 + [HOUR])
        issued = self.send("IssuePermit", actor, ago, **body)
        if not issued and self.chance.random() < 0.95:
            return
        for _ in range(self.pick([0, 0, 0, 0, 1, 2])):
            self.at(self.now + self.pick([0, 0, 1, 4, 9]) * MINUTE)
            self.disturb()
        self.close(name, crew, full)

    def close(self, name: str | None, crew: str, full: bool) -> None:
        if self.chance.random() < 0.15:
            return
        self.at(self.now + self.pick([0, 0, 1, 3, 9, 11]) * MINUTE)
        if self.chance.random() < 0.05:
            name, crew, full = self.pick([(None, crew, full), (name, "crew-9", full)])
        actor = Actor(subject=crew, role="crew", proof="token")
        ago = self.pick([0] * 7 + [1, 3, 12]) * MINUTE
        if self.chance.random() < 0.2:
            # Told hours later; all that the office hears of in between lies after the closing.
            when = self.now
            self.at(self.now + self.pick([1, 5]) * HOUR)
            self.disturb()
            ago = self.now - when
        for _ in range(self.pick([1, 1, 1, 2])):
            seal = self.pick(["S-1", self.fresh("S"), self.fresh("S")])
            self.send("RecordValveClosed", actor, ago, permit=name, crew=crew, full=full,
                      valve="V-1", seal=seal, reading=self.number)  # fmt: skip

    def restore(self) -> None:
        name = self.pick(["RecordReconnected"] * 3 + ["RecordReconnectionFailed"])
        body: dict[str, Any] = {"crew": "crew-2"}
        if name == "RecordReconnected":
            body |= {"seal_removed": self.fresh("S"), "reading": 1}
        else:
            body |= {"reason": "nobody-in", "evidence": self.fresh("card")}
        self.send(name, OTHER_CREW, **body)

    def pay(self, amount: int, ago: float = 0) -> None:
        if amount > 0:
            paid_at = days(max(0, self.now - ago))
            self.send("RecordPayment", ago=ago, payment=self.fresh("pay"), amount=amount,
                      currency="CNY", paid_at=paid_at)  # fmt: skip

    def disturb(self) -> None:
        """Something else happens."""
        state = self.debt.state
        ago = self.pick([0, 0, 0, 0.01, 2])
        match self.chance.randrange(20):
            case 0 | 1:
                self.pay(self.pick([1, 500, 4000, 8000]), ago)
            case 2 | 3:
                self.pay(self.debt.balance - self.pick([0, 0, 100, 4999, 5000]), ago)
            case 4 | 5:
                payments = [p.payment for p in state.payments] or ["none"]
                self.send("ReversePayment", payment=self.pick(payments), reason="bounced")
            case 6 | 7:
                what = self.pick(
                    ["dispute", "medical", "open_case", "payment_in_flight", "vulnerable"]
                )
                actor = self.pick([CLERK, SYSTEM])
                name = self.pick([self.fresh("hold"), "case-1"])
                self.send("PlaceHold", actor, ago, hold=name, kind=what, source="letter/1")
            case 8 | 9:
                names = [h.hold for h in state.holds] or ["case-1"]
                actor = self.pick([CLERK, SYSTEM])
                self.send("ReleaseHold", actor, hold=self.pick(names), reason="over")
            case 10:
                bill = {"bill": self.fresh("B"), "amount": 6000, "due": "2026-02-01"}
                self.send("AddBills", currency="CNY", run="run-2", bills=[bill])
            case 11:
                amount = self.pick([0, 100, 8000, 20000])
                self.send("CorrectBalance", bill="B-1", amount=amount, currency="CNY",
                          reason="misread", evidence="photo/1")  # fmt: skip
            case 12:
                half, day = self.debt.balance // 2 + 1, int(self.now) + 3
                if half > 0:
                    self.send("AgreePlan", **instalments((half, day), (half, day + 30)))
            case 13:
                body: dict[str, Any] = {"crew": "crew-1", "reason": "nobody-in"}
                body |= {"evidence": self.fresh("card"), "vulnerable": self.pick([True, False])}
                self.send("RecordVisitFailed", ago=ago, **body)
            case 14:
                self.send("WriteOff", reason="bankrupt")
                self.decide(self.pick(["approve", "reject", "reject"]))
            case 15:
                self.decide(self.pick(["approve", "reject"]))
            case 16:
                self.send("RecordContact", ago=ago, how="door", evidence=self.fresh("photo"))
            case 17 if self.calm < 0.9:
                self.send("RecordValveClosed", CREW, ago, permit=self.pick([None, *self.sent]),
                          crew="crew-1", valve="V-1", seal=self.fresh("S"), reading=2,
                          full=self.pick([True, False]))  # fmt: skip
            case 18:
                self.restore()
            case _:
                name, body = self.pick([
                    ("RecordMoveOut", {"moved_at": days(self.now), "evidence": "letter/2"}),
                    ("WithdrawArrears", {"reason": "mistake"}),
                    ("TakeCase", {}), ("TakeCase", {}), ("TakeCase", {}),
                ])  # fmt: skip
                self.send(name, BOSS, **body)

    def check(self) -> None:
        check(self.debt, self.policy)
        check_stops(self.debt, self.policy, self.sent)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_no_valve_is_closed_with_a_permit_while_any_condition_is_not_met(seed: int) -> None:
    life = Life(seed)
    for _ in range(40):
        life.step()
        life.check()
    debt = life.debt
    again = ARREARS.fold(
        ARREARS.initial("arrears-1", "town", *life.policy),
        [ARREARS.event(dump(event)) for event in debt.events],
    )
    assert again == debt.state, "the events do not tell the whole state"
    settle(life)
    life.check()
    for i, event in enumerate(debt.events, 1):
        if kind(event) in MONEY or kind(event) in ("DebtSettled", "DebtRevived", "NoticeServed"):
            assert getattr(event, "balance", None) == Facts(life.policy, debt.events[:i]).debt


def settle(life: Life) -> None:
    """Whatever happened: paid, and supply restored, every case ends by itself."""
    debt = life.debt
    for _ in range(4):
        life.at(life.now + 1)
        life.pay(debt.balance)
        if debt.state.supply != "on":
            life.send("RecordReconnected", OTHER_CREW, crew="crew-2",
                      seal_removed=life.fresh("S"), reading=1)  # fmt: skip
    life.at(life.now + 400)
    debt.wait(life.now)
    assert debt.stage in ENDED, debt.stage
    assert debt.state.supply == "on"
    assert ARREARS.next_deadline(debt.state) is None
    assert not any(c.outstanding for c in debt.state.commitments)
    assert not any(a.state == "requested" for a in debt.state.approvals)


def test_the_lives_that_are_tried_reach_every_stage_and_both_kinds_of_stop() -> None:
    stages: set[Stage] = set()
    stops: set[tuple[str, bool]] = set()
    revoked: set[str] = set()
    for seed in range(200):
        life = Life(seed)
        for _ in range(40):
            life.step()
            stages.add(life.debt.stage)
        stops |= {(s.kind, s.permitted) for s in life.debt.state.stops}
        revoked |= {e.reason for e in life.debt.events if kind(e) == "PermitRevoked"}  # type: ignore[attr-defined]
    assert stages >= set(Stage) - {Stage.UNOPENED}
    assert stops == {(k, p) for k in ("temporary", "full") for p in (True, False)}
    assert revoked >= {"payment", "hold", "supply"}
