"""The premises as a Temporal workflow."""

from typing import Any

from temporalio import workflow

from workflows.case import CaseWorkflow


@workflow.defn(name="PremisesWorkflow")
class PremisesWorkflow(CaseWorkflow):
    """Some premises, for as long as a case is open on them; see lifecycles/premises.py."""

    @workflow.init
    def __init__(self, case: Any) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, case: Any) -> str:
        """Live until nothing is open there; the argument is an `OpenCase`, parsed in `__init__`."""
        return await self.live()
