"""A proven dossier: a right file passes, whatever is changed in it is found, offline."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from activities.canonical import canonical, leaf_hash, seal
from audit.check_dossier import check
from audit.dossier import DossierFile, content, dossier_of, signed, text
from audit.log import RawCase, RawDecision, RawEvent
from audit.notes import Checkpoint, Kind, Signer, cosign, sign
from audit.tree import node_hash
from gateway.policies import content_of
from schemas.envelope import AppendRequest
from tests.audit.told import row
from tests.lifecycles.arrears_cases import Debt, approved, hold, stopped
from tests.lifecycles.repair_cases import POLICIES

SEED = 6
ROUNDS = int(os.environ.get("TEST_ROUNDS", "1"))
POLICY = content_of("water", POLICIES)
KEY = Signer("standpipe/town", Ed25519PrivateKey.from_private_bytes(b"k" * 32))
OTHER = Signer("standpipe/town", Ed25519PrivateKey.from_private_bytes(b"o" * 32))
WITNESS = Signer("witness", Ed25519PrivateKey.from_private_bytes(b"w" * 32), Kind.COSIGNER)
KEYS = [KEY.verifier]
SIZE = 100
"""Events in the log; every third from the eleventh on is one of the case's."""


def root_of(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, word by word."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(root_of(leaves[:half]), root_of(leaves[half:]))


def path_of(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    half = 1 << (len(leaves) - 1).bit_length() - 1
    if index < half:
        return [*path_of(index, leaves[:half]), root_of(leaves[half:])]
    return [*path_of(index - half, leaves[half:]), root_of(leaves[:half])]


def case_of(debt: Debt) -> RawCase:
    """A case as the log holds it, among other cases' events."""
    stream = debt.state.case_id
    request = AppendRequest(
        organisation="town",
        stream=stream,
        expected_version=0,
        decisions=tuple(step.decision() for step in debt.steps),
    )
    decisions = [
        row(stream, sealed, step.decided_at, lambda version: 8 + 3 * version)
        for step, sealed in zip(debt.steps, seal(request), strict=True)
    ]
    hash = sha256(POLICY.encode()).digest()
    return RawCase(stream, "arrears", debt.version, hash, POLICY, tuple(decisions))


def file_of(case: RawCase, signer: Signer | None = KEY, size: int = SIZE) -> DossierFile:
    events = [e for d in case.decisions for e in d.events]
    leaves = [sha256(str(i).encode()).digest() for i in range(size)]
    for e in events:
        leaves[e.position - 1] = leaf_hash(e.header)
    note = sign(Checkpoint("standpipe/town", size, root_of(leaves)), KEY)
    proofs = [path_of(e.position - 1, leaves) for e in events]
    return signed(content("town", case, note, proofs), signer)


@pytest.fixture(scope="module")
def case() -> RawCase:
    """A large meter's stop, approved by signature; one command of it caused nothing."""
    debt = approved()
    debt.do("PlaceHold", 9.15, **hold())
    debt.do("PlaceHold", 9.16, **hold())
    return case_of(debt)


def raw(file: DossierFile) -> bytes:
    return text(file).encode()


def found(content: bytes, **more: Any) -> list[str]:
    return [f.check for f in check(content, KEYS, **more).findings]


def edited(file: DossierFile, *path: str | int, to: Any) -> bytes:
    """The file with one value of it changed, written as Standpipe would."""
    value = json.loads(text(file))
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to(inner[path[-1]]) if callable(to) else to
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def test_a_right_file_passes_and_says_what_it_proves(case: RawCase) -> None:
    checked = check(raw(file_of(case)), KEYS)
    assert checked.findings == ()
    assert (checked.signed, checked.proven, checked.unproven) == (True, case.version, 1)
    assert checked.checkpoint is not None
    assert checked.checkpoint.size == SIZE


def test_a_file_that_nobody_signed_passes_on_its_proofs_and_says_so(case: RawCase) -> None:
    checked = check(raw(file_of(case, None)), KEYS)
    assert checked.findings == ()
    assert (checked.signed, checked.proven) == (False, case.version)
    assert found(raw(file_of(case, None)), need_signature=True) == ["signature"]


def test_the_dossier_of_a_stop_that_was_made_is_whole_and_of_the_cases_last_event() -> None:
    debt = stopped()
    file = file_of(case_of(debt))
    assert file.dossier.complete
    assert file.dossier.as_of == max(step.decided_at for step in debt.steps if step.events)
    assert check(raw(file), KEYS).findings == ()


def test_the_same_case_gives_the_same_bytes(case: RawCase) -> None:
    assert text(file_of(case)) == text(file_of(case))
    assert check(raw(file_of(case)), KEYS).file == file_of(case)


def test_another_key_of_the_same_name_is_refused(case: RawCase) -> None:
    checked = check(raw(file_of(case)), [OTHER.verifier])
    assert {f.check for f in checked.findings} == {"checkpoint", "signature", "dossier"}
    assert (checked.signed, checked.proven, checked.checkpoint) == (False, 0, None)


def test_a_signature_of_another_than_the_log_is_refused(case: RawCase) -> None:
    assert found(raw(file_of(case, OTHER))) == ["signature"]


def test_a_file_signed_by_somebody_beside_the_log_is_not_what_the_log_signed(
    case: RawCase,
) -> None:
    file = file_of(case)
    more = f"{file.signature}{WITNESS.line(file.statement, time=1_800_000_000)}"
    assert found(edited(file, "signature", to=more)) == ["signature"]


def test_a_body_that_its_header_does_not_commit_to_is_found_by_the_very_field(
    case: RawCase,
) -> None:
    file = file_of(case, None)
    forged = edited(file, "decisions", 0, "events", 0, "body", to=lambda b: b.replace("P-1", "P-2"))
    first, *rest = check(forged, KEYS).findings
    assert (first.check, first.position, first.version) == ("header", 11, 1)
    assert first.what == "Body, command and place do not fit its header: body_hash."
    assert [f.check for f in rest] == ["dossier"]


def test_a_key_of_another_log_does_not_open_a_checkpoint(case: RawCase) -> None:
    elsewhere = Signer("standpipe/city", KEY.private_key)
    file = file_of(case)
    of_city = Checkpoint("standpipe/town", SIZE, Checkpoint.parse(text_of(file)).root)
    forged = edited(file, "checkpoint", to=sign(of_city, elsewhere))
    assert "checkpoint" in [f.check for f in check(forged, [elsewhere.verifier]).findings]


def text_of(file: DossierFile) -> str:
    return file.checkpoint.rpartition("\n\n")[0] + "\n"


def test_a_witness_whose_key_is_pinned_must_have_signed_rightly(case: RawCase) -> None:
    file = file_of(case, None)
    noted = cosign(file.checkpoint, WITNESS, 1_800_000_000)
    keys = [*KEYS, WITNESS.verifier]
    assert check(edited(file, "checkpoint", to=noted), keys).findings == ()
    line = noted.splitlines()[-1]
    wrong = noted.replace(line[-9:-3], line[-9:-3].swapcase())
    assert [f.check for f in check(edited(file, "checkpoint", to=wrong), keys).findings] == [
        "checkpoint",
        "dossier",
    ]


def leaves_of(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from leaves_of(inner, (*path, key))
    else:
        yield path


def otherwise(value: Any, random: Random) -> Any:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int():
            return value + random.choice((-1, 1, 1000))
        case str() if re.match(r"\d{4}-\d\d-\d\dT", value):
            return value.replace(value[:10], "2025-11-05")
        case str() if value:
            i = random.randrange(len(value))
            return value[:i] + ("a" if value[i] != "a" else "b") + value[i + 1 :]
        case None:
            return "a"
        case _:
            return ["a"]


@pytest.mark.parametrize("signer", [KEY, None], ids=["signed", "unsigned"])
def test_every_value_that_is_changed_is_found(case: RawCase, signer: Signer | None) -> None:
    random = Random(SEED)
    file = file_of(case, signer)
    kinds: dict[str, list[tuple[str | int, ...]]] = {}
    for path in leaves_of(json.loads(text(file))):
        kinds.setdefault(".".join("#" if isinstance(k, int) else k for k in path), []).append(path)
    silent = [i for i, d in enumerate(file.decisions) if not d.events]
    assert len(kinds) > 80
    for kind, paths in kinds.items():
        if kind == "signature" and signer is None:
            continue
        for path in random.sample(paths, min(len(paths), ROUNDS)):
            if signer is None and path[0] == "decisions" and path[1] in silent:
                continue  # nothing in the log commits to what caused nothing: `unproven`
            changed = edited(file, *path, to=lambda value: otherwise(value, random))
            assert found(changed), path


@pytest.mark.parametrize("signer", [KEY, None], ids=["signed", "unsigned"])
def test_every_byte_that_is_changed_is_found(case: RawCase, signer: Signer | None) -> None:
    random = Random(SEED)
    file = raw(file_of(case, signer))
    silent = next(d.command for d in file_of(case).decisions if not d.events)
    unproven = file.find(json.dumps(silent).encode())
    for _ in range(200 * ROUNDS):
        at = random.randrange(len(file))
        if signer is None and unproven <= at < unproven + 2 * len(silent):
            continue
        byte = bytes([random.randrange(256)])
        how = random.randrange(4)
        if how == 0 and byte != file[at : at + 1]:
            changed = file[:at] + byte + file[at + 1 :]
        elif how == 1:
            changed = file[:at] + byte + file[at:]
        elif how == 2:
            changed = file[:at] + file[at + 1 :]
        else:
            changed = file[:at]
        assert found(changed), (at, how, byte)


def rehashed(case: RawCase, type: str, **body: Any) -> RawCase:
    """The case with other words in its events of a type, and headers that fit them."""
    decisions: list[RawDecision] = []
    for d in case.decisions:
        events: list[RawEvent] = []
        for e in d.events:
            if e.type == type:
                changed = canonical({**json.loads(e.body), **body})
                head = {**json.loads(e.header), "body_hash": sha256(changed).hexdigest()}
                e = e._replace(body=changed, header=canonical(head))
            events.append(e)
        decisions.append(d._replace(events=tuple(events)))
    return case._replace(decisions=tuple(decisions))


@pytest.mark.parametrize(
    ("type", "body"),
    [
        ("NoticeServed", {"effective_at": "2026-03-04T00:00:00Z"}),
        ("ValveClosed", {"reading": 1}),
        ("PermitIssued", {"guards": []}),
    ],
)
def test_an_event_rewritten_with_all_its_hashes_is_not_in_the_log(
    type: str, body: dict[str, Any]
) -> None:
    case = case_of(stopped(approved()))
    file = file_of(case, None)
    forged = rehashed(case, type, **body)
    proofs = [[bytes.fromhex(p) for p in e.proof] for d in file.decisions for e in d.events]
    refiled = signed(content("town", forged, file.checkpoint, proofs), None)
    assert refiled.dossier == dossier_of("town", forged)
    checked = check(raw(refiled), KEYS)
    assert {f.check for f in checked.findings} == {"inclusion", "dossier"}
    assert checked.proven == case.version - 1


def test_an_event_that_no_command_causes_is_found_even_under_the_logs_key() -> None:
    case = rehashed(case_of(stopped()), "ValveClosed", reading=1)
    checked = check(raw(file_of(case)), KEYS)
    assert {f.check for f in checked.findings} == {"decision", "dossier"}


def test_a_dossier_that_its_decisions_do_not_come_to_is_found_by_the_very_field(
    case: RawCase,
) -> None:
    file = file_of(case, None)
    forged = edited(file, "dossier", "stops", 0, "conditions", 2, "held", to=lambda v: not v)
    findings = check(forged, KEYS).findings
    assert [f.check for f in findings] == ["dossier"]
    assert findings[0].what.startswith("stops[0].conditions[2].held is not")


def test_a_decision_left_out_in_the_middle_is_found(case: RawCase) -> None:
    for place in range(len(case.decisions) - 1):
        if not case.decisions[place].events:
            continue
        left = (*case.decisions[:place], *case.decisions[place + 1 :])
        value = json.loads(text(file_of(case, None)))
        del value["decisions"][place]
        assert len(left) == len(value["decisions"])
        assert found((json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode())


def test_a_policy_that_the_case_was_not_opened_under_is_found(case: RawCase) -> None:
    other = POLICY.replace('"name":"water"', '"name":"later"')
    assert other != POLICY
    swapped = case._replace(policy=other, policy_hash=sha256(other.encode()).digest())
    assert found(raw(file_of(swapped))) == ["policy", "dossier"]


def test_a_decision_told_as_two_is_found(case: RawCase) -> None:
    place = next(i for i, d in enumerate(case.decisions) if len(d.events) > 1)
    value = json.loads(text(file_of(case, None)))
    first = value["decisions"][place]
    second = {**first, "events": first["events"][1:]}
    first["events"] = first["events"][:1]
    value["decisions"].insert(place + 1, second)
    assert found((json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()) == [
        "decision",
        "dossier",
    ]


def test_a_case_whose_events_stand_in_another_order_in_the_log_is_found(case: RawCase) -> None:
    alone = next(d for d in case.decisions[1:] if len(d.events) == 1)
    moved = alone._replace(events=tuple(e._replace(position=1) for e in alone.events))
    decisions = tuple(moved if d is alone else d for d in case.decisions)
    assert found(raw(file_of(case._replace(decisions=decisions)))) == ["order", "dossier"]


def test_a_file_without_an_event_is_no_dossier(case: RawCase) -> None:
    empty = edited(file_of(case, None), "decisions", to=[])
    assert found(empty) == ["decision", "dossier"]


def test_only_the_signature_shows_that_the_tail_is_all_there(case: RawCase) -> None:
    shorter = case._replace(decisions=case.decisions[:-3])
    kept = file_of(shorter)
    whole = file_of(case)
    assert case.version > len(kept.dossier.events)
    cut = kept.model_copy(update={"checkpoint": whole.checkpoint, "signature": whole.signature})
    proofs = {e.position: e.proof for d in whole.decisions for e in d.events}
    decisions = tuple(
        d.model_copy(
            update={
                "events": tuple(
                    e.model_copy(update={"proof": proofs[e.position]}) for e in d.events
                )
            }
        )
        for d in kept.decisions
    )
    cut = cut.model_copy(update={"decisions": decisions})
    assert found(raw(cut)) == ["signature"]
    unsigned = cut.model_copy(update={"signature": None})
    assert found(raw(unsigned)) == []  # and the command says that nothing shows what came after
    assert found(raw(unsigned), need_signature=True) == ["signature"]


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"\xff\xfe", b"null", b"[" * 100_000, b'{"format":1}']
)
def test_what_is_no_dossier_is_said_to_be_none(content: bytes) -> None:
    checked = check(content, KEYS)
    assert checked.file is None
    (finding,) = checked.findings
    assert finding.what.startswith("This is no dossier's file")
