"""Many payments at once in one process, with their commits shared.

A payment's way is the one of :meth:`payctl.payments.service.Payments.process`, cut where it waits:
one thread writes down whatever has come in since its last commit, workers call the providers, and
one thread applies whatever has been answered since *its* last commit. So a commit carries one
payment when there is little to do and many when there is much, and nobody waits for company.
Whatever is not plain (a fail-over, an answer that must go the long way) is finished by a worker
alone, and what goes wrong with many at once is tried for each by itself, so that one payment is
never the misfortune of others. A repeat of a payment that is being worked on waits apart, because
it would keep a worker from the very call it waits for.

A result is handed over after its commit, so it is durable when the caller sees it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from payctl import log
from payctl.clock import Clock
from payctl.db.actor import Actor
from payctl.db.permissions import require
from payctl.errors import OutcomeOpen, Unavailable
from payctl.ids import encode
from payctl.payments.first_answer import Answered, FirstAnswers
from payctl.payments.intake import Begun, Intake
from payctl.payments.outcomes import Applied
from payctl.payments.requests import PaymentInput
from payctl.payments.results import PaymentResult
from payctl.payments.service import REPLAY_STEP_S, REPLAY_WAIT_S, Payments

#: Payments that share one commit at most: enough to share its cost out, and few enough that this
#: process decides about some while the database writes others.
GROUP = 32

T = TypeVar("T")
#: Told of each payment's end: what was submitted with it, and its result or what went wrong.
Done = Callable[[Any, "PaymentResult | Exception"], None]


@dataclass(frozen=True, slots=True)
class _Replay:
    """A repeat of a payment that was begun before, and until when its answer is waited for."""

    tag: Any
    begun: Begun
    until: float


class Pipeline:
    """Takes payments until it is closed.

    Args:
        done: called from several threads, once for each payment submitted; must not raise.
        flushed: called after a row of ``done`` that belong together, for output that is written in
            one go.
        workers: calls to providers at one time.
        in_flight: payments that may be on their way at one time; :meth:`submit` waits for room.
    """

    def __init__(
        self,
        payments: Payments,
        intake: Intake,
        first_answers: FirstAnswers,
        actor: Actor,
        clock: Clock,
        done: Done,
        *,
        flushed: Callable[[], None] = lambda: None,
        workers: int = 16,
        in_flight: int = 256,
    ) -> None:
        require(actor, "payment.process")
        self._payments = payments
        self._intake = intake
        self._first_answers = first_answers
        self._actor = actor
        self._clock = clock
        self._done = done
        self._flushed = flushed
        self._room = threading.Semaphore(in_flight)
        self._in_flight = in_flight
        self._incoming: SimpleQueue[tuple[Any, PaymentInput] | None] = SimpleQueue()
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._answers: SimpleQueue[tuple[Any, Answered] | None] = SimpleQueue()
        self._replays: SimpleQueue[_Replay | None] = SimpleQueue()
        self._workers = [self._start(self._run_worker, f"call-{n}") for n in range(workers)]
        self._begins = self._start(self._run_begin, "begin")
        self._applies = self._start(self._run_apply, "apply")
        self._waits = self._start(self._run_wait, "wait")

    def submit(self, tag: Any, wanted: PaymentInput) -> None:
        """Take *wanted*, which is valid; waits while too many are on their way.

        Args:
            tag: handed to ``done`` with the result.
        """
        self._room.acquire()
        self._incoming.put((tag, wanted))

    def close(self) -> None:
        """Finish everything that was submitted, then end."""
        for _ in range(self._in_flight):
            self._room.acquire()
        self._incoming.put(None)
        self._answers.put(None)
        self._replays.put(None)
        for _ in self._workers:
            self._work.put(None)
        for thread in (self._begins, self._applies, self._waits, *self._workers):
            thread.join()

    # -- threads ----------------------------------------------------------------------------------

    def _run_begin(self) -> None:
        while (group := _group(self._incoming)) is not None:
            begun = self._begin([wanted for _, wanted in group])
            for (tag, _), each in zip(group, begun, strict=True):
                self._begun(tag, each)
            self._flushed()

    def _begin(self, wanted: Sequence[PaymentInput]) -> Sequence[Begun | Exception]:
        try:
            return self._intake.begin(self._actor, wanted)
        except Exception as error:
            # A database that is away is away for all; anything else may be the matter of one.
            if isinstance(error, Unavailable) or len(wanted) == 1:
                return [error] * len(wanted)
            return [begun for each in wanted for begun in self._begin([each])]

    def _begun(self, tag: Any, begun: Begun | Exception) -> None:
        if isinstance(begun, Exception):
            self._end(tag, begun)
        elif begun.attempt is not None:
            self._work.put(lambda: self._ask(tag, begun))
        elif begun.replayed:
            until = self._clock.monotonic() + REPLAY_WAIT_S
            self._work.put(lambda: self._look(_Replay(tag, begun, until)))
        else:
            self._work.put(lambda: self._finish(tag, lambda: self._payments.unsent(begun)))

    def _ask(self, tag: Any, begun: Begun) -> None:
        try:
            answered = self._payments.ask(begun)
        except Exception as error:
            self._end(tag, error)
            self._flushed()
        else:
            self._answers.put((tag, answered))

    def _run_apply(self) -> None:
        while (group := _group(self._answers)) is not None:
            answered = [each for _, each in group]
            applied: Sequence[Applied | OutcomeOpen | None]
            try:
                applied = self._first_answers.apply(self._actor, answered)
            except Unavailable as error:
                applied = [_lost(each, error) for each in answered]
            except Exception as error:
                # The long way, each by itself, shows whose matter it is.
                log.exception(error, "pipeline.apply", payments=len(group))
                applied = [None] * len(group)
            for (tag, each), result in zip(group, applied, strict=True):
                self._applied(tag, each, result)
            self._flushed()

    def _applied(self, tag: Any, answered: Answered, result: Applied | OutcomeOpen | None) -> None:
        if isinstance(result, OutcomeOpen):
            self._end(tag, result)
            return

        def finish() -> PaymentResult:
            return self._payments.carry_on(self._actor, answered, result)

        if result is not None:
            self._end(tag, finish())
        else:
            self._work.put(lambda: self._finish(tag, finish))

    def _run_wait(self) -> None:
        waiting: list[_Replay] = []
        while (new := _group(self._replays, REPLAY_STEP_S if waiting else None)) is not None:
            waiting = [each for each in (*waiting, *new) if not self._looked(each)]
            self._flushed()

    def _look(self, replay: _Replay) -> None:
        if self._looked(replay):
            self._flushed()
        else:
            self._replays.put(replay)

    def _looked(self, replay: _Replay) -> bool:
        """Whether the repeat has its answer: that of the first submission, or how far it has come
        when it was waited for long enough.
        """
        try:
            result, busy = self._payments.replayed(replay.begun.payment.id)
        except Exception as error:
            self._end(replay.tag, error)
            return True
        if busy and self._clock.monotonic() < replay.until:
            return False
        self._end(replay.tag, result)
        return True

    def _run_worker(self) -> None:
        while (job := self._work.get()) is not None:
            job()

    def _finish(self, tag: Any, work: Callable[[], PaymentResult]) -> None:
        result: PaymentResult | Exception
        try:
            result = work()
        except Exception as error:
            result = error
        self._end(tag, result)
        self._flushed()

    def _end(self, tag: Any, result: PaymentResult | Exception) -> None:
        try:
            self._done(tag, result)
        finally:
            self._room.release()

    @staticmethod
    def _start(run: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=run, name=f"payctl-{name}", daemon=True)
        thread.start()
        return thread


def _group(queue: SimpleQueue[T | None], longest_s: float | None = None) -> list[T] | None:
    """All that waits in *queue*, at most a commit's worth; waits for the first one, or for
    *longest_s*. ``None`` at the end of the queue.
    """
    group: list[T] = []
    while len(group) < GROUP:
        try:
            each = queue.get(block=not group, timeout=longest_s)
        except Empty:
            break
        if each is not None:
            group.append(each)
        elif group:
            queue.put(None)
            break
        else:
            return None
    return group


def _lost(answered: Answered, error: Unavailable) -> OutcomeOpen:
    payment = encode("payment", answered.payment.id)
    return OutcomeOpen("database.lost_after_send", id=payment, cause=error.code)
