"""Billing files become debts: exact money, the oldest bill first, every bad row with reasons."""

import csv
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.accounts import PARTS, Part, load_accounts_mapping, load_accounts_mappings
from gateway.billing import BOOKED_LATE, Account, Bill, Payment, opening, overdue, remainders
from gateway.billing_files import (
    Books,
    Reject,
    open_files,
    read_books,
    read_payments,
    write_rejects,
)
from gateway.billing_runs import terms_of
from gateway.mappings import FilingError, load_mappings
from gateway.policies import load

ROOT = Path(__file__).parents[2]
MAPPINGS = load_accounts_mappings(ROOT / "policies" / "mappings" / "accounts")
DATA = ROOT.parent / "shared" / "data" / "water-accounts"
TODAY = date(2026, 3, 1)
CUSTOMERS = "customer_id,region,income_band,tariff,has_meter,is_vulnerable"
BILLS = "customer_id,bill_period_end,bill_amount,usage_m3,due_date"
PAYMENTS = "customer_id,payment_date,amount,method"

Write = Callable[..., Books]


@pytest.fixture
def read(tmp_path: Path) -> Write:
    def read_them(
        bills: tuple[str, ...] = (),
        payments: tuple[str, ...] = (),
        customers: tuple[str, ...] = ("C000001,North Town,£50k+,Metered,1,0",),
    ) -> Books:
        files = {"customers": (CUSTOMERS, *customers), "bills": (BILLS, *bills)}
        files["payments"] = (PAYMENTS, *payments)
        for name, lines in files.items():
            (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        opened = open_files({part: tmp_path / f"{part}.csv" for part in PARTS}, MAPPINGS)
        return read_books(opened, TODAY)

    return read_them


def reasons(books: Books) -> tuple[str, ...]:
    [reject] = books.rejects
    return reject.reasons


# Rows that make sense


def test_a_customer_s_bills_and_payments_are_named_and_reckoned_in_pence(read: Write) -> None:
    books = read(
        bills=("C000001,2022-01-31,43.3,13.26,2022-02-14", "C000001,2022-02-28,32,8.95,2022-03-14"),
        payments=(
            "C000001,2022-02-14,42.72,Bank Transfer",
            "C000001,2022-02-14,42.72,Bank Transfer",
            "C000001,2022-02-15,0.07,",
        ),
        customers=("C000001,London - South,£50k+,Metered,1,1",),
    )
    assert books.rejects == []
    account = books.accounts["C000001"]
    assert account == Account(
        number="C000001",
        premises="C000001",
        district="london-south",
        dn=15,
        customer_class="household",
        vulnerable=True,
        bills=[
            Bill("C000001/2022-01-31", 4330, date(2022, 2, 14)),
            Bill("C000001/2022-02-28", 3200, date(2022, 3, 14)),
        ],
        payments=[
            Payment("C000001/2022-02-14/4272/bank-transfer/1", 4272, date(2022, 2, 14)),
            Payment("C000001/2022-02-14/4272/bank-transfer/2", 4272, date(2022, 2, 14)),
            Payment("C000001/2022-02-15/7/paid/1", 7, date(2022, 2, 15)),
        ],
    )


def test_a_mapping_may_name_columns_for_all_that_a_stop_depends_on(tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        'source = "town"\ntitle = "A town"\ncurrency = "CNY"\ndates = "%d.%m.%Y"\ndn = 15\n'
        'customer_class = "household"\nyes = ["y"]\nno = ["n", ""]\n'
        '[customers]\naccount = "a"\ndistrict = "d"\npremises = "p"\nreader = "r"\ndn = "dn"\n'
        'customer_class = "c"\nboilers = "b"\ncontinuous_production = "cp"\n'
        '[bills]\naccount = "a"\nbill = "b"\namount = "m"\ndue = "t"\n'
        '[payments]\naccount = "a"\npaid = "t"\namount = "m"\npayment = "p"\n'
    )
    (tmp_path / "customers.csv").write_text(
        "a,d,p,r,dn,c,b,cp\n1,East,h-7,s-1,50,industrial,y,n\n2,East,h-8,s-1,7,royal,maybe,\n"
    )
    (tmp_path / "bills.csv").write_text("a,b,m,t\n1,no-1,5,01.02.2026\n")
    (tmp_path / "payments.csv").write_text("a,t,m,p\n1,01.02.2026,5,x1\n1,02.02.2026,5,x1\n")
    files = open_files(
        {part: tmp_path / f"{part}.csv" for part in PARTS}, [load_accounts_mapping(mapping)]
    )
    books = read_books(files, TODAY)
    [account] = books.accounts.values()
    assert (account.premises, account.reader, account.dn) == ("h-7", "s-1", 50)
    assert (account.customer_class, account.boilers) == ("industrial", True)
    assert account.continuous_production is False
    assert account.bills == [Bill("1/no-1", 500, date(2026, 2, 1))]
    assert account.payments == [Payment("1/x1", 500, date(2026, 2, 1))]
    assert [(r.part, r.line, len(r.reasons)) for r in books.rejects] == [
        ("customers", 3, 3),
        ("payments", 3, 1),
    ]


# Rows that do not


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("C000001,2022-01-31,43.333,,2022-02-14", ("bill_amount: has more than 2 decimals.",)),
        (
            "C000001,2022-01-31,-4.00,,2022-02-14",
            ("bill_amount: negative; book credits and reversals as such.",),
        ),
        (
            "C000001,2022-01-31,1e3,,2022-02-14",
            ("bill_amount: no amount; write one like 1234.56.",),
        ),
        (
            "C000001,2022-01-31,٤٣,,2022-02-14",
            ("bill_amount: no amount; write one like 1234.56.",),
        ),
        (
            "C000001,2022-01-31,99999999999999.99,,2022-02-14",
            ("bill_amount: too large for one account.",),
        ),
        (
            "C000009,2022-01-31,,,2022-02-30",
            (
                "customer_id: the customers' file has no such account.",
                "bill_amount: missing.",
                "due_date: no date; write one like 2016-06-09.",
            ),
        ),
        (
            "Mr Secret,?,nan,,",
            (
                "customer_id: must look like C[0-9]{6}.",
                "bill_period_end: must look like [A-Za-z0-9][A-Za-z0-9:._-]{0,39}.",
                "bill_amount: no amount; write one like 1234.56.",
                "due_date: missing.",
            ),
        ),
        (
            "C000001,2022-01-31,1,234.00,,2022-02-14",
            ("It has 6 fields, the header 5; quote commas inside one.",),
        ),
    ],
)
def test_a_bill_that_cannot_be_used_is_rejected_with_every_reason(
    read: Write, row: str, expected: tuple[str, ...]
) -> None:
    books = read(bills=(row,))
    assert reasons(books) == expected
    assert (books.rejects[0].part, books.rejects[0].line) == ("bills", 2)
    assert not any("Secret" in reason for reason in reasons(books))


