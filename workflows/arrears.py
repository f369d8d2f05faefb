"""The arrears case as a Temporal workflow."""

from typing import Any

from temporalio import workflow

from workflows.case import CaseWorkflow


@workflow.defn(name="ArrearsWorkflow")
class ArrearsWorkflow(CaseWorkflow):
    """One account's debt, until it is paid for good; see lifecycles/arrears.py."""

    @workflow.init
    def __init__(self, case: Any) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, case: Any) -> str:
        """Live until the case has ended; the argument is an `OpenCase`, parsed in `__init__`."""
        return await self.live()
