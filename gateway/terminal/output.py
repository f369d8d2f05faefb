"""How commands end: results on stdout, all else on stderr, one clear error, an exit code."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import asynccontextmanager
from enum import IntEnum
from typing import Annotated, Any, NoReturn, TypeVar, cast

import asyncpg
import typer
from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text
from temporalio.client import WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError
from typer.core import TyperGroup

from activities.auditors import NoAuditor
from activities.cases import USED, Conflict
from activities.database import DatabaseUnavailable
from activities.migrations import MigrationError
from activities.signing_keys import KeyRefused
from activities.vault import VaultError
from gateway.calling import Problem, Unreachable
from gateway.commands import Invalid
from gateway.importing import NothingRecorded
from gateway.letters import LetterError
from gateway.mappings import FilingError
from gateway.policies import PolicyError
from gateway.session import NoSuchCase
from gateway.signing import KeyFileError
from gateway.terminal.elsewhere import against
from lifecycles.decisions import Rejected
from settings import SettingsError
from stack import StackError

T = TypeVar("T")

WORKER_SECONDS = 30.0

out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False)

AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON alone on standard output.", show_default=False)
]


class Exit(IntEnum):
    """Exit codes, as `standpipe --help` tells them."""

    DONE = 0
    FAILED = 1
    WRONG_INPUT = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)
"""Typer keeps its name to itself."""


class Verbs(TyperGroup):
    """The verbs, which in an error never repeat what was typed: it may be personal."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        words = [name or "", *(rest[:1] if isinstance(command, TyperGroup) else ())]
        if not {"--help", "-h"} & set(rest) and (why := against(" ".join(words))):
            fail(WrongInput(why), as_json="--json" in rest)
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        words = [*ctx._protected_args, *ctx.args]
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            error.message = _without_values(error.message, words)
            raise


_OPTION = re.compile(r"--?[a-z][a-z-]{0,29}")
"""What may be an option with a slip in it; anything else may be a value without its option."""


def _without_values(message: str, words: list[str]) -> str:
    if message.startswith("Got unexpected extra"):
        return "Some words belong to no option: put a value with spaces into quotes."
    values = {w.partition("=")[2] if w.startswith("-") else w for w in words}
    for value in sorted(values - {""}, key=len, reverse=True):
        message = message.replace(repr(value), "'…'")
    for option in {w.partition("=")[0] for w in words if w.startswith("-")}:
        if not _OPTION.fullmatch(option):
            message = message.replace(option, "--…")
    return message


class Failure(Exception):
    """A command that cannot be done: why, with every reason, and the exit code."""

    def __init__(
        self, code: Exit, message: str, reasons: Iterable[str] = (), *, refused: bool = False
    ) -> None:
        self.code = code
        self.kind = "refused" if refused else code.name.lower()
        """In JSON: refused, failed, wrong_input, unreachable."""
        self.message = message
        self.reasons = tuple(reasons)
        super().__init__(message)


class WrongInput(Failure):
    """Something in what was typed, or in a file that it names, is wrong."""

    def __init__(self, message: str, reasons: Iterable[str] = ()) -> None:
        super().__init__(Exit.WRONG_INPUT, message, reasons)


def run(work: Coroutine[Any, Any, T], *, as_json: bool = False, again: str = "Interrupted.") -> T:
    """Do a command's work; what goes wrong ends the program with one message and an exit code.

    `again` is said on Ctrl-C.
    """
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        say(again)
        raise typer.Exit(Exit.INTERRUPTED) from None
    except Exception as error:
        failure = explain(error)
        if failure is None:
            raise
        fail(failure, as_json=as_json)


