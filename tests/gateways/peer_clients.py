"""Other people's clients, installed once into pytest's cache and run in processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

INSTALL_S = 120


def installed(config: pytest.Config, name: str, command: Sequence[str]) -> Path:
    """The folder of a client, installed by *command* with the folder as its last word. Where that
    cannot be done (no package index in reach), the test is skipped.
    """
    assert config.cache is not None
    folder = Path(config.cache.mkdir("peers")) / name
    if folder.exists():
        return folder
    half = folder.with_name(f"{name}.{os.getpid()}")
    try:
        done = subprocess.run(
            [*command, str(half)], capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
        why = done.stderr.strip().splitlines()[-1:] if done.returncode else None
    except subprocess.TimeoutExpired:
        why = ["time is over"]
    if why is not None:
        shutil.rmtree(half, ignore_errors=True)
        pytest.skip(f"{name} cannot be installed here: {' '.join(why)[:120]}")
    try:
        half.rename(folder)
    except OSError:
        # Another process of this run was faster; what it installed is as good.
        shutil.rmtree(half, ignore_errors=True)
    return folder
