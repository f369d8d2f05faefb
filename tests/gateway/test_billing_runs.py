"""Billing runs on real servers: one case per account at a time, news once, debts that add up."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.cases import Cases
from activities.database import open_pool
from activities.event_log import EventLog
from gateway import importing
from gateway.accounts import PARTS, Part, load_accounts_mappings
from gateway.billing import overdue
from gateway.billing_cases import Run, case_of_account, state_of
from gateway.billing_files import Books, open_files, read_books
from gateway.billing_payments import Posting, post_payments
from gateway.billing_runs import BillingRun, Progress, to_json
from gateway.importing import NothingRecorded
from gateway.policies import content_of
from lifecycles.arrears_money import balance
from schemas.arrears import ArrearsState
from schemas.envelope import Json
from schemas.read_models import CaseFilter
from tests.conftest import Database
from worker import build_worker

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "water-accounts"
MAPPINGS = load_accounts_mappings(ROOT / "policies" / "mappings" / "accounts")
TODAY = datetime.now(UTC).date()  # the policy's calendar lies to the east: it is no earlier there


def ago(days: int) -> str:
    return (TODAY - timedelta(days=days)).isoformat()


def in_pounds(folder: Path) -> str:
    """The water policy in the files' currency, made as `import arrears --help` says."""
    water = (ROOT / "policies" / "water.toml").read_text(encoding="utf-8")
    file = folder / "pounds.toml"
    file.write_text(water.replace('currency = "CNY"', 'currency = "GBP"'), encoding="utf-8")
    return content_of(str(file), folder)


@dataclass
class Company:
    """Its three files, and Standpipe with a worker."""

    client: Client
    log: EventLog
    task_queue: str
    folder: Path
    policy: str
    organisation: str = field(default_factory=lambda: f"town-{os.urandom(4).hex()}")
    customers: list[str] = field(default_factory=list[str])
    bills: list[str] = field(default_factory=list[str])
    payments: list[str] = field(default_factory=list[str])

    @property
    def cases(self) -> Cases:
        return Cases(self.client, self.log, self.organisation, self.task_queue)

    def worker(self) -> AbstractAsyncContextManager[object]:
        return build_worker(
            self.client, self.log, organisation=self.organisation, task_queue=self.task_queue
        )

    def customer(self, number: str, *, vulnerable: bool = False) -> str:
        self.customers.append(f"{number},North,,,1,{int(vulnerable)}")
        return number

    def bill(self, number: str, amount: str, due: str) -> None:
        self.bills.append(f"{number},{due},{amount},,{due}")

    def pay(self, number: str, amount: str, paid: str) -> None:
        self.payments.append(f"{number},{paid},{amount},Cash")

    def books(self) -> Books:
        heads = {
            "customers": ("customer_id,region,a,b,c,is_vulnerable", self.customers),
            "bills": ("customer_id,bill_period_end,bill_amount,u,due_date", self.bills),
            "payments": ("customer_id,payment_date,amount,method", self.payments),
        }
        for name, (head, rows) in heads.items():
            (self.folder / f"{name}.csv").write_text("\n".join([head, *rows]) + "\n")
        return self.read(self.folder)

    def read(self, folder: Path) -> Books:
        paths: dict[Part, Path] = {part: folder / f"{part}.csv" for part in PARTS}
        return read_books(open_files(paths, MAPPINGS), TODAY)

    async def run(self, as_of: str, books: Books | None = None) -> Progress:
        run = Run("water-accounts", date.fromisoformat(as_of), "GBP")
        made = BillingRun(run, self.organisation, self.policy, cases=self.cases, log=self.log)
        return await made.over(books or self.books(), concurrency=8, report=lambda _: None)

    async def post(self) -> Posting:
        found = {n: a.payments for n, a in self.books().accounts.items() if a.payments}
        return await post_payments(
            found,
            "GBP",
            self.organisation,
            datetime.now(UTC),
            cases=self.cases,
            log=self.log,
            concurrency=8,
            report=lambda _: None,
        )

    async def state(self, account: str, number: int = 1) -> ArrearsState:
        return await state_of(self.log, self.organisation, self.case(account, number))

    def case(self, account: str, number: int = 1) -> str:
        return case_of_account(self.organisation, account, number)

    async def send(self, account: str, name: str, at: str | None = None, **fields: object) -> None:
        command: Json = {
            "id": f"by-hand/{name}/{os.urandom(4).hex()}",
            "actor": {"subject": "s-1", "role": "supervisor", "proof": "local"},
            "occurred_at": None if at is None else f"{at}T12:00:00+08:00",
            "body": {"type": name, **fields},
        }
        await self.cases.send(self.case(account), command)

    async def versions(self) -> dict[str, int]:
        arrears = CaseFilter(kind="arrears")  # premises have a stream of their own
        rows = await self.log.list_cases(self.organisation, arrears)
        return {row.case_id: row.version for row in rows}


