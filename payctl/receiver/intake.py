"""One webhook's way in: read, verify, store, answer.

Nothing here asks a provider or decides about money: what is stored is applied later by asking the
provider about the object that the event names.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.responses import Response

from payctl import log
from payctl.clock import Clock
from payctl.errors import Forbidden, InvalidInput, NotConfigured, PayctlError
from payctl.receiver.addresses import throttle_key
from payctl.receiver.answers import Json, refusal
from payctl.receiver.limits import RateLimit
from payctl.receiver.options import Door, Options
from payctl.receiver.request import Asked, TooLarge, Unfinished, read_body
from payctl.receiver.writer import Busy, Writer
from payctl.webhooks.model import MAX_BODY_BYTES
from payctl.webhooks.online import VerifiesOnline
from payctl.webhooks.reception import Incoming, Reception

#: A body that has not come by then does not come, and a commit that takes longer is one that the
#: provider should not wait for.
ANSWER_S = 12.0
#: Signatures that need a certificate may need the network for it: so many at once, off the loop.
_SLOW_CHECKS = 4
METHODS = ("POST", "PUT")


@dataclass
class Counts:
    """What came in since the start, by account and outcome, for the metrics."""

    by_outcome: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, account: str, outcome: str) -> None:
        self.by_outcome[account, outcome] += 1


class Intake:
    """Takes webhooks.

    Args:
        knows_token: whether a token (its hash) was given to an attempt of an account; asks the
            database, so it is only called for an address that is over its limit.
        clock: of the rate limit's windows.
    """

    def __init__(
        self,
        reception: Reception,
        writer: Writer,
        options: Options,
        knows_token: Callable[[str, bytes], bool],
        clock: Clock,
    ) -> None:
        self._reception = reception
        self._writer = writer
        self._doors = options.doors
        self._knows_token = knows_token
        self._clock = clock
        self._limit = RateLimit(options.rate_limit, options.rate_window_s)
        self._slow = CapacityLimiter(_SLOW_CHECKS)
        self._slow_ones = {
            door.account
            for door in options.doors.all
            if isinstance(reception.gateway(door.account), VerifiesOnline)
        }
        self.counts = Counts()

    async def __call__(self, asked: Asked, receive: Callable[[], Awaitable[Any]]) -> Response:
        """The answer to a request below ``/webhooks``."""
        found = self._doors.find(asked.path.split("/")[2:])
        if found is None:
            return self._refuse(asked, "-", "request.not_found")
        door, token = found
        # A wrong token is no other than a wrong address: nobody learns that the account exists.
        if not door.opens(token):
            return self._refuse(asked, door.account, "request.not_found")
        if door.addresses and not door.allows(asked.client):
            return self._refuse(asked, door.account, "request.forbidden")
        if asked.method not in METHODS:
            return self._refuse(asked, door.account, "request.method")
        body = None
        try:
            # One alarm for both: setting one costs as much as reading a small body.
            async with asyncio.timeout(ANSWER_S):
                body = await read_body(asked, receive, MAX_BODY_BYTES)
                return await self._take(asked, door, body)
        except TooLarge:
            return self._refuse(asked, door.account, "webhook.too_large")
        except Unfinished:
            return self._refuse(asked, door.account, "request.unfinished")
        except TimeoutError:
            if body is None:
                return self._refuse(asked, door.account, "request.unfinished")
            return self._answer(asked, door.account, "service.unavailable")

    async def _take(self, asked: Asked, door: Door, body: bytes) -> Response:
        trusted = bool(door.tokens or door.addresses)
        headers = {**asked.headers, "x-request-id": asked.request_id}
        try:
            incoming = await self._checked(door, body, headers, trusted)
        except (Forbidden, InvalidInput) as refused:
            return self._refuse(asked, door.account, refused.code, trusted=trusted)
        except NotConfigured as missing:
            log.error("webhook.not_configured", account=door.account, code=missing.code)
            return self._answer(asked, door.account, "service.not_configured")
        if not trusted and incoming.proof != "signature":
            wait_s = await self._over_limit(asked, incoming)
            if wait_s is not None:
                return self._answer(asked, door.account, "request.too_many", wait_s)
        return await self._stored(asked, door, incoming)

    async def _checked(
        self, door: Door, body: bytes, headers: dict[str, str], trusted: bool
    ) -> Incoming:
        check = self._reception.check
        if door.account in self._slow_ones:
            return await to_thread.run_sync(
                lambda: check(door.account, body, headers, trusted=trusted), limiter=self._slow
            )
        return check(door.account, body, headers, trusted=trusted)

    async def _over_limit(self, asked: Asked, incoming: Incoming) -> float | None:
        wait_s = self._limit.take(throttle_key(asked.client), self._clock.monotonic())
        hashed = incoming.token_hash
        if wait_s is None or hashed is None:
            return wait_s
        known = self._knows_token
        account = incoming.key[0]
        try:
            proven = await to_thread.run_sync(lambda: known(account, hashed), limiter=self._slow)
        except PayctlError:
            return wait_s
        return None if proven else wait_s

    async def _stored(self, asked: Asked, door: Door, incoming: Incoming) -> Response:
        try:
            new = await self._writer.put(incoming)
        except Busy:
            return self._answer(asked, door.account, "service.busy")
        except PayctlError:
            return self._answer(asked, door.account, "service.unavailable")
        self.counts.add(door.account, "stored" if new else "repeated")
        return Json({"received": True, "request_id": asked.request_id})

    def _refuse(self, asked: Asked, account: str, code: str, *, trusted: bool = False) -> Response:
        """No to what nothing proves; to one address only so often, then it is asked to wait."""
        wait_s = None
        if not trusted:
            wait_s = self._limit.take(throttle_key(asked.client), self._clock.monotonic())
        if wait_s is not None:
            return self._answer(asked, account, "request.too_many", wait_s)
        log.warning(
            "webhook.refused", request=asked.request_id, account=account, code=code,
            client=str(asked.client),
        )  # fmt: skip
        return self._answer(asked, account, code)

    def _answer(
        self, asked: Asked, account: str, code: str, retry_after_s: float | None = None
    ) -> Response:
        self.counts.add(account, code)
        return refusal(code, asked.request_id, retry_after_s=retry_after_s)
