"""Deliveries of one subscription, as long as it lasts.

The workflow does next to nothing: an activity serves the subscription for minutes at a time, and
only a receiver that takes nothing is waited for by a timer. So a thousand deliveries cost Temporal
what one costs, and a dead worker's are taken over by another.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from workflows.case import FOREVER

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from lifecycles.decisions import reasons_of
    from schemas.webhooks import Delivering, DeliveryStretch, Rest

LONGEST = timedelta(hours=1)
"""Of a stretch."""
HEARTBEAT = timedelta(seconds=15)
"""After so long, a silent worker counts as dead."""


@workflow.defn(name="DeliveryWorkflow")
class DeliveryWorkflow:
    """One subscription's deliveries; they end with it."""

    @workflow.init
    def __init__(self, of: Any) -> None:
        self._woken = False

    @workflow.run
    async def run(self, of: Any) -> str:
        """Deliver until the subscription is over; the argument is a `Delivering`."""
        try:
            asked = Delivering.model_validate(of)
        except ValidationError as error:
            reasons = reasons_of(error)
            raise ApplicationError(
                " ".join(reasons), list(reasons), type="InvalidSubscription", non_retryable=True
            ) from None
        while True:
            self._woken = False
            rest = await workflow.execute_activity(
                "deliver",
                DeliveryStretch(**asked.model_dump(), now=workflow.now()),
                result_type=Rest,
                start_to_close_timeout=LONGEST,
                heartbeat_timeout=HEARTBEAT,
                retry_policy=FOREVER,
                summary=asked.subscription,
            )
            if not rest.active and not self._woken:
                return "over"
            if rest.until is not None:
                await self._wait(rest)
            if workflow.info().is_continue_as_new_suggested() and not self._woken:
                workflow.continue_as_new(of)

    @workflow.signal
    def wake(self) -> None:
        """Somebody changed the subscription, or wants its dead letters tried again."""
        self._woken = True

    async def _wait(self, rest: Rest) -> None:
        assert rest.until is not None
        workflow.set_current_details(
            f"The receiver takes nothing; it is asked again at {rest.until.isoformat()}."
        )
        with suppress(asyncio.TimeoutError):
            await workflow.wait_condition(
                lambda: self._woken, timeout=max(rest.until - workflow.now(), timedelta(0))
            )
        workflow.set_current_details("")
