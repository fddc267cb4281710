"""References to secrets: ``env:NAME``, ``file:PATH``, ``cmd:PROGRAM ARGS``.

Configuration holds references, never the secret itself, because files get copied, committed and
shown. A reference is resolved when its value is first needed, and every value ever resolved is
remembered here, so that :func:`conceal` can take it out of any text before it is printed or logged.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from payctl.errors import NotConfigured

SCHEMES = ("env", "file", "cmd")
#: A password program that asks a person or a network must not hang a cron job for ever.
COMMAND_TIMEOUT_S = 15
#: Shorter values are not concealed: they would blank out ordinary words.
_CONCEAL_FROM = 6

_known: set[str] = set()


def is_reference(text: object) -> bool:
    """Whether *text* has the form of a reference."""
    if not isinstance(text, str):
        return False
    scheme, colon, rest = text.partition(":")
    return bool(colon and rest) and scheme in SCHEMES


def resolve(reference: str, *, environ: Mapping[str, str], base: Path | None = None) -> str:
    """The secret behind *reference*. Relative paths start at *base*, the configuration's folder.

    Raises:
        NotConfigured: ``secret.not_a_reference``, ``secret.env_missing``, ``secret.file_missing``,
            ``secret.file_open``, ``secret.command_failed``, ``secret.empty``.
    """
    scheme, _, rest = reference.partition(":")
    if not is_reference(reference):
        raise NotConfigured("secret.not_a_reference")
    if scheme == "env":
        value = environ.get(rest, "")
        if not value:
            raise NotConfigured("secret.env_missing", variable=rest)
    elif scheme == "file":
        value = _read(rest, base)
    else:
        value = _run(rest)
    value = value.strip()
    if not value:
        raise NotConfigured("secret.empty", reference=reference)
    remember(value)
    return value


def remember(value: str) -> None:
    """Have :func:`conceal` take *value* out of texts from now on."""
    if len(value) >= _CONCEAL_FROM:
        _known.add(value)


def conceal(text: str) -> str:
    """*text* without any secret this process has resolved.

    The longest goes first: a password taken out of a secret URL would leave the rest of it there.
    """
    for value in sorted(_known, key=len, reverse=True):
        if value in text:
            text = text.replace(value, "***")
    return text


def fingerprint(value: str) -> str:
    """Eight hexadecimal digits that tell two secrets apart and give neither away."""
    return hashlib.sha256(value.encode()).hexdigest()[:8]


def _read(name: str, base: Path | None) -> str:
    path = Path(name).expanduser()
    if not path.is_absolute() and base is not None:
        path = base / path
    try:
        found = path.stat()
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise NotConfigured(
                "secret.file_open", path=path, mode=f"{stat.S_IMODE(found.st_mode):04o}"
            )
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotConfigured("secret.file_missing", path=path, detail=_reason(error)) from None


def _run(command: str) -> str:
    import shlex
    import subprocess

    try:
        words = shlex.split(command)
        done = subprocess.run(  # noqa: S603 - the operator's own configuration names the program
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        program = command.split()[0] if command.split() else command
        raise NotConfigured(
            "secret.command_failed", program=program, detail=_reason(error)
        ) from None
    if done.returncode:
        raise NotConfigured(
            "secret.command_failed", program=words[0], detail=f"exit status {done.returncode}"
        )
    return done.stdout


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else type(error).__name__
