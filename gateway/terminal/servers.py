"""`standpipe up`, `worker`, `migrate` and `recover`: what runs, and starts to run again."""

import asyncio
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Collection, Coroutine, Mapping
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.text import Text
from temporalio.client import Client
from temporalio.worker import Worker

from activities.archive import Archiver
from activities.auditors import ROLE as AUDITOR
from activities.auditors import Scope, set_auditors
from activities.database import reached
from activities.delivery import Deliveries, Patience
from activities.event_log import EventLog
from activities.migrations import migrate as apply_migrations
from activities.role_passwords import ROLES, set_passwords
from gateway import deployments
from gateway.archiver import ensure_archiver
from gateway.carriers import OurRoads
from gateway.checkpoints import checkpoints, ensure_checkpoints
from gateway.commands import Invalid
from gateway.policies import content_of
from gateway.recovery import Recovered
from gateway.recovery import recover as recover_cases
from gateway.schedules import ensure_schedules
from gateway.session import Session, policy_folder
from gateway.terminal.output import (
    AsJson,
    Exit,
    Failure,
    OneLine,
    WrongInput,
    progress,
    run,
    say,
    show,
)
from gateway.webhooks import ensure_deliveries
from schemas.envelope import Json
from settings import Settings
from stack import Endpoints, Stack, StackError, endpoints
from worker import build_worker

T = TypeVar("T")

CONNECTIONS = 20
_SCOPE = re.compile(r"([a-z_][a-z0-9_-]{0,62})=([a-z][a-z0-9-]{1,30})")
FIRST_REPORT = (
    "repair report --channel phone --category no-gas --district north"
    ' --name "Li Na" --phone 13800000000 --address "5 Lane 12"'
)


def up(
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the data is; .standpipe if left out.")
    ] = None,
    time_skipping: Annotated[
        bool, typer.Option("--time-skipping", help="Let clients fast-forward a case's clock.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Temporal's port; 0: any free one.")
    ] = 7233,
    ui_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Its web UI's port; 0: any free one.")
    ] = 8233,
    http_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="The HTTP API's; STANDPIPE_HTTP_PORT if left out; 0: any."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run PostgreSQL, Temporal, a worker and the HTTP API on one data directory, until Ctrl-C or
    SIGTERM.

    JSON: one object with every address, printed when all of it runs.
    """

    async def work() -> None:
        settings = Settings()
        if settings.database_url is not None:
            raise WrongInput(
                "STANDPIPE_DATABASE_URL names a real server, and `up` runs its own: unset it, or"
                " run `standpipe worker`."
            )
        if data_dir is not None:
            settings = settings.model_copy(update={"data_dir": data_dir})
        policy = content_of(settings.policy, policy_folder(settings))
        stack = Stack(
            settings.data_dir,
            time_skipping=time_skipping,
            temporal_port=port,
            ui_port=ui_port,
            report=say,
        )
        async with stack, Session(settings, connections=CONNECTIONS) as session:
            await set_auditors(session.admin_url, [(AUDITOR, session.organisation)])
            client = await session.client()
            async with (
                _worker(session, client),
                _gateway(settings, None, http_port, quiet=True) as http,
            ):
                await _current(settings, client, alone=True)
                await _schedules(session, client, policy)
                found = _addresses(session, http)
                show(found, *_drawn_addresses(found), as_json=as_json)
                await stack.until_stopped()
            say("Stopping …")
        say("Stopped. The data is kept; `standpipe up` goes on from here.")

    run(started(work()), as_json=as_json)


async def started(work: Coroutine[Any, Any, T]) -> T:
    """Servers of our own that cannot run have failed; nobody has to look for them elsewhere."""
    try:
        return await work
    except StackError as error:
        raise Failure(Exit.FAILED, str(error)) from None


def worker(
    current: Annotated[
        bool,
        typer.Option("--current", help="Send all cases to this build, whichever was current."),
    ] = False,
) -> None:
    """Run only a worker: on the servers that the environment names, or beside a running `up`.

    The first ever makes its build current. Of another build it gets no work until it is made
    current, by --current or by `standpipe deployment set-current` (docs/deploying.md).
    """

    async def work() -> None:
        settings = Settings()
        policy = content_of(settings.policy, policy_folder(settings))
        async with Session(settings, connections=CONNECTIONS) as session:
            await session.check_schema()
            if session.endpoints.embedded:
                await set_auditors(session.admin_url, [(AUDITOR, session.organisation)])
            client = await session.client()
            stop = asyncio.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            async with _worker(session, client):
                await _current(settings, client, only_first=not current)
                await _schedules(session, client, policy)
                say(
                    f"A worker runs for {session.organisation} on task queue"
                    f" {settings.task_queue}, at {session.endpoints.temporal_address}."
                    " Stop it with Ctrl-C or SIGTERM."
                )
                await stop.wait()
                say("Finishing what is begun …")
        say("Stopped.")

    run(work())


def serve(
    host: Annotated[
        str | None, typer.Option(help="Where it listens; STANDPIPE_HTTP_HOST if left out.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="STANDPIPE_HTTP_PORT if left out; 0: any free one."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run only the HTTP API: on the servers that the environment names, or beside a running `up`.

    Tokens are those of STANDPIPE_OIDC_ISSUER; beside `up`, those of `standpipe token`.

    JSON: {"http_url"}, when it listens.
    """

    async def work() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with _gateway(Settings(), host, port) as http:
            said = Text(f"The HTTP API is at {http}; {http}/openapi.json describes it.")
            show({"http_url": http}, said, as_json=as_json)
            await stop.wait()
            say("Finishing what is begun …")
        say("Stopped.")

    run(work(), as_json=as_json)


