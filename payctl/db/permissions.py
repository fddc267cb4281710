"""Which role may do what: one table, and the one function that asks it."""

from __future__ import annotations

from collections.abc import Iterable

from payctl.db.actor import Actor
from payctl.db.tables import ROLES
from payctl.errors import Forbidden, InvalidInput

#: The role of the service that sells the tickets; it may hold no other.
CORE = "core"
#: What the first user of an embedded book may do: everything but approve their own requests.
LOCAL_ROLES = frozenset({"viewer", "support", "finance", "admin"})
#: Who makes the first operator of a book on PostgreSQL: whoever holds its database password.
SETUP_ROLE = "setup"

_ALL = frozenset({"viewer", "support", "finance", "approver", "admin", CORE})
_DESK = frozenset({"support", "finance"})
_OFFICE = frozenset({"finance"})
_RULES = frozenset({"admin"})

#: Every act and the roles that may do it. A role ``job.…`` belongs to one job.
PERMISSIONS: dict[str, frozenset[str]] = {
    "read": _ALL | {SETUP_ROLE},
    "payment.process": _DESK | {CORE, "admin"},
    "payment.capture": _DESK | {CORE},
    "payment.cancel": _DESK | {CORE},
    "payment.sync": _DESK | {CORE, "admin", "job.sync"},
    "payment.import": _OFFICE | {"admin"},
    "payment.export": _OFFICE | {"admin"},
    "refund.create": _DESK | {CORE},
    "refund.send": _DESK | {CORE, "job.sync"},
    "dispute.handle": _DESK,
    "case.work": _DESK | {"admin"},
    "case.resolve": _DESK,
    "gateway.control": _DESK | {"admin"},
    "gateway.manage": _RULES,
    "routing.manage": _RULES,
    "float.topup": _OFFICE,
    "float.alarm": _OFFICE | {"admin"},
    "float.watch": _DESK | {"admin", "job.float"},
    "ledger.post": _OFFICE,
    "ledger.reverse": _OFFICE,
    "ledger.months": _RULES | {"job.months"},
    "ledger.seal": _OFFICE | {"admin", "job.seal"},
    "ledger.export": _OFFICE | {"approver", "admin"},
    "ledger.check": _ALL | {"job.check"},
    "period.close": _OFFICE,
    "wallet.hold": _DESK,
    "wallet.adjust": _OFFICE,
    "hold.expire": _OFFICE | {"job.expire"},
    "withdrawal.request": _OFFICE | {CORE},
    "withdrawal.send": _OFFICE | {"job.payout"},
    "commission.set": _RULES | {"finance"},
    "party.manage": _DESK | {CORE, "admin"},
    "invoice.issue": _OFFICE | {CORE, "job.invoice"},
    "reconcile.run": _OFFICE | {"job.reconcile"},
    "reconcile.resolve": _OFFICE,
    "settle.run": _OFFICE | {"job.settle"},
    "archive.run": _RULES | {"job.archive"},
    "approval.request": _DESK | {"admin", CORE, "job.sync", "job.settle"},
    "approval.decide": frozenset({"approver"}),
    "approval.withdraw": _DESK | {"admin", CORE},
    "approval.expire": _RULES | {"job.expire"},
    "threshold.request": _RULES | {"finance"},
    "operator.manage": _RULES | {SETUP_ROLE},
    "audit.read": _OFFICE | {"approver", "admin"},
    "personal_data.reveal": _DESK,
    "webhook.receive": _RULES | {"job.webhooks", CORE},
    "webhook.apply": _DESK | {"admin", "job.webhooks"},
    "webhook.replay": _DESK | {"admin"},
    "outbox.relay": _DESK | {"admin", "job.outbox"},
    "alert.run": frozenset({"job.alert"}),
    "outbox.replay": _DESK | {"admin"},
    "job.run": _DESK | {"admin"},
    "job.unlock": _RULES,
    "database.manage": _RULES | {SETUP_ROLE},
}


def require(actor: Actor, permission: str) -> None:
    """Let pass whoever holds a role with *permission*.

    Raises:
        Forbidden: ``operator.not_allowed``; the door that catches it puts it into the audit trail.
    """
    allowed = PERMISSIONS[permission]
    if not actor.roles & allowed:
        raise Forbidden(
            "operator.not_allowed",
            actor=actor.name,
            permission=permission,
            roles=", ".join(sorted(role for role in allowed if "." not in role)),
        )


def check_roles(roles: Iterable[str]) -> tuple[str, ...]:
    """The roles in order, when they are known and go together.

    Raises:
        InvalidInput: ``operator.unknown_role``, ``operator.no_role``,
            ``operator.admin_cannot_approve``, ``operator.core_alone``.
    """
    wanted = sorted(set(roles))
    for role in wanted:
        if role not in (*ROLES, CORE):
            known = ", ".join((*ROLES, CORE))
            raise InvalidInput("operator.unknown_role", field="roles", role=role, known=known)
    if not wanted:
        raise InvalidInput("operator.no_role", field="roles")
    if {"admin", "approver"} <= set(wanted):
        raise InvalidInput("operator.admin_cannot_approve", field="roles")
    if CORE in wanted and len(wanted) > 1:
        raise InvalidInput("operator.core_alone", field="roles")
    return tuple(wanted)