@pytest.fixture
async def company(
    database: Database, temporal: Client, task_queue: str, tmp_path: Path
) -> AsyncIterator[Company]:
    pool = await open_pool(database.url())
    yield Company(temporal, EventLog(pool), task_queue, tmp_path, in_pounds(tmp_path))
    await pool.close()


def outcomes(done: Progress) -> dict[str, str]:
    assert done.refused == []
    return dict(done.outcomes)


async def test_a_run_opens_one_case_per_account_that_owes_enough_and_the_same_run_changes_nothing(
    company: Company,
) -> None:
    owing, partly = company.customer("C000001"), company.customer("C000002", vulnerable=True)
    below, clear = company.customer("C000003"), company.customer("C000004")
    company.bill(owing, "60.00", ago(50))
    for number in (partly, clear):
        company.bill(number, "80.00", ago(70))
    company.bill(partly, "33.10", ago(40))
    company.bill(below, "49.99", ago(40))
    company.pay(partly, "50.00", ago(65))
    company.pay(partly, "10.05", ago(30))
    company.pay(clear, "80.00", ago(60))
    company.bill(clear, "80.00", ago(20))

    async with company.worker():
        done = await company.run(ago(20))
        assert outcomes(done) == {
            owing: "opened",
            partly: "opened",
            below: "below",
            clear: "clear",
        }
        assert done.recorded == len(done.cases) == 2
        before = await company.versions()
        again = await company.run(ago(20))
    assert (again.changed, again.count("unchanged")) == (False, 2)
    assert await company.versions() == before
    assert len(before) == 2

    state = await company.state(partly)
    assert [(b.bill, b.amount) for b in state.bills] == [
        (f"{partly}/{ago(70)}", 3000),
        (f"{partly}/{ago(40)}", 3310),
    ]
    assert [(p.payment, p.amount) for p in state.payments] == [
        (f"{partly}/{ago(30)}/1005/cash/1", 1005)
    ]
    assert (balance(state), state.currency, state.district) == (5305, "GBP", "north")
    assert [hold.kind for hold in state.holds] == ["vulnerable"]
    assert state.run == f"water-accounts/{ago(20)}"
    assert balance(await company.state(owing)) == 6000


async def test_a_later_run_adds_bills_posts_payments_and_settles_what_was_paid(
    company: Company,
) -> None:
    settles, grows = company.customer("C000001"), company.customer("C000002")
    rises, credit = company.customer("C000003"), company.customer("C000004")
    for number in (settles, grows, credit):
        company.bill(number, "60.00", ago(50))
    company.bill(rises, "30.00", ago(50))
    async with company.worker():
        assert (await company.run(ago(20))).count("opened") == 3
        # Booked late: of a day before the first run, which did not know it.
        company.pay(grows, "5.00", ago(25))
        for number in (settles, grows, rises, credit):
            company.bill(number, "40.00", ago(10))
        company.pay(settles, "70.00", ago(5))
        company.pay(grows, "10.00", ago(4))
        company.pay(credit, "100.00", ago(12))
        company.pay(credit, "30.00", ago(2))
        done = await company.run(ago(0))
        again = await company.run(ago(0))
    assert outcomes(done) == {
        settles: "settled",
        grows: "updated",
        rises: "opened",
        credit: "settled",
    }
    assert (again.changed, again.count("unchanged")) == (False, 4)
    assert (done.differences, again.differences) == ([], [])
    books = company.books()
    for number in (grows, rises):
        owed = overdue(books.accounts[number], TODAY).balance
        assert balance(await company.state(number)) == owed
    assert (await company.state(settles)).stage == "Paid"
    assert balance(await company.state(settles)) == 3000
    assert balance(await company.state(credit)) == -3000


