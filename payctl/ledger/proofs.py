"""The inclusion proof of one journal: everything somebody without our database needs.

The journal's bytes lead by their hash and the nodes of the tree to the root in a block's header,
and the headers after it to one whose hash is anchored outside. ``docs/verify_proof.py`` checks it
with nothing but the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from payctl.db.types import to_micros
from payctl.errors import CheckFailed, Conflict, NotFound
from payctl.ids import encode
from payctl.ledger import blocks, export, journals, merkle
from payctl.ledger.blocks import Block
from payctl.ledger.content import content, content_hash
from payctl.ledger.model import Journal
from payctl.ledger.proof_tables import block_item


@dataclass(frozen=True, slots=True)
class Proof:
    """A journal, its place in its block, the nodes up to the root, and the headers from its block
    to the one that the anchor is looked up for.
    """

    journal: Journal
    position: int
    path: tuple[bytes, ...]
    headers: tuple[Block, ...]


def prove(tx: sa.Connection, journal_id: UUID, until: int | None = None) -> Proof:
    """The proof of a journal, with headers up to block *until* (default: its own block).

    Raises:
        NotFound: ``ledger.journal_not_found``, ``ledger.block_not_found``.
        Conflict: ``ledger.not_sealed``.
        CheckFailed: ``ledger.not_provable`` when the journal is not what was sealed.
    """
    found = journals.get(tx, journal_id)
    name = encode("journal", journal_id)
    item = tx.execute(
        sa.select(block_item.c.block, block_item.c.position, block_item.c.content_hash).where(
            block_item.c.journal_id == journal_id
        )
    ).one_or_none()
    if item is None:
        raise Conflict("ledger.not_sealed", id=name)
    last = item.block if until is None else until
    headers = tuple(blocks.stream(tx, first=item.block, last=last))
    if not headers or headers[-1].number != last:
        raise NotFound("ledger.block_not_found", field="until", block=last, first=item.block)
    hashes = [each.content_hash for each in blocks.items(tx, item.block)]
    if content_hash(found) != item.content_hash or merkle.root(hashes) != headers[0].root:
        raise CheckFailed("ledger.not_provable", id=name, block=item.block)
    path = tuple(merkle.audit_path(hashes, item.position))
    return Proof(found, item.position, path, headers)


def as_json(proof: Proof) -> dict[str, Any]:
    """The proof in the form of ``payctl.ledger_proof/1``. What is proven is ``content``, the hashed
    bytes; ``journal`` is the same for people to read.
    """
    return {
        "id": encode("journal", proof.journal.id),
        "journal": export.as_json(proof.journal),
        "content": content(proof.journal).hex(),
        "content_hash": proof.journal.content_hash.hex(),
        "position": proof.position,
        "path": [node.hex() for node in proof.path],
        "headers": [_header(each) for each in proof.headers],
    }


def _header(each: Block) -> dict[str, Any]:
    """A header as its hash takes it: moments are microseconds since 1970."""
    return {
        "number": each.number,
        "prev_hash": each.prev_hash.hex(),
        "root": each.root.hex(),
        "journals": each.journals,
        "total_journals": each.total_journals,
        "watermark": each.watermark,
        "complete_until_us": to_micros(each.complete_until),
        "sealed_at_us": to_micros(each.sealed_at),
        "hash": each.hash.hex(),
    }
