"""A lifecycle's pure functions under one name, and the one way to apply commands and deadlines.

`plan` is what the workflow appends, what a rehearsal counts and what an audit decides again: the
same code.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from pydantic import TypeAdapter, ValidationError

from lifecycles import (
    archive,
    arrears,
    assessment,
    complaint,
    conduct,
    premises,
    repair,
    satisfaction,
)
from lifecycles.calendars import OutOfRange
from lifecycles.changes import made
from lifecycles.decisions import Rejected, reasons_of
from lifecycles.signing import checks
from schemas.archive import ArchiveCommand, ArchiveEvent
from schemas.arrears import ArrearsCommand, ArrearsEvent
from schemas.assessment import AssessmentCommand, AssessmentEvent
from schemas.base import SYSTEM, CaseCommand, Command, Event
from schemas.complaint import ComplaintCommand, ComplaintEvent
from schemas.conduct import ConductCommand, ConductEvent
from schemas.envelope import (
    CaseSummary,
    CommandEnvelope,
    DeadlinePassed,
    Decision,
    Json,
    Message,
    RecordAnswer,
)
from schemas.policy import Policy
from schemas.premises import PremisesCommand, PremisesEvent
from schemas.repair import RepairCommand, RepairEvent
from schemas.satisfaction import SatisfactionCommand, SatisfactionEvent

TOO_FAR = ("A time in it lies too far from now to be reckoned with; correct it.",)
CLOCK = "deadline/"
"""How the ids of the clock's own commands begin."""


@dataclass(frozen=True)
class Lifecycle:
    """The pure functions of one kind of case."""

    kind: str
    initial: Callable[[str, str, Policy, str], Any]
    decide: Callable[[Any, CommandEnvelope[Any], datetime], list[Any]]
    evolve: Callable[[Any, Any], Any]
    next_deadline: Callable[[Any], datetime | None]
    last_together: Callable[[Any, datetime, datetime], datetime]
    effects: Callable[[Any, Any], list[Message]]
    summary: Callable[[Any], CaseSummary]
    story: Callable[[Any], str]
    possible: Callable[[Any], tuple[str, ...]]
    """The commands that somebody may send now."""
    commands: TypeAdapter[CommandEnvelope[Any]]
    events: TypeAdapter[Any]

    def command(self, raw: object) -> CommandEnvelope[Any]:
        """A command envelope from JSON-like input; raises `Rejected` with all that is wrong."""
        try:
            return self.commands.validate_python(raw)
        except ValidationError as error:
            raise Rejected(reasons_of(error)) from None
        except OverflowError:
            raise Rejected(("A time lies outside the calendar in UTC; correct it.",)) from None

    def asked(self, raw: object) -> CommandEnvelope[Any]:
        """A command from outside: one that only the case gives itself is `Rejected`."""
        envelope = self.command(raw)
        if envelope.id.startswith(CLOCK):
            raise Rejected((f"id: those that begin with {CLOCK} are the clock's; choose another.",))
        if isinstance(envelope.body, DeadlinePassed | RecordAnswer):
            raise Rejected(
                (f"{envelope.body.type} is the clock's or the case's own: do not send it.",)
            )
        if isinstance(envelope.body, CaseCommand) and envelope.actor != SYSTEM:
            name = type(envelope.body).__name__
            raise Rejected((f"{name} is what one case asks of another: do not send it.",))
        return envelope

    def event(self, raw: object) -> Event:
        """An event from its stored body; an unknown type or shape is an error."""
        return self.events.validate_python(raw)

    def fold(self, state: Any, events: Iterable[Event]) -> Any:
        """The state after events, in their order."""
        for event in events:
            state = self.evolve(state, event)
        return state


class Rules(Protocol):
    """What a kind's own module holds."""

    @property
    def initial(self) -> Callable[[str, str, Policy, str], Any]: ...
    @property
    def decide(self) -> Callable[[Any, CommandEnvelope[Any], datetime], list[Any]]: ...
    @property
    def evolve(self) -> Callable[[Any, Any], Any]: ...
    @property
    def next_deadline(self) -> Callable[[Any], datetime | None]: ...
    @property
    def last_together(self) -> Callable[[Any, datetime, datetime], datetime]: ...
    @property
    def effects(self) -> Callable[[Any, Any], list[Message]]: ...
    @property
    def summary(self) -> Callable[[Any], CaseSummary]: ...
    @property
    def story(self) -> Callable[[Any], str]: ...
    @property
    def possible(self) -> Callable[[Any], tuple[str, ...]]: ...


def _of(
    kind: str,
    rules: Rules,
    commands: TypeAdapter[CommandEnvelope[Any]],
    events: TypeAdapter[Any],
) -> Lifecycle:
    return Lifecycle(
        kind=kind,
        initial=rules.initial,
        decide=rules.decide,
        evolve=rules.evolve,
        next_deadline=rules.next_deadline,
        last_together=rules.last_together,
        effects=rules.effects,
        summary=rules.summary,
        story=rules.story,
        possible=rules.possible,
        commands=commands,
        events=events,
    )


