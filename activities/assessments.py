"""The readers' half-yearly assessments: counted from the log, and opened, one per reader."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from pydantic import ValidationError
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.cases import Cases, Conflict
from activities.log_reader import LogReader
from lifecycles import assessment_runs as runs
from lifecycles.assessment_runs import Overdue, Round
from lifecycles.decisions import Rejected, reasons_of
from lifecycles.lifecycle import dump
from lifecycles.policies import pinned
from schemas.assessment import Assessed, AssessmentCount, Unopened, assessment_id

AT_A_TIME = 8
"""So many cases are opened side by side: people's own commands go on meanwhile."""
FEW = 200
"""So many refusals are told at most: an answer must fit into a history."""


class Assessments:
    """What the half-yearly run does. One organisation's."""

    def __init__(self, log: LogReader, cases: Cases, organisation: str) -> None:
        self._log = log
        self._cases = cases
        self._organisation = organisation

    @activity.defn(name="open_assessments")
    async def open_assessments(self, of: AssessmentCount) -> Assessed:
        """Count who was overdue when the half-year ended, and open each reader's assessment.

        Those that the log has stay as they are, so it may be done again, or be broken off and
        begun anew. Heartbeats tell how many of how many readers are done.
        """
        if of.organisation != self._organisation:
            raise ApplicationError(
                "This worker serves another organisation: start the run on its task queue.",
                type="WrongOrganisation",
                non_retryable=True,
            )
        found = runs.by_reader(await self._overdue(of))
        ids = {r: assessment_id(of.organisation, r.reader, of.half_year) for r in found.rounds}
        stood = await self._log.recorded(of.organisation, list(ids.values()))
        to_open = [r for r in found.rounds if ids[r] not in stood]
        refused = await self._open(of, to_open)
        return Assessed(
            half_year=of.half_year,
            ended=of.ended,
            known_until=of.known_until,
            accounts=found.accounts,
            without_reader=found.without_reader,
            readers=len(found.rounds),
            opened=len(to_open) - len(refused),
            stood=len(stood),
            refused=tuple(refused[:FEW]),
        )

    async def _overdue(self, of: AssessmentCount) -> list[Overdue]:
        arrears = pinned(of.policy).policy.arrears
        assert arrears is not None, "a policy with an assessment section has one on arrears"
        found: list[Overdue] = []
        looked_at = 0
        cases = self._log.arrears_then(of.organisation, runs.TELLING, of.ended, of.known_until)
        async with aclosing(cases):
            async for events in cases:
                one = runs.overdue(events, of.ended, of.known_until, arrears.threshold)
                if one is not None:
                    found.append(one)
                looked_at += 1
                if looked_at % 1000 == 0:
                    activity.heartbeat(0, 0)
        return found

    async def _open(self, of: AssessmentCount, rounds: Sequence[Round]) -> list[Unopened]:
        refused: list[Unopened] = []
        done = 0
        activity.heartbeat(done, len(rounds))
        slots = asyncio.Semaphore(AT_A_TIME)

        async def one(found: Round) -> None:
            nonlocal done
            async with slots:
                if reasons := await self._opened(of, found):
                    refused.append(Unopened(reader=found.reader, reasons=reasons))
                done += 1
                activity.heartbeat(done, len(rounds))

        async with asyncio.TaskGroup() as group:
            for found in rounds:
                group.create_task(one(found))
        return sorted(refused, key=lambda unopened: unopened.reader)

    async def _opened(self, of: AssessmentCount, found: Round) -> tuple[str, ...]:
        """The reasons why it could not be opened; none where it is open."""
        case_id = assessment_id(of.organisation, found.reader, of.half_year)
        try:
            await self._cases.open(case_id, of.policy, dump(runs.opening(of, found)))
        except Rejected as refusal:
            return refusal.reasons
        except ValidationError as error:
            return reasons_of(error)
        except Conflict as conflict:
            return (str(conflict),)
        return ()
