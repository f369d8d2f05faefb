"""Decides every command of a case again: each event must be the lawful outcome of its cause.

Pure: nothing is believed but the commands and when they were decided, which the events' headers
commit to. What signatures rest on is collected, for audit/signatures.py to look up.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pydantic import ValidationError

from activities.canonical import canonical
from audit.findings import Finding
from audit.log import RawCase, RawDecision
from lifecycles.calendars import OutOfRange
from lifecycles.decisions import Rejected, reasons_of
from lifecycles.lifecycle import CLOCK, Lifecycle, Step, deadline, dump, lifecycle_of
from lifecycles.policies import pinned
from lifecycles.signing import checks
from schemas.base import SYSTEM, CaseCommand, Event
from schemas.envelope import (
    CommandEnvelope,
    DeadlinePassed,
    Json,
    RecordAnswer,
    SignatureCheck,
)

SKEW = timedelta(minutes=1)
"""So far may two servers' clocks be apart; within a run of a case, time never runs backwards."""
MOST = 20
"""Findings of one case; what comes after is left out, and that is said."""

Words = Mapping[int, Sequence[Json]]
"""What the outbox holds, by position: the messages of that event, in their order."""


class Signed(NamedTuple):
    """A signature that a decision rests on."""

    check: SignatureCheck
    stream: str
    decision: RawDecision


class Again(NamedTuple):
    """What deciding a case again came to."""

    findings: tuple[Finding, ...]
    signed: tuple[Signed, ...]
    commands: int
    events: int


def redecide(case: RawCase, organisation: str, outbox: Words | None = None) -> list[Finding]:
    """What in a case is not the lawful outcome of its commands; nothing if all of it is."""
    return list(decide_again(case, organisation, outbox).findings)


def decide_again(case: RawCase, organisation: str, outbox: Words | None = None) -> Again:
    """The same, with the signatures that it rests on.

    `outbox` is what the outbox holds for the case's events; None: messages are not compared.
    """
    return _Case(case, organisation, outbox).decided()


class _Unreadable(Exception):
    """Nothing after this can be decided again."""


