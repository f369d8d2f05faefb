"""One account lived through: its files' bills and payments, and a company that acts at once.

The company does each thing as soon as the policy allows, as `rehearse_diary.assumed` says in words.
What may be done, and when, the arrears lifecycle alone decides: its own functions run here.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from gateway.billing import Account, opening, overdue
from gateway.billing_cases import (
    Run,
    case_of_account,
    day_of,
    midnight,
    news,
    opening_commands,
    payments_news,
)
from gateway.rehearse_diary import Diary, Years
from lifecycles.arrears_guards import Look, Stopping, checks
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import LIFECYCLES, Plan, plan
from lifecycles.policies import Pinned
from schemas.approvals import Approval, DecideApproval
from schemas.arrears import (
    ArrearsState,
    AuthoriseCutoff,
    IssuePermit,
    RecordContact,
    RecordReconnected,
    RecordValveClosed,
    RequestCutoff,
    ScheduleVisit,
    ServeNotice,
    Stage,
)
from schemas.base import Actor, Command, Event, Role
from schemas.envelope import CommandEnvelope, Json
from schemas.signing import Signature

_ARREARS = LIFECYCLES["arrears"]
_DAY = timedelta(days=1)
_CREW = "rehearsed-crew"
_FOLLOWS = ("stage", "crew", "visit", "authorisation", "approval")
"""Guards that fail, too, where for another one's sake no visit could be scheduled."""


class Refused(NamedTuple):
    """A crew asked for its permit and was refused: by these guards."""

    at: datetime
    guards: tuple[str, ...]


class Happened(NamedTuple):
    """Something that happened in a case: in order of time, and of its stream."""

    case_id: str
    what: Event | Refused


Story = Iterator[Happened]
Act = Callable[[ArrearsState, datetime], Story]
_Envelope = CommandEnvelope[Any]


def _actor(subject: str, role: Role) -> Actor:
    return Actor(subject=subject, role=role, proof="import")


_COLLECTOR = _actor("rehearsed-collector", "clerk")
_SUPERVISOR = _actor("rehearsed-supervisor", "supervisor")
_AT_VALVE = _actor(_CREW, "crew")


