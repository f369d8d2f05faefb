"""Arrears rehearsed: every number worked out by hand here, and no stop while a guard is false.

By hand under the shipped water policy in pounds: working days are Monday to Friday in Shanghai, a
valve may be closed from 9:00 to 15:00 from Monday to Thursday, never from December to February; two
reminders, seven days of notice, 50 pounds; supply is back within 24 hours.
"""

import csv
import json
import multiprocessing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from cli import app
from gateway import rehearse_arrears, rehearse_pool
from gateway.accounts import PARTS, load_accounts_mappings
from gateway.billing import Account, Bill, Payment
from gateway.billing_files import Books, open_files, read_books
from gateway.policies import load
from gateway.rehearse_arrears import rehearse
from gateway.rehearse_company import Happened, Life, Refused
from gateway.rehearse_diary import Diary, Runs, Years
from gateway.rehearse_tally import Outcome, Rehearsal
from lifecycles.policies import Pinned, pinned
from schemas.arrears import (
    ArrearsOpened,
    BecameEligible,
    ContactRecorded,
    CutoffAuthorised,
    HoldPlaced,
    NoticeServed,
    NoticeVoided,
    PermitIssued,
    SupplyRestored,
    ValveClosed,
)
from schemas.base import Event

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "water-accounts"
SHANGHAI = ZoneInfo("Asia/Shanghai")
HOUR, DAY = 3600, 86_400

real = pytest.mark.skipif(
    not DATA.is_dir(), reason="needs ../shared/data/water-accounts, which is not here"
)


@cache
def pounds(**changed: Any) -> Pinned:
    """The water policy in pounds, with other terms for arrears where asked."""
    policy = load("water", ROOT / "policies").policy
    content = policy.model_dump(mode="json")
    content["arrears"] |= {"currency": "GBP"} | changed
    return pinned(type(policy).model_validate(content).model_dump_json())


def day(text: str) -> date:
    return date.fromisoformat(text)


def account(
    *money: tuple[str, str, int], number: str = "C000001", vulnerable: bool = False, dn: int = 15
) -> Account:
    """Bills and payments as ("bill", last day to pay, pence) and ("paid", day, pence)."""
    made = Account(number, number, "north", dn, "household", vulnerable=vulnerable)
    for n, (what, on, pence) in enumerate(money):
        if what == "bill":
            made.bills.append(Bill(f"{number}/b{n}", pence, day(on)))
        else:
            made.payments.append(Payment(f"{number}/p{n}", pence, day(on)))
    return made


def years(since: str, until: str, runs: Runs = "monthly") -> Years:
    return Years("town", "files", "GBP", day(since), day(until), runs)


def rehearsed(
    *accounts: Account,
    until: str = "2022-06-30",
    since: str = "2022-03-01",
    policy: Pinned | None = None,
    against: Pinned | None = None,
    runs: Runs = "monthly",
) -> Rehearsal:
    books = Books(accounts={a.number: a for a in accounts})
    return rehearse(books, years(since, until, runs), policy or pounds(), against=against)


def story(found: Account, over: Years, policy: Pinned) -> list[Happened]:
    return list(Life(found, over, policy, Diary(policy, over)).story())


def at(text: str) -> datetime:
    """A local time in Shanghai."""
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI).astimezone(UTC)


# By hand

STOPPED = account(("bill", "2022-03-14", 9000), ("paid", "2022-05-02", 9000))
"""The run of Friday, 1 April finds it."""


def test_a_case_is_lived_through_at_the_times_that_are_assumed() -> None:
    happened = story(STOPPED, years("2022-03-01", "2022-06-30"), pounds())
    kinds = (ArrearsOpened, ContactRecorded, NoticeServed, BecameEligible, CutoffAuthorised)
    told = [
        (type(h.what), h.what.at)
        for h in happened
        if isinstance(h.what, (*kinds, PermitIssued, ValveClosed, SupplyRestored))
    ]
    assert told == [
        (ArrearsOpened, at("2022-04-01T00:00")),
        (ContactRecorded, at("2022-04-01T10:00")),
        (ContactRecorded, at("2022-04-04T10:00")),  # over the weekend
        (NoticeServed, at("2022-04-05T10:00")),
        (BecameEligible, at("2022-04-12T10:00")),  # seven days
        (CutoffAuthorised, at("2022-04-12T10:00")),
        (PermitIssued, at("2022-04-13T09:00")),  # a Wednesday
        (ValveClosed, at("2022-04-13T09:00")),
        (SupplyRestored, at("2022-05-03T00:00")),  # 24 hours after the payment
    ]


