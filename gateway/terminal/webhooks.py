"""`standpipe webhook`: which systems are told of events, and how that goes."""

from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.text import Text

from activities.subscriptions import NoSuchSubscription, Subscriptions
from gateway import webhooks
from gateway.commands import Invalid
from gateway.drawing import table
from gateway.session import Session
from gateway.terminal.asking import AsOption, login
from gateway.terminal.output import AsJson, Exit, Failure, OneLine, run, show
from gateway.terminal.records import Limit, OfCase
from lifecycles.decisions import reasons_of
from schemas.webhooks import (
    Carried,
    DeliveryRow,
    NewSubscription,
    Redriven,
    SigningSecret,
    Subscription,
    SubscriptionChange,
)
from settings import Settings

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Systems that are told of every event, signed.")

IdArgument = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Such as sub-1f2e3d.")]
TypesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--type", metavar="TYPE", help="repair.CrewArrived, repair.* or *; again for more."
    ),
]


@app.command("add")
def add(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are posted to.")],
    types: TypesOption = None,
    after: Annotated[
        int | None,
        typer.Option(min=0, help="Begin after this log position; 0: all that ever happened."),
    ] = None,
    who: AsOption = None,
    as_json: AsJson = False,
) -> None:
    """Tell a system of events, from now on. The secret verifies that they come from here.

    JSON: {"webhook", "secret"}.
    """

    async def work() -> tuple[Subscription, SigningSecret]:
        try:
            new = NewSubscription(url=url, types=tuple(types or ["*"]), after=after)
        except ValidationError as error:
            raise Invalid(reasons_of(error)) from None
        async with Session(Settings()) as session:
            made = await webhooks.subscribe(session, new, who or login())
            return made, await webhooks.secret_of(session, made.id)

    made, secret = run(work(), as_json=as_json)
    lines = [
        Text(f"Webhook {made.id}: {_types(made)}, from position {made.position} on."),
        OneLine(f"Its receiver needs this secret: {secret.secret}"),
        OneLine(f"Try it with: standpipe webhook test {made.id}"),
    ]
    show({"webhook": made, "secret": secret.secret}, *lines, as_json=as_json)


@app.command("list")
def list_webhooks(as_json: AsJson = False) -> None:
    """Who is told of what, how far, and what could not be delivered.

    JSON: {"webhooks": [webhook, …]}.
    """

    async def work() -> list[Subscription]:
        async with Session(Settings()) as session:
            return await Subscriptions(session.pool).every(session.organisation)

    found = run(work(), as_json=as_json)
    drawn = table("Webhook", "To", "What", "Stands at", "Waiting, dead")
    drawn.columns[0].no_wrap = True
    for each in found:
        drawn.add_row(
            each.id,
            Text(each.url or "as the workers' settings say"),
            _types(each),
            _standing(each),
            Text(f"{each.waiting}, {each.dead}", style="yellow" if each.dead else ""),
        )
    nothing = Text("Nobody is told of anything: add one with `standpipe webhook add URL`.")
    show({"webhooks": found}, drawn if found else nothing, as_json=as_json)


@app.command("test")
def send_test(webhook: IdArgument, as_json: AsJson = False) -> None:
    """Send a test event, once and now. 1: it was not taken.

    JSON: {"delivered", "status"}.
    """

    async def work() -> Carried:
        async with Session(Settings()) as session:
            return await _found(webhooks.try_out(session, webhook))

    carried = run(work(), as_json=as_json)
    taken = carried.outcome == "delivered"
    told = f"{'Delivered' if taken else 'Not delivered'}: {carried.status}."
    show({"delivered": taken, "status": carried.status}, Text(told), as_json=as_json)
    if not taken:
        raise typer.Exit(Exit.FAILED)


@app.command("pause")
def pause(webhook: IdArgument, as_json: AsJson = False) -> None:
    """Deliver nothing for a while; what happens meanwhile waits.

    JSON: the webhook.
    """
    _change(webhook, SubscriptionChange(active=False), as_json)