async def test_two_runs_at_once_never_open_two_cases_for_an_account(company: Company) -> None:
    numbers = [company.customer(f"C00000{n}") for n in range(8)]
    for number in numbers:
        company.bill(number, "60.00", ago(50))
    async with company.worker():
        done = await asyncio.gather(*(company.run(ago(20)) for _ in range(3)))
        company.pay(numbers[0], "60.00", ago(3))
        company.pay(numbers[1], "5.00", ago(3))
        later = await asyncio.gather(*(company.run(ago(0)) for _ in range(3)))
    assert sum(run.count("opened") for run in done) == len(numbers)
    assert set(await company.versions()) == {company.case(number) for number in numbers}
    for run in (*done, *later):
        assert run.refused == []
    assert len((await company.state(numbers[1])).payments) == 1


async def test_paid_for_good_the_next_debt_is_a_new_case_and_old_runs_open_none(
    company: Company,
) -> None:
    number = company.customer("C000001")
    company.bill(number, "60.00", "2023-01-10")
    async with company.worker():
        assert outcomes(await company.run("2023-02-01")) == {number: "opened"}
        company.pay(number, "60.00", "2023-02-10")
        assert outcomes(await company.run("2023-03-01")) == {number: "settled"}
        first = await company.state(number)
        assert first.stage == "Closed", "its time for reversals was over long ago"
        # The files still say that it was owed then.
        company.payments.clear()
        assert outcomes(await company.run("2023-02-01")) == {number: "unchanged"}
        company.pay(number, "60.00", "2023-02-10")
        company.bill(number, "75.00", "2023-07-10")
        assert outcomes(await company.run("2023-08-01")) == {number: "opened"}
    second = await company.state(number, 2)
    assert [b.bill for b in second.bills] == [f"{number}/2023-07-10"]
    assert balance(second) == 7500
    assert set(await company.versions()) == {company.case(number), company.case(number, 2)}


async def test_what_an_ended_case_gave_up_or_corrected_is_never_chased_again(
    company: Company,
) -> None:
    mistaken, corrected = company.customer("C000001"), company.customer("C000002")
    for number in (mistaken, corrected):
        company.bill(number, "90.00", ago(60))
    corrects = {
        "bill": f"{corrected}/{ago(60)}",
        "amount": 0,
        "currency": "GBP",
        "reason": "misread",
        "evidence": "form-1",
    }
    async with company.worker():
        await company.run(ago(45))
        await company.send(mistaken, "WithdrawArrears", at=ago(40), reason="wrong-account")
        await company.send(corrected, "CorrectBalance", at=ago(40), **corrects)
        for number in (mistaken, corrected):
            company.bill(number, "49.99", ago(9))
        assert set(outcomes(await company.run(ago(8))).values()) == {"below"}
        for number in (mistaken, corrected):
            company.bill(number, "10.00", ago(3))
        assert set(outcomes(await company.run(ago(0))).values()) == {"opened"}
        done = await company.run(ago(0))
    assert (await company.state(mistaken)).stage == "Withdrawn"
    assert (await company.state(corrected)).stage == "Closed"
    assert (done.changed, done.differences) == (False, [])
    for number in (mistaken, corrected):
        second = await company.state(number, 2)
        assert [(b.bill, b.amount) for b in second.bills] == [
            (f"{number}/{ago(9)}", 4999),
            (f"{number}/{ago(3)}", 1000),
        ]


async def test_a_correction_by_hand_is_no_difference(company: Company) -> None:
    number = company.customer("C000001")
    company.bill(number, "90.00", ago(60))
    async with company.worker():
        await company.run(ago(20))
        await company.send(
            number,
            "CorrectBalance",
            bill=f"{number}/{ago(60)}",
            amount=8000,
            currency="GBP",
            reason="misread",
            evidence="form-1",
        )
        done = await company.run(ago(0))
    assert (outcomes(done), done.differences) == ({number: "unchanged"}, [])


async def test_a_difference_between_files_and_case_is_reported(company: Company) -> None:
    number = company.customer("C000001")
    company.bill(number, "90.00", ago(60))
    async with company.worker():
        await company.run(ago(20))
        # Longer ago than payments are waited for: nobody can know whether it was counted.
        company.pay(number, "5.00", ago(55))
        done = await company.run(ago(0))
    assert outcomes(done) == {number: "unchanged"}
    [difference] = done.differences
    assert difference == (number, company.case(number), 500)
    shown = to_json(Run("water-accounts", TODAY, "GBP"), company.books(), done)
    assert shown["differences"] == [
        {"account": number, "case_id": company.case(number), "amount": 500}
    ]


