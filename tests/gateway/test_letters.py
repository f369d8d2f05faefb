"""What messages say: every template in both languages, nothing personal, and by which road."""

import ast
import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from activities.database import open_pool
from activities.event_log import EventLog
from activities.subscriptions import Subscriptions
from activities.vault import Vault
from gateway.carriers import OurRoads
from gateway.letters import LANGUAGES, Clock, Language, LetterError, Letters
from gateway.policies import content_of
from lifecycles.lifecycle import LIFECYCLES
from schemas.envelope import Message
from schemas.party import Party
from schemas.webhooks import TO_CUSTOMERS, TO_STAFF, Due
from settings import Settings
from tests.activities.appends import ORGANISATION, decision, event, request
from tests.conftest import Database
from tests.workflows.receiver import Receiver, receiving

ROOT = Path(__file__).parents[2]
KEY = bytes(range(32))
GIVEN: dict[str, Any] = {
    "key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "provider_secret": "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "private_targets": True,
}
SHANGHAI = Clock("Asia/Shanghai", "CNY")
AUDIENCES = {"_party": "party", "_parties": "party"}
PLACES = {"message": 3, "_message": 3, "role": 2, "owner": 2, "_unit": 2}
ONE = ("intake", "_party", "_parties", "_staff", "_office", "_above", "_reader")


class Said(NamedTuple):
    """A template that a lifecycle emits, to whom, and the parameters that it surely has."""

    kind: str
    to: str
    template: str
    params: frozenset[str]


def emitted() -> list[Said]:
    """Every call that makes a message, found in the lifecycles' own source."""
    found: set[Said] = set()
    for file in sorted((ROOT / "lifecycles").glob("*messages.py")):
        kinds = [file.stem.partition("_")[0]] if "_" in file.stem else list(LIFECYCLES)
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                for to, template, params in calls(function):
                    found |= {Said(kind, to, template, params) for kind in kinds}
    return sorted(found, key=lambda said: (*said[:3], sorted(said.params)))


def calls(function: ast.FunctionDef) -> Iterator[tuple[str, str, frozenset[str]]]:
    for node in ast.walk(function):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        place = 1 if name in ONE else PLACES.get(name, 99)
        if len(node.args) <= place:
            continue
        first = node.args[1]
        party = isinstance(first, ast.Constant) and first.value == "party"
        to = AUDIENCES.get(name) or ("party" if party else "role")
        params = frozenset(["case"]) | keywords(function, node)
        for template in constants(function, node.args[place]):
            yield to, template, params


def constants(function: ast.FunctionDef, node: ast.expr) -> list[str]:
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp(body=one, orelse=other):
            return [*constants(function, one), *constants(function, other)]
        case ast.Name(id=name):
            return [t for value in assigned(function, name) for t in constants(function, value)]
        case _:
            return []


def keywords(function: ast.FunctionDef, call: ast.Call) -> frozenset[str]:
    names: set[str] = set()
    for keyword in call.keywords:
        if keyword.arg is not None:
            names.add(keyword.arg)
        elif isinstance(keyword.value, ast.Name):
            # Of a name that several branches use, what all its values have.
            given = [frozenset(keys(v)) for v in assigned(function, keyword.value.id, call)]
            names |= frozenset.union(*given) if given else frozenset()
        elif "_totals" in ast.dump(keyword.value):
            names |= {"registered", "in_time", "late", "open", "upheld", "partly_upheld"}
            names |= {"not_upheld", "appealed", "overturned"}
    return frozenset(names)


def keys(node: ast.expr) -> list[str]:
    match node:
        case ast.Dict(keys=found):
            return [str(key.value) for key in found if isinstance(key, ast.Constant)]
        case _:
            return []


