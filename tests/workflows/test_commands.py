"""Commands as Updates: one answer each, with every reason; done once, however often sent."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from activities.cases import Conflict
from lifecycles.decisions import Rejected
from tests.workflows.desk import ORGANISATION, Desk, ago

TRIAGE: dict[str, Any] = {"category": "no-gas", "severity": "common"}


async def refused(desk: Desk, case_id: str, raw: Any, id: str | None = None) -> ApplicationError:
    """The error of a command that goes to Temporal as it is, past all checks."""
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await desk.handle(case_id).execute_update("command", raw, id=id)
    assert isinstance(caught.value.cause, ApplicationError)
    return caught.value.cause


async def test_a_refusal_gives_every_reason_and_changes_nothing(desk: Desk) -> None:
    case_id = await desk.opened()
    before = await desk.bodies(case_id)

    with pytest.raises(Rejected) as caught:
        await desk.send(case_id, "CompleteRepair", work=["valve"], at=ago(days=-1))
    assert len(caught.value.reasons) == 2
    assert "lies in the future" in caught.value.reasons[0]
    assert "CompleteRepair is not possible at stage Reported" in caught.value.reasons[1]

    assert await desk.bodies(case_id) == before
    assert (await desk.send(case_id, "TriageRepair", **TRIAGE)).events == ("RepairTriaged",)
    assert await desk.log.refusals(ORGANISATION) == []  # the sender knows
    await desk.verified(case_id)


async def test_a_refused_update_fails_alone(desk: Desk) -> None:
    case_id = await desk.opened()
    outcomes = await asyncio.gather(
        desk.send(case_id, "TriageRepair", **TRIAGE),
        desk.send(case_id, "AcceptJob", crew="k-1"),
        desk.send(case_id, "TakeCase"),
        desk.send(case_id, "MergeInto", case=case_id),
        return_exceptions=True,
    )
    assert [isinstance(o, Rejected) for o in outcomes] == [False, True, False, True]
    assert "WORKFLOW_TASK_FAILED" not in await desk.history(case_id)
    await desk.verified(case_id)


async def test_more_commands_at_once_than_a_run_may_hold_are_all_answered(desk: Desk) -> None:
    case_id = await desk.opened()
    owners = [{"kind": "person", "id": f"c-{n}"} for n in range(30)]
    outcomes = await asyncio.gather(
        *(desk.send(case_id, "HandOverCase", to=owner, reason="shift") for owner in owners)
    )
    assert sorted(o.version for o in outcomes) == list(range(5, 35))
    await desk.verified(case_id)


async def test_the_same_command_again_returns_the_first_outcome(desk: Desk) -> None:
    case_id = await desk.opened()
    triage = desk.command("TriageRepair", **TRIAGE)
    first = await desk.cases.send(case_id, triage)
    await desk.send(case_id, "DispatchCrew", crew="k-1")

    assert await desk.cases.send(case_id, triage) == first
    assert (await desk.types(case_id)).count("RepairTriaged") == 1


async def test_the_same_report_again_opens_nothing_new(desk: Desk) -> None:
    case_id = desk.name()
    report = desk.report()
    first = await desk.cases.open(case_id, desk.policy, report)
    assert await desk.cases.open(case_id, desk.policy, report) == first

    with pytest.raises(Conflict):
        await desk.cases.open(case_id, desk.policy, desk.report(id=report["id"], district="south"))
    with pytest.raises(Rejected, match="reported already"):
        await desk.cases.open(case_id, desk.policy, desk.report())
    assert (await desk.types(case_id)).count("RepairReported") == 1


async def test_a_commands_id_is_known_in_later_runs_too(desk: Desk) -> None:
    case_id = await desk.opened()
    triage = desk.command("TriageRepair", **TRIAGE)
    first = await desk.cases.send(case_id, triage)
    other = triage | {"body": {**triage["body"], "severity": "major"}}
    await desk.send(case_id, "CancelRepair", reason="mistake")
    await desk.handle(case_id).result()

    for reopen in (False, True):  # first on the closed case, then in the run that reopened it
        if reopen:
            await desk.send(case_id, "ReopenCase", reason="still_no_gas")
        again = await desk.cases.send(case_id, triage)
        assert (again.events, again.version, again.position, again.command_hash) == (
            first.events,
            first.version,
            first.position,
            first.command_hash,
        )
        with pytest.raises(Conflict):
            await desk.cases.send(case_id, other)
    assert (await desk.types(case_id)).count("RepairTriaged") == 1
    await desk.verified(case_id)


async def test_the_same_id_with_other_content_is_a_conflict(desk: Desk) -> None:
    case_id = await desk.opened()
    triage = desk.command("TriageRepair", **TRIAGE)
    await desk.cases.send(case_id, triage)
    with pytest.raises(Conflict, match="under a new id"):
        await desk.cases.send(case_id, triage | {"body": {**triage["body"], "severity": "major"}})
    with pytest.raises(Conflict):
        await desk.cases.send(case_id, triage | {"actor": {**triage["actor"], "subject": "c-9"}})


async def test_the_id_of_a_refused_command_stands_for_its_content_too(desk: Desk) -> None:
    """Else somebody who corrects a refused command would read the old one's reasons."""
    case_id = await desk.opened()
    accept = desk.command("AcceptJob", crew="k-1")
    with pytest.raises(Rejected):
        await desk.cases.send(case_id, accept)
    with pytest.raises(Rejected):
        await desk.cases.send(case_id, accept)
    with pytest.raises(Conflict):
        await desk.cases.send(case_id, desk.command("TakeCase", id=accept["id"]))


