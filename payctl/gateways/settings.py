"""Reads one account's section of the configuration, and refuses what it does not know.

A misspelt key in a payment system must not be ignored: whoever writes ``webhook_secret`` for
``webhook_secrets`` would run with unverified webhooks. So an adapter takes each key it knows, and
:meth:`Settings.done` refuses the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from payctl.errors import NotConfigured
from payctl.gateways.tokens import MemoryTokens, TokenStore

#: Keys of every section, read by payctl itself and never by an adapter.
COMMON_KEYS = frozenset({"type", "enabled", "priority", "webhook_addresses", "webhook_tokens"})


class Settings:
    """The section of one account: typed reading, with the account named in every complaint.

    Args:
        account: our name of the account.
        values: the section as the configuration file has it.
        secrets: turns a reference (``env:…``, ``file:…``, ``cmd:…``) into its value.
        tokens: where the adapter keeps access tokens.
    """

    def __init__(
        self,
        account: str,
        values: Mapping[str, Any],
        secrets: Callable[[str], str],
        tokens: TokenStore | None = None,
    ) -> None:
        self.account = account
        self.tokens: TokenStore = tokens or MemoryTokens()
        self._values = dict(values)
        self._secrets = secrets
        self._taken = set(COMMON_KEYS)

    def text(self, key: str, default: str | None = None) -> str:
        """A text; without *default* the key is required."""
        value: str = self._take(key, str, default, "TEXT")
        return value

    def text_or_none(self, key: str) -> str | None:
        """A text, or ``None`` when the key is absent."""
        self._taken.add(key)
        return self.text(key) if key in self._values else None

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number, not below zero."""
        value: int = self._take(key, int, default, "INTEGER")
        if value < 0:
            raise self._bad(key, "INTEGER >= 0")
        return value

    def whole_or_none(self, key: str) -> int | None:
        """A whole number, or ``None`` when the key is absent."""
        self._taken.add(key)
        return self.whole(key) if key in self._values else None

    def one_of(self, key: str, default: str, choices: tuple[str, ...]) -> str:
        """One of a few words."""
        value = self.text(key, default)
        if value not in choices:
            raise self._bad(key, " | ".join(choices))
        return value

    def flag(self, key: str, default: bool) -> bool:
        """``true`` or ``false``."""
        value: bool = self._take(key, bool, default, "true | false")
        return value

    def rate(self, key: str) -> float:
        """A probability between 0 and 1; 0 when absent. Never a rate of money."""
        self._taken.add(key)
        value = self._values.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise self._bad(key, "0..1")
        return float(value)

    def words(self, key: str) -> tuple[str, ...] | None:
        """A list of texts, or ``None`` when the key is absent."""
        value = self._take(key, list, [None], "[TEXT, ...]")
        if value == [None]:
            return None
        if not all(isinstance(word, str) for word in value):
            raise self._bad(key, "[TEXT, ...]")
        return tuple(value)

    def words_or_text(self, key: str) -> tuple[str, ...] | str | None:
        """A list of texts, or one text (the path of a file with them), or ``None``."""
        return self.text(key) if isinstance(self._values.get(key), str) else self.words(key)

    def amounts(self, key: str) -> dict[str, int]:
        """A table of currency to minor units, empty when absent."""
        value = self._take(key, dict, {}, "{CUR = MINOR_UNITS}")
        if not all(type(amount) is int and amount >= 0 for amount in value.values()):
            raise self._bad(key, "{CUR = MINOR_UNITS}")
        return dict(value)

    def ranges(self, key: str) -> dict[str, tuple[int, int]]:
        """A table of currency to [smallest, largest] in minor units, empty when absent."""
        wanted = "{CUR = [MIN, MAX]}"
        out = {}
        for currency, pair in self._take(key, dict, {}, wanted).items():
            if not isinstance(pair, list) or [type(end) for end in pair] != [int, int]:
                raise self._bad(key, wanted)
            out[currency] = (pair[0], pair[1])
        return out

    def texts(self, key: str) -> dict[str, str]:
        """A table of name to text, empty when absent."""
        value = self._take(key, dict, {}, "{NAME = TEXT}")
        if not all(isinstance(text, str) for text in value.values()):
            raise self._bad(key, "{NAME = TEXT}")
        return dict(value)

    def secret(self, key: str) -> Callable[[], str]:
        """The secret that *key* refers to, resolved when first called, and then remembered.

        Raises:
            NotConfigured: ``gateway.setting_missing`` at once when the key is absent.
        """
        reference = self.text(key)
        return cache(lambda: self._secrets(reference))

    def secret_or_none(self, key: str) -> Callable[[], str] | None:
        """As :meth:`secret`, or ``None`` when the key is absent."""
        self._taken.add(key)
        return self.secret(key) if key in self._values else None

    def web_address(self, key: str, longest: int = 2000) -> str:
        """An ``http`` or ``https`` address, required."""
        value = self.text(key)
        if not value.startswith(("https://", "http://")) or len(value) > longest:
            raise self._bad(key, f"https://... (<= {longest})")
        return value

    def secret_list(self, key: str) -> Callable[[], tuple[str, ...]]:
        """All secrets of a list of references (keys being rolled overlap); empty when absent."""
        references = self.words(key) or ()
        return cache(lambda: tuple(self._secrets(reference) for reference in references))

    def done(self) -> None:
        """Refuse what nothing has read.

        Raises:
            NotConfigured: ``gateway.unknown_setting``.
        """
        for key in sorted(self._values.keys() - self._taken):
            raise NotConfigured(
                "gateway.unknown_setting",
                field=key,
                account=self.account,
                known=", ".join(sorted(self._taken - COMMON_KEYS)),
            )

    def _take(self, key: str, kind: type[Any], default: Any, wanted: str) -> Any:
        self._taken.add(key)
        if key not in self._values:
            if default is None:
                raise NotConfigured("gateway.setting_missing", field=key, account=self.account)
            return default
        value = self._values[key]
        if isinstance(value, str) and kind is not str:
            value = self._values[key] = _from_text(value, kind)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self._bad(key, wanted)
        return value

    def _bad(self, key: str, wanted: str) -> NotConfigured:
        return NotConfigured("gateway.bad_setting", field=key, account=self.account, wanted=wanted)


def _from_text(text: str, kind: type[Any]) -> Any:
    """A value given by an environment variable, which can only be a text."""
    if kind is int and text.isascii() and text.isdigit():
        return int(text)
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return [word.strip() for word in text.split(",")] if kind is list and text else text
