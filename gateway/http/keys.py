"""`/v1/keys`: whose key signs decisions, such as a cutoff's approval, and which are lost."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from activities.signing_keys import MONTHS, SigningKey, SigningKeys
from gateway.http.access import Caller, may_do, may_see
from gateway.http.idempotency import Done, Once
from gateway.http.problems import Failed
from gateway.http.serving import READS, WRITES, Serving, ends_in, shown
from lifecycles.approvals import same
from schemas.base import Subject, Value
from schemas.signing import PublicKey

router = APIRouter(tags=["keys"])

KeyPath = Annotated[PublicKey, Path(description="An Ed25519 public key, in base64url.")]


class KeyList(Value):
    """Keys that there are and were, by person and age."""

    keys: tuple[SigningKey, ...]


class NewKey(Value):
    """Whose key it is. They made it themselves, and keep its private part to themselves."""

    subject: Subject
    key: PublicKey
    """An Ed25519 public key: 32 bytes in base64url without padding."""
    months: Annotated[int, Field(ge=1, le=MONTHS)] = MONTHS
    """For so long it is valid (WAT-F25b)."""


@router.get(
    "/keys",
    name="list_keys",
    summary="List the keys that sign decisions",
    response_model=KeyList,
    responses=ends_in(of=READS),
)
async def list_keys(
    *,
    caller: Caller,
    session: Serving,
    subject: Annotated[Subject | None, Query(description="Only this person's.")] = None,
) -> Response:
    """Public keys alone. Your own are yours to see."""
    may_see(caller, "signing_keys", about=subject)
    found = await SigningKeys(session.pool).list(session.organisation, subject)
    return shown(KeyList(keys=tuple(found)))


@router.post(
    "/keys",
    name="enrol_key",
    summary="Enrol a person's key",
    status_code=201,
    response_model=SigningKey,
    responses=ends_in(of=WRITES),
)
async def enrol_key(*, body: NewKey, caller: Caller, once: Once, session: Serving) -> Response:
    """From now on it is that person's, and nobody else's ever. Nobody enrols their own key."""
    may_do(caller, "enrol_keys")
    keys, organisation = SigningKeys(session.pool), session.organisation

    async def work() -> Done:
        await keys.enrol(organisation, body.key, body.subject, caller.subject, months=body.months)
        return Done(await _known(keys, organisation, body.key), 201)

    return await once(work)


@router.post(
    "/keys/{public_key}/loss",
    name="report_key_lost",
    summary="Report a key as lost",
    response_model=SigningKey,
    responses=ends_in("no-such-entry", of=WRITES),
)
async def report_key_lost(
    *, public_key: KeyPath, caller: Caller, once: Once, session: Serving
) -> Response:
    """At once (WAT-F25b): it signs nothing more, and no permit rests on it, however early it
    signed. Whoever's key it is may say so, or an administrator.
    """
    keys, organisation = SigningKeys(session.pool), session.organisation
    known = await keys.find(organisation, public_key)
    if known is None or not same(known.subject, caller.subject):
        may_do(caller, "enrol_keys")

    async def work() -> Done:
        await keys.report_lost(organisation, public_key, caller.subject)
        return Done(await _known(keys, organisation, public_key))

    return await once(work)


async def _known(keys: SigningKeys, organisation: str, key: str) -> SigningKey:
    found = await keys.find(organisation, key)
    if found is None:
        raise Failed("no-such-entry")
    return found
