"""Signed approvals on the real servers: who forges a yes, or a look into the log, gets nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from temporalio import workflow
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import Worker

from activities.signing_keys import KeyRefused
from gateway import signing
from lifecycles.decisions import Rejected
from lifecycles.lifecycle import lifecycle_of, plan
from schemas.envelope import AppendRequest, Json
from schemas.signing import Statement
from tests.workflows.desk import ORGANISATION, Desk, visit_on
from tests.workflows.test_cutoffs import LARGE, verified, water

__all__ = ["water"]

HEAD = "division_head-1"


@pytest.fixture
async def asked(water: Desk) -> str:
    """A large meter's case that waits for the division head's yes."""
    case_id = await water.eligible(**LARGE)
    await water.send(case_id, "RequestCutoff", reason="unpaid")
    return case_id


def statement(case_id: str, choice: Json, **other: Any) -> Statement:
    """What the choice's signature should be over, with something else in it."""
    right: Json = {
        "organisation": ORGANISATION,
        "case": case_id,
        "approval": choice["approval"],
        "action": "cutoff",
        "decision": choice["decision"],
        "facts_hash": choice["facts_hash"],
        "subject": HEAD,
        "on_behalf_of": None,
        "version": choice["signature"]["version"],
        "nonce": choice["signature"]["nonce"],
        "expires_at": choice["signature"]["expires_at"],
    }
    return Statement.model_validate({**right, **other})


async def refused(desk: Desk, case_id: str, choice: Json, why: str, who: str = HEAD) -> None:
    """The case says no, the approval is asked as before, and the attempt is on record."""
    with pytest.raises(Rejected, match=why):
        await desk.send(case_id, "DecideApproval", by="division_head", who=who, **choice)
    state = await desk.known(case_id)
    assert (state["stage"], state["approvals"][-1]["state"]) == ("AwaitingApproval", "requested")


async def test_a_yes_without_a_signature_is_refused(water: Desk, asked: str) -> None:
    choice = await water.choice(asked, "approve", HEAD)
    del choice["signature"]
    await refused(water, asked, choice, "needs the signature")


async def test_a_signed_yes_counts_once_and_its_proof_is_in_the_event(
    water: Desk, asked: str
) -> None:
    choice = await water.choice(asked, "approve", HEAD)
    command = water.command("DecideApproval", by="division_head", **choice)
    first = await water.cases.send(asked, command)
    assert await water.cases.send(asked, command) == first
    given = next(e for e in await water.bodies(asked) if e["type"] == "ApprovalGiven")
    assert given["signature"] == choice["signature"]
    assert (await verified(water, asked)).stage == "Authorised"


@pytest.mark.parametrize(
    "other",
    [
        {"case": "arrears-another"},
        {"approval": "cutoff-2"},
        {"action": "write_off"},
        {"decision": "reject"},
        {"facts_hash": "0" * 64},
        {"subject": "division_head-2"},
        {"on_behalf_of": "division_head-2"},
        {"organisation": "another"},
    ],
)
async def test_a_signature_over_anything_else_is_none(
    water: Desk, asked: str, other: dict[str, Any]
) -> None:
    choice = await water.choice(asked, "approve", HEAD)
    said = statement(asked, choice, **other)
    choice["signature"] = signing.sign(await water.key_of(HEAD), said).model_dump(mode="json")
    await refused(water, asked, choice, "not over this decision")
    (kept,) = await water.log.refusals(ORGANISATION, stream=asked)
    assert (kept.actor, kept.command_type) == (HEAD, "DecideApproval")


async def test_whoever_reaches_temporal_and_forges_an_update_gets_nothing(
    water: Desk, asked: str
) -> None:
    """Past the gateway, in the division head's name, signed with a key of their own."""
    choice = await water.choice(asked, "approve", HEAD)
    forged = signing.sign(Ed25519PrivateKey.generate(), statement(asked, choice))
    choice["signature"] = forged.model_dump(mode="json")
    await refused(water, asked, choice, "not enrolled to who decides")
    choice["signature"] = signing.sign(
        await water.key_of("clerk-1"), statement(asked, choice)
    ).model_dump(mode="json")
    await refused(water, asked, choice, "not enrolled to who decides")

    # As a signal, too, which nobody waits for.
    command = water.command("DecideApproval", by="division_head", **choice)
    await water.handle(asked).signal("submit", command)
    again = water.command("DecideApproval", by="division_head", **choice)
    with pytest.raises(Rejected, match="not enrolled"):
        await water.cases.send(asked, again)
    kept = await water.log.refusals(ORGANISATION, stream=asked)
    assert len(kept) == 4
    assert (await verified(water, asked)).stage == "AwaitingApproval"