def migrate(
    role_passwords: Annotated[
        list[str] | None,
        typer.Option(
            "--role-password",
            metavar="ROLE=FILE",
            help="Also give this role the password that the file holds. Again for more.",
        ),
    ] = None,
    auditors: Annotated[
        list[str] | None,
        typer.Option(
            "--auditor",
            metavar="LOGIN=ORGANISATION",
            help="Also let this login read that organisation's log, and nothing else; it is made"
            " if there is none. Again for more.",
        ),
    ] = None,
    no_auditors: Annotated[
        list[str] | None,
        typer.Option(
            "--no-auditor",
            metavar="LOGIN=ORGANISATION",
            help="Let this login read that organisation's log no more. Again for more.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring the database to this version: schema, roles and grants. Safe to run again.

    JSON: {"applied": [migration, …], "passwords": [role, …], "auditors": {login: [organisation,
    …], …}}, the last only where --auditor or --no-auditor is given.
    """

    async def work() -> Json:
        settings = Settings()
        let, stop = _scopes("--auditor", auditors), _scopes("--no-auditor", no_auditors)
        passwords = _passwords(role_passwords or [], {*ROLES, *(login for login, _ in let)})
        admin_url = settings.migration_database_url()
        if admin_url is None and settings.database_url is not None:
            raise WrongInput("Set STANDPIPE_ADMIN_DATABASE_URL to a role that may migrate.")
        admin_url = admin_url or _admin_url(endpoints(settings))
        async with reached():
            done: Json = {"applied": await apply_migrations(admin_url)}
        if let or stop:
            may = await set_auditors(admin_url, let, stop)
            done["auditors"] = {
                login: [scope[1] for scope in scopes]
                for login, scopes in groupby(may, key=lambda scope: scope[0])
            }
        await set_passwords(admin_url, passwords)
        return {**done, "passwords": sorted(passwords)}

    done = run(work(), as_json=as_json)
    lines = [f"applied {name}" for name in done["applied"]] or ["The schema is up to date."]
    lines += [f"password set for {role}" for role in done["passwords"]]
    may: dict[str, list[str]] = done.get("auditors", {})
    lines += [
        f"{login} may audit {', '.join(organisations)}" for login, organisations in may.items()
    ]
    show(done, Text("\n".join(lines)), as_json=as_json)


def recover(as_json: AsJson = False) -> None:
    """Start every open case that has no running workflow: from the log, with every deadline kept.

    JSON: {"taken_up", "running"}.
    """

    async def work() -> Recovered:
        async with Session(Settings()) as session:
            with progress() as bars:
                task = bars.add_task("taken up", total=None, note="")
                done = await recover_cases(
                    await session.cases(),
                    session.log,
                    session.organisation,
                    lambda done, of: bars.update(task, completed=done, total=of),
                )
            # Their workflows are lost with the others; what they deliver is not.
            client = await session.client()
            await ensure_deliveries(session, client)
            await ensure_archiver(client, session.organisation, session.settings.task_queue)
            await ensure_checkpoints(session, client)
            return done

    done = run(work(), as_json=as_json)
    text = f"Open cases taken up: {done.taken_up}; running already: {done.running}."
    if done.taken_up:
        text += "\nA worker lets them catch up: what fell due meanwhile counts at its due time."
    show(done, Text(text), as_json=as_json)


def program() -> str:
    """How this program is called from here, to be copied."""
    return "standpipe" if shutil.which("standpipe") else os.path.relpath(sys.argv[0])


def _worker(session: Session, client: Client) -> Worker:
    settings = session.settings
    roads = OurRoads(session.pool, settings)
    patience = Patience(days=settings.delivery_days)
    deliveries = Deliveries(session.pool, session.organisation, roads, patience)
    archiver = Archiver(client, session.pool, session.organisation, settings.task_queue)
    signing = checkpoints(session)
    return build_worker(
        client,
        EventLog(session.pool),
        organisation=session.organisation,
        task_queue=settings.task_queue,
        max_cached_workflows=settings.max_cached_workflows,
        more_activities=[
            deliveries.deliver,
            archiver.archive,
            *([signing.serve] if signing is not None else ()),
        ],
        deployment=deployments.version_of(settings),
    )


async def _current(
    settings: Settings, client: Client, *, only_first: bool = False, alone: bool = False
) -> None:
    """See that there is a build to which the cases go; say so where it is another than this."""
    ours = deployments.version_of(settings)
    try:
        current = await deployments.make_current(client, ours, only_first=only_first, alone=alone)
    except deployments.NotDeployed as error:
        raise Failure(Exit.FAILED, str(error)) from None
    if current != ours.build_id:
        say(
            f"This is build {ours.build_id}, and the cases go to {current}. When this one is to"
            " have them: standpipe deployment set-current"
        )


@asynccontextmanager
async def _gateway(
    settings: Settings, host: str | None, port: int | None, *, quiet: bool = False
) -> AsyncGenerator[str]:
    """The HTTP API, and its address; `quiet`: its faults go to a file in the data directory."""
    from gateway.http import server  # a framework that no other verb needs

    server.log_to(settings.data_dir / "logs" if quiet else None)
    where = settings.http_port if port is None else port
    async with server.gateway(settings, host or settings.http_host, where) as address:
        yield address


async def _schedules(session: Session, client: Client, policy: str) -> None:
    """What comes by itself: satisfaction (CNPC-2.5, GAS-3.4), assessments (WAT-P1)."""
    queue = session.settings.task_queue
    for id, done in (await ensure_schedules(client, session.organisation, policy, queue)).items():
        if done != "unchanged":
            say(f"Schedule {id}: {done}.")
    await ensure_deliveries(session, client)
    await ensure_archiver(client, session.organisation, queue)
    if not await ensure_checkpoints(session, client):
        say(
            "No checkpoint is signed here, because the log's key is not: set"
            " STANDPIPE_CHECKPOINT_KEY_FILE (docs/production.md)."
        )


def _admin_url(found: Endpoints) -> str:
    if found.admin_url is None:
        raise StackError("Set STANDPIPE_ADMIN_DATABASE_URL to a role that may migrate.")
    return found.admin_url


def _scopes(option: str, given: list[str] | None) -> list[Scope]:
    """Logins and the organisations that they read. Raises `Invalid` with all that is wrong."""
    found = [_SCOPE.fullmatch(pair) for pair in given or ()]
    if None in found:
        raise Invalid([f"{option}: write LOGIN=ORGANISATION, such as inspector=town"])
    return [(match[1], match[2]) for match in found if match is not None]


def _passwords(given: list[str], roles: Collection[str]) -> Mapping[str, str]:
    """The roles' passwords from their files. Raises `Invalid` with all that is wrong."""
    found: dict[str, str] = {}
    wrong: list[str] = []
    for pair in given:
        role, _, file = pair.partition("=")
        if role not in roles or not file:
            wrong.append(
                f"--role-password: write ROLE=FILE, with one of {', '.join(ROLES)}, or a login"
                " that --auditor names beside it"
            )
            continue
        try:
            password = Path(file).read_text(encoding="ascii").strip("\r\n")
        except OSError as error:
            wrong.append(f"--role-password: {role}: {file}: {error.strerror}")
            continue
        except UnicodeDecodeError:
            password = ""
        if not password.isprintable() or not password:
            wrong.append(f"--role-password: {role}: {file} must hold one line of plain ASCII")
        found[role] = password
    if wrong:
        raise Invalid(wrong)
    return found


def _addresses(session: Session, http: str) -> Json:
    found, settings = session.endpoints, session.settings
    return {
        "organisation": session.organisation,
        "http_url": http,
        "ui_url": found.ui_url,
        "temporal_address": found.temporal_address,
        "temporal_namespace": found.temporal_namespace,
        "task_queue": settings.task_queue,
        "database_url": found.database_url,
        "data_dir": str(settings.data_dir.absolute()),
        "time_skipping": found.time_skipping,
        "pid": found.pid,
    }


def _drawn_addresses(found: Json) -> list[Text]:
    where = found["data_dir"]
    rows = (
        ("HTTP API", f"{found['http_url']}; {found['http_url']}/openapi.json describes it"),
        ("Temporal's web UI", found["ui_url"]),
        ("Temporal", f"{found['temporal_address']}, namespace {found['temporal_namespace']}"),
        ("Task queue", f"{found['task_queue']}; a worker runs in this process"),
        ("PostgreSQL", found["database_url"]),
        ("Data", f"{where}: postgres/, temporal.db, logs/"),
        ("Vault key", f"{where}/key; without it customers' data is lost: keep a copy elsewhere"),
        ("Log's key", f"{where}/checkpoint-key; `standpipe audit key` prints what to pin"),
    )
    skips = "; clients may skip time" if found["time_skipping"] else ""
    lines = [
        Text(f"Standpipe runs for {found['organisation']}{skips}.", style="bold green"),
        *(OneLine(f"{name:<18} {value}") for name, value in rows),
    ]
    if Path(where) != Path(".standpipe").absolute():
        lines.append(OneLine(f"In other terminals first: export STANDPIPE_DATA_DIR={where}"))
    return [
        *lines,
        Text("Report a first repair from another terminal:"),
        OneLine(f"  {program()} {FIRST_REPORT}"),
        Text("Stop everything with Ctrl-C."),
    ]
