"""A gateway elsewhere as the command line needs it: what `Here` does, through its API.

It does no more than the API: lists hold what the token's roles may see, the worklist 500 cases.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

from client import Problem, Standpipe
from gateway.billing import Payment
from gateway.billing_files import Reject
from gateway.billing_payments import Posting
from gateway.desk import Numbered
from gateway.http.payments import PostedPayment
from gateway.inbox import Waiting
from gateway.paging import Place
from gateway.permit import Asking
from gateway.reporting import Opened
from gateway.satisfaction import Satisfaction
from gateway.session import NoSuchCase
from gateway.staff_file import StaffFile
from gateway.timeline import Timeline
from schemas.arrears import Permit
from schemas.base import Actor, Role
from schemas.complaint import RegisterComplaint
from schemas.dossier import Dossier
from schemas.envelope import CommandOutcome, Json
from schemas.party import Party, PartyNote
from schemas.read_models import (
    CaseFilter,
    CaseRow,
    OutboxRow,
    PartPaymentRow,
    RefusalRow,
    StopRow,
    WorkRow,
)
from schemas.repair import ReportRepair
from schemas.satisfaction import register_of
from schemas.webhooks import TO_CUSTOMERS, TO_STAFF
from settings import Settings

PATIENCE = 8.0
"""Seconds for which somebody at a terminal is kept waiting for a gateway that does not answer."""

PATIENCE_OF_IMPORTS = 120.0
"""… and an import, which so keeps to the rates that the gateway allows."""

T = TypeVar("T")


class Remote:
    """The gateway that the settings name. Who acts is whomever its token speaks for (KUN-8.4)."""

    subject: str
    organisation: str

    def __init__(self, settings: Settings) -> None:
        assert settings.gateway_url is not None, "there is a gateway elsewhere"
        self.settings = settings
        self._url = settings.gateway_url
        self._gateway = Standpipe(self._url, settings.gateway_bearer, patience=PATIENCE)

    async def __aenter__(self) -> Self:
        try:
            me = await self._gateway.me()
        except BaseException:
            await self._gateway.__aexit__(None, None, None)
            raise
        self.subject, self.organisation = me.subject, me.organisation
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._gateway.__aexit__(kind, error, trace)

    async def case(self, case_id: str) -> CaseRow:
        async with _known(case_id):
            return await self._gateway.case(case_id)

    async def timeline(self, case_id: str, *, ahead: int = 3) -> Timeline:
        async with _known(case_id):
            return await self._gateway.timeline(case_id, ahead=ahead)

    async def list_cases(
        self, filters: CaseFilter, *, late: bool, after: str, limit: int
    ) -> list[CaseRow]:
        rows = self._gateway.cases(
            kind=filters.kind,
            stage=filters.stage,
            district=filters.district,
            open=filters.final is False,
            late=late,
            after=after or None,
        )
        return await _first(limit, rows)

    async def worklist(self, limit: int) -> list[WorkRow]:
        return list(await self._gateway.worklist(limit=min(limit, 500)))

    async def stops(
        self, case_id: str | None, *, only_stopped: bool, after: Numbered | None, limit: int
    ) -> list[StopRow]:
        rows = self._gateway.stops(open=only_stopped, case=case_id, after=_place(after))
        return await _first(limit, rows)

    async def part_payments(
        self, case_id: str | None, *, after: Numbered | None, limit: int
    ) -> list[PartPaymentRow]:
        return await _first(limit, self._gateway.part_payments(case=case_id, after=_place(after)))

    async def outbox(
        self, case_id: str | None, *, after: tuple[int, int], limit: int
    ) -> list[OutboxRow]:
        position, ordinal = after
        if ordinal < 0:  # before all messages of an event: after all of the one before
            position, ordinal = position - 1, 2**31 - 1
        place = f"{position}/{ordinal}" if position >= 0 else None
        return await _first(limit, self._gateway.outbox(case=case_id, after=place))

    async def redrive(self, case_id: str | None, place: tuple[int, int | None] | None) -> int:
        position, ordinal = place or (None, None)
        done = [
            await self._gateway.redrive(
                webhook=road, case=case_id, position=position, ordinal=ordinal
            )
            for road in (TO_CUSTOMERS, TO_STAFF)
        ]
        return sum(each.deliveries for some in done for each in some.redriven)

    async def refusals(self, case_id: str | None, *, limit: int) -> list[RefusalRow]:
        return await _first(limit, self._gateway.refusals(case=case_id))

    async def inbox(self, role: Role | None, case_id: str | None, *, limit: int) -> list[Waiting]:
        async with _known(case_id or ""):
            return await _first(limit, self._gateway.approvals(role=role, case=case_id))

    async def report(
        self, policy: str | None, command: Json, party: Party | None, sealed_to: Sequence[Role]
    ) -> Opened:
        assert policy is None, "the gateway there has its own"
        body, key, at = command["body"], command["id"], _at(command)
        if body["type"] == "ReportRepair":
            repair = ReportRepair.model_validate(body)
            made = await self._gateway.open_repair(repair, customer=party, occurred_at=at, key=key)
        else:
            complaint = RegisterComplaint.model_validate(body)
            made = await self._gateway.open_complaint(
                complaint, customer=party, sealed_to=sealed_to, occurred_at=at, key=key
            )
        return Opened(made.case_id, made.party_id, made.outcome)

    async def send(self, case_id: str, command: Json) -> CommandOutcome:
        fields = dict(command["body"])
        name = fields.pop("type")
        return await self._gateway.command(
            case_id, name, fields, occurred_at=_at(command), key=command["id"]
        )

    async def permit(self, asking: Asking) -> tuple[Permit, Timeline]:
        issued = await self._gateway.permit(
            asking.case, asking.crew, full_stop=asking.full, key=asking.command_id
        )
        shown = await self.timeline(asking.case)
        # Asked again under its key, it is answered as it was; it may be used or over by now.
        now = next((p for p in shown.state["permits"] if p["permit"] == issued.permit), None)
        return (Permit.model_validate(now) if now else issued), shown

    async def dossier(self, case_id: str) -> Dossier:
        async with _known(case_id):
            return await self._gateway.dossier(case_id)

    async def staff_file(self, number: str) -> tuple[StaffFile, Timeline] | None:
        try:
            file = await self._gateway.staff(number)
        except Problem as problem:
            if problem.kind == "no-such-entry":
                return None
            raise
        return file, await self.timeline(file.case_id)

    async def satisfaction(
        self, policy: str | None, since: str | None, until: str | None
    ) -> tuple[Satisfaction, Timeline | None]:
        found = await self._gateway.satisfaction(since=since, until=until)
        try:
            return found, await self.timeline(register_of(self.organisation))
        except NoSuchCase:
            return found, None

    async def party(self, party_id: str, reader: Actor) -> tuple[Party, Sequence[PartyNote]]:
        shown = await self._gateway.get_party(party_id)
        return Party(**{name: getattr(shown, name) for name in Party.model_fields}), shown.notes

    async def check_party(self, party_id: str) -> None:
        """Nothing that one could ask there without looking at the party."""

    async def add_note(self, party_id: str, text: str, command_id: str) -> None:
        try:
            await self._gateway.add_note(party_id, text, key=f"note/{command_id}")
        except Problem as problem:
            done = "The command is done, but its remark is not kept."
            reasons = (done, *(problem.reasons or (problem.detail,)))
            raise Problem(problem.status, problem.title, reasons=reasons) from None

    async def erase_party(self, party_id: str) -> datetime:
        return (await self._gateway.erase(party_id)).erased_at

    async def post_payments(
        self,
        payments: Mapping[str, Sequence[Payment]],
        currency: str,
        now: datetime,
        *,
        concurrency: int,
        report: Callable[[Posting], None],
    ) -> Posting:
        posting = Posting()
        room = asyncio.Semaphore(concurrency)
        bearer = self.settings.gateway_bearer

        async def one(gateway: Standpipe, account: str) -> None:
            async with room:
                for payment in payments[account]:
                    try:
                        posted = await gateway.payment(
                            account, payment.payment, payment.amount, currency, payment.paid
                        )
                    except Problem as problem:
                        if problem.kind not in ("refused", "conflict", "invalid"):
                            raise
                        _count_refused(posting, account, problem)
                    else:
                        _count(posting, account, posted)
                    report(posting)

        async with Standpipe(self._url, bearer, patience=PATIENCE_OF_IMPORTS) as gateway:
            try:
                async with asyncio.TaskGroup() as group:
                    for account in payments:
                        group.create_task(one(gateway, account))
            except BaseExceptionGroup as failures:
                raise failures.exceptions[0] from None
        posting.without_case.sort()
        posting.refused.sort(key=lambda reject: reject.account)
        return posting


def _count(posting: Posting, account: str, posted: PostedPayment) -> None:
    if posted.case_id is None:
        posting.payments_without_case += 1
        if account not in posting.without_case:
            posting.without_case.append(account)
    else:
        posting.known += posted.known
        posting.posted += not posted.known
        posting.settled += posted.settled


def _count_refused(posting: Posting, account: str, problem: Problem) -> None:
    posting.payments_refused += 1
    posting.refused.append(Reject(None, None, account, problem.reasons))


async def _first(limit: int, rows: AsyncGenerator[T]) -> list[T]:
    found: list[T] = []
    async with aclosing(rows):
        async for row in rows:
            found.append(row)
            if len(found) == limit:
                break
    return found


def _place(after: Numbered | None) -> str | None:
    if after is None:
        return None
    at, case_id, number = after
    return str(Place(at, case_id, str(number)))


def _at(command: Json) -> datetime | None:
    at = command.get("occurred_at")
    return None if at is None else datetime.fromisoformat(at)


@asynccontextmanager
async def _known(case_id: str) -> AsyncGenerator[None]:
    try:
        yield
    except Problem as problem:
        if problem.kind != "no-such-case":
            raise
        raise NoSuchCase(f"There is no case {case_id}: see `standpipe case list`.") from None
