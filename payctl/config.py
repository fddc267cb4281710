"""Configuration: one profile, put together from flags, environment, files and defaults.

Precedence, highest first: flags, ``PAYCTL_*`` variables, files (``--config`` alone, else
``./payctl.toml``, the user's, ``/etc/payctl``), the former service's variables, defaults. With no
file and no variable at all there is a SQLite book of the user's own and the sandbox gateway, so
that a newcomer needs no set-up and cannot reach real money.

A secret stands here only as a reference (see :mod:`payctl.secret`) and is resolved when first used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from payctl import secret
from payctl.config_layers import DEFAULT_PROFILE, FILE_NAME, Found, Layer, Origin
from payctl.config_sources import stack
from payctl.errors import NotConfigured, PayctlError
from payctl.settings import (
    BY_KEY,
    CONFIRM_ABOVE,
    CONFIRM_ABOVE_OTHERS,
    PASSWORD_URLS,
    is_secret,
)

__all__ = ["DEFAULT_PROFILE", "FILE_NAME", "Config", "GatewaySection", "Origin", "Shown", "load"]

_LIVE_PREFIXES = ("sk_live_", "rk_live_", "pk_live_")
_TEST_PREFIXES = ("sk_test_", "rk_test_", "pk_test_")


@dataclass(frozen=True, slots=True)
class Shown:
    """One line of ``config show``: the value is safe to print."""

    key: str
    value: str
    origin: str


@dataclass(frozen=True)
class GatewaySection:
    """The settings of one merchant account.

    ``settings`` holds the free keys without ``type``; values that are references stay references.
    ``former`` says it was made from the former service's variables, and so may name a type for
    which no adapter is installed.
    """

    account: str
    type: str
    settings: Mapping[str, Any]
    config: Config = field(repr=False, compare=False)
    former: bool = False

    def secret(self, key: str) -> str:
        """The secret that setting *key* refers to; *key* may also be a reference itself.

        Raises:
            NotConfigured: ``config.secret_unset`` when the account has no such setting, and those
                of :func:`payctl.secret.resolve`.
        """
        value = self.settings.get(key, key if secret.is_reference(key) else None)
        if not isinstance(value, str):
            raise NotConfigured("config.secret_unset", field=f"gateways.{self.account}.{key}")
        return self.config.resolve(value)

    def secrets(self, key: str) -> tuple[str, ...]:
        """All secrets of a list setting (two webhook secrets while one is being replaced)."""
        value = self.settings.get(key, ())
        return tuple(map(self.config.resolve, (value,) if isinstance(value, str) else value))


@dataclass(frozen=True)
class Config:
    """One profile, complete. Make it with :func:`load`.

    Attributes:
        profile: its name.
        values: every setting found or defaulted, by key, with where it came from.
        problems: what is wrong with it, worst first; empty unless loaded with ``strict=False``.
        notes: things worth telling that are not wrong (ignored variables).
        files: the files that were read, highest first.
        profiles: names of all profiles in those files.
    """

    profile: str
    values: Mapping[str, Found]
    environ: Mapping[str, str] = field(repr=False)
    problems: tuple[PayctlError, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    profiles: tuple[str, ...] = ()

    def get(self, key: str) -> Any:
        """The value of a setting, or its default. References are resolved."""
        found = self.values.get(key)
        value = found.value if found else BY_KEY[key].default
        return self.resolve(value) if secret.is_reference(value) else value

    def origin(self, key: str) -> Origin:
        found = self.values.get(key)
        return found.origin if found else Origin("default")

    @cached_property
    def database_url(self) -> str:
        """SQLAlchemy URL of the book, password included: never print it, print :attr:`place`."""
        url = str(self.get("database.url"))
        parts = urlsplit(url)
        if parts.password:
            secret.remember(parts.password)
        if parts.password or not parts.hostname or "database.password" not in self.values:
            return url
        user, _, host = parts.netloc.rpartition("@")
        password = quote(self.get("database.password"), safe="")
        secret.remember(password)
        return urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))

    @property
    def place(self) -> str:
        """Host and database, or the SQLite file: safe to print."""
        parts = urlsplit(str(self.get("database.url")))
        if parts.scheme.startswith("sqlite"):
            return str(parts.path[1:])
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.hostname or 'localhost'}{port}{parts.path}"

    @property
    def is_sqlite(self) -> bool:
        return str(self.get("database.url")).startswith("sqlite")

    @property
    def book(self) -> str:
        return str(self.get("book"))

    @property
    def timezone(self) -> str:
        return str(self.get("timezone"))

    @property
    def country(self) -> str:
        return str(self.get("country"))

    @property
    def anchors(self) -> list[str]:
        """Where the hashes of sealed blocks are kept outside the book."""
        return list(self.get("ledger.anchors"))

    @property
    def operator_token(self) -> str | None:
        """The personal token of whoever runs this, or ``None``."""
        return str(self.get("operator")) if "operator" in self.values else None

    def confirm_above(self, currency: str) -> int:
        """Amount in minor units above which a live change wants the amount typed."""
        found = self.values.get(f"confirm_above.{currency}")
        if found:
            return int(found.value)
        return CONFIRM_ABOVE.get(currency, CONFIRM_ABOVE_OTHERS)

    @cached_property
    def gateways(self) -> Mapping[str, GatewaySection]:
        """The merchant accounts of this profile, by account name."""
        by_account: dict[str, dict[str, Any]] = {}
        former: set[str] = set()
        for key, found in self.values.items():
            if key.startswith("gateways."):
                _, account, name = key.split(".", 2)
                by_account.setdefault(account, {})[name] = found.value
                if found.origin.kind == "former":
                    former.add(account)
        return {
            account: GatewaySection(
                account,
                str(settings.get("type", account)),
                {name: value for name, value in settings.items() if name != "type"},
                self,
                account in former,
            )
            for account, settings in sorted(by_account.items())
        }

    def resolve(self, reference: str) -> str:
        """The value of a reference; any other text is returned as it is."""
        if not secret.is_reference(reference):
            return reference
        base = self.files[0].parent if self.files else None
        return secret.resolve(reference, environ=self.environ, base=base)

    @cached_property
    def live(self) -> bool:
        """Whether this profile moves real money.

        Raises:
            NotConfigured: ``config.live_key_in_test``, ``config.test_key_in_live`` or
                ``config.mixed_keys`` when profile and keys do not agree.
        """
        declared = self.get("live")
        modes = {account: self._mode(section) for account, section in self.gateways.items()}
        live = sorted(account for account, mode in modes.items() if mode is True)
        test = sorted(account for account, mode in modes.items() if mode is False)
        if declared is True and test:
            raise NotConfigured("config.test_key_in_live", profile=self.profile, account=test[0])
        if declared is False and live:
            raise NotConfigured("config.live_key_in_test", profile=self.profile, account=live[0])
        if live and test:
            raise NotConfigured(
                "config.mixed_keys", profile=self.profile, live=live[0], test=test[0]
            )
        return bool(declared or live)

    def _mode(self, section: GatewaySection) -> bool | None:
        """Whether the account's keys are live (True), test (False) or say nothing (None)."""
        mode = section.settings.get("mode")
        if isinstance(mode, str) and mode.lower() in ("live", "sandbox", "test"):
            return mode.lower() == "live"
        if isinstance(environment := section.settings.get("environment"), str):
            return environment.lower() not in ("sandbox", "test")
        for key in ("secret_key", "api_key"):
            try:
                value = section.secret(key)
            except NotConfigured:
                continue  # a key that cannot be read cannot move money either
            if value.startswith(_LIVE_PREFIXES):
                return True
            if value.startswith(_TEST_PREFIXES):
                return False
        return None

    def shown(self) -> list[Shown]:
        """Every setting with its origin, secrets as reference and fingerprint."""
        keys = sorted({*BY_KEY, *self.values})
        return [
            Shown(key, self._printable(key), str(self.origin(key)))
            for key in keys
            if key in self.values or BY_KEY[key].default is not None
        ]

    def _printable(self, key: str) -> str:
        found = self.values.get(key)
        value = found.value if found else BY_KEY[key].default
        if key == "ledger.anchors":
            # The arguments of a program may hold what is nobody's business.
            return ", ".join(_program_only(str(item)) for item in value)
        if isinstance(value, list) and is_secret(key):
            return ", ".join(self._redacted(str(item)) for item in value)
        if secret.is_reference(value) or is_secret(key):
            return self._redacted(str(value))
        if key in PASSWORD_URLS:
            return _without_password(str(value))
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def shown_secret(self, reference: str) -> str:
        """A reference as it may be printed, with the fingerprint of what it leads to."""
        return self._redacted(reference)

    def _redacted(self, value: str) -> str:
        if not secret.is_reference(value):
            return f"(in clear, fingerprint {secret.fingerprint(value)})"
        if value.startswith("cmd:"):
            return _program_only(value)
        try:
            return f"{value} (fingerprint {secret.fingerprint(self.resolve(value))})"
        except NotConfigured:
            return f"{value} (unreadable)"


