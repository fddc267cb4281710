"""What the figures depend on: the machine, the versions, and the processor time used."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")


def load() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0]


def tree_cpu_s(pid: int) -> float:
    """Processor seconds of a process, of its children, and of those children it has buried."""
    used = _cpu_s(pid, buried=True) or 0.0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and _parent(int(folder.name)) == pid:
            used += _cpu_s(int(folder.name)) or 0.0
    return used


def describe() -> list[tuple[str, str]]:
    """Machine and versions, as pairs of name and value."""
    return [
        ("machine", f"{os.cpu_count()} cores, {_cpu_model()}, {_memory()}"),
        ("system", f"{platform.system()} {platform.release()}, {_filesystem()}"),
        ("Python", platform.python_version()),
        ("SQLite", sqlite3.sqlite_version),
        ("payctl", _revision()),
    ]


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; the name before it may hold blanks."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it has ended meanwhile
        return None
    return text.rpartition(")")[2].split()


def _cpu_s(pid: int, *, buried: bool = False) -> float | None:
    fields = _stat(pid)
    if fields is None:
        return None
    # utime, stime, and with *buried* cutime, cstime (proc(5), fields 14 to 17).
    return sum(map(int, fields[11 : 15 if buried else 13])) / _TICKS


def _parent(pid: int) -> int | None:
    fields = _stat(pid)
    return None if fields is None else int(fields[1])


def _cpu_model() -> str:
    return _field("/proc/cpuinfo", "model name") or platform.machine()


def _memory() -> str:
    kilobytes = (_field("/proc/meminfo", "MemTotal") or "0").split()[0]
    return f"{int(kilobytes) / 1024**2:.0f} GiB"


def _field(path: str, name: str) -> str | None:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _filesystem() -> str:
    """The file system the databases lie on: on one in memory, a durable commit costs nothing."""
    folder = tempfile.gettempdir()
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    above = [m for m in mounts if Path(folder).is_relative_to(m[1])]
    return f"{max(above, key=lambda mount: len(mount[1]))[2]} file system"


def _revision() -> str:
    words = ["git", "describe", "--always", "--dirty", "--tags"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
