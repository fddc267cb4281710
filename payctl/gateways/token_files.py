"""Access tokens that outlive a process: one file each, readable by nobody else.

A file is written whole under another name and then renamed, so a process that dies in between
leaves the old token or none, never half of one. Whatever cannot be believed (cut, of another shape,
readable by others, somebody else's, a link) counts as absent: the worst that follows is one more
token call. Two processes that renew at once both write a token that is good; the last one stays.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from payctl import secret
from payctl.gateways.tokens import MemoryTokens, Token, token_key

#: A file under a temporary name that is so much older than a new one belongs to nobody any more.
ABANDONED_S = 3600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
#: More than any token; what is longer was not written by us.
_MAX_BYTES = 64 * 1024


class FileTokens:
    """A :class:`payctl.gateways.tokens.TokenStore` in *folder*, which is made when first needed.

    Where the folder cannot be used (another user's, a disk that is full or read-only), tokens are
    kept in this process: a payment never fails because its token could not be stored.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._memory = MemoryTokens()

    def get(self, key: str) -> Token | None:
        """The token kept under *key*, expired or not; ``None`` also for one that others could have
        read, which is deleted.
        """
        found = self._read(self._path(key)) or self._memory.get(key)
        if found is not None:
            secret.remember(found.text)
        return found

    def put(self, key: str, token: Token) -> None:
        """Keep *token* in place of any other under *key*."""
        secret.remember(token.text)
        try:
            self._write(self._path(key), token)
            self._memory.drop(key)
        except OSError:
            self._memory.put(key, token)

    def drop(self, key: str) -> None:
        self._memory.drop(key)
        with suppress(OSError):
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        # Hashed once more: whatever an adapter calls its token, the name is that of a file here.
        return self._folder / f"{token_key(key)}.json"

    def _read(self, path: Path) -> Token | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            if not _is_private(os.fstat(file.fileno())):
                with suppress(OSError):
                    path.unlink()
                return None
            content = file.read(_MAX_BYTES)
        return _parsed(content)

    def _write(self, path: Path, token: Token) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = self._folder.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
            raise PermissionError
        if about.st_mode & _OTHERS:
            self._folder.chmod(0o700)
        text = {"token": token.text, "expires_at": token.expires_at.astimezone(UTC).isoformat()}
        new = path.with_name(f"{path.stem}.{secrets.token_hex(8)}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
            json.dump(text, file)
        written_at = new.stat().st_mtime
        new.replace(path)
        for other in self._folder.glob(f"{path.stem}.*.new"):
            with suppress(OSError):
                if other.stat().st_mtime < written_at - ABANDONED_S:
                    other.unlink()


def _is_private(about: os.stat_result) -> bool:
    # No name at all: replaced since it was opened, and still good.
    ours = about.st_uid == os.geteuid() and about.st_nlink <= 1
    return stat.S_ISREG(about.st_mode) and ours and not about.st_mode & _OTHERS


def _parsed(content: bytes) -> Token | None:
    try:
        data = json.loads(content)
        text, ends = data["token"], datetime.fromisoformat(data["expires_at"])
    except (ValueError, KeyError, TypeError):
        return None
    return Token(text, ends) if isinstance(text, str) and text and ends.tzinfo else None
