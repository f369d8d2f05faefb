"""Webhooks and messages on the command line: on real servers, with a worker that delivers."""

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from temporalio.client import Client

from activities.delivery import Deliveries, Patience
from activities.event_log import EventLog
from gateway.balance import against_permit, owed
from gateway.carriers import OurRoads
from gateway.session import Session
from gateway.webhooks import ensure_deliveries
from settings import Settings
from tests.conftest import Database
from tests.test_cli import REPORT, Cli, nowhere, read, reported, servers_alone
from tests.test_cutoff_cli import CREW, Debt, debt
from tests.workflows.desk import until
from tests.workflows.receiver import Receiver, receiving
from worker import build_worker

__all__ = ["debt", "nowhere", "servers_alone"]

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def cli(
    monkeypatch: pytest.MonkeyPatch,
    servers_alone: Cli,
    temporal: Client,
    database: Database,
    task_queue: str,
    receiver: Receiver,
) -> AsyncIterator[Cli]:
    """The command line and a worker; text messages go to the receiver."""
    for name, value in {
        "STANDPIPE_PRIVATE_TARGETS": "true",
        "STANDPIPE_SMS_URL": f"{receiver.url}/sms",
        "STANDPIPE_PROVIDER_SECRET": SECRET,
    }.items():
        monkeypatch.setenv(name, value)
    async with Session(Settings(), connections=20) as session:
        organisation = session.organisation
        roads = OurRoads(session.pool, session.settings)
        deliveries = Deliveries(session.pool, organisation, roads, Patience(poll=0.05))
        async with build_worker(
            temporal,
            EventLog(session.pool),
            organisation=organisation,
            task_queue=task_queue,
            more_activities=[deliveries.deliver],
        ):
            assert await ensure_deliveries(session, temporal) == ["to-customers"]
            yield servers_alone


async def test_a_system_and_a_customer_are_told_of_a_repair(cli: Cli, receiver: Receiver) -> None:
    url = f"{receiver.url}/hook"
    added = read(await cli("webhook", "add", url, "--type", "repair.*", "--json"))
    id, secret = added["webhook"]["id"], added["secret"]
    tested = read(await cli("webhook", "test", id, "--json"))
    assert tested == {"delivered": True, "status": "answered 200"}
    case = (await reported(cli))["timeline"]["case_id"]

    async def told() -> bool:
        return len(receiver.verified(secret)) > 1 and bool(receiver.verified(SECRET, path="/sms"))

    await until(told)
    test, *events = receiver.verified(secret)
    assert test["type"] == "standpipe.webhook.test"
    assert {e["subject"] for e in events} == {case}
    (message,) = receiver.verified(SECRET, path="/sms")
    assert case in message["data"]["text"]

    async def shown() -> bool:
        rows = read(await cli("outbox", "--json"))["messages"]
        return {"party": "delivered", "unit": "waiting"}.items() <= {
            row["message"]["to"]: row["state"] for row in rows
        }.items()

    await until(shown)
    drawn = await cli("webhook", "list")
    assert drawn.exit_code == 0
    assert id in drawn.stdout
    assert secret not in drawn.stdout
    assert "to-customers" in drawn.stdout
    rows = read(await cli("webhook", "deliveries", "--webhook", id, "--json"))["deliveries"]
    assert {row["state"] for row in rows} == {"delivered"}
    paused = read(await cli("webhook", "pause", id, "--json"))
    assert (paused["active"], paused["ended"]) == (False, "paused")
    assert read(await cli("webhook", "secret", id, "--json"))["secret"] == secret
    assert read(await cli("webhook", "remove", id, "--json")) == {"removed": id}
    assert (await cli("webhook", "test", id)).exit_code == 1