def test_a_stop_counts_by_month_with_the_days_without_water_of_each() -> None:
    found = rehearsed(STOPPED).to_json()
    nothing = {
        "opened": 0,
        "reminders": 0,
        "notices": 0,
        "holds": {},
        "permits_refused": 0,
        "refused_by_guard": {},
        "stops": 0,
        "avoided": {"payment": 0, "hold": 0},
        "restored": 0,
        "without_water_seconds": 0,
    }
    april = 17 * DAY + 15 * HOUR  # from 9:00 on the 13th
    may = 2 * DAY
    chased = {"opened": 1, "reminders": 2, "notices": 1, "stops": 1}
    assert found == {
        "accounts": 1,
        "rejected": 0,
        "months": {
            "2022-04": nothing | chased | {"without_water_seconds": april},
            "2022-05": nothing | {"restored": 1, "without_water_seconds": may},
        },
        "total": nothing | chased | {"restored": 1, "without_water_seconds": april + may},
        "customers_chased": 1,
        "customers_stopped": 1,
        "longest_without_water_seconds": april + may,
        "without_water_at_end": 0,
        "notices_pending": 0,
    }


def test_a_notice_that_is_followed_by_payment_is_a_stop_avoided_in_the_month_of_it() -> None:
    # 30 pounds are left: less than the threshold.
    paid = account(("bill", "2022-03-14", 9000), ("paid", "2022-04-10", 6000))
    total = rehearsed(paid).months["2022-04"]
    assert (total.notices, total.made, dict(total.avoided)) == (1, 0, {"payment": 1})
    assert total.without_water == 0


def test_what_is_paid_before_any_notice_avoids_no_stop() -> None:
    paid = account(("bill", "2022-03-14", 9000), ("paid", "2022-04-05", 9000))
    total = rehearsed(paid).total
    assert (total.opened, total.reminders, total.notices) == (1, 2, 0)
    assert total.avoided.total() == 0


def test_the_vulnerable_are_noticed_and_their_permit_is_refused_once() -> None:
    found = rehearsed(account(("bill", "2022-03-14", 9000), vulnerable=True))
    april = found.months["2022-04"]
    assert (april.holds, april.notices, april.refused) == ({"vulnerable": 1}, 1, 1)
    assert (april.guards, april.made, april.avoided) == ({"vulnerable": 1}, 0, {"hold": 1})
    assert set(found.months) == {"2022-04"}
    assert (found.stopped, found.pending) == (0, 0)


def test_refused_before_a_weekend_the_crew_comes_again_on_monday() -> None:
    # The run of Tuesday, 1 November: notice on Thursday the 3rd; the crew is there on Friday 11th.
    found = account(("bill", "2022-10-14", 9000))
    happened = story(found, years("2022-10-01", "2022-11-30"), pounds())
    asked = [h.what for h in happened if isinstance(h.what, Refused | ValveClosed)]
    assert asked[0] == Refused(at("2022-11-11T09:00"), ("working-days",))
    assert [what.at for what in asked[1:]] == [at("2022-11-14T09:00")]


def test_refused_in_the_protected_season_the_crew_comes_again_when_it_is_over() -> None:
    # The run of Thursday, 1 December: reminders then and on Friday, notice on Monday the 5th.
    found = account(("bill", "2022-11-14", 9000))
    over = years("2022-11-01", "2023-03-31")
    happened = story(found, over, pounds())
    asked = [h.what for h in happened if isinstance(h.what, Refused | ValveClosed)]
    assert asked[0] == Refused(at("2022-12-13T09:00"), ("season",))
    assert [what.at for what in asked[1:]] == [at("2023-03-01T09:00")]
    result = rehearsed(found, since="2022-11-01", until="2023-03-31")
    assert result.off == 1
    assert result.total.without_water == 30 * DAY + 15 * HOUR  # to the end of March
    assert result.months["2022-12"].refused == 1


def test_what_the_rehearsal_does_not_live_to_see_is_pending() -> None:
    found = rehearsed(STOPPED, until="2022-04-12")
    assert (found.pending, found.total.made, found.total.avoided.total()) == (1, 0, 0)


