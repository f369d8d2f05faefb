"""The Merkle tree: published vectors, another implementation, and proofs that prove nothing."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from activities.canonical import leaf_hash
from audit.tree import (
    EMPTY_ROOT,
    LARGEST,
    Frontier,
    Node,
    ProofError,
    Span,
    consistency_path,
    hashes_of,
    inclusion_path,
    joined,
    node_hash,
    perfect,
    verify_consistency,
    verify_inclusion,
)

# The vectors of Certificate Transparency's own tests: leaves and roots from
# github.com/transparency-dev/merkle, testonly/constants.go, and proofs from
# testonly/reference_test.go there.
LEAVES = [
    bytes.fromhex(each)
    for each in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    bytes.fromhex(each)
    for each in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
INCLUSION = {
    (0, 1): (),
    (0, 2): ("96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",),
    (1, 2): ("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
    (1, 5): (
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
}
CONSISTENCY = {
    (1, 1): (),
    (1, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
}


def hashed(leaves: Sequence[bytes]) -> list[bytes]:
    return [leaf_hash(each) for each in leaves]


def grown(leaves: Sequence[bytes]) -> Frontier:
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier


def lookup(leaves: Sequence[bytes]) -> Callable[[Node], bytes]:
    def of(node: Node) -> bytes:
        start = node.number << node.level
        return grown(leaves[start : start + (1 << node.level)]).root()

    return of


def inclusion(leaves: Sequence[bytes], index: int) -> list[bytes]:
    return hashes_of(inclusion_path(index, len(leaves)), lookup(leaves))


def consistency(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    return hashes_of(consistency_path(old_size, len(leaves)), lookup(leaves))


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    one_by_one = Frontier()
    for leaf in hashed(LEAVES[:size]):
        one_by_one.push(leaf)
    assert one_by_one.root() == grown(hashed(LEAVES[:size])).root() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_those_of_certificate_transparency(index: int, size: int) -> None:
    proof = inclusion(hashed(LEAVES[:size]), index)
    assert [each.hex() for each in proof] == list(INCLUSION[index, size])
    verify_inclusion(leaf_hash(LEAVES[index]), index, size, proof, ROOTS[size])


@pytest.mark.parametrize(("old_size", "size"), CONSISTENCY)
def test_consistency_proofs_are_those_of_certificate_transparency(old_size: int, size: int) -> None:
    proof = consistency(hashed(LEAVES[:size]), old_size)
    assert [each.hex() for each in proof] == list(CONSISTENCY[old_size, size])
    verify_consistency(old_size, ROOTS[old_size], size, ROOTS[size], proof)


entries = st.lists(st.binary(max_size=40), min_size=1, max_size=70)


@settings(max_examples=60)
@given(entries, st.data())
def test_another_implementation_gives_the_same_roots_and_proofs(
    headers: list[bytes], data: st.DataObject
) -> None:
    theirs: Any = InmemoryTree()
    for each in headers:
        theirs.append_entry(each)
    leaves, size = hashed(headers), len(headers)
    old_size = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, size - 1))
    root, old_root = grown(leaves).root(), grown(leaves[:old_size]).root()
    assert root == theirs.get_root(size)
    assert old_root == theirs.get_root(old_size)

    # Theirs has the leaf in front, which a proof of RFC 6962 leaves to the verifier.
    proof = inclusion(leaves, index)
    assert theirs.prove_inclusion(index + 1, size).path == [leaves[index], *proof]
    verify_inclusion(leaves[index], index, size, proof, root)

    # Its proofs of consistency have a form of their own, so it judges our roots, not our proof.
    theirs.prove_consistency(old_size, size).verify(old_root, root, old_size, size)
    verify_consistency(old_size, old_root, size, root, consistency(leaves, old_size))


def defined(old_size: int, leaves: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """SUBPROOF(m, D[n], b), as RFC 6962, section 2.1.2, defines it."""
    size = len(leaves)
    if old_size == size:
        return [] if whole else [grown(leaves).root()]
    middle = 1
    while middle * 2 < size:
        middle *= 2
    left, right = leaves[:middle], leaves[middle:]
    if old_size <= middle:
        return [*defined(old_size, left, whole), grown(right).root()]
    return [*defined(old_size - middle, right, False), grown(left).root()]


def test_consistency_proofs_are_what_the_standard_defines() -> None:
    leaves = hashed([str(each).encode() for each in range(40)])
    for size in range(1, 41):
        for old_size in range(1, size + 1):
            proof = consistency(leaves[:size], old_size)
            assert proof == defined(old_size, leaves[:size])


@settings(max_examples=60)
@given(st.lists(st.integers(0, 600), max_size=8))
def test_a_tree_grows_in_any_steps_to_the_same_root(steps: list[int]) -> None:
    leaves = hashed([str(each).encode() for each in range(sum(steps))])
    frontier, given_ = Frontier(), iter(leaves)
    for step in steps:
        frontier.extend([next(given_) for _ in range(step)])
        frontier = Frontier.of(frontier.size, frontier.hashes)
    one_by_one = Frontier()
    for leaf in leaves:
        one_by_one.push(leaf)
    assert frontier.size == one_by_one.size == len(leaves)
    assert frontier.hashes == one_by_one.hashes
    assert frontier.root() == joined(
        [lookup(leaves)(each) for each in perfect(Span(0, len(leaves)))]
    )


def test_every_proof_in_every_small_tree_holds() -> None:
    leaves = hashed([str(each).encode() for each in range(33)])
    roots = [grown(leaves[:size]).root() for size in range(34)]
    for size in range(1, 34):
        for index in range(size):
            verify_inclusion(
                leaves[index], index, size, inclusion(leaves[:size], index), roots[size]
            )
        for old_size in range(size + 1):
            verify_consistency(
                old_size, roots[old_size], size, roots[size], consistency(leaves[:size], old_size)
            )


def changed(proof: Sequence[bytes], random: Random) -> list[list[bytes]]:
    """Proofs that are not this one: shorter, longer, in another order, with a bit flipped."""
    other = random.randbytes(32)
    made = [[*proof, other], [other, *proof], [*proof, *proof[-1:], other]]
    if proof:
        at = random.randrange(len(proof))
        bit = bytearray(proof[at])
        bit[random.randrange(32)] ^= 1 << random.randrange(8)
        made += [list(proof[1:]), list(proof[:-1]), []]
        made.append([*proof[:at], bytes(bit), *proof[at + 1 :]])
        made.append([*proof[:at], *proof[at + 1 :]])
        made.append([*proof[:at], proof[at][:31], *proof[at + 1 :]])
    if len(proof) > 1:
        made.append(list(reversed(proof)))
    return made


@settings(max_examples=60)
@given(st.integers(1, 70), st.data(), st.randoms(use_true_random=False))
def test_no_wrong_proof_of_inclusion_is_accepted(
    size: int, data: st.DataObject, random: Random
) -> None:
    leaves = hashed([str(each).encode() for each in range(size)])
    index = data.draw(st.integers(0, size - 1))
    root, proof = grown(leaves).root(), inclusion(leaves, index)
    verify_inclusion(leaves[index], index, size, proof, root)
    for wrong in changed(proof, random):
        refused(verify_inclusion, leaves[index], index, size, wrong, root)
    refused(verify_inclusion, leaf_hash(b"another"), index, size, proof, root)
    refused(verify_inclusion, leaves[index], index, size, proof, leaf_hash(b"another"))
    refused(verify_inclusion, leaves[index][:31], index, size, proof, root)
    for place in {index - 1, index + 1, size, -1, LARGEST} - {index}:
        refused(verify_inclusion, leaves[index], place, size, proof, root)
    # Of another size; as long as its path looks alike, the root is what says no.
    larger = grown([*leaves, leaf_hash(b"more")]).root()
    refused(verify_inclusion, leaves[index], index, size + 1, proof, larger)
    # A node of the tree is no leaf in it.
    if size > 1:
        inner = node_hash(leaves[0], leaves[1])
        refused(verify_inclusion, inner, 0, size, inclusion(leaves, 0)[1:], root)


@settings(max_examples=60)
@given(st.integers(1, 70), st.data(), st.randoms(use_true_random=False))
def test_no_wrong_proof_of_consistency_is_accepted(
    size: int, data: st.DataObject, random: Random
) -> None:
    leaves = hashed([str(each).encode() for each in range(size)])
    old_size = data.draw(st.integers(0, size))
    root, old_root = grown(leaves).root(), grown(leaves[:old_size]).root()
    proof, other = consistency(leaves, old_size), leaf_hash(b"another")
    verify_consistency(old_size, old_root, size, root, proof)
    for wrong in changed(proof, random):
        refused(verify_consistency, old_size, old_root, size, root, wrong)
    refused(verify_consistency, old_size, other, size, root, proof)
    if old_size:
        refused(verify_consistency, old_size, old_root, size, other, proof)
        # A past that was changed: every single leaf under the old tree counts.
        at = data.draw(st.integers(0, old_size - 1))
        forged = [*leaves[:at], other, *leaves[at + 1 :]]
        for it in (proof, consistency(forged, old_size)):
            refused(verify_consistency, old_size, old_root, size, grown(forged).root(), it)
    refused(verify_consistency, size + 1, old_root, size, root, proof)
    refused(verify_consistency, -1, old_root, size, root, proof)
    if 0 < old_size < size:
        refused(verify_consistency, size, root, old_size, old_root, proof)


def test_an_empty_tree_is_consistent_with_every_other_and_proves_nothing() -> None:
    verify_consistency(0, EMPTY_ROOT, 8, ROOTS[8], [])
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    refused(verify_consistency, 0, EMPTY_ROOT, 0, ROOTS[1], [])
    refused(verify_consistency, 0, ROOTS[1], 0, ROOTS[1], [])
    refused(verify_inclusion, EMPTY_ROOT, 0, 0, [], EMPTY_ROOT)
    refused(inclusion_path, 0, 0)
    refused(consistency_path, 2, 1)


def test_a_frontier_is_refused_that_could_not_be_one() -> None:
    assert Frontier.of(3, [ROOTS[2], ROOTS[1]]).hashes == (ROOTS[2], ROOTS[1])
    for size, hashes in ((3, [ROOTS[1]]), (0, [ROOTS[1]]), (-1, []), (1, [b"short"])):
        with pytest.raises(ValueError, match=r"tree|32 bytes"):
            Frontier.of(size, hashes)


def test_a_copy_of_a_tree_grows_by_itself() -> None:
    tree = grown(hashed(LEAVES[:3]))
    copy = tree.copy()
    copy.push(leaf_hash(LEAVES[3]))
    assert (tree.root(), copy.root()) == (ROOTS[3], ROOTS[4])


def refused(check: Callable[..., object], *arguments: object) -> None:
    with pytest.raises(ProofError):
        check(*arguments)
