"""Operators: named people (and the core service) with roles, and what each role may do.

An operator proves who they are with a personal token, of which only a hash is stored. A fresh
embedded book needs no set-up: its first user becomes the local operator, with every role but that
of the second pair of eyes. Jobs are not operators; each has an identity of its own with the one
right it needs.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from payctl import log
from payctl.db.actor import Actor
from payctl.db.audit import record
from payctl.db.engine import Database
from payctl.db.permissions import (
    CORE,
    LOCAL_ROLES,
    PERMISSIONS,
    SETUP_ROLE,
    check_roles,
    require,
)
from payctl.db.tables import operator, operator_token
from payctl.errors import Conflict, Forbidden, InvalidInput, NotConfigured, NotFound

__all__ = ["PERMISSIONS", "Operator", "Operators", "check_roles", "job_actor", "require"]

TOKEN_PREFIX = "pct_"  # noqa: S105 - what a token starts with, so that scanners recognise one


@dataclass(frozen=True, slots=True)
class Operator:
    """A person as stored."""

    id: UUID
    name: str
    roles: tuple[str, ...]
    state: str
    created_at: datetime
    created_by: str
    tokens: int


def user_name() -> str:
    """The operating system's name for whoever runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def job_actor(job: str, role: str, *, host: str = "", session: str = "") -> Actor:
    """The identity a job acts under: its own name and the one role it needs."""
    return Actor(f"job:{job}", frozenset({role}), "job", host=host, session=session)


class Operators:
    """Operators and their tokens."""

    def __init__(self, db: Database) -> None:
        self._db = db

    # -- who is it ------------------------------------------------------------------------------

    def current(self, *, token: str | None, command: str = "") -> Actor:
        """Who runs this process: :meth:`identify` with what the operating system says."""
        return self.identify(
            token=token,
            local=user_name() if self._db.is_sqlite else None,
            host=socket.gethostname(),
            session=f"{user_name()} pid {os.getpid()} run {log.correlation()}",
            command=command,
        )

    def identify(
        self,
        *,
        token: str | None,
        local: str | None,
        host: str = "",
        session: str = "",
        command: str = "",
    ) -> Actor:
        """Who acts.

        Args:
            token: the personal token, when one is configured.
            local: name of the operating system's user when the book is embedded, else ``None``.
                Without a token, it stands for the local operator as long as that one has none.

        Raises:
            Forbidden: ``operator.bad_token``, ``operator.disabled``.
            NotConfigured: ``operator.token_missing``.
        """
        if token:
            found = self._by_token(token)
        elif local is not None:
            found = self._local(local)
        elif self._none_yet():
            return Actor(
                "setup", frozenset({SETUP_ROLE}), host=host, session=session, command=command
            )
        else:
            raise NotConfigured("operator.token_missing")
        kind = "core" if found.roles == (CORE,) else "operator"
        return Actor(found.name, frozenset(found.roles), kind, found.id, host, session, command)

    def _by_token(self, token: str) -> Operator:
        with self._db.read() as tx:
            row = tx.execute(
                sa.select(operator_token).where(operator_token.c.hash == _hash(token))
            ).one_or_none()
            if row is None or row.revoked_at is not None or _over(row.expires_at, self._db):
                raise Forbidden("operator.bad_token")
            found = _one(tx, operator.c.id == row.operator_id)
        if found is None or found.state != "active":
            raise Forbidden("operator.disabled", name=found.name if found else "")
        return found

    def _local(self, name: str) -> Operator:
        with self._db.read() as tx:
            found = _one(tx, operator.c.name == name)
            empty = found is None and _is_empty(tx)
        if empty:
            actor = Actor(name, LOCAL_ROLES)
            with self._db.transaction() as tx:
                if _is_empty(tx):
                    self._insert(tx, actor, name, tuple(sorted(LOCAL_ROLES)))
                found = _one(tx, operator.c.name == name)
        if found is None or found.tokens:
            raise NotConfigured("operator.token_missing")
        if found.state != "active":
            raise Forbidden("operator.disabled", name=name)
        return found

    def _none_yet(self) -> bool:
        with self._db.read() as tx:
            return _is_empty(tx)

    # -- the register ---------------------------------------------------------------------------

    def list(self) -> Sequence[Operator]:
        """All operators by name, disabled ones included."""
        with self._db.read() as tx:
            return _select(tx)

    def add(
        self,
        actor: Actor,
        name: str,
        roles: Iterable[str],
        *,
        with_token: bool = True,
        dry_run: bool = False,
    ) -> tuple[Operator, str | None]:
        """Make an operator; returns them and their token, which is never shown again.

        Raises:
            InvalidInput: ``operator.bad_name`` and those of :func:`check_roles`.
            Conflict: ``operator.exists``; ``operator.first_is_admin`` when a book's first operator
                would not be able to make the next.
        """
        require(actor, "operator.manage")
        if not _good_name(name):
            raise InvalidInput("operator.bad_name", field="name", name=name[:60])
        wanted = check_roles(roles)
        with self._db.writing(dry_run) as tx:
            if SETUP_ROLE in actor.roles and (not _is_empty(tx) or "admin" not in wanted):
                raise Conflict("operator.first_is_admin")
            if _one(tx, operator.c.name == name) is not None:
                raise Conflict("operator.exists", field="name", name=name)
            self._insert(tx, actor, name, wanted)
            token = self._issue(tx, actor, name) if with_token else None
            found = _get(tx, name)
        return found, token

    def set_roles(
        self,
        actor: Actor,
        name: str,
        roles: Iterable[str],
        reason: str,
        *,
        dry_run: bool = False,
    ) -> Operator:
        """Replace an operator's roles.

        Raises:
            NotFound: ``operator.not_found``.
            Conflict: ``operator.last_admin`` when no active admin would be left.
        """
        require(actor, "operator.manage")
        wanted = check_roles(roles)
        _need(reason)
        with self._db.writing(dry_run) as tx:
            found = _get(tx, name)
            tx.execute(sa.update(operator).where(operator.c.id == found.id).values(roles=wanted))
            _keep_an_admin(tx)
            change = {"before": found.roles, "after": wanted, "name": name}
            record(self._db, tx, actor, "operator.roles", "operator", found.id, change, reason)
            return _get(tx, name)

    def disable(self, actor: Actor, name: str, reason: str, *, dry_run: bool = False) -> Operator:
        """Shut an operator out; their name stays taken, their past stays theirs.

        Raises:
            NotFound: ``operator.not_found``.
            Conflict: ``operator.last_admin``.
        """
        require(actor, "operator.manage")
        _need(reason)
        now = self._db.clock.now()
        with self._db.writing(dry_run) as tx:
            found = _get(tx, name)
            if found.state == "active":
                tx.execute(
                    sa.update(operator)
                    .where(operator.c.id == found.id)
                    .values(state="disabled", disabled_at=now)
                )
                _keep_an_admin(tx)
                self._revoke(tx, found.id)
                about = {"name": name}
                record(
                    self._db, tx, actor, "operator.disabled", "operator", found.id, about, reason
                )
            return _get(tx, name)

    def new_token(
        self, actor: Actor, name: str, *, revoke_others: bool = False, dry_run: bool = False
    ) -> str:
        """Issue a token for *name*: an admin for anyone, everyone for themselves.

        The older ones stay valid, so that a change needs no pause, unless *revoke_others*.

        Raises:
            NotFound: ``operator.not_found``. Forbidden: ``operator.disabled``.
        """
        if actor.name != name:
            require(actor, "operator.manage")
        with self._db.writing(dry_run) as tx:
            found = _get(tx, name)
            if found.state != "active":
                raise Forbidden("operator.disabled", name=name)
            if revoke_others:
                self._revoke(tx, found.id)
            return self._issue(tx, actor, name)

    # -- rows -----------------------------------------------------------------------------------

    def _insert(self, tx: sa.Connection, actor: Actor, name: str, roles: tuple[str, ...]) -> None:
        new = self._db.ids.new()
        tx.execute(
            sa.insert(operator).values(
                id=new, name=name, roles=list(roles), state="active",
                created_at=self._db.clock.now(), created_by=actor.name,
            )
        )  # fmt: skip
        about = {"name": name, "roles": roles}
        record(self._db, tx, actor, "operator.added", "operator", new, about)

    def _issue(self, tx: sa.Connection, actor: Actor, name: str) -> str:
        token = TOKEN_PREFIX + self._db.ids.token(32)
        found = _get(tx, name)
        tx.execute(
            sa.insert(operator_token).values(
                id=self._db.ids.new(), operator_id=found.id, hash=_hash(token),
                created_at=self._db.clock.now(), created_by=actor.name,
            )
        )  # fmt: skip
        record(self._db, tx, actor, "operator.token_issued", "operator", found.id, {"name": name})
        return token

    def _revoke(self, tx: sa.Connection, operator_id: UUID) -> None:
        tx.execute(
            sa.update(operator_token)
            .where(
                operator_token.c.operator_id == operator_id, operator_token.c.revoked_at.is_(None)
            )
            .values(revoked_at=self._db.clock.now())
        )


