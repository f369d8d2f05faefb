"""Signed checkpoints of a log, and their cosignatures.

The formats are C2SP's: signed-note, tlog-checkpoint and tlog-cosignature (cosignature/v1), at
https://c2sp.org. A note is text and never bytes here; signatures are Ed25519.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import NamedTuple, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from audit.tree import HASH_SIZE, LARGEST

LONGEST = 1_000_000
"""Characters of a note that is looked at."""
MOST_SIGNATURES = 100

_DASH = "\u2014"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


class NoteError(ValueError):
    """A note is malformed, or no key that we trust has signed it."""


class Kind(IntEnum):
    """What a key's signatures mean; part of its id, so that one is never taken for another."""

    LOG = 0x01
    COSIGNER = 0x04


@dataclass(frozen=True)
class Checkpoint:
    """A log's tree at one size."""

    origin: str
    """Which log: `standpipe/<organisation>` unless set otherwise."""
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()
    """Lines of no meaning to us; ours has none."""

    def __post_init__(self) -> None:
        lines = (self.origin, *self.extensions)
        if any(not line or "\n" in line or _CONTROL.search(line) for line in lines):
            raise NoteError("A line of a checkpoint is empty, or holds more than plain text.")
        if not 0 <= self.size <= LARGEST or len(self.root) != HASH_SIZE:
            raise NoteError("A checkpoint has a size and a root of 32 bytes.")

    @property
    def text(self) -> str:
        """What is signed."""
        root = b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions))

    @classmethod
    def parse(cls, text: str) -> Self:
        """From what is signed. Raises `NoteError`."""
        if not text.endswith("\n"):
            raise NoteError("A checkpoint ends with a line's end.")
        lines = text[:-1].split("\n")
        if len(lines) < 3:
            raise NoteError("A checkpoint has three lines at least: origin, size, root.")
        origin, size, root, *extensions = lines
        return cls(origin, _number(size), _decoded(root), tuple(extensions))


@dataclass(frozen=True)
class Verifier:
    """A public key under its name, as an auditor pins it."""

    name: str
    public_key: Ed25519PublicKey
    kind: Kind = Kind.LOG

    def __post_init__(self) -> None:
        _check_name(self.name)

    @property
    def key_id(self) -> bytes:
        """Four bytes by which its signatures are found; they prove nothing."""
        return _key_id(self.name, self.kind, self.public_key.public_bytes_raw())

    @property
    def vkey(self) -> str:
        """The line to pin: name, key id and key."""
        key = bytes([self.kind]) + self.public_key.public_bytes_raw()
        return f"{self.name}+{self.key_id.hex()}+{b64encode(key).decode()}"

    @classmethod
    def parse(cls, vkey: str) -> Self:
        """From a vkey. Raises `NoteError`."""
        name, _, rest = vkey.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            key = _decoded(encoded)
            kind = Kind(key[0])
            public_key = Ed25519PublicKey.from_public_bytes(key[1:])
        except (ValueError, IndexError):
            raise NoteError(
                "This is no verifier key: write NAME+KEYID+BASE64, of type Ed25519."
            ) from None
        found = cls(name, public_key, kind)
        if found.key_id.hex() != key_id:
            raise NoteError("The verifier key's id does not belong to its name and key.")
        return found

    def verify(self, text: str, signature: bytes) -> int | None:
        """When it was cosigned (POSIX seconds), None for a log's own. Raises `NoteError`."""
        time, message = None, text.encode()
        if self.kind is Kind.COSIGNER:
            time, signature = int.from_bytes(signature[:8]), signature[8:]
            if time > LARGEST:
                raise NoteError(f"The cosignature of {self.name} has no time.")
            message = _cosigned(text, time)
        try:
            self.public_key.verify(signature, message)
        except InvalidSignature:
            raise NoteError(f"The signature of {self.name} is wrong.") from None
        return time


@dataclass(frozen=True)
class Signer:
    """A private key under its name; a log's, unless `kind` says otherwise."""

    name: str
    private_key: Ed25519PrivateKey
    kind: Kind = Kind.LOG

    def __post_init__(self) -> None:
        _check_name(self.name)

    @classmethod
    def from_pem(cls, name: str, pem: bytes, kind: Kind = Kind.LOG) -> Self:
        """From a PEM file's content. Raises `NoteError`."""
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise NoteError("This is no Ed25519 private key in PEM without a password.")
        return cls(name, key, kind)

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        return Verifier(self.name, self.private_key.public_key(), self.kind)

    @property
    def vkey(self) -> str:
        """The public half as a line."""
        return self.verifier.vkey

    def line(self, text: str, *, time: int | None = None) -> str:
        """The signature line under a text; `time`, in POSIX seconds, is for a cosigner."""
        if (time is None) != (self.kind is Kind.LOG):
            raise ValueError("A cosigner signs with a time, and a log without.")
        if time is None:
            signature = self.private_key.sign(text.encode())
        else:
            signature = time.to_bytes(8) + self.private_key.sign(_cosigned(text, time))
        return f"{_DASH} {self.name} {b64encode(self.verifier.key_id + signature).decode()}\n"


