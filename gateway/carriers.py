"""How each subscription's deliveries travel: webhooks, text messages, e-mail, one's own systems.

What is personal is read from the vault for the one message that needs it, and kept nowhere else.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

import aiosmtplib
import asyncpg

from activities.delivery import Carrier
from activities.log_reader import LogReader
from activities.posting import SECONDS, Poster
from activities.subscriptions import Subscriptions
from activities.vault import PartyErased, PartyUnknown, Vault
from activities.vault_keys import VaultError
from gateway.cloudevents import MEDIA_TYPE, cloudevent, serialized, source, stamp
from gateway.letters import Clock, Letter, LetterError, Letters
from lifecycles.policies import pinned
from schemas.envelope import Json, Message
from schemas.party import Party
from schemas.webhooks import TO_CUSTOMERS, TO_STAFF, Carried, Due, Said
from settings import LOOPBACK, Settings


class OurRoads:
    """One organisation's roads, as its settings say."""

    def __init__(
        self, pool: asyncpg.Pool, settings: Settings, letters: Letters | None = None
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._letters = letters or Letters(settings.letter_dir)

    def kinds(self) -> dict[str, tuple[str, ...]]:
        """The outbox's roads that are configured, and the kinds of recipients that they reach."""
        found: dict[str, tuple[str, ...]] = {}
        given = self._settings
        if given.sms_url or given.email_url or given.smtp_url:
            found[TO_CUSTOMERS] = ("party",)
        if given.work_url:
            found[TO_STAFF] = ("crew", "staff", "role", "unit")
        return found

    @asynccontextmanager
    async def road(
        self, organisation: str, subscription: str, url: str | None
    ) -> AsyncGenerator[Carrier]:
        """The carrier to a subscription's receiver; see `activities.delivery.Roads`."""
        async with AsyncExitStack() as stack:
            if subscription in (TO_CUSTOMERS, TO_STAFF):
                poster = None
                if secret := self._settings.provider_signing_secret():
                    poster = await stack.enter_async_context(Poster(secret, private=True))
                desk = _Desk(organisation, LogReader(self._pool), self._letters, self._settings)
                if subscription == TO_STAFF:
                    yield _ToStaff(desk, poster)
                else:
                    vault = Vault(self._pool, self._settings.key_encryption_key())
                    yield _ToCustomers(desk, vault, poster)
            else:
                key = self._settings.key_encryption_key()
                known = Subscriptions(self._pool)
                url, secret = await known.secret(organisation, subscription, key)
                private = self._settings.private_targets
                poster = await stack.enter_async_context(Poster(secret, private=private))
                yield _ToWebhook(organisation, url, poster)


class _ToWebhook:
    """Posts events as they are."""

    def __init__(self, organisation: str, url: str, poster: Poster) -> None:
        self._organisation = organisation
        self._url = url
        self._poster = poster

    async def carry(self, due: Due) -> Carried:
        event = cloudevent(due.event, self._organisation)
        return await self._poster.post(self._url, event["id"], serialized(event), MEDIA_TYPE)


class _Desk(NamedTuple):
    """What it takes to write a letter."""

    organisation: str
    log: LogReader
    letters: Letters
    settings: Settings

    async def letter(self, due: Due, message: Message, party: Party | None) -> Letter:
        """What a message says, in its recipient's language. LetterError."""
        case = due.event.stream
        policy = pinned(await self.log.policy_of(self.organisation, case) or "").policy
        currency = policy.arrears.currency if policy.arrears else None
        language = (party and party.language) or self.settings.language
        clock = Clock(policy.calendar.time_zone, currency)
        return self.letters.write(message, case.partition("-")[0], language, clock)

    def late(self, due: Due) -> bool:
        """Whether a message is so old that saying it now would only confuse."""
        age = datetime.now(UTC) - due.event.recorded_at
        return not due.by_hand and age > timedelta(days=self.settings.delivery_days)

    def event(self, due: Due, channel: str, data: Json) -> bytes:
        """A message for a provider, as a CloudEvent."""
        return serialized(
            {
                "specversion": "1.0",
                "id": _id(due),
                "source": source(self.organisation),
                "type": f"standpipe.message.{channel}",
                "subject": due.event.stream,
                "time": stamp(due.event.occurred_at),
                "datacontenttype": "application/json",
                "data": data,
            }
        )


LATE = Carried(outcome="dead", status="too old to be said without somebody's asking for it")
NOTHING_CONFIGURED = Carried(outcome="failed", status="no provider is configured any more")


class _ToStaff:
    """Hands messages to the system that crews, staff and units look at."""

    def __init__(self, desk: _Desk, poster: Poster | None) -> None:
        self._desk = desk
        self._poster = poster

    async def carry(self, due: Due) -> Carried:
        message, url = due.message, self._desk.settings.work_url
        if message is None or url is None or self._poster is None:
            return NOTHING_CONFIGURED
        if self._desk.late(due):
            return LATE
        try:
            letter = await self._desk.letter(due, message, None)
        except LetterError as error:
            return Carried(outcome="dead", status=str(error)[:200])
        data: Json = {
            "to": {"kind": message.to, "id": message.recipient},
            "template": message.template,
            "params": message.params,
            "language": letter.language,
            "subject": letter.subject,
            "text": letter.text,
        }
        body = self._desk.event(due, "work", data)
        return _said(await self._poster.post(url, _id(due), body, MEDIA_TYPE), "work", letter)


class _ToCustomers:
    """Tells customers, by the first way that both they and the settings have."""

    def __init__(self, desk: _Desk, vault: Vault, poster: Poster | None) -> None:
        self._desk = desk
        self._vault = vault
        self._poster = poster

    async def carry(self, due: Due) -> Carried:
        message = due.message
        if message is None:
            return NOTHING_CONFIGURED
        if self._desk.late(due):
            return LATE
        try:
            if roles := await self._vault.seal_of(self._desk.organisation, message.recipient):
                who = " or ".join(roles).replace("_", " ")
                status = f"the party is sealed: a {who} has to tell them (WAT-2.5)"
                return Carried(outcome="dead", status=status)
            party = await self._vault.show(self._desk.organisation, message.recipient)
            letter = await self._desk.letter(due, message, party)
        except PartyErased:
            return Carried(outcome="dead", status="the party was erased")
        except PartyUnknown:
            return Carried(outcome="dead", status="the vault does not know the party")
        except VaultError as error:
            return Carried(outcome="failed", status=f"the vault: {type(error).__name__}")
        except LetterError as error:
            return Carried(outcome="dead", status=str(error)[:200])
        return await self._tell(due, party, letter)

    async def _tell(self, due: Due, party: Party, letter: Letter) -> Carried:
        given = self._desk.settings
        said: Json = {"language": letter.language, "template": letter.template, "text": letter.text}
        if party.phone and given.sms_url and self._poster:
            body = self._desk.event(due, "sms", {"to": party.phone, **said})
            done = await self._poster.post(given.sms_url, _id(due), body, MEDIA_TYPE)
            return _said(done, "sms", letter)
        if party.email and given.email_url and self._poster:
            data = {"to": party.email, "subject": letter.subject, **said}
            body = self._desk.event(due, "email", data)
            done = await self._poster.post(given.email_url, _id(due), body, MEDIA_TYPE)
            return _said(done, "email", letter)
        if party.email and given.smtp_url and given.smtp_sender:
            return _said(await _mail(given, party.email, letter, due), "email", letter)
        ways = [
            *(["a phone number"] if given.sms_url else []),
            *(["an e-mail address"] if given.email_url or given.smtp_url else []),
        ]
        return Carried(outcome="dead", status=f"the party has not left {' or '.join(ways)}")


async def _mail(settings: Settings, to: str, letter: Letter, due: Due) -> Carried:
    """Hand in an e-mail. A server that refuses it for good is not asked again."""
    assert settings.smtp_url is not None
    assert settings.smtp_sender is not None
    server = urlsplit(settings.smtp_url)
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = settings.smtp_sender, to, letter.subject
    mail["Message-ID"] = f"<{_id(due).replace('/', '.')}@{settings.smtp_sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["Content-Language"] = letter.language
    mail.set_content(letter.text)
    try:
        async with asyncio.timeout(2 * SECONDS):
            await aiosmtplib.send(
                mail,
                hostname=server.hostname,
                port=server.port,
                username=unquote(server.username) if server.username else None,
                password=settings.smtp_password(),
                use_tls=server.scheme == "smtps",
                start_tls=_start_tls(server),
                timeout=SECONDS,
            )
    except aiosmtplib.SMTPRecipientsRefused as refusal:
        code = max(each.code for each in refusal.recipients)
        return _refused(code)
    except aiosmtplib.SMTPResponseException as refusal:
        return _refused(refusal.code)
    except (aiosmtplib.SMTPException, OSError) as error:
        return Carried(outcome="failed", status=f"not handed in ({type(error).__name__})")
    return Carried(outcome="delivered", status="handed in")


def _start_tls(server: SplitResult) -> bool | None:
    """Always, but that a server on this very machine need not offer it."""
    if server.scheme == "smtps":
        return False
    return None if server.hostname in LOOPBACK and not server.username else True


def _refused(code: int) -> Carried:
    outcome: Literal["dead", "failed"] = "dead" if 550 <= code < 560 else "failed"
    return Carried(outcome=outcome, status=f"refused with {code}")


def _said(carried: Carried, channel: str, letter: Letter) -> Carried:
    said = Said(
        channel=channel, template=letter.template, language=letter.language, hash=letter.hash
    )
    # A provider that has gone is a fault in the settings, not the end of all messages.
    outcome = "failed" if carried.outcome == "gone" else carried.outcome
    return carried.model_copy(update={"said": said, "outcome": outcome})


def _id(due: Due) -> str:
    """A message's id, as the outbox has it."""
    return f"{due.event.event_id}/{due.ordinal}"
