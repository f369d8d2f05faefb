"""A reader's assessment as a Temporal workflow, and the half-yearly run that opens them."""

from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError

from workflows.case import FOREVER, CaseWorkflow

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from lifecycles import assessment_runs as runs
    from lifecycles.decisions import reasons_of
    from lifecycles.policies import pinned
    from schemas.assessment import Assessed, AssessmentCount, AssessmentRun

SCHEDULED = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")


@workflow.defn(name="AssessmentWorkflow")
class AssessmentWorkflow(CaseWorkflow):
    """One reader's half-year; see lifecycles/assessment.py."""

    @workflow.init
    def __init__(self, case: Any) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, case: Any) -> str:
        """Live until it is settled; the argument is an `OpenCase`, parsed in `__init__`."""
        return await self.live()


@workflow.defn(name="AssessmentRunWorkflow")
class AssessmentRunWorkflow:
    """Opens an assessment for every reader who had overdue accounts when a half-year ended."""

    @workflow.run
    async def run(self, run: Any) -> Assessed:
        """The argument is an `AssessmentRun`."""
        try:
            asked = AssessmentRun.model_validate(run)
            of = _count(asked)
        except ValidationError as error:
            raise _invalid(*reasons_of(error)) from None
        done = await workflow.execute_activity(
            "open_assessments",
            of,
            result_type=Assessed,
            summary=of.half_year,
            # Hundreds of readers take minutes. A worker that dies is missed by its heartbeats, but
            # while PostgreSQL gathers what is to be read there are none.
            start_to_close_timeout=timedelta(hours=6),
            heartbeat_timeout=timedelta(minutes=6),
            retry_policy=FOREVER,
        )
        workflow.set_current_details(
            f"{done.half_year}: {done.accounts} accounts of {done.readers} readers;"
            f" opened {done.opened}, stood already {done.stood}, refused {len(done.refused)}"
        )
        return done


def _count(run: AssessmentRun) -> AssessmentCount:
    policy = pinned(run.policy).policy
    if policy.assessment is None:
        raise _invalid("policy: it assesses nobody; add an [assessment] section to it.")
    meant_for = _meant_for()
    if run.half_year is None:
        half = runs.half_year_before(policy.calendar, meant_for)
    else:
        half = runs.half_year_of(policy.calendar, run.half_year)
    known_until = run.known_until or half.counted
    if not half.ended <= known_until <= meant_for:
        raise _invalid("known_until: must lie between the end of the half-year and now.")
    return AssessmentCount(
        organisation=run.organisation,
        policy=run.policy,
        half_year=half.name,
        ended=half.ended,
        known_until=known_until,
    )


def _invalid(*reasons: str) -> ApplicationError:
    return ApplicationError(" ".join(reasons), list(reasons), type="InvalidRun", non_retryable=True)


def _meant_for() -> datetime:
    """When the schedule meant this to run: after an outage, that may be long ago."""
    info = workflow.info()
    return info.typed_search_attributes.get(SCHEDULED) or info.start_time