class Signature(NamedTuple):
    """A line under a note; nothing about it is verified yet."""

    name: str
    key_id: bytes
    signature: bytes


class Cosignature(NamedTuple):
    """Who says, and since when, that a log has not shown them another past."""

    name: str
    time: int
    """POSIX seconds."""


def vkey(name: str, public_key: Ed25519PublicKey, kind: Kind = Kind.LOG) -> str:
    """The line by which an auditor pins a key."""
    return Verifier(name, public_key, kind).vkey


def sign(checkpoint: Checkpoint, *signers: Signer) -> str:
    """The signed note of a checkpoint."""
    return f"{checkpoint.text}\n{''.join(signer.line(checkpoint.text) for signer in signers)}"


def cosign(note: str, signer: Signer, time: int) -> str:
    """The note with one more signature. Check that it is consistent before you cosign it."""
    text, _ = split(note)
    return note + signer.line(text, time=time)


def split(note: str) -> tuple[str, list[Signature]]:
    """The text and the signatures under it, none of them verified. Raises `NoteError`."""
    if len(note) > LONGEST:
        raise NoteError("The note is too long.")
    try:
        note.encode()
    except UnicodeEncodeError:
        raise NoteError("The note is not UTF-8.") from None
    if _CONTROL.search(note):
        raise NoteError("The note holds control characters.")
    text, blank, below = note.rpartition("\n\n")
    if not blank or not below.endswith("\n"):
        raise NoteError("The note has no signatures, or its last line has no end.")
    lines = below[:-1].split("\n")
    if len(lines) > MOST_SIGNATURES:
        raise NoteError("The note has too many signatures.")
    return text + "\n", [_signature(line) for line in lines]


def open_text(note: str, verifiers: Iterable[Verifier]) -> str:
    """A note's text, if one of these keys has signed it and none of them wrongly.

    Raises `NoteError`. Signatures of other keys are ignored.
    """
    text, signatures = split(note)
    if not _verified(text, signatures, verifiers):
        raise NoteError("None of the keys that were given has signed this note.")
    return text


def open_note(note: str, verifiers: Iterable[Verifier]) -> Checkpoint:
    """The checkpoint in a note, as `open_text` gives it. Raises `NoteError`."""
    return Checkpoint.parse(open_text(note, verifiers))


def cosignatures(note: str, verifiers: Iterable[Verifier]) -> list[Cosignature]:
    """Which of these witnesses have cosigned it. Raises `NoteError` for a wrong signature."""
    text, signatures = split(note)
    found = _verified(text, signatures, verifiers)
    return [Cosignature(name, time) for name, time in found if time is not None]


def _verified(
    text: str, signatures: Sequence[Signature], verifiers: Iterable[Verifier]
) -> list[tuple[str, int | None]]:
    known = {(each.name, each.key_id): each for each in verifiers}
    found: dict[tuple[str, bytes], int | None] = {}
    for name, key_id, signature in signatures:
        verifier = known.get((name, key_id))
        if verifier is not None:
            time = verifier.verify(text, signature)
            found.setdefault((name, key_id), time)
    return [(name, time) for (name, _), time in found.items()]


def _signature(line: str) -> Signature:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != _DASH:
        raise NoteError("A signature's line begins with a dash.")
    _check_name(name)
    signature = _decoded(encoded)
    if len(signature) < 5:
        raise NoteError("A signature is too short.")
    return Signature(name, signature[:4], signature[4:])


def _key_id(name: str, kind: Kind, key: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


def _cosigned(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _check_name(name: str) -> None:
    if "+" in name or _CONTROL.search(name) or name.split() != [name]:
        raise NoteError("A key's name is not empty, and has neither spaces nor a plus sign.")


def _number(text: str) -> int:
    """A decimal without leading zeros."""
    if not _NUMBER.fullmatch(text) or int(text) > LARGEST:
        raise NoteError("A number in the note is not a plain decimal of 63 bits at most.")
    return int(text)


def _decoded(text: str) -> bytes:
    """Standard base64, in its one right form."""
    try:
        content = b64decode(text, validate=True)
    except (BadBase64, ValueError):
        content = None
    if content is None or b64encode(content).decode() != text:
        raise NoteError("The note holds something that is not base64.")
    return content