class Life:
    """One account's cases, one after the other, under one policy."""

    def __init__(self, account: Account, years: Years, pinned: Pinned, diary: Diary) -> None:
        self._account = account
        self._years = years
        self._pinned = pinned
        self._diary = diary
        self._state: ArrearsState | None = None
        self._number = 0
        self._version = 0
        self._sent = 0
        self._since = diary.end
        """Since when the case has stood where it stands."""
        self._refused = False
        """Whether a crew was refused since then."""

    def story(self) -> Story:
        """All that happens. Raises `Rejected` where a case refuses what the files say."""
        years = self._years
        days = {payment.paid for payment in self._account.payments}
        day = years.since
        while day <= years.until:
            if day in days or years.is_run(day):
                at = midnight(self._diary.calendar, day)
                yield from self._until(at)
                yield from self._read(day, at)
            day += _DAY
        yield from self._until(self._diary.end)

    # What the files say

    def _read(self, day: date, at: datetime) -> Story:
        s, years = self._state, self._years
        run = Run(years.source, day, years.currency) if years.is_run(day) else None
        if s is None or s.closed_at is not None:
            closed_at = s.closed_at if s else None
            if run and (closed_at is None or day > day_of(self._diary.calendar, closed_at)):
                yield from self._open(run, at)
        elif run:
            yield from self._heard(at, news(run, self._account, s))
        else:
            todays = [payment for payment in self._account.payments if payment.paid == day]
            yield from self._heard(at, payments_news(todays, day, years.currency, s))

    def _open(self, run: Run, at: datetime) -> Story:
        account, organisation = self._account, self._years.organisation
        if overdue(account, run.as_of).balance < self._diary.threshold:
            return
        self._number += 1
        case_id = case_of_account(organisation, account.number, self._number)
        self._state, self._version = _ARREARS.initial(case_id, organisation, *self._pinned), 0
        begins = opening(account, run.as_of)
        yield from self._heard(at, opening_commands(run, account, begins, self._diary.calendar))

    def _heard(self, at: datetime, commands: Sequence[Json]) -> Story:
        yield from self._tell(at, *(_ARREARS.command(raw) for raw in commands))

    # What the company and the clock do

    def _until(self, limit: datetime) -> Story:
        """Everything before the limit."""
        while (s := self._state) is not None and s.closed_at is None:
            deadline = _ARREARS.next_deadline(s) or limit
            at, act = self._next(s) or (limit, None)
            if act and at <= deadline and at < limit:
                yield from act(s, at)
            elif deadline < limit:
                yield from self._tell(deadline)
            else:
                return

    def _next(self, s: ArrearsState) -> tuple[datetime, Act] | None:
        """When the company acts next, and how; None where it waits."""
        service, working = self._years.service, self._diary.working
        if by := _restore_by(s):
            return by, self._restore
        match s.stage:
            case Stage.OVERDUE:
                first, last = working(self._since, 0), s.contacts[-1:]
                again = [working(k.at, service.between_reminders) for k in last]
                return max([first, *again]), self._remind
            case Stage.REMINDED:
                return working(self._since, service.notice_after), self._serve
            case Stage.ELIGIBLE if s.holds:
                return None if self._refused else (self._first_visit(), self._stop)
            case Stage.ELIGIBLE:
                return working(self._since, 0), self._authorise
            case Stage.AWAITING_APPROVAL:
                return working(_pending(s).asked_at, service.approved_after), self._approve
            case Stage.AUTHORISED:
                first = self._first_visit()
                if not self._refused and not self._diary.allows(first):
                    return first, self._stop
                start, end = self._diary.visit(self._since if self._refused else first)
                schedule = partial(self._schedule, start, end)
                return (self._since, schedule) if start < self._diary.end else None
            case Stage.VISIT_DUE:
                start = s.visit_start or self._since
                return None if self._refused else (max(start, self._since), self._stop)
            case _:
                return None

    def _first_visit(self) -> datetime:
        """When the crew comes as soon as it can, whether or not a valve may be closed then."""
        ready = self._diary.working(self._since, self._years.service.visit_after)
        return max(self._since, self._diary.hours(day_of(self._diary.calendar, ready))[0])

    def _remind(self, s: ArrearsState, at: datetime) -> Story:
        contact = RecordContact(how="door", evidence=f"rehearsed:{s.happened}")
        yield from self._do(at, contact, _COLLECTOR)

    def _serve(self, s: ArrearsState, at: datetime) -> Story:
        yield from self._do(
            at, ServeNotice(how="door", proof=f"rehearsed:{s.happened}"), _COLLECTOR
        )

    def _authorise(self, s: ArrearsState, at: datetime) -> Story:
        needed = "RequestCutoff" in _ARREARS.possible(s)
        body = RequestCutoff(reason="unpaid") if needed else AuthoriseCutoff()
        yield from self._do(at, body, _SUPERVISOR)

    def _approve(self, s: ArrearsState, at: datetime) -> Story:
        asked = _pending(s)
        yes = DecideApproval(
            approval=asked.id,
            decision="approve",
            facts_hash=asked.facts_hash,
            signature=_unverified(s, at) if asked.signed else None,
        )
        heads = [_actor(f"rehearsed-head-{n + 1}", asked.roles[0]) for n in range(asked.needed)]
        yield from self._tell(at, *(self._envelope(yes, head) for head in heads))

    def _schedule(self, start: datetime, end: datetime, _: ArrearsState, at: datetime) -> Story:
        yield from self._do(at, ScheduleVisit(crew=_CREW, start=start, end=end), _SUPERVISOR)

    def _stop(self, s: ArrearsState, at: datetime) -> Story:
        """The crew at the valve asks for its permit and uses it, or goes home."""
        permit = f"permit-{s.happened}"
        ask = IssuePermit(permit=permit, crew=_CREW, premises_open=(), checked_at=at)
        made = self._plan(at, self._envelope(ask, _AT_VALVE))
        if made.refused:
            self._since, self._refused = at, True
            yield Happened(s.case_id, Refused(at, _failing(s, at)))
            yield from self._took(made, at)
            return
        yield from self._took(made, at)
        closed = RecordValveClosed(
            permit=permit, crew=_CREW, valve="rehearsed", seal=permit, reading=0
        )
        yield from self._do(at, closed, _AT_VALVE)

    def _restore(self, s: ArrearsState, at: datetime) -> Story:
        seal = f"rehearsed:{s.happened}"
        yield from self._do(
            at, RecordReconnected(crew=_CREW, seal_removed=seal, reading=0), _AT_VALVE
        )

    # Telling the case

    def _do(self, at: datetime, body: Command, actor: Actor) -> Story:
        yield from self._tell(at, self._envelope(body, actor))

    def _envelope(self, body: Command, actor: Actor) -> _Envelope:
        self._sent += 1
        return _Envelope(id=f"rehearsed/{self._sent}", actor=actor, body=body)

    def _tell(self, at: datetime, *commands: _Envelope) -> Story:
        made = self._plan(at, *commands)
        if made.refused:
            reasons = (reason for _, refused in made.refused for reason in refused)
            raise Rejected(dict.fromkeys(reasons))
        yield from self._took(made, at)

    def _plan(self, at: datetime, *commands: _Envelope) -> Plan:
        return plan(_ARREARS, self._state, self._version, commands, at)

    def _took(self, made: Plan, at: datetime) -> Story:
        before, s = self._state, made.state
        self._state, self._version = s, made.version
        if before is None or _stands(before) != _stands(s):
            self._since, self._refused = at, False
        for step in made.steps:
            for event in step.events:
                yield Happened(s.case_id, event)


def _stands(s: ArrearsState) -> tuple[Stage, tuple[str, ...]]:
    """What the company's next act depends on."""
    return s.stage, tuple([h.hold for h in s.holds]) if s.stage == Stage.ELIGIBLE else ()


def _failing(s: ArrearsState, at: datetime) -> tuple[str, ...]:
    """The guards that fail at the valve; what follows from others is left out."""
    every = checks(s, Stopping(_CREW, at, full=False), Look((), at))
    failing = tuple([check.guard.name for check in every if not check.guard.holds])
    return tuple([name for name in failing if name not in _FOLLOWS]) or failing


def _unverified(s: ArrearsState, at: datetime) -> Signature:
    """Nobody's: the rules ask whether there is a signature, only the log whether it is good."""
    return Signature(
        key="A" * 43, signature="A" * 86, version=s.happened, nonce="0" * 32, expires_at=at
    )


def _pending(s: ArrearsState) -> Approval:
    return next(a for a in s.approvals if a.kind == "cutoff" and a.state == "requested")


def _restore_by(s: ArrearsState) -> datetime | None:
    """By when supply is promised to be on again, where it is."""
    terms = s.rules.terms
    owed = [c for c in s.commitments if c.outstanding]
    return min((c.due for c in owed if terms[c.name, c.rule].ends == "reconnected"), default=None)
