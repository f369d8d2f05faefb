"""The module that an auditor checks an export with, against exports that were tampered with."""

import ast
import asyncio
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pymerkle import InmemoryTree

from activities.canonical import NAMESPACE
from audit import check_export
from audit.check_export import MOST_FINDINGS, Unusable, Verdict, check, open_note, parse_key
from audit.export import Format
from audit.notes import Kind, Signer, cosign
from audit.tree import Frontier
from stack import Endpoints
from tests.audit.exports import (
    KEY,
    ORIGIN,
    OTHER_KEY,
    exported,
    exported_range,
    leaves,
    new_log,
    note,
)

ROUNDS = int(os.environ.get("TEST_ROUNDS", "5"))
MODULE = Path(check_export.__file__)
Line = dict[str, Any]
PINNED = [parse_key(KEY.vkey)]


@pytest.fixture(scope="module")
def log(servers: Endpoints) -> str:
    return new_log(servers)


@pytest.fixture(scope="module")
def whole(log: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[bytes]]:
    """An export with a checkpoint of all of it, and its leaves."""
    file = tmp_path_factory.mktemp("export") / "log.jsonl"
    every = asyncio.run(leaves(log))
    asyncio.run(exported(log, Format.JSONL, file, notes=[note(every, len(every))]))
    return file.read_bytes(), every


def checked(content: bytes, folder: Path, *older: str, keys: Any = PINNED) -> Verdict:
    file = folder / "log.jsonl"
    file.write_bytes(content)
    return check(file, keys, older)


def lines_of(content: bytes) -> list[Line]:
    return [json.loads(line) for line in content.splitlines()]


def content_of(lines: list[Line]) -> bytes:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def events(lines: list[Line]) -> list[int]:
    return [place for place, line in enumerate(lines) if line["type"] == "event"]


def test_an_untouched_export_is_right(whole: tuple[bytes, list[bytes]], tmp_path: Path) -> None:
    content, every = whole
    verdict = checked(content, tmp_path, note(every, 17).text, note(every, len(every) - 1).text)
    assert verdict.findings == []
    assert verdict.checkpoints == [17, len(every) - 1, len(every)]
    assert (verdict.first, verdict.last, verdict.events) == (1, len(every), len(every))
    assert (verdict.signed, verdict.unsigned, verdict.without_events) == (len(every), 0, 2)


async def test_every_range_is_right_and_consistent_with_every_older_checkpoint(
    log: str, whole: tuple[bytes, list[bytes]], tmp_path: Path
) -> None:
    _, every = whole
    random = Random(6)
    total = len(every)
    begins = _begins(whole[0])
    for _ in range(ROUNDS):
        first, last = sorted(random.sample(begins, 2))
        signed = random.randint(1, total)
        file = tmp_path / "log.jsonl.gz"
        await exported_range(log, Format.JSONL, file, first, last - 1, notes=[note(every, signed)])
        older = [note(every, random.randint(0, min(signed, total))).text for _ in range(3)]
        verdict = check(file, PINNED, older)
        assert verdict.findings == []
        assert verdict.size == max(last - 1, signed)
        assert verdict.events == last - first


def _begins(content: bytes) -> list[int]:
    """Positions at which a decision begins."""
    lines = lines_of(content)
    return [
        after["position"]
        for line, after in pairwise(lines)
        if line["type"] == "decision" and line["events"]
    ]


def edit_body(lines: list[Line], random: Random) -> str:
    line = lines[random.choice(events(lines))]
    line["body"] = line["body"].replace('"schema_version":1', '"schema_version":2')
    return "body"


def edit_header(lines: list[Line], random: Random) -> str:
    line = lines[random.choice(events(lines))]
    header = json.loads(line["header"]) | {"occurred_at": "2020-01-01T00:00:00Z"}
    line["header"] = check_export.written(header)
    return "tree"


def edit_command(lines: list[Line], random: Random) -> str:
    caused = [line for line in lines if line["type"] == "decision" and line["events"]]
    line = random.choice(caused)
    line["command"] = line["command"].replace('"role":"', '"role":"x')
    return "command"


def edit_policy(lines: list[Line], random: Random) -> str:
    line = random.choice([line for line in lines if line["type"] == "policy"])
    line["content"] = line["content"].replace(":", " :", 1)
    return "line"


