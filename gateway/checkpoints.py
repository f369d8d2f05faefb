"""Sees that an organisation's checkpoints are signed, by whoever has the log's key."""

from temporalio.client import Client
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
)

from activities.cases import ORGANISATION
from activities.checkpoints import Checkpoints
from activities.timestamps import Authority
from audit.notes import NoteError, Signer
from gateway.session import Session
from schemas.checkpoints import Checkpointing
from settings import Settings, SettingsError

WORKFLOW = "CheckpointWorkflow"


def checkpoints_id(organisation: str) -> str:
    """The workflow that signs an organisation's checkpoints."""
    return f"checkpoints-{organisation}"


def log_signer(settings: Settings) -> Signer | None:
    """The log's key under the log's name; None where it is not at hand. SettingsError if it is
    none."""
    pem = settings.checkpoint_key()
    if pem is None:
        return None
    try:
        return Signer.from_pem(settings.origin, pem)
    except NoteError as error:
        raise SettingsError(f"STANDPIPE_CHECKPOINT_KEY_FILE: {error}") from None


def checkpoints(session: Session) -> Checkpoints | None:
    """What signs this organisation's checkpoints; None without the key."""
    signer = log_signer(session.settings)
    if signer is None:
        return None
    url = session.settings.timestamp_url
    return Checkpoints(
        session.pool,
        session.organisation,
        signer,
        session.settings.checkpoint_folder,
        stamper=Authority(url) if url is not None else None,
    )


async def ensure_checkpoints(session: Session, client: Client) -> bool:
    """Begin to sign, unless it is being done; false where the key is not at hand."""
    if session.settings.checkpoint_key() is None:
        return False
    organisation = session.organisation
    await client.start_workflow(
        WORKFLOW,
        Checkpointing(organisation=organisation).model_dump(mode="json"),
        id=checkpoints_id(organisation),
        task_queue=session.settings.task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=TypedSearchAttributes([SearchAttributePair(ORGANISATION, organisation)]),
    )
    return True
