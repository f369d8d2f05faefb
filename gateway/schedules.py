"""The satisfaction reports' Temporal Schedules: created, kept up to date, or run by hand."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Literal
from uuid import uuid4

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from activities.cases import ORGANISATION
from lifecycles.policies import pinned
from schemas.satisfaction import Entered, SatisfactionReport, What, register_of

WORKFLOW = "SatisfactionReportWorkflow"
MEMO = "standpipe"
"""What a schedule was made from, by its hash: the same again needs no update."""

_SIX = (ScheduleRange(6),)
WHEN: Mapping[What, ScheduleCalendarSpec] = {
    "sample": ScheduleCalendarSpec(hour=_SIX),
    "month": ScheduleCalendarSpec(hour=_SIX, day_of_month=(ScheduleRange(3),)),
    "year": ScheduleCalendarSpec(
        hour=_SIX, day_of_month=(ScheduleRange(10),), month=(ScheduleRange(1),)
    ),
}
"""At six, local time: each day the day before; on the 3rd (WAT-1.7), and on 10 January."""

CATCH_UP = timedelta(days=30)

Done = Literal["created", "updated", "unchanged"]


def schedule_id(organisation: str, what: What) -> str:
    return f"standpipe-{organisation}-satisfaction-{what}"


async def ensure_schedules(
    client: Client,
    organisation: str,
    policy: str,
    task_queue: str,
    register_id: str | None = None,
) -> dict[str, Done]:
    """The schedules of an organisation as its policy wants them, by id; those that are so stay.

    `policy` is canonical JSON. One that says nothing of satisfaction gets no schedules. A schedule
    that somebody has paused stays paused.
    """
    if pinned(policy).policy.satisfaction is None:
        return {}
    done: dict[str, Done] = {}
    for what in WHEN:
        report = SatisfactionReport(
            organisation=organisation,
            what=what,
            policy=policy,
            register_id=register_id or register_of(organisation),
        )
        id = schedule_id(organisation, what)
        done[id] = await _ensure(client, id, _schedule(id, report, task_queue))
    return done


async def report_now(
    client: Client,
    organisation: str,
    policy: str,
    task_queue: str,
    what: What,
    *,
    at: datetime | None = None,
    register_id: str | None = None,
) -> Entered:
    """Report the last day, month or year that is over at `at` (now, if None), and wait for it.

    What the register holds already stays as it is; a refusal comes back with its reasons.
    """
    report = SatisfactionReport(
        organisation=organisation,
        what=what,
        policy=policy,
        register_id=register_id or register_of(organisation),
        at=at,
    )
    return await client.execute_workflow(
        WORKFLOW,
        report.model_dump(mode="json"),
        id=f"{schedule_id(organisation, what)}-by-hand-{uuid4()}",
        task_queue=task_queue,
        result_type=Entered,
        search_attributes=_attributes(organisation),
    )


async def _ensure(client: Client, id: str, wanted: Schedule) -> Done:
    handle = client.get_schedule_handle(id)
    try:
        known = await handle.describe()
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        try:
            await client.create_schedule(id, wanted)
        except ScheduleAlreadyRunningError:  # another worker was faster
            return await _ensure(client, id, wanted)
        return "created"
    if await _made_from(client, known) == _memo(wanted):
        return "unchanged"

    def update(current: ScheduleUpdateInput) -> ScheduleUpdate:
        wanted.state = current.description.schedule.state
        return ScheduleUpdate(wanted)

    await handle.update(update)
    return "updated"


def _schedule(id: str, report: SatisfactionReport, task_queue: str) -> Schedule:
    time_zone = pinned(report.policy).policy.calendar.time_zone
    spec = ScheduleSpec(calendars=[WHEN[report.what]], time_zone_name=time_zone)
    # All that an outage kept from running runs afterwards, one by one and in its order: samples
    # and years are not taken out of theirs.
    policy = SchedulePolicy(overlap=ScheduleOverlapPolicy.BUFFER_ALL, catchup_window=CATCH_UP)
    made_from = f"{report.model_dump_json()}\n{task_queue}\n{spec}\n{policy}"
    action = ScheduleActionStartWorkflow(
        WORKFLOW,
        report.model_dump(mode="json"),
        id=id,
        task_queue=task_queue,
        memo={MEMO: sha256(made_from.encode()).hexdigest()},
        typed_search_attributes=_attributes(report.organisation),
    )
    note = f"Satisfaction of {report.organisation}: {report.what}"
    return Schedule(action=action, spec=spec, policy=policy, state=ScheduleState(note=note))


def _attributes(organisation: str) -> TypedSearchAttributes:
    return TypedSearchAttributes([SearchAttributePair(ORGANISATION, organisation)])


def _memo(schedule: Schedule) -> Any:
    action = schedule.action
    memo = action.memo if isinstance(action, ScheduleActionStartWorkflow) else None
    return (memo or {}).get(MEMO)


async def _made_from(client: Client, known: ScheduleDescription) -> str | None:
    """What the schedule that the server holds was made from; None if that does not show."""
    payload = _memo(known.schedule)
    if payload is None:
        return None
    (made_from,) = await client.data_converter.decode([payload], [str])
    return made_from
