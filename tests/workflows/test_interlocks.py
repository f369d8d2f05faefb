"""Cases on the same premises: arrears wait for what else is open there, through the workflows."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from schemas.base import SYSTEM
from schemas.envelope import CaseAnswer, CaseRequest
from schemas.premises import premises_id
from tests.conftest import Database
from tests.workflows.desk import ORGANISATION, Desk, until
from tests.workflows.mortal_worker import When, mortal

ARREARS: Mapping[str, Any] = {
    "account": "A-1",
    "dn": 20,
    "customer_class": "household",
    "district": "north",
    "currency": "CNY",
    "bills": [{"bill": "B-1", "amount": 80_000, "due": "2026-01-31"}],
    "run": "run-1",
}


PATIENCE = 150
"""Seconds. A question that dies with its worker is asked again after one minute."""


class Home:
    """Some premises, their case, and the cases that a test opens on them."""

    def __init__(self, desk: Desk, name: str = "P") -> None:
        self.desk = desk
        self.premises = f"{name}-{desk.names}"  # the server is shared with other tests
        self.case = premises_id(ORGANISATION, self.premises)

    async def arrears(self, *, shared: Sequence["Home"] = ()) -> str:
        case_id = self.desk.name("arrears")
        others = [home.premises for home in shared]
        body = {**ARREARS, "premises": self.premises, "shared_valve": others}
        command = self.desk.command("OpenArrears", **body)
        await self.desk.cases.open(case_id, self.desk.policy, command)
        return case_id

    async def repair(self, **body: Any) -> str:
        return await self.desk.opened(premises=self.premises, **body)

    async def complaint(self) -> str:
        return await self.desk.registered(premises=self.premises)

    async def settled(self, *case_ids: str) -> None:
        """Until none of the cases, and then not the premises, waits for another's answer."""
        for case_id in (*case_ids, self.case):
            await settled(self.desk, case_id)

    async def rests(self) -> None:
        """Once all is quiet: nothing is open here, nothing is asked, and the log says the same."""
        assert await self.desk.handle(self.case).result() == "AtRest"
        state = await self.desk.verified(self.case)
        assert (state.requests, state.interlocks) == ((), ())


async def settled(desk: Desk, case_id: str) -> None:
    async def no_requests() -> bool:
        return not (await desk.handle(case_id).query("state"))["requests"]

    await until(no_requests, PATIENCE)


async def held(desk: Desk, arrears: str) -> list[str]:
    """The cases that an arrears case waits for, sorted."""
    state = await desk.verified(arrears)
    assert {h.kind for h in state.holds} <= {"open_case", "outage"}
    return sorted(h.source for h in state.holds)


async def cancel(desk: Desk, *case_ids: str) -> None:
    async def one(case_id: str) -> None:
        kind = "WithdrawComplaint" if case_id.startswith("complaint") else "CancelRepair"
        await desk.send(case_id, kind, reason="mistake")

    await asyncio.gather(*(one(case_id) for case_id in case_ids))


async def withdraw(desk: Desk, arrears: str) -> None:
    await desk.send(arrears, "WithdrawArrears", by="supervisor", reason="mistake")


@pytest.mark.parametrize("first", ["arrears", "others"])
async def test_arrears_wait_for_a_repair_and_a_complaint_whichever_comes_first(
    desk: Desk, first: str
) -> None:
    home = Home(desk)
    if first == "arrears":
        debt = await home.arrears()
        await home.settled(debt)
        others = [await home.repair(), await home.complaint()]
    else:
        others = [await home.repair(), await home.complaint()]
        await home.settled(*others)
        debt = await home.arrears()
    await home.settled(debt, *others)
    assert await held(desk, debt) == sorted(others)
    assert await desk.log.open_on(ORGANISATION, [home.premises]) == sorted(others)

    for other in others:
        await cancel(desk, other)
        await home.settled(other)
    assert await held(desk, debt) == []
    assert await desk.log.open_on(ORGANISATION, [home.premises]) == []
    assert (await desk.types(debt)).count("HoldReleased") == 2
    await withdraw(desk, debt)
    await desk.handle(debt).result()
    await home.rests()


async def test_an_outage_holds_as_such(desk: Desk) -> None:
    home = Home(desk)
    debt = await home.arrears()
    fault = await home.repair(category="main-leak", channel="patrol", party=None)
    await home.settled(debt, fault)
    (hold,) = (await desk.verified(debt)).holds
    assert (hold.kind, hold.source) == ("outage", fault)