UNREADABLE: dict[str, tuple[Any, list[str]]] = {
    "a list": ([], ["input"]),
    "a text": ("CancelRepair", ["input"]),
    "a number": (7, ["input"]),
    "nothing": (None, ["input"]),
    "an empty object": ({}, ["id", "actor", "body"]),
    "wrong types and unknown fields": (
        {
            "id": 7,
            "actor": {"subject": "c-1", "role": "king", "proof": "local"},
            "colour": "red",
            "body": {"type": "CancelRepair", "reason": ["x"], "more": 1},
        },
        ["id", "actor.role", "colour", "body.CancelRepair.reason", "body.CancelRepair.more"],
    ),
    "an unknown command": (
        {"id": "x", "actor": {}, "body": {"type": "SellHouse"}},
        ["actor.subject", "actor.role", "actor.proof", "body"],
    ),
    "naive times": (
        {
            "id": "x",
            "actor": {"subject": "c-1", "role": "clerk", "proof": "local"},
            "occurred_at": "2026-05-01T08:00:00",
            "body": {
                "type": "BookAppointment",
                "start": "2026-05-01T08:00:00",
                "end": "soon",
                "consent": "call-1",
            },
        },
        ["occurred_at", "body.BookAppointment.start", "body.BookAppointment.end"],
    ),
}


async def test_what_cannot_be_read_gets_one_answer_that_lists_all(desk: Desk) -> None:
    case_id = await desk.opened()
    for what, (raw, places) in UNREADABLE.items():
        error = await refused(desk, case_id, raw)
        assert error.type == "InvalidCommand", what
        assert {reason.split(": ")[0] for reason in error.details[0]} == set(places), what

    assert await desk.send(case_id, "TriageRepair", **TRIAGE)
    assert "WORKFLOW_TASK_FAILED" not in await desk.history(case_id)
    await desk.verified(case_id)


async def test_a_huge_unreadable_command_gets_a_short_answer(desk: Desk) -> None:
    """Else the answer would not fit into Temporal, and the case would stand still."""
    case_id = await desk.opened()
    for raw in ({f"field-{n}": n for n in range(50_000)}, {"x" * 800_000: 1}):
        error = await refused(desk, case_id, raw)
        assert 4 <= len(error.details[0]) <= 101
        assert sum(map(len, error.details[0])) < 20_000
        await desk.handle(case_id).signal("submit", raw)
    assert await desk.send(case_id, "TriageRepair", **TRIAGE)
    assert "WORKFLOW_TASK_FAILED" not in await desk.history(case_id)


async def test_an_update_under_another_id_than_its_commands_is_refused(desk: Desk) -> None:
    case_id = await desk.opened()
    error = await refused(desk, case_id, desk.command("TakeCase"), id="another")
    assert error.type == "InvalidCommand"


async def test_too_few_or_too_many_arguments_hurt_nobody_else(desk: Desk) -> None:
    case_id = await desk.opened()
    for arguments in ([], [desk.command("TakeCase"), 2]):
        with pytest.raises(WorkflowUpdateFailedError):
            await desk.handle(case_id).execute_update("command", args=arguments)
        await desk.handle(case_id).signal("submit", args=arguments)
    assert await desk.send(case_id, "TriageRepair", **TRIAGE)
    assert "WORKFLOW_TASK_FAILED" not in await desk.history(case_id)


