"""Tokens by which a provider's event proves itself, as they are stored to be found again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

#: Shorter values that a provider gives for later are words, not secrets that prove an event.
TOKEN_LENGTH = 16


def token_hash(token: str) -> bytes:
    """A provider's token as it is stored to be found again: SHA-256."""
    return hashlib.sha256(token.encode()).digest()


def tokens_of(data: Mapping[str, str]) -> list[bytes]:
    """Hashes of what in *data* may prove an event."""
    return sorted({token_hash(each) for each in data.values() if len(each) >= TOKEN_LENGTH})
