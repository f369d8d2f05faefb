"""A billing system's files, row by row, as accounts with their bills and payments.

Every row is taken in, or becomes a `Reject` with all its reasons. An account of which a row was
rejected is set aside: nobody is chased on half an account.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, get_args

from gateway.accounts import (
    PARTS,
    AccountsMapping,
    Part,
    find_accounts_mapping,
)
from gateway.billing import Account, Bill, Payment
from gateway.filings import code_of
from gateway.mappings import FilingError, date_example
from gateway.tables import read_table
from schemas.policy import CustomerClass

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,39}")
"""An account, a bill, a payment, premises or a reader, as it may stand in a case."""
_AMOUNT = re.compile(r"([-+]?)([0-9]{1,18})(?:\.([0-9]+))?")
_MOST = 10**12


class Reject(NamedTuple):
    """A row, or an account, that cannot be used; no reason repeats what a row says."""

    part: Part | None
    """Which file; None: it is the account's case that refused."""
    line: int | None
    """Where the row begins, counted from 1; the header is line 1."""
    account: str
    """Empty where the row has no number that looks like one."""
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Files:
    """Files that can be read as a whole, and the mapping that fits them."""

    paths: Mapping[Part, Path]
    headers: Mapping[Part, tuple[str, ...]]
    mapping: AccountsMapping


@dataclass(slots=True)
class Books:
    """What the files hold: accounts by number, in the order of the customers."""

    accounts: dict[str, Account] = field(default_factory=dict[str, Account])
    set_aside: set[str] = field(default_factory=set[str])
    """Accounts of which a row was rejected."""
    rejects: list[Reject] = field(default_factory=list[Reject])


def open_files(paths: Mapping[Part, Path], mappings: Sequence[AccountsMapping]) -> Files:
    """Look all files over, whole, and find their mapping.

    Raises `FilingError` with everything that is wrong, before anything is started.
    """
    wrong: list[str] = []
    headers: dict[Part, tuple[str, ...]] = {}
    for part, path in paths.items():
        unreadable: list[str] = []
        for _, fields in read_table(path, unreadable):
            headers.setdefault(part, tuple(name.strip() for name in fields))
        if part not in headers and not unreadable:
            unreadable.append("It is empty: the first line must name the columns.")
        wrong += [f"{path}: {reason}" for reason in unreadable]
    mapping = None
    if not wrong:
        try:
            mapping = find_accounts_mapping(headers, mappings)
        except FilingError as error:
            wrong.append(str(error))
    if mapping is not None:
        wrong += [
            f"{path}: The header names {column!r} twice."
            for part, path in paths.items()
            for column in mapping.columns(part).named()
            if headers[part].count(column) > 1
        ]
    if wrong or mapping is None:
        raise FilingError("\n  ".join(["The files cannot be read:", *wrong]))
    return Files(paths, headers, mapping)


def read_books(files: Files, today: date) -> Books:
    """All three files. Raises `FilingError` if one changes meanwhile."""
    books = Books()
    reader = _Reader(files, today)
    for account in reader.customers(books):
        books.accounts[account.number] = account
    # Whoever's own row is no good is known all the same: the rows below that name him are not.
    known = {*books.accounts, *books.set_aside}
    for number, bill in reader.bills(books, known):
        if number in books.accounts:
            books.accounts[number].bills.append(bill)
    for number, payment in reader.payments(books, known):
        if number in books.accounts:
            books.accounts[number].payments.append(payment)
    books.rejects.sort(key=lambda r: (PARTS.index(r.part or "customers"), r.line or 0))
    return books


def read_payments(files: Files, today: date) -> tuple[dict[str, list[Payment]], list[Reject]]:
    """A file of payments alone, by account. Raises `FilingError` if it changes meanwhile."""
    books = Books()
    found: dict[str, list[Payment]] = {}
    for number, payment in _Reader(files, today).payments(books, None):
        found.setdefault(number, []).append(payment)
    return found, books.rejects


