"""The picture of a repair is drawn from the rules, and the README shows that very picture."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from gateway import diagram
from lifecycles.repair_stages import ACTIVE, ALLOWED, ENDED, EXITS
from schemas.repair import Stage

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
explore = cache(diagram.explore)
state_diagram = cache(diagram.state_diagram)
ARROW = re.compile(r"^ *(\S+) --> (\S+): (.+)$", re.MULTILINE)


def test_every_stage_can_be_reached_and_every_end_but_a_merge_has_a_way_back() -> None:
    arrows = explore()
    assert {target for _, target in arrows} == set(Stage) - {Stage.UNREPORTED}
    for stage in (*EXITS, Stage.CLOSED):
        assert [target for source, target in arrows if source == stage] == [Stage.TRIAGED]
    assert all(any(source == stage for source, _ in arrows) for stage in ENDED)


def test_no_arrow_leads_where_the_table_of_stages_does_not_allow_it() -> None:
    for (source, target), labels in explore().items():
        for name in labels:
            if name in ALLOWED:
                network = name == "CompleteRepair" and source in ACTIVE
                assert source in ALLOWED[name] or network, f"{source} --> {target}: {name}"


def test_every_arrow_is_drawn_once_whether_alone_or_for_a_group() -> None:
    groups = {name: [*map(str, members)] for name, members in diagram._GROUPS.items()}  # pyright: ignore[reportPrivateUsage]
    drawn: list[tuple[str, str, str]] = []
    for source, target, words in ARROW.findall(state_diagram()):
        for word in words.split(", "):
            name = word.removesuffix(" (network fault)")
            drawn += [
                (s.replace("[*]", "Unreported"), t, name)
                for s in groups.get(source, [source])
                for t in groups.get(target, [target])
            ]
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == {
        (str(source), str(target), label)
        for (source, target), labels in explore().items()
        for label in labels
    }


def test_the_picture_tells_the_life_of_a_repair() -> None:
    lines = [line.strip() for line in state_diagram().splitlines()]
    assert lines[0] == "stateDiagram-v2"
    for line in (
        "[*] --> Reported: ReportRepair",
        "Dispatched --> Accepted: AcceptJob",
        "Waiting --> Fixed: CompleteRepair (network fault)",
        "AtWork --> Fixed: CompleteRepair",
        "Fixed --> Inspected: PassInspection",
        "Fixed --> CallbackDue: at once",
        "Paused --> Cancelled: time passes",
        "CallbackDue --> Triaged: RecordCallback",
        "Merged --> Waiting: SplitOut",
    ):
        assert line in lines


def test_braces_match_and_every_stage_inside_a_group_is_declared_there() -> None:
    text = state_diagram()
    assert text.count("{\n") == text.count("}\n") == 3
    for stage in ACTIVE:
        assert re.search(rf"^ +{stage}$", text, re.MULTILINE)


def test_the_picture_does_not_depend_on_the_hash_seed() -> None:
    run = subprocess.run(
        [sys.executable, "-c", "from gateway.diagram import state_diagram; print(state_diagram())"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == state_diagram()


def test_a_command_without_an_example_and_a_stage_out_of_reach_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(diagram, "ALLOWED", {**ALLOWED, "PaintPipe": ()})
        with pytest.raises(ValueError, match="example of: PaintPipe"):
            diagram.state_diagram()
    monkeypatch.setattr(diagram, "explore", dict[object, object])
    with pytest.raises(ValueError, match="No command leads to: Accepted, "):
        diagram.state_diagram()


@pytest.mark.skipif(not README.exists(), reason="there is no README yet")
def test_the_readme_shows_this_very_picture() -> None:
    shown = re.search(
        r"<!-- repair-diagram -->\n```mermaid\n(.*?)\n```\n<!-- /repair-diagram -->",
        README.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    assert shown is not None, "the README lost its markers or the picture between them"
    assert shown[1] == state_diagram(), (
        "copy the output of `python -c 'from gateway.diagram import state_diagram;"
        " print(state_diagram())'` into the README"
    )