def assigned(
    function: ast.FunctionDef, name: str, before: ast.Call | None = None
) -> list[ast.expr]:
    """What a name was given, the last time above a call, or anywhere."""
    found: list[tuple[int, ast.expr]] = []
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=known)], value=value) if known == name:
                found.append((node.lineno, value))
            case ast.AnnAssign(target=ast.Name(id=known), value=ast.expr() as value) if (
                known == name
            ):
                found.append((node.lineno, value))
            case _:
                pass
    if before is None:
        return [value for _, value in found]
    above = [pair for pair in found if pair[0] <= before.lineno]
    return [max(above, key=lambda pair: pair[0])[1]] if above else []


EMITTED = emitted()


def test_the_lifecycles_templates_are_found() -> None:
    templates = {(said.to, said.template) for said in EMITTED}
    assert len(templates) > 120
    assert {
        ("party", "report_received"),
        ("party", "not_ours"),
        ("role", "arbitrate"),
        ("role", "approval_lapsed"),
        ("role", "complaints_fed_back"),
    } <= templates


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_template_that_a_lifecycle_emits_has_a_text_that_can_be_filled(
    language: Language,
) -> None:
    letters, wrong = Letters(), list[str]()
    for said in EMITTED:
        try:
            lacking = letters.needs(said.to, said.kind, said.template, language) - said.params
        except LetterError as error:
            wrong.append(str(error))
        else:
            if lacking:
                wrong.append(f"{said.kind}: {said.to}/{said.template} has no {sorted(lacking)}")
    assert wrong == []


def test_no_text_is_there_for_nothing() -> None:
    emits = {("party" if said.to == "party" else "work", said.template) for said in EMITTED}
    for language in LANGUAGES:
        for audience in ("party", "work"):
            section: Any = getattr(Letters()._texts[language], audience)  # pyright: ignore
            names = {n for n, v in section.items() if isinstance(v, str)}
            assert names == {template for to, template in emits if to == audience}, language


def word(to: str = "party", **params: Any) -> Message:
    return Message.model_validate(
        {
            "to": to,
            "recipient": "party-1" if to == "party" else "k-7",
            "template": "report_received" if to == "party" else "dispatch_slip",
            "params": {"case": "repair-1", **params},
        }
    )


def test_times_are_local_and_amounts_are_money() -> None:
    due = word(due="2026-05-01T16:30:00+00:00")
    letters = Letters()
    chinese = letters.write(due, "repair", "zh-CN", SHANGHAI)
    english = letters.write(due, "repair", "en", SHANGHAI)
    assert "05月02日 00:30" in chinese.text
    assert "2026-05-02 00:30" in english.text
    assert english.hash == sha256(english.text.encode()).hexdigest()
    owed = Message(
        to="party",
        recipient="party-1",
        template="arrears",
        params={"case": "arrears-1", "balance": 12345, "currency": "CNY"},
    )
    assert "CNY 123.45" in letters.write(owed, "arrears", "en", SHANGHAI).text


def test_what_lacks_a_parameter_is_left_out_or_refused() -> None:
    letters = Letters()
    text = letters.write(word(due=None), "repair", "en", SHANGHAI).text
    assert text == "We have your report, case repair-1."
    with pytest.raises(LetterError, match="needs case"):
        letters.write(word().model_copy(update={"params": {}}), "repair", "en", SHANGHAI)
    unknown = word().model_copy(update={"template": "unheard_of"})
    with pytest.raises(LetterError, match="There is no text party/unheard_of in en"):
        letters.write(unknown, "repair", "en", SHANGHAI)


def test_an_organisation_has_its_own_words(tmp_path: Path) -> None:
    own = '[party]\nreport_received = "{case}: thank you."\n[party.of_complaint]\ndone = "Fin."\n'
    (tmp_path / "en.toml").write_text(own)
    letters = Letters(tmp_path)
    assert letters.write(word(), "repair", "en", SHANGHAI).text == "repair-1: thank you."
    done = word().model_copy(update={"template": "done"})
    assert letters.write(done, "complaint", "en", SHANGHAI).text == "Fin."
    assert "is done" in letters.write(done, "repair", "en", SHANGHAI).text
    (tmp_path / "en.toml").write_text("[party]\ndone = 3\n")
    with pytest.raises(LetterError, match="cannot be used"):
        Letters(tmp_path)


