"""`standpipe token`: a token of the embedded servers' own issuer, for one's own machine."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, cast

import typer

from gateway import commands
from gateway.commands import Invalid
from gateway.permissions import ROLES
from gateway.terminal.output import AsJson, Exit, Failure, OneLine, run, show
from schemas.base import SYSTEM, Role
from schemas.envelope import Json
from settings import Settings

ELSEWHERE = (
    "The gateway here does not trust `standpipe token`: get a token from the issuer that"
    " STANDPIPE_OIDC_ISSUER names."
)


def token(
    subject: Annotated[
        str, typer.Option(metavar="WHO", help="Staff number, crew or service, such as s-1041.")
    ],
    role: Annotated[list[str], typer.Option(metavar="ROLE", help="A role. Again for more.")],
    minutes: Annotated[int, typer.Option(min=1, max=720, help="So long is it good.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Make a bearer token for the gateway of `standpipe up`, on one's own machine.

    On real servers the organisation's own issuer gives them.

    JSON: {"token", "expires_at", "organisation"}.
    """

    async def work() -> Json:
        return _made(subject, role, timedelta(minutes=minutes))

    found = run(work(), as_json=as_json)
    show(found, OneLine(found["token"]), as_json=as_json)


def _made(subject: str, roles: list[str], lifetime: timedelta) -> Json:
    settings = Settings()
    if settings.oidc_issuer is not None or settings.database_url is not None:
        raise Failure(Exit.FAILED, ELSEWHERE)
    checked = _checked(subject, roles)
    from gateway import issuer  # cryptography that no other verb needs: they start faster without

    now = datetime.now(UTC).replace(microsecond=0)
    made = issuer.mint(
        settings.data_dir,
        subject,
        checked,
        settings.organisation,
        settings.oidc_audience,
        now,
        lifetime,
    )
    return {
        "token": made,
        "expires_at": (now + lifetime).isoformat(),
        "organisation": settings.organisation,
    }


def _checked(subject: str, roles: list[str]) -> list[Role]:
    """The roles, each once. Raises `Invalid` with all that is wrong."""
    wrong: list[str] = []
    try:
        commands.actor(subject, ROLES[0])
    except Invalid as error:
        wrong += [reason.replace("--as:", "--subject:") for reason in error.reasons]
    if subject.casefold() == SYSTEM.subject:
        wrong.append("--subject: nobody but Standpipe itself has its name")
    if not set(roles) <= set(ROLES):
        wrong.append(f"--role: one of {', '.join(ROLES)}")
    if wrong:
        raise Invalid(wrong)
    return cast("list[Role]", list(dict.fromkeys(roles)))
