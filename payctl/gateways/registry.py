"""Finds gateways by name: entry points of the group ``payctl.gateways``.

A third party adds a gateway by installing a package; nothing here names a provider. Only the asked
adapter is imported, because one of them costs 200 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from typing import Any, Protocol

from payctl.clock import Clock, SystemClock
from payctl.errors import NotConfigured
from payctl.gateways.base import Gateway, Probe, no_probe
from payctl.gateways.settings import Settings
from payctl.gateways.tokens import TokenStore

GROUP = "payctl.gateways"


class Adapter(Protocol):
    """What an entry point must name: a class that builds itself from its settings."""

    def from_settings(self, settings: Settings, *, clock: Clock, probe: Probe) -> Gateway:
        """Build without any exchange and without resolving a secret.

        A class method. It reads every key it knows from *settings* and then calls
        ``settings.done()``.
        """


def names() -> list[str]:
    """Names of all installed gateways, sorted."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def build(
    name: str,
    account: str,
    settings: Mapping[str, Any],
    secrets: Callable[[str], str],
    *,
    clock: Clock | None = None,
    probe: Probe = no_probe,
    tokens: TokenStore | None = None,
) -> Gateway:
    """The gateway *name* for our account *account*.

    Args:
        name: entry point name, ``stripe``.
        account: our name of the merchant account.
        settings: its section of the profile, ``type`` included or not.
        secrets: resolves a secret reference (``env:…``) to its value; called on first use only.
        clock: the machine's when not given.
        probe: see :data:`payctl.gateways.base.Probe`.
        tokens: where access tokens are kept; in this process only when not given.

    Raises:
        NotConfigured: ``gateway.not_installed``, ``gateway.unknown_setting``,
            ``gateway.setting_missing``, ``gateway.bad_setting``.
    """
    point = _find(name)
    if point is None:
        raise NotConfigured(
            "gateway.not_installed",
            field="type",
            account=account,
            name=name,
            installed=", ".join(names()),
        )
    adapter: Adapter = point.load()
    return adapter.from_settings(
        Settings(account, settings, secrets, tokens), clock=clock or SystemClock(), probe=probe
    )


def _find(name: str) -> EntryPoint | None:
    # Our own distribution first: asking all installed ones reads a file of each.
    try:
        own = distribution("payctl").entry_points.select(group=GROUP, name=name)
    except PackageNotFoundError:
        own = entry_points(group=GROUP, name=name)
    found = tuple(own) or tuple(entry_points(group=GROUP, name=name))
    return found[0] if found else None
