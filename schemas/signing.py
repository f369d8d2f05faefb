"""Signed decisions: what a person signs, and the signature as commands and events carry it."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schemas.base import CaseId, Code, Organisation, Subject, UtcTime, Value

PublicKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$")]
"""An Ed25519 public key: its 32 bytes in base64url without padding (RFC 8037).

Its last character holds four bits, so there is one spelling of a key: reported lost, it is lost.
"""

SignatureBytes = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{86}$")]
"""An Ed25519 signature: its 64 bytes in base64url without padding."""

Nonce = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""Sixteen random bytes in hex: good for one decision."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Statement(Value):
    """What is signed, as canonical JSON (RFC 8785): one yes or no of one person, on these facts.

    All of it but the last three fields is known to the case; the times are UTC.
    """

    standpipe: Literal["decision/1"] = "decision/1"
    """Which form of statement this is, so that no other signature can pass for one."""
    organisation: Organisation
    case: CaseId
    approval: Code
    """Which approval of the case."""
    action: Code
    """What is approved: the approval's kind, such as `cutoff`."""
    decision: Literal["approve", "reject"]
    facts_hash: Sha256
    subject: Subject
    """Who decides."""
    on_behalf_of: Subject | None
    version: Annotated[int, Field(ge=1, le=10**12)]
    """How many events the case had when its facts were looked at."""
    nonce: Nonce
    expires_at: UtcTime


class Signature(Value):
    """A signature, and of what it signs that which the rest of the command does not say."""

    key: PublicKey
    signature: SignatureBytes
    version: Annotated[int, Field(ge=1, le=10**12)]
    nonce: Nonce
    expires_at: UtcTime
    """The decision must be made by then (UTC)."""
