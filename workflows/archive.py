"""The archive's registers as Temporal workflows, and the archiver, which fills them."""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from workflows.case import FOREVER, CaseWorkflow

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from lifecycles.decisions import reasons_of
    from schemas.archive import Archived, Archiving

LONGEST = timedelta(hours=1)
"""Of a stretch."""
HEARTBEAT = timedelta(seconds=15)
"""After so long, a silent worker counts as dead."""


@workflow.defn(name="ArchiveWorkflow")
class ArchiveWorkflow(CaseWorkflow):
    """A month's register of archived histories; see lifecycles/archive.py."""

    @workflow.init
    def __init__(self, case: Any) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, case: Any) -> str:
        """Live until it closes; the argument is an `OpenCase`, parsed in `__init__`."""
        return await self.live()


@workflow.defn(name="ArchiverWorkflow")
class ArchiverWorkflow:
    """Archives one organisation's histories, a stretch of minutes at a time, for ever."""

    @workflow.run
    async def run(self, of: Any) -> None:
        """The argument is an `Archiving`."""
        try:
            asked = Archiving.model_validate(of)
        except ValidationError as error:
            reasons = reasons_of(error)
            raise ApplicationError(
                " ".join(reasons), list(reasons), type="InvalidArchiver", non_retryable=True
            ) from None
        while not workflow.info().is_continue_as_new_suggested():
            done = await workflow.execute_activity(
                "archive_histories",
                asked,
                result_type=Archived,
                start_to_close_timeout=LONGEST,
                heartbeat_timeout=HEARTBEAT,
                retry_policy=FOREVER,
                summary=asked.organisation,
            )
            workflow.set_current_details(
                f"In the last stretch: {done.histories} histories archived,"
                f" {done.rebuilt} cases taken up again because the server had deleted them"
            )
        workflow.continue_as_new(of)
