"""The demonstration keeps its word: real cases on its own servers end as the stories tell."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import RenderableType
from typer.testing import CliRunner, Result

from cli import app
from gateway import demo
from gateway import demo_arrears as arrears
from gateway import demo_complaints as complaints
from gateway.policies import content_of
from gateway.theatre import Theatre
from schemas.conduct import conduct_id

ROOT = Path(__file__).parents[2]
PEOPLE = (
    *(demo.WANG, demo.LIU, demo.ZHAO, demo.SUN, demo.QIAN, demo.ZHOU),
    *(complaints.WU, complaints.ZHENG, complaints.CHEN, complaints.HE, complaints.XU),
    *(arrears.LAUNDRY, arrears.FENG),
)
PARTICULARS = [
    text for party in PEOPLE for text in (party.name, party.phone, party.address) if text
]


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


async def test_the_stories_end_as_they_are_told_and_tell_nothing_personal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = content_of("gas", ROOT / "policies")
    told: list[RenderableType] = []
    async with Theatre.opened(tmp_path / "demo", policy, lambda _: None) as theatre:
        scenes = await demo.play(theatre, told.append)
        ends = [await scene.timeline() for scene in scenes]
        facts: list[Any] = [demo.facts(s.title, end) for s, end in zip(scenes, ends, strict=True)]
        log, organisation = theatre.session.log, theatre.session.organisation
        events = await log.read_stream(organisation, conduct_id(organisation, complaints.STAFF))
        file = [event.type for event in events]
        parties = [party for scene in scenes for party in scene.parties]
        vault = theatre.session.vault
        kept = [await vault.show(theatre.session.organisation, party) for party in parties]

        monkeypatch.setenv("STANDPIPE_DATA_DIR", str(tmp_path / "demo"))
        monkeypatch.setenv("STANDPIPE_ORGANISATION", theatre.session.organisation)
        shown = [
            await asyncio.to_thread(run, *words)
            for words in (
                ("outbox", "--limit", "1000", "--json"),
                ("case", "list", "--json"),
                *(("case", "show", fact["case_id"], "--json") for fact in facts),
            )
        ]
    in_time, nobody, no_access, one_fault, unhappy, returned, late, strikes, *debts = facts

    assert in_time["stage"] == "Closed"
    assert (in_time["broken"], in_time["told"]) == ([], [])
    assert set(in_time["kept"]) == {"KUN-5.5.1", "KUN-2.2.4b", "KUN-2.2.4c", "KUN-5.3.6"}

    assert nobody["stage"] == "Closed"
    assert set(nobody["broken"]) == {"KUN-5.5.1", "KUN-2.2.4b", "KUN-2.2.4c"}
    assert nobody["told"][-1] == "general_manager"

    assert (no_access["stage"], no_access["visits_without_access"]) == ("Cancelled", 2)

    assert (one_fault["stage"], len(one_fault["merged"])) == ("Closed", 1)
    assert one_fault["broken"] == []

    assert (unhappy["stage"], unhappy["rework"]) == ("Closed", 2)
    assert "supervisor" in unhappy["owners"]

    assert returned["stage"] == "Closed"
    assert "KUN-2.2.6" in returned["kept"]  # on the clock that began at registration
    assert "supervisor" in returned["told"]

    assert late["stage"] == "Closed"
    assert "KUN-2.2.6" in late["broken"]
    assert late["told"][-1] == "general_manager"

    assert strikes["stage"] == "Closed"
    assert file.count("FindingRecorded") == 3
    assert file.count("ReassignmentProposed") == file.count("Reassigned") == 1

    assert [debt["stage"] for debt in debts] == ["Closed", "Closed"]
    stopped, spared = (end.state for end in ends[-2:])
    assert [(s["kind"], s["permitted"]) for s in stopped["stops"]] == [
        ("temporary", True),
        ("full", True),
    ]
    assert stopped["stops"][0]["reopened_at"] < stopped["stops"][1]["restored_at"]
    assert [a["state"] for a in stopped["approvals"]] == ["approved", "approved"]
    assert "WAT-C4c" in debts[0]["kept"]  # supply restored in time
    assert (spared["stops"], spared["supply"]) == ([], "on")
    assert [p["state"] for p in spared["permits"]] == ["revoked"]

    assert sorted(str(p.name) for p in kept) == sorted(str(p.name) for p in PEOPLE)
    for result in shown:
        assert result.exit_code == 0, result.stderr
        for text in PARTICULARS:
            assert text not in result.stdout + result.stderr


def test_the_demo_command_answers_in_json_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo, "SCENES", demo.SCENES[:1])
    monkeypatch.setattr(demo, "SHOWN_IN_FULL", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    # Whatever servers the environment names, the demonstration leaves them alone.
    monkeypatch.setenv("STANDPIPE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    monkeypatch.setenv("STANDPIPE_ORGANISATION", "real")
    result = run("demo", "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert [scene["stage"] for scene in answer["scenes"]] == ["Closed"]
    assert answer["data_dir"] is None
    assert list(tmp_path.iterdir()) == []