async def test_arrears_that_have_ended_are_left_alone(desk: Desk) -> None:
    home = Home(desk)
    debt = await home.arrears()
    await withdraw(desk, debt)
    assert await desk.handle(debt).result() == "Withdrawn"
    await home.rests()

    repair = await home.repair()
    await home.settled(repair)
    assert (await desk.verified(home.case)).stage == "Watched"
    await cancel(desk, repair)
    await desk.handle(repair).result()
    await home.rests()
    assert "HoldPlaced" not in await desk.types(debt)


async def test_a_repair_that_has_ended_holds_nothing(desk: Desk) -> None:
    home = Home(desk)
    repair = await home.repair()
    await cancel(desk, repair)
    await desk.handle(repair).result()
    debt = await home.arrears()
    await home.settled(debt)
    assert await held(desk, debt) == []
    assert "HoldPlaced" not in await desk.types(debt)


async def test_a_case_that_ends_while_it_is_being_told_of_leaves_nothing_behind(desk: Desk) -> None:
    async def one(number: int) -> None:
        home = Home(desk, f"P{number}")
        debt, repair = await asyncio.gather(home.arrears(), home.repair())
        await asyncio.gather(withdraw(desk, debt), cancel(desk, repair))
        await asyncio.gather(desk.handle(debt).result(), desk.handle(repair).result())
        await home.settled()
        await home.rests()
        assert await held(desk, debt) == []

    await asyncio.gather(*(one(number) for number in range(10)))


async def test_an_answer_that_says_no_is_taken(desk: Desk) -> None:
    home = Home(desk)
    debt = await home.arrears()
    await home.settled(debt)
    # As if somebody had used the name before, for something else.
    repair = desk.name()
    place = desk.command("PlaceHold", by="supervisor")
    place["body"] |= {"hold": f"{repair}.1", "kind": "dispute", "source": "letter-1"}
    await desk.cases.send(debt, place)
    await desk.cases.open(repair, desk.policy, desk.report(premises=home.premises))
    await home.settled(repair)
    answers = [b for b in await desk.bodies(home.case) if b["type"] == "RequestAnswered"]
    assert [a["accepted"] for a in answers] == [False]
    assert (await desk.verified(home.case)).requests == ()


async def test_a_reopened_repair_holds_again(desk: Desk) -> None:
    home = Home(desk)
    debt, repair = await home.arrears(), await home.repair()
    await cancel(desk, repair)
    await desk.handle(repair).result()
    await home.settled()
    assert await held(desk, debt) == []
    await desk.send(repair, "ReopenCase", reason="not-fixed")
    await home.settled(repair)
    assert await held(desk, debt) == [repair]
    assert [h.hold for h in (await desk.verified(debt)).holds] == [f"{repair}.3"]


async def test_a_merged_repair_holds_on_in_the_one_that_took_it_in(desk: Desk) -> None:
    home, other = Home(desk), Home(desk, "Q")
    debt = await home.arrears()
    double, first = await home.repair(), await other.repair(party="party-2")
    await home.settled(debt, double, first)
    await desk.send(double, "MergeInto", case=first)
    assert await desk.handle(double).result() == "Merged"
    await settled(desk, first)
    await home.settled()
    assert await held(desk, debt) == [first]
    assert await desk.log.open_on(ORGANISATION, [home.premises]) == [first]

    await desk.send(double, "SplitOut", reason="another-fault")
    await settled(desk, first)
    await home.settled(double, first)
    assert await held(desk, debt) == [double]
    await cancel(desk, double)
    await desk.handle(double).result()
    await home.settled()
    assert await held(desk, debt) == []


async def test_a_case_next_door_holds_where_the_valve_is_shared(desk: Desk) -> None:
    home, next_door = Home(desk), Home(desk, "Q")
    repair = await next_door.repair()
    debt = await home.arrears(shared=[next_door])
    await next_door.settled(repair, debt)
    assert await held(desk, debt) == [repair]
    await cancel(desk, repair)
    await desk.handle(repair).result()
    await next_door.settled()
    assert await held(desk, debt) == []
    await withdraw(desk, debt)
    await desk.handle(debt).result()
    await asyncio.gather(home.rests(), next_door.rests())


async def test_a_dozen_cases_on_one_premises_at_once(desk: Desk) -> None:
    home = Home(desk)
    debt, *others = await asyncio.gather(
        home.arrears(),
        *(home.repair(party=f"party-{n}") for n in range(8)),
        *(home.complaint() for _ in range(4)),
    )
    await home.settled(debt, *others)
    assert await held(desk, debt) == sorted(others)
    assert await desk.log.open_on(ORGANISATION, [home.premises]) == sorted(others)

    await cancel(desk, *others)
    await asyncio.gather(*(desk.handle(other).result() for other in others))
    await home.settled()
    assert await held(desk, debt) == []
    types = await desk.types(debt)
    assert (types.count("HoldPlaced"), types.count("HoldReleased")) == (12, 12)
    await desk.verified(home.case)


