"""Checks an export of a Standpipe log (`standpipe audit export --format jsonl`) with nothing else.

This file needs Python 3.11 and the package `cryptography`, and no other part of Standpipe: copy it
wherever you like and run `python check_export.py FILE --key VKEY [--checkpoint NOTE]…`.

What the file is. UTF-8 lines, each a JSON object with a `type`; gzip if you like. In this order:

  export    `format` "standpipe-log-export/1", `organisation`, `origin` (the log's name in its
            checkpoints); `first` and `last`, the positions of the events that are here in full;
            `size`, how many leaves the tree has with all of the file; `from` and `to`, the times
            that the events were selected by (from ≤ recorded_at < to) or null; `checkpoints`,
            signed notes (C2SP tlog-checkpoint), those that were there when it was written.
  policy    `hash` and `content`: the rules that cases are pinned to. Each once.
  leaves    `position` and `hashes`: the leaf hashes, in hex, of events outside the range, from that
            position on. Before the first event and after the last.
  decision  `stream`, `decided_at`, `recorded_at`, `events`, `command`: a command to the letter,
            followed by as many lines of type
  event     `position`, `recorded_at`, `header`, `body`: header and body to the letter.
            Decisions without an event stand after everything above.
  end       how many `policies`, `decisions`, `events` and `leaves` there were, and the `root` of
            the tree of all leaves, in hex. Nothing follows.

What is proved. An event's header commits to its body and its command by their SHA-256, and to its
place in its case. Its leaf is SHA-256(0x00 ‖ header), at index position - 1 of a Merkle tree (RFC
6962), and a signed checkpoint gives that tree's root at some size. So with the key that you pinned,
nothing up to that size can have been edited, left out, put in or moved. An older checkpoint, kept
by you or by a witness, proves that the past has not been rewritten since; the newest that you know
of proves that nothing was cut off the end. The tree does not prove `recorded_at`, decisions without
an event, and events after the last checkpoint (you are told how many). Whether the commands
lawfully led to these events is what `standpipe audit redecide` is for.

Exit code: 0 all is right, 1 findings, 2 the input can't be used.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import gzip
import json
import re
import sqlite3
import sys
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "standpipe-log-export/1"
NAMESPACE = uuid.UUID("6f0c8a52-1f0e-5b7a-9d53-7a1f5d3c2e91")
"""An event's id is uuid5(NAMESPACE, organisation/stream/version)."""
HEADER: dict[str, type] = {
    **dict.fromkeys(("body_hash", "command_hash", "command_id", "decided_at", "event_id"), str),
    **dict.fromkeys(("occurred_at", "organisation", "stream", "type"), str),
    **dict.fromkeys(("schema_version", "version"), int),
}
"""What a header holds, and nothing else."""
LOG, WITNESS = 0x01, 0x04
"""What a key's signatures mean: the log's own, or a witness's (C2SP cosignature/v1)."""
LONGEST_LINE = 64 * 1024 * 1024
MOST_FINDINGS = 200
"""So many are kept; the others are counted."""


class Unusable(Exception):
    """The input can't be checked at all: what is wrong with it."""


class Bad(Exception):
    """One thing that is wrong with a line; the rest of it can't be checked."""


class Key(NamedTuple):
    """A pinned public key."""

    name: str
    id: bytes
    kind: int
    """LOG or WITNESS."""
    public: Ed25519PublicKey


