"""A cutoff's dossier as a file that proves itself: what it rests on, and that it is in the log.

The dossier (schemas/dossier.py) with the policy, every decision of the case in its exact bytes, an
inclusion proof of every event, and the signed checkpoint that they lead to. audit/check_dossier.py
is the other half.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field

from activities.canonical import canonical
from activities.database import Connection
from audit import proofs
from audit.explain import recorded
from audit.log import RawCase
from audit.notes import Checkpoint, Signer, split
from gateway.dossier import dossier
from lifecycles.policies import pinned
from schemas.base import CaseId, Organisation, UtcTime, Value
from schemas.dossier import Dossier

FORMAT = "standpipe-proven-dossier/1"


class NotProven(Exception):
    """There is no checkpoint yet that covers the case: which events lack one, and what to do."""


class FiledEvent(Value):
    """An event: its exact header and body, and its way up to the checkpoint's root."""

    position: int
    header: str
    body: str
    proof: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...]
    """Hashes from leaf to root, in hex."""


class FiledDecision(Value):
    """A command in its exact bytes, and what it caused."""

    command: str
    decided_at: UtcTime
    """The events' headers say it too; of a command that caused none, the signature alone."""
    events: tuple[FiledEvent, ...]


class Content(Value):
    """All that is signed."""

    format: Literal["standpipe-proven-dossier/1"] = FORMAT
    organisation: Organisation
    case_id: CaseId
    policy: str
    """The pinned policy's exact canonical JSON; the case's opening event names its SHA-256."""
    dossier: Dossier
    """As of the last event of the case that there was."""
    decisions: tuple[FiledDecision, ...]
    checkpoint: str
    """A signed note (C2SP); its tree covers every event of the case."""

    @property
    def statement(self) -> str:
        """What the note of the signature says: the form, the case, SHA-256 of all this."""
        plain = self.model_dump(mode="json", exclude={"signature"})
        return f"{FORMAT}\n{self.case_id}\nsha256:{sha256(canonical(plain)).hexdigest()}\n"


class DossierFile(Content):
    """The file."""

    signature: str | None = None
    """A signed note over `statement` by the log's own key; None where whoever made it lacks it."""


def text(file: DossierFile) -> str:
    """A file's one form: two files of the same content are the same bytes."""
    return json.dumps(file.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"


def signed(content: Content, signer: Signer | None) -> DossierFile:
    """The file, with a signature where there is a key."""
    fields = {name: getattr(content, name) for name in Content.model_fields}
    if signer is None:
        return DossierFile(**fields)
    note = f"{content.statement}\n{signer.line(content.statement)}"
    return DossierFile(**fields, signature=note)


async def content_of(connection: Connection, organisation: str, case: RawCase) -> Content:
    """A case's content under the latest checkpoint. `NotProven` where that does not cover it."""
    note = await proofs.latest_checkpoint(connection, organisation)
    covered = Checkpoint.parse(split(note)[0]).size if note else 0
    _check_covered(case, covered)
    found = [
        await proofs.inclusion(connection, organisation, e.position - 1, covered)
        for d in case.decisions
        for e in d.events
    ]
    return content(organisation, case, note or "", found)


def content(
    organisation: str, case: RawCase, note: str, found: Sequence[Sequence[bytes]]
) -> Content:
    """A case's content under a checkpoint, with the proofs of its events in order. Pure."""
    policy = case.policy or ""
    left = iter(found)
    return Content(
        organisation=organisation,
        case_id=case.stream,
        policy=policy,
        dossier=dossier_of(organisation, case),
        decisions=tuple(
            FiledDecision(
                command=d.command.decode(),
                decided_at=d.decided_at,
                events=tuple(
                    FiledEvent(
                        position=e.position,
                        header=e.header.decode(),
                        body=e.body.decode(),
                        proof=tuple(each.hex() for each in next(left)),
                    )
                    for e in d.events
                ),
            )
            for d in case.decisions
        ),
        checkpoint=note,
    )


def dossier_of(organisation: str, case: RawCase) -> Dossier:
    """The dossier as of the case's last event, so that it rests on nothing but the log."""
    caused = tuple(d for d in case.decisions if d.events)
    found = recorded(case._replace(decisions=caused))
    as_of = max((d.decided_at for d in caused), default=datetime(1970, 1, 1, tzinfo=UTC))
    return dossier(organisation, case.stream, pinned(case.policy or ""), found, as_of)


def _check_covered(case: RawCase, size: int) -> None:
    beyond = [e.position for d in case.decisions for e in d.events if e.position > size]
    if not beyond:
        return
    until = f"the last one covers {size} events" if size else "there is none yet"
    raise NotProven(
        f"{len(beyond)} events of {case.stream}, up to position {max(beyond)} in the log, are not"
        f" under a checkpoint: {until}. Make one, then ask again: standpipe audit checkpoint --make"
    )
