"""The tree of hashes over a block's journals, as RFC 6962, 2.1 has it (Certificate Transparency).

    leaf = SHA-256(00 || content hash of the journal)
    node = SHA-256(01 || left || right)

The first byte keeps a node from ever being taken for a leaf. A level with an odd number of nodes
hands its last one up unchanged, so no journal is ever counted twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence


def root(content_hashes: Sequence[bytes]) -> bytes:
    """The root over at least one journal's content hash, in their order."""
    *_, top = _levels(content_hashes)
    return top[0]


def audit_path(content_hashes: Sequence[bytes], position: int) -> list[bytes]:
    """The nodes that lead from the journal at *position* (from 0) to the root, lowest first."""
    path = []
    for level in _levels(content_hashes):
        sibling = position ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        position >>= 1
    return path


def _levels(content_hashes: Sequence[bytes]) -> Iterator[list[bytes]]:
    """All levels of the tree, the leaves first, the root alone last."""
    level = [_sha256(b"\x00" + each) for each in content_hashes]
    if not level:
        raise ValueError("a tree has at least one leaf")
    yield level
    while len(level) > 1:
        pairs = len(level) // 2
        above = [_sha256(b"\x01" + level[2 * at] + level[2 * at + 1]) for at in range(pairs)]
        level = above + level[2 * pairs :]
        yield level


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
