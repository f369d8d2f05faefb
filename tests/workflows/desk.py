"""A desk from which a test runs cases: real servers, a task queue, commands in one line."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from typing import Any, Literal
from uuid import uuid4

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, ResetReapplyExcludeType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    StartWorkflowInput,
    StartWorkflowUpdateWithStartInput,
    WorkflowHandle,
    WorkflowUpdateHandle,
)
from temporalio.testing import TimeSkipper, TimeSkippingConfig
from temporalio.worker import Worker, WorkflowRunner

from activities.cases import Cases
from activities.event_log import EventLog
from activities.signing_keys import SigningKeys
from gateway import signing
from lifecycles.lifecycle import Plan, dump, lifecycle_of, plan
from lifecycles.policies import pinned
from schemas.calendar import WEEKDAYS
from schemas.envelope import AppendRequest, CommandOutcome, Json, OpenCase
from schemas.policy import Policy
from schemas.signing import Statement
from worker import build_worker, sandboxed

ORGANISATION = "town"
SHORT = timedelta(seconds=2)
OWED = 12_000
"""Fen, of one bill."""


class ShortTasks(Interceptor):
    """Workflow tasks of two seconds instead of ten, so that a killed worker is missed soon."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _ShortTasks(next)


class _ShortTasks(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        input.task_timeout = SHORT
        return await super().start_workflow(input)

    async def start_update_with_start_workflow(
        self, input: StartWorkflowUpdateWithStartInput
    ) -> WorkflowUpdateHandle[Any]:
        input.start_workflow_input.task_timeout = SHORT
        return await super().start_update_with_start_workflow(input)


def with_interceptor(client: Client, interceptor: Interceptor) -> Client:
    config = client.config()
    config["interceptors"] = [*config["interceptors"], interceptor]
    return Client(**config)


@dataclass
class Desk:
    """One organisation's cases. Virtual time stands still unless `later` moves it."""

    client: Client
    log: EventLog
    policy: str
    task_queue: str
    registrar: SigningKeys | None = None
    """Enrols the keys with which people sign, when they first do."""
    names: str = field(default_factory=lambda: uuid4().hex[:12])
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    cases_begun: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.skipper = TimeSkipper(self.client, config=TimeSkippingConfig(enabled=False))
        self.client = self.skipper.client
        self.cases = Cases(self.client, self.log, ORGANISATION, self.task_queue)

    def called(self, names: str, *, task_queue: str | None = None) -> "Desk":
        """Another desk on the same servers, whose names and numbers are its own."""
        queue = task_queue or self.task_queue
        return replace(self, names=names, task_queue=queue, numbers=count(1), cases_begun=count(1))

    def worker(
        self, *, log: EventLog | None = None, runner: WorkflowRunner | None = None
    ) -> Worker:
        return build_worker(
            self.client,
            log or self.log,
            organisation=ORGANISATION,
            task_queue=self.task_queue,
            runner=runner or sandboxed(),
        )

    def name(self, kind: str = "repair") -> str:
        return f"{kind}-{self.names}-{next(self.cases_begun)}"

    def command(
        self,
        kind: str,
        /,
        *,
        id: str | None = None,
        by: str = "clerk",
        who: str | None = None,
        at: datetime | None = None,
        **body: Any,
    ) -> Json:
        """A command by somebody in the role `by`; `at` is when it happened, if not now."""
        return {
            "id": id or f"{self.names}/{next(self.numbers)}",
            "actor": {"subject": who or f"{by}-1", "role": by, "proof": "local"},
            "occurred_at": at and at.isoformat(),
            "body": {"type": kind, **body},
        }

    def report(self, *, at: datetime | None = None, by: str = "clerk", **body: Any) -> Json:
        """A customer without gas calls."""
        contact = ["name", "address", "phone"]
        usual = {"channel": "phone", "category": "no-gas", "district": "north", "party": "party-1"}
        return self.command("ReportRepair", at=at, by=by, **{**usual, "recorded": contact, **body})

    async def opened(self, *, at: datetime | None = None, **body: Any) -> str:
        """A new case, reported."""
        case_id = self.name()
        await self.cases.open(case_id, self.policy, self.report(at=at, **body))
        return case_id

    def complaint(self, *, at: datetime | None = None, **body: Any) -> Json:
        """A customer calls about the service."""
        usual = {"channel": "phone", "about": "service", "category": "late", "district": "north"}
        known = {"party": "party-1", "recorded": ["name", "phone"]}
        return self.command("RegisterComplaint", at=at, **{**usual, **known, **body})

    async def registered(self, *staff: str, at: datetime | None = None, **body: Any) -> str:
        """A new complaint; about `staff`, if named."""
        case_id = self.name("complaint")
        about: dict[str, Any] = {}
        if staff:
            accused = [{"staff": number} for number in staff]
            about = {"about": "staff", "category": "attitude", "accused": accused}
        await self.cases.open(case_id, self.policy, self.complaint(at=at, **{**about, **body}))
        return case_id

    async def investigating(self, *staff: str, **body: Any) -> str:
        """A new complaint that somebody looks into."""
        case_id = await self.registered(*staff, **body)
        category = "attitude" if staff else "late"
        await self.send(case_id, "ScreenComplaint", category=category, gravity="light")
        await self.send(case_id, "HandOverComplaint", department="field-service")
        await self.send(case_id, "AcknowledgeComplaint")
        await self.send(case_id, "StartInvestigation")
        return case_id

    async def found(self, case_id: str, staff: str, outcome: str = "upheld", **body: Any) -> None:
        """A finding about one of the staff."""
        usual: dict[str, Any] = {"conduct_at": ago(days=1).isoformat(), "evidence": "minutes-1"}
        if outcome == "not_upheld":
            usual["reason"] = "no_ground"
        finding = {"staff": staff, "outcome": outcome, **usual, **body}
        await self.send(case_id, "DecideFinding", **finding)

    def overdue(self, at: datetime, **body: Any) -> Json:
        """A billing run finds an account of some premises of its own overdue."""
        number = f"{self.names}-{next(self.numbers)}"
        usual = {"account": f"A-{number}", "premises": number, "reader": "reader-1"}
        usual |= {"dn": 20, "customer_class": "household", "district": "north", "run": "run-1"}
        bill = {"bill": "B-1", "amount": OWED, "due": (at - timedelta(days=9)).date().isoformat()}
        debt = {"party": "party-1", "currency": "CNY", "bills": [bill]}
        return self.command("OpenArrears", at=at, **{**usual, **debt, **body})

    async def owing(self, *history: Json, days: float = 15, **body: Any) -> str:
        """An account that has been chased so long, with what happened since."""
        case_id = self.name("arrears")
        commands = [self.overdue(ago(days=days), **body), *history]
        assert await self.cases.open_with_history(case_id, self.policy, commands)

        async def known() -> bool:
            return await self.log.case(ORGANISATION, case_id) is not None

        await until(known)
        return case_id

    async def eligible(self, *history: Json, **body: Any) -> str:
        """An account that was reminded and served a notice, whose period is over."""
        chased = [
            self.command("RecordContact", at=ago(days=14), how="phone", evidence="call-1"),
            self.command("RecordContact", at=ago(days=13), how="door", evidence="photo-1"),
            self.command("ServeNotice", at=ago(days=12.5), how="door", proof="photo-2"),
        ]
        return await self.owing(*chased, *history, **body)

    async def authorised(self, **body: Any) -> str:
        """An account whose supply a crew is to stop today, at whatever hour."""
        yes = self.command("AuthoriseCutoff", by="supervisor", at=ago(hours=1))
        visit = self.command("ScheduleVisit", at=ago(minutes=30), **visit_on(datetime.now(UTC)))
        return await self.eligible(yes, visit, **body)

    async def clock(self, case_id: str) -> datetime:
        """The case's own time."""
        return await self.skipper.get_current_time(self.handle(case_id))

    async def known(self, case_id: str) -> Json:
        """The case's state, as it tells it itself."""
        return await self.handle(case_id).query("state")

    async def ask_permit(self, case_id: str, permit: str = "permit-1", **body: Any) -> None:
        """The crew at the valve asks, with a look into the log just now."""
        premises = (await self.known(case_id))["premises"]
        there = await self.log.open_on(ORGANISATION, [premises])
        now = (await self.clock(case_id)).isoformat()
        asked = {"permit": permit, "crew": "crew-1", "premises_open": there, "checked_at": now}
        await self.send(case_id, "IssuePermit", by="crew", **{**asked, **body})

    async def close_valve(self, case_id: str, permit: str | None = "permit-1", **body: Any) -> None:
        """The crew closes the valve."""
        facts = {"permit": permit, "crew": "crew-1", "valve": "V-1", "seal": "S-1", "reading": 120}
        await self.send(case_id, "RecordValveClosed", by="crew", **{**facts, **body})

    async def pay(
        self,
        case_id: str,
        amount: int = OWED,
        *,
        at: datetime | None = None,
        payment: str = "pay-1",
    ) -> None:
        """Money came in, an hour ago by the case's clock; `at` where that is known already."""
        when = (at or await self.clock(case_id)) - timedelta(hours=1)
        paid = {"payment": payment, "amount": amount, "currency": "CNY"}
        await self.send(case_id, "RecordPayment", paid_at=when.isoformat(), **paid)

    async def send(
        self,
        case_id: str,
        kind: str,
        /,
        *,
        by: str = "clerk",
        who: str | None = None,
        at: datetime | None = None,
        **body: Any,
    ) -> CommandOutcome:
        return await self.cases.send(case_id, self.command(kind, by=by, who=who, at=at, **body))

    async def decide(
        self,
        case_id: str,
        decision: Literal["approve", "reject"] = "approve",
        *,
        by: str = "division_head",
        who: str | None = None,
        **body: Any,
    ) -> CommandOutcome:
        """Somebody's yes or no to what was asked last, signed with their own key if it must be."""
        choice = await self.choice(case_id, decision, who or f"{by}-1", **body)
        return await self.send(case_id, "DecideApproval", by=by, who=who, **choice)

    async def choice(
        self, case_id: str, decision: Literal["approve", "reject"], subject: str, **body: Any
    ) -> Json:
        """The body of that decision, on the facts as they are now."""
        state = await self.known(case_id)
        asked = state["approvals"][-1]
        choice: Json = {"approval": asked["id"], "facts_hash": asked["facts_hash"]}
        choice |= {"decision": decision, **body}
        if asked.get("signed"):
            said = Statement(
                organisation=ORGANISATION,
                case=case_id,
                approval=asked["id"],
                action=asked["kind"],
                decision=decision,
                facts_hash=asked["facts_hash"],
                subject=subject,
                on_behalf_of=body.get("on_behalf_of"),
                version=state["version"],
                nonce=uuid4().hex,
                expires_at=await self.clock(case_id) + timedelta(minutes=10),
            )
            signature = signing.sign(await self.key_of(subject), said)
            choice["signature"] = signature.model_dump(mode="json")
        return choice

    async def key_of(self, subject: str) -> Ed25519PrivateKey:
        """A person's own key, the same in every test, enrolled."""
        key = Ed25519PrivateKey.from_private_bytes(sha256(subject.encode()).digest())
        assert self.registrar is not None, "this desk enrols no keys"
        await self.registrar.enrol(ORGANISATION, signing.public_key(key), subject, "admin-1")
        return key

    async def finish(self, case_id: str) -> CommandOutcome:
        """From the report to the last call, by the shortest way. Returns what closed it."""
        await self.send(case_id, "TriageRepair", category="no-gas", severity="common")
        return await self.finish_after_triage(case_id)

    async def finish_after_triage(self, case_id: str) -> CommandOutcome:
        await self.send(case_id, "DispatchCrew", crew="k-1")
        await self.send(case_id, "AcceptJob", crew="k-1")
        await self.send(case_id, "RecordArrival", crew="k-1")
        await self.send(case_id, "CompleteRepair", work=["valve"])
        return await self.send(
            case_id, "RecordCallback", party="party-1", consent=True, result="satisfied"
        )

    def handle(self, case_id: str, run_id: str | None = None) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(case_id, run_id=run_id)

    def opening(self, case_id: str, commands: Sequence[Json] = ()) -> Json:
        """A case workflow's argument."""
        case = OpenCase(
            organisation=ORGANISATION,
            case_id=case_id,
            policy=self.policy,
            commands=tuple(commands),
        )
        return case.model_dump(mode="json")

    async def start(self, case_id: str, argument: Any) -> WorkflowHandle[Any, Any]:
        """A case workflow with any argument, past all checks."""
        kind = case_id.partition("-")[0].capitalize()
        return await self.client.start_workflow(
            f"{kind}Workflow", argument, id=case_id, task_queue=self.task_queue
        )

    async def later(self, case_id: str, by: timedelta) -> None:
        """Let virtual time pass for a case, its deadlines included."""
        await self.skipper.fast_forward(self.handle(case_id), by)

    async def types(self, case_id: str) -> list[str]:
        return [event.type for event in await self.log.read_stream(ORGANISATION, case_id)]

    async def bodies(self, case_id: str) -> list[Json]:
        return [event.body for event in await self.log.read_stream(ORGANISATION, case_id)]

    async def command_ids(self, case_id: str) -> list[str]:
        """Of all that was decided, the clock's deadlines left out, in order."""
        decisions = await self.log.read_decisions(ORGANISATION, case_id)
        return [d.command_id for d in decisions if not d.command_id.startswith("deadline/")]

    async def history(self, case_id: str, run_id: str | None = None) -> list[str]:
        """The types of a run's history events; the latest run's unless told."""
        history = await self.handle(case_id, run_id).fetch_history()
        return [EventType.Name(e.event_type).removeprefix("EVENT_TYPE_") for e in history.events]

    def unborn(self, case_id: str) -> Any:
        """The state before the first event."""
        return lifecycle_of(case_id).initial(case_id, ORGANISATION, *pinned(self.policy))

    def planned(self, case_id: str, commands: Sequence[Json], now: datetime) -> Plan:
        """What the pure rules make of commands, all at once."""
        lifecycle = lifecycle_of(case_id)
        envelopes = [lifecycle.command(c) for c in commands]
        return plan(lifecycle, self.unborn(case_id), 0, envelopes, now)

    async def append(self, case_id: str, *commands: Json) -> None:
        """Decide and append as another run of the case would, knowing all that the log holds."""
        lifecycle = lifecycle_of(case_id)
        state, version = self.unborn(case_id), 0
        for event in await self.log.read_stream(ORGANISATION, case_id):
            state, version = lifecycle.evolve(state, lifecycle.event(event.body)), event.version
        envelopes = [lifecycle.command(c) for c in commands]
        made = plan(lifecycle, state, version, envelopes, datetime.now(UTC))
        assert not made.refused
        result = await self.log.append_events(
            AppendRequest(
                organisation=ORGANISATION,
                stream=case_id,
                expected_version=version,
                policy=self.policy if version == 0 else None,
                decisions=tuple(step.decision() for step in made.steps),
                summary=lifecycle.summary(made.state),
            )
        )
        assert result.status == "appended"

    async def reset(self, case_id: str, to_task: int, *, reapply: bool) -> None:
        """What an operator does: back to the n-th task, with what came later or without."""
        history = await self.handle(case_id).fetch_history()
        tasks = [
            event.event_id
            for event in history.events
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
        ]
        left_out = [
            ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE,
            ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL,
        ]
        await self.client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace=self.client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=case_id),
                reason="a test",
                workflow_task_finish_event_id=tasks[to_task],
                request_id=self.name(),
                reset_reapply_exclude_types=[] if reapply else left_out,
            )
        )

    async def verified(self, case_id: str) -> Any:
        """The state, once log, workflow, outbox and read model all agree on it.

        Every decision is taken again from the commands that the log holds: whatever was lost, done
        twice or done in another order shows.
        """
        lifecycle = lifecycle_of(case_id)
        events = await self.log.read_stream(ORGANISATION, case_id)
        decisions = await self.log.read_decisions(ORGANISATION, case_id)
        outbox = await self.log.outbox(ORGANISATION, stream=case_id, limit=10_000)

        assert [e.version for e in events] == list(range(1, len(events) + 1))
        assert [b for d in decisions for b in d.bodies] == [e.body for e in events]
        assert len({d.command_id for d in decisions}) == len(decisions)

        state = self.unborn(case_id)
        version = 0
        said: list[tuple[int, Json]] = []
        for decision in decisions:
            command = lifecycle.command(decision.command)
            again = lifecycle.decide(state, command, decision.decided_at)
            assert [dump(event) for event in again] == list(decision.bodies)
            state = lifecycle.fold(state, again)
            for number, event in enumerate(again, version + 1):
                said += [(number, m.model_dump()) for m in lifecycle.effects(state, event)]
            version += len(again)
        at = {event.position: event.version for event in events}
        assert [(at[row.position], row.message.model_dump()) for row in outbox] == said

        row = await self.log.case(ORGANISATION, case_id)
        assert row is not None
        assert row.version == version
        summary = lifecycle.summary(state)
        assert {name: getattr(row, name) for name in type(summary).model_fields} == {
            name: getattr(summary, name) for name in type(summary).model_fields
        }
        known = await self.handle(case_id).query("state")
        assert known == {"version": version, **state.model_dump(mode="json")}
        return state


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    """Ask until it is so; TimeoutError if that takes too long."""
    async with asyncio.timeout(seconds):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.05)


def ago(**by: float) -> datetime:
    return datetime.now(UTC) - timedelta(**by)


def visit_on(day: datetime, crew: str = "crew-1") -> dict[str, Any]:
    """A crew is to come, from five hours before until five hours after."""
    ends = {"start": day - timedelta(hours=5), "end": day + timedelta(hours=5)}
    return {"crew": crew, **{name: at.isoformat() for name, at in ends.items()}}


def any_day(policy: str) -> str:
    """The policy where supply may be stopped at all hours of all days, and it is about noon now."""
    content = json.loads(policy)
    # Else a test's visit could not be today where it runs shortly before midnight.
    zone = f"Etc/GMT{datetime.now(UTC).hour - 12:+}"
    week = {day: ["00:00-24:00"] for day in WEEKDAYS}
    content["calendar"] |= {"time_zone": zone, "holidays": [], "workdays": [], "week": week}
    whenever = {"hours": "00:00-24:00", "working_days_after": 0, "protected_seasons": []}
    content["arrears"]["permit"] |= whenever
    return rfc8785.dumps(Policy.model_validate(content).model_dump(mode="json")).decode()
