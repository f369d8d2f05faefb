"""Checks a dossier's file with pinned keys alone: no database, no Temporal, nobody to trust.

Whether the case went on after its last event in the file, only the file's own signature says: no
proof can show what is not there.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import pairwise
from typing import Any, NamedTuple, cast

from pydantic import ValidationError

from activities.canonical import (
    SealedDecision,
    SealedEvent,
    event_id,
    header,
    json_time,
    leaf_hash,
)
from audit.dossier import DossierFile, FiledDecision, FiledEvent, dossier_of, text
from audit.findings import Finding
from audit.log import RawCase, RawDecision, RawEvent
from audit.notes import Checkpoint, Kind, NoteError, Verifier, open_note, open_text, split
from audit.redecide import redecide
from audit.tree import ProofError, verify_inclusion
from lifecycles.decisions import reasons_of
from schemas.base import Actor
from schemas.envelope import Json

MOST = 20
"""Differences of the dossier that are named."""


class Checked(NamedTuple):
    """What checking a file came to."""

    findings: tuple[Finding, ...]
    file: DossierFile | None = None
    """None where it cannot be read."""
    checkpoint: Checkpoint | None = None
    """None where the pinned key has not signed it."""
    signed: bool = False
    """Whether the whole file is signed, not its checkpoint alone."""
    proven: int = 0
    """Events that stand in the log where the file says, as it says."""
    unproven: int = 0
    """Commands that caused nothing: nothing in the log commits to them."""


def check(raw: bytes, keys: Sequence[Verifier], *, need_signature: bool = False) -> Checked:
    """Everything that is wrong with a file, under the log's key and those of its witnesses."""
    try:
        content = raw.decode()
        file = DossierFile.model_validate_json(content)
    except UnicodeDecodeError:
        return Checked((_wrong("This is no dossier's file: it is not UTF-8."),))
    except ValidationError as error:
        return Checked((_wrong(f"This is no dossier's file: {' '.join(reasons_of(error))}"),))
    found: list[Finding] = []
    if content != text(file):
        found.append(_wrong("It is not written as Standpipe writes this content: it was edited."))
    try:
        checkpoint = _checkpoint(file, keys)
    except NoteError as error:
        checkpoint = None
        found.append(_wrong(str(error), "checkpoint"))
    unsigned = list(_signature(file, keys, need_signature))
    case, unread = _read(file)
    each = [list(_event(file, d, e, checkpoint)) for d in case.decisions for e in d.events]
    proven = [*unread, *(f for findings in each for f in findings), *_order(case), *_policy(case)]
    found += (*unsigned, *proven)
    # What is not the log's may be anything: the rules owe it nothing.
    unlawful = [] if proven or checkpoint is None else redecide(case, file.organisation)
    found += unlawful
    if proven or unlawful or checkpoint is None:
        found.append(_wrong("Not folded again: what it rests on is not in order.", "dossier"))
    else:
        found += _differences(file, case)
    return Checked(
        findings=tuple(found),
        file=file,
        checkpoint=checkpoint,
        signed=file.signature is not None and not unsigned,
        proven=sum(not findings for findings in each) if checkpoint else 0,
        unproven=sum(not d.events for d in file.decisions),
    )


def _wrong(what: str, check: str = "file") -> Finding:
    return Finding(check=check, what=what)


def _checkpoint(file: DossierFile, keys: Sequence[Verifier]) -> Checkpoint:
    """The signed checkpoint, of the log whose key is pinned. Raises `NoteError`."""
    logs = [key for key in keys if key.kind is Kind.LOG]
    found = open_note(file.checkpoint, logs)
    open_text(file.checkpoint, keys)  # a witness's signature, where there is one, must be right
    if found.origin not in (key.name for key in logs):
        raise NoteError("The checkpoint is of another log than the pinned key's.")
    return found


def _signature(file: DossierFile, keys: Sequence[Verifier], needed: bool) -> Iterator[Finding]:
    if file.signature is None:
        if needed:
            yield _wrong("The file is not signed; only its checkpoint is.", "signature")
        return
    try:
        said = open_text(file.signature, [key for key in keys if key.kind is Kind.LOG])
        _, lines = split(file.signature)
        wanted = file.statement
    except ValueError as error:
        yield _wrong(str(error), "signature")
        return
    if said != wanted:
        yield _wrong("It was given for another content than the file's.", "signature")
    if len(lines) > 1:
        yield _wrong("There is more than the log's own signature.", "signature")


def _read(file: DossierFile) -> tuple[RawCase, list[Finding]]:
    """The case as the log holds it, and what in the file cannot be read so."""
    decisions: list[RawDecision] = []
    wrong: list[Finding] = []
    version = 0
    for filed in file.decisions:
        command = _object(filed.command)
        bodies = [_object(e.body) for e in filed.events]
        try:
            actor = Actor.model_validate(command["actor"])
            events = tuple(
                _raw_event(file, e, body, version + number, str(command["id"]))
                for number, (e, body) in enumerate(zip(filed.events, bodies, strict=True), 1)
            )
        except (KeyError, TypeError, ValueError):
            where: Json = {"stream": file.case_id, "version": version + 1}
            what = "A command, or an event that it caused, cannot be read."
            wrong.append(Finding(check="decision", what=what, **where))
            version += len(filed.events)
            continue
        version += len(events)
        decisions.append(_raw_decision(file, filed, command, actor, version, events))
    hash = sha256(file.policy.encode()).digest()
    kind = file.case_id.partition("-")[0]
    return RawCase(file.case_id, kind, version, hash, file.policy, tuple(decisions)), wrong