class Checkpoint(NamedTuple):
    """A log's tree at one size."""

    origin: str
    size: int
    root: bytes
    witnesses: tuple[str, ...]
    """Whose cosignature is right, of the keys that were given."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    check: str
    what: str
    line: int | None = None
    """Of the file, from 1."""
    position: int | None = None
    stream: str | None = None
    version: int | None = None

    def __str__(self) -> str:
        places = (("line", self.line), ("position", self.position), ("version", self.version))
        told = [f"{name} {value}" for name, value in places if value is not None]
        if self.stream is not None:
            told.append(self.stream)
        return f"{', '.join(told) or 'the whole'}: {self.check}: {self.what}"


@dataclass
class Verdict:
    """What was checked, and what was found."""

    organisation: str = ""
    origin: str = ""
    first: int = 1
    last: int = 0
    events: int = 0
    decisions: int = 0
    without_events: int = 0
    """Decisions that caused no event: no leaf commits to them."""
    leaves: int = 0
    """Events of which only the leaf is here."""
    policies: int = 0
    size: int = 0
    root: str = ""
    """Of all leaves here, in hex."""
    signed: int = 0
    """The size of the largest checkpoint that was verified against these leaves."""
    checkpoints: list[int] = field(default_factory=list[int])
    """The sizes of all that were."""
    witnessed: dict[str, int] = field(default_factory=dict[str, int])
    """Up to which size a witness has cosigned, by the name of its key."""
    findings: list[Finding] = field(default_factory=list[Finding])
    found: int = 0
    """All findings, those that were not kept included."""

    @property
    def ok(self) -> bool:
        return not self.found

    @property
    def unsigned(self) -> int:
        """Events at the end that no checkpoint covers yet."""
        return max(0, self.size - self.signed)


class Tree:
    """RFC 6962, of which only the roots of the complete subtrees are kept."""

    def __init__(self) -> None:
        self.size = 0
        self._subtrees: list[bytes] = []
        """Largest first: one for each bit that is set in the size."""

    def push(self, leaf: bytes) -> None:
        node, size = leaf, self.size
        while size & 1:
            node = sha256(b"\x01" + self._subtrees.pop() + node).digest()
            size >>= 1
        self._subtrees.append(node)
        self.size += 1

    def root(self) -> bytes:
        if not self._subtrees:
            return sha256(b"").digest()
        node = self._subtrees[-1]
        for left in self._subtrees[-2::-1]:
            node = sha256(b"\x01" + left + node).digest()
        return node


def parse_key(vkey: str) -> Key:
    """A verifier key as C2SP signed-note writes it: NAME+KEYID+BASE64, Ed25519."""
    name, _, rest = vkey.strip().partition("+")
    id, _, encoded = rest.partition("+")
    try:
        raw = base64.b64decode(encoded, validate=True)
        if raw[0] not in (LOG, WITNESS):
            raise ValueError
        key = Key(name, bytes.fromhex(id), raw[0], Ed25519PublicKey.from_public_bytes(raw[1:]))
    except (ValueError, IndexError):
        raise Unusable("The key is not one: NAME+KEYID+BASE64, of type Ed25519.") from None
    if sha256(name.encode() + b"\n" + raw).digest()[:4] != key.id:
        raise Unusable("The key's id does not belong to its name and content: copy it again.")
    return key


def open_note(note: str, keys: Sequence[Key]) -> Checkpoint:
    """The checkpoint of a signed note, if one of the keys has signed it. Raises Bad."""
    text, blank, below = note.rpartition("\n\n")
    text += "\n"
    if not blank or not below.endswith("\n"):
        raise Bad("the note has no signature, or its last line has no end")
    signed, witnesses = False, list[str]()
    for line in below[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        try:
            signature = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise Bad("a signature of the note is not base64") from None
        if dash != "\u2014" or len(signature) < 5:
            raise Bad("a signature line of the note is malformed")
        for key in keys:
            if (key.name, key.id) == (name, signature[:4]):
                _verify(key, text, signature[4:])
                signed |= key.kind == LOG
                witnesses += [name] if key.kind == WITNESS else []
    if not signed:
        raise Bad("no key of the log that was given has signed it")
    lines = text.split("\n")
    if len(lines) < 4 or not lines[0] or not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
        raise Bad("the note is not a checkpoint")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except (binascii.Error, ValueError):
        root = b""
    if len(root) != 32:
        raise Bad("the note is not a checkpoint")
    return Checkpoint(lines[0], int(lines[1]), root, tuple(witnesses))


def _verify(key: Key, text: str, signature: bytes) -> None:
    if key.kind == WITNESS:
        time, signature = int.from_bytes(signature[:8]), signature[8:]
        text = f"cosignature/v1\ntime {time}\n{text}"
    try:
        key.public.verify(signature, utf8(text))
    except InvalidSignature:
        raise Bad(f"the signature of {key.name} is wrong") from None


class Check:
    """One pass over one export."""

    def __init__(self, keys: Sequence[Key], older: Sequence[str]) -> None:
        self.verdict = Verdict()
        self.keys, self.older = keys, older
        self.tree = Tree()
        self.line = 0
        self.position = 0
        """Of the last event or leaf."""
        self.wanted: dict[int, list[Checkpoint]] = {}
        """Checkpoints by the size at which their root must be ours."""
        self.policies: set[str] = set()
        self.decision: dict[str, Any] | None = None
        self.open = 0
        """Events of the decision that are still to come."""
        self.recorded_at = ""
        """Of the decision."""
        self.begun = self.ended = False
        self.size = 0
        # The last version of each case. On disk, because there may be millions; gone in the end.
        self.versions = sqlite3.connect("", isolation_level=None)
        self.versions.execute("PRAGMA journal_mode = OFF")
        self.versions.execute("PRAGMA cache_size = -16000")
        self.versions.execute("CREATE TABLE v (s TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID")
        self.versions.execute("BEGIN")

    def found(
        self, check: str, what: str, event: dict[str, Any] | None = None, *, whole: bool = False
    ) -> None:
        self.verdict.found += 1
        if len(self.verdict.findings) >= MOST_FINDINGS:
            return
        place = event or {}
        self.verdict.findings.append(
            Finding(
                check,
                what,
                None if whole else self.line,
                place.get("position"),
                place.get("stream"),
                place.get("version"),
            )
        )

    def take(self, raw: bytes) -> None:
        """One line, its end included."""
        self.line += 1
        if not raw.endswith(b"\n"):
            self.found("truncated", "the line has no end: the file was cut here")
            return
        try:
            line = loads(raw.decode(), "the line")
            kind = line.get("type")
            if kind == "export" and not self.begun:
                self._export(line)
            elif not self.begun or kind == "export":
                raise Bad(f"this is no {FORMAT}, or its first line is not where it belongs")
            elif self.ended:
                raise Bad("it stands after the end")
            elif kind == "policy":
                self._policy(line)
            elif kind == "leaves":
                self._leaves(line)
            elif kind == "decision":
                self._decision(line)
            elif kind == "event":
                self._event(line)
            elif kind == "end":
                self._end(line)
            else:
                raise Bad("its type is none that there is")
        except UnicodeDecodeError:
            self.found("line", "the line is no UTF-8")
        except Bad as bad:
            self.found("line", str(bad))

    def _export(self, line: dict[str, Any]) -> None:
        if line.get("format") != FORMAT:
            raise Unusable(f"The file is not a {FORMAT}: get the checker that came with it.")
        verdict = self.verdict
        verdict.organisation = text_of(line, "organisation")
        verdict.origin = text_of(line, "origin")
        verdict.first, verdict.last = number_of(line, "first"), number_of(line, "last")
        self.size = number_of(line, "size")
        if not 1 <= verdict.first <= verdict.last + 1 <= self.size + 1:
            raise Bad("first, last and size contradict each other")
        self.begun = True
        notes = line.get("checkpoints")
        for note in cast("list[Any]", notes) if isinstance(notes, list) else []:
            self._checkpoint(note, "a checkpoint of the export")
        for place, note in enumerate(self.older, 1):
            self._checkpoint(note, f"checkpoint {place} that you gave")
        self._at_size()

    def _checkpoint(self, note: object, what: str) -> None:
        try:
            checkpoint = open_note(note if isinstance(note, str) else "", self.keys)
        except Bad as bad:
            self.found("signature", f"{what} proves nothing: {bad}", whole=True)
            return
        if checkpoint.origin != self.verdict.origin:
            self.found("origin", f"{what} is of another log than {self.verdict.origin}", whole=True)
        elif checkpoint.size > self.size:
            self.found(
                "truncated",
                f"{what} has {checkpoint.size} leaves, the export {self.size}: the rest is missing",
                whole=True,
            )
        else:
            self.wanted.setdefault(checkpoint.size, []).append(checkpoint)

    def _policy(self, line: dict[str, Any]) -> None:
        self.verdict.policies += 1
        content, hash = text_of(line, "content"), text_of(line, "hash")
        if hexed(content) != hash:
            raise Bad(f"the policy's content is not that of the hash {hash[:64]}")
        if len(self.policies) < 100_000:
            self.policies.add(hash)

    def _leaves(self, line: dict[str, Any]) -> None:
        self._whole_decision()
        position, hashes = number_of(line, "position"), line.get("hashes")
        if not isinstance(hashes, list):
            raise Bad("it has no hashes")
        for hash in cast("list[Any]", hashes):
            if not isinstance(hash, str) or not re.fullmatch("[0-9a-f]{64}", hash):
                raise Bad("a leaf's hash is not 64 hexadecimal digits")
            if self.verdict.first <= position <= self.verdict.last:
                self.found("position", "only its leaf is here, in the midst of the range", line)
            self._next(position, bytes.fromhex(hash), {"position": position})
            self.verdict.leaves += 1
            position += 1

    def _decision(self, line: dict[str, Any]) -> None:
        before = self.decision
        self._whole_decision()
        self.verdict.decisions += 1
        command, count = text_of(line, "command"), number_of(line, "events")
        id = loads(command, "the command").get("id")
        stream, decided_at = text_of(line, "stream"), text_of(line, "decided_at")
        self.recorded_at = text_of(line, "recorded_at")
        self.verdict.without_events += not count
        if not count and self.position < self.size:
            self.found("order", "a decision without events stands before the last leaf", line)
        self.open = count
        self.decision = {
            "command_hash": hexed(command),
            "command_id": id,
            "stream": stream,
            "decided_at": decided_at,
        }
        if self.decision == before:
            self.found("command", "the decision was told just before this", line)

    def _whole_decision(self) -> None:
        if self.open:
            self.found("count", f"{self.open} events of the decision before this are missing")
        self.open, self.decision = 0, None

    def _event(self, line: dict[str, Any]) -> None:
        self.verdict.events += 1
        position, header = number_of(line, "position"), text_of(line, "header")
        # First of all the leaf: whatever else is wrong with the event, the tree has one for it.
        leaf = sha256(b"\x00" + header.encode("utf-8", "replace")).digest()
        self._next(position, leaf, {"position": position})
        caused = self.decision if self.open else None
        self.open = max(0, self.open - 1)
        told = loads(header, "the header")
        # Without a backslash nothing in it is escaped, and all of it can be taken as it is.
        named = {name: type(value) for name, value in told.items()} == HEADER
        if not named or "\\" in header or written(told) != header or told["version"] >= 2**31:
            raise Bad(f"position {position}: the header is not what a header is")
        place = told | {"position": position}
        if not self.verdict.first <= position <= self.verdict.last:
            self.found("position", "it lies outside the range", place)
        if told["organisation"] != self.verdict.organisation:
            self.found("organisation", "it belongs to another organisation's log", place)
        name = f"{told['organisation']}/{told['stream']}/{told['version']}"
        if told["event_id"] != str(uuid.uuid5(NAMESPACE, name)):
            self.found("event-id", "the id is not that of its place", place)
        self._version(told["stream"], told["version"], place)
        recorded_at = text_of(line, "recorded_at")
        self._body(text_of(line, "body"), told, place)
        if caused is None:
            self.found("command", "the command that caused it is not here", place)
            return
        if recorded_at != self.recorded_at:
            self.found("time", "event and decision differ in when they were recorded", place)
        for name, value in caused.items():
            if told[name] != value:
                self.found("command", f"header and decision differ in the {name}", place)

    def _body(self, body: str, told: dict[str, Any], place: dict[str, Any]) -> None:
        if hexed(body) != told["body_hash"]:
            self.found("body", "the body is not the one that the header commits to", place)
            return
        said = loads(body, "the body")
        same = {"type": "type", "schema_version": "schema_version", "at": "occurred_at"}
        for inside, outside in same.items():
            if said.get(inside) != told[outside]:
                self.found("body", f"header and body differ in the {outside}", place)
        policy = said.get("policy")
        if told["version"] == 1 and isinstance(policy, str) and policy not in self.policies:
            self.found("policy", "the policy that the case is pinned to is not here", place)

    def _next(self, position: int, leaf: bytes, place: dict[str, Any]) -> None:
        expected = self.position + 1
        if position != expected:
            self.found("position", f"position {expected} was expected here", place)
        self.position = position
        self.tree.push(leaf)
        if self.tree.size in self.wanted:
            self._at_size()

    def _at_size(self) -> None:
        """Now the root must be that of the checkpoints of this size."""
        for checkpoint in self.wanted.pop(self.tree.size, []):
            if checkpoint.root != self.tree.root():
                self.found(
                    "tree",
                    f"the first {checkpoint.size} leaves are not those of the signed checkpoint",
                    whole=True,
                )
            else:
                self.verdict.signed = max(self.verdict.signed, checkpoint.size)
                self.verdict.checkpoints.append(checkpoint.size)
                for name in checkpoint.witnesses:
                    before = self.verdict.witnessed.get(name, 0)
                    self.verdict.witnessed[name] = max(before, checkpoint.size)

    def _version(self, stream: str, version: int, place: dict[str, Any]) -> None:
        done = self.versions.execute(
            "UPDATE v SET n = ? WHERE s = ? AND n = ? - 1", (version, stream, version)
        )
        if done.rowcount == 1:
            return
        row = self.versions.execute("SELECT n FROM v WHERE s = ?", (stream,)).fetchone()
        # Where the range begins later, a case may have begun before it.
        if row is not None or (version != 1 and self.verdict.first == 1) or version < 1:
            expected = 1 if row is None else row[0] + 1
            self.found("version", f"version {expected} of the case was expected here", place)
        self.versions.execute("INSERT OR REPLACE INTO v VALUES (?, ?)", (stream, version))

    def _end(self, line: dict[str, Any]) -> None:
        self._whole_decision()
        self.ended = True
        for name in ("policies", "decisions", "events", "leaves"):
            told, here = number_of(line, name), getattr(self.verdict, name)
            if told != here:
                self.found("count", f"{told} {name} were written, {here} are here")
        if text_of(line, "root") != self.tree.root().hex():
            self.found("tree", "the root at the end is not that of the leaves before it")

    def finish(self) -> Verdict:
        """All that can be said only when everything was read."""
        verdict = self.verdict
        if not self.begun:
            raise Unusable(f"The file is not a {FORMAT}: its first line does not say so.")
        if not self.ended:
            self.found("truncated", "the last line is missing: the file was cut", whole=True)
        if self.tree.size != self.size:
            told = f"{self.size} leaves were announced, {self.tree.size} are here"
            self.found("count", told, whole=True)
        for size in self.wanted:
            self.found("tree", f"the leaves up to {size}, signed, are not all here", whole=True)
        if not verdict.checkpoints:
            self.found("signature", "no signed checkpoint proves any of it", whole=True)
        verdict.size, verdict.root = self.tree.size, self.tree.root().hex()
        verdict.checkpoints = sorted(set(verdict.checkpoints))
        self.versions.close()
        return verdict


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object that says nothing twice: other programs might read the other one."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError
    return made


decoded = json.JSONDecoder(object_pairs_hook=unique).decode
encoded = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def loads(content: str, what: str) -> dict[str, Any]:
    """A JSON object. Raises Bad."""
    try:
        value = decoded(content)
    except (ValueError, RecursionError):
        raise Bad(f"{what} is no JSON, or says something twice") from None
    if not isinstance(value, dict):
        raise Bad(f"{what} is no JSON object")
    return cast("dict[str, Any]", value)


def text_of(line: dict[str, Any], name: str) -> str:
    value = line.get(name)
    if not isinstance(value, str):
        raise Bad(f"it has no {name}")
    return value


def number_of(line: dict[str, Any], name: str) -> int:
    value = line.get(name)
    if type(value) is not int or not 0 <= value < 2**63:
        raise Bad(f"it has no {name}")
    return value


def hexed(content: str) -> str:
    return sha256(utf8(content)).hexdigest()


def utf8(content: str) -> bytes:
    """The bytes of a text. Raises Bad for half a character, which JSON can hold and UTF-8 not."""
    try:
        return content.encode()
    except UnicodeEncodeError:
        raise Bad("it holds what is no text") from None


def written(told: dict[str, Any]) -> str:
    """Canonical JSON (RFC 8785) of a header: it holds nothing that needs more care."""
    return encoded(told)


def lines(file: BinaryIO) -> Iterator[bytes]:
    """The file's lines; a cut or damaged gzip just ends. Raises Unusable for an endless line."""
    unpacked = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if zipped(file) else file
    while True:
        try:
            line = unpacked.readline(LONGEST_LINE)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            return
        if not line:
            return
        if len(line) == LONGEST_LINE:
            raise Unusable("The file is no export: it has a line without end.")
        yield line


