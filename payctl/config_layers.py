"""The layers a profile is put together from, each already flat: ``database.url`` to value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from payctl import settings
from payctl.errors import PayctlError

FILE_NAME = "payctl.toml"
SYSTEM_FILE = Path("/etc/payctl") / FILE_NAME
DEFAULT_PROFILE = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from."""

    kind: str  # flag | environment | file | former | default
    name: str = ""

    def __str__(self) -> str:
        word = "former variable" if self.kind == "former" else self.kind
        return f"{word} {self.name}".strip()


@dataclass(frozen=True, slots=True)
class Found:
    value: Any
    origin: Origin


@dataclass
class Layer:
    """One source: flat values, and the origin of each that has one of its own."""

    origin: Origin
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)


@dataclass
class Stack:
    profile: str
    layers: list[Layer] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    profiles: list[str] = field(default_factory=list)
    problems: list[PayctlError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def put(self, layer: Layer, key: str, raw: Any, source: str) -> None:
        """Convert and keep a value, or keep the problem with it."""
        try:
            layer.values[key] = settings.convert(key, raw, source)
        except PayctlError as problem:
            self.problems.append(problem)

    def has(self, prefix: str) -> bool:
        return any(key.startswith(prefix) for layer in self.layers for key in layer.values)


def data_dir(environ: Mapping[str, str]) -> Path:
    """Where the embedded book lives."""
    return _xdg(environ, "XDG_DATA_HOME", ".local/share")


def state_dir(environ: Mapping[str, str]) -> Path:
    """Where the log lives."""
    return _xdg(environ, "XDG_STATE_HOME", ".local/state")


def user_file(environ: Mapping[str, str]) -> Path:
    return _xdg(environ, "XDG_CONFIG_HOME", ".config") / FILE_NAME


def candidates(environ: Mapping[str, str], path: Path | None, folder: Path) -> list[Path]:
    """The files that would be read, highest first, whether they exist or not."""
    chosen = path or (Path(environ["PAYCTL_CONFIG"]) if environ.get("PAYCTL_CONFIG") else None)
    if chosen is not None:
        return [chosen.expanduser()]
    return [folder / FILE_NAME, user_file(environ), SYSTEM_FILE]


def _xdg(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    given = environ.get(variable, "")
    home = Path(environ.get("HOME") or Path.home())
    # The XDG specification asks for relative paths to be ignored.
    base = Path(given) if given.startswith("/") else home / fallback
    return base / "payctl"
