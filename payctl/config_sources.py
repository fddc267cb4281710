"""Where settings come from: flags, environment, files, the former service's variables, defaults.

Files are TOML: ``[profiles.NAME]`` tables and, at the top, ``default_profile``. There is no
"current profile" kept anywhere: what was typed is what runs.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from payctl import settings
from payctl.config_layers import (
    DEFAULT_PROFILE,
    Layer,
    Origin,
    Stack,
    candidates,
    data_dir,
    state_dir,
)
from payctl.errors import InvalidInput, NotConfigured
from payctl.secret import is_reference

_FLAG_NAMES = {"language": "--lang"}
#: Variables that steer the test suite and mean nothing to a run.
_OF_THE_TESTS = "PAYCTL_TEST_"
_TOP_KEYS = frozenset({"profiles", "default_profile"})


def stack(
    environ: Mapping[str, str],
    profile: str | None,
    path: Path | None,
    flags: Mapping[str, str],
    folder: Path,
) -> Stack:
    """All layers of the profile, highest first.

    Raises:
        NotConfigured: ``config.no_file``, ``config.syntax``, ``config.no_profile``,
            ``config.choose_profile``: without them there is nothing to show or validate.
    """
    documents = _documents(environ, path, folder)
    names = sorted({name for _, document in documents for name in _profiles(document)})
    result = Stack(_chosen(environ, profile, documents, names), profiles=names)
    result.files = [file for file, _ in documents]
    given = Layer(Origin("flag"))
    for key, raw in flags.items():
        name = _FLAG_NAMES.get(key, f"--{key}")
        given.origins[key] = Origin("flag", name)
        result.put(given, key, raw, name)
    result.layers.append(given)
    result.layers.append(_environment(environ, result))
    for file, document in documents:
        result.layers.append(_file(file, document, result))
    result.layers.append(_former(environ, result))
    result.layers.append(_defaults(environ, result))
    return result


def _documents(
    environ: Mapping[str, str], path: Path | None, folder: Path
) -> list[tuple[Path, dict[str, Any]]]:
    asked = path is not None or bool(environ.get("PAYCTL_CONFIG"))
    found = []
    for file in candidates(environ, path, folder):
        try:
            found.append((file, tomllib.loads(file.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            if asked:
                raise NotConfigured("config.no_file", path=file) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise NotConfigured("config.syntax", path=file, detail=error) from None
        except OSError as error:
            detail = os.strerror(error.errno or 0)
            raise NotConfigured("config.unreadable", path=file, detail=detail) from None
    return found


def _profiles(document: Mapping[str, Any]) -> list[str]:
    profiles = document.get("profiles", {})
    return list(profiles) if isinstance(profiles, dict) else []


def _chosen(
    environ: Mapping[str, str],
    profile: str | None,
    documents: list[tuple[Path, dict[str, Any]]],
    names: list[str],
) -> str:
    asked = profile or environ.get("PAYCTL_PROFILE")
    if asked is None:
        defaults = [d["default_profile"] for _, d in documents if d.get("default_profile")]
        asked = str(defaults[0]) if defaults else None
    if asked is None:
        if names and DEFAULT_PROFILE not in names:
            raise NotConfigured("config.choose_profile", profiles=", ".join(names))
        return DEFAULT_PROFILE
    if asked not in names and not (asked == DEFAULT_PROFILE and not names):
        raise NotConfigured(
            "config.no_profile", field="profile", profile=asked, profiles=", ".join(names) or "-"
        )
    return asked


def _environment(environ: Mapping[str, str], result: Stack) -> Layer:
    layer = Layer(Origin("environment"))
    for name in sorted(environ):
        raw = environ[name]
        if not name.startswith("PAYCTL_") or not raw or name in settings.CALL_VARIABLES:
            continue
        if name.startswith(_OF_THE_TESTS):
            continue
        key = _key_of(name)
        if key is None:
            result.problems.append(settings.unknown_variable(name))
            continue
        layer.origins[key] = Origin("environment", name)
        # A variable is itself a place for secrets, so its own value becomes a reference to it.
        direct = settings.is_secret(key) and not is_reference(raw)
        free = key.startswith("gateways.") and not direct
        value = settings.from_text(raw) if free else f"env:{name}" if direct else raw
        result.put(layer, key, value, name)
    return layer


def _key_of(variable: str) -> str | None:
    setting = settings.BY_ENV.get(variable)
    if setting is not None:
        return setting.key
    if variable.startswith(settings.GATEWAY_PREFIX):
        account, _, key = variable[len(settings.GATEWAY_PREFIX) :].lower().partition("__")
        return f"gateways.{account}.{key}" if account and key else None
    if variable.startswith(settings.CONFIRM_PREFIX):
        return f"confirm_above.{variable[len(settings.CONFIRM_PREFIX) :]}"
    return None


def _file(file: Path, document: Mapping[str, Any], result: Stack) -> Layer:
    layer = Layer(Origin("file", str(file)))
    for key in document:
        if key not in _TOP_KEYS:
            result.problems.append(settings.unknown(key, str(file)))
    table = document.get("profiles", {})
    table = table.get(result.profile, {}) if isinstance(table, dict) else table
    if not isinstance(table, dict):
        result.problems.append(
            settings.bad_value(f"profiles.{result.profile}", str(file), table, "a table")
        )
        return layer
    for key, raw in _flat(table):
        if not settings.is_known(key):
            result.problems.append(settings.unknown(key, str(file)))
        elif _in_clear(key, raw):
            result.problems.append(
                NotConfigured("config.secret_in_clear", field=key, source=str(file))
            )
        elif _runs_program(raw) and not _trusted(file):
            result.problems.append(NotConfigured("config.unsafe_file", field=key, path=file))
        else:
            result.put(layer, key, raw, str(file))
    return layer


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in table.items():
        key = f"{prefix}{name}"
        deep = prefix.count(".") < 2 or not prefix.startswith("gateways.")
        if isinstance(value, dict) and deep:
            pairs.extend(_flat(value, f"{key}."))
        else:
            pairs.append((key, value))
    return pairs


def _in_clear(key: str, raw: Any) -> bool:
    if key in settings.PASSWORD_URLS and isinstance(raw, str):
        return settings.has_password(raw)
    if not settings.is_secret(key):
        return False
    return not all(map(is_reference, raw if isinstance(raw, list) else [raw]))


def _runs_program(raw: Any) -> bool:
    items = raw if isinstance(raw, list) else [raw]
    return any(isinstance(item, str) and item.startswith("cmd:") for item in items)


def _trusted(file: Path) -> bool:
    """A file that someone else could write must not make us run a program."""
    found = file.stat()
    return found.st_uid in (0, os.getuid()) and not found.st_mode & stat.S_IWOTH


def _former(environ: Mapping[str, str], result: Stack) -> Layer:
    """What the former service's variables say, where nothing else says it."""
    layer = Layer(Origin("former"))
    for name, why in settings.IGNORED.items():
        if name in environ:
            result.notes.append(f"{name} is ignored: {why}")
    for setting in settings.SETTINGS:
        raw = environ.get(setting.former or "", "")
        if raw and setting.kind != "secret" and not result.has(setting.key):
            layer.origins[setting.key] = Origin("former", str(setting.former))
            value = _LEVELS.get(raw.lower(), raw) if setting.key == "log.level" else raw
            result.put(layer, setting.key, value, str(setting.former))
    _former_database(environ, result, layer)
    for family, variables in FORMER_GATEWAYS.items():
        given = {key: name for key, name in variables.items() if environ.get(name)}
        taken = any(
            key == f"gateways.{family}.type" or (key.endswith(".type") and value == family)
            for each in result.layers
            for key, value in each.values.items()
        )
        if not given or taken or result.has(f"gateways.{family}."):
            continue
        origin = Origin("former", next(iter(given.values())))
        layer.values[f"gateways.{family}.type"] = family
        layer.origins[f"gateways.{family}.type"] = origin
        for key, name in given.items():
            full = f"gateways.{family}.{key}"
            layer.origins[full] = Origin("former", name)
            reference = f"env:{name}"
            if key == "mode":
                layer.values[full] = environ[name]
            else:
                layer.values[full] = [reference] if key == "webhook_secrets" else reference
    return layer