def forget_policy(lines: list[Line], random: Random) -> str:
    used = {json.loads(lines[place]["body"]).get("policy") for place in events(lines)} - {None}
    places = [p for p, line in enumerate(lines) if line.get("hash") in used]
    del lines[random.choice(places)]
    lines[-1]["policies"] -= 1
    return "policy"


def drop_event(lines: list[Line], random: Random) -> str:
    del lines[random.choice(events(lines))]
    return "position"


def drop_and_close_the_gap(lines: list[Line], random: Random) -> str:
    """The rest moves up, and all counts fit again."""
    place = random.choice(events(lines)[:-1])
    decision = max(p for p in range(place) if lines[p]["type"] == "decision")
    del lines[place]
    if lines[decision]["events"] == 1:
        del lines[decision]
        lines[-1]["decisions"] -= 1
    else:
        lines[decision]["events"] -= 1
    for line in lines[place - 1 :]:
        if line["type"] == "event":
            line["position"] -= line["position"] > 1
    _ended(lines)
    return "truncated"


def drop_decision(lines: list[Line], random: Random) -> str:
    places = [p for p, line in enumerate(lines) if line["type"] == "decision" and line["events"]]
    del lines[random.choice(places)]
    return "command"


def split_decision(lines: list[Line], random: Random) -> str:
    several = [
        p for p, line in enumerate(lines) if line["type"] == "decision" and line["events"] > 1
    ]
    place = random.choice(several)
    lines.insert(place + 2, lines[place] | {"events": lines[place]["events"] - 1})
    lines[place]["events"] = 1
    lines[-1]["decisions"] += 1
    return "command"


def drop_silent_decision(lines: list[Line], random: Random) -> str:
    places = [p for p, line in enumerate(lines) if line.get("events") == 0 and "command" in line]
    del lines[random.choice(places)]
    return "count"


def insert_event(lines: list[Line], random: Random) -> str:
    place = random.choice(events(lines))
    lines.insert(place, dict(lines[place]))
    return "position"


def insert_forged_event(lines: list[Line], random: Random) -> str:
    """With hashes, ids and counts that fit; only its leaf is in no tree that was signed."""
    place = events(lines)[-1]
    line = dict(lines[place])
    header, body = json.loads(line["header"]), json.loads(line["body"])
    header["version"] += 1
    name = f"{header['organisation']}/{header['stream']}/{header['version']}"
    header["event_id"] = str(check_export.uuid.uuid5(check_export.NAMESPACE, name))
    body["forged"] = random.random()
    line["body"] = json.dumps(body, separators=(",", ":"))
    header["body_hash"] = sha256(line["body"].encode()).hexdigest()
    line["header"] = check_export.written(header)
    decision = max(p for p in range(place) if lines[p]["type"] == "decision")
    lines[decision]["events"] += 1
    del lines[events(lines)[0]]
    lines.insert(place, line)
    _renumbered(lines)
    _ended(lines)
    return "tree"


def recompute_after_an_edit(lines: list[Line], random: Random) -> str:
    """All hashes are made to fit: only the signed root can tell."""
    place = random.choice(events(lines)[5:])
    line = lines[place]
    header, body = json.loads(line["header"]), json.loads(line["body"])
    body["forged"] = True
    line["body"] = json.dumps(body, separators=(",", ":"))
    header["body_hash"] = sha256(line["body"].encode()).hexdigest()
    line["header"] = check_export.written(header)
    _ended(lines)
    return "tree"


def swap_events(lines: list[Line], random: Random) -> str:
    one, other = random.sample(events(lines), 2)
    lines[one], lines[other] = lines[other], lines[one]
    return "position"


def swap_events_and_renumber(lines: list[Line], random: Random) -> str:
    one, other = random.sample(events(lines), 2)
    lines[one], lines[other] = lines[other], lines[one]
    _renumbered(lines)
    _ended(lines)
    return "tree"


def swap_bodies(lines: list[Line], random: Random) -> str:
    one, other = random.sample(events(lines), 2)
    lines[one]["body"], lines[other]["body"] = lines[other]["body"], lines[one]["body"]
    return "body" if lines[one]["body"] != lines[other]["body"] else ""