def test_a_payment_must_be_above_nothing_and_not_lie_in_the_future(read: Write) -> None:
    books = read(payments=("C000001,2026-03-02,0.00,Cash",))
    assert reasons(books) == (
        "amount: nothing; leave the row out.",
        "payment_date: lies in the future.",
    )


def test_the_same_bill_or_account_twice_is_rejected_with_the_line_of_the_first(
    read: Write,
) -> None:
    bill = "C000001,2022-01-31,43.33,,2022-02-14"
    assert reasons(read(bills=(bill, bill))) == (
        "bill_period_end: stands already in line 2; each may stand once.",
    )
    customer = "C000001,North Town,,,1,0"
    assert reasons(read(customers=(customer, customer))) == (
        "customer_id: stands already in line 2; each may stand once.",
    )


def test_an_account_with_a_bad_row_is_set_aside_and_others_are_not(read: Write) -> None:
    two = ("C000001,North Town,,,1,0", "C000002,North Town,,,1,0")
    bad_bill = read(bills=("C000001,2022-01-31,x,,2022-02-14",), customers=two)
    bad_payment = read(payments=("C000001,yesterday,1.00,Cash",), customers=two)
    bad_customer = read(
        bills=("C000001,2022-01-31,5.00,,2022-02-14",),
        customers=("C000001,North Town,,,1,perhaps", two[1]),
    )
    for books in (bad_bill, bad_payment, bad_customer):
        assert books.set_aside == {"C000001"}
        assert len(books.rejects) == 1, "the rows below a bad customer are not at fault"