#: Names of log levels the former service's logger knew.
_LEVELS = {
    "warn": "warning",
    "verbose": "debug",
    "silly": "debug",
    "http": "info",
    "fatal": "error",
}
FORMER_GATEWAYS: Mapping[str, Mapping[str, str]] = {
    "stripe": {"secret_key": "STRIPE_SECRET_KEY", "webhook_secrets": "STRIPE_WEBHOOK_SECRET"},
    "paypal": {
        "client_id": "PAYPAL_CLIENT_ID",
        "client_secret": "PAYPAL_CLIENT_SECRET",
        "mode": "PAYPAL_MODE",
    },
    "cinetpay": {
        "api_key": "CINETPAY_API_KEY",
        "secret_key": "CINETPAY_SECRET_KEY",
        "site_id": "CINETPAY_SITE_ID",
    },
}


def _former_database(environ: Mapping[str, str], result: Stack, layer: Layer) -> None:
    if result.has("database.url") or not (environ.get("DB_HOST") or environ.get("DB_NAME")):
        return
    host = environ.get("DB_HOST", "localhost")
    port = environ.get("DB_PORT", "5432")
    if not port.isdigit() or not 0 < int(port) < 65536:
        result.problems.append(
            InvalidInput(
                "config.bad_value",
                field="DB_PORT",
                source="environment",
                value=port[:60],
                wanted="a whole number from 1 to 65535",
            )
        )
        return
    user = f"{quote(environ['DB_USER'], safe='')}@" if environ.get("DB_USER") else ""
    name = quote(environ.get("DB_NAME", ""), safe="")
    layer.values["database.url"] = f"postgresql+psycopg://{user}{host}:{port}/{name}"
    layer.origins["database.url"] = Origin("former", "DB_HOST, DB_PORT, DB_NAME, DB_USER")
    if environ.get("DB_PASSWORD") and not result.has("database.password"):
        layer.values["database.password"] = "env:DB_PASSWORD"
        layer.origins["database.password"] = Origin("former", "DB_PASSWORD")