async def test_who_turns_out_vulnerable_gets_a_hold_by_the_next_run(company: Company) -> None:
    number = company.customer("C000001")
    company.bill(number, "90.00", ago(60))
    async with company.worker():
        await company.run(ago(20))
        assert (await company.state(number)).holds == ()
        company.customers.clear()
        company.customer(number, vulnerable=True)
        assert outcomes(await company.run(ago(0))) == {number: "updated"}
        assert [hold.kind for hold in (await company.state(number)).holds] == ["vulnerable"]
        assert outcomes(await company.run(ago(0))) == {number: "unchanged"}


async def test_an_interrupted_run_goes_on_when_it_is_run_again(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        company.bill(company.customer(f"C00000{n}"), "60.00", ago(50))
    with monkeypatch.context() as patch:
        patch.setattr(importing, "QUIET_SECONDS", 0.5)
        with pytest.raises(NothingRecorded, match="5 cases wait to be recorded"):
            await company.run(ago(20))
    async with company.worker():
        done = await company.run(ago(20))
    assert done.recorded == 5
    assert len(await company.versions()) == 5


async def test_an_account_with_a_bad_row_is_left_alone(company: Company) -> None:
    number = company.customer("C000001")
    company.bill(number, "60.00", ago(50))
    company.pay(number, "lots", ago(5))
    async with company.worker():
        done = await company.run(ago(0))
    assert (done.set_aside, done.outcomes, done.accounts) == (1, {}, 1)
    assert await company.versions() == {}


async def test_payments_are_posted_once_whether_a_file_or_a_run_brings_them(
    company: Company,
) -> None:
    pays, paid, nobody = (company.customer(f"C00000{n}") for n in range(3))
    for number in (pays, paid):
        company.bill(number, "90.00", ago(60))
    company.pay(pays, "10.00", ago(25))
    company.pay(pays, "1.00", ago(58))
    async with company.worker():
        await company.run(ago(20))
        company.pay(pays, "12.00", ago(3))
        company.pay(pays, "12.00", ago(3))
        company.pay(paid, "90.00", ago(2))
        company.pay(nobody, "7.00", ago(2))
        posting = await company.post()
        assert (posting.posted, posting.known, posting.settled) == (3, 2, 1)
        assert posting.without_case == [nobody]
        assert (posting.payments, posting.refused) == (6, [])
        again = await company.post()
        assert (again.posted, again.known, again.without_case) == (0, 5, [nobody])
        assert not (await company.run(ago(0))).changed
    state = await company.state(pays)
    assert balance(state) == 9000 - 100 - 1000 - 2400
    assert (await company.state(paid)).stage == "Paid"


@pytest.mark.skipif(
    not DATA.is_dir(), reason="needs ../shared/data/water-accounts, which is not here"
)
async def test_cases_of_a_real_company_hold_what_their_accounts_owe_after_every_run(
    company: Company,
) -> None:
    folder = company.folder / "real"
    folder.mkdir()
    few = {f"C1000{n:02}" for n in range(0, 45)}
    for part in PARTS:
        head, *rows = (DATA / f"{part}.csv").read_text(encoding="utf-8").splitlines()
        kept = [row for row in rows if row.partition(",")[0] in few]
        (folder / f"{part}.csv").write_text("\n".join([head, *kept]) + "\n", encoding="utf-8")
    books = company.read(folder)
    assert len(books.accounts) > 20
    seen: set[str] = set()
    async with company.worker():
        for as_of in ("2022-08-01", "2022-09-01", "2023-02-01"):
            done = await company.run(as_of, books)
            assert (done.refused, done.differences) == ([], [])
            seen |= set(done.outcomes.values())
            day = date.fromisoformat(as_of)
            for number, account in books.accounts.items():
                owed = overdue(account, day).balance
                latest = await open_case(company, number)
                assert (owed >= 5000) == (latest is not None and latest.settled_at is None)
                if latest is not None and latest.settled_at is None:
                    assert balance(latest) == owed
        again = await company.run("2023-02-01", books)
    assert not again.changed
    assert {"opened", "updated", "settled"} <= seen


async def open_case(company: Company, account: str) -> ArrearsState | None:
    number = 0
    while row := await company.log.case(company.organisation, company.case(account, number + 1)):
        number += 1
        if not row.final:
            return await company.state(account, number)
    return None