# How they travel


@pytest.fixture
async def provider() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool]:
    async with await open_pool(database.url(), max_size=8) as pool:
        yield pool


async def told(pool: asyncpg.Pool, *messages: Message, stream: str = "repair-1") -> None:
    """An event with messages, in a case under the real policy."""
    made = decision("a", event("RepairReported"), messages=[(0, m) for m in messages])
    policy = content_of("gas", ROOT / "policies")
    await EventLog(pool).append_events(request(stream, 0, made, policy=policy))


async def carried(pool: asyncpg.Pool, settings: Settings) -> dict[str, Any]:
    """Deliver everything once, and what stands in the outbox then, by recipient."""
    roads = OurRoads(pool, settings)
    taker = "00000000-0000-0000-0000-000000000001"
    for id in roads.kinds():
        taken = await pool.fetchval(
            "SELECT take_deliveries($1, $2, $3, $4, 100, '{}')",
            *(ORGANISATION, id, taker, datetime.now(UTC)),
        )
        async with roads.road(ORGANISATION, id, None) as carrier:
            for each in json.loads(taken)["due"]:
                due = Due.model_validate_json(json.dumps(each))
                done = await carrier.carry(due)
                await pool.execute(
                    "SELECT record_delivery($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL, $11)",
                    *(ORGANISATION, id, due.position, due.ordinal, done.outcome, done.status),
                    *(datetime.now(UTC), timedelta(days=3), timedelta(seconds=5)),
                    timedelta(hours=1),
                    None if done.said is None else done.said.model_dump_json(),
                )
    rows = await EventLog(pool).outbox(ORGANISATION)
    return {row.message.recipient: (row.state, row.status) for row in rows}


async def ready(pool: asyncpg.Pool, settings: Settings) -> None:
    for id, kinds in OurRoads(pool, settings).kinds().items():
        await Subscriptions(pool).ensure_messages(ORGANISATION, id, kinds)


async def test_a_customer_gets_a_text_message_in_their_language_and_only_its_hash_is_kept(
    pool: asyncpg.Pool, provider: Receiver
) -> None:
    settings = Settings.model_validate(GIVEN | {"sms_url": f"{provider.url}/sms"})
    await ready(pool, settings)
    party = Party(name="Li Na", phone="13800000000", language="en")
    await Vault(pool, KEY).put(ORGANISATION, "party-1", party)
    await told(pool, word(due="2026-05-01T08:00:00+00:00"))
    assert await carried(pool, settings) == {"party-1": ("delivered", "answered 200")}
    (sent,) = provider.verified(GIVEN["provider_secret"], path="/sms")
    assert sent["type"] == "standpipe.message.sms"
    assert sent["data"]["to"] == "13800000000"
    text = sent["data"]["text"]
    assert text == "We have your report, case repair-1. We promise to be done by 2026-05-01 16:00."
    (row,) = await Subscriptions(pool).deliveries(ORGANISATION, subscription=TO_CUSTOMERS)
    assert (row.channel, row.template, row.language) == ("sms", "party/report_received", "en")
    assert row.text_hash == sha256(text.encode()).hexdigest()
    kept = str(await pool.fetch("SELECT d::text FROM deliveries d"))
    assert "13800000000" not in kept
    assert "We have" not in kept


