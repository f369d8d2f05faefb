"""Signed notes, checkpoints, cosignatures and proofs in the forms that others publish."""

from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from audit.notes import (
    Checkpoint,
    Cosignature,
    Kind,
    NoteError,
    Signer,
    Verifier,
    cosign,
    cosignatures,
    open_note,
    open_text,
    sign,
    vkey,
)

DASH = "\u2014"

# From Go's golang.org/x/mod/sumdb/note: its documentation and note_test.go.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_SEED = b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
PETERS_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETERS_LINE = (
    f"{DASH} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfq"
    "dngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
ENOCHS_LINE = (
    f"{DASH} EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTG"
    "wnWLox33WWd1RvMc+QQ=\n"
)

# From the example in C2SP's signed-note.
FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOOS_NOTE = (
    "This is an example message.\n\n"
    f"{DASH} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOB"
    "H3mFXmRKuwHjG1Yu72IneyaQM=\n"
)

# A checkpoint of a Certificate Transparency log (static-ct, 2026) with the signature of one of its
# public witnesses, as that log serves it; signatures of kinds that we do not know are among them.
PUBLIC_LOG = "arche2025h1.staging.ct.transparency.dev"
PUBLIC_KEY = f"{PUBLIC_LOG}+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
PUBLIC_WITNESS = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
PUBLIC_NOTE = (
    f"{PUBLIC_LOG}\n1432088532\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n\n"
    f"{DASH} {PUBLIC_LOG} zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkpt"
    "QIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=\n"
    f"{DASH} {PUBLIC_LOG} ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8E"
    "i59RA23oHP7Ry1k3ZFWwQ=\n"
    f"{DASH} witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0W"
    "H+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==\n"
    f"{DASH} remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVC"
    "IobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==\n"
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = Signer("standpipe/town", KEY)
WITNESS = Signer(
    "auditor.example/w1", Ed25519PrivateKey.from_private_bytes(bytes(32)), Kind.COSIGNER
)
CHECKPOINT = Checkpoint("standpipe/town", 300, bytes(range(32)))


def test_notes_of_gos_checksum_database_are_read_and_made() -> None:
    peter, enoch = Verifier.parse(PETER), Verifier.parse(ENOCH)
    assert (peter.vkey, enoch.vkey) == (PETER, ENOCH)
    signer = Signer("PeterNeumann", Ed25519PrivateKey.from_private_bytes(PETERS_SEED))
    assert signer.vkey == PETER
    assert signer.line(PETERS_TEXT) == PETERS_LINE
    both = f"{PETERS_TEXT}\n{PETERS_LINE}{ENOCHS_LINE}"
    for verifiers in ([peter], [enoch], [peter, enoch]):
        assert open_text(both, verifiers) == PETERS_TEXT


def test_the_example_of_the_specification_is_read() -> None:
    assert open_text(FOOS_NOTE, [Verifier.parse(FOO)]) == "This is an example message.\n"


def test_a_public_logs_checkpoint_and_its_witness_are_verified() -> None:
    log, witness = Verifier.parse(PUBLIC_KEY), Verifier.parse(PUBLIC_WITNESS)
    assert (log.kind, witness.kind) == (Kind.LOG, Kind.COSIGNER)
    assert witness.vkey == PUBLIC_WITNESS
    checkpoint = open_note(PUBLIC_NOTE, [log])
    assert (checkpoint.origin, checkpoint.size) == (PUBLIC_LOG, 1432088532)
    assert b64encode(checkpoint.root) == b"U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro="
    assert cosignatures(PUBLIC_NOTE, [log, witness]) == [Cosignature("remora.n621.de", 1779573024)]
    for wrong in (
        PUBLIC_NOTE.replace("1432088532", "1432088533"),
        PUBLIC_NOTE.replace("2net5wAAAABq", "2net5wAAAABr"),  # another time
    ):
        with pytest.raises(NoteError, match=r"signature of .* is wrong"):
            open_note(wrong, [log, witness])


def test_a_checkpoint_has_the_published_form() -> None:
    note = sign(CHECKPOINT, LOG)
    assert note.startswith(
        f"standpipe/town\n300\n{b64encode(CHECKPOINT.root).decode()}\n\n{DASH} standpipe/town "
    )
    assert note.count("\n") == 5
    assert open_note(note, [LOG.verifier]) == CHECKPOINT
    assert open_note(note, [Verifier.parse(LOG.vkey)]) == CHECKPOINT
    assert sign(CHECKPOINT, LOG) == note, "the same checkpoint has the same note"


def test_a_cosignature_says_when_and_leaves_the_logs_own_alone() -> None:
    note = sign(CHECKPOINT, LOG)
    cosigned = cosign(note, WITNESS, 1_800_000_000)
    assert cosigned.startswith(note)
    assert open_note(cosigned, [LOG.verifier, WITNESS.verifier]) == CHECKPOINT
    assert open_note(cosigned, [LOG.verifier]) == CHECKPOINT
    assert cosignatures(cosigned, [LOG.verifier, WITNESS.verifier]) == [
        Cosignature("auditor.example/w1", 1_800_000_000)
    ]
    assert cosignatures(note, [WITNESS.verifier]) == []
    # One key, two meanings: neither signature passes for the other.
    twin = Signer(WITNESS.name, WITNESS.private_key)
    assert twin.verifier.key_id != WITNESS.verifier.key_id
    with pytest.raises(NoteError, match="None of the keys"):
        open_note(sign(CHECKPOINT, twin), [WITNESS.verifier])


def test_a_note_that_nobody_we_trust_has_signed_is_refused() -> None:
    note = sign(CHECKPOINT, LOG)
    stranger = Signer(LOG.name, WITNESS.private_key)
    for verifiers in ([], [stranger.verifier], [Verifier.parse(PETER)]):
        with pytest.raises(NoteError, match="None of the keys"):
            open_note(note, verifiers)
    # A wrong signature of a known key spoils the note, though another's is right.
    forged = sign(CHECKPOINT, LOG).replace(f"{DASH} ", f"{PETERS_LINE}{DASH} ")
    with pytest.raises(NoteError, match="signature of PeterNeumann is wrong"):
        open_note(forged, [LOG.verifier, Verifier.parse(PETER)])
    assert open_note(forged, [LOG.verifier]) == CHECKPOINT


@given(st.data())
def test_no_changed_note_is_accepted_as_another_checkpoint(data: st.DataObject) -> None:
    note = cosign(sign(CHECKPOINT, LOG), WITNESS, 1)
    at = data.draw(st.integers(0, len(note) - 1))
    to = data.draw(st.sampled_from(["", "\n", "A", "0", "+", " ", "\x00", DASH, "\ud800"]))
    changed = note[:at] + to + note[at + 1 :]
    try:
        checkpoint = open_note(changed, [LOG.verifier])
    except NoteError:
        return
    assert checkpoint == CHECKPOINT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "standpipe/town\n300\n",
        "standpipe/town\n0300\nAAAA\n",
        f"standpipe/town\n+300\n{b64encode(bytes(32)).decode()}\n",
        f"standpipe/town\n\u0663\n{b64encode(bytes(32)).decode()}\n",
        f"standpipe/town\n9223372036854775808\n{b64encode(bytes(32)).decode()}\n",
        f"\n300\n{b64encode(bytes(32)).decode()}\n",
        f"standpipe/town\n300\n{b64encode(bytes(31)).decode()}\n",
        f"standpipe/town\n300\n{b64encode(bytes(32)).decode()[:-2]}B=\n",
        f"standpipe/town\n300\n{b64encode(bytes(32)).decode()}\n\n",
        f"standpipe/town\n300\n{b64encode(bytes(32)).decode()}",
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        open_note(f"{text}\n{LOG.line(text)}", [LOG.verifier])


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "standpipe/town",
        PETER.replace("c74f20a3", "c74f20a4"),
        PETER.replace("Peter", "Pieter"),
        PETER[:-4],
        PETER.replace("+AR", "+BR"),
        "name+00000000+AwEB",
        "a b+00000000+" + b64encode(b"\x01" + bytes(32)).decode(),
    ],
)
def test_a_verifier_key_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(NoteError, match=r"verifier key|name"):
        Verifier.parse(wrong)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\u00a0b", "a\n", " a"])