LIFECYCLES: Mapping[str, Lifecycle] = {
    "repair": _of(
        "repair",
        repair,
        TypeAdapter(CommandEnvelope[RepairCommand]),
        TypeAdapter(RepairEvent),
    ),
    "complaint": _of(
        "complaint",
        complaint,
        TypeAdapter(CommandEnvelope[ComplaintCommand]),
        TypeAdapter(ComplaintEvent),
    ),
    "conduct": _of(
        "conduct",
        conduct,
        TypeAdapter(CommandEnvelope[ConductCommand]),
        TypeAdapter(ConductEvent),
    ),
    "arrears": _of(
        "arrears",
        arrears,
        TypeAdapter(CommandEnvelope[ArrearsCommand]),
        TypeAdapter(ArrearsEvent),
    ),
    "premises": _of(
        "premises",
        premises,
        TypeAdapter(CommandEnvelope[PremisesCommand]),
        TypeAdapter(PremisesEvent),
    ),
    "assessment": _of(
        "assessment",
        assessment,
        TypeAdapter(CommandEnvelope[AssessmentCommand]),
        TypeAdapter(AssessmentEvent),
    ),
    "satisfaction": _of(
        "satisfaction",
        satisfaction,
        TypeAdapter(CommandEnvelope[SatisfactionCommand]),
        TypeAdapter(SatisfactionEvent),
    ),
    "archive": _of(
        "archive",
        archive,
        TypeAdapter(CommandEnvelope[ArchiveCommand]),
        TypeAdapter(ArchiveEvent),
    ),
}


def lifecycle_of(case_id: str) -> Lifecycle:
    """The lifecycle that a case's name belongs to; `Rejected` if there is none."""
    kind = case_id.partition("-")[0]
    if kind not in LIFECYCLES:
        raise Rejected((f"case: there is no such kind of case; known: {', '.join(LIFECYCLES)}.",))
    return LIFECYCLES[kind]


class Step(NamedTuple):
    """A command that was decided: its events, and the state after them."""

    lifecycle: Lifecycle
    command: CommandEnvelope[Any]
    decided_at: datetime
    events: tuple[Event, ...]
    state: Any

    @property
    def messages(self) -> tuple[tuple[int, Message], ...]:
        """What the outside is to be told, each with the index of the event that it belongs to."""
        return tuple(
            (i, message)
            for i, event in enumerate(self.events)
            for message in self.lifecycle.effects(self.state, event)
        )

    def decision(self) -> Decision:
        """It in the form that the log keeps."""
        return Decision(
            command=dump(self.command),
            decided_at=self.decided_at,
            events=tuple(dump(event) for event in self.events),
            messages=self.messages,
            checks=checks(self.state, self.command, self.events),
        )


@dataclass
class Plan:
    """What applying commands and deadlines came to; nothing has happened yet."""

    state: Any
    version: int
    steps: list[Step] = field(default_factory=list[Step])
    refused: list[tuple[CommandEnvelope[Any], tuple[str, ...]]] = field(
        default_factory=list[tuple[CommandEnvelope[Any], tuple[str, ...]]]
    )


def plan(
    lifecycle: Lifecycle,
    state: Any,
    version: int,
    commands: Sequence[CommandEnvelope[Any]],
    now: datetime,
) -> Plan:
    """Apply commands, and the deadlines before, between and after them, in business order.

    A deadline before a command's business time comes first; a fact at the very instant of a
    deadline is still in time. Deadlines that follow each other are one decision. Refusals do not
    stop the others. Ends with no deadline left at or before `now`.
    """
    result = Plan(state, version)
    for command in commands:
        _pass_deadlines(lifecycle, result, command.occurred_at or now, now, inclusive=False)
        try:
            _take(lifecycle, result, command, now)
        except Rejected as refusal:
            result.refused.append((command, refusal.reasons))
        except (OutOfRange, OverflowError):
            result.refused.append((command, TOO_FAR))
    _pass_deadlines(lifecycle, result, now, now, inclusive=True)
    return result


def _pass_deadlines(
    lifecycle: Lifecycle, result: Plan, until: datetime, now: datetime, *, inclusive: bool
) -> None:
    limit = min(now, until if inclusive else until - timedelta.resolution)
    while (at := lifecycle.next_deadline(result.state)) is not None and at <= limit:
        at = lifecycle.last_together(result.state, at, limit)
        _take(lifecycle, result, deadline(at, result.version), now)
        if not result.steps[-1].events:
            raise RuntimeError(f"a deadline at stage {result.state.stage} caused nothing")


_ByTheClock = CommandEnvelope[DeadlinePassed]


def deadline(at: datetime, version: int) -> CommandEnvelope[DeadlinePassed]:
    """The clock's command for a deadline; its id is the same whoever notices the deadline."""
    return made(
        _ByTheClock,
        id=f"{CLOCK}{version}/{at.isoformat()}",
        actor=SYSTEM,
        body=made(DeadlinePassed, at=at),
    )


def _take(lifecycle: Lifecycle, result: Plan, command: CommandEnvelope[Any], now: datetime) -> None:
    events = tuple(lifecycle.decide(result.state, command, now))
    result.state = lifecycle.fold(result.state, events)
    result.version += len(events)
    result.steps.append(Step(lifecycle, command, now, events, result.state))


def dump(value: Event | Command | CommandEnvelope[Any]) -> Json:
    """The JSON form in which a command or event is kept."""
    return value.model_dump(mode="json")
