"""What the README says: its curl and its auditor's lines work, its role table is the real one."""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.http.roles import role_table
from tests.test_cli import Running

ROOT = Path(__file__).parents[3]
README = ROOT / "README.md"


def between(name: str) -> str:
    """What stands between two markers."""
    text = README.read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", text, re.DOTALL)
    assert found is not None, f"the README lost its markers for {name}"
    return found[1]


def test_the_role_table_is_the_one_that_decides() -> None:
    assert between("roles") == role_table(), (
        "copy the output of `python -c 'from gateway.http.roles import role_table;"
        " print(role_table())'` into the README"
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed here")
async def test_the_curl_lines_open_a_repair_which_the_auditors_lines_then_prove(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = between("curl").removeprefix("```sh\n").removesuffix("```")
    with Running("up", "--port", "0", "--ui-port", "0", "--http-port", "0", "--json") as up:
        await asyncio.to_thread(up.wait_for, "stdout", '"pid"')
        address = json.loads(up.said("stdout"))["http_url"]
        assert "API=http://127.0.0.1:8080\n" in lines
        script = lines.replace("http://127.0.0.1:8080", address)
        standpipe = f'standpipe() {{ PYTHONPATH="{ROOT}" "{sys.executable}" -m cli "$@"; }}\n'
        done = await asyncio.to_thread(
            subprocess.run, ["sh", "-c", standpipe + script], capture_output=True, text=True
        )
        case_id, _, answers = done.stdout.partition("\n")
        proof = "\n".join(re.findall(r"```sh\n(.*?)```", between("audit"), re.DOTALL))
        audited = await asyncio.to_thread(
            subprocess.run,
            ["sh", "-ec", f"{standpipe}CASE={case_id}\n{proof}"],
            capture_output=True,
            text=True,
        )
        assert await asyncio.to_thread(up.stopped, signal.SIGTERM) == 0, up.said("stderr")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert (tmp_path / "log.jsonl.gz").is_file()
    assert case_id in (tmp_path / "case.html").read_text()
    assert re.fullmatch(r"repair-[0-9a-f]{16,}", case_id), done.stdout + done.stderr
    refused, *others = _values(answers)
    assert refused["status"] == 409
    assert "TriageRepair" in refused["possible"]
    triaged, dispatched, timeline, events = others
    assert (triaged["stage"], dispatched["stage"]) == ("Triaged", "Dispatched")
    assert timeline["case_id"] == case_id
    assert events[0]["type"] == "standpipe.repair.RepairReported"
    assert f'"subject":"{case_id}"' in answers.rpartition("]")[2]  # and in the stream


def _values(text: str) -> list[Any]:
    """JSON values that stand one after another, up to the first thing that is none."""
    found: list[Any] = []
    decoder = json.JSONDecoder()
    while text[:1] in ("{", "["):
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found