def test_a_large_meter_waits_a_working_day_for_the_division_head() -> None:
    large = account(("bill", "2022-03-14", 9000), dn=50)
    happened = story(large, years("2022-03-01", "2022-04-30"), pounds())
    [given_] = [h.what for h in happened if isinstance(h.what, CutoffAuthorised)]
    assert (given_.at, given_.approval) == (at("2022-04-13T10:00"), "cutoff-1")
    [closed] = [h.what.at for h in happened if isinstance(h.what, ValveClosed)]
    assert closed == at("2022-04-14T09:00")


def test_a_new_bill_after_payment_goes_on_in_the_same_case_with_its_own_notice() -> None:
    # Paid on 10 April and open for 30 days more: the run of Sunday, 1 May adds the second bill.
    twice = account(
        ("bill", "2022-03-14", 9000), ("paid", "2022-04-10", 9000), ("bill", "2022-04-14", 9000)
    )
    found = rehearsed(twice, until="2022-05-31")
    assert (found.total.opened, found.total.reminders, found.total.notices) == (1, 2, 2)
    happened = story(twice, years("2022-03-01", "2022-05-31"), pounds())
    served = [h.what.at for h in happened if isinstance(h.what, NoticeServed)]
    assert served[1] == at("2022-05-03T10:00")
    # The notice's period is over on Tuesday the 10th; the crew comes on Wednesday.
    assert found.total.made == 1
    [closed] = [h.what.at for h in happened if isinstance(h.what, ValveClosed)]
    assert closed == at("2022-05-11T09:00")


def test_a_debt_after_the_case_has_closed_is_another_case() -> None:
    twice = account(
        ("bill", "2022-03-14", 9000), ("paid", "2022-04-10", 9000), ("bill", "2022-05-14", 9000)
    )
    happened = story(twice, years("2022-03-01", "2022-06-30"), pounds())
    opened = [(h.case_id[-2:], h.what.at) for h in happened if isinstance(h.what, ArrearsOpened)]
    assert opened == [("-1", at("2022-04-01T00:00")), ("-2", at("2022-06-01T00:00"))]


def test_weekly_runs_find_it_on_the_first_monday_after_its_day() -> None:
    found = rehearsed(STOPPED, runs="weekly", until="2022-03-31")
    assert found.total.opened == 1
    [opened, *_] = story(STOPPED, years("2022-03-01", "2022-03-31", "weekly"), pounds())
    # Due on Monday the 14th: it is late from the 15th on.
    assert opened.what.at == at("2022-03-21T00:00")


def test_less_than_the_threshold_is_nobody_s_case() -> None:
    assert rehearsed(account(("bill", "2022-03-14", 4999))).total.opened == 0
    assert rehearsed(account(("bill", "2022-03-14", 5000))).total.opened == 1


# Against another policy


def test_a_longer_notice_makes_the_difference_that_is_listed() -> None:
    lenient = pounds(notice_period="P21D")
    held = account(("bill", "2022-03-14", 9000), vulnerable=True, number="C000002")
    found = rehearsed(STOPPED, held, against=lenient)
    # 21 days after 5 April is Tuesday the 26th; the crew comes on Wednesday.
    a, b = 19 * DAY + 15 * HOUR, 5 * DAY + 15 * HOUR
    assert [d.to_json() for d in found.differences] == [
        {
            "account": "C000001",
            "a": Outcome(1, 1, (day("2022-04-13"),), 0, 0, a).to_json(),
            "b": Outcome(1, 1, (day("2022-04-27"),), 0, 0, b).to_json(),
        }
    ]
    assert found.against is not None
    assert found.against.to_json()["longest_without_water_seconds"] == b


def test_a_policy_against_itself_makes_no_difference() -> None:
    found = rehearsed(STOPPED, against=pounds())
    assert found.differences == []
    assert found.against is not None
    assert found.against.to_json() == {
        key: value
        for key, value in found.to_json().items()
        if key not in ("against", "differences")
    }


def test_an_account_whose_case_refuses_is_listed_with_the_reasons_and_not_counted() -> None:
    twice = account(("bill", "2022-03-14", 9000), number="C000002")
    twice.bills.append(twice.bills[0])
    found = rehearsed(STOPPED, twice)
    [reject] = found.rejects
    assert (reject.part, reject.account) == (None, "C000002")
    assert reject.reasons == ("A bill stands twice; name each once.",)
    assert (found.accounts, found.total.opened) == (1, 1)


