"""The billing system's own word on an account, read just before a permit where one is configured.

It is asked with POST {"account", "currency"}, signed as Standard Webhooks has it, and answers 200
with {"account", "balance", "currency"}: what is owed, in the smallest unit. No answer, no permit.
"""

from uuid import uuid4

import httpx
from pydantic import ValidationError

from activities.posting import Poster
from gateway.cloudevents import serialized
from gateway.words.plain import money
from schemas.arrears import Currency
from schemas.base import Reference, Value
from schemas.envelope import Json
from settings import Settings

MOST = 10_000
"""Bytes of an answer."""
HOLD_OFF = "there is no permit without it: leave the valve as it is, and ask again later."


class Balance(Value):
    """What the billing system answers."""

    account: Reference
    balance: int
    currency: Currency


def owed(state: Json) -> int:
    """What a case knows to be owed, from its state as JSON."""
    paid = sum(p["amount"] for p in state["payments"] if p["reversed_at"] is None)
    return sum(bill["amount"] for bill in state["bills"]) - paid


async def against_permit(settings: Settings, state: Json) -> list[str]:
    """What the billing system has against closing this account's valve now; one sentence each.

    Nothing where none is configured. One that can't be reached, or answers of something else, is
    against it.
    """
    secret = settings.provider_signing_secret()
    if settings.accounts_url is None or secret is None:
        return []
    asked = serialized({"account": state["account"], "currency": state["currency"]})
    try:
        async with Poster(secret, private=True) as poster:
            answer = await poster.ask(
                settings.accounts_url, str(uuid4()), asked, "application/json", MOST
            )
        told = Balance.model_validate_json(answer)
    except ValidationError:
        return [f"The billing system's answer about the balance can't be read; {HOLD_OFF}"]
    except ValueError as error:
        return [f"The billing system does not tell the balance ({error}); {HOLD_OFF}"]
    except (OSError, httpx.HTTPError) as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else "not reached"
        return [f"The billing system does not tell the balance ({why}); {HOLD_OFF}"]
    if (told.account, told.currency) != (state["account"], state["currency"]):
        return [f"The billing system answered about another account or currency; {HOLD_OFF}"]
    if told.balance < owed(state):
        here, there = money(owed(state), told.currency), money(told.balance, told.currency)
        return [
            f"The billing system says that {there} is owed, the case says {here}: import the"
            " payments or correct the balance first."
        ]
    return []
