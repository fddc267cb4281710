"""A receiver on a book, with sandbox accounts that sign and one that proves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from payctl.app import App
from payctl.clock import ManualClock
from payctl.config import load
from payctl.db.engine import Database
from payctl.receiver.application import Receiver

#: ``box`` signs, ``bare`` proves nothing, ``token`` by a token in the body; ``path`` and ``listed``
#: prove nothing by themselves either.
PROFILE = """
[profiles.default]
receiver.token = "env:RECEIVER_TOKEN"
receiver.trusted_proxies = ["10.0.0.0/8"]
receiver.rate_limit_max_requests = 5

[profiles.default.gateways.box]
type = "sandbox"
webhook_secrets = ["env:SECRET", "env:OLD_SECRET"]

[profiles.default.gateways.bare]
type = "sandbox"
event_proof = "none"

[profiles.default.gateways.token]
type = "sandbox"
event_proof = "token"

[profiles.default.gateways.path]
type = "sandbox"
event_proof = "none"
webhook_tokens = ["env:PATH_TOKEN"]

[profiles.default.gateways.listed]
type = "sandbox"
event_proof = "none"
webhook_addresses = ["198.51.100.0/24"]
"""
ENVIRON = {
    "SECRET": "secret", "OLD_SECRET": "old secret", "RECEIVER_TOKEN": "token-of-the-receiver",
    "PATH_TOKEN": "token-in-the-path",
}  # fmt: skip


@pytest.fixture
def app(db: Database, clock: ManualClock, tmp_path: Path) -> App:
    file = tmp_path / "payctl.toml"
    file.write_text(PROFILE)
    file.chmod(0o600)
    return App(load(environ={"HOME": str(tmp_path), **ENVIRON}, path=file), db)


@pytest.fixture
def receiver(app: App) -> Iterator[Receiver]:
    yield Receiver(app)
    for gateway in app.gateways.values():
        close: Any = getattr(gateway, "close", None)
        if close is not None:
            close()
