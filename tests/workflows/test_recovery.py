"""Temporal's database is lost: every open case goes on from the log, with every deadline kept."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from activities.database import open_pool
from activities.event_log import EventLog
from gateway.recovery import Recovered, recover
from lifecycles.lifecycle import dump
from schemas.envelope import Json
from stack import Stack, connect_temporal
from tests.workflows.desk import ORGANISATION, Desk, ago, until

OPEN, ENDED = 60, 5
AT_ONCE = 50
SOMEBODY: dict[str, Any] = {"kind": "person", "id": "c-2"}


@asynccontextmanager
async def desk_at(data_dir: Path, policy: str) -> AsyncIterator[Desk]:
    """A desk on servers of its own, whose data stay in `data_dir`."""
    async with Stack(data_dir, time_skipping=True, temporal_port=0, ui_port=0) as stack:
        client = await connect_temporal(stack.endpoints)
        pool = await open_pool(stack.endpoints.database_url)
        yield Desk(client, EventLog(pool), policy, "recovery")
        await pool.close()


def life(desk: Desk, number: int) -> list[Json]:
    """What has happened to the n-th case; the next deadlines lie all over the coming hours."""
    if number % 2:  # a crew should have been sent by a time at which Temporal will be away
        reported = ago(minutes=15, seconds=-2 - number / 25)
    else:
        reported = ago(hours=3, minutes=number)
    commands = [desk.report(at=reported, district=f"d-{number % 7}", party=f"party-{number}")]
    if number % 4 == 0:
        at = reported + timedelta(minutes=5)
        commands.append(desk.command("TriageRepair", at=at, category="meter", severity="common"))
        commands.append(desk.command("DispatchCrew", at=at, crew=f"k-{number}"))
    if number % 8 == 0:
        at = reported + timedelta(minutes=50)
        commands.append(desk.command("RecordArrival", at=at, crew=f"k-{number}"))
    if number % 16 == 0:
        at = reported + timedelta(minutes=55)
        commands.append(
            desk.command("PauseWork", at=at, reason="awaiting_parts", evidence="slip-1")
        )
    if number >= OPEN:
        commands.append(desk.command("CancelRepair", at=ago(seconds=1), reason="mistake"))
    return commands


async def each(case_ids: Iterable[str], act: Callable[[str], Awaitable[object]]) -> None:
    """A few at a time."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(case_id: str) -> None:
        async with room:
            await act(case_id)

    await asyncio.gather(*(one(case_id) for case_id in case_ids))


async def all_known(desk: Desk, case_ids: Collection[str]) -> bool:
    return len(await desk.log.list_cases(ORGANISATION, limit=1000)) == len(case_ids)


async def test_a_lost_temporal_loses_no_case_and_no_deadline(tmp_path: Path, policy: str) -> None:
    async with desk_at(tmp_path, policy) as desk, desk.worker():
        lives = {desk.name(): life(desk, number) for number in range(OPEN + ENDED)}
        await each(lives, lambda c: desk.cases.open_with_history(c, policy, lives[c]))
        await until(lambda: all_known(desk, lives))
        before = {case_id: await desk.bodies(case_id) for case_id in lives}

    (tmp_path / "temporal.db").unlink()
    for rest in tmp_path.glob("temporal.db-*"):
        rest.unlink()

    async with desk_at(tmp_path, policy) as desk, desk.worker():
        heard: list[tuple[int, int]] = []
        done = await recover(
            desk.cases, desk.log, ORGANISATION, lambda n, of: heard.append((n, of))
        )
        assert done == Recovered(taken_up=OPEN, running=0)
        assert heard == [(n, OPEN) for n in range(1, OPEN + 1)]
        again = await recover(desk.cases, desk.log, ORGANISATION)
        assert again == Recovered(taken_up=0, running=OPEN)

        open_cases = list(lives)[:OPEN]
        await each(open_cases, lambda c: desk.later(c, timedelta(hours=2)))
        late = went_on = 0
        for case_id in lives:
            is_open = case_id in open_cases
            now = await desk.skipper.get_current_time(desk.handle(case_id)) if is_open else ago()
            after = await desk.bodies(case_id)
            assert after[: len(before[case_id])] == before[case_id]
            # What an undisturbed case comes to, by the rules alone.
            undisturbed = desk.planned(case_id, lives[case_id], now)
            assert after == [dump(event) for step in undisturbed.steps for event in step.events]
            events = await desk.log.read_stream(ORGANISATION, case_id)
            late += any(e.decided_at - e.occurred_at > timedelta(seconds=2) for e in events)
            went_on += len(after) > len(before[case_id])
        assert late > OPEN // 4  # fell due while Temporal was away
        assert went_on > OPEN * 3 // 4
        for case_id in open_cases[::10]:
            await desk.send(case_id, "HandOverCase", to=SOMEBODY, reason="shift")
            await desk.verified(case_id)
