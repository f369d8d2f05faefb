"""What an audit finds: where something is wrong, and what was expected there."""

from schemas.base import Value


class Finding(Value):
    """One thing that is wrong. Numbers count as the log counts, positions and versions from 1."""

    check: str
    """What was checked, in a word or two: leaf, gap, tree, signature, read-model, decision, …"""
    what: str
    """A sentence: what was found, and what was expected. Ids and hashes, nothing personal."""
    position: int | None = None
    """In the organisation's log."""
    stream: str | None = None
    version: int | None = None
    """In that stream."""
