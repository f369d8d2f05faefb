"""Checks what a time-stamping authority said of a checkpoint (RFC 3161), as an auditor does."""

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response


class NotStamped(ValueError):
    """The answer does not show that the note existed at its time."""


def stamped_at(answer: bytes, note: str, roots: Sequence[x509.Certificate]) -> datetime:
    """When the note existed at the latest, if an authority under these roots says so.

    Raises NotStamped. The authority's certificate is in its answer.
    """
    verifying = VerifierBuilder()
    for root in roots:
        verifying = verifying.add_root_certificate(root)
    try:
        decoded = decode_timestamp_response(answer)
        verifying.build().verify_message(decoded, note.encode())
        return decoded.tst_info.gen_time.astimezone(UTC)
    except (ValueError, VerificationError) as error:
        raise NotStamped(f"The time stamp does not hold: {error}") from None
