"""Whose address a request came from, and how often an address may ask. Pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payctl.receiver.addresses import client_of, networks, throttle_key
from payctl.receiver.limits import RateLimit

pytestmark = pytest.mark.unit

PROXIES = networks(["10.0.0.0/8", "127.0.0.1", "2001:db8:1::/48"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.1", [], "203.0.113.1"),
        # Nobody but a proxy is believed.
        ("203.0.113.1", ["198.51.100.1"], "203.0.113.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        # What stands left of the first stranger is the stranger's own invention.
        ("10.0.0.1", ["127.0.0.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["127.0.0.1", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
        (None, ["198.51.100.1"], "None"),
    ],
)
def test_client(peer: str | None, forwarded: list[str], client: str) -> None:
    assert str(client_of(peer, forwarded, PROXIES)) == client


@given(st.lists(st.text(max_size=20) | st.ip_addresses().map(str), max_size=3))
def test_a_stranger_is_never_taken_for_another(forwarded: list[str]) -> None:
    assert str(client_of("203.0.113.1", forwarded, PROXIES)) == "203.0.113.1"


@given(st.lists(st.ip_addresses().map(str), max_size=30))
def test_behind_a_proxy_the_last_stranger_is_the_client(hops: list[str]) -> None:
    seen = ["198.51.100.7", *["10.0.0.9"] * 3]
    assert str(client_of("10.0.0.1", [", ".join(hops + seen)], PROXIES)) == "198.51.100.7"


def test_one_budget_for_what_one_customer_has() -> None:
    keys = {throttle_key(client_of(f"2001:db8::{n}", [], ())) for n in range(1, 9)}
    assert keys == {"2001:db8::/64"}
    assert throttle_key(client_of("203.0.113.1", [], ())) == "203.0.113.1"


def test_a_window() -> None:
    limit = RateLimit(3, 60)
    assert [limit.take("a", at) for at in (0.0, 1.0, 2.0)] == [None] * 3
    assert limit.take("a", 10.0) == 50
    assert limit.take("b", 10.0) is None
    assert limit.take("a", 60.0) is None


def test_memory_is_bounded() -> None:
    limit = RateLimit(1, 60, capacity=50)
    for number in range(1_000):
        limit.take(f"a{number}", 0.0)
    assert len(limit) == 50
    assert limit.take("a999", 1.0) is not None
