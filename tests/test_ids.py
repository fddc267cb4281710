"""Ids that are made at a moment the caller names."""

from __future__ import annotations

from datetime import timedelta

import pytest

from payctl.clock import ManualClock
from payctl.ids import seeded, time_of
from tests.conftest import START

pytestmark = pytest.mark.unit


def test_ids_of_one_moment_rise_and_an_earlier_moment_comes_before_them() -> None:
    ids = seeded(ManualClock(START), 1)
    before = START - timedelta(milliseconds=5)
    made = [ids.new(), ids.new(START), ids.new(before), ids.new(before), ids.new()]
    first, second, *earlier, last = made
    assert first < second < last, "who comes late does not turn the source back"
    assert all(each < first and time_of(each) == before for each in earlier)
    assert len(set(made)) == 5
