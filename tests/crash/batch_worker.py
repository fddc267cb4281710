"""``payctl`` as it is, but for the time a repeat waits for a sender that was killed."""

from __future__ import annotations

from payctl.__main__ import main
from payctl.payments import pipeline

if __name__ == "__main__":
    pipeline.REPLAY_WAIT_S = 0.3
    main()
