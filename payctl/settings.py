"""Every setting there is: its type, its default, the variable that sets it, and what it means.

One table serves loading, ``config validate``, ``config show`` and the reference, so that a setting
cannot exist in one of them and not in the others.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from payctl.errors import InvalidInput, NotConfigured, PayctlError
from payctl.secret import is_reference

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})
LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a profile.

    ``kind`` is text, secret, secrets, integer, switch, choice, zone, name, url, command, places or
    networks; ``former`` is the variable of the former service that is honoured where no file sets
    this.
    """

    key: str
    kind: str
    summary: str
    default: Any = None
    former: str | None = None
    variable: str = ""
    choices: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = 2**31

    @property
    def env(self) -> str:
        return self.variable or "PAYCTL_" + self.key.upper().replace(".", "_")


SETTINGS: tuple[Setting, ...] = (
    Setting("database.url", "url", "where the book lives; default: a SQLite file of your own"),
    Setting("database.password", "secret", "password put into database.url", former="DB_PASSWORD"),
    Setting("database.pool_size", "integer", "connections kept open per process; payments have as"
            " many of their own", 5, minimum=1, maximum=200),
    Setting("database.prepared", "switch", "prepare statements on the server; false behind a"
            " pgbouncer that shares connections by transaction", True),
    Setting("book", "name", "PostgreSQL schema that holds the book", "payctl"),
    Setting("timezone", "zone", "cuts days for settlement and reports", "Africa/Abidjan"),
    Setting("country", "text", "country of parties that name none (ISO 3166)", "CI"),
    Setting("live", "switch", "whether this profile moves real money; default: as the keys say"),
    Setting("operator", "secret", "your personal operator token",
            variable="PAYCTL_OPERATOR_TOKEN"),
    Setting("language", "choice", "language of sentences; default: from LANG",
            variable="PAYCTL_LANG", choices=("en", "fr")),
    Setting("log.level", "choice", "least level written to the log", "info",
            former="LOG_LEVEL", choices=LEVELS),
    Setting("log.file", "text", "the log file; default: in your state directory"),
    Setting("log.to", "choice", "where the log goes; a command whose answer is on stdout writes it"
            " to stderr instead", "file", choices=("file", "stdout", "stderr")),
    Setting("log.syslog", "text", "syslog that gets each line as well: /dev/log or HOST:PORT"),
    Setting("log.keep_days", "integer", "days that log files of the past stay; 0 leaves rotation to"
            " logrotate", 30, minimum=0, maximum=3650),
    Setting("ledger.anchors", "places", "where hashes of sealed blocks are kept outside the book:"
            " path:/FOLDER, git:/REPOSITORY, cmd:PROGRAM ARGS"),
    Setting("disputes.keep_commission", "switch", "whether a lost dispute leaves us our commission"
            " (the organiser bears all of it); otherwise it is given back", False),
    Setting("notifications.url", "url", "where the core service takes notifications; without it"
            " nothing is delivered"),
    Setting("notifications.secrets", "secrets", "what notifications are signed with, whsec_...;"
            " two while one is being replaced"),
    Setting("notifications.allow_private", "switch", "whether notifications.url may stand for an"
            " address that is not public", False),
    Setting("notifications.in_flight", "integer", "notifications sent at once", 16,
            minimum=1, maximum=128),
    Setting("notifications.lag_limit_s", "integer", "age in seconds of the oldest notification that"
            " is not delivered above which `outbox lag` fails", 900, minimum=1),
    Setting("notifications.redis_url", "url", "Redis server on which notifications are published as"
            " they happen"),
    Setting("notifications.redis_prefix", "text", "what the name of each Redis channel starts with",
            "payctl."),
    Setting("receiver.host", "text", "address the webhook receiver listens on", "127.0.0.1"),
    Setting("receiver.port", "integer", "port of the webhook receiver", 8080,
            former="PORT", minimum=1, maximum=65535),
    Setting("receiver.cors_origin", "text", "origin the receiver lets a browser call from",
            former="CORS_ORIGIN"),
    Setting("receiver.trusted_proxies", "networks", "networks of proxies whose X-Forwarded-For is"
            " believed: 127.0.0.1, 10.0.0.0/8"),
    Setting("receiver.token", "secret", "opens the receiver's inner pages from elsewhere"),
    Setting("receiver.rate_limit_window_ms", "integer", "window of the receiver's rate limit",
            900_000, former="RATE_LIMIT_WINDOW_MS", minimum=1),
    Setting("receiver.rate_limit_max_requests", "integer", "unverified requests an address may"
            " make in a window", 100, former="RATE_LIMIT_MAX_REQUESTS", minimum=1),
    Setting("alerts.command", "command", "program, with its arguments, that the job alerts tells"
            " what newly fails or recovers, as JSON on its standard input; no shell takes part"),
    Setting("alerts.timeout_s", "integer", "seconds after which it is ended", 20,
            minimum=1, maximum=600),
    Setting("alerts.level", "choice", "whether it is told of warnings too", "warn",
            choices=("fail", "warn")),
    Setting("metrics.enabled", "switch", "whether metrics are served", True,
            former="ENABLE_METRICS"),
)  # fmt: skip
BY_KEY: Mapping[str, Setting] = {setting.key: setting for setting in SETTINGS}
BY_ENV: Mapping[str, Setting] = {setting.env: setting for setting in SETTINGS}