def truncate(lines: list[Line], random: Random) -> str:
    del lines[random.choice(events(lines)) :]
    return "truncated"


def truncate_and_end(lines: list[Line], random: Random) -> str:
    """Cut at a decision, with a fitting end, and nothing said of the checkpoint."""
    places = [p for p, line in enumerate(lines) if line["type"] == "decision" and line["events"]]
    cut = random.choice(places[1:])
    del lines[cut:-1]
    last = lines[cut - 1]["position"]
    lines[0] |= {"last": last, "size": last, "checkpoints": []}
    _ended(lines)
    return "signature"


def other_organisation(lines: list[Line], random: Random) -> str:
    line = lines[random.choice(events(lines))]
    line["header"] = line["header"].replace('"organisation":"town"', '"organisation":"city"')
    return "organisation"


def replace_end(lines: list[Line], random: Random) -> str:
    lines[-1][random.choice(["events", "decisions", "leaves", "policies"])] += 1
    return "count"


def go_on_after_the_end(lines: list[Line], random: Random) -> str:
    lines.append(lines[random.choice(events(lines))])
    return "line"


def move_recording_back(lines: list[Line], random: Random) -> str:
    lines[random.choice(events(lines)[1:])]["recorded_at"] = "2020-01-01T00:00:00.000000Z"
    return "time"


def _renumbered(lines: list[Line]) -> None:
    for position, place in enumerate(events(lines), 1):
        lines[place]["position"] = position


def _ended(lines: list[Line]) -> None:
    """Counts and root as they would be."""
    tree = Frontier()
    for place in events(lines):
        tree.push(sha256(b"\x00" + lines[place]["header"].encode()).digest())
    decisions = sum(line["type"] == "decision" for line in lines)
    lines[-1] |= {"events": tree.size, "decisions": decisions, "root": tree.root().hex()}
    lines[0] |= {"last": tree.size, "size": tree.size}


TAMPERING: list[Callable[[list[Line], Random], str]] = [
    edit_body,
    edit_header,
    edit_command,
    edit_policy,
    forget_policy,
    drop_event,
    drop_and_close_the_gap,
    drop_decision,
    split_decision,
    drop_silent_decision,
    insert_event,
    insert_forged_event,
    recompute_after_an_edit,
    swap_events,
    swap_events_and_renumber,
    swap_bodies,
    truncate,
    truncate_and_end,
    other_organisation,
    replace_end,
    go_on_after_the_end,
    move_recording_back,
]


@pytest.mark.parametrize("tamper", TAMPERING, ids=lambda tamper: tamper.__name__)
def test_what_was_tampered_with_is_found_and_named(
    whole: tuple[bytes, list[bytes]],
    tmp_path: Path,
    tamper: Callable[[list[Line], Random], str],
) -> None:
    random = Random(tamper.__name__)
    for _ in range(ROUNDS):
        lines = lines_of(whole[0])
        expected = tamper(lines, random)
        verdict = checked(content_of(lines), tmp_path)
        found = {finding.check for finding in verdict.findings}
        assert not expected or expected in found, found
        assert len(verdict.findings) <= MOST_FINDINGS <= max(verdict.found, MOST_FINDINGS)


def test_an_edit_is_found_at_its_place(whole: tuple[bytes, list[bytes]], tmp_path: Path) -> None:
    lines = lines_of(whole[0])
    place = events(lines)[41]
    edit_body([lines[place]], Random(1))
    (finding,) = checked(content_of(lines), tmp_path).findings
    header = json.loads(lines[place]["header"])
    assert (finding.line, finding.position) == (place + 1, 42)
    assert (finding.stream, finding.version) == (header["stream"], header["version"])


def test_without_its_signed_checkpoint_a_rewritten_past_is_found_by_an_older_one(
    whole: tuple[bytes, list[bytes]], tmp_path: Path
) -> None:
    content, every = whole
    lines = lines_of(content)
    recompute_after_an_edit(lines, Random(3))
    rewritten = [
        sha256(b"\x00" + lines[place]["header"].encode()).digest() for place in events(lines)
    ]
    # Whoever holds the log's key signs the new past as well.
    lines[0]["checkpoints"] = [note(rewritten, len(rewritten)).text]
    assert checked(content_of(lines), tmp_path).ok
    kept = note(every, len(every) - 1).text
    (finding,) = checked(content_of(lines), tmp_path, kept).findings
    assert finding.check == "tree"


