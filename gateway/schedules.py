"""What runs by itself: Temporal Schedules, created, kept up to date, or run by hand.

Satisfaction is reported daily, monthly and yearly; the meter readers are assessed half-yearly.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, NamedTuple
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
    WorkflowHandle,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from activities.cases import ORGANISATION
from lifecycles.assessment_runs import COUNTED_ON
from lifecycles.policies import pinned
from schemas.assessment import Assessed, AssessmentRun, HalfYear
from schemas.base import Value
from schemas.satisfaction import Entered, SatisfactionReport, What, register_of

REPORT, ASSESS = "SatisfactionReportWorkflow", "AssessmentRunWorkflow"
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
HALF_YEARLY = ScheduleCalendarSpec(
    hour=_SIX,
    day_of_month=(ScheduleRange(COUNTED_ON),),
    month=(ScheduleRange(1), ScheduleRange(7)),
)
"""On 5 January and 5 July: the half-year before, as it was known when the day began (WAT-P1)."""

CATCH_UP = timedelta(days=30)
CATCH_UP_HALF_YEARLY = timedelta(days=150)
"""However late it comes, it counts the same."""

Done = Literal["created", "updated", "unchanged"]


class Planned(NamedTuple):
    """A workflow that a schedule starts, and when."""

    id: str
    workflow: str
    argument: Value
    when: ScheduleCalendarSpec
    catch_up: timedelta
    note: str


def schedule_id(organisation: str, what: What) -> str:
    return f"standpipe-{organisation}-satisfaction-{what}"


def assessment_schedule(organisation: str) -> str:
    """The name of the half-yearly assessment's schedule."""
    return f"standpipe-{organisation}-assessment"


def planned(organisation: str, policy: str, register_id: str | None = None) -> Iterator[Planned]:
    """All that runs by itself in an organisation, as its policy (canonical JSON) has it.

    What the policy says nothing of does not run.
    """
    rules = pinned(policy).policy
    for what, when in WHEN.items() if rules.satisfaction is not None else ():
        report = SatisfactionReport(
            organisation=organisation,
            what=what,
            policy=policy,
            register_id=register_id or register_of(organisation),
        )
        id = schedule_id(organisation, what)
        note = f"Satisfaction of {organisation}: {what}"
        yield Planned(id, REPORT, report, when, CATCH_UP, note)
    if rules.assessment is not None:
        run = AssessmentRun(organisation=organisation, policy=policy)
        id = assessment_schedule(organisation)
        note = f"The readers' half-yearly assessment in {organisation}"
        yield Planned(id, ASSESS, run, HALF_YEARLY, CATCH_UP_HALF_YEARLY, note)


async def ensure_schedules(
    client: Client,
    organisation: str,
    policy: str,
    task_queue: str,
    register_id: str | None = None,
) -> dict[str, Done]:
    """The schedules of an organisation as its policy wants them, by id; those that are so stay.

    `policy` is canonical JSON. A schedule that somebody has paused stays paused.
    """
    time_zone = pinned(policy).policy.calendar.time_zone
    return {
        plan.id: await _ensure(
            client, plan.id, _schedule(plan, organisation, time_zone, task_queue)
        )
        for plan in planned(organisation, policy, register_id)
    }


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
        REPORT,
        report.model_dump(mode="json"),
        id=f"{schedule_id(organisation, what)}-by-hand-{uuid4()}",
        task_queue=task_queue,
        result_type=Entered,
        search_attributes=_attributes(organisation),
    )


async def assess_now(
    client: Client,
    organisation: str,
    policy: str,
    task_queue: str,
    half_year: HalfYear,
    *,
    known_until: datetime | None = None,
) -> WorkflowHandle[Any, Assessed]:
    """Start the half-yearly run for one half-year, by hand; its result tells what it did.

    It counts what was told before `known_until`; None: what every run counts, so that a late one
    counts the same. Assessments that stand already stay as they are.
    """
    run = AssessmentRun(
        organisation=organisation, policy=policy, half_year=half_year, known_until=known_until
    )
    return await client.start_workflow(
        ASSESS,
        run.model_dump(mode="json"),
        id=f"{assessment_schedule(organisation)}-by-hand-{uuid4()}",
        task_queue=task_queue,
        result_type=Assessed,
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


def _schedule(plan: Planned, organisation: str, time_zone: str, task_queue: str) -> Schedule:
    spec = ScheduleSpec(calendars=[plan.when], time_zone_name=time_zone)
    # All that an outage kept from running runs afterwards, one by one and in its order: samples
    # and years are not taken out of theirs.
    policy = SchedulePolicy(overlap=ScheduleOverlapPolicy.BUFFER_ALL, catchup_window=plan.catch_up)
    made_from = f"{plan.argument.model_dump_json()}\n{task_queue}\n{spec}\n{policy}"
    action = ScheduleActionStartWorkflow(
        plan.workflow,
        plan.argument.model_dump(mode="json"),
        id=plan.id,
        task_queue=task_queue,
        memo={MEMO: sha256(made_from.encode()).hexdigest()},
        typed_search_attributes=_attributes(organisation),
    )
    return Schedule(action=action, spec=spec, policy=policy, state=ScheduleState(note=plan.note))


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
