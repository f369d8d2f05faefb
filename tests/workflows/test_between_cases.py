"""Cases ask each other: merged doubles, a network fault and its reports, answers that say no."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from lifecycles.decisions import Rejected
from tests.workflows.desk import ORGANISATION, Desk, until


async def settled(desk: Desk, *case_ids: str) -> None:
    """Until none of the cases waits for another's answer."""

    async def no_requests() -> bool:
        states = [await desk.handle(c).query("state") for c in case_ids]
        return not any(state["requests"] for state in states)

    await until(no_requests)


async def test_a_merged_case_ends_and_the_other_calls_its_customer_too(desk: Desk) -> None:
    first, double = await desk.opened(party="party-1"), await desk.opened(party="party-2")
    await desk.send(double, "MergeInto", case=first)
    assert await desk.handle(double).result() == "Merged"

    ended = await desk.verified(double)
    assert ended.merged_into == first
    goes_on = await desk.verified(first)
    assert [a.case for a in goes_on.adopted] == [double]
    assert [f.party for f in goes_on.follow_ups] == ["party-1", "party-2"]
    assert (await desk.command_ids(first))[-1] == f"{double}/asks/1"
    assert (await desk.command_ids(double))[-1] == f"{double}/asks/1/answer"


async def test_a_merged_case_split_out_again_has_its_own_clock(desk: Desk) -> None:
    first, double = await desk.opened(party="party-1"), await desk.opened(party="party-2")
    await desk.send(double, "MergeInto", case=first)
    await desk.handle(double).result()
    await desk.send(double, "SplitOut", reason="another_fault")
    await settled(desk, first, double)

    own = await desk.verified(double)
    assert own.stage == "Reported"
    assert {c.state for c in own.commitments} == {"running"}
    assert (await desk.verified(first)).adopted == ()


async def test_two_cases_that_ask_each_other_do_not_both_end(idle_desk: Desk) -> None:
    desk = idle_desk
    async with desk.worker():
        one, other = await desk.opened(), await desk.opened()
    await desk.cases.submit(one, desk.command("MergeInto", case=other))
    await desk.cases.submit(other, desk.command("MergeInto", case=one))
    async with desk.worker():

        async def answered() -> bool:
            return all(["RequestAnswered" in await desk.types(c) for c in (one, other)])

        await until(answered)
        await settled(desk, one, other)
        stages = {(await desk.verified(c)).stage for c in (one, other)}
        # Both go on, unless one had its no before the other asked.
        assert stages in ({"Reported"}, {"Reported", "Merged"})
        assert "AdoptionRefused" in await desk.types(one) + await desk.types(other)


async def test_a_cleared_network_fault_has_every_linked_customer_called(desk: Desk) -> None:
    fault = await desk.opened(category="main-leak", channel="patrol", party=None)
    reports = [await desk.opened(party=f"party-{n}") for n in range(3)]
    for report in reports:
        await desk.send(report, "LinkToFault", fault=fault)
    await settled(desk, *reports)
    for report in reports:
        linked = await desk.verified(report)
        assert linked.linked_to == fault
        assert {c.state for c in linked.commitments} == {"cancelled"}

    await desk.send(fault, "TriageRepair", category="main-leak", severity="common")
    await desk.send(fault, "CompleteRepair", work=["clamp"])
    assert await desk.handle(fault).result() == "Closed"  # only after all three have answered
    assert (await desk.verified(fault)).requests == ()
    for report in reports:
        cleared = await desk.verified(report)
        assert cleared.stage == "CallbackDue"
        (follow_up,) = cleared.follow_ups
        outcome = await desk.send(
            report, "RecordCallback", party=follow_up.party, consent=True, result="satisfied"
        )
        assert outcome.stage == "Closed"


async def test_each_of_many_linked_cases_is_told_once(desk: Desk) -> None:
    fault = await desk.opened(category="main-leak", channel="patrol", party=None)
    reports = await asyncio.gather(*(desk.opened(party=f"party-{n}") for n in range(20)))
    await asyncio.gather(*(desk.send(report, "LinkToFault", fault=fault) for report in reports))
    await settled(desk, *reports)
    await desk.send(fault, "CompleteRepair", work=["clamp"])
    run = (await desk.handle(fault).describe()).run_id
    # Commands that come between the answers, each with a look into the log.
    between = [desk.send(fault, "StartWork") for _ in range(20)]
    assert all(
        isinstance(r, Rejected) for r in await asyncio.gather(*between, return_exceptions=True)
    )
    assert await desk.handle(fault).result() == "Closed"

    history = await desk.history(fault, run)
    assert history.count("ACTIVITY_TASK_SCHEDULED") == len(reports)
    for report in reports:
        assert (await desk.types(report)).count("FaultCleared") == 1
    await desk.verified(fault)


Trouble = Callable[[Desk], Awaitable[str]]


async def closed(desk: Desk) -> str:
    case_id = await desk.opened()
    await desk.send(case_id, "CancelRepair", reason="mistake")
    await desk.handle(case_id).result()
    return case_id


async def missing(desk: Desk) -> str:
    return desk.name()


@pytest.mark.parametrize("target", [closed, missing])
async def test_a_case_that_is_not_taken_in_goes_on_by_itself(desk: Desk, target: Trouble) -> None:
    other = await target(desk)
    case_id = await desk.opened()
    await desk.send(case_id, "MergeInto", case=other)
    await settled(desk, case_id)

    assert (await desk.types(case_id))[-2:] == ["RequestAnswered", "AdoptionRefused"]
    assert (await desk.verified(case_id)).stage == "Reported"
    assert (await desk.send(case_id, "TakeCase")) is not None
    if target is closed:
        assert (await desk.verified(other)).adopted == ()
    else:
        assert await desk.log.case(ORGANISATION, other) is None


async def test_asking_a_case_whose_workflow_is_lost_takes_it_up_from_the_log(desk: Desk) -> None:
    lost, case_id = await desk.opened(), await desk.opened(party="party-2")
    await desk.handle(lost).terminate()
    await desk.send(case_id, "MergeInto", case=lost)
    assert await desk.handle(case_id).result() == "Merged"
    assert [a.case for a in (await desk.verified(lost)).adopted] == [case_id]


async def test_a_lost_case_asks_again_when_it_is_taken_up(idle_desk: Desk) -> None:
    """Its run was lost before the answer came: the next run asks again, under the same id."""
    desk = idle_desk
    async with desk.worker():
        first = await desk.opened()
        case_id = await desk.opened(party="party-2")
    await desk.handle(case_id).terminate()
    await desk.append(case_id, desk.command("MergeInto", case=first))
    async with desk.worker():
        (open_case,) = [c for c in await desk.log.open_cases(ORGANISATION) if c.case_id == case_id]
        assert await desk.cases.take_up(open_case)
        assert await desk.handle(case_id).result() == "Merged"
        assert [a.case for a in (await desk.verified(first)).adopted] == [case_id]
        await desk.verified(case_id)