def test_an_export_that_was_cut_is_found_by_the_newest_checkpoint_that_one_knows(
    whole: tuple[bytes, list[bytes]], tmp_path: Path
) -> None:
    content, every = whole
    lines = lines_of(content)
    truncate_and_end(lines, Random(5))
    cut = lines[0]["last"]
    lines[0]["checkpoints"] = [note(every, cut).text]
    assert checked(content_of(lines), tmp_path).ok, "nothing in the file itself tells"
    (finding,) = checked(content_of(lines), tmp_path, note(every, len(every)).text).findings
    assert finding.check == "truncated"


@pytest.mark.parametrize(
    ("text", "check_name"),
    [
        (lambda every: note(every, 9, OTHER_KEY).text, "signature"),
        (lambda every: note(every, 9, KEY, "standpipe/city").text, "origin"),
        (lambda every: note(list(reversed(every)), 9).text, "tree"),
        (lambda every: note(every, 9).text.replace("\n9\n", "\n8\n"), "signature"),
        (lambda every: note(every, 9).text.removesuffix("\n"), "signature"),
        (lambda every: "no note", "signature"),
    ],
    ids=["key", "log", "past", "size", "end", "note"],
)
def test_a_wrong_note_is_found(
    whole: tuple[bytes, list[bytes]],
    tmp_path: Path,
    text: Callable[[list[bytes]], str],
    check_name: str,
) -> None:
    verdict = checked(whole[0], tmp_path, text(whole[1]))
    assert [finding.check for finding in verdict.findings] == [check_name]


def test_with_the_wrong_key_nothing_is_proved(
    whole: tuple[bytes, list[bytes]], tmp_path: Path
) -> None:
    verdict = checked(whole[0], tmp_path, keys=[parse_key(OTHER_KEY.vkey)])
    assert {finding.check for finding in verdict.findings} == {"signature"}
    assert verdict.signed == 0


def test_a_witness_counts_beside_the_log_and_never_instead(
    whole: tuple[bytes, list[bytes]], tmp_path: Path
) -> None:
    witness = Signer("witness.example/w1", OTHER_KEY.private_key, Kind.COSIGNER)
    signed = cosign(note(whole[1], 12).text, witness, 1_700_000_000)
    keys = [*PINNED, parse_key(witness.vkey)]
    verdict = checked(whole[0], tmp_path, signed, keys=keys)
    assert verdict.ok
    assert verdict.witnessed == {"witness.example/w1": 12}
    verdict = checked(whole[0], tmp_path, signed, keys=keys[1:])
    assert verdict.signed == 0
    forged = cosign(note(whole[1], 12).text, witness, 1_700_000_000).replace("\n12\n", "\n13\n")
    assert not checked(whole[0], tmp_path, forged, keys=keys).ok


def test_without_any_checkpoint_nothing_is_proved(
    whole: tuple[bytes, list[bytes]], tmp_path: Path
) -> None:
    lines = lines_of(whole[0])
    lines[0]["checkpoints"] = []
    verdict = checked(content_of(lines), tmp_path)
    assert [finding.check for finding in verdict.findings] == ["signature"]


def test_another_implementation_of_the_tree_has_the_same_roots(
    whole: tuple[bytes, list[bytes]], tmp_path: Path
) -> None:
    lines = lines_of(whole[0])
    tree: Any = InmemoryTree(algorithm="sha256")
    for place in events(lines):
        tree.append_entry(lines[place]["header"].encode())
    assert checked(whole[0], tmp_path).root == tree.get_root().hex()
    for size in (1, 2, 3, 64, len(whole[1]) - 1):
        assert open_note(note(whole[1], size).text, PINNED).root == tree.get_root(size)
        assert checked(whole[0], tmp_path, note(whole[1], size).text).ok