def explain(error: BaseException) -> Failure | None:
    """An error as a person can use it; None for one that is a fault in Standpipe."""
    match error:
        case Failure():
            return error
        case BaseExceptionGroup():
            return explain(error.exceptions[0])
        case Rejected():
            return Failure(Exit.FAILED, "", error.reasons, refused=True)
        case Invalid():
            return WrongInput("", error.reasons)
        case SettingsError() | PolicyError() | FilingError() | KeyFileError() | LetterError():
            return WrongInput(str(error))
        case StackError() | DatabaseUnavailable():
            return Failure(Exit.UNREACHABLE, str(error))
        case NothingRecorded():
            return Failure(Exit.UNREACHABLE, str(error))
        case NoSuchCase() | VaultError() | MigrationError() | KeyRefused() | NoAuditor():
            return Failure(Exit.FAILED, str(error))
        case asyncpg.UndefinedTableError() | asyncpg.UndefinedFunctionError():
            return Failure(
                Exit.FAILED,
                "The database does not have this version's tables: run `standpipe migrate` first.",
            )
        case asyncpg.InvalidAuthorizationSpecificationError() | asyncpg.InvalidCatalogNameError():
            return Failure(
                Exit.UNREACHABLE,
                "PostgreSQL does not let Standpipe in: check STANDPIPE_DATABASE_URL, its role and"
                f" password ({type(error).__name__}).",
            )
        case asyncpg.InsufficientPrivilegeError():
            return Failure(
                Exit.FAILED,
                "This database role may not do that: set STANDPIPE_ADMIN_DATABASE_URL to one that"
                " may.",
            )
        case Conflict():
            return Failure(Exit.FAILED, str(error), refused=True)
        case Problem():
            return _of_gateway(error)
        case Unreachable():
            return Failure(
                Exit.UNREACHABLE,
                f"{error} Check STANDPIPE_GATEWAY_URL, and whether a gateway runs there. The same"
                " command under the same --id is safe.",
            )
        case RPCError():
            return Failure(
                Exit.UNREACHABLE,
                f"Temporal did not answer ({error.status.name.lower()}): is it running,"
                " and is a worker? The same command under the same --id is safe.",
            )
        case _:
            return None


def _of_gateway(problem: Problem) -> Failure:
    """What a gateway elsewhere says, as one here would."""
    reasons = problem.reasons or (problem.detail or f"{problem.title} ({problem.status}).",)
    if problem.kind in ("refused", "conflict"):
        return Failure(Exit.FAILED, "", reasons, refused=True)
    if problem.kind == "key-reused":
        return Failure(Exit.FAILED, USED, refused=True)
    if problem.kind in ("invalid", "key-missing"):
        return WrongInput("", reasons)
    if problem.kind == "unauthorized":
        again = "Get a new one for STANDPIPE_GATEWAY_TOKEN or STANDPIPE_GATEWAY_TOKEN_FILE."
        return Failure(Exit.FAILED, f"The gateway does not take the token. {again}", reasons)
    if problem.passing:
        told = f"The gateway cannot do it now: {problem.title} ({problem.status})."
        return Failure(Exit.UNREACHABLE, told, reasons)
    return Failure(Exit.FAILED, "", reasons)


@asynccontextmanager
async def answered(command_id: str) -> AsyncGenerator[None]:
    """Waits for the case as long as a person would; then says that the same id is safe."""
    try:
        async with asyncio.timeout(WORKER_SECONDS):
            yield
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        # The client leaves a call behind that nobody asks any more; its end is no news to anybody.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        raise Failure(
            Exit.UNREACHABLE,
            f"No worker took it within {WORKER_SECONDS:.0f} seconds: does `standpipe up` or"
            " `standpipe worker` run? It may still be carried out, so send it again with"
            f" --id {command_id}: then it is done once.",
        ) from None


def fail(failure: Failure, *, as_json: bool = False) -> NoReturn:
    """Say what is wrong, all of it, and end."""
    # Plain lines rather than a table: people copy them, and scripts read them.
    words = failure.kind.replace("_", " ").capitalize()
    err.print(f"[bold red]{words}:[/] ", end="")
    reasons = failure.reasons
    if len(reasons) == 1 and not failure.message:
        err.print(reasons[0], markup=False, soft_wrap=True)
    else:
        err.print(failure.message, markup=False, soft_wrap=True)
        for reason in reasons:
            err.print(f"  - {reason}", markup=False, soft_wrap=True)
    if as_json:
        show_json({"error": failure.kind, "message": failure.message, "reasons": reasons})
    raise typer.Exit(failure.code)


def show(value: object, *drawn: RenderableType, as_json: bool) -> None:
    """A result: as JSON, or drawn for people."""
    if as_json:
        show_json(value)
    else:
        for part in drawn:
            out.print(part, soft_wrap=isinstance(part, OneLine))


def show_json(value: object) -> None:
    """JSON on standard output; models as `mode="json"` dumps them."""
    print(json.dumps(value, default=_plain, ensure_ascii=False, indent=2), flush=True)


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} has no JSON form")


class OneLine(Text):
    """A line that stays one, however narrow the terminal: somebody will copy it."""


def say(text: str) -> None:
    """A word to the person, on stderr: never part of the result."""
    err.print(text, markup=False, soft_wrap=True)


def progress(*, auto_refresh: bool = True) -> Progress:
    """Progress bars on stderr, for tasks with a `note`; silent where nobody looks."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=err,
        transient=True,
        auto_refresh=auto_refresh,
        disable=not err.is_terminal,
    )
