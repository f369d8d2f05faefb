"""Whether the signatures that decisions rest on were good when the decisions were made."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from activities.database import Connection
from activities.signing_keys import SigningKey, verified
from audit.findings import Finding
from audit.redecide import Signed
from lifecycles.approvals import same

SLACK = timedelta(minutes=1)
"""So long may an append have taken, in which a key was enrolled or reported lost."""

_KEYS = """
    SELECT key, subject, enrolled_at, enrolled_by, valid_until, lost_at, lost_by
    FROM signing_keys WHERE organisation = $1
"""
_NONCES = """
    SELECT nonce, stream, command_id FROM signature_nonces
    WHERE organisation = $1 AND nonce = ANY($2)
"""


async def keys(connection: Connection, organisation: str) -> dict[str, SigningKey]:
    """Every key that was ever enrolled, with whose it is."""
    rows = await connection.fetch(_KEYS, organisation)
    return {row["key"]: SigningKey.model_validate(dict(row)) for row in rows}


async def doubted(
    connection: Connection,
    organisation: str,
    register: dict[str, SigningKey],
    signed: Sequence[Signed],
) -> list[Finding]:
    """What is wrong with these signatures, by the register and by their own cryptography."""
    nonces = [s.check.statement.nonce for s in signed if s.check.fresh]
    rows = await connection.fetch(_NONCES, organisation, nonces) if nonces else []
    used = {row["nonce"]: (row["stream"], row["command_id"]) for row in rows}
    return [
        Finding(
            check="signature",
            what=f"{s.decision.command_id}: {what}",
            stream=s.stream,
            version=s.decision.version,
            position=s.decision.position,
        )
        for s in signed
        for what in _doubts(s, register, used)
    ]


def _doubts(
    signed: Signed, register: dict[str, SigningKey], used: dict[str, tuple[str, str]]
) -> Iterator[str]:
    check, decision = signed.check, signed.decision
    statement = check.statement
    if not verified(check):
        yield "the signature is not over this decision."
    if statement.version > decision.version - decision.event_count:
        yield "it was signed for a case that was further on."
    key = register.get(check.signature.key)
    if key is None or not same(key.subject, statement.subject):
        yield "the signature's key was never enrolled to who decides."
        return
    # A restored log was recorded later than it was decided; a rehearsed one is ahead of the clock.
    earliest = min(decision.decided_at, decision.recorded_at)
    latest = max(decision.decided_at, decision.recorded_at)
    if key.enrolled_at > latest + SLACK:
        yield "the signature's key was enrolled only afterwards."
    if key.lost_at is not None and key.lost_at < earliest - SLACK:
        yield "the signature's key had been reported lost."
    if check.fresh and statement.expires_at >= key.valid_until:
        yield "the signature's key was too old (WAT-F25b)."
    if check.fresh and used.get(statement.nonce) != (signed.stream, decision.command_id):
        yield "the register of used signatures does not have this one."