def test_accounts_that_were_set_aside_are_not_rehearsed() -> None:
    books = Books(accounts={STOPPED.number: STOPPED}, set_aside={STOPPED.number})
    found = rehearse(books, years("2022-03-01", "2022-06-30"), pounds())
    assert (found.accounts, found.total.opened) == (0, 0)


# Whatever the files hold

FIRST = day("2022-01-01")
amounts = st.integers(100, 12_000)
dates = st.integers(0, 330).map(lambda n: (FIRST + timedelta(days=n)).isoformat())
entries = st.tuples(st.sampled_from(("bill", "paid")), dates, amounts)


@st.composite
def accounts(draw: st.DrawFn) -> Account:
    money = draw(st.lists(entries, max_size=12))
    return account(*money, vulnerable=draw(st.booleans()), dn=draw(st.sampled_from((15, 50))))


policies = st.builds(
    pounds,
    notice_period=st.sampled_from(("P1D", "P7D", "P30D")),
    reminders=st.integers(1, 3),
    threshold=st.sampled_from((0, 5000, 9000)),
)
periods = st.sampled_from(("monthly", "weekly")).map(
    lambda runs: years("2022-01-01", "2022-12-31", runs)
)


@settings(max_examples=60, deadline=None)
@given(accounts(), policies, periods)
def test_no_valve_is_closed_unless_every_condition_holds_by_the_files_and_the_events(
    found: Account, policy: Pinned, over: Years
) -> None:
    rules = policy.policy.arrears
    assert rules is not None
    reminded: set[date] = set()
    notice: NoticeServed | None = None
    authorised: CutoffAuthorised | None = None
    held = False
    for _, what in story(found, over, policy):
        local = what.at.astimezone(SHANGHAI)
        match what:
            case ArrearsOpened():
                reminded, notice, authorised, held = set(), None, None, False
            case ContactRecorded():
                reminded.add(local.date())
            case NoticeServed():
                assert len(reminded) >= rules.reminders
                notice = what
            case NoticeVoided():
                notice = authorised = None
            case CutoffAuthorised():
                authorised = what
            case HoldPlaced():
                held = True
            case ValveClosed():
                assert notice is not None
                assert what.at >= notice.at + rules.notice_period
                assert authorised is not None
                assert authorised.at >= notice.at + rules.notice_period
                assert (authorised.approval is not None) == (found.dn >= 40)
                assert not held
                assert not found.vulnerable
                assert 9 <= local.hour < 15
                assert local.weekday() < 4
                assert 3 <= local.month <= 11
                runs = [d for d in _days(over) if d <= local.date() and over.is_run(d)]
                billed = sum(b.amount for b in found.bills if b.due < runs[-1])
                paid = sum(p.amount for p in found.payments if p.paid <= local.date())
                assert billed - paid >= max(rules.threshold, 1)
            case _:
                pass


def _days(over: Years) -> list[date]:
    return [over.since + timedelta(days=n) for n in range((over.until - over.since).days + 1)]


@settings(max_examples=40, deadline=None)
@given(st.lists(accounts(), max_size=4), periods, policies)
def test_every_notice_has_one_outcome_and_only_stopped_customers_are_without_water(
    several: list[Account], over: Years, policy: Pinned
) -> None:
    for n, one in enumerate(several):
        one.number = one.premises = f"C00000{n}"
    found = rehearse(Books(accounts={a.number: a for a in several}), over, policy)
    total = found.total
    assert total.notices == total.made + total.avoided.total() + found.pending
    assert total.made == total.restored + found.off
    assert total.without_water <= total.made * 366 * DAY
    each = [rehearse(Books(accounts={a.number: a}), over, policy) for a in several]
    assert found.stopped == sum(one.total.made > 0 for one in each)
    assert all((one.total.made > 0) == (one.total.without_water > 0) for one in each)
    assert sum(one.total.without_water for one in each) == total.without_water
    assert max((one.total.without_water for one in each), default=0) == found.longest


