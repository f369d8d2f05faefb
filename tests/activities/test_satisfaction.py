"""What a satisfaction report asks of the log, and how it gets into the register."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.cases import Conflict
from activities.event_log import EventLog
from activities.satisfaction import STANDS, Satisfaction
from lifecycles.decisions import Rejected
from schemas.envelope import CommandOutcome, Json
from schemas.satisfaction import Counted, Entry, Stretch, Tally
from tests.activities.appends import ORGANISATION, answer, decision, event, request, summary

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
SINCE = datetime(2026, 5, 2, 16, 0, tzinfo=UTC)  # midnight in Shanghai
UNTIL = SINCE + DAY
DUE_DAY = Stretch(organisation=ORGANISATION, since=SINCE, until=UNTIL)


class NoCases:
    """Stands for the way into the register: notes what it is asked, and answers as told."""

    def __init__(self, *answers: Exception) -> None:
        self.asked: list[str] = []
        self.answers = list(answers)

    async def open(self, case_id: str, policy: str, command: Json) -> CommandOutcome:
        return self._answer("open", command)

    async def send(self, case_id: str, command: Json) -> CommandOutcome:
        return self._answer("send", command)

    def _answer(self, how: str, command: Json) -> CommandOutcome:
        self.asked.append(how)
        if self.answers:
            raise self.answers.pop(0)
        return CommandOutcome(
            command_id=command["id"],
            command_hash="0" * 64,
            version=1,
            position=1,
            events=("MonthReported",),
            stage="AtRest",
        )


def at_work(log: EventLog, cases: Any = None) -> Satisfaction:
    way_in: Any = cases or NoCases()
    return Satisfaction(log, way_in, ORGANISATION)


async def due(log: EventLog, stream: str, occurred: datetime, decided: datetime) -> None:
    body = event("CallbackDue", at=f"{occurred:%Y-%m-%dT%H:%M:%SZ}", parties=[])
    made = decision("a", body).model_copy(update={"decided_at": decided})
    await log.append_events(request(stream, 0, made))


async def test_each_follow_up_is_in_one_days_draw_alone_however_late_it_is_told(
    log: EventLog,
) -> None:
    noon = SINCE + DAY / 2
    await due(log, "repair-on-the-day", noon, noon)
    await due(log, "repair-first", SINCE, SINCE)
    await due(log, "repair-last", UNTIL - SECOND, UNTIL - SECOND)
    await due(log, "repair-next", UNTIL, UNTIL)
    await due(log, "repair-before", SINCE - SECOND, SINCE - SECOND)
    await due(log, "repair-told-late", noon - DAY, noon)
    await due(log, "repair-told-tomorrow", noon, noon + DAY)
    await due(log, "repair-of-old", noon - 30 * DAY, noon)

    days = {
        number: await at_work(log).find_follow_ups(
            Stretch(
                organisation=ORGANISATION, since=SINCE + number * DAY, until=UNTIL + number * DAY
            )
        )
        for number in (-1, 0, 1)
    }
    assert days == {
        -1: ("repair-before",),
        0: ("repair-first", "repair-last", "repair-on-the-day", "repair-told-late"),
        1: ("repair-next", "repair-told-tomorrow"),
    }


async def test_answers_are_counted(log: EventLog) -> None:
    answers = (answer(SINCE), answer(SINCE, "not_satisfied"), answer(UNTIL))
    case = summary(answers=answers)
    await log.append_events(request("repair-1", 0, decision("a", event()), case=case))
    assert await at_work(log).count_answers(DUE_DAY) == (
        Tally(department="east", asked=2, answered=2, satisfied=1),
    )


async def test_complaints_are_counted_with_them_where_they_are_asked_for(log: EventLog) -> None:
    at = f"{SINCE:%Y-%m-%dT%H:%M:%SZ}"
    told = event("ComplaintRegistered", at=at, category="late")
    case = summary(kind="complaint", answers=(answer(SINCE),))
    await log.append_events(request("complaint-1", 0, decision("a", told), case=case))
    found = await at_work(log).count_answers(DUE_DAY.model_copy(update={"complaints": True}))
    assert isinstance(found, Counted)
    assert found.tallies == await at_work(log).count_answers(DUE_DAY)
    assert found.complaints is not None
    assert [(c.category, c.registered, c.open) for c in found.complaints] == [("late", 1, 1)]


def entry(organisation: str = ORGANISATION) -> Entry:
    return Entry(
        organisation=organisation,
        register_id="satisfaction-register",
        policy="{}",
        command={"id": "satisfaction/month/2026-04/abc"},
    )


async def test_the_first_entry_opens_the_register_and_later_ones_are_sent(log: EventLog) -> None:
    cases = NoCases()
    entered = await at_work(log, cases).enter_in_register(entry())
    assert (entered.accepted, entered.events) == (True, ("MonthReported",))
    stored = decision("a", event("RegisterOpened"))
    await log.append_events(request("satisfaction-register", 0, stored))
    await at_work(log, cases).enter_in_register(entry())
    assert cases.asked == ["open", "send"]


async def test_a_refusal_is_an_answer_and_anything_else_is_tried_again(log: EventLog) -> None:
    cases = NoCases(Rejected(["Not yet."]), Conflict("used"), ConnectionError())
    satisfaction = at_work(log, cases)
    refused = await satisfaction.enter_in_register(entry())
    assert (refused.accepted, refused.reasons) == (False, ("Not yet.",))
    stands = await satisfaction.enter_in_register(entry())
    assert (stands.accepted, stands.reasons) == (False, (STANDS,))
    with pytest.raises(ConnectionError):
        await satisfaction.enter_in_register(entry())


async def test_a_worker_never_counts_for_another_organisation(log: EventLog) -> None:
    satisfaction = at_work(log)
    elsewhere = DUE_DAY.model_copy(update={"organisation": "estate"})
    for asked in (
        satisfaction.count_answers(elsewhere),
        satisfaction.find_follow_ups(elsewhere),
        satisfaction.enter_in_register(entry("estate")),
    ):
        with pytest.raises(ApplicationError, match="another organisation") as refused:
            await asked
        assert refused.value.non_retryable