def test_a_key_cannot_have_a_name_that_would_break_its_lines(name: str) -> None:
    with pytest.raises(NoteError, match="name"):
        Signer(name, KEY)
    with pytest.raises(NoteError, match="name"):
        vkey(name, KEY.public_key())


def test_a_key_comes_from_a_pem_file_and_no_other_key_does() -> None:
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert Signer.from_pem("standpipe/town", pem).vkey == LOG.vkey
    locked = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    other = X25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for wrong in (b"", b"secret", locked, other):
        with pytest.raises(NoteError, match="no Ed25519 private key") as refusal:
            Signer.from_pem("standpipe/town", wrong)
        assert "secret" not in str(refusal.value)


def test_what_has_no_signature_is_no_note() -> None:
    for wrong in (
        CHECKPOINT.text,
        f"{CHECKPOINT.text}\n",
        f"{CHECKPOINT.text}\n{DASH} name\n",
        f"{CHECKPOINT.text}\n- standpipe/town AAAAAAAAAAAA\n",
        f"{CHECKPOINT.text}\n{DASH} standpipe/town AAAA\n",
        sign(CHECKPOINT, LOG)[:-1],
        sign(CHECKPOINT, *[LOG] * 101),
        "x" * 1_000_001,
    ):
        with pytest.raises(NoteError):
            open_note(wrong, [LOG.verifier])