@settings(max_examples=40, deadline=None)
@given(accounts(), periods)
def test_a_longer_notice_never_stops_anybody_earlier(found: Account, over: Years) -> None:
    def first(policy: Pinned) -> datetime:
        stops = [h.what.at for h in story(found, over, policy) if isinstance(h.what, ValveClosed)]
        return min(stops, default=datetime.max.replace(tzinfo=UTC))

    assert first(pounds(notice_period="P7D")) <= first(pounds(notice_period="P14D"))


@settings(max_examples=40, deadline=None)
@given(accounts(), periods, policies)
def test_what_happens_is_told_in_order_and_the_same_each_time(
    found: Account, over: Years, policy: Pinned
) -> None:
    told = story(found, over, policy)
    assert told == story(found, over, policy)
    cases: dict[str, list[datetime]] = {}
    for case_id, what in told:
        assert isinstance(what, Event | Refused)
        cases.setdefault(case_id, []).append(what.at)
    assert all(times == sorted(times) for times in cases.values())


# On several processors


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_several_processors_find_the_same_as_one(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = [
        account(("bill", "2022-03-14", 9000), ("paid", f"2022-04-{10 + n}", 9000), number=f"C{n}")
        for n in range(6)
    ]

    def found() -> Rehearsal:
        return rehearsed(*several, against=pounds(notice_period="P3D"))

    alone = found()
    monkeypatch.setattr(rehearse_pool, "context", lambda: multiprocessing.get_context(method))
    monkeypatch.setattr(rehearse_arrears, "_ALONE", 0)
    monkeypatch.setattr(rehearse_arrears, "_CHUNK", 2)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert found() == alone
    assert alone.differences


# As people use it


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A company's files and two policies; returns the options that name the files."""
    monkeypatch.chdir(tmp_path)
    water = (ROOT / "policies" / "water.toml").read_text(encoding="utf-8")
    water = water.replace('currency = "CNY"', 'currency = "GBP"')
    Path("pounds.toml").write_text(water, encoding="utf-8")
    lenient = water.replace('notice_period = "P7D"', 'notice_period = "P21D"')
    Path("lenient.toml").write_text(lenient, encoding="utf-8")
    Path("customers.csv").write_text(
        "customer_id,region,is_vulnerable\nC000001,North,0\nC000002,North,1\nC000003,North,0\n"
    )
    Path("bills.csv").write_text(
        "customer_id,bill_period_end,bill_amount,due_date\n"
        "C000001,p1,90.00,2022-03-14\nC000002,p1,90.00,2022-03-14\nC000003,p1,oops,2022-03-14\n"
    )
    Path("payments.csv").write_text(
        "customer_id,payment_date,amount,method\n"
        "C000001,2022-05-02,90.00,Cash\nC000002,2022-06-30,1.00,Cash\n"
    )
    return ["--customers", "customers.csv", "--bills", "bills.csv", "--payments", "payments.csv"]


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["rehearse", "arrears", *words])


def test_the_answer_holds_the_months_and_what_was_assumed(files: list[str]) -> None:
    result = run(*files, "--policy", "pounds.toml", "--json", "--rejects", "wrong.csv")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert (answer["since"], answer["until"], answer["runs"]) == (
        "2022-03-14",
        "2022-06-30",
        "monthly",
    )
    assert (answer["accounts"], answer["set_aside"], answer["rejected"]) == (2, 1, 1)
    assert answer["total"]["stops"] == answer["months"]["2022-04"]["stops"] == 1
    assert answer["total"]["avoided"] == {"payment": 0, "hold": 1}
    assert answer["years_without_holidays"] == [2022]
    assert any("whatever is done to them" in sentence for sentence in answer["assumed"])
    assert "against" not in answer
    assert Path("wrong.csv").read_text().splitlines()[1].startswith("bills,4,C000003,")


