"""Signs an organisation's checkpoints, as long as there is one.

The workflow does next to nothing: an activity signs for minutes at a time
(docs/decisions/0012). Where the log contradicts what was signed, nothing more is, and the
workflow says so until the log is whole again.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from workflows.case import FOREVER

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from lifecycles.decisions import reasons_of
    from schemas.checkpoints import CONTRADICTION, Checkpointing, Signed

LONGEST = timedelta(hours=1)
"""Of a stretch."""
HEARTBEAT = timedelta(seconds=30)
"""After so long, a silent worker counts as dead."""
AGAIN = timedelta(minutes=10)
"""After a contradiction, the log is looked at again."""


@workflow.defn(name="CheckpointWorkflow")
class CheckpointWorkflow:
    """One organisation's checkpoints."""

    @workflow.init
    def __init__(self, of: Any) -> None:
        self._woken = False

    @workflow.run
    async def run(self, of: Any) -> None:
        """Sign for ever; the argument is a `Checkpointing`."""
        try:
            asked = Checkpointing.model_validate(of)
        except ValidationError as error:
            reasons = reasons_of(error)
            raise ApplicationError(
                " ".join(reasons), list(reasons), type="InvalidCheckpoints", non_retryable=True
            ) from None
        while not workflow.info().is_continue_as_new_suggested():
            try:
                signed = await workflow.execute_activity(
                    "sign_checkpoints",
                    asked,
                    result_type=Signed,
                    start_to_close_timeout=LONGEST,
                    heartbeat_timeout=HEARTBEAT,
                    retry_policy=FOREVER,
                    summary=asked.organisation,
                )
            except ActivityError as error:
                await self._stopped(error)
            else:
                workflow.set_current_details(
                    f"Signed up to position {signed.size}, root {signed.root}."
                    if signed.size
                    else "No event is signed yet."
                )
        workflow.continue_as_new(of)

    @workflow.signal
    def wake(self) -> None:
        """Somebody has put the log right: look again now."""
        self._woken = True

    async def _stopped(self, error: ActivityError) -> None:
        """Say that the log contradicts what was signed, and look again later."""
        cause = error.cause
        if not isinstance(cause, ApplicationError) or cause.type != CONTRADICTION:
            raise error
        workflow.logger.critical("No checkpoint is signed any more: %s", cause.message)
        workflow.set_current_details(
            f"**No checkpoint is signed any more.** {cause.message} Run `standpipe audit verify`."
        )
        self._woken = False
        with suppress(asyncio.TimeoutError):
            await workflow.wait_condition(lambda: self._woken, timeout=AGAIN)