async def test_who_cannot_be_told_is_a_dead_letter_that_says_why(
    pool: asyncpg.Pool, provider: Receiver
) -> None:
    settings = Settings.model_validate(GIVEN | {"sms_url": f"{provider.url}/sms"})
    await ready(pool, settings)
    vault = Vault(pool, KEY)
    await vault.put(ORGANISATION, "party-1", Party(name="Li", phone="1"))
    await vault.erase(ORGANISATION, "party-1")
    await vault.put(ORGANISATION, "party-2", Party(name="Wu", email="wu@example.org"))
    await vault.put(ORGANISATION, "party-3", Party(name="Xu", phone="3"), sealed_to=("supervisor",))
    names = ("party-1", "party-2", "party-3", "party-4")
    await told(pool, *(word().model_copy(update={"recipient": name}) for name in names))
    assert await carried(pool, settings) == {
        "party-1": ("dead", "the party was erased"),
        "party-2": ("dead", "the party has not left a phone number"),
        "party-3": ("dead", "the party is sealed: a supervisor has to tell them (WAT-2.5)"),
        "party-4": ("dead", "the vault does not know the party"),
    }
    assert provider.requests == []


async def test_crews_and_offices_are_told_in_their_own_system(
    pool: asyncpg.Pool, provider: Receiver
) -> None:
    settings = Settings.model_validate(GIVEN | {"work_url": f"{provider.url}/work"})
    await ready(pool, settings)
    await told(pool, word("crew", asset="V-1"), word())
    assert await carried(pool, settings) == {
        "k-7": ("delivered", "answered 200"),
        "party-1": ("waiting", None),  # nothing is configured for customers
    }
    (sent,) = provider.verified(GIVEN["provider_secret"], path="/work")
    assert sent["data"]["to"] == {"kind": "crew", "id": "k-7"}
    assert sent["data"]["params"] == {"case": "repair-1", "asset": "V-1"}
    assert "派工单 repair-1" in sent["data"]["text"]


async def test_what_was_said_before_anybody_delivered_stays_until_somebody_asks(
    pool: asyncpg.Pool, provider: Receiver
) -> None:
    settings = Settings.model_validate(GIVEN | {"work_url": f"{provider.url}/work"})
    await told(pool, word("crew"))
    await ready(pool, settings)
    assert await carried(pool, settings) == {"k-7": ("waiting", None)}
    again = await Subscriptions(pool).redrive(ORGANISATION, place=(1, 0))
    assert [(each.subscription, each.deliveries) for each in again] == [(TO_STAFF, 1)]
    assert await carried(pool, settings) == {"k-7": ("delivered", "answered 200")}


async def test_nobody_is_told_of_what_is_long_past_unless_somebody_asks(
    pool: asyncpg.Pool, provider: Receiver
) -> None:
    hasty = {"work_url": f"{provider.url}/work", "delivery_days": 1e-7}
    settings = Settings.model_validate(GIVEN | hasty)
    await ready(pool, settings)
    await told(pool, word("crew"))
    late = ("dead", "too old to be said without somebody's asking for it")
    assert await carried(pool, settings) == {"k-7": late}
    await Subscriptions(pool).redrive(ORGANISATION, subscription=TO_STAFF)
    assert await carried(pool, settings) == {"k-7": ("delivered", "answered 200")}
    assert len(provider.requests) == 1


class Mailbox:
    """An SMTP server's handler that keeps what it gets."""

    def __init__(self, answer: str = "250 OK") -> None:
        self.answer = answer
        self.mails: list[Envelope] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.mails.append(envelope)
        return self.answer


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("250 OK", ("delivered", "handed in")),
        ("451 Later", ("waiting", "refused with 451")),
        ("554 Never", ("dead", "refused with 554")),
    ],
)
async def test_a_customer_gets_an_e_mail(
    pool: asyncpg.Pool, answer: str, outcome: tuple[str, str]
) -> None:
    mailbox = Mailbox(answer)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        settings = Settings.model_validate(
            GIVEN | {"smtp_url": f"smtp://127.0.0.1:{port}", "smtp_sender": "gas@example.org"}
        )
        await ready(pool, settings)
        await Vault(pool, KEY).put(ORGANISATION, "party-1", Party(email="li@example.org"))
        await told(pool, word())
        assert await carried(pool, settings) == {"party-1": outcome}
    (mail,) = mailbox.mails
    assert mail.rcpt_tos == ["li@example.org"]