async def test_only_the_clock_says_that_a_deadline_passed(desk: Desk) -> None:
    case_id = await desk.opened()
    for at in (ago(minutes=0), ago(days=-400)):
        clock = desk.command("DeadlinePassed", by="system") | {
            "body": {"type": "DeadlinePassed", "at": at}
        }
        with pytest.raises(Rejected, match="clock"):
            await desk.cases.send(case_id, clock)
        await desk.cases.submit(case_id, clock)
    assert await desk.send(case_id, "TriageRepair", **TRIAGE)
    assert await desk.types(case_id) == [
        "RepairReported",
        *["CommitmentStarted"] * 3,
        "RepairTriaged",
    ]


async def test_a_command_on_a_closed_case_takes_it_up_from_the_log(desk: Desk) -> None:
    case_id = await desk.opened()
    await desk.finish(case_id)
    await desk.handle(case_id).result()

    with pytest.raises(Rejected, match="not possible at stage Closed"):
        await desk.send(case_id, "StartWork")
    assert await desk.handle(case_id).result() == "Closed"

    reopened = await desk.send(case_id, "ReopenCase", reason="leaks_again")
    assert reopened.events[0] == "RepairReopened"
    assert (await desk.verified(case_id)).stage == "Triaged"
    await desk.send(case_id, "CancelRepair", reason="mistake")
    assert await desk.handle(case_id).result() == "Cancelled"


async def test_closing_and_asking_at_the_same_time_loses_nothing(desk: Desk) -> None:
    """Whatever arrives while the run ends is answered by this run or by the next."""

    async def struggle() -> None:
        case_id = await desk.opened()
        results = await asyncio.gather(
            desk.send(case_id, "CancelRepair", reason="mistake"),
            *(desk.send(case_id, "TakeCase") for _ in range(3)),
            desk.send(case_id, "ReopenCase", reason="after_all"),
            return_exceptions=True,
        )
        for result in results:
            assert not isinstance(result, BaseException) or isinstance(result, Rejected), result
        done = [r.command_id for r in results if not isinstance(r, BaseException)]
        assert sorted((await desk.command_ids(case_id))[1:]) == sorted(done)
        await desk.verified(case_id)

    await asyncio.gather(*(struggle() for _ in range(5)))


async def test_an_unknown_case_is_refused(desk: Desk) -> None:
    for unknown in (desk.name(), "repair-", "complaint-1", "nonsense", "repair-UPPER case"):
        with pytest.raises(Rejected):
            await desk.send(unknown, "TakeCase")
        with pytest.raises(Rejected):
            await desk.cases.submit(unknown, desk.command("TakeCase"))


async def test_a_second_report_under_another_policy_does_not_change_the_cases_own(
    desk: Desk,
) -> None:
    case_id = await desk.opened()
    await desk.handle(case_id).terminate()
    other = desk.policy.replace('"version":"2026.1"', '"version":"2027.1"')
    assert other != desk.policy

    with pytest.raises(Rejected, match="reported already"):
        await desk.cases.open(case_id, other, desk.report())
    await desk.send(case_id, "TriageRepair", **TRIAGE)
    await desk.verified(case_id)
    await desk.handle(case_id).terminate()
    await desk.cases.open_with_history(case_id, other, [desk.report(at=ago(minutes=1))])
    await desk.send(case_id, "TakeCase")
    await desk.verified(case_id)


async def test_a_deadline_that_passed_comes_before_a_command_of_now(desk: Desk) -> None:
    case_id = await desk.opened(at=ago(minutes=14, seconds=59))
    await asyncio.sleep(1.1)
    await desk.send(case_id, "TriageRepair", **TRIAGE)
    types = await desk.types(case_id)
    assert types.index("CommitmentBroken") < types.index("RepairTriaged")


async def test_a_fact_that_arrives_late_is_judged_by_when_it_happened(desk: Desk) -> None:
    reported = ago(hours=7)
    case_id = await desk.opened(at=reported)
    await desk.send(case_id, "TriageRepair", at=reported + timedelta(minutes=1), **TRIAGE)
    await desk.send(case_id, "DispatchCrew", crew="k-1", at=reported + timedelta(minutes=10))
    late = await desk.send(case_id, "RecordArrival", crew="k-1", at=reported + timedelta(hours=5))
    assert "BreachWithdrawn" in late.events
    assert {c.name: c.state for c in (await desk.verified(case_id)).commitments} == {
        "dispatch": "kept",
        "attend": "kept",
        "repair": "running",
    }
