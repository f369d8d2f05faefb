"""The complaint case as a Temporal workflow."""

from typing import Any

from temporalio import workflow

from workflows.case import CaseWorkflow


@workflow.defn(name="ComplaintWorkflow")
class ComplaintWorkflow(CaseWorkflow):
    """One complaint from first word to last call; see lifecycles/complaint.py."""

    @workflow.init
    def __init__(self, case: Any) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, case: Any) -> str:
        """Live until the case has ended; the argument is an `OpenCase`, parsed in `__init__`."""
        return await self.live()