async def test_a_dead_message_says_why_and_is_tried_again(cli: Cli, receiver: Receiver) -> None:
    paused = read(await cli("webhook", "pause", "to-customers", "--json"))
    assert paused["ended"] == "paused"
    opened = await reported(cli)
    party = opened["timeline"]["state"]["follow_ups"][0]["party"]
    read(await cli("party", "erase", party, "--yes", "--json"))
    read(await cli("webhook", "resume", "to-customers", "--json"))

    async def row() -> Any:
        rows = read(await cli("outbox", "--json"))["messages"]
        return next((row for row in rows if row["message"]["to"] == "party"), None)

    async def dead() -> bool:
        found = await row()
        return found is not None and found["state"] == "dead"

    await until(dead)
    assert (await row())["status"] == "the party was erased"
    drawn = await cli("outbox")
    assert "dead" in drawn.stdout
    again = read(await cli("outbox", "--retry", "dead", "--json"))
    assert again == {"retried": 1}
    assert read(await cli("outbox", "--retry", "999/0", "--json")) == {"retried": 0}
    assert (await cli("outbox", "--retry", "soon")).exit_code == 2
    assert receiver.requests == []


async def test_everything_wrong_with_a_new_webhook_is_told(cli: Cli) -> None:
    wrong = ("--type", "repair.CrewArived", "--json")
    result = await cli("webhook", "add", "https://example.org:x/", *wrong)
    assert result.exit_code == 2
    assert len(json.loads(result.stdout)["reasons"]) == 2


# The billing system's word before a permit


class Books(NamedTuple):
    """A billing system that is configured, and a case's state."""

    settings: Settings
    state: dict[str, Any]

    async def say(self) -> list[str]:
        return await against_permit(self.settings, self.state)


@pytest.fixture
def books(receiver: Receiver) -> Books:
    given = {"accounts_url": f"{receiver.url}/balance", "provider_secret": SECRET}
    payments = [{"amount": 20, "reversed_at": None}, {"amount": 99, "reversed_at": "2026-01-01"}]
    state = {"account": "A-1", "currency": "CNY", "bills": [{"amount": 120}], "payments": payments}
    return Books(Settings.model_validate(given), state)


def answer(balance: int = 100, account: str = "A-1", currency: str = "CNY") -> str:
    return json.dumps({"account": account, "balance": balance, "currency": currency})


async def test_who_has_no_billing_system_configured_asks_nobody(books: Books) -> None:
    assert owed(books.state) == 100
    assert await against_permit(Settings(), books.state) == []


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (answer(), None),
        (answer(150), None),
        (answer(99), "CNY 0.99 is owed, the case says CNY 1.00"),
        (answer(account="A-2"), "another account"),
        (answer(currency="USD"), "another account or currency"),
        ("{}", "can't be read"),
        ("{" + 20_000 * " " + "}", "its answer is too long"),
        ("503", "it answered 503"),
        ("reset", "not reached"),
    ],
)
async def test_what_the_billing_system_says_decides_about_the_permit(
    books: Books, receiver: Receiver, how: str, reason: str | None
) -> None:
    await receiver.behave({"*": how})
    said = await books.say()
    assert len(said) == (reason is not None)
    if reason is not None:
        assert reason in said[0]
    assert json.loads(receiver.requests[0]["body"]) == {"account": "A-1", "currency": "CNY"}


async def test_without_the_billing_system_there_is_no_permit_and_all_reasons_are_told(
    monkeypatch: pytest.MonkeyPatch, debt: Debt
) -> None:
    monkeypatch.setenv("STANDPIPE_ACCOUNTS_URL", "http://127.0.0.1:9/balance")
    reasons = await debt.refused("permit", debt.case, *CREW)
    assert "The billing system does not tell the balance (not reached)" in reasons[0]
    assert any("WAT-C1" in reason for reason in reasons[1:])


async def test_a_customer_is_written_to_in_the_language_that_they_asked_for(
    cli: Cli, receiver: Receiver
) -> None:
    wrong = await cli(*REPORT, "--email", "li at example", "--language", "fr", "--json")
    assert json.loads(wrong.stdout)["reasons"] == [
        "--email: must be one e-mail address",
        "--language: must be zh-CN or en",
    ]
    opened = await reported(cli, "--email", "li@example.org", "--language", "en")
    shown = read(await cli("party", "show", opened["party_id"], "--json"))
    assert (shown["email"], shown["language"]) == ("li@example.org", "en")

    async def told() -> bool:
        return bool(receiver.verified(SECRET, path="/sms"))

    await until(told)
    (message,) = receiver.verified(SECRET, path="/sms")
    assert message["data"]["text"].startswith("We have your report")
