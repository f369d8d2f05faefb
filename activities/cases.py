"""Cases as the world reaches them: open one, ask something of it, take it up again from the log."""

# pyright: reportUnknownMemberType=false
# (the SDK leaves the types of `execute_update` open)
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

from pydantic import ValidationError
from temporalio import activity
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowUpdateFailedError,
)
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from activities.canonical import command_hash
from activities.log_reader import LogReader
from lifecycles.decisions import Rejected, reasons_of
from lifecycles.lifecycle import dump, lifecycle_of, plan
from lifecycles.policies import pinned
from schemas.envelope import (
    CaseAnswer,
    CaseRequest,
    CaseSummary,
    CommandEnvelope,
    CommandOutcome,
    Json,
    OpenCase,
)

CASE_KIND = SearchAttributeKey.for_keyword("CaseKind")
ORGANISATION = SearchAttributeKey.for_keyword("Organisation")
DISTRICT = SearchAttributeKey.for_keyword("District")

STANDS_IN = "stands_in"
"""In a run's memo: it only reads the log, because the server has deleted the run's history."""

USED = "This command id was used for another command; send it under a new id."


class Conflict(Exception):
    """A command id was used before, with other content."""


class Cases:
    """Starts case workflows and sends them commands. One organisation's, on one task queue."""

    def __init__(self, client: Client, log: LogReader, organisation: str, task_queue: str) -> None:
        self._client = client
        self._log = log
        self._organisation = organisation
        self._task_queue = task_queue

    async def open(self, case_id: str, policy: str, command: Json) -> CommandOutcome:
        """Open a case with the command that reports it; returns when the report is in Postgres.

        Raises `Rejected` with every reason (nothing is started then), `Conflict` when the id was
        used for another report. The same report again returns the first outcome, and a case that
        the log holds keeps the policy that it was opened under.
        """
        policy = await self._log.policy_of(self._organisation, case_id) or policy
        (envelope,), summary = self._readable(case_id, policy, [command])
        start = self._start_operation(self._case(case_id, policy), summary)
        return await self._update_with_start(start, envelope)

    async def open_with_history(self, case_id: str, policy: str, commands: Sequence[Json]) -> bool:
        """Open a case with commands that already happened; False if it was opened before.

        Does not wait for them to be recorded. Raises `Rejected` if the case would refuse any.
        """
        envelopes, summary = self._readable(case_id, policy, commands)
        if await self._log.policy_of(self._organisation, case_id) is not None:
            return False
        case = self._case(case_id, policy, [dump(e) for e in envelopes])
        try:
            await self._client.start_workflow(
                _workflow(case_id),
                case.model_dump(mode="json"),
                id=case_id,
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                search_attributes=self._attributes(case_id, summary),
                priority=_priority(summary),
            )
        except WorkflowAlreadyStartedError:
            return False
        return True

    async def send(self, case_id: str, command: Json) -> CommandOutcome:
        """Ask something of a case; returns when its events are in Postgres.

        A case that has ended, or has no running workflow, is taken up again from the log first.
        Raises `Rejected` with every reason, `Conflict` when the id was used for another command.
        """
        envelope = lifecycle_of(case_id).asked(command)
        handle = self._client.get_workflow_handle(case_id)
        try:
            outcome = await handle.execute_update(
                "command", dump(envelope), id=envelope.id, result_type=CommandOutcome
            )
        except WorkflowUpdateFailedError as error:
            _raise(error, envelope)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            start = self._start_operation(*await self._held(case_id))
            return await self._update_with_start(start, envelope)
        return _same(outcome, envelope)

    async def submit(self, case_id: str, command: Json) -> None:
        """Ask something of a case without waiting; a refusal is kept in the refusals table."""
        case, summary = await self._held(case_id)
        await self._client.start_workflow(
            _workflow(case_id),
            case.model_dump(mode="json"),
            id=case_id,
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            start_signal="submit",
            start_signal_args=[command],
            search_attributes=self._attributes(case_id, summary),
            priority=_priority(summary),
        )

    async def take_up(self, case: OpenCase, *, stands_in: bool = False) -> bool:
        """Start a case's workflow from the log; False if it runs already.

        `stands_in` is in its memo, and so in its history: that of a case that has ended tells then
        what the log holds, in place of one that was lost.
        """
        summary = await self._log.case(self._organisation, case.case_id)
        try:
            await self._client.start_workflow(
                _workflow(case.case_id),
                case.model_dump(mode="json"),
                id=case.case_id,
                task_queue=self._task_queue,
                memo={STANDS_IN: True} if stands_in else None,
                search_attributes=self._attributes(case.case_id, summary),
                priority=_priority(summary),
            )
        except WorkflowAlreadyStartedError:
            return False
        return True

    @activity.defn(name="ask_case")
    async def ask_case(self, organisation: str, request: CaseRequest) -> CaseAnswer:
        """Put one case's request to another, and bring back its answer. Done there once.

        A case that the request may open is opened under the asker's policy, unless the log has it.
        """
        command = {
            "id": request.id,
            "actor": {"subject": "standpipe", "role": "system", "proof": "system"},
            "body": request.command,
        }
        try:
            if request.opens:
                await self._send_or_open(request, command)
            else:
                await self.send(request.case_id, command)
        except Rejected as refusal:
            return CaseAnswer(accepted=False, reasons=refusal.reasons)
        except Conflict as conflict:
            return CaseAnswer(accepted=False, reasons=(str(conflict),))
        return CaseAnswer(accepted=True)

    async def _send_or_open(self, request: CaseRequest, command: Json) -> None:
        if await self._log.policy_of(self._organisation, request.case_id) is not None:
            await self.send(request.case_id, command)
            return
        asker = request.id.partition("/")[0]
        policy = await self._log.policy_of(self._organisation, asker)
        if policy is None:
            raise Rejected(["The case that asks is not in the log."])
        await self.open(request.case_id, policy, command)

    def _readable(
        self, case_id: str, policy: str, commands: Sequence[Json]
    ) -> tuple[list[CommandEnvelope[Any]], CaseSummary]:
        """The opening commands in business order and what a new case becomes by them."""
        lifecycle = lifecycle_of(case_id)
        now = datetime.now(UTC)
        envelopes = [lifecycle.asked(c) for c in commands]
        envelopes.sort(key=lambda e: e.occurred_at or now)
        try:
            self._case(case_id, policy)
            state = lifecycle.initial(case_id, self._organisation, *pinned(policy))
        except ValidationError as error:
            raise Rejected(reasons_of(error)) from None
        made = plan(lifecycle, state, 0, envelopes, now)
        if made.refused:
            raise Rejected(reason for _, reasons in made.refused for reason in reasons)
        return envelopes, lifecycle.summary(made.state)

    async def _held(self, case_id: str) -> tuple[OpenCase, CaseSummary | None]:
        """What takes a case up again; `Rejected` if the log has no such case."""
        lifecycle_of(case_id)
        policy = await self._log.policy_of(self._organisation, case_id)
        if policy is None:
            raise Rejected(["There is no such case."])
        summary = await self._log.case(self._organisation, case_id)
        return self._case(case_id, policy), summary

    def _case(self, case_id: str, policy: str, commands: Sequence[Json] = ()) -> OpenCase:
        return OpenCase(
            organisation=self._organisation,
            case_id=case_id,
            policy=policy,
            commands=tuple(commands),
        )

    def _start_operation(
        self, case: OpenCase, summary: CaseSummary | None
    ) -> WithStartWorkflowOperation[Any, str]:
        return WithStartWorkflowOperation(
            _workflow(case.case_id),
            case.model_dump(mode="json"),
            id=case.case_id,
            task_queue=self._task_queue,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=self._attributes(case.case_id, summary),
            priority=_priority(summary),
        )

    async def _update_with_start(
        self, start: WithStartWorkflowOperation[Any, str], envelope: CommandEnvelope[Any]
    ) -> CommandOutcome:
        try:
            outcome = await self._client.execute_update_with_start_workflow(
                "command",
                dump(envelope),
                start_workflow_operation=start,
                id=envelope.id,
                result_type=CommandOutcome,
            )
        except WorkflowUpdateFailedError as error:
            _raise(error, envelope)
        return _same(outcome, envelope)

    def _attributes(self, case_id: str, summary: CaseSummary | None) -> TypedSearchAttributes:
        pairs: list[SearchAttributePair[Any]] = [
            SearchAttributePair(CASE_KIND, case_id.partition("-")[0]),
            SearchAttributePair(ORGANISATION, self._organisation),
        ]
        if summary is not None and summary.district is not None:
            pairs.append(SearchAttributePair(DISTRICT, summary.district))
        return TypedSearchAttributes(pairs)


