"""`standpipe demo`: servers of its own, a handful of cases, and what to try next."""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.rule import Rule
from rich.text import Text

from gateway import demo as stories
from gateway import policies
from gateway.drawing import draw
from gateway.session import policy_folder
from gateway.terminal.output import AsJson, OneLine, out, run, say, show
from gateway.terminal.servers import FIRST_REPORT, program, started
from gateway.theatre import DEMO, Theatre
from gateway.timeline import Timeline
from schemas.envelope import Json
from settings import Settings


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the data, to look at it afterwards.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Watch a handful of cases live and die on real servers, their clocks fast-forwarded.

    JSON: {"scenes": [{"title", "case_id", "stage", "kept", "broken", "told", …}], "seconds",
    "data_dir"}.
    """

    async def work(data_dir: Path) -> tuple[Json, Timeline]:
        policy = policies.content_of("gas", policy_folder(Settings()))
        tell: stories.Tell = (lambda _: None) if as_json else out.print
        async with Theatre.opened(data_dir, policy, say) as stage:
            say(f"Watch it in Temporal's own UI meanwhile: {stage.session.endpoints.ui_url}")
            began = time.monotonic()
            scenes = await stories.play(stage, tell)
            seconds = time.monotonic() - began
            shown = [await scene.timeline() for scene in scenes]
        told = [stories.facts(s.title, t) for s, t in zip(scenes, shown, strict=True)]
        result = {
            "scenes": told,
            "seconds": round(seconds, 1),
            "data_dir": str(data_dir) if keep else None,
        }
        return result, shown[stories.SHOWN_IN_FULL]

    data_dir = Path(tempfile.mkdtemp(prefix="standpipe-demo-"))
    try:
        result, longest = run(started(work(data_dir)), as_json=as_json)
    finally:
        if not keep:
            shutil.rmtree(data_dir, ignore_errors=True)
    drawn = (
        Rule("One of them in full: who, when, which rule", align="left"),
        draw(longest),
        Rule("All of them", align="left"),
        stories.summary(result["scenes"]),
        *_what_to_try(result),
    )
    show(result, *drawn, as_json=as_json)


def _what_to_try(result: Json) -> list[Text]:
    me = program()
    serve = "make serve" if Path("Makefile").exists() else f"{me} up"
    lines = [
        Text(
            f"Days and weeks in {result['seconds']:.0f} seconds: real timers of a real Temporal"
            " server, every event in a real PostgreSQL; names, phones and addresses nowhere but"
            " in the vault, encrypted. Now yours:"
        ),
        OneLine(f"  {serve:<30} # servers, worker and HTTP API, until Ctrl-C; then elsewhere:"),
        OneLine(f"  {me} {FIRST_REPORT}"),
        OneLine(f"  {me} case list"),
        OneLine(f"  {me} command CASE           # what can be asked of it now; then ask it"),
        OneLine(f"  {me} case watch CASE        # live; `case show CASE` draws all of it"),
    ]
    if result["data_dir"]:
        kept = f"STANDPIPE_ORGANISATION={DEMO} {me} up --data-dir {result['data_dir']}"
        lines.append(OneLine(f"This one is kept: {kept}"))
    return lines
