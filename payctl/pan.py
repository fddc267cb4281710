"""Card numbers and phone numbers: found, scrubbed and masked wherever text enters or leaves.

payctl never handles a card number; this module exists so that one which arrives by mistake is
never stored or logged (PCI DSS 3.5). A number counts as a card when it has 13 to 19 digits,
satisfies Luhn (ISO/IEC 7812-1, annex B) and starts like a card of a known scheme with that scheme's
length. All three are needed: long references are everywhere in payments and one in ten satisfies
Luhn by chance.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import NamedTuple

#: Prefix range (inclusive, compared on as many digits as the bounds have) and lengths per scheme:
#: ISO/IEC 7812 major industries 2 to 6 as the schemes publish them, with Verve (506, 650) for
#: West Africa. Numbers that start with 0, 1, 7, 8 or 9 belong to no payment card scheme, so
#: timestamps and dates (17…, 20…) never look like one.
_SCHEMES: tuple[tuple[str, str, frozenset[int]], ...] = (
    ("4", "4", frozenset({13, 16, 18, 19})),
    ("51", "55", frozenset({16})),
    ("2221", "2720", frozenset({16})),
    ("34", "34", frozenset({15})),
    ("37", "37", frozenset({15})),
    ("300", "305", frozenset({14, 16, 17, 18, 19})),
    ("309", "309", frozenset({14, 16, 17, 18, 19})),
    ("36", "36", frozenset({14, 16, 17, 18, 19})),
    ("38", "39", frozenset({14, 16, 17, 18, 19})),
    ("3528", "3589", frozenset({16, 17, 18, 19})),
    ("2200", "2204", frozenset({16, 17, 18, 19})),
    ("50", "50", frozenset(range(13, 20))),
    ("56", "58", frozenset(range(13, 20))),
    ("60", "69", frozenset({13, 14, 15, 16, 17, 18, 19})),
)
_MIN_DIGITS, _MAX_DIGITS = 13, 19
#: Up to two of these may stand between groups of digits. An escaped one of a web form (``%20``) is
#: first rewritten to a letter of the same kind and the same length, see ``_plain``.
_SEPARATOR = "(?:\x00*[ \u00a0\u2007\u2009\u202f+._\u2010-\u2015/-]){1,2}"
_GROUPS = re.compile(rf"[0-9]+(?:{_SEPARATOR}[0-9]+)*")
#: Every card number holds this; most texts do not, and need no closer look.
_ENOUGH = re.compile("[0-9](?:[\x00 \u00a0\u2007\u2009\u202f+._\u2010-\u2015/-]*[0-9]){12}")
_GROUP = re.compile(r"([^0-9]+)?([0-9]+)")
_ESCAPES = re.compile("%(?:2[026bcdBCD]|3[adAD])")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PHONE = re.compile(
    r"(?<![0-9A-Za-z])(?:\+|00)[1-9](?:[ .\u00a0\u202f-]?[0-9]){7,14}(?![0-9A-Za-z])"
)

#: E.164 country codes of one and two digits; all others have three (ITU-T E.164 list).
_SHORT_CODES = frozenset(
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63"
    " 64 65 66 81 82 84 86 90 91 92 93 94 95 98".split()
)


class Span(NamedTuple):
    """Where a card number stands in a text, separators included, and its digits alone."""

    start: int
    end: int
    digits: str


def find(text: str) -> list[Span]:
    """All card numbers in *text*, from left to right, with or without separators between groups."""
    found: list[Span] = []
    if len(text) < _MIN_DIGITS:
        return found
    plain = text if text.isascii() and "%" not in text else _plain(text)
    if _ENOUGH.search(plain) is None:
        return found
    hidden: list[tuple[int, int]] | None = None
    for run in _GROUPS.finditer(plain):
        if run.end() - run.start() < _MIN_DIGITS:
            continue
        if hidden is None:
            hidden = [match.span() for match in _UUID.finditer(plain)]
        found.extend(_in_run(plain, run, hidden))
    return found


def contains(text: str) -> bool:
    """Whether *text* holds a card number."""
    return bool(find(text))


def scrub(text: str) -> str:
    """*text* with each card number replaced by stars and its last four digits."""
    spans = find(text)
    return _replace(text, spans, lambda digits: "*" * (len(digits) - 4) + digits[-4:])


def scrub_body(body: bytes) -> tuple[bytes, int]:
    """*body* with each card number replaced by as many nines, and how many there were.

    Nines keep an unquoted JSON number a number, so the rest of the document can still be read. No
    digit of the card is kept.
    """
    text = body.decode("utf-8", "surrogateescape")
    spans = find(text)
    if not spans:
        return body, 0
    clean = _replace(text, spans, lambda digits: "9" * len(digits))
    return clean.encode("utf-8", "surrogateescape"), len(spans)


def mask_phone(phone: str) -> str:
    """A phone number with its country, its first two and last two digits: ``+225 07 ** ** 34``.

    The number of stars says nothing about the number of digits. Text with fewer than seven digits
    becomes stars only.
    """
    text = _ascii_digits(phone).strip()
    digits = "".join(letter for letter in text if letter in "0123456789")
    if len(digits) < 7:
        return "** **"
    if text.startswith(("+", "00")):
        digits = digits if text.startswith("+") else digits[2:]
        size = next((n for n in (1, 2) if digits[:n] in _SHORT_CODES), 3)
        return f"+{digits[:size]} {digits[size : size + 2]} ** ** {digits[-2:]}"
    return f"{digits[:2]} ** ** {digits[-2:]}"


def mask_phones(text: str) -> str:
    """*text* with each international phone number (``+…`` or ``00…``) masked."""
    return _PHONE.sub(lambda match: mask_phone(match.group()), text)


def luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, letter in enumerate(reversed(digits)):
        value = int(letter)
        total += value if place % 2 == 0 else value * 2 - 9 * (value > 4)
    return total % 10 == 0


def _in_run(text: str, run: re.Match[str], hidden: list[tuple[int, int]]) -> Iterator[Span]:
    groups = [
        (match.start(2) + run.start(), match.group(2), match.group(1) or "")
        for match in _GROUP.finditer(run.group())
    ]
    first = 0
    while first < len(groups):
        span = _longest_from(text, groups, first)
        if span is None or any(start < span.end and span.start < end for start, end in hidden):
            first += 1
            continue
        yield span
        while first < len(groups) and groups[first][0] < span.end:
            first += 1


def _longest_from(text: str, groups: list[tuple[int, str, str]], first: int) -> Span | None:
    """The longest card of whole groups that starts with group *first*, one separator throughout."""
    best: Span | None = None
    start, digits, separator = groups[first][0], "", None
    for at, group, before in groups[first:]:
        if digits:
            separator = separator or before
            if before != separator:
                break
        digits += group
        if len(digits) > _MAX_DIGITS:
            break
        end = at + len(group)
        if _is_card(digits) and _stands_alone(text, start, end, digits):
            best = Span(start, end, digits)
    return best


def _is_card(digits: str) -> bool:
    size = len(digits)
    if not _MIN_DIGITS <= size <= _MAX_DIGITS or len(set(digits)) == 1:
        return False
    plausible = any(
        size in sizes and low <= digits[: len(low)] <= high for low, high, sizes in _SCHEMES
    )
    return plausible and luhn(digits)


def _stands_alone(text: str, start: int, end: int, digits: str) -> bool:
    """Whether the digits are a word of their own: a run inside a hexadecimal or base-32 id is not.

    Letters only before or only after (``PAN4242…``, ``4242…EUR``) still make a card.
    """
    left, right = start, end
    while left and text[left - 1].isalnum():
        left -= 1
    while right < len(text) and text[right].isalnum():
        right += 1
    before, after = text[left:start], text[end:right]
    if before and after:
        return False
    if any(letter in "0123456789" for letter in before + after):
        return False
    # "+225…" and up to 15 digits is a phone number (ITU-T E.164), whatever Luhn says of it.
    return not (text[left - 1 : left] == "+" and len(digits) <= 15 and start == left)


def _replace(text: str, spans: list[Span], by: Callable[[str], str]) -> str:
    if not spans:
        return text
    out: list[str] = []
    end = 0
    for start, stop, digits in spans:
        out += (text[end:start], by(digits))
        end = stop
    return "".join(out) + text[end:]


def _plain(text: str) -> str:
    """*text* with ASCII digits and with escaped punctuation of web forms undone, place by place."""
    plain = _ascii_digits(text)
    if "%" not in plain:
        return plain
    blanks = {"%20": " ", "%2d": "-", "%2b": "+"}
    return _ESCAPES.sub(lambda match: "\x00\x00" + blanks.get(match.group().lower(), ","), plain)


def _ascii_digits(text: str) -> str:
    """*text* with the decimal digits of every script written as 0 to 9, place by place."""
    if text.isascii():
        return text
    return "".join(
        str(unicodedata.decimal(letter)) if not letter.isascii() and letter.isdecimal() else letter
        for letter in text
    )
