"""What an event would change if it were applied now: asked for real, written nowhere."""

from __future__ import annotations

from dataclasses import dataclass

from payctl.db.actor import Actor
from payctl.db.engine import Database
from payctl.db.permissions import require
from payctl.gateways.base import Event, Outcome
from payctl.ledger.model import Posted
from payctl.payments import questions, store
from payctl.payments.dispatch import Dispatch
from payctl.payments.outcomes import Outcomes
from payctl.payments.records import Payment
from payctl.payments.subjects import OPERATION_OF, attempt_of, target_of


@dataclass(frozen=True, slots=True)
class Preview:
    """What one event would do.

    Attributes:
        outcome: as :meth:`Sync.apply_event` names it, or ``not_shown`` for what a preview cannot
            tell without writing (disputes).
        answered: what the provider says of the object now.
        before, after: the payment as it is and as it would be; ``None`` where none is concerned.
        journals: what would be posted.
    """

    outcome: str
    answered: str | None = None
    before: Payment | None = None
    after: Payment | None = None
    journals: tuple[Posted, ...] = ()


class Previews:
    """Runs the real code in a transaction that is always rolled back."""

    def __init__(self, db: Database, dispatch: Dispatch, outcomes: Outcomes) -> None:
        self._db = db
        self._dispatch = dispatch
        self._outcomes = outcomes

    def event(
        self, actor: Actor, account: str, event: Event, token_hash: bytes | None = None
    ) -> Preview:
        """Ask the provider about the event's object and see what its answer would change.

        The question is a real one; nothing is written, and money that the answer would only allow
        to be taken is not taken.
        """
        require(actor, "webhook.replay")
        if event.object_kind == "dispute":
            return Preview("not_shown")
        if event.object_kind not in OPERATION_OF:
            return Preview("nothing_new")
        with self._db.read() as tx:
            attempt = attempt_of(tx, account, event, token_hash)
            if attempt is None:
                return Preview("orphan")
            target = target_of(tx, attempt)
        known = self._dispatch.configured(account)
        gateway = self._dispatch.gateway(account) if known else None
        call, answer = questions.ask(gateway, attempt, target)
        said = str(answer.outcome)
        if answer.outcome in (Outcome.NOT_SENT, Outcome.UNKNOWN, Outcome.REJECTED):
            return Preview("unreachable", said)
        with self._db.rehearsal() as tx:
            before = store.payment(tx, attempt.payment_id)
            done = self._outcomes.apply(
                tx, attempt.id, answer, source="webhook", call=call, actor=actor
            )
        outcome = "applied" if done.changed else "nothing_new"
        return Preview(outcome, said, before, done.payment, done.journals)
