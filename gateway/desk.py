"""What the command line asks for, of the servers here or of a gateway elsewhere: the same words."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias
from uuid import NAMESPACE_URL, uuid5

from gateway import permit, satisfaction, webhooks
from gateway.billing import Payment
from gateway.billing_payments import Posting, post_payments
from gateway.commands import Invalid
from gateway.dossier import dossier
from gateway.inbox import Waiting, inbox
from gateway.permit import Asking
from gateway.policies import content_of, load
from gateway.reporting import Opened, report
from gateway.satisfaction import Satisfaction
from gateway.session import NoSuchCase, Session, policy_folder
from gateway.staff_file import StaffFile, find_staff_file
from gateway.timeline import Timeline
from schemas.arrears import Permit
from schemas.base import Actor, Role
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
from schemas.webhooks import TO_CUSTOMERS, TO_STAFF
from settings import Settings

if TYPE_CHECKING:
    from gateway.remote import Remote

Numbered = tuple[datetime, str, int]
"""A place in a register: instant, case and number."""


class Here(Session):
    """The servers here. Who acts is whoever sits at this machine, as they say."""

    subject: str | None = None
    """As whom a gateway knows them."""

    async def case(self, case_id: str) -> CaseRow:
        """A case as lists have it. Raises NoSuchCase."""
        found = await self.log.case(self.organisation, case_id)
        if found is None:
            raise NoSuchCase(f"There is no case {case_id}: see `standpipe case list`.")
        return found

    async def list_cases(
        self, filters: CaseFilter, *, late: bool, after: str, limit: int
    ) -> list[CaseRow]:
        return await self.log.list_cases(
            self.organisation, filters, late=late, after=after, limit=limit
        )

    async def worklist(self, limit: int) -> list[WorkRow]:
        return await self.log.worklist(self.organisation, limit=limit)

    async def stops(
        self, case_id: str | None, *, only_stopped: bool, after: Numbered | None, limit: int
    ) -> list[StopRow]:
        return await self.log.stop_register(
            self.organisation, case_id=case_id, only_stopped=only_stopped, after=after, limit=limit
        )

    async def part_payments(
        self, case_id: str | None, *, after: Numbered | None, limit: int
    ) -> list[PartPaymentRow]:
        return await self.log.part_payments(
            self.organisation, case_id=case_id, after=after, limit=limit
        )

    async def outbox(
        self, case_id: str | None, *, after: tuple[int, int], limit: int
    ) -> list[OutboxRow]:
        return await self.log.outbox(self.organisation, stream=case_id, after=after, limit=limit)

    async def redrive(self, case_id: str | None, place: tuple[int, int | None] | None) -> int:
        """Try dead messages again; returns how many."""
        done = [
            each
            for road in (TO_CUSTOMERS, TO_STAFF)
            for each in await webhooks.redrive(
                self, subscription=road, case_id=case_id, place=place
            )
        ]
        return sum(each.deliveries for each in done)

    async def refusals(self, case_id: str | None, *, limit: int) -> list[RefusalRow]:
        return await self.log.refusals(self.organisation, stream=case_id, limit=limit)

    async def inbox(self, role: Role | None, case_id: str | None, *, limit: int) -> list[Waiting]:
        """What waits for a yes or no. Raises NoSuchCase."""
        return await inbox(self, role=role, case=case_id, limit=limit)

    async def report(
        self, policy: str | None, command: Json, party: Party | None, sealed_to: Sequence[Role]
    ) -> Opened:
        """Open a case, under the policy of `new_cases_policy`; see `gateway.reporting`."""
        assert policy is not None, "here it is known"
        return await report(
            *(await self.cases(), self.vault, self.organisation, policy, command, party),
            datetime.now(UTC),
            sealed_to=sealed_to,
        )

    async def send(self, case_id: str, command: Json) -> CommandOutcome:
        """Ask something of a case. Raises what says no."""
        return await (await self.cases()).send(case_id, command)

    async def permit(self, asking: Asking) -> tuple[Permit, Timeline]:
        """Ask whether a valve may be closed, now. Raises what says no."""
        return await permit.ask(self, asking)

    async def dossier(self, case_id: str) -> Dossier:
        """What proves an arrears case's stops. Raises NoSuchCase."""
        policy = await self.policy_of(case_id)
        decisions = await self.log.read_decisions(self.organisation, case_id)
        return dossier(self.organisation, case_id, policy, decisions, datetime.now(UTC))

    async def staff_file(self, number: str) -> tuple[StaffFile, Timeline] | None:
        """Somebody's file and its case; None where there is none."""
        return await find_staff_file(self, number)

    async def satisfaction(
        self, policy: str | None, since: str | None, until: str | None
    ) -> tuple[Satisfaction, Timeline | None]:
        """The figures, and the register; `policy` counts where none is open yet."""
        register = await satisfaction.register_of_session(self)
        if register is None:
            named = policy or self.settings.policy
            rules = load(named, policy_folder(self.settings)).policy
        else:
            rules = (await self.policy_of(register.case_id)).policy
        return await satisfaction.shown(self, rules, register, since, until), register

    async def party(self, party_id: str, reader: Actor) -> tuple[Party, Sequence[PartyNote]]:
        """A customer's particulars and notes. Raises VaultError."""
        found = await self.vault.show(self.organisation, party_id, reader=reader)
        return found, await self.vault.notes(self.organisation, party_id, reader=reader)

    async def check_party(self, party_id: str) -> None:
        """Whether a note can be kept with a customer. Raises VaultError."""
        await self.vault.check(self.organisation, party_id)

    async def add_note(self, party_id: str, text: str, command_id: str) -> None:
        """Keep the note of a command with a customer: sent again, it is kept once."""
        note = uuid5(NAMESPACE_URL, f"standpipe/note/{command_id}")
        await self.vault.add_note(self.organisation, party_id, text, note)

    async def erase_party(self, party_id: str) -> datetime:
        """Erase a customer for good; returns since when. Raises VaultError."""
        return await self.vault.erase(self.organisation, party_id)

    async def post_payments(
        self,
        payments: Mapping[str, Sequence[Payment]],
        currency: str,
        now: datetime,
        *,
        concurrency: int,
        report: Callable[[Posting], None],
    ) -> Posting:
        """Tell accounts' open cases of their payments; each counts once."""
        return await post_payments(
            payments,
            currency,
            self.organisation,
            now,
            cases=await self.cases(),
            log=self.log,
            concurrency=concurrency,
            report=report,
        )


Desk: TypeAlias = "Here | Remote"


def desk(settings: Settings) -> Desk:
    """What the settings say to work with. StackError where nothing runs here."""
    if settings.gateway_url is None:
        return Here(settings)
    from gateway.remote import Remote  # the whole API, which nothing here needs: verbs start faster

    return Remote(settings)


def new_cases_policy(settings: Settings, named: str | None) -> str | None:
    """The canonical JSON of the policy for a new case; None where the gateway there has its own.

    Raises PolicyError, `Invalid`.
    """
    if settings.gateway_url is None:
        return content_of(named or settings.policy, policy_folder(settings))
    if named is not None:
        raise Invalid(["--policy: leave it out; the gateway there says what new cases pin"])
    return None
