"""Bodies and headers that no provider sends, made from those that they do. Seeded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

#: Values that break code which trusts its input.
JUNK: tuple[Any, ...] = (
    None, True, 0, -1, 2**63, 10**400, 1e308, "", " ", "\0", "x\0y", "\ud800", "é" * 300,
    "A" * 5_000,
    "4242424242424242", "2026-13-45T99:99:99", "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00Z",
    [], {}, [[[[]]]], {"id": {"id": []}}, ["a"], [None], "-- ' \" ; DROP TABLE entry", "../../etc",
    float("nan"), float("inf"), -0.0, "١٢٣", "%00", "${jndi:x}",
)  # fmt: skip
_HEADER_JUNK = (
    "", " ", "\0", "é", "t=,v1=", "t=1,v1=" + "0" * 64, "t=99999999999999999999,v1=" + "f" * 64,
    "t=-1,v1=x", ",,,,", "v1=" * 900, "x" * 9_000, "t=1" + ",v1=0" * 3_000, "\x7f", "=", "==,==",
)  # fmt: skip


def mutated(dice: Random, body: bytes) -> bytes:
    """A body that is like *body* and not it."""
    while True:
        made = dice.choice((_structure, _structure, _structure, _bytes, _wild))(dice, body)
        if made != body:
            return made


def bent(dice: Random, headers: Mapping[str, str]) -> dict[str, str]:
    """Headers of which some are missing, doubled or nonsense."""
    made = dict(headers)
    for name in list(made):
        if dice.random() < 0.3:
            made.pop(name)
            if dice.random() < 0.7:
                made[name] = dice.choice(_HEADER_JUNK)
    if dice.random() < 0.2:
        made[dice.choice(("X-Reference-Id", "X-Forwarded-For", "Content-Length", "Z"))] = (
            dice.choice(_HEADER_JUNK)
        )
    return made


def _structure(dice: Random, body: bytes) -> bytes:
    """One place of a JSON document or a form is something else."""
    try:
        data = json.loads(body)
    except ValueError:
        return _form(dice, body)
    places = list(_places(data))
    for _ in range(dice.randint(1, 3)):
        if not places:
            break
        parent, key = dice.choice(places)
        try:
            if dice.random() < 0.25:
                del parent[key]
            else:
                parent[key] = dice.choice(JUNK)
        except (KeyError, IndexError):
            continue
    if dice.random() < 0.05:
        data = dice.choice(JUNK)
    return json.dumps(data).encode()


def _places(node: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        found.append((node, key))
        if isinstance(value, (dict, list)):
            found += _places(value)
    return found


def _form(dice: Random, body: bytes) -> bytes:
    parts = body.split(b"&")
    place = dice.randrange(len(parts))
    name, _, _ = parts[place].partition(b"=")
    junk = str(dice.choice(JUNK)).encode("utf-8", "surrogatepass")[:2_000]
    parts[place] = dice.choice((name + b"=" + junk, b"", name, b"=" + junk, junk))
    return b"&".join(parts)


def _bytes(dice: Random, body: bytes) -> bytes:
    made = bytearray(body)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(made) + 1)
        match dice.randrange(4):
            case 0 if made:
                made[at % len(made)] ^= 1 << dice.randrange(8)
            case 1:
                del made[at:]
            case 2:
                made[at:at] = dice.randbytes(dice.randint(1, 9))
            case _:
                made[at:at] = made[: dice.randint(0, 40)]
    return bytes(made)


def _wild(dice: Random, body: bytes) -> bytes:
    return dice.choice(
        (b"", b"null", b"[]", b"{}", b'""', b"0", b"[" * 50_000, b'{"a":' * 30_000, b"\xff\xfe",
         dice.randbytes(dice.randint(1, 300)), b"1" * 10_000, b" " * 1_000 + body, body * 2,
         b"\xef\xbb\xbf" + body, json.dumps({"id": body.decode("latin-1")}).encode())
    )  # fmt: skip
