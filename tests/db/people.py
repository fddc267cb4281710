"""Actors the tests of this folder share."""

from __future__ import annotations

from payctl.db.actor import Actor

ADMIN = Actor("ada", frozenset({"admin"}))
SUPPORT = Actor("sam", frozenset({"support"}))
FINANCE = Actor("fatou", frozenset({"finance"}))
APPROVER = Actor("kofi", frozenset({"approver"}))
OTHER_APPROVER = Actor("ama", frozenset({"approver", "support"}))
VIEWER = Actor("vic", frozenset({"viewer"}))
EXPIRER = Actor("job:approvals_expire", frozenset({"job.expire"}), "job")
