"""What the demonstration plays on: servers of its own, cases whose clocks can be fast-forwarded.

A scene asks real cases through `Cases`, lets their own timers fire, and says what the log holds.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from activities.cases import Cases
from activities.database import open_pool
from activities.event_log import EventLog
from activities.signing_keys import SigningKeys
from gateway import signing
from gateway.drawing import event_lines
from gateway.reporting import report
from gateway.session import Session
from gateway.timeline import Timeline
from lifecycles.policies import Pinned, pinned
from schemas.envelope import Json
from schemas.party import Party
from settings import Settings
from stack import Stack
from worker import build_worker

DEMO = "demo"
"""The organisation whose log it all is."""

PATIENCE_SECONDS = 30.0
UNTOLD = ("CommitmentStarted", "RepairTriaged", "RequestAnswered", "WorkPaused", "CallbackDue")
"""Left to the timeline at the end, so that the story stays one."""
ASKED = "requested"
ELSEWHERE = (
    "database_url",
    "database_password_file",
    "admin_database_url",
    "admin_database_password_file",
    "key",
    "key_file",
)


class Theatre:
    """The servers on which the scenes play."""

    def __init__(
        self, session: Session, skipper: TimeSkipper, policy: str, registrar: asyncpg.Pool
    ) -> None:
        self.session = session
        self._registrar = registrar
        self._keys: dict[str, Ed25519PrivateKey] = {}
        self.skipper = skipper
        self.policy = policy
        self.cases = Cases(
            skipper.client, session.log, session.organisation, session.settings.task_queue
        )

    async def key_of(self, who: str) -> Ed25519PrivateKey:
        """The key that somebody signs with: created and enrolled when they first do."""
        if who not in self._keys:
            self._keys[who] = key = Ed25519PrivateKey.generate()
            keys = SigningKeys(self._registrar)
            await keys.enrol(DEMO, signing.public_key(key), who, "admin-1")
        return self._keys[who]

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, data_dir: Path, policy: str, say: Callable[[str], None]
    ) -> "AsyncGenerator[Theatre]":
        """Servers of its own, a worker inside, and time that can be skipped."""
        settings = Settings(
            data_dir=data_dir,
            organisation=DEMO,
            # Whatever servers and keys the environment names, these are our own.
            **dict.fromkeys(ELSEWHERE),
        )
        stack = Stack(data_dir, time_skipping=True, temporal_port=0, ui_port=0, report=say)
        async with stack, Session(settings, connections=20) as session:
            client = await session.client()
            log = EventLog(session.pool)
            async with build_worker(
                client, log, organisation=session.organisation, task_queue=settings.task_queue
            ):
                # Skipping only where a scene asks for it: else a waiting case would run to its end.
                skipper = TimeSkipper(client, config=TimeSkippingConfig(enabled=False))
                registrar = await open_pool(session.admin_url, min_size=0, max_size=1)
                yield cls(session, skipper, policy, registrar)
                registrar.terminate()


class Scene:
    """One story: what somebody does, how the time goes by, and what the log says of it."""

    def __init__(self, theatre: Theatre, title: str) -> None:
        self.title = title
        self.case = ""
        self.parties: list[str] = []
        self.lines: asyncio.Queue[RenderableType | None] = asyncio.Queue()
        self._theatre = theatre
        self._told: dict[str, int] = {}

    async def reported(
        self,
        words: str,
        customer: Party,
        *,
        channel: str = "phone",
        role: str = "clerk",
        ago: timedelta | None = None,
    ) -> str:
        """Somebody reports a fault; the first such case is the scene's own."""
        when = None if ago is None else (self.moment() - ago).isoformat()
        body: Json = {
            "type": "ReportRepair",
            "channel": channel,
            "category": "no-gas",
            "district": "north",
        }
        by = _from("clerk-12" if role == "clerk" else "app", role)
        return await self._opened(words, {**by, "occurred_at": when, "body": body}, customer)

    async def _opened(self, words: str, command: Json, customer: Party) -> str:
        theatre = self._theatre
        opened = await report(
            theatre.cases,
            theatre.session.vault,
            theatre.session.organisation,
            theatre.policy,
            command,
            customer,
            self.moment(),
        )
        self.case = self.case or opened.case_id
        self.parties += [opened.party_id] if opened.party_id else []
        await self.told(words, opened.case_id)
        return opened.case_id

    async def complained(
        self, words: str, customer: Party, *, category: str = "late", accused: str | None = None
    ) -> str:
        """Somebody complains; the first such case is the scene's own."""
        body: Json = {
            "type": "RegisterComplaint",
            "channel": "phone",
            "about": "staff" if accused else "service",
            "category": category,
            "district": "north",
            "accused": [{"staff": accused}] if accused else [],
        }
        return await self._opened(words, {**_from("clerk-12", "clerk"), "body": body}, customer)

    async def overdue(self, words: str, customer: Party, owed: int, *, dn: int = 20) -> str:
        """A billing run finds a customer's account overdue; the first such case is the scene's own.

        What is owed is in the currency's smallest unit.
        """
        theatre, number = self._theatre, uuid4().hex[:8]
        party, terms = f"party-{uuid4().hex[:16]}", self.rules().policy.arrears
        assert terms is not None, "the demonstration's policy has terms for arrears"
        await theatre.session.vault.put(theatre.session.organisation, party, customer)
        due = (self.moment() - timedelta(days=30)).date().isoformat()
        body: Json = {
            "type": "OpenArrears",
            "account": f"account:{number}",
            "premises": f"premises:{number}",
            "reader": "reader-4",
            "dn": dn,
            "customer_class": "household" if dn < terms.large_meter else "commercial",
            "party": party,
            "district": "north",
            "currency": terms.currency,
            "bills": [{"bill": f"bill:{number}", "amount": owed, "due": due}],
            "run": "bills",
        }
        case_id = f"arrears-{number}-1"
        command = {**_from("billing", "service"), "body": body}
        await theatre.cases.open(case_id, theatre.policy, command)
        self.case = self.case or case_id
        self.parties += [party]
        await self.told(words, case_id)
        return case_id

    async def paid(self, owed: int) -> None:
        """Money comes in for the scene's own case, just now."""
        facts: Json = {
            "payment": f"bank:{uuid4().hex[:8]}",
            "amount": owed,
            "currency": (await self.timeline()).state["currency"],
            "paid_at": (await self.clock()).isoformat(),
        }
        await self.done("RecordPayment", who="bank", role="service", **facts)

    def rules(self) -> Pinned:
        """The policy that all cases here are opened under."""
        return pinned(self._theatre.policy)

    async def clock(self, of: str | None = None) -> datetime:
        """A case's own present time (UTC): ahead of the wall's by what was skipped."""
        skipper = self._theatre.skipper
        handle = skipper.client.get_workflow_handle(of or self.case)
        return await skipper.get_current_time(handle)

    async def approved(self, of: str, who: str, role: str) -> None:
        """Somebody says yes to what is asked, on the facts as they stand."""
        shown = await self.timeline(of)
        asked = next(a for a in shown.approvals if a.state == ASKED)
        choice: Json = {"approval": asked.id, "facts_hash": asked.facts_hash}
        if asked.signed:
            said = signing.statement(shown, asked, "approve", who, now=await self.clock(of))
            signature = signing.sign(await self._theatre.key_of(who), said)
            choice["signature"] = signature.model_dump(mode="json")
        await self.done("DecideApproval", of=of, who=who, role=role, decision="approve", **choice)

    def moment(self) -> datetime:
        """Now, by the clock on the wall."""
        return datetime.now(UTC)

    async def done(
        self,
        command: str,
        *,
        of: str | None = None,
        who: str = "clerk-12",
        role: str = "clerk",
        **fields: object,
    ) -> None:
        """Somebody asks something of a case, at its own present time."""
        envelope = {**_from(who, role), "body": {"type": command, **fields}}
        await self._theatre.cases.send(of or self.case, envelope)

    async def told(self, words: str, of: str | None = None) -> None:
        """Say what was done, and what the log holds of it since."""
        case = of or self.case
        shown = await self.timeline(case)
        after = self._told.get(case, 0)
        fresh = [e for e in shown.events if e.version > after and e.type not in UNTOLD]
        self._told[case] = shown.version
        lines = Padding(event_lines(shown, fresh), (0, 0, 0, 2))
        self.lines.put_nowait(Group(Text(words, style="italic"), lines))

    async def later(self, by: timedelta, of: str | None = None) -> None:
        """Let a case's clock run on: its timers fire as they would have."""
        theatre, case = self._theatre, of or self.case
        handle = theatre.skipper.client.get_workflow_handle(case)
        until = await theatre.skipper.get_current_time(handle) + by
        await theatre.skipper.fast_forward(handle, by)
        await self._until(case, lambda shown: not _due(shown, until))

    async def ended(self, case: str, stage: str) -> None:
        """Wait until a case has reached its end by itself."""
        await self._until(case, lambda shown: shown.stage == stage)

    async def timeline(self, case: str | None = None) -> Timeline:
        return await self._theatre.session.timeline(case or self.case)

    async def happened(self, case: str, event: str, times: int = 1) -> None:
        """Wait until something has happened in a case so often."""

        session = self._theatre.session
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                events = await session.log.read_stream(session.organisation, case)
                if sum(e.type == event for e in events) >= times:
                    return
                await asyncio.sleep(0.05)

    async def _until(self, case: str, there: Callable[[Timeline], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not there(await self.timeline(case)):  # noqa: ASYNC110 - the log tells, no event
                await asyncio.sleep(0.05)


def _due(shown: Timeline, until: datetime) -> bool:
    """Whether the clock still owes the case something."""
    return bool(shown.next) and shown.next[0].at <= until


def _from(who: str, role: str) -> Json:
    return {
        "id": f"demo-{uuid4().hex}",
        "actor": {"subject": who, "role": role, "proof": "local"},
    }
