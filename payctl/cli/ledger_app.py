"""The noun ``ledger``; its verbs register themselves on it."""

from __future__ import annotations

from payctl.cli.framework import noun

app = noun("ledger")
