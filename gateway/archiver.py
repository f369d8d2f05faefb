"""Sees that an organisation's archiver runs."""

from temporalio.client import Client
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
)

from activities.cases import ORGANISATION
from schemas.archive import Archiving

WORKFLOW = "ArchiverWorkflow"


def archiver_id(organisation: str) -> str:
    """The workflow that archives an organisation's histories."""
    return f"archiver-{organisation}"


async def ensure_archiver(client: Client, organisation: str, task_queue: str) -> None:
    """Begin archiving, unless it is being done."""
    await client.start_workflow(
        WORKFLOW,
        Archiving(organisation=organisation).model_dump(mode="json"),
        id=archiver_id(organisation),
        task_queue=task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=TypedSearchAttributes([SearchAttributePair(ORGANISATION, organisation)]),
    )