def _workflow(case_id: str) -> str:
    return f"{case_id.partition('-')[0].capitalize()}Workflow"


def _priority(summary: CaseSummary | None) -> Priority:
    """Danger first, then special care (CNPC-3.1.9); districts share fairly: none starves."""
    if summary is None:
        return Priority.default
    grave = {"hazard": 1, "major": 2}.get(summary.severity or "", 3)
    return Priority(
        priority_key=min(grave, 2) if summary.priority else grave, fairness_key=summary.district
    )


def _same(outcome: CommandOutcome, envelope: CommandEnvelope[Any]) -> CommandOutcome:
    """Temporal answers a repeated update id without asking: see that it is the same command."""
    if outcome.command_hash != command_hash(dump(envelope)):
        raise Conflict(USED)
    return outcome


def _raise(error: WorkflowUpdateFailedError, envelope: CommandEnvelope[Any]) -> NoReturn:
    cause = error.cause
    if isinstance(cause, ApplicationError):
        reasons: Sequence[str] = cause.details[0] if cause.details else [cause.message]
        refused = cause.details[1:2]  # the hash of what was refused under this id
        if cause.type == "Conflict" or any(h != command_hash(dump(envelope)) for h in refused):
            raise Conflict(USED) from None
        if cause.type in ("Rejected", "InvalidCommand", "InvalidCase"):
            raise Rejected(reasons) from None
    raise error