class _Row:
    """A row's fields by column, and what is wrong with them."""

    def __init__(self, line: int, fields: Mapping[str, str]) -> None:
        self.line = line
        self._fields = fields
        self.reasons: list[str] = []

    def text(self, column: str) -> str:
        return self._fields[column]

    def wrong(self, column: str, why: str) -> None:
        self.reasons.append(f"{column}: {why}")

    def name(self, column: str, form: str | None = None) -> str:
        """A number, or a period; empty where it is none."""
        text = self.text(column)
        if not text:
            self.wrong(column, "missing.")
        elif not _NAME.fullmatch(text) or (form is not None and not re.fullmatch(form, text)):
            self.wrong(column, f"must look like {form or _NAME.pattern}.")
        else:
            return text
        return ""

    def amount(self, column: str, decimals: int, *, zero: bool) -> int:
        """Decimal text in the smallest unit, exactly: it never becomes a float."""
        text = self.text(column)
        found = _AMOUNT.fullmatch(text)
        if found is None:
            why = "no amount; write one like 1234.56." if text else "missing."
            self.wrong(column, why)
            return 0
        sign, whole, part = found.groups(default="")
        value = int(whole + part[:decimals].ljust(decimals, "0"))
        if len(part) > decimals:
            self.wrong(column, f"has more than {decimals} decimals.")
        if sign == "-":
            self.wrong(column, "negative; book credits and reversals as such.")
        elif value == 0 and not zero:
            self.wrong(column, "nothing; leave the row out.")
        elif value > _MOST:
            self.wrong(column, "too large for one account.")
        return value

    def day(self, column: str, dates: str, latest: date = date.max) -> date:
        text = self.text(column)
        found = _day(text, dates)
        if found is None:
            why = f"no date; write one like {date_example(dates)}." if text else "missing."
            self.wrong(column, why)
        elif found > latest:
            self.wrong(column, "lies in the future.")
        return found or date.min

    def flag(self, column: str | None, yes: Sequence[str], no: Sequence[str]) -> bool:
        if column is None:
            return False
        if self.text(column) not in (*yes, *no):
            self.wrong(column, f"unknown; known are {', '.join((*yes, *no))}.")
        return self.text(column) in yes