@app.command("resume")
def resume(webhook: IdArgument, as_json: AsJson = False) -> None:
    """Go on where it was paused, or where its receiver said 410 Gone.

    JSON: the webhook.
    """
    _change(webhook, SubscriptionChange(active=True), as_json)


@app.command("secret")
def secret(webhook: IdArgument, as_json: AsJson = False) -> None:
    """Show what signs its deliveries, for its receiver alone.

    JSON: {"id", "secret"}.
    """

    async def work() -> SigningSecret:
        async with Session(Settings()) as session:
            return await _found(webhooks.secret_of(session, webhook))

    shown = run(work(), as_json=as_json)
    show(shown, OneLine(shown.secret), as_json=as_json)


@app.command("remove")
def remove(webhook: IdArgument, as_json: AsJson = False) -> None:
    """Tell it nothing more, and forget what waited for it.

    JSON: {"removed"}.
    """

    async def work() -> None:
        async with Session(Settings()) as session:
            await _found(webhooks.unsubscribe(session, webhook))

    run(work(), as_json=as_json)
    show({"removed": webhook}, Text(f"{webhook} is told nothing more."), as_json=as_json)


def _change(webhook: str, wanted: SubscriptionChange, as_json: bool) -> None:
    async def work() -> Subscription:
        async with Session(Settings()) as session:
            return await _found(webhooks.change(session, webhook, wanted))

    now = run(work(), as_json=as_json)
    told = f"{now.id}: {'active' if now.active else _standing(now)}, at position {now.position}."
    show(now, Text(told), as_json=as_json)


async def _found(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    except NoSuchSubscription as error:
        raise Failure(Exit.FAILED, str(error)) from None


def _types(each: Subscription) -> str:
    if each.types is None:
        return "everything"
    some = ", ".join(each.types[:3])
    return some if len(each.types) <= 3 else f"{some} and {len(each.types) - 3} more"


def _standing(each: Subscription) -> str:
    if not each.active:
        return "paused" if each.ended == "paused" else "its receiver wants no more (410)"
    if each.failing_since is not None:
        return f"{each.position}, failing since {each.failing_since:%Y-%m-%d %H:%M} UTC"
    return str(each.position)


@app.command("deliveries")
def deliveries(
    webhook: Annotated[str | None, typer.Option(help="Of this webhook alone.")] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Only dead letters.")] = False,
    case: OfCase = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """What waits, what was delivered lately, and what could not be.

    JSON: {"deliveries": [delivery, …]}.
    """

    async def work() -> list[DeliveryRow]:
        async with Session(Settings()) as session:
            return await Subscriptions(session.pool).deliveries(
                session.organisation,
                subscription=webhook,
                state="dead" if dead else None,
                case_id=case,
                limit=limit,
            )

    rows = run(work(), as_json=as_json)
    drawn = table("Position", "Case", "To", "State", "Attempts")
    drawn.columns[1].no_wrap = True
    for row in rows:
        place = f"{row.position}/{row.ordinal}"
        state = f"{row.state}: {row.status}" if row.status else row.state
        drawn.add_row(place, row.case_id, row.subscription, Text(state), str(row.attempts))
    show({"deliveries": rows}, drawn if rows else Text("None."), as_json=as_json)


@app.command("retry")
def retry(
    webhook: Annotated[str | None, typer.Option(help="Of this webhook alone.")] = None,
    case: OfCase = None,
    at: Annotated[int | None, typer.Option(metavar="POSITION", help="Of this event alone.")] = None,
    as_json: AsJson = False,
) -> None:
    """Try dead letters again: all, or those that are named.

    JSON: {"redriven": [{"subscription", "deliveries"}, …]}.
    """

    async def work() -> list[Redriven]:
        async with Session(Settings()) as session:
            place = None if at is None else (at, None)
            return await webhooks.redrive(session, subscription=webhook, case_id=case, place=place)

    done = run(work(), as_json=as_json)
    lines = [f"{each.subscription}: {each.deliveries} are tried again." for each in done]
    text = "\n".join(lines) or "There is no such dead letter."
    show({"redriven": done}, Text(text), as_json=as_json)