def load(
    *,
    environ: Mapping[str, str],
    profile: str | None = None,
    path: Path | None = None,
    flags: Mapping[str, str] | None = None,
    folder: Path | None = None,
    strict: bool = True,
) -> Config:
    """Put a profile together.

    Args:
        environ: the process environment.
        profile, path: ``--profile`` and ``--config``.
        flags: settings given on the command line, by key.
        folder: where ``./payctl.toml`` is looked for; default: the working directory.
        strict: raise the first problem; otherwise collect all in ``problems``.

    Raises:
        PayctlError: the ``config.*`` codes of :mod:`payctl.settings` and ``config_sources``.
    """
    layers = stack(environ, profile, path, flags or {}, folder or Path.cwd())
    values = merged(layers.layers)
    config = Config(
        layers.profile,
        values,
        environ,
        problems=tuple(layers.problems),
        notes=tuple(layers.notes),
        files=tuple(layers.files),
        profiles=tuple(layers.profiles),
    )
    if strict and config.problems:
        raise config.problems[0]
    for key, found in values.items():
        if is_secret(key) and isinstance(found.value, str) and not secret.is_reference(found.value):
            secret.remember(found.value)
    return config


def merged(layers: Sequence[Layer]) -> dict[str, Found]:
    """Key by key, the highest layer that has it wins."""
    values: dict[str, Found] = {}
    for layer in layers:
        for key, value in layer.values.items():
            values.setdefault(key, Found(value, layer.origins.get(key, layer.origin)))
    return values


def _program_only(value: str) -> str:
    """``cmd:PROGRAM ARGS`` without its arguments; anything else as it is."""
    return f"cmd:{value[4:].split()[0]} …" if value.startswith("cmd:") else value


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if not parts.password:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}"))
