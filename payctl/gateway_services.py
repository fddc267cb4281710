"""The gateways of a profile and what operators say about them: routing, limits, fees, breakers.

Apart from the composition root because nothing here posts to the ledger; each is imported on first
use.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from payctl.book_services import BookServices
from payctl.db.engine import Database

if TYPE_CHECKING:
    from payctl.config import Config
    from payctl.gateways.base import Gateway, Probe
    from payctl.payments.breaker import Breakers
    from payctl.payments.breaker_desk import BreakerDesk
    from payctl.payments.gateway_settings import GatewaySettings
    from payctl.payments.routing import Router
    from payctl.payments.rule_book import RuleBook


class GatewayServices(BookServices):
    """The services on one profile's gateways.

    Args:
        config: the profile.
        db: its book; default: what the profile says.
        probe: told of every exchange with a provider, before and after.
    """

    def __init__(
        self, config: Config, db: Database | None = None, probe: Probe | None = None
    ) -> None:
        super().__init__(config, db)
        self._probe = probe

    @cached_property
    def gateways(self) -> dict[str, Gateway]:
        """The merchant accounts of the profile, by our name of them.

        Raises:
            NotConfigured: an account whose type is not installed or whose settings are wrong.
        """
        from payctl.config_layers import state_dir
        from payctl.gateways.base import no_probe
        from payctl.gateways.registry import build, names
        from payctl.gateways.token_files import FileTokens

        installed = names()
        tokens = FileTokens(state_dir(self.config.environ) / "tokens")
        return {
            account: build(
                section.type,
                account,
                section.settings,
                self.config.resolve,
                clock=self.db.clock,
                probe=self._probe or no_probe,
                tokens=tokens,
            )
            for account, section in self.config.gateways.items()
            # The former service's variables may name a provider that has no adapter yet.
            if section.type in installed or not section.former
        }

    @cached_property
    def breakers(self) -> Breakers:
        from payctl.payments.breaker import Breakers

        return Breakers(self.db)

    @cached_property
    def router(self) -> Router:
        from payctl.payments.routing import Router, read_order

        priorities, off = read_order(
            {account: section.settings for account, section in self.config.gateways.items()}
        )
        return Router(
            self.db,
            self.gateways,
            self.breakers,
            live=self.config.live,
            priorities=priorities,
            switched_off=off,
        )

    @cached_property
    def gateway_settings(self) -> GatewaySettings:
        from payctl.payments.gateway_settings import GatewaySettings

        return GatewaySettings(self.db, self.gateways, lambda: self.router.forget())

    @cached_property
    def rule_book(self) -> RuleBook:
        from payctl.payments.rule_book import RuleBook

        return RuleBook(self.db, self.gateways, self.approvals, lambda: self.router.forget())

    @cached_property
    def breaker_desk(self) -> BreakerDesk:
        from payctl.payments.breaker_desk import BreakerDesk

        return BreakerDesk(self.db, self.gateways, self.breakers, self.approvals)
