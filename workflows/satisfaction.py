"""The satisfaction register as a Temporal workflow, and the reports that schedules start for it."""

from datetime import datetime, timedelta
from typing import Any, TypedDict, assert_never

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ApplicationError

from workflows.case import FOREVER, CaseWorkflow

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from lifecycles import satisfaction_reports as reports
    from lifecycles.decisions import reasons_of
    from lifecycles.lifecycle import dump
    from lifecycles.policies import pinned
    from schemas.base import CaseId
    from schemas.envelope import CommandEnvelope
    from schemas.satisfaction import Counted, Entered, Entry, SatisfactionReport, Stretch, Tally

SCHEDULED = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")


class _Options(TypedDict):
    start_to_close_timeout: timedelta
    retry_policy: RetryPolicy


PATIENT: _Options = {"start_to_close_timeout": timedelta(seconds=20), "retry_policy": FOREVER}
"""Neither an outage of Postgres nor a dead worker loses a report: it only comes later."""


@workflow.defn(name="SatisfactionWorkflow")
class SatisfactionWorkflow(CaseWorkflow):
    """The organisation's one register; see lifecycles/satisfaction.py."""

    @workflow.init
    def __init__(self, case: Any) -> None:
        super().__init__(case)

    @workflow.run
    async def run(self, case: Any) -> str:
        """Live until nothing is awaited; the argument is an `OpenCase`, parsed in `__init__`."""
        return await self.live()


@workflow.defn(name="SatisfactionReportWorkflow")
class SatisfactionReportWorkflow:
    """Counts the last day, month or year that is over, and enters it in the register."""

    @workflow.run
    async def run(self, report: Any) -> Entered:
        """The argument is a `SatisfactionReport`. A refusal by the register is an outcome too."""
        try:
            asked = SatisfactionReport.model_validate(report)
            command = await self._counted(asked)
        except ValidationError as error:
            reasons = reasons_of(error)
            raise ApplicationError(
                " ".join(reasons), list(reasons), type="InvalidReport", non_retryable=True
            ) from None
        entry = Entry(
            organisation=asked.organisation,
            register_id=asked.register_id,
            policy=asked.policy,
            command=dump(command),
        )
        entered = await workflow.execute_activity(
            "enter_in_register", entry, result_type=Entered, summary=command.id, **PATIENT
        )
        told = " ".join(entered.reasons) or ", ".join(entered.events) or "nothing new"
        workflow.set_current_details(f"{command.id}: {told}")
        return entered

    async def _counted(self, report: SatisfactionReport) -> CommandEnvelope[Any]:
        """The command for the register, with all that the log holds of the time."""
        calendar = pinned(report.policy).policy.calendar
        period = reports.period_before(report.what, calendar, report.at or _meant_for())
        of = Stretch(
            organisation=report.organisation,
            since=period.since,
            until=period.until,
            complaints=report.what == "month",
        )
        match report.what:
            case "sample":
                population = await workflow.execute_activity(
                    "find_follow_ups", of, result_type=tuple[CaseId, ...], **PATIENT
                )
                # The seed stands in the history, so that a retry draws the same, and in the event.
                return reports.sample(period, population, workflow.uuid4().hex)
            case "month":
                month = await _counts(of, tuple[Tally, ...] | Counted)
                if not isinstance(month, Counted):
                    # A history from before complaints were collated holds the answers alone.
                    month = Counted(tallies=month)
                return reports.month(period, month, workflow.uuid4().hex)
            case "year":
                return reports.year(period, await _counts(of, tuple[Tally, ...]))
            case _:
                assert_never(report.what)


async def _counts(of: Stretch, form: Any) -> Any:
    return await workflow.execute_activity("count_answers", of, result_type=form, **PATIENT)


def _meant_for() -> datetime:
    """When the schedule meant this to run: after an outage, that may be long ago."""
    info = workflow.info()
    return info.typed_search_attributes.get(SCHEDULED) or info.start_time
