"""A door may stay for months: what it has answered, it forgets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.crash, pytest.mark.parametrize("engine_name", ["sqlite"])]
ROOT = Path(__file__).parents[2]
COUNT = 6_000


def test_memory_does_not_grow_with_the_payments_taken(db_url: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.crash.batch_memory", db_url, str(tmp_path), str(COUNT)]
    told = json.loads(subprocess.run(words, cwd=ROOT, capture_output=True, check=True).stdout)
    print(f"\n{told}")
    half, end = told["looks"][4], told["looks"][-1]
    assert told["failed"] == 0
    assert end < half * 1.05, told