class _Reader:
    def __init__(self, files: Files, today: date) -> None:
        self._files = files
        self._mapping = files.mapping
        self._today = today

    def customers(self, books: Books) -> Iterator[Account]:
        m, columns = self._mapping, self._mapping.customers
        first: dict[str, int] = {}
        for row in self._rows("customers", books):
            number = row.name(columns.account, m.numbers)
            district = code_of(row.text(columns.district))
            if not district:
                row.wrong(columns.district, "missing, or nothing that a-z and 0-9 can write.")
            self._once(row, columns.account, number, first)
            account = Account(
                number=number,
                premises=row.name(columns.premises) if columns.premises else number,
                district=district,
                dn=self._dn(row),
                customer_class=self._class(row),
                reader=row.name(columns.reader) if columns.reader else None,
                vulnerable=row.flag(columns.vulnerable, m.yes, m.no),
                boilers=row.flag(columns.boilers, m.yes, m.no),
                continuous_production=row.flag(columns.continuous_production, m.yes, m.no),
            )
            if self._good("customers", row, number, books):
                yield account

    def bills(self, books: Books, known: set[str]) -> Iterator[tuple[str, Bill]]:
        m, columns = self._mapping, self._mapping.bills
        first: dict[str, int] = {}
        for row in self._rows("bills", books):
            number = self._account(row, columns.account, known)
            bill = row.name(columns.bill)
            amount = row.amount(columns.amount, m.decimals, zero=True)
            due = row.day(columns.due, m.dates)
            named = f"{number}/{bill}" if number and bill else ""
            self._once(row, columns.bill, named, first)
            if self._good("bills", row, number, books) and amount:
                yield number, Bill(named, amount, due)

    def payments(self, books: Books, known: set[str] | None) -> Iterator[tuple[str, Payment]]:
        m, columns = self._mapping, self._mapping.payments
        first: dict[str, int] = {}
        alike: Counter[str] = Counter()
        for row in self._rows("payments", books):
            number = self._account(row, columns.account, known)
            amount = row.amount(columns.amount, m.decimals, zero=False)
            paid = row.day(columns.paid, m.dates, self._today)
            if columns.payment:
                own = row.name(columns.payment)
                named = f"{number}/{own}" if number and own else ""
                self._once(row, columns.payment, named, first)
            else:
                method = code_of(row.text(columns.method)) if columns.method else ""
                what = f"{number}/{paid}/{amount}/{method or 'paid'}"
                alike[what] += 1
                named = f"{what}/{alike[what]}"
            if self._good("payments", row, number, books):
                yield number, Payment(named, amount, paid)

    def _rows(self, part: Part, books: Books) -> Iterator[_Row]:
        header = self._files.headers[part]
        columns = self._mapping.columns(part)
        place = {name: header.index(name) for name in columns.named()}
        wrong: list[str] = []
        table = read_table(self._files.paths[part], wrong)
        next(table, None)
        for line, fields in table:
            texts = {n: fields[i].strip() if i < len(fields) else "" for n, i in place.items()}
            row = _Row(line, texts)
            if len(fields) == len(header):
                yield row
                continue
            named = row.name(columns.account, self._mapping.numbers)
            row.reasons = [
                f"It has {len(fields)} fields, the header {len(header)}; quote commas inside one."
            ]
            self._good(part, row, named, books)
        if wrong:
            path = self._files.paths[part]
            raise FilingError("\n  ".join([f"{path} changed while it was read:", *wrong]))

    def _account(self, row: _Row, column: str, known: set[str] | None) -> str:
        number = row.name(column, self._mapping.numbers)
        if number and known is not None and number not in known:
            row.wrong(column, "the customers' file has no such account.")
        return number

    def _once(self, row: _Row, column: str, name: str, first: dict[str, int]) -> None:
        line = first.setdefault(name, row.line) if name else row.line
        if line != row.line:
            row.wrong(column, f"stands already in line {line}; each may stand once.")

    def _good(self, part: Part, row: _Row, number: str, books: Books) -> bool:
        if not row.reasons:
            return True
        books.rejects.append(Reject(part, row.line, number, tuple(dict.fromkeys(row.reasons))))
        if number and (part == "customers" or number in books.accounts):
            books.set_aside.add(number)
        return False

    def _dn(self, row: _Row) -> int:
        column = self._mapping.customers.dn
        if column is None:
            return self._mapping.dn
        text = row.text(column)
        if not re.fullmatch("[0-9]{1,4}", text) or not 8 <= int(text) <= 2000:
            row.wrong(column, "must be the meter's DN in millimetres, 8 to 2000.")
            return self._mapping.dn
        return int(text)

    def _class(self, row: _Row) -> CustomerClass:
        column = self._mapping.customers.customer_class
        if column is None:
            return self._mapping.customer_class
        for known in get_args(CustomerClass):
            if row.text(column) == known:
                return known
        row.wrong(column, f"unknown; known are {', '.join(get_args(CustomerClass))}.")
        return self._mapping.customer_class


def write_rejects(path: Path, rejects: Iterable[Reject]) -> None:
    """Write them as CSV: file, line, account, reasons."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "line", "account", "reasons"))
        for reject in rejects:
            where = (reject.part or "case", "" if reject.line is None else reject.line)
            writer.writerow((*where, reject.account, " ".join(reject.reasons)))


@lru_cache(maxsize=65_536)
def _day(text: str, dates: str) -> date | None:
    """A date from 1970 to 2199; None where the text is none. Few dates make many rows."""
    try:
        day = datetime.strptime(text, dates).date()  # noqa: DTZ007 - a day, not an instant
    except ValueError:
        return None
    return day if 1970 < day.year < 2200 else None