async def test_interlocks_go_on_after_every_workflow_was_lost(idle_desk: Desk) -> None:
    """As `standpipe recover` does it: whatever is not final is taken up from the log."""
    desk = idle_desk
    home = Home(desk)
    async with desk.worker():
        debt, repair = await home.arrears(), await home.repair()
        await home.settled(debt, repair)
    # Nobody is at work: the end of the repair is in the log, and the premises do not know it.
    for case_id in (debt, repair, home.case):
        await desk.handle(case_id).terminate()
    await desk.append(repair, desk.command("CancelRepair", reason="mistake"))
    async with desk.worker():
        lost = await desk.log.open_cases(ORGANISATION)
        assert {c.case_id for c in lost} == {debt, repair, home.case}
        for case in lost:
            assert await desk.cases.take_up(case)
        assert await desk.handle(repair).result() == "Cancelled"
        await home.settled()
        assert await held(desk, debt) == []
        await withdraw(desk, debt)
        await desk.handle(debt).result()
        await home.rests()


async def test_lost_premises_are_taken_up_by_the_next_case(desk: Desk) -> None:
    home = Home(desk)
    debt = await home.arrears()
    await home.settled(debt)
    await desk.handle(home.case).terminate()
    repair = await home.repair()
    await home.settled(repair)
    assert await held(desk, debt) == [repair]


async def test_premises_are_watched_under_a_policy_without_arrears(desk: Desk) -> None:
    content = {**json.loads(desk.policy), "arrears": None}
    bare = replace(desk, policy=json.dumps(content))
    home = Home(bare)
    repair = await home.repair()
    await home.settled(repair)
    assert (await bare.verified(home.case)).stage == "Watched"
    # Arrears under another policy meet it there all the same.
    home.desk = desk
    debt = await home.arrears()
    await home.settled(debt)
    assert await held(desk, debt) == [repair]


async def lives_on(desk: Desk, database: Database, append: int, when: When) -> None:
    """The worker is killed at its n-th append of a life of two cases; the next one goes on."""
    name = desk.name().removeprefix("repair-")
    desk = desk.called(name, task_queue=name)
    home = Home(desk)

    async def life() -> tuple[str, str]:
        debt = await home.arrears()
        repair = await home.repair()
        await home.settled(debt, repair)
        await cancel(desk, repair)
        await desk.handle(repair).result()
        return debt, repair

    async with mortal(desk, database, append, when) as process:
        living = asyncio.create_task(life())
        async with asyncio.timeout(30):
            await process.here.wait()
    async with desk.worker(), asyncio.timeout(PATIENCE):
        debt, repair = await living
        await home.settled()
        assert await held(desk, debt) == []
        types = await desk.types(debt)
        assert (types.count("HoldPlaced"), types.count("HoldReleased")) == (1, 1)
        await withdraw(desk, debt)
        await desk.handle(debt).result()
        await home.rests()
        await desk.verified(repair)


async def test_interlocks_survive_the_worker_wherever_it_dies(
    hasty_desk: Desk, database: Database
) -> None:
    places: Sequence[tuple[int, When]] = (
        (2, "after"),  # among them: the premises hear of a case, the arrears of its hold
        (4, "before"),
        (7, "after"),
    )
    async with asyncio.TaskGroup() as group:
        for place in places:
            group.create_task(lives_on(hasty_desk, database, *place))


async def test_a_request_that_comes_twice_is_done_once(desk: Desk) -> None:
    home = Home(desk)
    debt = await home.arrears()
    repair = await home.repair()
    await home.settled(debt, repair)
    said = next(
        d.command
        for d in await desk.log.read_decisions(ORGANISATION, home.case)
        if d.command["body"].get("case") == repair
    )
    assert said["actor"] == SYSTEM.model_dump()
    before = await desk.types(home.case)
    again = CaseRequest(id=said["id"], case_id=home.case, command=said["body"], opens=True)
    assert await desk.cases.ask_case(ORGANISATION, again) == CaseAnswer(accepted=True)
    under_another_id = again.model_copy(update={"id": f"{repair}/asks/99"})
    assert await desk.cases.ask_case(ORGANISATION, under_another_id) == CaseAnswer(accepted=True)
    assert await desk.types(home.case) == before