def zipped(file: BinaryIO) -> bool:
    magic = file.read(2)
    file.seek(0)
    return magic == b"\x1f\x8b"


def check(
    file: Path,
    keys: Sequence[Key],
    older: Sequence[str] = (),
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Verdict:
    """Check an export by pinned keys and notes of older checkpoints. Raises Unusable.

    `told` hears now and then how many of the file's bytes are done.
    """
    try:
        with file.open("rb") as opened:
            total = file.stat().st_size
            checking = Check(keys, older)
            for count, line in enumerate(lines(opened)):
                checking.take(line)
                if count % 5_000 == 0:
                    told(opened.tell(), total)
            return checking.finish()
    except OSError as error:
        raise Unusable(f"{file} can't be read: {error.strerror or type(error).__name__}.") from None


def report(verdict: Verdict) -> str:
    """The verdict for people."""
    told = [
        f"{verdict.organisation} (log {verdict.origin}): positions {verdict.first} to"
        f" {verdict.last}, {verdict.events} events of {verdict.decisions} decisions,"
        f" {verdict.leaves} more leaves.",
        f"Root of {verdict.size} leaves: {verdict.root}",
    ]
    if verdict.checkpoints:
        sizes = ", ".join(str(size) for size in verdict.checkpoints)
        told.append(f"Signed checkpoints that match: of {sizes} leaves.")
    for name, size in verdict.witnessed.items():
        told.append(
            f"The witness {name} has seen the log grow to {size} leaves, and no other past."
        )
    if verdict.unsigned:
        told.append(
            f"The last {verdict.unsigned} are under no checkpoint yet: a later export proves them."
        )
    if verdict.without_events:
        told.append(f"{verdict.without_events} decisions caused no event: no leaf commits to them.")
    told += [f"FOUND {finding}" for finding in verdict.findings]
    if verdict.found > len(verdict.findings):
        told.append(f"… and {verdict.found - len(verdict.findings)} more.")
    told.append("All is right." if verdict.ok else f"{verdict.found} findings: do not rely on it.")
    return "\n".join(told)


def as_json(verdict: Verdict) -> dict[str, Any]:
    return asdict(verdict) | {"ok": verdict.ok, "unsigned": verdict.unsigned}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check an export of a Standpipe log, offline.")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument(
        "--key",
        action="append",
        required=True,
        metavar="VKEY",
        help="the log's key as you pinned it, or its file",
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        type=Path,
        metavar="NOTE",
        help="an older checkpoint's file",
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        keys = [parse_key(key if "+" in key else read(Path(key))) for key in given.key]
        verdict = check(given.file, keys, [read(path) for path in given.checkpoint])
    except Unusable as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(as_json(verdict), indent=2) if given.json else report(verdict))
    return 0 if verdict.ok else 1


def read(path: Path) -> str:
    """A small file's text. Raises Unusable."""
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        raise Unusable(f"{path} can't be read as text.") from None


if __name__ == "__main__":
    sys.exit(main())
