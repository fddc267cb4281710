"""What each provider says it holds for us, beside what our books say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC

from payctl.db.engine import Database
from payctl.gateways.base import Gateway
from payctl.ledger import accounts
from payctl.ledger.reports import Reports


@dataclass(frozen=True, slots=True)
class ProviderBalance:
    """One gateway account and currency; amounts in minor units."""

    gateway: str
    currency: str
    theirs_minor: int
    ours_minor: int

    @property
    def difference_minor(self) -> int:
        """Theirs less ours; zero when both books agree."""
        return self.theirs_minor - self.ours_minor


def compare(db: Database, gateways: Mapping[str, Gateway]) -> list[ProviderBalance]:
    """Ask every gateway that tells its balance; what is still pending there counts as held.

    Raises:
        NotSent: ``gateway.unreachable``. NotConfigured: refused credentials.
    """
    lines: list[ProviderBalance] = []
    for name, gateway in sorted(gateways.items()):
        if not gateway.capabilities.balance:
            continue
        theirs = {
            line.currency: line.available_minor + line.pending_minor for line in gateway.balance()
        }
        codes = (accounts.collect(name), accounts.float_(name))
        ours: Counter[str] = Counter()
        with db.read() as tx:
            for each in Reports(UTC).accounts(tx, prefix=f"gateway:{name}:"):
                ours[each.currency] += each.own_minor if each.code in codes else 0
        lines.extend(
            ProviderBalance(name, currency, theirs.get(currency, 0), ours[currency])
            for currency in sorted(theirs.keys() | ours.keys())
        )
    return lines