def _select(tx: sa.Connection, *where: sa.ColumnElement[bool]) -> Sequence[Operator]:
    live = (
        sa.select(sa.func.count())
        .where(operator_token.c.operator_id == operator.c.id, operator_token.c.revoked_at.is_(None))
        .scalar_subquery()
    )
    rows = tx.execute(
        sa.select(operator, live.label("tokens")).where(*where).order_by(operator.c.name)
    )
    return [
        Operator(row.id, row.name, tuple(row.roles), row.state, row.created_at, row.created_by,
                 row.tokens)
        for row in rows
    ]  # fmt: skip


def _one(tx: sa.Connection, where: sa.ColumnElement[bool]) -> Operator | None:
    found = _select(tx, where)
    return found[0] if found else None


def _get(tx: sa.Connection, name: str) -> Operator:
    found = _one(tx, operator.c.name == name)
    if found is None:
        raise NotFound("operator.not_found", field="name", name=name[:60])
    return found


def _is_empty(tx: sa.Connection) -> bool:
    return tx.execute(sa.select(operator.c.id).limit(1)).first() is None


def _keep_an_admin(tx: sa.Connection) -> None:
    if not any("admin" in each.roles and each.state == "active" for each in _select(tx)):
        raise Conflict("operator.last_admin")


def _need(reason: str) -> None:
    if not reason.strip():
        raise InvalidInput("reason.missing", field="reason")


def _good_name(name: str) -> bool:
    return 1 <= len(name) <= 60 and all(c.isalnum() or c in "._-@" for c in name)


def _over(expires_at: datetime | None, db: Database) -> bool:
    return expires_at is not None and expires_at <= db.clock.now()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
