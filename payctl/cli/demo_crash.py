"""The process that ``payctl demo`` kills: it pays, and dies after the provider has taken the money
and before the answer is written down.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import datetime
from pathlib import Path

from payctl.cli.demo_story import Story, open_app


def main(folder: Path, now: datetime) -> None:
    app = open_app(folder, now, seed=2, probe=_die_after_the_effect)
    Story(folder, app, lambda key, **values: None).victim()


def _die_after_the_effect(point: str) -> None:
    if point == "receive.after":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2]))
