"""Gives a log that came back from an older backup what it has lost: all of it, or nothing."""

from collections.abc import Callable
from contextlib import aclosing

import asyncpg

from activities.canonical import leaf_hash
from activities.database import Connection
from activities.event_log import leaves, write
from audit import log
from audit.findings import Finding
from audit.missing import Lost, Missing, finding
from audit.notes import Checkpoint
from audit.tree import Frontier
from schemas.base import CaseId, Organisation, Value
from schemas.envelope import SignatureCheck

_USE_NONCE = "SELECT use_nonce($1, $2, $3, $4)"


class NotRestored(Exception):
    """Nothing was written; the findings say why."""

    def __init__(self, *findings: Finding) -> None:
        self.findings = findings
        super().__init__(" ".join(f.what for f in findings))


class LostAppend(Value):
    """An append that the log has lost, as it is shown."""

    case: CaseId
    version: int
    """The case's after it."""
    position: int
    """The log's after it."""
    commands: tuple[str, ...]
    events: tuple[str, ...]
    run: str
    """Whose history holds the receipt."""

    @classmethod
    def of(cls, lost: Lost) -> "LostAppend":
        return cls(
            case=lost.request.stream,
            version=lost.sealed[-1].version,
            position=lost.end,
            commands=tuple(d.command_id for d in lost.sealed),
            events=tuple(e.type for d in lost.sealed for e in d.events),
            run=lost.run_id,
        )


async def restore(
    connection: asyncpg.Connection,
    organisation: Organisation,
    missing: Missing,
    checkpoint: Checkpoint | None = None,
    report: Callable[[int], None] = lambda appended: None,
) -> None:
    """Append what is missing again, in its order: all of it or nothing. Raises NotRestored.

    The connection is a worker's. Signatures are not asked again whether they are good: they were
    when it was first appended. Every leaf must be the receipts', and at the `checkpoint`'s size the
    tree must have its root.
    """
    if missing.findings:
        raise NotRestored(*missing.findings)
    async with connection.transaction():
        for number, lost in enumerate(missing.appends, 1):
            row = await write(connection, lost.request, lost.sealed)
            # From the first one on, nobody else appends until this transaction ends.
            if (row["outcome"], row["head"]) != ("appended", lost.end):
                raise NotRestored(
                    finding(lost, "The log went on meanwhile: stop the workers, and look again.")
                )
            await _use_nonces(connection, lost)
            report(number)
        await _check_leaves(connection, organisation, missing)
        if checkpoint is not None:
            await check_root(connection, organisation, checkpoint)


async def check_root(
    connection: Connection, organisation: Organisation, checkpoint: Checkpoint
) -> None:
    """Raises NotRestored unless the log has the checkpoint's root at its size."""
    tree = Frontier()
    async with aclosing(log.events(connection, organisation, until=checkpoint.size)) as chunks:
        async for chunk in chunks:
            tree.extend(leaf_hash(event.header) for event in chunk)
    if tree.size < checkpoint.size:
        what = (
            f"The checkpoint is over {checkpoint.size} events, and the log would have"
            f" {tree.size}: the rest is nowhere in Temporal. Look for a newer backup."
        )
    elif tree.root() != checkpoint.root:
        what = f"At {checkpoint.size} events the log does not have the checkpoint's root."
    else:
        return
    raise NotRestored(Finding(check="checkpoint", what=what, position=tree.size))


async def _use_nonces(connection: asyncpg.Connection, lost: Lost) -> None:
    """A signature stays used up, by the command that used it."""
    for decision in lost.request.decisions:
        for check in decision.checks:
            if isinstance(check, SignatureCheck) and check.fresh:
                used = await connection.fetchval(
                    _USE_NONCE,
                    lost.request.organisation,
                    check.statement.nonce,
                    lost.request.stream,
                    decision.command["id"],
                )
                if not used:
                    raise NotRestored(finding(lost, "Its signature was used by another command."))


async def _check_leaves(
    connection: Connection, organisation: Organisation, missing: Missing
) -> None:
    """The database itself made the headers: their leaves must be the receipts'."""
    wanted = [
        leaf
        for lost in missing.appends
        for decision in lost.sealed
        for leaf in leaves(lost.request, decision)
    ]
    position = missing.head
    events = log.events(connection, organisation, missing.head, missing.until)
    async with aclosing(events) as chunks:
        async for chunk in chunks:
            for event in chunk:
                position += 1
                expected = wanted[position - missing.head - 1]
                if (event.position, leaf_hash(event.header).hex()) != (position, expected):
                    what = "What was appended again has another leaf than its receipt."
                    raise NotRestored(
                        Finding(
                            check="leaf",
                            what=what,
                            position=position,
                            stream=event.stream,
                            version=event.version,
                        )
                    )
    if position != missing.until:
        what = f"The log ends at {position}, not {missing.until}."
        raise NotRestored(Finding(check="gap", what=what, position=position))
