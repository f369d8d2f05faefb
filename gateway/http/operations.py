"""For whoever runs it: outbox, refusals, policies; whether it lives, and whether it is ready."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

import asyncpg
from fastapi import APIRouter, Path, Response

from activities.database import DatabaseUnavailable
from activities.migrations import MigrationError
from gateway.http.access import Caller, Principal, may_see
from gateway.http.problems import FOLDER, KINDS, Failed
from gateway.http.serving import After, Limit, OfCase, Serving, ends_in, shown
from gateway.paging import message, number, paged
from gateway.policies import PolicyError, load
from gateway.session import Session, policy_folder
from schemas.base import Value
from schemas.policy import Policy
from schemas.read_models import OutboxRow, RefusalRow
from settings import SettingsError
from stack import StackError

router = APIRouter(tags=["operations"])
open_router = APIRouter(tags=["operations"])
"""What needs no token."""

READY_SECONDS = 5.0


class OutboxPage(Value):
    """Messages to the outside, in the order in which they became true."""

    messages: tuple[OutboxRow, ...]
    next: str | None
    """To go on with: `after` of the next page; null at the end."""


class RefusalPage(Value):
    """What was refused to whom, in the order in which it was kept."""

    refusals: tuple[RefusalRow, ...]
    next: str | None
    """To go on with: `after` of the next page; null at the end."""


class PolicyName(Value):
    """A policy that new cases can pin."""

    name: str
    title: str
    version: str
    hash: str
    new_cases: bool
    """Whether new cases pin this one."""


class PolicyList(Value):
    """The policies in the organisation's folder."""

    policies: tuple[PolicyName, ...]


class ShownPolicy(Value):
    """A policy: promises, ladders, approvals, and the hash that cases pin."""

    hash: str
    policy: Policy


class Alive(Value):
    """It runs."""

    status: Literal["ok"] = "ok"


class ProblemType(Value):
    """What a type of problem means, and what to do about it."""

    type: str
    title: str
    status: int
    advice: str


@router.get(
    "/me", name="show_me", summary="Who am I?", response_model=Principal, responses=ends_in()
)
async def show_me(*, caller: Caller) -> Response:
    """As whom your token lets you act: subject, roles and organisation."""
    return shown(caller)


@router.get(
    "/outbox",
    name="list_messages",
    summary="Messages to the outside",
    response_model=OutboxPage,
    responses=ends_in(),
)
async def list_messages(
    *,
    caller: Caller,
    session: Serving,
    case: OfCase = None,
    after: After = None,
    limit: Limit = 50,
) -> Response:
    """Ids and a template each: what is personal is read from the vault at delivery."""
    may_see(caller, "outbox")
    rows = await session.log.outbox(
        session.organisation, stream=case, after=message(after), limit=limit + 1
    )
    page, following = paged(rows, limit, lambda row: f"{row.position}/{row.ordinal}")
    return shown(OutboxPage(messages=page, next=following))


@router.get(
    "/refusals",
    name="list_refusals",
    summary="What was refused to whom",
    response_model=RefusalPage,
    responses=ends_in(),
)
async def list_refusals(
    *,
    caller: Caller,
    session: Serving,
    case: OfCase = None,
    after: After = None,
    limit: Limit = 50,
) -> Response:
    """Forbidden attempts, refused approvals, and refused commands that nobody waited for."""
    may_see(caller, "refusals")
    since = 0 if after is None else number(after, 2**63 - 1)
    rows = await session.log.refusals(
        session.organisation, stream=case, after=since, limit=limit + 1
    )
    page, following = paged(rows, limit, lambda row: row.number)
    return shown(RefusalPage(refusals=page, next=following))


@router.get(
    "/policies",
    name="list_policies",
    summary="List policies",
    response_model=PolicyList,
    responses=ends_in(),
)
async def list_policies(*, caller: Caller, session: Serving) -> Response:
    """Those that can be used; `standpipe policy check` says what is wrong with another."""
    may_see(caller, "policies")
    return shown(PolicyList(policies=await asyncio.to_thread(_policies, session)))


@router.get(
    "/policies/{name}",
    name="show_policy",
    summary="Show a policy",
    response_model=ShownPolicy,
    responses=ends_in("no-such-entry"),
)
async def show_policy(
    *,
    name: Annotated[str, Path(pattern=r"^[a-z][a-z0-9_-]{0,40}$", description="Such as gas.")],
    caller: Caller,
    session: Serving,
) -> Response:
    """One organisation's figures and ladders, each with the rule that it comes from."""
    may_see(caller, "policies")
    try:
        found = await asyncio.to_thread(load, name, policy_folder(session.settings))
    except PolicyError:
        raise Failed("no-such-entry", ["There is no such policy that can be used."]) from None
    return shown(ShownPolicy(hash=found.hash, policy=found.policy))


def _policies(session: Session) -> tuple[PolicyName, ...]:
    folder = policy_folder(session.settings)
    found: list[PolicyName] = []
    for path in sorted(folder.glob("*.toml")):
        try:
            known = load(path.stem, folder)
        except PolicyError:
            continue
        policy = known.policy
        found.append(
            PolicyName(
                name=path.stem,
                title=policy.title,
                version=policy.version,
                hash=known.hash,
                new_cases=path.stem == session.settings.policy,
            )
        )
    return tuple(found)


@open_router.get("/healthz", name="health", summary="Does it live?", response_model=Alive)
async def health() -> Response:
    """The process answers; see /readyz for what it needs."""
    return shown(Alive())


@open_router.get(
    "/readyz",
    name="readiness",
    summary="Is it ready?",
    response_model=Alive,
    responses=ends_in("unavailable", of=()),
)
async def readiness(*, session: Serving) -> Response:
    """PostgreSQL is at this version, Temporal answers, and the vault has its key."""
    checks: tuple[tuple[str, Callable[[], Awaitable[object]]], ...] = (
        ("PostgreSQL", session.check_schema),
        ("Temporal", lambda: _temporal(session)),
        ("The vault's key", lambda: _key(session)),
    )
    found = await asyncio.gather(*(_missing(what, check) for what, check in checks))
    if wrong := [reason for reason in found if reason]:
        raise Failed("unavailable", wrong)
    return shown(Alive())


async def _missing(what: str, check: Callable[[], Awaitable[object]]) -> str | None:
    try:
        async with asyncio.timeout(READY_SECONDS):
            await check()
    except MigrationError as error:
        return str(error)
    except SettingsError:
        return f"{what} cannot be read."
    except (
        *(DatabaseUnavailable, StackError, TimeoutError, RuntimeError, OSError),
        asyncpg.PostgresError,
    ):
        return f"{what} does not answer."
    return None


async def _temporal(session: Session) -> None:
    client = await session.client()
    if not await client.service_client.check_health():
        raise StackError("Temporal is not serving.")


async def _key(session: Session) -> None:
    session.settings.key_encryption_key()


@open_router.get(
    f"{FOLDER}{{kind}}",
    name="show_problem",
    summary="What a type of problem means",
    response_model=ProblemType,
    responses=ends_in("not-found", "invalid", of=()),
)
async def show_problem(
    *, kind: Annotated[str, Path(max_length=60, description="Such as refused.")]
) -> Response:
    """Where the `type` of a problem leads."""
    known = KINDS.get(kind)
    if known is None:
        raise Failed("not-found")
    return shown(
        ProblemType(
            type=f"{FOLDER}{kind}", title=known.title, status=known.status, advice=known.advice
        )
    )
