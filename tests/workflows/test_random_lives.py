"""Random commands, lawful or not: the workflow, the log and the pure rules come to the same."""

import asyncio
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus

from lifecycles.decisions import Rejected
from lifecycles.lifecycle import Plan, dump, lifecycle_of, plan
from schemas.envelope import Json
from tests.workflows.desk import ORGANISATION, Desk, ago, until

SEEDS = range(6)
MINUTE = timedelta(minutes=1)


def fields(kind: str, random: Random) -> dict[str, Any]:
    """Fields that may or may not fit the case."""
    crew = random.choice(["k-1", "k-1", "k-2"])
    soon, later = ago(days=-random.randint(1, 9)), ago(days=-random.randint(2, 12))
    match kind:
        case "TriageRepair":
            severity = random.choice(["minor", "common", "major", "hazard"])
            return {
                "category": random.choice(["no-gas", "meter", "pipe-leak"]),
                "severity": severity,
            }
        case "DispatchCrew" | "AcceptJob" | "RecordArrival":
            return {"crew": crew}
        case "DeclineJob" | "ReassignJob":
            return {"crew": crew, "reason": "busy"}
        case "RecordNoAccess":
            return {"crew": crew, "reason": "nobody_in", "evidence": "card-1"}
        case "PauseWork":
            reason = random.choice(["awaiting_parts", "customer_request", "tired"])
            return {"reason": reason, "evidence": "slip-1"}
        case "RequestParts":
            return {"parts": ["valve"], "stock": random.choice(["local", "elsewhere"])}
        case "BookAppointment":
            return {"start": soon, "end": later, "consent": "call-1"}
        case "HandOverCase":
            kind = random.choice(["person", "unit"])
            return {"to": {"kind": kind, "id": "c-2"}, "reason": "shift"}
        case "CompleteRepair":
            return {"work": ["valve"]}
        case "RecordCallback":
            result = random.choice(["satisfied", "not_satisfied", "unreachable", "no_consent"])
            return {"party": "party-1", "consent": result != "no_consent", "result": result}
        case "CancelRepair" | "ReopenCase":
            return {"reason": "mistake"}
        case "TransferOut":
            return {"to": "water-works", "reference": "letter-1"}
        case "RecordTransferReturned":
            return {"reason": "not_theirs"}
        case _:
            return {}


ORDINARY = [
    *("TriageRepair", "DispatchCrew", "AcceptJob", "RecordArrival", "StartWork"),
    *("CompleteRepair", "RecordCallback", "RecordCallback"),
]
ODD = [
    *("DeclineJob", "ReassignJob", "RecordNoAccess", "PauseWork", "ResumeWork", "RequestParts"),
    *("BookAppointment", "HandOverCase", "TakeCase", "CancelRepair", "ReopenCase", "TransferOut"),
    *("RecordTransferReturned", "RecordPartsArrived"),
]


def kinds(random: Random) -> list[str]:
    """The ordinary life, with odd commands in between and some left out."""
    chosen: list[str] = []
    for kind in ORDINARY:
        chosen += random.choices(ODD, k=random.choice([0, 0, 1, 2]))
        chosen += [kind] * random.choice([0, 1, 1, 1, 2])
    return chosen


async def ended(desk: Desk, case_id: str) -> bool:
    return (await desk.handle(case_id).describe()).status != WorkflowExecutionStatus.RUNNING


def bodies(made: Plan) -> list[Json]:
    return [dump(event) for step in made.steps for event in step.events]


async def test_what_is_sent_bit_by_bit_comes_to_what_the_rules_say(desk: Desk) -> None:
    """Commands of now, with hours or days between them in which deadlines pass."""

    async def live(seed: int) -> None:
        random = Random(seed)
        case_id = await desk.opened(priority=random.random() < 0.3)
        accepted: list[str] = []
        for kind in kinds(random):
            if random.random() < 0.25 and not await ended(desk, case_id):
                await desk.later(case_id, random.choice([10, 120, 2000, 12000]) * MINUTE)
            command = desk.command(
                kind, by=random.choice(["clerk", "crew"]), **fields(kind, random)
            )
            try:
                outcome = await desk.cases.send(case_id, command)
            except Rejected:
                continue
            accepted.append(outcome.command_id)
            if random.random() < 0.2:
                again = await desk.cases.send(case_id, command)
                assert (again.version, again.events) == (outcome.version, outcome.events)

        assert (await desk.command_ids(case_id))[1:] == accepted

        # The rules alone, told only what was accepted and when.
        decisions = await desk.log.read_decisions(ORGANISATION, case_id)
        lifecycle, state, version = lifecycle_of(case_id), desk.unborn(case_id), 0
        alone: list[Json] = []
        for decision in decisions:
            if not decision.command_id.startswith("deadline/"):
                command = lifecycle.command(decision.command)
                made = plan(lifecycle, state, version, [command], decision.decided_at)
                assert not made.refused
                alone += bodies(made)
                state, version = made.state, made.version
        last = plan(lifecycle, state, version, [], decisions[-1].decided_at)
        assert await desk.bodies(case_id) == alone + bodies(last)
        assert await desk.verified(case_id) == last.state

    await asyncio.gather(*(live(seed) for seed in SEEDS))


@pytest.mark.parametrize("spacing", [20 * MINUTE, 1000 * MINUTE], ids=["close", "far"])
async def test_what_is_told_at_once_comes_to_what_the_rules_say(
    desk: Desk, spacing: timedelta
) -> None:
    """Commands that happened long ago, told together in any order, the unlawful among them."""

    async def tell(seed: int) -> None:
        random = Random(100 + seed)
        case_id = desk.name()
        at = ago(days=60)
        commands = [desk.report(at=at)]
        for kind in kinds(random):
            at += random.random() * spacing
            commands.append(desk.command(kind, at=at, **fields(kind, random)))
        shuffled = random.sample(commands, len(commands))
        await desk.start(case_id, desk.opening(case_id, shuffled))

        async def known() -> bool:
            return await desk.log.case(ORGANISATION, case_id) is not None

        await until(known)
        (decided,) = {d.decided_at for d in await desk.log.read_decisions(ORGANISATION, case_id)}
        made = desk.planned(case_id, commands, decided)
        assert await desk.bodies(case_id) == bodies(made)
        assert await desk.verified(case_id) == made.state

        async def all_refused() -> bool:
            refused = await desk.log.refusals(ORGANISATION, stream=case_id, limit=1000)
            return len(refused) == len(made.refused)

        await until(all_refused)
        refused = await desk.log.refusals(ORGANISATION, stream=case_id, limit=1000)
        assert [(r.command_id, r.reasons) for r in refused] == [
            (command.id, reasons) for command, reasons in made.refused
        ]

    await asyncio.gather(*(tell(seed) for seed in SEEDS))
