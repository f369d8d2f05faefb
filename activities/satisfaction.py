"""Counts for the satisfaction register, and the way into it."""

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.cases import Cases, Conflict
from activities.log_reader import LogReader
from lifecycles.decisions import Rejected
from lifecycles.satisfaction import WINDOW
from schemas.base import CaseId
from schemas.envelope import CommandOutcome
from schemas.satisfaction import Counted, Entered, Entry, Stretch, Tally

STANDS = "The register holds something else under this name, and that stands."


class Satisfaction:
    """What a report workflow has to ask of the log. One organisation's."""

    def __init__(self, log: LogReader, cases: Cases, organisation: str) -> None:
        self._log = log
        self._cases = cases
        self._organisation = organisation

    @activity.defn(name="count_answers")
    async def count_answers(self, of: Stretch) -> tuple[Tally, ...] | Counted:
        """What the customers who were called in that time answered, by department (CNPC-2.5).

        With the complaints of that time, where they are asked for (WIN-1.7).
        """
        self._check(of.organisation)
        tallies = tuple(await self._log.satisfaction(of.organisation, of.since, of.until))
        if not of.complaints:
            return tallies
        complaints = await self._log.complaints(of.organisation, of.since, of.until)
        return Counted(tallies=tallies, complaints=tuple(complaints))

    @activity.defn(name="find_follow_ups")
    async def find_follow_ups(self, of: Stretch) -> tuple[CaseId, ...]:
        """The cases of which we heard in that time that a follow-up is due (KUN-5.3.6), sorted.

        By when we heard of it: whoever tells of a repair only the day after does not escape the
        draw, and each follow-up stands in one day's draw alone. But those that became due longer
        ago than a call may take are left out: an import of old cases is no day's work.
        """
        self._check(of.organisation)
        found = await self._log.follow_ups_due(
            of.organisation, of.until - WINDOW, of.until, told=(of.since, of.until)
        )
        return tuple(found)

    @activity.defn(name="enter_in_register")
    async def enter_in_register(self, entry: Entry) -> Entered:
        """Send a command to the register, which is opened by the first one. Done there once."""
        self._check(entry.organisation)
        id: str = entry.command["id"]
        try:
            outcome = await self._send_or_open(entry)
        except Rejected as refusal:
            return Entered(command_id=id, accepted=False, reasons=refusal.reasons)
        except Conflict:
            return Entered(command_id=id, accepted=False, reasons=(STANDS,))
        return Entered(command_id=id, accepted=True, events=outcome.events)

    async def _send_or_open(self, entry: Entry) -> CommandOutcome:
        if await self._log.policy_of(self._organisation, entry.register_id) is None:
            return await self._cases.open(entry.register_id, entry.policy, entry.command)
        return await self._cases.send(entry.register_id, entry.command)

    def _check(self, organisation: str) -> None:
        if organisation != self._organisation:
            raise ApplicationError(
                "This worker serves another organisation: start the report on its task queue.",
                type="WrongOrganisation",
                non_retryable=True,
            )
