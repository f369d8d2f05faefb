"""The worker is killed at each step of a case: before an append, between Postgres' commit and the
end of the workflow task, after it; with another command waiting, too. The next worker finishes the
case, and every command was done once.
"""

import asyncio
from datetime import timedelta

from lifecycles.decisions import Rejected
from schemas.envelope import Json
from tests.conftest import Database
from tests.workflows.desk import ORGANISATION, Desk, ago
from tests.workflows.mortal_worker import When, mortal

AT_ONCE = 4


def the_story(desk: Desk) -> list[Json]:
    return [
        desk.report(),
        desk.command("TriageRepair", category="no-gas", severity="common"),
        desk.command("DispatchCrew", crew="k-1"),
        desk.command("RecordArrival", crew="k-1"),
        desk.command("CompleteRepair", work=["valve"]),
        desk.command("RecordCallback", party="party-1", consent=True, result="satisfied"),
    ]


async def tell(desk: Desk, case_id: str, story: list[Json]) -> None:
    """Send the commands one by one, and the last one once more, as an unsure sender would."""
    await desk.cases.open(case_id, desk.policy, story[0])
    for command in [*story[1:], story[-1]]:
        await desk.cases.send(case_id, command)


def elsewhere(desk: Desk) -> Desk:
    """The same servers, another task queue."""
    name = desk.name().removeprefix("repair-")
    return desk.called(name, task_queue=name)


async def survives(desk: Desk, database: Database, append: int, when: When, second: bool) -> None:
    """A case whose worker is killed at its n-th append, while a second command waits or not."""
    desk = elsewhere(desk)
    case_id, story = desk.name(), the_story(desk)
    other = desk.command("TakeCase", by="supervisor")
    waiting: asyncio.Task[object] | None = None
    async with mortal(desk, database, append, when) as process:
        telling = asyncio.create_task(tell(desk, case_id, story))
        async with asyncio.timeout(30):
            await process.here.wait()
        if second:
            waiting = asyncio.create_task(desk.cases.send(case_id, other))
            await asyncio.sleep(0.3)
    written = await desk.log.read_decisions(ORGANISATION, case_id)
    assert len(written) == append - (when == "before")  # whatever Temporal knows of it

    async with desk.worker(), asyncio.timeout(60):
        await telling
        expected = [command["id"] for command in story]
        done = await desk.command_ids(case_id)
        if waiting is not None:
            (outcome,) = await asyncio.gather(waiting, return_exceptions=True)
            # At the very end it may come too late; then it must not be in the log.
            assert (other["id"] in done) == (not isinstance(outcome, Rejected)), outcome
        assert [id for id in done if id != other["id"]] == expected
        assert (await desk.verified(case_id)).stage == "Closed"


async def test_every_command_is_done_once_wherever_the_worker_dies(
    hasty_desk: Desk, database: Database
) -> None:
    few = asyncio.Semaphore(AT_ONCE)

    async def one(append: int, when: When, second: bool) -> None:
        async with few:
            await survives(hasty_desk, database, append, when, second)

    async with asyncio.TaskGroup() as group:
        for append in range(1, 7):
            when: When = "before" if append % 2 else "after"
            group.create_task(one(append, when, append in (3, 4)))
        group.create_task(one(6, "after", True))


async def test_a_deadline_passes_once_though_the_worker_dies_of_it(
    hasty_desk: Desk, database: Database
) -> None:
    async def one(when: When) -> None:
        desk = elsewhere(hasty_desk)
        async with mortal(desk, database, 2, when) as process:
            reported = ago(minutes=15, seconds=-2)
            case_id = await desk.opened(at=reported)
            async with asyncio.timeout(30):
                await process.here.wait()
        async with desk.worker():
            await desk.send(case_id, "TakeCase")
            events = await desk.log.read_stream(ORGANISATION, case_id)
            due = [e for e in events if e.type == "CommitmentBroken"]
            assert [e.occurred_at - reported for e in due] == [timedelta(minutes=15)]
            await desk.verified(case_id)

    await asyncio.gather(one("before"), one("after"))


async def test_a_worker_that_dies_between_two_commands_is_not_missed(
    hasty_desk: Desk, database: Database
) -> None:
    desk, story = hasty_desk, the_story(hasty_desk)
    case_id = desk.name()
    async with mortal(desk, database, 99, "after", cache=0):
        await desk.cases.open(case_id, desk.policy, story[0])
        for command in story[1:4]:
            await desk.cases.send(case_id, command)
    async with desk.worker():
        for command in story[2:]:
            await desk.cases.send(case_id, command)
        assert await desk.command_ids(case_id) == [command["id"] for command in story]
        await desk.verified(case_id)
