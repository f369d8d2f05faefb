"""A witness: keeps the last checkpoint it has seen of a log, and takes only what grew out of it.

It runs elsewhere, under somebody else, and trusts nobody but the log's pinned key. What does not
fit is not taken, ever again, and both sides of it are kept as evidence.
"""

import fcntl
from base64 import b64encode
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from activities.database import Connection
from activities.files import replace
from audit import proofs
from audit.notes import Checkpoint, NoteError, Signer, Verifier, cosign
from audit.notes import open_note as opened
from audit.tree import ProofError, verify_consistency
from schemas.base import Value


class Source(Protocol):
    """A log, as it shows itself."""

    async def latest(self) -> str | None:
        """Its newest signed checkpoint; None if it shows none."""
        ...

    async def consistency(self, old_size: int, size: int) -> Sequence[bytes]:
        """The proof that it has only grown. Raises `ProofError` if it gives none."""
        ...


class InDatabase:
    """A log in a database that an auditor may read."""

    def __init__(self, connection: Connection, organisation: str) -> None:
        self._connection = connection
        self._organisation = organisation

    async def latest(self) -> str | None:
        return await proofs.latest_checkpoint(self._connection, self._organisation)

    async def consistency(self, old_size: int, size: int) -> Sequence[bytes]:
        return await proofs.consistency(self._connection, self._organisation, old_size, size)


class StateError(Exception):
    """What the witness has kept cannot be used; the message says what to do."""


class SplitView(Exception):
    """The log shows another past than it did, or what it shows is not signed by its key."""

    def __init__(self, why: str, evidence: Path) -> None:
        self.why = why
        self.evidence = evidence
        super().__init__(why)


class Seen(Value):
    """What the witness knows now."""

    origin: str
    size: int
    """Events under the newest checkpoint."""
    root: str
    """In hex."""
    before: int | None
    """Its size when the witness last looked; None the first time."""
    cosigned_by: str | None = None


class Witness:
    """One log's witness, with its folder."""

    def __init__(
        self,
        state: Path,
        key: Verifier,
        cosigner: Signer | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`key` is the log's, as it was pinned; `cosigner` signs what was found consistent."""
        self._state = state
        self._key = key
        self._cosigner = cosigner
        self._clock = clock

    @property
    def note(self) -> Path:
        """The last checkpoint that was taken, with our cosignature if we sign."""
        return self._state / "checkpoint"

    async def look(self, source: Source) -> Seen | None:
        """Take the newest checkpoint, if it may follow the last; None if there is none yet.

        Raises SplitView, with the evidence kept, and StateError.
        """
        with self._alone():
            known = self._known()
            shown = await source.latest()
            if shown is None and known is None:
                return None
            checkpoint = await self._checked(source, known, shown)
            assert shown is not None, "checked"
            if self._cosigner is not None:
                shown = cosign(shown, self._cosigner, int(self._clock().timestamp()))
            if self._cosigner is not None or checkpoint != known:
                replace(self.note, shown)
            return Seen(
                origin=checkpoint.origin,
                size=checkpoint.size,
                root=checkpoint.root.hex(),
                before=known.size if known is not None else None,
                cosigned_by=self._cosigner.name if self._cosigner is not None else None,
            )

    async def _checked(
        self, source: Source, known: Checkpoint | None, shown: str | None
    ) -> Checkpoint:
        if shown is None:
            raise self._split("The log shows no checkpoint any more.", shown)
        try:
            checkpoint = opened(shown, [self._key])
        except NoteError as error:
            raise self._split(
                f"The log shows what its key has not signed: {error}", shown
            ) from None
        if checkpoint.origin != self._key.name:
            raise self._split("The checkpoint is of another log than the pinned key's.", shown)
        if known is None:
            return checkpoint
        was, now = known.size, checkpoint.size
        if now < was:
            raise self._split(f"The log has signed {was} events, and now shows {now}.", shown)
        proof: Sequence[bytes] = ()
        try:
            proof = await source.consistency(was, now)
            verify_consistency(was, known.root, now, checkpoint.root, proof)
        except ProofError as error:
            raise self._split(
                f"The log of {now} events did not grow out of the one of {was}: {error}",
                shown,
                proof,
            ) from None
        return checkpoint

    def _known(self) -> Checkpoint | None:
        try:
            return opened(self.note.read_text(encoding="utf-8"), [self._key])
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, NoteError) as error:
            raise StateError(
                f"{self.note} cannot be used: {error} Restore it, or give the key that it was"
                " signed with; without it a new witness begins, which knows no past."
            ) from None

    def _split(self, why: str, shown: str | None, proof: Sequence[bytes] = ()) -> SplitView:
        """Keep what was seen, as long as somebody may ask for it."""
        name = self._clock().astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        folder = self._state / "evidence" / name
        folder.mkdir(parents=True)
        if self.note.exists():
            (folder / "known").write_bytes(self.note.read_bytes())
        if shown is not None:
            (folder / "shown").write_text(shown, encoding="utf-8", errors="backslashreplace")
        (folder / "proof").write_text("".join(f"{b64encode(each).decode()}\n" for each in proof))
        (folder / "why").write_text(f"{why}\n", encoding="utf-8")
        return SplitView(why, folder)

    @contextmanager
    def _alone(self) -> Generator[None]:
        try:
            self._state.mkdir(parents=True, exist_ok=True)
            with (self._state / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise StateError(f"{error.filename or self._state}: {error.strerror}.") from None
