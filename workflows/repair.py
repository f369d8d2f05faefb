"""The repair case as a Temporal workflow."""

from typing import Any

from temporalio import workflow

from workflows.case import CaseWorkflow


@workflow.defn(name="RepairWorkflow")
class RepairWorkflow(CaseWorkflow):
    """One repair from first word to last; see lifecycles/repair.py."""

    @workflow.init
    def __init__(self, case: Any) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, case: Any) -> str:
        """Live until the case has ended; the argument is an `OpenCase`, parsed in `__init__`."""
        return await self.live()
