"""Messages of the workflow that signs an organisation's checkpoints."""

from schemas.base import Organisation, Value


class Checkpointing(Value):
    """Whose log it is: the workflow's only argument."""

    organisation: Organisation


class Signed(Value):
    """What a stretch came to: how far the log is signed."""

    size: int
    """Events under the newest checkpoint; 0 before the first."""
    root: str | None = None
    """In hex."""


CONTRADICTION = "Contradiction"
"""The failure of an activity that found the log to contradict what was signed of it."""
