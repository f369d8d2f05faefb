"""What became of the repairs that came in by Open311, out of the read models."""

import json
from collections.abc import Sequence
from datetime import datetime

from activities.database import reached
from gateway.http.access import fits
from gateway.open311 import SOURCE, RequestRow, ServiceRequest, request_of
from gateway.session import Session
from lifecycles.policies import pinned
from schemas.base import CaseId, Code

MOST_REQUESTS = 1000

# The index events_open311 has just these, and each is then looked up by its keys: what others
# reported is not even looked at. LIMIT 1 keeps the planner from reading whole tables instead.
_REQUESTS = f"""
    SELECT o.stream AS case_id, c.stage, c.category, c.owner_kind, c.owner, c.opened_at,
        c.closed_at, l.recorded_at AS updated_at, c.commitments, encode(s.policy, 'hex') AS policy
    FROM events o
    CROSS JOIN LATERAL (
        SELECT * FROM cases WHERE organisation = o.organisation AND case_id = o.stream LIMIT 1
    ) c
    CROSS JOIN LATERAL (
        SELECT policy FROM streams WHERE organisation = o.organisation AND stream = o.stream LIMIT 1
    ) s
    CROSS JOIN LATERAL (
        SELECT recorded_at FROM events
        WHERE organisation = o.organisation AND stream = o.stream AND version = c.version
        LIMIT 1
    ) l
    WHERE o.organisation = $1 AND o.type = 'RepairReported'
        AND position('"source":"{SOURCE}"'::bytea IN o.body) > 0
        AND ($2::text[] IS NULL OR o.stream = ANY($2))
        AND ($3::text[] IS NULL OR c.category = ANY($3))
        AND ($4::timestamptz IS NULL OR o.occurred_at >= $4)
        AND ($5::timestamptz IS NULL OR o.occurred_at <= $5)
        AND ($6::boolean IS NULL OR (c.closed_at IS NULL) = $6)
    ORDER BY o.occurred_at DESC, o.stream
    LIMIT {MOST_REQUESTS}
"""


async def requests(
    session: Session,
    ids: Sequence[str] | None = None,
    *,
    codes: Sequence[str] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    is_open: bool | None = None,
) -> list[ServiceRequest]:
    """Those that are asked for, the latest first; no more than `MOST_REQUESTS`."""
    if ids is not None:
        ids = [id for id in ids if fits(CaseId, id)]
    if codes is not None:
        codes = [code for code in codes if fits(Code, code)]
    async with reached():
        found = await session.pool.fetch(
            _REQUESTS, session.organisation, ids, codes, since, until, is_open
        )
    rows = [
        RequestRow.model_validate(dict(row) | {"commitments": json.loads(row["commitments"])})
        for row in found
    ]
    hashes = {row.policy for row in rows}
    policies = {hash: await session.log.policy(hash) or "" for hash in hashes}
    return [request_of(row, pinned(policies[row.policy]).policy) for row in rows]
