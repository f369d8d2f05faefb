"""The shipped policies, and what is said of one that cannot be used."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import rfc8785
import tomlkit

from gateway.policies import PolicyError, content_of, load
from lifecycles.policies import pinned
from schemas.policy import Policy

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "policies"
LEDGER = ROOT.parent / "shared" / "rules.md"
NAMES = sorted(path.stem for path in FOLDER.glob("*.toml"))

GOOD = (FOLDER / "gas.toml").read_text(encoding="utf-8")


def written(tmp_path: Path, content: dict[str, Any] | str) -> str:
    path = tmp_path / "mine.toml"
    text = content if isinstance(content, str) else tomlkit.dumps(content)
    path.write_text(text, encoding="utf-8")
    return str(path)


def wrong(tmp_path: Path, content: dict[str, Any] | str) -> list[str]:
    """What is said of a policy file: a line for each thing that is wrong."""
    name = written(tmp_path, content)
    with pytest.raises(PolicyError) as refused:
        load(name, FOLDER)
    heading, *lines = str(refused.value).splitlines()
    assert heading.startswith(name)
    return [line.strip() for line in lines]


# What ships


def test_the_five_organisations_have_their_three_policies() -> None:
    assert {"estate", "gas", "water"} <= {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_policy_loads_under_its_own_name(name: str) -> None:
    policy, digest = load(name, FOLDER)
    assert policy.name == name
    assert re.fullmatch("[0-9a-f]{64}", digest)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_case_pins_says_all_that_the_file_says(name: str) -> None:
    content = content_of(name, FOLDER)
    assert pinned(content) == load(name, FOLDER)
    shown = load(name, FOLDER).policy.model_dump(mode="json")
    assert rfc8785.dumps(shown).decode() == content


@pytest.mark.skipif(not LEDGER.exists(), reason="the rule ledger is not beside this checkout")
@pytest.mark.parametrize("name", NAMES)
def test_every_rule_that_a_policy_names_stands_in_the_ledger(name: str) -> None:
    ids = {
        word
        for line in LEDGER.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
        for word in re.split(r",\s*|\s*/\s*", line.split("|")[1].strip())
    }
    policy = load(name, FOLDER).policy
    named = {*policy.rules, *(terms.rule for terms in policy.repair.commitments)}
    text = (FOLDER / f"{name}.toml").read_text(encoding="utf-8")
    in_comments = {
        *re.findall(r"\b(?:KUN|GAS|WAT|CNPC|WIN|PROP|AFT|ADM)-[A-Za-z]?[0-9][\w.]*", text)
    }
    assert named
    assert named <= ids
    assert {rule.rstrip(".") for rule in in_comments} <= ids


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_fault_has_a_promise_to_its_customer(name: str) -> None:
    rules = load(name, FOLDER).policy.repair
    assert any(t.starts == "fixed" and t.ends == "followed_up" for t in rules.commitments)
    for category, fault in rules.categories.items():
        if not fault.network:
            assert any(
                t.starts == "reported"
                and t.network in (None, False)
                and (t.categories is None or category in t.categories)
                for t in rules.commitments
            ), f"{name}: nothing is promised for {category}"


# The hash


def turned(table: Any) -> Any:
    """The same content with every table's keys the other way round."""
    if isinstance(table, dict):
        return {key: turned(value) for key, value in reversed(table.items())}
    if isinstance(table, list):
        return [turned(value) for value in table]
    return table


@pytest.mark.parametrize("name", NAMES)
def test_the_hash_does_not_depend_on_the_order_of_keys_nor_on_comments(
    name: str, tmp_path: Path
) -> None:
    content = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    assert list(turned(content)) != list(content)
    assert load(written(tmp_path, turned(content)), FOLDER) == load(name, FOLDER)


def test_the_hash_depends_on_every_figure(tmp_path: Path) -> None:
    changed = GOOD.replace('duration = "PT6H"', 'duration = "PT7H"')
    assert load(written(tmp_path, changed), FOLDER).hash != load("gas", FOLDER).hash


def test_the_order_of_promises_counts_for_it_is_the_order_of_events(tmp_path: Path) -> None:
    content = tomllib.loads(GOOD)
    content["repair"]["commitments"].reverse()
    assert load(written(tmp_path, content), FOLDER).hash != load("gas", FOLDER).hash