def _raw_event(
    file: DossierFile, filed: FiledEvent, body: Json, version: int, command_id: str
) -> RawEvent:
    at = datetime.fromisoformat(body["at"])
    return RawEvent(
        position=filed.position,
        stream=file.case_id,
        version=version,
        event_id=event_id(file.organisation, file.case_id, version),
        type=str(body["type"]),
        schema_version=int(body["schema_version"]),
        occurred_at=at,
        recorded_at=at,
        command_id=command_id,
        header=filed.header.encode(),
        body=filed.body.encode(),
    )


def _raw_decision(
    file: DossierFile,
    filed: FiledDecision,
    command: Json,
    actor: Actor,
    version: int,
    events: tuple[RawEvent, ...],
) -> RawDecision:
    content = filed.command.encode()
    return RawDecision(
        stream=file.case_id,
        command_id=str(command["id"]),
        command=content,
        command_hash=sha256(content).digest(),
        actor=actor.subject,
        role=actor.role,
        proof=actor.proof,
        decided_at=filed.decided_at,
        recorded_at=filed.decided_at,
        event_count=len(events),
        version=version,
        position=events[-1].position if events else 0,
        events=events,
    )


def _event(
    file: DossierFile, d: RawDecision, e: RawEvent, checkpoint: Checkpoint | None
) -> Iterator[Finding]:
    """Its header must be what the log makes of its body and command, and stand in the tree."""
    place: Json = {"position": e.position, "stream": e.stream, "version": e.version}
    try:
        lawful = _header(file.organisation, d, e)
    except ValueError:  # as `canonical` says it, and what is no UTF-8
        yield Finding(check="header", what="No log has such an event.", **place)
        return
    if e.header != lawful:
        wrong = _paths(_object(e.header.decode()), _object(lawful.decode()))
        what = f"Body, command and place do not fit its header: {', '.join(wrong) or 'its form'}."
        yield Finding(check="header", what=what, **place)
    if checkpoint is None:
        return
    filed = [each for decision in file.decisions for each in decision.events]
    try:
        proof = [bytes.fromhex(each) for each in filed[e.version - 1].proof]
        leaf = leaf_hash(e.header)
        verify_inclusion(leaf, e.position - 1, checkpoint.size, proof, checkpoint.root)
    except ProofError as error:
        yield Finding(check="inclusion", what=str(error), **place)


def _header(organisation: str, d: RawDecision, e: RawEvent) -> bytes:
    body = _object(e.body.decode())
    sealed = SealedEvent(
        event_id=e.event_id,
        version=e.version,
        type=body["type"],
        schema_version=body["schema_version"],
        occurred_at=body["at"],
        body=e.body,
    )
    cause = SealedDecision(
        command_id=d.command_id,
        command=d.command,
        command_hash=d.command_hash,
        decided_at=json_time(d.decided_at),
        version=d.version,
        events=(sealed,),
        messages=(),
    )
    return header(organisation, d.stream, cause, sealed)


def _order(case: RawCase) -> Iterator[Finding]:
    """Versions are gap-free as the file counts them; positions must rise with them."""
    events = [e for d in case.decisions for e in d.events]
    if not events:
        yield _wrong("It holds no event.", "decision")
    for before, e in pairwise(events):
        if e.position <= before.position:
            place: Json = {"position": e.position, "stream": e.stream, "version": e.version}
            what = f"It stands before the one before it, at {before.position}."
            yield Finding(check="order", what=what, **place)
    seen: set[str] = set()
    for d in case.decisions:
        if d.command_id in seen:
            what = f"The command {d.command_id} is there twice."
            yield Finding(check="decision", what=what, stream=d.stream, version=d.version)
        seen.add(d.command_id)


def _policy(case: RawCase) -> Iterator[Finding]:
    """The opening event names the policy that counts."""
    opening = next((e for d in case.decisions for e in d.events), None)
    named = _object(opening.body.decode()).get("policy") if opening else None
    if opening and named != case.policy_hash.hex():
        what = f"The case was opened under another one than {case.policy_hash.hex()}."
        yield Finding(check="policy", what=what, stream=case.stream, version=1)


def _differences(file: DossierFile, case: RawCase) -> Iterator[Finding]:
    """Where the dossier is not what its decisions come to."""
    lawful = dossier_of(file.organisation, case).model_dump(mode="json")
    paths = _paths(file.dossier.model_dump(mode="json"), lawful)
    for path in paths[:MOST]:
        what = f"{path} is not what the enclosed decisions come to in this version of Standpipe."
        yield _wrong(what, "dossier")
    if len(paths) > MOST:
        yield _wrong(f"{len(paths) - MOST} more differences are left out.", "dossier")


def _paths(found: Any, lawful: Any, path: str = "") -> list[str]:
    """Where two JSON values differ, by the lawful one's keys: what is there may be anything."""
    if isinstance(found, dict) and isinstance(lawful, dict):
        there, wanted = cast("Json", found), cast("Json", lawful)
        dot = "." if path else ""
        pairs = [(f"{path}{dot}{key}", there.get(key), wanted[key]) for key in wanted]
    elif isinstance(found, list) and isinstance(lawful, list):
        given, due = cast("list[Any]", found), cast("list[Any]", lawful)
        if len(given) != len(due):
            return [path]
        pairs = [(f"{path}[{i}]", a, b) for i, (a, b) in enumerate(zip(given, due, strict=True))]
    else:
        return [] if found == lawful else [path]
    return [each for inner, a, b in pairs for each in _paths(a, b, inner)]


def _object(content: str) -> Json:
    """A JSON object; an empty one for anything else."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return cast("Json", value) if isinstance(value, dict) else {}