def test_two_policies_are_drawn_under_each_other_with_the_accounts_that_differ(
    files: list[str],
) -> None:
    result = run(*files, "--policy", "pounds.toml", "--against", "lenient.toml")
    assert result.exit_code == 0, result.stderr
    drawn = " ".join(result.stdout.split())
    assert "2022-04 pounds 2 4 2 1 1 1 1 0 18 lenient 2 4 2 1 1 1 1 0 4" in drawn
    assert "1 account comes out otherwise." in drawn
    assert "Stops avoided: 0 by payment, 1 by hold; notices not settled at the end: 0." in drawn
    assert "Guards that refused a permit: vulnerable 1." in drawn
    assert "Customers pay as the files say" in drawn
    assert "names no public holiday in 2022" in drawn
    assert "Add --rejects FILE" in result.stderr
    none = run(*files, "--policy", "pounds.toml", "--against", "lenient.toml", "--limit", "0")
    assert "The first 0 of them; --json has all." in none.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--policy", "water"), "The files are in GBP, policy water reckons in CNY"),
        (("--policy", "pounds.toml", "--since", "March"), "--since: no date"),
        (("--policy", "pounds.toml", "--until", "2999-01-01"), "--until: lies in the future."),
        (
            ("--policy", "pounds.toml", "--since", "2022-05-01", "--until", "2022-04-01"),
            "--since must not lie after --until",
        ),
        (("--policy", "pounds.toml", "--against", "water"), "policy water reckons in CNY"),
    ],
)
def test_what_makes_no_sense_is_wrong_input(
    files: list[str], words: tuple[str, ...], said: str
) -> None:
    result = run(*files, *words)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_days_beyond_the_last_payment_are_warned_of(files: list[str]) -> None:
    result = run(*files, "--policy", "pounds.toml", "--until", "2022-07-31")
    assert result.exit_code == 0
    assert "last payment is of 2022-06-30: after it everybody seems to owe" in result.stderr


# A real company's files


@cache
def company(first: int) -> Books:
    """The real files' first so many accounts."""
    mappings = load_accounts_mappings(ROOT / "policies" / "mappings" / "accounts")
    books = read_books(
        open_files({part: DATA / f"{part}.csv" for part in PARTS}, mappings), day("2026-03-01")
    )
    assert books.rejects == []
    return Books(accounts=dict(list(books.accounts.items())[:first]))


@real
def test_of_a_real_company_whoever_owed_enough_on_a_day_of_a_run_is_chased() -> None:
    over = years("2022-01-01", "2022-12-31")
    books = company(1000)
    found = rehearse(books, over, pounds())
    assert (found.accounts, found.rejects) == (1000, [])
    owed = by_hand([f"2022-{month:02}-01" for month in range(1, 13)])
    assert found.chased == len(owed) > 300
    total = found.total
    assert total.notices == total.made + total.avoided.total() + found.pending
    assert total.made == total.restored + found.off > 100
    assert not {"2022-01", "2022-02", "2022-12"} & {m for m, t in found.months.items() if t.made}


@real
def test_of_a_real_company_no_vulnerable_customer_is_ever_stopped() -> None:
    books = company(1000)
    vulnerable = {a.number: a for a in books.accounts.values() if a.vulnerable}
    found = rehearse(Books(accounts=vulnerable), years("2022-01-01", "2022-12-31"), pounds())
    assert (found.total.made, found.total.without_water, found.stopped) == (0, 0, 0)
    assert found.total.holds == {"vulnerable": found.total.opened}
    assert found.total.opened > 20


def by_hand(dates: list[str]) -> set[str]:
    """Who owed fifty pounds or more on any of the days, from the files with csv alone."""
    billed: dict[str, list[tuple[str, Decimal]]] = {}
    with (DATA / "bills.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            bill = (row["due_date"], Decimal(row["bill_amount"]))
            billed.setdefault(row["customer_id"], []).append(bill)
    paid: dict[str, list[tuple[str, Decimal]]] = {}
    with (DATA / "payments.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            payment = (row["payment_date"], Decimal(row["amount"]))
            paid.setdefault(row["customer_id"], []).append(payment)
    return {
        who
        for who, bills in billed.items()
        if any(
            sum(a for due, a in bills if due < on) - sum(a for d, a in paid.get(who, []) if d <= on)
            >= 50
            for on in dates
        )
    }


@real
def test_of_a_real_company_a_longer_notice_stops_nobody_earlier_and_fewer() -> None:
    over = years("2022-01-01", "2023-12-31")
    found = rehearse(company(60), over, pounds(), against=pounds(notice_period="P28D"))
    assert found.against is not None
    never = date.max
    assert found.differences
    for _, a, b in found.differences:
        assert min(a.stopped_on, default=never) <= min(b.stopped_on, default=never)
    assert found.against.total.made < found.total.made
    assert found.against.stopped <= found.stopped
    assert found.against.chased == found.chased