def _defaults(environ: Mapping[str, str], result: Stack) -> Layer:
    layer = Layer(Origin("default"))
    if not result.has("database.url"):
        name = "book" if result.profile == DEFAULT_PROFILE else f"book-{result.profile}"
        layer.values["database.url"] = f"sqlite:///{data_dir(environ) / name}.sqlite3"
    if not result.has("log.file"):
        layer.values["log.file"] = str(state_dir(environ) / "payctl.log")
    live = any(each.values.get("live") is True for each in result.layers)
    if not result.has("gateways.") and not live:
        layer.values |= _sandboxes()
    _sandbox_books(environ, result, layer)
    if not result.has("ledger.anchors"):
        layer.values["ledger.anchors"] = [f"path:{_beside_book(environ, result, layer)}.anchors"]
    return layer


def _sandboxes() -> dict[str, Any]:
    """Three scripted gateways: a cheap one, a dearer one to fail over to, and mobile money, whose
    customer answers a push on the phone some seconds later."""
    card = {"methods": ["card", "wallet", "paypal", "bank_transfer"]}
    accounts: dict[str, dict[str, Any]] = {
        "sandbox": {**card, "fee_ppm": 15_000, "fee_fixed": {"EUR": 25}},
        "sandbox-backup": {**card, "fee_ppm": 29_000, "fee_fixed": {"EUR": 30}},
        "sandbox-momo": {
            "methods": ["mobile_money"],
            "completes": "push",
            "completes_after_s": 20,
            "fee_ppm": 20_000,
        },
    }
    return {
        f"gateways.{account}.{key}": value
        for account, own in accounts.items()
        for key, value in {"type": "sandbox", **own}.items()
    }


def _sandbox_books(environ: Mapping[str, str], result: Stack, layer: Layer) -> None:
    """Give each sandbox account a file of its own, beside an embedded book if there is one."""
    values = {
        key: value
        for each in reversed([*result.layers, layer])
        for key, value in each.values.items()
        if key.startswith("gateways.")
    }
    accounts = {key.split(".")[1] for key in values}
    base = _beside_book(environ, result, layer)
    for account in sorted(accounts):
        key = f"gateways.{account}.book"
        if values.get(f"gateways.{account}.type", account) != "sandbox" or key in values:
            continue
        layer.values[key] = f"{base}-{account}.provider"


def _beside_book(environ: Mapping[str, str], result: Stack, layer: Layer) -> Path:
    """What the names of a profile's files begin with: beside an embedded book if there is one,
    else in the user's data directory."""
    layers = [*result.layers, layer]
    url = next((str(x.values["database.url"]) for x in layers if "database.url" in x.values), "")
    if url.startswith("sqlite") and url.partition(":///")[2]:
        return Path(url.partition(":///")[2]).with_suffix("")
    return data_dir(environ) / f"book-{result.profile}"
