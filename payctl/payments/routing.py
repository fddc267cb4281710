"""Routing: which gateway takes a payment.

:func:`rank` is the pure decision (see :mod:`payctl.payments.ranking`); :class:`Router` fetches what
is known of each gateway and claims the breaker's probe where one is due.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from payctl.db.engine import Database
from payctl.errors import NotConfigured
from payctl.gateways.base import Gateway
from payctl.payments.breaker import CACHE_S, Breakers
from payctl.payments.candidates import DEFAULT_PRIORITY, Candidate, Dropped, RouteRequest, held_back
from payctl.payments.gateway_state import RouteState, load
from payctl.payments.ranking import Decision, Field, Ranked, rank

__all__ = [
    "Candidate", "Decision", "Dropped", "Ranked", "RouteRequest", "Router", "rank", "read_order",
]  # fmt: skip


class Router:
    """Routes payments over the gateways of a book.

    Settings, limits, fees, rules and success rates are read at most once a second; an operator's
    change counts everywhere after that.

    Args:
        live: whether the book is a live one; gateways of the other mode are dropped. ``None``
            does not look.
        priorities: configured order of accounts, 1 before 2.
        switched_off: accounts that are configured with ``enabled = false``: they take no new
            payment, and are still asked about the ones they have.
    """

    def __init__(
        self,
        db: Database,
        gateways: Mapping[str, Gateway],
        breakers: Breakers,
        *,
        live: bool | None = None,
        priorities: Mapping[str, int] | None = None,
        switched_off: Collection[str] = (),
    ) -> None:
        self._db = db
        self._gateways = gateways
        self._breakers = breakers
        self._live = live
        self._priorities = dict(priorities or {})
        self.switched_off = frozenset(switched_off)
        self._cache: tuple[RouteState, float] | None = None
        self._fields: tuple[object, object, dict[tuple[object, ...], Field]] = (None, None, {})

    def decide(self, tx: sa.Connection | None, request: RouteRequest) -> Decision:
        """The gateway for a payment. Call it before the attempt is written.

        Where the best candidate's breaker is half open this claims the probe (in *tx*, or in a
        transaction of its own); if another process holds it, the next candidate is taken. Whoever
        then does not send gives the probe back with :meth:`Breakers.release`.
        """
        decision = self.explain(tx, request)
        if not decision.candidates or not decision.candidates[0].probe:
            return decision
        candidates = list(decision.candidates)
        for place, each in enumerate(candidates):
            if each.dropped:
                break
            if not each.probe:
                return _settled(decision, candidates, each.account, "")
            verdict = self._breakers.decide(tx, each.account, "collect")
            if verdict.allow:
                return _settled(decision, candidates, each.account, verdict.probe)
            candidates[place] = each._replace(rank=0, dropped=(held_back(verdict),))
        return _settled(decision, candidates, None, "")

    def explain(
        self, tx: sa.Connection | None, request: RouteRequest, *, fresh: bool = False
    ) -> Decision:
        """The same without claiming anything: for ``gateways explain``.

        Payments that differ in amount, number and id alone share what was decided about the
        gateways, for as long as neither settings nor breakers are read anew: a second at most.
        """
        if fresh:
            self.forget()
            self._breakers.forget()
        state, breakers = self._state(tx), self._breakers.states(tx)
        known = self._fields
        if known[0] is not state or known[1] is not breakers:
            known = self._fields = (state, breakers, {})
        matching = [n for n, rule in enumerate(state.rules) if rule.matches(request)]
        kind = (
            request.currency, request.country, request.method, request.preferred, request.exclude,
            request.needs, *matching,
        )  # fmt: skip
        field = known[2].get(kind)
        if field is None:
            field = known[2][kind] = Field(
                request,
                [self._candidate(tx, each, request, state) for each in self._gateways.values()],
                [state.rules[n] for n in matching],
                live=self._live,
                rules_version=state.rules_version,
            )
        return field.rank(request)

    def priority(self, account: str) -> int:
        """The configured priority of an account; 1 comes before 2."""
        return self._priorities.get(account, DEFAULT_PRIORITY)

    def forget(self) -> None:
        """Read settings and rules anew at the next question."""
        self._cache = None

    def _candidate(
        self, tx: sa.Connection | None, gateway: Gateway, request: RouteRequest, state: RouteState
    ) -> Candidate:
        account = gateway.account
        return Candidate(
            account=account,
            name=gateway.name,
            live=gateway.live,
            capabilities=gateway.capabilities,
            setting=state.setting(account, request.at),
            limit=state.limit(account, request.currency),
            fee=state.fee(account, request.currency, request.method),
            success=state.success.get(account),
            verdict=self._breakers.peek(tx, account, "collect"),
            priority=self.priority(account),
            switched_off=account in self.switched_off,
        )

    def _state(self, tx: sa.Connection | None) -> RouteState:
        at = self._db.clock.monotonic()
        if self._cache is not None and at - self._cache[1] < CACHE_S:
            return self._cache[0]
        if tx is not None:
            state = load(self._db, tx)
        else:
            with self._db.read() as reading:
                state = load(self._db, reading)
        self._cache = (state, at)
        return state


def read_order(
    sections: Mapping[str, Mapping[str, Any]],
) -> tuple[dict[str, int], frozenset[str]]:
    """Priorities and switched-off accounts from the accounts' sections of the configuration.

    Raises:
        NotConfigured: ``gateway.bad_setting`` for a value of the wrong kind.
    """
    priorities: dict[str, int] = {}
    off: set[str] = set()
    for account, settings in sections.items():
        priority = settings.get("priority", DEFAULT_PRIORITY)
        enabled = settings.get("enabled", True)
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise _bad(account, "priority", "INTEGER")
        if not isinstance(enabled, bool):
            raise _bad(account, "enabled", "true | false")
        priorities[account] = priority
        if not enabled:
            off.add(account)
    return priorities, frozenset(off)


def _bad(account: str, field: str, wanted: str) -> NotConfigured:
    return NotConfigured("gateway.bad_setting", field=field, account=account, wanted=wanted)


def _settled(
    decision: Decision, candidates: Sequence[Ranked], chosen: str | None, probe: str
) -> Decision:
    able = [each for each in candidates if not each.dropped]
    places = [each._replace(rank=place) for place, each in enumerate(able, 1)]
    lost = sorted((each for each in candidates if each.dropped), key=lambda each: each.account)
    return replace(decision, chosen=chosen, probe=probe, candidates=(*places, *lost))
