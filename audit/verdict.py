"""What `audit verify` comes to: what was checked, and everything that is wrong."""

from collections import Counter

from audit.findings import Finding
from schemas.base import Value

KEPT = 50
"""Findings of one check that are kept in full; all are counted."""


class Verdict(Value):
    """Whether an organisation's log is whole, as of the moment that was read."""

    organisation: str
    events: int
    decisions: int
    cases: int
    size: int
    """Leaves of the tree: the events up to the first that is missing."""
    root: str
    """The tree's root at that size, in hex."""
    tiles: int
    """Of the tree as the database keeps it, compared with the leaves."""
    checkpoints: int
    """Of the database, compared with the tree; where keys were given, their signatures too."""
    external: int
    """Checkpoints kept elsewhere that were given, and lead to the same tree."""
    covered: int
    """Up to this position the external checkpoints say what the log was; 0 without any."""
    counts: dict[str, int]
    """How often each check failed."""
    findings: tuple[Finding, ...]
    """The first of each check, in the order in which they were found."""
    leaves_seconds: float
    meaning_seconds: float

    @property
    def clean(self) -> bool:
        """Whether nothing at all is wrong."""
        return not self.counts


class Findings:
    """What was found so far."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self.kept: list[Finding] = []

    def add(
        self,
        check: str,
        what: str,
        *,
        position: int | None = None,
        stream: str | None = None,
        version: int | None = None,
    ) -> None:
        """One more thing that is wrong: see `Finding`."""
        self.counts[check] += 1
        if self.counts[check] <= KEPT:
            self.kept.append(
                Finding(check=check, what=what, position=position, stream=stream, version=version)
            )

    def more(self, check: str, count: int) -> None:
        """So many more of the same that are only counted."""
        if count > 0:
            self.counts[check] += count


def brief(value: object) -> str:
    """What stands where a hash, a name or a number should, as far as a line holds it."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return ascii(text[:80])[1:-1]