def test_rejects_are_written_with_file_line_account_and_reasons(tmp_path: Path) -> None:
    write_rejects(
        tmp_path / "r.csv",
        [Reject("bills", 7, "C000001", ("a.", "b.")), Reject(None, None, "C000002", ("c.",))],
    )
    assert (tmp_path / "r.csv").read_text().splitlines() == [
        "file,line,account,reasons",
        "bills,7,C000001,a. b.",
        "case,,C000002,c.",
    ]


def test_files_that_fit_no_mapping_or_are_none_are_refused_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "customers.csv").write_text("customer_id,is_vulnerable\n")
    (tmp_path / "bills.csv").write_text(f"{BILLS}\n")
    (tmp_path / "payments.csv").write_text(f"{PAYMENTS}\n")
    paths: dict[Part, Path] = {part: tmp_path / f"{part}.csv" for part in PARTS}
    with pytest.raises(FilingError, match="the customers lack column region"):
        open_files(paths, MAPPINGS)
    (tmp_path / "bills.csv").write_bytes(b"")
    (tmp_path / "payments.csv").write_bytes(b"customer_id,\xff\n")
    with pytest.raises(FilingError) as error:
        open_files(paths, MAPPINGS)
    assert "bills.csv: It is empty" in str(error.value)
    assert "payments.csv: Not UTF-8 text in line 1" in str(error.value)


def test_the_files_of_accounts_do_not_disturb_the_mappings_of_repairs() -> None:
    assert [m.source for m in load_mappings(ROOT / "policies" / "mappings")] == ["boston-gas-2016"]
    assert [m.source for m in MAPPINGS] == ["water-accounts"]


def test_a_policy_in_another_currency_is_refused() -> None:
    water = load("water", ROOT / "policies")
    assert terms_of(water, "CNY").currency == "CNY"
    with pytest.raises(FilingError, match=r"in GBP, policy water reckons in CNY"):
        terms_of(water, "GBP")


# Debts


def account(bills: list[Bill], payments: list[Payment]) -> Account:
    return Account("C1", "C1", "north", 15, "household", bills=bills, payments=payments)


DAY = date(2022, 1, 1)
days = st.integers(0, 120).map(lambda n: DAY + timedelta(days=n))
amounts = st.integers(1, 5000)


@st.composite
def accounts(draw: st.DrawFn) -> Account:
    bills = draw(st.lists(st.tuples(amounts, days), max_size=8))
    payments = draw(st.lists(st.tuples(amounts, days), max_size=8))
    return account(
        [Bill(f"b{n}", amount, due) for n, (amount, due) in enumerate(bills)],
        [Payment(f"p{n}", amount, paid) for n, (amount, paid) in enumerate(payments)],
    )