#: Settings of kind url that may carry a password, which must not stand there in clear.
PASSWORD_URLS = frozenset({"database.url", "notifications.redis_url"})

#: Variables that are not settings of a profile but choose one, or belong to one call.
CALL_VARIABLES: Mapping[str, str] = {
    "PAYCTL_PROFILE": "profile to use when --profile is not given",
    "PAYCTL_CONFIG": "configuration file to read instead of the usual ones",
    "PAYCTL_OUTPUT": "output format when neither -o nor --json is given",
    "PAYCTL_TZ": "time zone of printed times when --tz is not given",
    "PAYCTL_CORRELATION_ID": "id that joins what this call does in log, audit and notifications",
    "PAYCTL_NO_INPUT": "refuse instead of asking, as --no-input does",
    "PAYCTL_DEBUG": "show the traceback of an unexpected error, as --debug does",
}
#: ``PAYCTL_GATEWAYS__ACCOUNT__KEY`` and ``PAYCTL_CONFIRM_ABOVE__EUR``.
GATEWAY_PREFIX = "PAYCTL_GATEWAYS__"
CONFIRM_PREFIX = "PAYCTL_CONFIRM_ABOVE__"

#: Amounts, in minor units, above which a change on a live profile asks for the amount to be typed.
CONFIRM_ABOVE: Mapping[str, int] = {
    "EUR": 100_000, "USD": 100_000, "GBP": 100_000, "XOF": 650_000, "XAF": 650_000,
    "TND": 3_000_000,
}  # fmt: skip
#: For currencies without an entry: low on purpose.
CONFIRM_ABOVE_OTHERS = 50_000

#: Variables of the former service that have no meaning here, and why.
IGNORED: Mapping[str, str] = {
    "NODE_ENV": "a profile says whether it is live",
    "METRICS_PORT": "the receiver serves /metrics on its own port",
    "JWT_SECRET": "operators identify themselves with personal tokens",
}

_SECRET_KEY = re.compile(
    r"(?:^|_)(?:key|keys|secret|secrets|password|passphrase|token|tokens|pin)$", re.I
)
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def is_secret(key: str) -> bool:
    """Whether the last part of *key* names a secret: its value must then be a reference."""
    known = BY_KEY.get(key)
    if known is not None:
        return known.kind in ("secret", "secrets")
    last = key.rsplit(".", 1)[-1]
    return bool(_SECRET_KEY.search(last)) and not last.startswith(("public", "idempotency"))


def has_password(url: str) -> bool:
    """Whether a URL carries a password in clear."""
    return bool(not is_reference(url) and urlsplit(url).password)


def from_text(raw: Any) -> Any:
    """A free setting given as text, as the TOML value it is written like (else the text)."""
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw
    return value if isinstance(value, (bool, int, str, list, dict)) else raw


def is_known(key: str) -> bool:
    """Whether *key* may stand in a profile."""
    if key in BY_KEY:
        return True
    parts = key.split(".")
    if parts[0] == "gateways":
        return len(parts) >= 3
    return parts[0] == "confirm_above" and len(parts) == 2


def unknown(key: str, source: str) -> NotConfigured:
    """The error for a key that is no setting, naming the likeliest intended one."""
    near = get_close_matches(key, BY_KEY, 1, 0.5) or get_close_matches(
        key.rsplit(".", 1)[-1], BY_KEY, 1, 0.5
    )
    if near:
        return NotConfigured("config.unknown_key_near", field=key, source=source, near=near[0])
    return NotConfigured("config.unknown_key", field=key, source=source)


def unknown_variable(name: str) -> NotConfigured:
    """The error for a ``PAYCTL_*`` variable that sets nothing."""
    near = get_close_matches(name, [*BY_ENV, *CALL_VARIABLES], 1, 0.5)
    return NotConfigured("config.unknown_variable", field=name, near=near[0] if near else "-")


