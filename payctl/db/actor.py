"""Who does something: every row that changes money or rights names an actor."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Actor:
    """A person or a job, with where and how the act was done.

    ``name`` is the operator's or job's unique name and goes into ledger and audit. ``command`` is
    the command line without secrets. ``roles`` decide what is allowed.
    """

    name: str
    roles: frozenset[str]
    kind: str = "operator"  # operator | job | core
    operator_id: UUID | None = None
    host: str = ""
    session: str = ""
    command: str = ""