@settings(max_examples=80)
@given(accounts(), days, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(found: Account, as_of: date, chance: object) -> None:
    before = (overdue(found, as_of), opening(found, as_of))
    chance.shuffle(found.bills)  # type: ignore[attr-defined]
    chance.shuffle(found.payments)  # type: ignore[attr-defined]
    assert (overdue(found, as_of), opening(found, as_of)) == before


@settings(max_examples=80)
@given(accounts(), days, st.data())
def test_a_payment_in_two_parts_comes_to_the_same(
    found: Account, as_of: date, data: st.DataObject
) -> None:
    before = overdue(found, as_of)
    parts: list[Payment] = []
    for p in found.payments:
        first = data.draw(st.integers(0, p.amount))
        parts += [p._replace(amount=first), p._replace(amount=p.amount - first)]
    assert overdue(account(found.bills, parts), as_of) == before


@settings(max_examples=80)
@given(accounts(), days)
def test_what_is_overdue_is_bills_less_payments_and_never_below_nothing(
    found: Account, as_of: date
) -> None:
    due = sum(b.amount for b in found.bills if b.due < as_of)
    paid = sum(p.amount for p in found.payments if p.paid <= as_of)
    debt = overdue(found, as_of)
    assert debt.balance == max(due - paid, 0)
    assert all(b.due < as_of and b.amount > 0 for b in debt.bills)
    whole = {b.bill: b.amount for b in found.bills}
    # Oldest first: only the first of them may be paid in part.
    assert all(b.amount == whole[b.bill] for b in debt.bills[1:])
    assert list(debt.bills) == sorted(debt.bills, key=lambda b: (b.due, b.bill))


@settings(max_examples=80)
@given(accounts(), days, st.integers(0, 3000))
def test_an_opening_comes_to_the_debt_and_names_each_payment_of_the_last_days(
    found: Account, as_of: date, forgiven: int
) -> None:
    debt = overdue(found, as_of, forgiven)
    begins = opening(found, as_of, forgiven)
    if debt.balance:
        billed = sum(b.amount for b in begins.bills)
        assert billed - sum(p.amount for p in begins.payments) == debt.balance
    assert set(begins.payments) == {
        p for p in found.payments if as_of - BOOKED_LATE < p.paid <= as_of
    }


def test_money_beyond_a_bill_goes_to_the_next_one() -> None:
    bills = [Bill("b2", 300, DAY + timedelta(days=1)), Bill("b1", 500, DAY)]
    assert remainders(bills, 600) == [Bill("b2", 200, DAY + timedelta(days=1))]
    assert remainders(bills, 800) == []
    assert remainders(bills, 0) == [bills[1], bills[0]]


def test_a_bill_is_overdue_only_when_its_day_is_over_and_that_day_s_payments_count() -> None:
    found = account([Bill("b", 500, DAY)], [Payment("p", 200, DAY + timedelta(days=1))])
    assert overdue(found, DAY).balance == 0
    assert overdue(found, DAY + timedelta(days=1)).balance == 300


# A real company's files


@pytest.mark.skipif(
    not DATA.is_dir(), reason="needs ../shared/data/water-accounts, which is not here"
)
@pytest.mark.parametrize("as_of", ["2022-07-01", "2023-12-31", "2026-01-10"])
def test_overdue_accounts_and_balances_of_a_real_company_are_as_reckoned_by_hand(
    as_of: str,
) -> None:
    files = open_files({part: DATA / f"{part}.csv" for part in PARTS}, MAPPINGS)
    books = read_books(files, TODAY)
    assert (books.rejects, books.set_aside) == ([], set())
    day = date.fromisoformat(as_of)
    ours = {
        number: (debt.balance, {b.bill.split("/")[1]: b.amount for b in debt.bills})
        for number, found in books.accounts.items()
        if (debt := overdue(found, day)).bills
    }
    assert ours == by_hand(as_of)
    assert len(ours) > 500


def by_hand(as_of: str) -> dict[str, tuple[int, dict[str, int]]]:
    """The same from the files with csv and Decimal alone, a penny jar per customer."""
    jar: dict[str, Decimal] = {}
    with (DATA / "payments.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["payment_date"] <= as_of:
                who = row["customer_id"]
                jar[who] = jar.get(who, Decimal(0)) + Decimal(row["amount"])
    owed: dict[str, dict[str, int]] = {}
    with (DATA / "bills.csv").open(newline="", encoding="utf-8") as file:
        for row in sorted(csv.DictReader(file), key=lambda r: r["due_date"]):
            if row["due_date"] >= as_of:
                continue
            who, amount = row["customer_id"], Decimal(row["bill_amount"])
            from_jar = min(amount, jar.get(who, Decimal(0)))
            jar[who] = jar.get(who, Decimal(0)) - from_jar
            if amount > from_jar:
                pence = (amount - from_jar) * 100
                assert pence == int(pence)
                owed.setdefault(who, {})[row["bill_period_end"]] = int(pence)
    return {who: (sum(bills.values()), bills) for who, bills in owed.items()}


def test_a_payments_file_alone_gives_the_payments_the_same_names(
    read: Write, tmp_path: Path
) -> None:
    books = read(payments=("C000001,2022-02-14,42.72,Cash", "C000001,2022-02-14,42.72,Cash"))
    alone = open_files({"payments": tmp_path / "payments.csv"}, MAPPINGS)
    found, rejects = read_payments(alone, TODAY)
    assert (found, rejects) == ({"C000001": books.accounts["C000001"].payments}, [])
