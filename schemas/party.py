"""A customer's particulars: personal, so they live in the vault alone and never show themselves."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import StringConstraints

from schemas.base import UtcTime, Value

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000)]


class Private(Value):
    """A value whose content never gets into a traceback or log by being printed."""

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        return [(None, "hidden")]


class Party(Private):
    """Who a customer is and where (KUN-5.5.1)."""

    name: Line | None = None
    phone: Line | None = None
    email: Annotated[Line, StringConstraints(pattern=r"^[^@\s<>,]+@[^@\s<>,]+$")] | None = None
    language: Literal["zh-CN", "en"] | None = None
    """In which messages are written; None: the organisation's."""
    address: Line | None = None
    remarks: Text | None = None
    special_care: bool = False
    """Old, disabled, entitled to care or in hardship: goes first (CNPC-3.1.9, KUN-2.2.7)."""


class PartyNote(Private):
    """A remark about a customer, made later."""

    id: UUID
    written_at: UtcTime
    text: Text