def convert(key: str, raw: Any, source: str) -> Any:
    """*raw* as the type of *key*; text of the environment and TOML values both come through here.

    Raises:
        PayctlError: ``config.bad_value`` or ``config.secret_in_clear``.
    """
    setting = BY_KEY.get(key)
    if setting is None:
        return _free(key, raw, source)
    if setting.kind == "integer":
        return _integer(setting, raw, source)
    if setting.kind == "switch":
        return _switch(setting, raw, source)
    if setting.kind == "places":
        return _places(setting, raw, source)
    if setting.kind == "secrets":
        return _secrets(setting, raw, source)
    if setting.kind == "networks":
        return _networks(setting, raw, source)
    if not isinstance(raw, str) or not raw.strip():
        raise bad_value(key, source, raw, "text")
    value = raw.strip()
    if is_reference(value) or setting.kind in ("text", "url", "secret"):
        return value
    if setting.kind == "choice" and value.lower() not in setting.choices:
        raise bad_value(key, source, raw, " | ".join(setting.choices))
    if setting.kind == "name" and not _NAME.fullmatch(value):
        raise bad_value(key, source, raw, "small letters, digits and _")
    if setting.kind == "command" and not _is_command(value):
        raise bad_value(key, source, raw, "a program and its arguments")
    if setting.kind == "zone" and not is_zone(value):
        raise bad_value(key, source, raw, "a time zone, Africa/Abidjan")
    return value.lower() if setting.kind == "choice" else value


def is_zone(name: str) -> bool:
    """Whether *name* is a time zone this machine knows."""
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def bad_value(key: str, source: str, raw: object, wanted: str) -> PayctlError:
    """The error for a value of the wrong type; the value of a secret is not repeated."""
    shown = "***" if is_secret(key) else str(raw)[:60]
    return InvalidInput("config.bad_value", field=key, source=source, value=shown, wanted=wanted)


def _free(key: str, raw: Any, source: str) -> Any:
    if key.startswith("confirm_above."):
        currency = key.rpartition(".")[2]
        if not re.fullmatch("[A-Z]{3}", currency):
            raise bad_value(key, source, currency, "a currency code, EUR")
        return _integer(Setting(key, "integer", "", maximum=10**14), raw, source)
    return raw


def _integer(setting: Setting, raw: Any, source: str) -> int:
    wanted = f"a whole number from {setting.minimum} to {setting.maximum}"
    text = str(raw).strip()
    if isinstance(raw, bool) or not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise bad_value(setting.key, source, raw, wanted)
    number = int(text)
    if not setting.minimum <= number <= setting.maximum:
        raise bad_value(setting.key, source, raw, wanted)
    return number


def _places(setting: Setting, raw: Any, source: str) -> list[str]:
    """A list of places; one alone may be written without brackets."""
    places = from_text(raw) if isinstance(raw, str) else raw
    places = [places] if isinstance(places, str) else places
    if not isinstance(places, list) or not all(map(_is_place, places)):
        raise bad_value(setting.key, source, raw, 'a list, ["path:/FOLDER", "git:/REPOSITORY"]')
    return places


def _secrets(setting: Setting, raw: Any, source: str) -> list[str]:
    """A list of references; one alone may be written without brackets."""
    items = from_text(raw) if isinstance(raw, str) and raw.startswith("[") else raw
    items = [items] if isinstance(items, str) else items
    if not isinstance(items, list) or not items or not all(map(is_reference, items)):
        raise bad_value(setting.key, source, raw, 'a list, ["file:/PATH", "env:NAME"]')
    return items


def _networks(setting: Setting, raw: Any, source: str) -> list[str]:
    """A list of addresses and networks; as text they are separated by commas."""
    from ipaddress import ip_network

    given = from_text(raw) if isinstance(raw, str) and raw.strip().startswith("[") else raw
    words = given.split(",") if isinstance(given, str) else given
    try:
        return [str(ip_network(word.strip())) for word in words]
    except (ValueError, TypeError, AttributeError):
        raise bad_value(setting.key, source, raw, 'a list, ["127.0.0.1", "10.0.0.0/8"]') from None


def _is_place(text: object) -> bool:
    """A folder or repository is named by its whole path: a cron job's own folder is anywhere."""
    scheme, _, rest = text.partition(":") if isinstance(text, str) else ("", "", "")
    if scheme == "cmd":
        return _is_command(rest)
    return scheme in ("path", "git") and rest.startswith("/")


def _is_command(text: str) -> bool:
    """Whether the words of a command can be told apart."""
    try:
        return bool(shlex.split(text))
    except ValueError:
        return False


def _switch(setting: Setting, raw: Any, source: str) -> bool:
    if isinstance(raw, bool):
        return raw
    word = str(raw).strip().lower()
    if word not in TRUE | FALSE:
        raise bad_value(setting.key, source, raw, "true or false")
    return word in TRUE
