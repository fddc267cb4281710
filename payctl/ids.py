"""Ids: UUIDv7 in the database, TypeID in text.

A UUIDv7 (RFC 9562, 5.7) sorts by the millisecond it was made. A TypeID
(github.com/jetify-com/typeid specification 0.3) writes it with its type in front:
``pay_01h455vb4pex5vsknk084sn02q``.
"""

from __future__ import annotations

import os
import struct
import threading
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Protocol
from uuid import UUID

from payctl.clock import Clock
from payctl.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
#: Ten bits as two letters: half as many steps as letter by letter.
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}

#: Every kind of object that has a public id, and its prefix.
PREFIXES: dict[str, str] = {
    "payment": "pay",
    "attempt": "att",
    "capture": "cap",
    "refund": "rfd",
    "dispute": "dsp",
    "journal": "jrn",
    "hold": "hld",
    "topup": "top",
    "case": "case",
    "approval": "apr",
    "operator": "opr",
    "event": "evt",
    "notification": "ntf",
    "run": "run",
    "audit": "aud",
}
KINDS = {prefix: kind for kind, prefix in PREFIXES.items()}


class Bits(Protocol):
    """What an id needs of a random source; ``random.Random`` and the system's both fit."""

    def getrandbits(self, k: int, /) -> int: ...


class SystemBits:
    """The operating system's random source, read in pieces that last for many ids.

    A forked process starts with a piece of its own.
    """

    _WORDS = struct.Struct("512Q")
    _words: list[int]

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def getrandbits(self, k: int, /) -> int:
        bits = 0
        for _ in range(0, k, 64):
            bits = bits << 64 | self._word()
        return bits >> (-k % 64)

    def _word(self) -> int:
        while True:
            try:
                # Taken out by one step, so that no two threads get the same.
                return self._words.pop()
            except IndexError:
                self._words = list(self._WORDS.unpack(os.urandom(self._WORDS.size)))

    def _forget(self) -> None:
        self._words = []


class IdSource:
    """Makes ids that rise within a process even inside one millisecond (RFC 9562, 6.2 method 2).

    ``random`` is the operating system's source unless a seeded one is given, so that a failing test
    replays with the same ids.
    """

    def __init__(self, clock: Clock, random: Bits | None = None) -> None:
        self._clock = clock
        self._random: Bits = random if random is not None else _SYSTEM
        self._lock = threading.Lock()
        self._last_ms = -1
        self._tail = 0

    def new(self, now: datetime | None = None) -> UUID:
        """A fresh UUIDv7 of the clock's present millisecond.

        Args:
            now: the present, when the caller has just asked the clock for it. Where another thread
                has had an id of a later millisecond, this one takes its place before it.
        """
        [made] = self.several(1, now)
        return made

    def several(self, number: int, now: datetime | None = None) -> list[UUID]:
        """*number* fresh ids, each after the one before; otherwise as :meth:`new`."""
        ms = _milliseconds(now or self._clock.now())
        bits, made = self._random.getrandbits, []
        with self._lock:
            if now is not None and ms < self._last_ms:
                tails = sorted(bits(74) for _ in range(number))
                return [_uuid7(ms, tail) for tail in tails]
            for _ in range(number):
                if ms == self._last_ms:
                    self._tail += 1 + bits(32)
                    if self._tail >> 74:
                        ms, self._tail = ms + 1, bits(73)
                else:
                    self._tail = bits(73)
                self._last_ms = ms
                made.append(_uuid7(ms, self._tail))
        return made

    def at(self, moment: datetime) -> UUID:
        """A fresh UUIDv7 of the millisecond *moment*, for what happened before it was written down:
        it takes its place among the ids of that time.
        """
        return _uuid7(_milliseconds(moment), self._random.getrandbits(74))

    def token(self, nbytes: int = 16) -> str:
        """Random hexadecimal text of ``2 * nbytes`` letters, for references that must not be
        guessed.
        """
        return f"{self._random.getrandbits(nbytes * 8):0{nbytes * 2}x}"


def _milliseconds(at: datetime) -> int:
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


def _uuid7(ms: int, tail: int) -> UUID:
    value = (ms & (2**48 - 1)) << 80 | 7 << 76 | (tail >> 62) << 64 | 2 << 62 | tail & (2**62 - 1)
    return UUID(int=value)


_SYSTEM = SystemBits()


def seeded(clock: Clock, seed: int) -> IdSource:
    """An id source whose random part is the same on every run with the same *seed*."""
    return IdSource(clock, Random(seed))  # noqa: S311 - repeatable on purpose


def floor_of(at: datetime) -> UUID:
    """The smallest UUIDv7 of the millisecond *at*: a bound for ranges of ids by time."""
    return UUID(int=(_milliseconds(at) & (2**48 - 1)) << 80)


def time_of(value: UUID) -> datetime:
    """The millisecond a UUIDv7 was made in."""
    return _EPOCH + timedelta(milliseconds=value.int >> 80)


def encode(kind: str, value: UUID) -> str:
    """The public id: prefix, underscore, 26 letters of Crockford base 32."""
    number = value.int
    pairs = [_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)]
    return f"{PREFIXES[kind]}_{''.join(pairs)}"


def decode(text: str, kind: str | None = None) -> UUID:
    """The UUID behind a public id.

    Raises:
        InvalidInput: ``id.malformed``, or ``id.wrong_kind`` when it is another kind's id.
    """
    found, value = split(text)
    if kind is not None and found != kind:
        raise InvalidInput("id.wrong_kind", field="id", id=text[:60], kind=kind, found=found)
    return value


def split(text: str) -> tuple[str, UUID]:
    """Kind and UUID of any public id.

    Raises:
        InvalidInput: ``id.malformed``.
    """
    prefix, _, body = text.strip().rpartition("_")
    if (
        prefix not in KINDS
        or len(body) != 26
        or body[0] > "7"
        or any(c not in _VALUES for c in body)
    ):
        raise InvalidInput("id.malformed", field="id", id=text[:60])
    number = 0
    for letter in body:
        number = number << 5 | _VALUES[letter]
    return KINDS[prefix], UUID(int=number)