async def test_a_signature_is_good_for_one_decision(water: Desk) -> None:
    """The same words on the same facts, asked anew: the old yes is not a new one."""
    case_id = await water.eligible(**LARGE)
    await water.send(case_id, "RequestCutoff", reason="unpaid")
    first = await water.choice(case_id, "reject", HEAD, reason="wait")
    await water.send(case_id, "DecideApproval", by="division_head", **first)
    await water.send(case_id, "RequestCutoff", reason="unpaid")
    second = await water.choice(case_id, "approve", HEAD)
    said = statement(case_id, second, nonce=first["signature"]["nonce"])
    second["signature"] = signing.sign(await water.key_of(HEAD), said).model_dump(mode="json")
    await refused(water, case_id, second, "used before")


async def test_a_signature_expires_and_none_is_given_for_long(water: Desk, asked: str) -> None:
    key = await water.key_of(HEAD)
    choice = await water.choice(asked, "approve", HEAD)
    for shift, why in ((timedelta(hours=-1), "has expired"), (timedelta(hours=2), "an hour")):
        said = statement(asked, choice, expires_at=datetime.now(UTC) + shift)
        choice["signature"] = signing.sign(key, said).model_dump(mode="json")
        await refused(water, asked, choice, why)


async def test_a_lost_key_signs_nothing_and_no_permit_rests_on_it(water: Desk) -> None:
    desk = water
    assert desk.registrar is not None
    case_id = await desk.eligible(**LARGE)
    await desk.send(case_id, "RequestCutoff", reason="unpaid")
    await desk.decide(case_id)
    await desk.send(case_id, "ScheduleVisit", **visit_on(datetime.now(UTC)))
    lost = signing.public_key(await desk.key_of(HEAD))
    assert await desk.registrar.report_lost(ORGANISATION, lost, "admin-1")
    with pytest.raises(Rejected, match="reported lost"):
        await desk.ask_permit(case_id)
    assert "PermitIssued" not in await desk.types(case_id)

    other = await desk.eligible(**LARGE)
    await desk.send(other, "RequestCutoff", reason="unpaid")
    with pytest.raises(KeyRefused, match="reported lost"):
        await desk.key_of(HEAD)
    await desk.decide(other, who="division_head-2")
    assert (await verified(desk, other)).stage == "Authorised"


async def test_nobody_enrols_their_own_key_nor_anothers_for_themselves(water: Desk) -> None:
    assert water.registrar is not None
    key = signing.public_key(Ed25519PrivateKey.generate())
    with pytest.raises(KeyRefused, match="own key"):
        await water.registrar.enrol(ORGANISATION, key, "head-9", "HEAD-9")
    assert await water.registrar.enrol(ORGANISATION, key, "head-9", "admin-1")
    assert not await water.registrar.enrol(ORGANISATION, key, "head-9", "admin-1")
    with pytest.raises(KeyRefused, match="another person's"):
        await water.registrar.enrol(ORGANISATION, key, "head-8", "admin-1")


async def test_a_permit_does_not_rest_on_what_its_caller_says_of_the_log(water: Desk) -> None:
    """Open cases on the premises are looked for again, whatever the command left out."""
    desk = water
    case_id = await desk.authorised()
    premises = (await desk.known(case_id))["premises"]
    # In the log, but without a workflow that could tell: the arrears case never hears of it.
    repair = desk.name()
    await desk.append(repair, desk.report(premises=premises, category="no-water"))
    assert await desk.log.open_on(ORGANISATION, [premises]) == [repair]
    with pytest.raises(Rejected) as no:
        await desk.ask_permit(case_id, premises_open=[])
    assert no.value.reasons == (f"Wait until these cases on the premises end: {repair}.",)
    assert "PermitIssued" not in await desk.types(case_id)