def test_a_packed_export_is_read_and_one_that_was_cut_is_found(
    whole: tuple[bytes, list[bytes]], tmp_path: Path
) -> None:
    packed = gzip.compress(whole[0])
    assert checked(packed, tmp_path).ok
    random = Random(7)
    for _ in range(ROUNDS):
        verdict = checked(packed[: random.randrange(len(packed) // 4, len(packed))], tmp_path)
        assert "truncated" in {finding.check for finding in verdict.findings}


def test_no_file_whatever_is_in_it_brings_the_check_down(
    whole: tuple[bytes, list[bytes]], tmp_path: Path
) -> None:
    random = Random(8)
    begin, *rest = whole[0].splitlines(keepends=True)
    odd: list[Any] = [None, True, -1, 2**70, 1e400, "", "x\ud800\\", [], [[]], {}, {"a": {}}]
    for _ in range(ROUNDS * 5):
        lines = [json.loads(line) for line in random.sample(rest, 6)]
        for line in lines:
            line[random.choice(list(line))] = random.choice(odd)
            if "header" in line and isinstance(line["header"], str) and random.random() < 0.7:
                try:
                    header = json.loads(line["header"])
                    header[random.choice(list(header))] = random.choice(odd)
                except (ValueError, TypeError, IndexError):
                    continue
                line["header"] = json.dumps(header, sort_keys=True, separators=(",", ":"))
        content = begin + b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        content += random.choice([b"", b"\xff\xfe\n", b"[" * 100_000 + b"\n", b"9" * 5000 + b"\n"])
        assert not checked(content, tmp_path).ok
    for junk in (b"", b"{}\n", b"\x1f\x8b", b"\x1f\x8bjunk", b"a,b\r\n1,2\r\n", os.urandom(500)):
        with pytest.raises(Unusable):
            checked(junk, tmp_path)


def test_alone_in_an_empty_folder_it_says_all_with_its_exit_code(
    whole: tuple[bytes, list[bytes]], tmp_path: Path
) -> None:
    shutil.copy(MODULE, tmp_path / "check_export.py")
    (tmp_path / "log.jsonl").write_bytes(whole[0])
    (tmp_path / "old.note").write_text(note(whole[1], 5).text, encoding="utf-8")
    (tmp_path / "new.note").write_text(note(whole[1][:3] * 99, 297).text, encoding="utf-8")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "check_export.py", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    right = run("log.jsonl", "--key", KEY.vkey, "--checkpoint", "old.note", "--json")
    assert (right.returncode, right.stderr) == (0, "")
    told = json.loads(right.stdout)
    assert (told["ok"], told["checkpoints"]) == (True, [5, len(whole[1])])
    wrong = run("log.jsonl", "--key", KEY.vkey, "--checkpoint", "new.note")
    assert wrong.returncode == 1
    assert "FOUND" in wrong.stdout
    for key, file in ((KEY.vkey, "none.jsonl"), ("town+00000000+AAAA", "log.jsonl")):
        unusable = run(file, "--key", key)
        assert unusable.returncode == 2
        assert unusable.stderr.strip()
    assert run("old.note", "--key", KEY.vkey).returncode == 2


def test_a_line_that_says_something_twice_or_half_a_character_is_found(
    whole: tuple[bytes, list[bytes]], tmp_path: Path
) -> None:
    twice = whole[0].replace(b'"body":"', b'"body":"{}","body":"', 1)
    assert "line" in {finding.check for finding in checked(twice, tmp_path).findings}
    broken = whole[0].replace(b'"body":"', b'"body":"\xff', 1)
    assert "line" in {finding.check for finding in checked(broken, tmp_path).findings}
    lines = lines_of(whole[0])
    lines[events(lines)[3]]["body"] += "\ud800"
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    (finding, *_) = checked(content, tmp_path).findings
    assert finding.check == "line"


def test_it_imports_the_standard_library_and_cryptography_alone() -> None:
    tree = ast.parse(MODULE.read_text(encoding="utf-8"))
    names = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or "."]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert names - set(sys.stdlib_module_names) == {"cryptography"}


def test_the_log_and_the_checker_agree_on_names_and_origin(
    whole: tuple[bytes, list[bytes]], tmp_path: Path
) -> None:
    assert check_export.NAMESPACE == NAMESPACE
    assert checked(whole[0], tmp_path).origin == ORIGIN
