"""The one interpreter: a case is a workflow that waits for a command or the next deadline.

Handlers put commands into an inbox. The loop alone decides (`plan`), appends, evolves and asks, so
that nothing interleaves. When the log turns out to be ahead, the workflow learns what happened and
decides again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from activities.canonical import command_hash
    from lifecycles.decisions import Rejected, reasons_of
    from lifecycles.lifecycle import Lifecycle, Plan, dump, lifecycle_of, plan
    from lifecycles.policies import Pinned, pinned
    from schemas.base import SYSTEM
    from schemas.envelope import (
        AppendRequest,
        AppendResult,
        CaseAnswer,
        CaseRequest,
        CommandEnvelope,
        CommandOutcome,
        OpenCase,
        RecordAnswer,
        Recorded,
        Refusal,
    )

FOREVER = RetryPolicy(
    initial_interval=timedelta(milliseconds=100), maximum_interval=timedelta(seconds=30)
)
"""An outage of Postgres is only slow: past the threshold Temporal waits with timers."""

ASKED_AT_ONCE = 100
"""The server bounds a run's unfinished activities; a network fault may have thousands to ask."""


class _Options(TypedDict):
    start_to_close_timeout: timedelta
    local_retry_threshold: timedelta
    retry_policy: RetryPolicy


LOCAL: _Options = {
    "start_to_close_timeout": timedelta(seconds=30),
    "local_retry_threshold": timedelta(seconds=10),
    "retry_policy": FOREVER,
}


@dataclass(eq=False)
class Item:
    """A command in the inbox and, in the end, what became of it."""

    command: CommandEnvelope[Any]
    waited_for: bool
    """Whether a caller waits: an Update. A refusal of anything else goes to the refusals table."""
    outcome: CommandOutcome | None = None
    error: ApplicationError | None = None
    unproven: bool = False
    """Whether it was refused for a proof that is none: such an attempt is always kept."""

    @property
    def settled(self) -> bool:
        return self.outcome is not None or self.error is not None


