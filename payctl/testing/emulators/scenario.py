"""What goes wrong, and when, as a JSON file: a list of steps, each for one emulator.

A step arms a fault, ``{"emulator": "momo", "operation": "payment.create", "fault": "drop_after",
"times": 2, "after": 3}``: of the operation named (default: any), three requests pass, then two meet
the fault. Or it moves the provider's time on before the first request, ``{"emulator": "momo",
"advance": 3600}``; the fault ``advance:3600`` does the same later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from payctl.testing.emulators.core import Emulator

_FAULT = {"emulator", "operation", "fault", "times", "after"}
_ADVANCE = {"emulator", "advance"}


class BadScenario(ValueError):
    """A scenario that cannot be played; its text says which step is wrong, and why."""


def play(path: Path, emulators: Mapping[str, Emulator]) -> int:
    """Arm the steps of the file *path*; returns how many.

    Raises:
        BadScenario: nothing was armed.
    """
    try:
        steps = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadScenario(f"{path}: {error}") from None
    if not isinstance(steps, list):
        raise BadScenario(f"{path}: a list of steps is wanted")
    for number, step in enumerate(steps, 1):
        wrong = _wrong(step, emulators)
        if wrong:
            raise BadScenario(f"{path}: step {number}: {wrong}")
    for step in steps:
        emulator = emulators[step["emulator"]]
        if "advance" in step:
            emulator.advance(step["advance"])
        else:
            operation, times = step.get("operation", "*"), step.get("times", 1)
            emulator.fault(step["fault"], operation, times, step.get("after", 0))
    return len(steps)


def _wrong(step: Any, emulators: Mapping[str, Emulator]) -> str | None:
    """What is wrong with a step, or ``None``."""
    if not isinstance(step, dict):
        return "an object is wanted"
    if step.get("emulator") not in emulators:
        return f"emulator must be one of {', '.join(sorted(emulators))}"
    if strange := step.keys() - (_ADVANCE if "advance" in step else _FAULT):
        return f"unknown: {', '.join(sorted(strange))}"
    if "advance" in step:
        seconds = step["advance"]
        fine = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds >= 0
        return None if fine else "advance must be seconds"
    if not all(isinstance(step.get(key, ""), str) for key in ("fault", "operation")):
        return "fault and operation must be texts"
    if not step.get("fault"):
        return "fault or advance is missing"
    for key, least in (("times", 1), ("after", 0)):
        number = step.get(key, least)
        if type(number) is not int or number < least:
            return f"{key} must be a whole number, {least} or more"
    return None
