"""A typed client of a gateway: `async with Standpipe(url, token) as gateway: …`.

Requests are sent again where that helps, and done once: whatever starts or changes something has an
Idempotency-Key. `Problem` is what the gateway says no with, `Unreachable` is its silence.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import date, datetime
from functools import cache
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar
from urllib.parse import quote
from uuid import UUID

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from gateway import signing
from gateway.calling import Line, Problem, Query, Token, Unreachable
from gateway.http.approvals import ApprovalPage
from gateway.http.cases import CasePage, Worklist
from gateway.http.opening import FILLED_IN, OpenedCase
from gateway.http.operations import OutboxPage, PolicyList, PolicyName, RefusalPage, ShownPolicy
from gateway.http.parties import ErasedParty, KeptNote, KeptParty, ShownParty
from gateway.http.payments import PostedPayment
from gateway.http.registers import PartPaymentPage, StopPage
from gateway.http.webhooks import Redriving
from gateway.inbox import Waiting
from gateway.satisfaction import Satisfaction
from gateway.staff_file import StaffFile
from gateway.timeline import Timeline
from gateway.tokens import Principal
from schemas.arrears import OpenArrears, Permit
from schemas.base import Command, Role, Value
from schemas.complaint import RegisterComplaint
from schemas.dossier import Dossier
from schemas.envelope import CommandOutcome, Json
from schemas.party import Party
from schemas.read_models import CaseRow, OutboxRow, PartPaymentRow, RefusalRow, StopRow, WorkRow
from schemas.repair import ReportRepair
from schemas.signing import Signature

__all__ = ["CloudEvent", "Problem", "Standpipe", "Unreachable"]

PATIENCE = 30.0
PAGE = 200

Fields = Mapping[str, object]
Row = TypeVar("Row")
T = TypeVar("T")


class CloudEvent(Value):
    """An event of the log (CloudEvents 1.0); its `id` is the same however often it is told."""

    id: UUID
    source: str
    """Whose log."""
    type: str
    """Such as standpipe.repair.CrewArrived."""
    subject: str
    """The case."""
    time: datetime
    """Business time."""
    position: int
    """In the organisation's log: what to go on after."""
    schemaversion: int
    data: Json


class _Paged(Protocol):
    @property
    def next(self) -> str | None: ...


Page = TypeVar("Page", bound=_Paged)


