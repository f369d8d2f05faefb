"""The Merkle tree over a log's leaf hashes, and proofs in it (RFC 6962; checked as RFC 9162 says).

Pure and from the standard library alone. A leaf's index is its event's position less one.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple, Self

EMPTY_ROOT = sha256().digest()
"""The root of a tree without leaves."""
HASH_SIZE = 32
LARGEST = 2**63 - 1
"""Leaves that a tree can have at most, so that sizes fit into PostgreSQL and into other logs."""


class ProofError(ValueError):
    """A proof does not prove it, or there is none; the message names sizes and hashes alone."""


class Span(NamedTuple):
    """The leaves from index `start` up to, but without, `end`."""

    start: int
    end: int


class Node(NamedTuple):
    """A perfect subtree of 2**level leaves; `number` of its size stand to its left."""

    level: int
    number: int


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node from its children's."""
    return sha256(b"\x01" + left + right).digest()


def joined(hashes: Sequence[bytes]) -> bytes:
    """The root over neighbouring perfect subtrees, each smaller than the one to its left."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


class Frontier:
    """A tree of which only the right edge is kept: it grows, and has a root at every size."""

    __slots__ = ("_hashes", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._hashes: list[bytes] = []

    @classmethod
    def of(cls, size: int, hashes: Sequence[bytes]) -> Self:
        """A tree that has grown to `size`. ValueError unless `hashes` are its own in number."""
        if not 0 <= size <= LARGEST or len(hashes) != size.bit_count():
            raise ValueError(f"A tree of {size} leaves does not have {len(hashes)} subtrees.")
        if any(len(each) != HASH_SIZE for each in hashes):
            raise ValueError("A hash has 32 bytes.")
        frontier = cls()
        frontier._size, frontier._hashes = size, list(hashes)
        return frontier

    @property
    def size(self) -> int:
        """Leaves in the tree."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The perfect subtrees' that make up the tree, the largest first."""
        return tuple(self._hashes)

    def copy(self) -> "Frontier":
        """The same tree, to grow apart from this one."""
        return Frontier.of(self._size, self._hashes)

    def push(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        size = self._size
        while size & 1:
            leaf = sha256(b"\x01" + self._hashes.pop() + leaf).digest()
            size >>= 1
        self._hashes.append(leaf)
        self._size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes in their order; far faster than one by one."""
        row = list(leaves)
        size = self._size
        self._size += len(row)
        edge: list[bytes] = []  # the smallest subtree first
        while row or size:
            if size & 1:
                row.insert(0, self._hashes.pop())
            if len(row) & 1:
                edge.append(row.pop())
            row = [
                sha256(b"\x01" + left + right).digest()
                for left, right in zip(row[::2], row[1::2], strict=True)
            ]
            size >>= 1
        edge.reverse()
        self._hashes = edge

    def root(self) -> bytes:
        """Of the tree as it is now."""
        return joined(self._hashes)


def perfect(span: Span) -> list[Node]:
    """The perfect subtrees that a span of a path, or a whole tree, is made of, from the left."""
    start, width = span.start, span.end - span.start
    found: list[Node] = []
    while width:
        level = width.bit_length() - 1
        found.append(Node(level, start >> level))
        start += 1 << level
        width -= 1 << level
    return found


def inclusion_path(index: int, size: int) -> list[Span]:
    """The spans whose hashes prove a leaf in a tree, its sibling first. Raises `ProofError`."""
    if not 0 <= index < size <= LARGEST:
        raise ProofError(f"There is no leaf {index} in a tree of {size}.")
    start, end = 0, size
    path: list[Span] = []
    while end - start > 1:
        middle = _middle(start, end)
        if index < middle:
            path.append(Span(middle, end))
            end = middle
        else:
            path.append(Span(start, middle))
            start = middle
    path.reverse()
    return path


def consistency_path(old_size: int, size: int) -> list[Span]:
    """The spans whose hashes prove that a tree grew from an older one. Raises `ProofError`."""
    if not 0 <= old_size <= size <= LARGEST:
        raise ProofError(f"A tree of {size} did not grow from one of {old_size}.")
    if old_size in (0, size):
        return []
    start, end = 0, size
    path: list[Span] = []
    while old_size < end:
        middle = _middle(start, end)
        if old_size <= middle:
            path.append(Span(middle, end))
            end = middle
        else:
            path.append(Span(start, middle))
            start = middle
    if start > 0:  # else it is the old root, which the verifier has
        path.append(Span(start, end))
    path.reverse()
    return path


def hashes_of(path: Sequence[Span], lookup: Callable[[Node], bytes]) -> list[bytes]:
    """The hash of each span, from those of perfect subtrees."""
    return [joined([lookup(node) for node in perfect(span)]) for span in path]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Raise `ProofError` unless the leaf hash stands at `index` in the tree with this root."""
    if not 0 <= index < size <= LARGEST:
        raise ProofError(f"There is no leaf {index} in a tree of {size}.")
    _check_hashes([leaf, root, *proof])
    at, last, found = index, size - 1, leaf
    for each in proof:
        if last == 0:
            raise ProofError(f"The proof of leaf {index} in a tree of {size} is too long.")
        if at & 1 or at == last:
            found = node_hash(each, found)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, each)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofError(f"The proof of leaf {index} in a tree of {size} is too short.")
    if found != root:
        raise ProofError(
            f"The proof of leaf {index} leads to the root {found.hex()}, and the tree of {size}"
            f" has {root.hex()}."
        )


def verify_consistency(
    old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]
) -> None:
    """Raise `ProofError` unless the tree grew from the old one by leaves at its end alone."""
    if not 0 <= old_size <= size <= LARGEST:
        raise ProofError(f"A tree of {size} did not grow from one of {old_size}.")
    _check_hashes([old_root, root, *proof])
    if old_size in (0, size):
        if proof:
            raise ProofError(f"Between {old_size} and {size} leaves there is nothing to prove.")
        if old_root != (EMPTY_ROOT if old_size == 0 else root) or (
            size == 0 and root != EMPTY_ROOT
        ):
            raise ProofError(f"The tree of {old_size} has another root.")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise ProofError(f"The proof from {old_size} to {size} is too short.")
    at, last = old_size - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    was = became = path[0]
    for each in path[1:]:
        if last == 0:
            raise ProofError(f"The proof from {old_size} to {size} is too long.")
        if at & 1 or at == last:
            was, became = node_hash(each, was), node_hash(each, became)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            became = node_hash(became, each)
        at, last = at >> 1, last >> 1
    if last:
        raise ProofError(f"The proof from {old_size} to {size} is too short.")
    for what, of, expected, found in (
        ("old", old_size, old_root, was),
        ("new", size, root, became),
    ):
        if found != expected:
            raise ProofError(
                f"The proof from {old_size} to {size} leads to the {what} root {found.hex()}, and"
                f" the tree of {of} has {expected.hex()}."
            )


def _middle(start: int, end: int) -> int:
    """Where a tree's left half ends: after the largest power of two that is smaller than it."""
    return start + (1 << ((end - start - 1).bit_length() - 1))


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(each) != HASH_SIZE for each in hashes):
        raise ProofError("A hash has 32 bytes.")