class _Case:
    def __init__(self, case: RawCase, organisation: str, outbox: Words | None) -> None:
        self._case = case
        self._organisation = organisation
        self._outbox = outbox
        self._findings: list[Finding] = []
        self._signed: list[Signed] = []
        self._version = 0
        self._decided_at: datetime | None = None
        self._lifecycle: Lifecycle
        self._state: Any
        self._due: tuple[Any, datetime | None] = (None, None)
        """A state, and when something is due in it."""

    def decided(self) -> Again:
        events = 0
        try:
            self._begin()
            for place, decision in enumerate(self._case.decisions):
                events += len(decision.events)
                self._decide(decision)
                self._end_of_turn(place)
                if len(self._findings) >= MOST:
                    raise _Unreadable(f"after {MOST} findings the rest of the case was left out.")
        except _Unreadable as end:
            self._wrong("decision", f"Not decided again: {end}", self._version + 1)
        except Exception as error:  # noqa: BLE001 - rows may hold anything; that is a finding, too
            what = f"Not decided again: its rows make no sense ({type(error).__name__})."
            self._wrong("decision", what, self._version + 1)
        for orphan in self._case.orphans:
            what = f"{orphan.type} names a command that the log does not have: nothing caused it."
            self._wrong("decision", what, orphan.version, orphan.position)
        return Again(tuple(self._findings), tuple(self._signed), len(self._case.decisions), events)

    def _begin(self) -> None:
        case = self._case
        if case.policy is None:
            raise _Unreadable("the policy that the case pinned is not there, or is no text.")
        try:
            self._lifecycle = lifecycle_of(case.stream)
            self._state = self._lifecycle.initial(
                case.stream, self._organisation, *pinned(case.policy)
            )
        except Rejected as refusal:
            raise _Unreadable(" ".join(refusal.reasons)) from None
        except (ValidationError, OutOfRange, OverflowError, ValueError):
            raise _Unreadable("the policy that the case pinned is not one.") from None

    def _decide(self, decision: RawDecision) -> None:
        self._version = decision.version - len(decision.events)
        command = self._command(decision)
        if command is None:
            return
        now = decision.decided_at
        self._check_time(decision)
        self._check_order(decision, command)
        try:
            caused = tuple(self._lifecycle.decide(self._state, command, now))
            after = self._lifecycle.fold(self._state, caused)
        except Rejected as refusal:
            self._refused(decision, command, refusal.reasons)
            return
        except Exception as error:  # noqa: BLE001 - rules owe nothing to what nobody could write
            self._refused(decision, command, (f"{type(error).__name__} in its rules",))
            return
        self._compare(decision, command, caused)
        self._state = after
        step = Step(self._lifecycle, command, now, caused, after)
        if self._outbox is not None and caused:
            self._compare_messages(decision, step, self._outbox)
        for check in checks(after, command, caused):
            if isinstance(check, SignatureCheck):
                self._signed.append(Signed(check, self._case.stream, decision))

    def _command(self, decision: RawDecision) -> CommandEnvelope[Any] | None:
        try:
            command = self._lifecycle.commands.validate_json(decision.command)
        except ValidationError as error:
            self._unlawful(decision, " ".join(reasons_of(error)))
        except OverflowError:
            self._unlawful(decision, "A time lies outside the calendar.")
        else:
            if command.id != decision.command_id:
                self._unlawful(decision, "The command itself has another id.")
            elif wrong := next(self._not_from_outside(command, decision), None):
                self._unlawful(decision, wrong)
            else:
                return command
        self._take(decision)
        return None

    def _not_from_outside(
        self, command: CommandEnvelope[Any], decision: RawDecision
    ) -> Iterator[str]:
        """What the case itself would have turned away, or never have said."""
        body = command.body
        if isinstance(body, DeadlinePassed):
            due = deadline(body.at, self._version)
            if canonical(dump(due)) != decision.command:
                yield f"The clock would have said {due.id}."
        elif command.id.startswith(CLOCK):
            yield "Its id is one that only the clock gives."
        elif isinstance(body, RecordAnswer):
            told = f"{body.request}/answer"
            if (command.id, command.actor, command.occurred_at) != (told, SYSTEM, None):
                yield f"The case itself would have told this answer, as {told}."
            elif not self._asked(body.request):
                yield "It answers what the case never asked."
        elif isinstance(body, CaseCommand) and command.actor != SYSTEM:
            yield f"{type(body).__name__} is what one case asks of another, and nobody else."

    def _asked(self, request: str) -> bool:
        case, _, number = request.rpartition("/asks/")
        return (
            case == self._case.stream
            and number.isdecimal()
            and 0 < int(number) <= self._state.asked
        )

    def _check_time(self, decision: RawDecision) -> None:
        before, now = self._decided_at, decision.decided_at
        if before is not None and now < before - SKEW:
            what = f"decided at {now.isoformat()}, but what came before it at {before.isoformat()}."
            self._wrong_with(decision, what)
        self._decided_at = now

    def _check_order(self, decision: RawDecision, command: CommandEnvelope[Any]) -> None:
        """No deadline was passed over, and none came early (see `lifecycles.lifecycle.plan`)."""
        due = self._next_deadline()
        now = decision.decided_at
        if isinstance(command.body, DeadlinePassed):
            at = command.body.at
            if at > now:
                self._wrong_with(decision, f"the deadline of {at.isoformat()} had not come yet.")
            elif due is None or at < due:
                self._wrong_with(decision, f"nothing was due at {at.isoformat()}.")
            elif self._lifecycle.last_together(self._state, due, at) != at:
                self._wrong_with(decision, f"what was due at {due.isoformat()} comes by itself.")
            return
        limit = min(now, (command.occurred_at or now) - timedelta.resolution)
        if due is not None and due <= limit:
            self._wrong_with(decision, f"the deadline of {due.isoformat()} was passed over.")

    def _end_of_turn(self, place: int) -> None:
        """Whoever writes goes on until nothing is due any more."""
        decision = self._case.decisions[place]
        following = self._case.decisions[place + 1 : place + 2]
        if following and following[0].decided_at == decision.decided_at:
            return
        due = self._next_deadline()
        if due is not None and due <= decision.decided_at:
            what = f"the deadline of {due.isoformat()} had come by then, and was left out."
            self._wrong_with(decision, what)

    def _next_deadline(self) -> datetime | None:
        state, due = self._due
        if state is not self._state:
            due = self._lifecycle.next_deadline(self._state)
            self._due = self._state, due
        return due

    def _compare(
        self, decision: RawDecision, command: CommandEnvelope[Any], caused: Sequence[Event]
    ) -> None:
        lawful = [canonical(dump(event)) for event in caused]
        if lawful == [event.body for event in decision.events]:
            return
        kind = command.body.type
        for number, event in enumerate(decision.events):
            if number >= len(lawful):
                what = f"{kind} causes no such event: {event.type} is one too many."
            elif lawful[number] == event.body:
                continue
            else:
                what = f"{kind} does not cause this {event.type} as it is written."
            self._wrong("decision", what, event.version, event.position)
        missing = len(lawful) - len(decision.events)
        if missing > 0:
            what = f"{kind} causes {missing} more events, which are not there."
            self._wrong_with(decision, what)

    def _refused(
        self, decision: RawDecision, command: CommandEnvelope[Any], reasons: Sequence[str]
    ) -> None:
        self._unlawful(decision, f"{command.body.type} is refused: {' '.join(reasons)}")
        self._take(decision)

    def _take(self, decision: RawDecision) -> None:
        """Go on from what is written, where nothing says what should be."""
        try:
            for event in decision.events:
                read = self._lifecycle.events.validate_json(event.body)
                self._state = self._lifecycle.evolve(self._state, read)
        except Exception as error:  # noqa: BLE001 - as above
            raise _Unreadable(
                f"an event before it cannot be taken in ({type(error).__name__})."
            ) from None

    def _unlawful(self, decision: RawDecision, why: str) -> None:
        if not decision.events:
            self._wrong_with(decision, why)
        for event in decision.events:
            what = f"{event.type} has no lawful cause. {why}"
            self._wrong("decision", what, event.version, event.position)

    def _compare_messages(self, decision: RawDecision, step: Step, outbox: Words) -> None:
        said: dict[int, list[Json]] = {}
        for place, message in step.messages:
            said.setdefault(place, []).append(message.model_dump())
        for place, event in enumerate(decision.events):
            if said.get(place, []) != outbox.get(event.position, []):
                what = f"{event.type} has other messages than the outbox holds for it."
                self._wrong("message", what, event.version, event.position)

    def _wrong_with(self, decision: RawDecision, what: str) -> None:
        """Something that is wrong with a decision as a whole."""
        place = decision.events[0] if decision.events else None
        self._wrong(
            "decision",
            f"{decision.command_id}: {what}",
            place.version if place else decision.version,
            place.position if place else None,
        )

    def _wrong(self, check: str, what: str, version: int, position: int | None = None) -> None:
        stream = self._case.stream
        self._findings.append(
            Finding(check=check, what=what, position=position, stream=stream, version=version)
        )
