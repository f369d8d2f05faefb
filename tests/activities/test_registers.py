"""The stop register (WAT-C4c) and that of part payments (WAT-B9): right with every append."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from activities.event_log import EventLog
from activities.log_reader import _PART_PAYMENTS, _STOPS
from activities.rebuild import rebuild
from lifecycles.lifecycle import LIFECYCLES
from schemas.envelope import CaseSummary, StopSummary
from tests.activities.appends import (
    ORGANISATION,
    START,
    decision,
    event,
    part,
    request,
    stop,
    summary,
)
from tests.conftest import Database
from tests.lifecycles.arrears_cases import (
    HOUR,
    VISIT,
    Debt,
    days,
    fully_permitted,
    noticed,
    ordered,
    permitted,
)

SUMMARY = LIFECYCLES["arrears"].summary


async def put(log: EventLog, stream: str, case: CaseSummary, *, after: int = 0) -> None:
    made = decision(f"c{after}", event())
    await log.append_events(request(stream, after, made, case=case))


# The case's own part of them


def stops_of(debt: Debt) -> list[tuple[str, bool, bool, bool]]:
    """Kind, permitted, opened by the customer, restored."""
    return [
        (s.kind, s.permitted, s.reopened_at is not None, s.restored_at is not None)
        for s in SUMMARY(debt.state).stops
    ]


def test_the_register_follows_a_supply_from_the_closing_to_the_restoration() -> None:
    debt = permitted()
    assert stops_of(debt) == []
    debt.close(VISIT + HOUR + 0.001)
    assert stops_of(debt) == [("temporary", True, False, False)]
    debt.do("ReportSelfReopened", 11, evidence="photo/open")
    assert stops_of(debt) == [("temporary", True, True, False)]
    debt.pay(12000, 12)
    debt.do("RecordReconnected", 12.5, crew="crew-1", seal_removed="S-1", reading=121)
    assert stops_of(debt) == [("temporary", True, True, True)]
    (entry,) = SUMMARY(debt.state).stops
    assert (entry.account, entry.premises, entry.valve, entry.seal) == ("A-1", "P-1", "V-1", "S-1")
    assert (entry.reopened_at, entry.restored_at) == (days(11), days(12.5))


def test_a_full_stop_is_a_line_of_its_own_and_one_restoration_ends_both() -> None:
    debt = fully_permitted()
    debt.close(15 + 2 * HOUR + 0.001, permit="permit-2", full=True, seal="S-2")
    assert stops_of(debt) == [
        ("temporary", True, True, False),
        ("full", True, False, False),
    ]
    debt.pay(12000, 16)
    debt.do("RecordReconnected", 16.5, crew="crew-1", seal_removed="S-2", reading=130)
    assert [s.restored_at for s in SUMMARY(debt.state).stops] == [days(16.5)] * 2


def test_a_restoration_leaves_what_was_restored_before_as_it_was() -> None:
    debt = noticed()
    debt.close(3, permit=None)
    debt.do("RecordReconnected", 3.5, crew="crew-1", seal_removed="S-1", reading=121)
    debt.close(4, permit=None, seal="S-9")
    assert stops_of(debt) == [("temporary", False, False, True), ("temporary", False, False, False)]
    debt.do("RecordReconnected", 4.5, crew="crew-1", seal_removed="S-9", reading=122)
    assert [s.restored_at for s in SUMMARY(debt.state).stops] == [days(3.5), days(4.5)]


def test_only_payments_that_cover_no_whole_bill_are_on_their_register() -> None:
    debt = ordered()
    debt.pay(8000, 13, "pay-1")  # just the first bill
    debt.pay(100, 13.1, "pay-2")
    debt.do("ReversePayment", 13.2, payment="pay-2", reason="bounced")
    (entry,) = SUMMARY(debt.state).part_payments
    assert (entry.payment, entry.amount, entry.currency) == ("pay-2", 100, "CNY")
    assert (entry.paid_at, entry.reversed_at) == (days(13.1), days(13.2))


# As the log keeps them


async def test_the_stop_register_is_right_with_the_append_that_changes_it(log: EventLog) -> None:
    closed = summary(kind="arrears", district="north", stops=(stop(),))
    await put(log, "arrears-1", closed)
    (row,) = await log.stop_register(ORGANISATION)
    assert (row.case_id, row.number, row.district) == ("arrears-1", 1, "north")
    assert row.model_dump(include=set(StopSummary.model_fields)) == stop().model_dump()
    assert await log.stop_register(ORGANISATION, only_stopped=True) == [row]
    restored = stop(restored_at=START + timedelta(days=1), reopened_at=START)
    await put(log, "arrears-1", closed.model_copy(update={"stops": (restored,)}), after=1)
    assert await log.stop_register(ORGANISATION, only_stopped=True) == []
    (row,) = await log.stop_register(ORGANISATION)
    assert (row.reopened_at, row.restored_at) == (START, START + timedelta(days=1))


async def test_the_registers_are_read_page_by_page_the_earliest_first(log: EventLog) -> None:
    hour = timedelta(hours=1)
    stops = {
        "arrears-1": (stop(2 * hour), stop(3 * hour, kind="full")),
        "arrears-2": (stop(hour, permitted=False),),
        "arrears-3": (),
    }
    for stream, of in stops.items():
        parts = tuple(part(s.since - START, payment=f"pay-{n}") for n, s in enumerate(of))
        await put(log, stream, summary(kind="arrears", stops=of, part_payments=parts))
    found = await log.stop_register(ORGANISATION)
    places = [("arrears-2", 1), ("arrears-1", 1), ("arrears-1", 2)]
    assert [(r.case_id, r.number) for r in found] == places
    assert [r.kind for r in found] == ["temporary", "temporary", "full"]
    (first,) = await log.stop_register(ORGANISATION, limit=1)
    rest = await log.stop_register(ORGANISATION, after=(first.since, first.case_id, first.number))
    assert [first, *rest] == found
    assert await log.stop_register(ORGANISATION, case_id="arrears-1") == found[1:]
    assert await log.stop_register("estate") == []

    paid = await log.part_payments(ORGANISATION)
    assert [(r.case_id, r.number) for r in paid] == places
    after = (paid[0].paid_at, paid[0].case_id, paid[0].number)
    assert await log.part_payments(ORGANISATION, after=after, limit=1) == paid[1:2]
    assert await log.part_payments(ORGANISATION, case_id="arrears-2") == paid[:1]
    assert await log.part_payments("estate") == []


async def test_a_summary_of_a_worker_that_knows_no_registers_is_written_too(log: EventLog) -> None:
    class OlderSummary(CaseSummary):
        def model_dump_json(self, **options: Any) -> str:
            return super().model_dump_json(exclude={"stops", "part_payments"}, **options)

    older = OlderSummary.model_validate(summary(kind="arrears").model_dump())
    made = request("arrears-1", 0, decision("a", event()))
    await log.append_events(made.model_copy(update={"summary": older}))
    row = await log.case(ORGANISATION, "arrears-1")
    assert row is not None
    assert (row.stops, row.part_payments) == ((), ())


@pytest.mark.parametrize(
    ("column", "tampered"),
    [
        ("stops", "jsonb_set(stops, '{0,permitted}', 'true')"),
        ("stops", "'[]'"),
        ("part_payments", "jsonb_set(part_payments, '{0,amount}', '1')"),
    ],
)
async def test_a_tampered_register_is_found_and_put_right(
    log: EventLog, database: Database, admin: asyncpg.Connection, column: str, tampered: str
) -> None:
    true = summary(kind="arrears", stops=(stop(permitted=False),), part_payments=(part(),))
    await put(log, "arrears-1", true)
    await admin.execute(f"UPDATE cases SET {column} = {tampered}")
    result = await rebuild(database.admin_url, ORGANISATION, lambda *_: true, lambda _: None)
    assert [d.column for d in result.differences] == [column]
    (row,) = await log.stop_register(ORGANISATION)
    assert row.permitted is False
    (paid,) = await log.part_payments(ORGANISATION)
    assert paid.amount == 100


async def test_the_registers_do_not_look_through_all_cases(
    log: EventLog, admin: asyncpg.Connection
) -> None:
    await admin.execute(
        """
        INSERT INTO cases (
            organisation, case_id, version, kind, stage, final, priority, commitments, stops,
            part_payments
        )
        SELECT 'town', 'arrears-' || n, 1, 'arrears', 'Overdue', false, false, '[]',
            CASE WHEN n % 2000 = 0 THEN jsonb_build_array($1::jsonb) ELSE '[]' END,
            CASE WHEN n % 2000 = 0 THEN jsonb_build_array($2::jsonb) ELSE '[]' END
        FROM generate_series(1, 20000) n
        """,
        stop().model_dump_json(),
        part().model_dump_json(),
    )
    await admin.execute("ANALYZE cases")
    for query, arguments, index in (
        (_STOPS, (None, True, None, "", 0, 100), "cases_stopped"),
        (_PART_PAYMENTS, (None, None, "", 0, 100), "cases_paid_in_part"),
    ):
        plan = await admin.fetch(
            f"EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) {query.format(columns='*')}",
            ORGANISATION,
            *arguments,
        )
        text = "\n".join(row[0] for row in plan)
        assert index in text
        assert "Seq Scan" not in text
    assert len(await log.stop_register(ORGANISATION)) == 10
