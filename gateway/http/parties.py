"""`/v1/parties`: customers in the vault, the only place for what is personal."""

from datetime import datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from fastapi import APIRouter, Response
from pydantic import Field

from gateway.http.access import Caller, may_do, reading
from gateway.http.idempotency import Done, Once
from gateway.http.serving import READS, WRITES, PartyPath, Serving, ends_in, shown
from gateway.reporting import party_of
from schemas.base import PartyId, Role, Value
from schemas.party import Party, PartyNote, Private, Text

router = APIRouter(tags=["parties"])


class NewParty(Party):
    """Somebody's particulars, for the vault."""

    sealed_to: tuple[Role, ...] = Field(
        default=(),
        description="The roles that alone may see them (WAT-2.5); left out, whoever sees parties.",
    )


class KeptParty(Value):
    """A party that the vault has."""

    party_id: PartyId


class ShownParty(Party):
    """A party's particulars and the notes about it: personal, so mind who looks on."""

    party_id: PartyId
    notes: tuple[PartyNote, ...]


class ErasedParty(Value):
    """A party that was erased for good: key, particulars and notes."""

    party_id: PartyId
    erased_at: datetime


class NewNote(Private):
    """A remark about a customer."""

    text: Text


class KeptNote(Value):
    """A note that the vault has."""

    note_id: UUID


@router.post(
    "/parties",
    name="put_party",
    summary="Put a customer into the vault",
    status_code=201,
    response_model=KeptParty,
    responses=ends_in(of=WRITES),
)
async def put_party(*, body: NewParty, caller: Caller, once: Once, session: Serving) -> Response:
    """Who a customer is and where; cases then name the `party_id`, and nothing else."""
    may_do(caller, "put_party")
    particulars = Party(**{name: getattr(body, name) for name in Party.model_fields})
    party_id = party_of(session.organisation, once.command_id)

    async def work() -> Done:
        await session.vault.put(
            session.organisation, party_id, particulars, sealed_to=body.sealed_to or None
        )
        return Done(KeptParty(party_id=party_id), 201, {"Location": f"/v1/parties/{party_id}"})

    return await once(work)


@router.get(
    "/parties/{party_id}",
    name="show_party",
    summary="Show a customer's particulars",
    response_model=ShownParty,
    responses=ends_in("no-such-party", "party-erased", "party-sealed", of=READS),
)
async def show_party(*, party_id: PartyPath, caller: Caller, session: Serving) -> Response:
    """Particulars and notes. Of a party sealed to roles, every look is kept (WAT-2.5)."""
    vault, organisation = session.vault, session.organisation
    reader = reading(caller, await vault.seal_of(organisation, party_id))
    found = await vault.show(organisation, party_id, reader=reader)
    notes = await vault.notes(organisation, party_id, reader=reader)
    fields = {name: getattr(found, name) for name in Party.model_fields}
    answer = shown(ShownParty(party_id=party_id, notes=tuple(notes), **fields))
    answer.headers["Cache-Control"] = "no-store"
    return answer


@router.post(
    "/parties/{party_id}/notes",
    name="add_note",
    summary="Add a remark about a customer",
    status_code=201,
    response_model=KeptNote,
    responses=ends_in("no-such-party", "party-erased", of=WRITES),
)
async def add_note(
    *, party_id: PartyPath, body: NewNote, caller: Caller, once: Once, session: Serving
) -> Response:
    """Free text that belongs to a customer: a case takes none."""
    may_do(caller, "put_party")
    note_id = uuid5(NAMESPACE_URL, f"standpipe/note/{once.command_id}")

    async def work() -> Done:
        kept = await session.vault.add_note(session.organisation, party_id, body.text, note_id)
        return Done(KeptNote(note_id=kept), 201)

    return await once(work)


@router.delete(
    "/parties/{party_id}",
    name="erase_party",
    summary="Erase a customer for good",
    response_model=ErasedParty,
    responses=ends_in("no-such-party"),
)
async def erase_party(*, party_id: PartyPath, caller: Caller, session: Serving) -> Response:
    """Destroy their key, particulars and notes; cases and proofs stay valid. Again: as before."""
    may_do(caller, "erase_party")
    erased_at = await session.vault.erase(session.organisation, party_id)
    return shown(ErasedParty(party_id=party_id, erased_at=erased_at))