# What cannot be used


def test_an_unknown_policy_is_told_the_known_ones() -> None:
    with pytest.raises(PolicyError, match=r"known in .*: .*gas.*water"):
        load("coal", FOLDER)


def test_a_file_that_is_no_toml_says_where(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"is not TOML: .*line 2"):
        load(written(tmp_path, 'name = "x"\nversion = ?\n'), FOLDER)


def test_a_bad_policy_is_told_everything_that_is_wrong_at_once(tmp_path: Path) -> None:
    content = tomllib.loads(GOOD)
    rules = content["repair"]
    content["colour"] = "red"
    content["calendar"]["time_zone"] = "Asia/Nowhere"
    rules["commitments"][0]["duration"] = "soon"
    rules["commitments"][1]["ladder"][0]["at"] = "halfway"
    rules["commitments"][2] |= {"ends": "reported", "duration": "PT0S"}
    rules["hasten"]["unowned"] = 0
    rules["follow_up"].pop("supervisor")
    rules["no_access_wait"] = "-P1D"
    rules["pause_reasons"]["road_permit"]["longest"] = "P99999D"
    lines = wrong(tmp_path, content)
    assert sorted(line.partition(":")[0] for line in lines) == sorted(
        [
            "colour",
            "calendar.time_zone",
            "repair.commitments.0.duration",
            "repair.commitments.1.ladder.0.at",
            "repair.commitments.2",
            "repair.hasten.unowned",
            "repair.follow_up.supervisor",
            "repair.no_access_wait",
            "repair.pause_reasons.road_permit.longest",
        ]
    )
    (terms,) = [line for line in lines if line.startswith("repair.commitments.2:")]
    assert "duration must be longer than nothing" in terms
    assert "starts and ends must be two different milestones" in terms


def test_what_does_not_fit_together_is_told_at_once_too(tmp_path: Path) -> None:
    content = tomllib.loads(GOOD)
    rules = content["repair"]
    rules["commitments"].append(rules["commitments"][0] | {"categories": ["weather"]})
    rules["commitments"][1]["starts"] = "called"
    rules["pause_reasons"]["road_permit"]["pauses"] = ["clear", "sweep"]
    (line,) = wrong(tmp_path, content)
    for what in (
        "commitment dispatch and rule KUN-5.5.1 stand twice",
        "pause reason road_permit stops an unknown commitment: sweep",
        "commitment attend names an unknown milestone; known: reported, ",
        "commitment dispatch names an unknown category: weather",
    ):
        assert what in line


def test_a_refusal_does_not_repeat_the_file(tmp_path: Path) -> None:
    assert "secret-word" not in str(wrong(tmp_path, GOOD.replace('"P7D"', '"secret-word"')))


def test_a_policy_is_frozen() -> None:
    policy = load("gas", FOLDER).policy
    with pytest.raises(ValueError, match="frozen"):
        policy.name = "other"  # pyright: ignore[reportAttributeAccessIssue]
    assert isinstance(policy, Policy)


def test_a_policy_file_that_is_not_utf_8_is_refused_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "old.toml"
    file.write_bytes('title = "燃气"'.encode("gbk"))
    with pytest.raises(PolicyError, match="is not UTF-8 text"):
        content_of(str(file), tmp_path)


@pytest.mark.parametrize(
    ("section", "approval"),
    [("conduct", "reassignment"), ("satisfaction", "head_removal"), ("arrears", "cutoff")],
)
def test_no_policy_can_let_silence_take_a_post_or_a_supply(
    section: str, approval: str, tmp_path: Path
) -> None:
    content = tomllib.loads(GOOD)
    content[section]["approvals"][approval]["silence"] = "approve"
    (line,) = wrong(tmp_path, content)
    assert f"approval {approval}: silence never grants it, a human does (ADM-7)" in line


def test_a_policy_for_complaints_must_promise_an_answer(tmp_path: Path) -> None:
    content = tomllib.loads(GOOD)
    promised = content["complaint"]["commitments"]
    content["complaint"]["commitments"] = [c for c in promised if c["name"] != "answer"]
    assert any("from registered to answered (KUN-2.2.6)" in w for w in wrong(tmp_path, content))
