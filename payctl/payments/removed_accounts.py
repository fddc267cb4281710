"""Accounts that still have open work and are no longer in the configuration.

What is open there can be neither asked about nor sent, and the work of the other accounts must not
wait for it. So it waits alone, and one case for each account says so until it is back.
"""

from __future__ import annotations

import sqlalchemy as sa

from payctl.cases.service import Cases
from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.payments.dispatch import Dispatch

KIND = "gateway_removed"


class RemovedAccounts:
    """Knows which accounts are gone, and tells a person."""

    def __init__(self, db: Database, dispatch: Dispatch, cases: Cases) -> None:
        self._db = db
        self._dispatch = dispatch
        self._cases = cases

    def meets(self, actor: Actor, account: str) -> bool:
        """Whether *account* is gone; if it is, a case is open from now on."""
        if self._dispatch.configured(account):
            return False

        def tell(tx: sa.Connection) -> None:
            self._cases.open(
                tx,
                kind=KIND,
                subject_kind="gateway",
                subject_id=None,
                gateway=account,
                detail={"code": "gateway.not_configured"},
                dedupe_key=_key(account),
                actor=actor,
            )

        self._db.run(tell)
        return True

    def close_cases(self, actor: Actor) -> None:
        """Close the cases of accounts that are configured again."""
        for case in self._cases.list(kind=KIND):
            account = case.gateway or ""
            if self._dispatch.configured(account):
                self._db.run(lambda tx, account=account: self._close(tx, actor, account))  # type: ignore[misc]

    def _close(self, tx: sa.Connection, actor: Actor, account: str) -> None:
        self._cases.close(tx, _key(account), resolution="configured", evidence=account, actor=actor)


def _key(account: str) -> str:
    return f"{KIND}:{account}"