@workflow.defn(name="Intruder", sandboxed=False)
class Intruder:
    """Asks Standpipe's own workers for an append, past every case."""

    @workflow.run
    async def run(self, request: Any, task_queue: str) -> None:
        await workflow.execute_activity(
            "append_events",
            request,
            task_queue=task_queue,
            start_to_close_timeout=timedelta(seconds=10),
        )


async def forged(desk: Desk, case_id: str, *commands: Json, checked: bool = False) -> AppendRequest:
    """What a case would append on these commands, but with nothing to be checked."""
    lifecycle = lifecycle_of(case_id)
    events = await desk.log.read_stream(ORGANISATION, case_id)
    state = lifecycle.fold(desk.unborn(case_id), (lifecycle.event(e.body) for e in events))
    envelopes = [lifecycle.command(c) for c in commands]
    made = plan(lifecycle, state, len(events), envelopes, datetime.now(UTC))
    assert not made.refused
    decisions = [step.decision() for step in made.steps]
    if not checked:
        decisions = [d.model_copy(update={"checks": ()}) for d in decisions]
    return AppendRequest(
        organisation=ORGANISATION,
        stream=case_id,
        expected_version=len(events),
        decisions=tuple(decisions),
        summary=lifecycle.summary(made.state),
    )


async def unsigned(desk: Desk, case_id: str) -> Json:
    """The division head's yes with somebody else's signature."""
    choice = await desk.choice(case_id, "approve", HEAD)
    said = statement(case_id, choice)
    choice["signature"] = signing.sign(Ed25519PrivateKey.generate(), said).model_dump(mode="json")
    return desk.command("DecideApproval", by="division_head", **choice)


async def test_nobody_but_a_case_appends(water: Desk, asked: str) -> None:
    """Whoever reaches Temporal can have any activity run: this one only as a step of a case."""
    request = await forged(water, asked, await unsigned(water, asked))
    queue = f"intruder-{water.names}"
    async with Worker(water.client, task_queue=queue, workflows=[Intruder]):
        with pytest.raises(WorkflowFailureError) as failed:
            await water.client.execute_workflow(
                "Intruder", args=[request, water.task_queue], id=queue, task_queue=queue
            )
    cause = failed.value.cause
    assert isinstance(cause, ActivityError)
    assert isinstance(cause.cause, ApplicationError)
    assert cause.cause.type == "NotACase"
    assert (await verified(water, asked)).stage == "AwaitingApproval"


async def test_a_yes_is_checked_whether_or_not_the_workflow_says_that_it_must_be(
    water: Desk, asked: str
) -> None:
    result = await water.log.append_events(await forged(water, asked, await unsigned(water, asked)))
    assert (result.status, len(result.unproven)) == ("unproven", 1)
    assert (await verified(water, asked)).stage == "AwaitingApproval"


async def test_a_permit_comes_out_of_the_log_not_of_what_a_workflow_thinks_its_case_is(
    water: Desk, asked: str
) -> None:
    """Its history may be an intruder's, who answered for a worker: with an approval, say."""
    desk = water
    other = await desk.eligible(**LARGE)
    await desk.send(other, "RequestCutoff", reason="unpaid")
    await desk.decide(other)
    await desk.send(other, "ScheduleVisit", **visit_on(datetime.now(UTC)))
    now = datetime.now(UTC).isoformat()
    look = {"permit": "permit-1", "crew": "crew-1", "premises_open": [], "checked_at": now}
    permit = await forged(desk, other, desk.command("IssuePermit", by="crew", **look))
    version = len(await desk.types(asked))
    result = await desk.log.append_events(
        permit.model_copy(update={"stream": asked, "expected_version": version})
    )
    ((why,),) = result.unproven.values()
    assert "The log comes to something else" in why
    # The very same is right where it is true.
    assert (await desk.log.append_events(permit)).status == "appended"


async def test_nobody_is_refused_on_a_state_that_is_behind_the_log(water: Desk, asked: str) -> None:
    """A reset run may know less of the case than whoever signed."""
    early = await forged(water, asked, await unsigned(water, asked), checked=True)
    await water.send(asked, "RecordContact", how="phone", evidence="call-9")
    assert (await water.log.append_events(early)).status == "behind"
