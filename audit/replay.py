"""Runs a case's Temporal histories through today's code again, and catches what it wants to write.

What a run decided is in its history only as causes: the commands, and the answers to its appends.
Replayed, the workflow makes the same appends once more, and an interceptor keeps each with the
answer that the history holds. `audit.agreement` compares them with the log.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from temporalio.api.history.v1 import History
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import (
    Interceptor,
    Replayer,
    StartLocalActivityInput,
    UnsandboxedWorkflowRunner,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle

from schemas.base import CaseId
from schemas.envelope import AppendRequest, AppendResult
from worker import WORKFLOWS

_TOO_SLOW = "TMPRL1101"
"""Temporal gives code two seconds to decide something: on a busy machine that tells nothing."""


class Attempt(NamedTuple):
    """An append that a run made, and what it was answered; None: nothing, as far as we know."""

    request: AppendRequest
    answer: AppendResult | None


class Replayed(NamedTuple):
    """What one history came to."""

    attempts: tuple[Attempt, ...]
    failure: str | None
    """Temporal's words if today's code does not do what the history says."""


class Appends(Interceptor):
    """Keeps the appends of the history that is being replayed, one history at a time."""

    def __init__(self) -> None:
        self._made: list[tuple[AppendRequest, ActivityHandle[Any]]] = []

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        appends = self

        class Outbound(WorkflowOutboundInterceptor):
            def start_local_activity(self, input: StartLocalActivityInput) -> ActivityHandle[Any]:
                handle = super().start_local_activity(input)
                if input.activity == "append_events" and isinstance(input.args[0], AppendRequest):
                    appends.keep(input.args[0], handle)
                return handle

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

        return Inbound

    def keep(self, request: AppendRequest, handle: ActivityHandle[Any]) -> None:
        self._made.append((request, handle))

    def taken(self) -> tuple[Attempt, ...]:
        """Those made since the last time."""
        made, self._made = self._made, []
        return tuple(Attempt(request, _answer(handle)) for request, handle in made)


class Replaying:
    """One replayer for any number of histories: to start it takes longer than to replay one."""

    def __init__(self, results: AsyncIterator[Any], ask: asyncio.Queue[WorkflowHistory | None]):
        self._results = results
        self._ask = ask
        self._appends: Appends

    @classmethod
    @asynccontextmanager
    async def begun(cls, workflows: list[type] | None = None) -> AsyncGenerator["Replaying"]:
        """With this build's workflows, unless told otherwise; outside the sandbox."""
        ask: asyncio.Queue[WorkflowHistory | None] = asyncio.Queue(1)

        async def asked() -> AsyncGenerator[WorkflowHistory]:
            while (history := await ask.get()) is not None:
                yield history

        appends = Appends()
        replayer = Replayer(
            workflows=workflows or WORKFLOWS,
            workflow_runner=UnsandboxedWorkflowRunner(),
            data_converter=pydantic_data_converter,
            interceptors=[appends],
        )
        async with replayer.workflow_replay_iterator(asked()) as results:
            replaying = cls(results, ask)
            replaying._appends = appends
            yield replaying

    async def replay(self, stream: CaseId, history: History) -> Replayed:
        """One history, from its beginning to its end."""
        replayed = await self._replay(stream, history)
        if replayed.failure is not None and _TOO_SLOW in replayed.failure:
            replayed = await self._replay(stream, history)
        return replayed

    async def _replay(self, stream: CaseId, history: History) -> Replayed:
        self._appends.taken()
        await self._ask.put(WorkflowHistory(stream, list(history.events)))
        result = await anext(self._results)
        failure = result.replay_failure
        return Replayed(self._appends.taken(), None if failure is None else str(failure))


def _answer(handle: ActivityHandle[Any]) -> AppendResult | None:
    if not handle.done() or handle.cancelled() or handle.exception() is not None:
        return None
    answer = handle.result()
    return answer if isinstance(answer, AppendResult) else None
