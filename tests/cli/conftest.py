from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from payctl.db.engine import Database
from tests.payments.kit import Kit, make_kit


@pytest.fixture
def kit(db: Database, tmp_path: Path) -> Iterator[Kit]:
    made = make_kit(db, tmp_path)
    yield made
    for gateway in made.gateways.values():
        gateway.close()
