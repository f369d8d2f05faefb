"""How a billing system's three files (customers, bills, payments) are laid out: a TOML file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field

from gateway.mappings import DateForm, FilingError, NumberForm, read_mapping
from schemas.arrears import Currency, Diameter
from schemas.base import Code, Value
from schemas.policy import CustomerClass

Part = Literal["customers", "bills", "payments"]
"""One of the three files."""
PARTS: tuple[Part, ...] = get_args(Part)


class Columns(Value):
    """The columns of one file that say something to us; others are not looked at."""

    account: str
    """The customer's account number."""

    def named(self) -> tuple[str, ...]:
        """All columns that the file must have."""
        return tuple(dict.fromkeys(name for name in self.model_dump().values() if name))


class CustomerColumns(Columns):
    """An account. Names and addresses stay where they are: no case needs them."""

    district: str
    vulnerable: str | None = None
    premises: str | None = None
    """None: the account stands for its premises."""
    reader: str | None = None
    """Whose round it is on (WAT-P1)."""
    dn: str | None = None
    customer_class: str | None = None
    boilers: str | None = None
    continuous_production: str | None = None


class BillColumns(Columns):
    """A bill and the last day to pay it."""

    bill: str
    """What tells an account's bills apart: a number, or the period."""
    amount: str
    due: str


class PaymentColumns(Columns):
    """Money that came in."""

    paid: str
    amount: str
    method: str | None = None
    payment: str | None = None
    """Its number; None: account, date, amount, method and how-manieth make one."""


class AccountsMapping(Value):
    """What a billing system writes, and what it means here."""

    source: Code
    title: str
    currency: Currency
    """Nothing is ever converted: the policy must reckon in the same."""
    decimals: Annotated[int, Field(ge=0, le=3)] = 2
    """So many digits of an amount follow the point: that makes the smallest unit."""
    dates: DateForm
    """As in `strptime`. A date begins at midnight by the clock of the policy's calendar."""
    numbers: NumberForm = r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}"
    """What account numbers look like."""
    yes: tuple[str, ...] = ("1",)
    no: tuple[str, ...] = ("0",)
    """What stands in columns that say whether something is so."""
    dn: Diameter
    """Where no column says another."""
    customer_class: CustomerClass
    """Where no column says another."""
    customers: CustomerColumns
    bills: BillColumns
    payments: PaymentColumns

    def columns(self, part: Part) -> Columns:
        """The columns of one of the files."""
        return {"customers": self.customers, "bills": self.bills, "payments": self.payments}[part]


def load_accounts_mapping(file: Path) -> AccountsMapping:
    """The mapping that a TOML file holds. Raises `FilingError`."""
    return read_mapping(file, AccountsMapping)


def load_accounts_mappings(folder: Path) -> list[AccountsMapping]:
    """Every such mapping in a folder, in the order of the files' names. Raises `FilingError`."""
    return [load_accounts_mapping(file) for file in sorted(folder.glob("*.toml"))]


def find_accounts_mapping(
    headers: Mapping[Part, Sequence[str]], mappings: Sequence[AccountsMapping]
) -> AccountsMapping:
    """The mapping whose columns the files' headers have. Raises `FilingError`."""
    if not mappings:
        raise FilingError("There is no mapping for such files: give one with --mapping.")
    lacking = [(mapping, _lacking(headers, mapping)) for mapping in mappings]
    fitting = [mapping for mapping, wrong in lacking if not wrong]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(mapping.source for mapping in fitting)
        raise FilingError(f"The headers fit several mappings: {names}. Give one with --mapping.")
    # The headers themselves are not repeated: where one is missing, the first line is a customer's.
    closest = sorted(lacking, key=lambda pair: len(pair[1]))[:3]
    raise FilingError(
        "\n  ".join(f"To be {mapping.source}, {', '.join(wrong)}." for mapping, wrong in closest)
    )


def _lacking(headers: Mapping[Part, Sequence[str]], mapping: AccountsMapping) -> list[str]:
    return [
        f"the {part} lack column {column}"
        for part, header in headers.items()
        for column in mapping.columns(part).named()
        if column not in header
    ]