class CaseWorkflow:
    """What every kind of case does. A subclass names its lifecycle by its cases' prefix."""

    def __init__(self, raw: Any) -> None:
        self._invalid: tuple[str, ...] = ()
        self._inbox: list[Item] = []
        self._unreadable = 0
        self._version = 0
        self._recorded: dict[str, Recorded] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at: datetime | None = None
        try:
            self._open = OpenCase.model_validate(raw)
            self._policy: Pinned = pinned(self._open.policy)
            self._lifecycle: Lifecycle = lifecycle_of(self._open.case_id)
            self._state: Any = self._lifecycle.initial(
                self._open.case_id, self._open.organisation, *self._policy
            )
            opening = [self._lifecycle.asked(c) for c in self._open.commands]
            if self._open.case_id != workflow.info().workflow_id:
                raise Rejected(("case_id: must equal the workflow id.",))
        except ValidationError as error:
            self._invalid = reasons_of(error)
        except Rejected as refusal:
            self._invalid = refusal.reasons
        else:
            opening.sort(key=lambda c: c.occurred_at or workflow.now())
            self._inbox = [Item(c, waited_for=False) for c in opening]

    async def live(self) -> str:
        """The case, from here to its end. Returns the stage it ended in."""
        if self._invalid:
            raise _error("InvalidCase", self._invalid)
        if not self._inbox:
            await self._catch_up(await self._append(self._request()))
        while True:
            await self._turn()
            self._ask()
            if self._inbox:
                continue
            if self._over():
                await self._quiet()
                if not self._inbox:
                    return str(self._state.stage)
            elif self._may_continue_as_new():
                await self._quiet()
                if not self._inbox:
                    rest = self._open.model_copy(update={"commands": ()})
                    workflow.continue_as_new(rest.model_dump(mode="json"))
            else:
                await self._sleep()

    @workflow.update(name="command")
    async def command(self, raw: Any) -> CommandOutcome:
        """Ask something of the case: its outcome comes after the events are in Postgres."""
        item = Item(self._parse(raw), waited_for=True)
        self._inbox.append(item)
        await workflow.wait_condition(lambda: item.settled)
        if item.outcome is None:
            raise item.error or _error("Rejected", ("The command was not decided.",))
        return item.outcome

    @command.validator
    def _check_command(self, raw: Any) -> None:
        """Refuse what cannot be read; whether the case allows it, the loop decides with the log."""
        self._parse(raw)

    @workflow.signal(name="submit")
    async def submit(self, *arguments: Any) -> None:
        """Ask something of the case without waiting; a refusal is kept in the refusals table.

        Takes any number of arguments, because an error here would stop the whole case.
        """
        if self._invalid:
            return
        try:
            envelope = self._lifecycle.asked(arguments[0] if len(arguments) == 1 else arguments)
            self._inbox.append(Item(envelope, waited_for=False))
        except Rejected as refusal:
            await self._record_refusal(None, refusal.reasons)

    @workflow.query(name="state")
    def state(self) -> dict[str, Any]:
        """The case's state, without its policy, and its version in the log."""
        if self._invalid:
            return {"invalid": self._invalid}
        return {"version": self._version, **self._state.model_dump(mode="json")}

    def _parse(self, raw: Any) -> CommandEnvelope[Any]:
        if self._invalid:
            raise _error("InvalidCase", self._invalid)
        try:
            envelope = self._lifecycle.asked(raw)
        except Rejected as refusal:
            raise _error("InvalidCommand", refusal.reasons) from None
        update = workflow.current_update_info()
        if update is not None and update.id != envelope.id:
            raise _error("InvalidCommand", ("id: must equal the update id.",))
        return envelope

    async def _turn(self) -> None:
        """Decide all that is in the inbox and all that is due, and append it in one transaction."""
        arrived, self._inbox = self._inbox, []
        current = False
        while True:
            items = [item for item in arrived if not self._settle_known(item)]
            commands: dict[str, CommandEnvelope[Any]] = {}
            for item in items:
                commands.setdefault(item.command.id, item.command)
            made = plan(
                self._lifecycle, self._state, self._version, list(commands.values()), workflow.now()
            )
            if not made.steps and (current or not made.refused):
                break
            # Nobody is refused on a state that may be stale (a new run, a reset one): an append
            # without decisions only reads.
            result = await self._append(self._request(made))
            if result.status == "appended":
                self._state, self._version = made.state, made.version
                self._recorded.update((r.command_id, r) for r in result.recorded)
                break
            if result.status == "unproven":
                # The append saw for itself that what a decision rests on is not so.
                self._disprove(items, result.unproven)
                continue
            await self._catch_up(result)
            self._fail(items, result.conflicts)
            current = True
        for item in items:
            self._settle_known(item)
        self._refuse(items, made)
        self._tell()
        for item in arrived:
            if item.error is not None and (item.unproven or not item.waited_for):
                await self._record_refusal(item.command, item.error.details[0])

    def _settle_known(self, item: Item) -> bool:
        """Give a command that the log holds its first outcome; its id with other content fails."""
        if item.settled:
            return True
        known = self._recorded.get(item.command.id)
        if known is None:
            return False
        if known.command_hash != command_hash(dump(item.command)):
            item.error = _conflict()
        else:
            item.outcome = CommandOutcome(
                command_id=known.command_id,
                command_hash=known.command_hash,
                version=known.version,
                position=known.position,
                events=known.events,
                stage=str(self._state.stage),
            )
        return True

    async def _catch_up(self, result: AppendResult) -> None:
        self._learn(result)
        while result.more:
            result = await self._append(self._request())
            self._learn(result)

    def _learn(self, result: AppendResult) -> None:
        """The log is ahead: take over what it holds (lawful decisions of this same case)."""
        if self._version == 0 and any(
            body.get("policy", self._policy.hash) != self._policy.hash for body in result.events[:1]
        ):
            raise _error("InvalidCase", ("policy: the case was opened under another one.",))
        events = [self._lifecycle.event(body) for body in result.events]
        self._state = self._lifecycle.fold(self._state, events)
        self._version = result.version
        self._recorded.update((r.command_id, r) for r in result.recorded)

    def _fail(self, items: Sequence[Item], conflicts: Sequence[str]) -> None:
        for item in items:
            if item.command.id in conflicts:
                item.error = _conflict()

    def _disprove(self, items: Sequence[Item], unproven: Mapping[str, Sequence[str]]) -> None:
        for item in items:
            if reasons := unproven.get(item.command.id):
                hash = command_hash(dump(item.command))
                item.error, item.unproven = _error("Rejected", reasons, hash), True

    def _refuse(self, items: Sequence[Item], made: Plan) -> None:
        for command, reasons in made.refused:
            hash = command_hash(dump(command))
            for item in items:
                if item.command.id == command.id and not item.settled:
                    item.error = _error("Rejected", reasons, hash)

    async def _append(self, request: AppendRequest) -> AppendResult:
        return await workflow.execute_local_activity(
            "append_events", request, result_type=AppendResult, **LOCAL
        )

    def _request(self, made: Plan | None = None) -> AppendRequest:
        return AppendRequest(
            organisation=self._open.organisation,
            stream=self._open.case_id,
            expected_version=self._version,
            policy=self._open.policy if self._version == 0 and made and made.steps else None,
            decisions=tuple(step.decision() for step in (made.steps if made else ())),
            summary=self._lifecycle.summary(made.state) if made and made.steps else None,
        )

    async def _record_refusal(
        self, command: CommandEnvelope[Any] | None, reasons: Sequence[str]
    ) -> None:
        if command is None:
            self._unreadable += 1
        refusal = Refusal(
            organisation=self._open.organisation,
            stream=self._open.case_id,
            command_id=command.id if command else f"unreadable/{self._unreadable}",
            command_type=command.body.type if command else "unreadable",
            actor=command.actor.subject if command else "unknown",
            refused_at=workflow.now(),
            reasons=tuple(reasons),
        )
        await workflow.execute_local_activity("record_refusal", refusal, **LOCAL)

    def _ask(self) -> None:
        """See to it that what is to be asked of other cases is being asked, so many at a time.

        A question counts as being asked until its answer is decided.
        """
        requests: tuple[CaseRequest, ...] = self._state.requests[:ASKED_AT_ONCE]
        self._asking = {
            r.id: self._asking.get(r.id) or asyncio.create_task(self._ask_one(r)) for r in requests
        }

    async def _ask_one(self, request: CaseRequest) -> None:
        """Ask until it answers; the answer comes back as a command of this case."""
        answer = await workflow.execute_activity(
            "ask_case",
            args=[self._open.organisation, request],
            result_type=CaseAnswer,
            start_to_close_timeout=timedelta(seconds=60),
            retry_policy=FOREVER,
            summary=f"{request.command['type']} of {request.case_id}",
        )
        body = RecordAnswer(request=request.id, accepted=answer.accepted, reasons=answer.reasons)
        told = CommandEnvelope[RecordAnswer](id=f"{request.id}/answer", actor=SYSTEM, body=body)
        self._inbox.append(Item(told, waited_for=False))

    def _over(self) -> bool:
        """Whether nothing more can happen by itself: ended, or never properly begun."""
        return self._version == 0 or (
            self._lifecycle.summary(self._state).final and not self._asking
        )

    def _may_continue_as_new(self) -> bool:
        return workflow.info().is_continue_as_new_suggested() and not self._asking

    async def _quiet(self) -> None:
        """Until every handler is done, or one waits for us."""
        await workflow.wait_condition(lambda: bool(self._inbox) or workflow.all_handlers_finished())

    async def _sleep(self) -> None:
        """Until a command comes or the next deadline passes.

        A timer is kept as long as its deadline stands: most commands move none, and restarting it
        would cost two history events each.
        """
        due = self._lifecycle.next_deadline(self._state)
        if due != self._alarm_at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_at = due
            self._alarm = None if due is None else asyncio.create_task(self._ring(due))
        await workflow.wait_condition(lambda: bool(self._inbox) or self._alarm_at != due)

    async def _ring(self, due: datetime) -> None:
        await workflow.sleep(max(due - workflow.now(), timedelta(0)), summary="next deadline")
        self._alarm = self._alarm_at = None

    def _tell(self) -> None:
        """What Temporal's own UI shows of the case."""
        if self._version:
            workflow.set_current_details(self._lifecycle.story(self._state))


def _error(kind: str, reasons: Sequence[str], *details: str) -> ApplicationError:
    return ApplicationError(
        " ".join(reasons), list(reasons), *details, type=kind, non_retryable=True
    )


def _conflict() -> ApplicationError:
    return _error(
        "Conflict", ("This command id was used for another command; send it under a new id.",)
    )
