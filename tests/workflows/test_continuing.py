"""A case with a long life continues as a new run: the same outcome, nothing lost on the way."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from activities.cases import Conflict
from activities.event_log import EventLog
from lifecycles.decisions import Rejected
from schemas.conduct import conduct_id
from tests.workflows.desk import ORGANISATION, Desk, ago, until

EVENTS_PER_RUN = 40


@pytest.fixture
async def brief_desk(log: EventLog, policy: str, task_queue: str) -> AsyncIterator[Desk]:
    """A desk on a server of its own, which soon asks every run to continue as a new one."""
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).parent / "temporal"),
        dev_server_log_level="error",
        dev_server_extra_args=[
            "--dynamic-config-value",
            f"limit.historyCount.suggestContinueAsNew={EVENTS_PER_RUN}",
            "--dynamic-config-value",
            "frontend.WorkflowTimeSkippingEnabled=true",
        ],
        data_converter=pydantic_data_converter,
        search_attributes=[
            SearchAttributeKey.for_keyword(name)
            for name in ("CaseKind", "Organisation", "District")
        ],
    ) as server:
        desk = Desk(server.client, log, policy, task_queue)
        async with desk.worker():
            yield desk


async def test_many_commands_take_many_runs_and_lose_nothing(brief_desk: Desk) -> None:
    desk = brief_desk
    case_id = await desk.opened()
    first_run = (await desk.handle(case_id).describe()).run_id
    triage = desk.command("TriageRepair", category="no-gas", severity="common")
    first = await desk.cases.send(case_id, triage)

    commands = [
        desk.command("HandOverCase", to={"kind": "person", "id": f"c-{n}"}, reason="shift")
        for n in range(60)
    ]
    for n in range(0, 60, 6):  # some at once, and signals among them
        *waited_for, signalled = commands[n : n + 6]
        await desk.cases.submit(case_id, signalled)
        outcomes = await asyncio.gather(*(desk.cases.send(case_id, c) for c in waited_for))
        assert [o.command_id for o in outcomes] == [c["id"] for c in waited_for]

    async def runs() -> set[str]:
        query = f"WorkflowId = '{case_id}'"
        return {run.run_id async for run in desk.client.list_workflows(query)}

    async def many() -> bool:
        return len(await runs()) > 3

    await until(many)  # the server's list lags behind a little
    assert first_run in await runs()

    again = await desk.cases.send(case_id, triage)
    assert (again.version, again.position) == (first.version, first.position)
    with pytest.raises(Conflict):
        await desk.cases.send(case_id, desk.command("TakeCase", id=triage["id"]))
    done = await desk.command_ids(case_id)
    assert sorted(done[2:]) == sorted(c["id"] for c in commands)
    state = await desk.verified(case_id)
    # The last of six, or one that was sent together with it.
    assert state.owners[-1].owner.id in {f"c-{n}" for n in range(54, 60)}


async def test_a_continued_case_comes_to_the_same_as_one_that_is_not(
    brief_desk: Desk, idle_desk: Desk
) -> None:
    async def life(desk: Desk, names: str) -> list[str]:
        desk = desk.called(names)
        case_id = await desk.opened()
        for n in range(20):
            start, end = ago(days=-7), ago(days=-8)
            await desk.send(case_id, "AnnounceInterruption", start=start, end=end, reason=f"r-{n}")
            with pytest.raises(Rejected):
                await desk.send(case_id, "StartWork")
        await desk.finish(case_id)
        await desk.verified(case_id)
        return await desk.types(case_id)

    async with idle_desk.worker():
        assert await life(brief_desk, "brief") == await life(idle_desk, "long")


async def test_an_answer_from_another_case_survives_the_change_of_runs(brief_desk: Desk) -> None:
    desk = brief_desk
    case_id = await desk.opened()

    async def nothing_asked() -> bool:
        return not (await desk.handle(case_id).query("state"))["requests"]

    for n in range(20):
        await desk.send(case_id, "MergeInto", case=f"repair-nowhere-{n}")
        await until(nothing_asked)
    assert (await desk.types(case_id)).count("AdoptionRefused") == 20
    await desk.verified(case_id)
    assert await desk.log.refusals(ORGANISATION) == []


async def test_a_staff_file_of_many_runs_counts_every_finding_once(brief_desk: Desk) -> None:
    desk, staff = brief_desk, f"s-{brief_desk.names}"
    file = conduct_id(ORGANISATION, staff)
    first_run = ""
    for n in range(4):
        case_id = await desk.investigating(staff)
        await desk.found(case_id, staff)

        async def known(count: int = n + 1) -> bool:
            return (await desk.types(file)).count("FindingRecorded") == count

        await until(known)
        first_run = first_run or (await desk.handle(file).describe()).run_id
        for turn in range(12):
            owner = {"kind": "person", "id": f"officer-{turn}"}
            await desk.send(file, "HandOverCase", to=owner, reason="shift")
    assert (await desk.handle(file).describe()).run_id != first_run
    state = await desk.verified(file)
    assert sum(c.live and c.strike for c in state.counts) == 4
    assert len(state.proposals) == 1
