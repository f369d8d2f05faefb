"""The staff file as a Temporal workflow."""

from typing import Any

from temporalio import workflow

from workflows.case import CaseWorkflow


@workflow.defn(name="ConductWorkflow")
class ConductWorkflow(CaseWorkflow):
    """One member of staff's file, for as long as something counts; see lifecycles/conduct.py."""

    @workflow.init
    def __init__(self, case: Any) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, case: Any) -> str:
        """Live until the case has ended; the argument is an `OpenCase`, parsed in `__init__`."""
        return await self.live()