class Standpipe:
    """One organisation's gateway, for whomever the token speaks for (KUN-8.4).

    Everything raises `Problem` where the gateway says no, and `Unreachable` where none answers.
    `key` is the Idempotency-Key, a new one if left out; `role` says in which of your roles you act,
    the first that may if left out; `occurred_at` when it happened, now if left out. Lists come a
    page at a time, as far as you read.
    """

    def __init__(
        self,
        base_url: str,
        token: Token,
        *,
        organisation: str | None = None,
        http: httpx.AsyncClient | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """`token` may be a function that returns one, asked before each request.

        Entered with an `organisation`, the gateway is asked first whether it is that one's:
        ValueError if not. For `patience` seconds, what failed for a moment is tried again.
        """
        self._line = Line(base_url, token, http, patience)
        self._organisation = organisation

    async def __aenter__(self) -> Self:
        if self._organisation is not None:
            try:
                found = (await self.me()).organisation
                if found != self._organisation:
                    raise ValueError(
                        f"The gateway is of {found}, not of {self._organisation}: check its address"
                        " and the organisation."
                    )
            except BaseException:
                await self._line.close()
                raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._line.close()

    async def me(self) -> Principal:
        """As whom the token lets you act: subject, roles and organisation."""
        return await self._get(Principal, "/v1/me")

    # Cases

    async def open_repair(
        self,
        report: ReportRepair | Fields,
        *,
        customer: Party | None = None,
        occurred_at: datetime | None = None,
        role: Role | None = None,
        key: str | None = None,
    ) -> OpenedCase:
        """Report a fault. `customer` goes to the vault: the case knows an opaque id."""
        body = {**_fields(report, *FILLED_IN), "customer": customer, "occurred_at": occurred_at}
        return await self._post(OpenedCase, "/v1/repairs", body, role=role, key=key)

    async def open_complaint(
        self,
        complaint: RegisterComplaint | Fields,
        *,
        customer: Party | None = None,
        sealed_to: Sequence[Role] = (),
        occurred_at: datetime | None = None,
        role: Role | None = None,
        key: str | None = None,
    ) -> OpenedCase:
        """Register a complaint. An informant's `customer` is `sealed_to` roles (WAT-2.5)."""
        body = {
            **_fields(complaint, *FILLED_IN),
            "customer": customer,
            "sealed_to": tuple(sealed_to),
            "occurred_at": occurred_at,
        }
        return await self._post(OpenedCase, "/v1/complaints", body, role=role, key=key)

    async def open_arrears(
        self,
        arrears: OpenArrears | Fields,
        *,
        occurred_at: datetime | None = None,
        role: Role | None = None,
        key: str | None = None,
    ) -> OpenedCase:
        """Open an overdue account's case; it has one open case at most."""
        body = {**_fields(arrears), "occurred_at": occurred_at}
        return await self._post(OpenedCase, "/v1/arrears", body, role=role, key=key)

    def cases(
        self,
        *,
        kind: str | None = None,
        stage: str | None = None,
        district: str | None = None,
        open: bool = False,
        late: bool = False,
        after: str | None = None,
    ) -> AsyncGenerator[CaseRow]:
        """Cases by id, of the kinds that your roles may see."""
        query: Query = {
            "kind": kind,
            "stage": stage,
            "district": district,
            "open": open,
            "late": late,
        }
        return self._list("/v1/cases", CasePage, lambda page: page.cases, query, after)

    async def worklist(self, *, limit: int = 50) -> tuple[WorkRow, ...]:
        """Open cases in the order to work on them, 500 at most."""
        return (await self._get(Worklist, "/v1/worklist", {"limit": limit})).cases

    async def case(self, case_id: str) -> CaseRow:
        """A case as the lists have it."""
        return await self._get(CaseRow, _path("cases", case_id))

    async def timeline(self, case_id: str, *, ahead: int = 3) -> Timeline:
        """What happened, what is owed, what comes next, unless; what is possible now."""
        return await self._get(Timeline, _path("cases", case_id, "timeline"), {"ahead": ahead})

    async def dossier(self, case_id: str) -> Dossier:
        """Every condition of every stop of an arrears case, and the event that proves it."""
        return await self._get(Dossier, _path("cases", case_id, "dossier"))

    async def command(
        self,
        case_id: str,
        command: Command | str,
        fields: Fields | None = None,
        *,
        occurred_at: datetime | None = None,
        role: Role | None = None,
        key: str | None = None,
    ) -> CommandOutcome:
        """Ask something of a case: `RecordArrival(crew="crew-7")`, or its name and fields."""
        name = command if isinstance(command, str) else type(command).__name__
        given = {} if isinstance(command, str) else _fields(command)
        body = {**given, **(fields or {}), "occurred_at": occurred_at}
        path = _path("cases", case_id, "commands", name)
        return await self._post(CommandOutcome, path, body, role=role, key=key)

    async def permit(
        self,
        case_id: str,
        crew: str,
        *,
        full_stop: bool = False,
        role: Role | None = None,
        key: str | None = None,
    ) -> Permit:
        """May this crew close the valve, now? A permit for minutes."""
        body = {"crew": crew, "full_stop": full_stop}
        return await self._post(
            Permit, _path("cases", case_id, "permits"), body, role=role, key=key
        )

    # Approvals

    def approvals(
        self, *, role: Role | None = None, mine: bool = False, case: str | None = None
    ) -> AsyncGenerator[Waiting]:
        """What waits for a yes or no, the longest awaited first; `mine`: that you may decide."""
        query: Query = {"role": role, "mine": mine, "case": case}
        return self._list("/v1/approvals", ApprovalPage, lambda page: page.approvals, query)

    async def decide(
        self,
        case_id: str,
        approval: str,
        decision: Literal["approve", "reject"],
        *,
        facts_hash: str,
        reason: str | None = None,
        evidence: str | None = None,
        on_behalf_of: str | None = None,
        signing_key: Ed25519PrivateKey | None = None,
        occurred_at: datetime | None = None,
        role: Role | None = None,
        key: str | None = None,
    ) -> CommandOutcome:
        """Say yes or no, on the facts that you looked at; a no needs a reason (ADM-5).

        Where it must be signed, it is signed here: the `signing_key` goes nowhere. ValueError
        where the case asks nothing of that name.
        """
        signature = None
        if signing_key is not None:
            signature = await self._signed(
                signing_key, case_id, approval, decision, facts_hash, on_behalf_of
            )
        body = {
            "decision": decision,
            "facts_hash": facts_hash,
            "reason": reason,
            "evidence": evidence,
            "on_behalf_of": on_behalf_of,
            "signature": signature,
            "occurred_at": occurred_at,
        }
        path = _path("cases", case_id, "approvals", approval, "decision")
        return await self._post(CommandOutcome, path, body, role=role, key=key)

    async def _signed(
        self,
        key: Ed25519PrivateKey,
        case_id: str,
        approval: str,
        decision: Literal["approve", "reject"],
        facts_hash: str,
        on_behalf_of: str | None,
    ) -> Signature:
        shown = await self.timeline(case_id, ahead=0)
        asked = next((a for a in shown.approvals if a.id == approval), None)
        if asked is None:
            raise ValueError(f"{case_id} asks for no {approval}.")
        seen = asked.model_copy(update={"facts_hash": facts_hash})
        me = (await self.me()).subject
        return signing.sign(key, signing.statement(shown, seen, decision, me, on_behalf_of))

    # Customers and money

    async def put_party(
        self, party: Party, *, sealed_to: Sequence[Role] = (), key: str | None = None
    ) -> KeptParty:
        """Put a customer into the vault; cases then name the id alone."""
        body = {**party.model_dump(), "sealed_to": tuple(sealed_to)}
        return await self._post(KeptParty, "/v1/parties", body, key=key)

    async def get_party(self, party_id: str) -> ShownParty:
        """Particulars and notes: personal, so mind who looks on."""
        return await self._get(ShownParty, _path("parties", party_id))

    async def add_note(self, party_id: str, text: str, *, key: str | None = None) -> KeptNote:
        """Keep a remark with a customer: a case takes no free text."""
        return await self._post(
            KeptNote, _path("parties", party_id, "notes"), {"text": text}, key=key
        )

    async def erase(self, party_id: str) -> ErasedParty:
        """Erase a customer for good; erased again, as before."""
        answer = await self._line.delete(_path("parties", party_id))
        return _read(ErasedParty, answer)

    async def payment(
        self,
        account: str,
        payment: str,
        amount: int,
        currency: str,
        paid_on: date,
        *,
        role: Role | None = None,
        key: str | None = None,
    ) -> PostedPayment:
        """Money that came in, in the smallest unit; it counts once, by its number."""
        body = {
            "account": account,
            "payment": payment,
            "amount": amount,
            "currency": currency,
            "paid_on": paid_on,
        }
        return await self._post(PostedPayment, "/v1/payments", body, role=role, key=key)

    # Registers and records

    async def staff(self, number: str) -> StaffFile:
        """A staff file; your own is yours to see."""
        return await self._get(StaffFile, _path("staff", number))

    async def satisfaction(
        self, *, since: str | None = None, until: str | None = None
    ) -> Satisfaction:
        """Satisfaction and complaints by department, from month to month, such as 2026-03."""
        return await self._get(Satisfaction, "/v1/satisfaction", {"since": since, "until": until})

    def stops(
        self, *, open: bool = False, case: str | None = None, after: str | None = None
    ) -> AsyncGenerator[StopRow]:
        """The stop register (WAT-C4c); `open`: where supply is not restored yet."""
        query: Query = {"open": open, "case": case}
        return self._list("/v1/stops", StopPage, lambda page: page.stops, query, after)

    def part_payments(
        self, *, case: str | None = None, after: str | None = None
    ) -> AsyncGenerator[PartPaymentRow]:
        """Payments that covered no whole bill (WAT-B9)."""
        path, rows = "/v1/part-payments", _part_payments
        return self._list(path, PartPaymentPage, rows, {"case": case}, after)

    def outbox(
        self, *, case: str | None = None, after: str | None = None
    ) -> AsyncGenerator[OutboxRow]:
        """Messages to the outside, and whether they got there; nothing personal."""
        return self._list("/v1/outbox", OutboxPage, lambda p: p.messages, {"case": case}, after)

    async def redrive(
        self,
        *,
        webhook: str | None = None,
        case: str | None = None,
        position: int | None = None,
        ordinal: int | None = None,
        key: str | None = None,
    ) -> Redriving:
        """Try dead letters again: all of them, or those that are named."""
        body = {"webhook": webhook, "case": case, "position": position, "ordinal": ordinal}
        return await self._post(Redriving, "/v1/deliveries/redrive", body, key=key)

    def refusals(
        self, *, case: str | None = None, after: str | None = None
    ) -> AsyncGenerator[RefusalRow]:
        """What was refused to whom."""
        return self._list("/v1/refusals", RefusalPage, lambda p: p.refusals, {"case": case}, after)

    async def policies(self) -> tuple[PolicyName, ...]:
        """The policies that new cases can pin."""
        return (await self._get(PolicyList, "/v1/policies")).policies

    async def policy(self, name: str) -> ShownPolicy:
        """One policy with all its figures."""
        return await self._get(ShownPolicy, _path("policies", name))

    # The log

    async def events(
        self, after: int = 0, *, types: Sequence[str] = (), case: str | None = None
    ) -> AsyncGenerator[CloudEvent]:
        """The log after a position, as far as it goes now; of types such as repair.CrewArrived."""
        query: Query | None = {"after": after, "limit": PAGE, "case": case, "type": types}
        path: str | None = "/v1/events"
        while path is not None:
            answer = await self._line.get(path, query)
            for event in _read(list[CloudEvent], answer):
                yield event
            path, query = answer.links.get("next", {}).get("url"), None

    async def follow(
        self, after: int = 0, *, types: Sequence[str] = (), case: str | None = None
    ) -> AsyncGenerator[CloudEvent]:
        """The same, and then each event as it happens: none is missed and none doubled, whatever
        becomes of the connection. Close it (`aclosing`) when you have enough.
        """
        last = after
        query: Query = {"case": case, "type": types}
        told = self._line.follow("/v1/events/stream", query, lambda: last)
        async with aclosing(told):
            async for frame in told:
                event = _value(CloudEvent, frame.data)
                if event.position > last:
                    last = event.position
                    yield event

    # How it is asked

    async def _get(self, kind: type[T], path: str, query: Query | None = None) -> T:
        return _read(kind, await self._line.get(path, query))

    async def _post(
        self,
        kind: type[T],
        path: str,
        body: Fields,
        *,
        role: Role | None = None,
        key: str | None,
    ) -> T:
        given = {name: value for name, value in body.items() if value is not None}
        query: Query = {"as_role": role}
        answer = await self._line.post(path, to_jsonable_python(given), key=key, query=query)
        return _read(kind, answer)

    async def _list(
        self,
        path: str,
        kind: type[Page],
        rows: Callable[[Page], Sequence[Row]],
        query: Query,
        after: str | None = None,
    ) -> AsyncGenerator[Row]:
        while True:
            page = await self._get(kind, path, {**query, "limit": PAGE, "after": after})
            for row in rows(page):
                yield row
            after = page.next
            if after is None:
                return


def _path(*parts: str) -> str:
    return "/".join(("/v1", *(quote(part, safe="") for part in parts)))


def _part_payments(page: PartPaymentPage) -> tuple[PartPaymentRow, ...]:
    return page.part_payments


def _fields(command: Command | Fields, *without: str) -> dict[str, Any]:
    if isinstance(command, Command):
        return command.model_dump(mode="json", exclude={"type", *without})
    return dict(command)


def _read(kind: type[T], answer: httpx.Response) -> T:
    """The answer as a value; a newer gateway may know fields that we do not."""
    try:
        return _value(kind, answer.content)
    except ValidationError:
        raise Problem(
            answer.status_code,
            "Not understood",
            "Whatever answers there is no gateway, or one of another version.",
        ) from None


def _value(kind: type[T], text: bytes | str) -> T:
    return _adapter(kind).validate_json(text, extra="ignore")


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
