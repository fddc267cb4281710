"""The ASGI application: webhooks on one side, a few pages on the other.

Written as one plain callable, because every layer costs each webhook time and there are two kinds
of address only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from payctl import log
from payctl.errors import NotConfigured, PayctlError
from payctl.receiver.answers import SECURITY_HEADERS, refusal
from payctl.receiver.intake import Intake
from payctl.receiver.options import Options, from_config
from payctl.receiver.pages import Pages, inner, ready
from payctl.receiver.request import Asked
from payctl.receiver.writer import Writer

if TYPE_CHECKING:
    from payctl.app import App

#: So often each process writes what it has counted into the book.
COUNTS_EVERY_S = 10.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Any, Receive, Send], Awaitable[None]]


class Receiver:
    """The application of one profile.

    Args:
        app: the services.
        options: default: what the profile says.
        writer: default: one that stores through ``app.reception``.
    """

    def __init__(
        self,
        app: App,
        options: Options | None = None,
        *,
        writer: Writer | None = None,
    ) -> None:
        self._app, self._clock, self._seen = app, app.db.clock, app.metrics.requests
        self.options = options or from_config(app.config, app.gateways)
        self.writer = writer or Writer(partial(app.reception.store, keep=True), app.db.leave)
        self.intake = Intake(
            app.reception, self.writer, self.options, app.queries.knows_token, app.db.clock
        )
        own = inner(app, self.intake.counts.by_outcome)
        self.pages = Pages(self.options, lambda: ready(app), own)
        self._asgi = self._wrapped()

    def warm(self) -> None:
        """Let every gateway read its secrets and load its modules now, and not when the first
        webhook waits for it. What is missing is logged; its webhooks are answered 503.
        """
        for door in self.options.doors.all:
            try:
                self._app.reception.check(door.account, b"{}", {})
            except NotConfigured as missing:
                log.error("webhook.not_configured", account=door.account, code=missing.code)
            except PayctlError:
                continue

    def _wrapped(self) -> Asgi:
        # A page may be long; a webhook's answer never is.
        wrapped: Any = GZipMiddleware(self._respond, minimum_size=1000)
        if self.options.cors_origin:
            wrapped = CORSMiddleware(
                wrapped, allow_origins=[self.options.cors_origin], allow_methods=["GET"],
                allow_headers=["authorization"],
            )  # fmt: skip
        found: Asgi = wrapped
        return found

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._guarded(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self.writer.start()
        keeping = asyncio.create_task(self._keep_counts())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # Every request has been answered by now, so nothing is left but what nobody waits for.
        self.pages.stopping = True
        keeping.cancel()
        self.writer.stop()
        await to_thread.run_sync(self._write_counts)
        await send({"type": "lifespan.shutdown.complete"})

    async def _keep_counts(self) -> None:
        """What was answered goes into the book now and then: each process counts by itself, and any
        of them may be asked for the metrics of all.
        """
        while True:
            await asyncio.sleep(COUNTS_EVERY_S)
            await to_thread.run_sync(self._write_counts)

    def _write_counts(self) -> None:
        try:
            self._seen.flush(self._app.db)
        except PayctlError as error:
            log.exception(error, "receiver.counts")

    async def _guarded(self, scope: Any, receive: Receive, send: Send) -> None:
        """Every answer has the same headers; none shows what went wrong inside."""
        asked = Asked(scope, self.options.proxies)
        scope["payctl"] = asked
        extra = [*SECURITY_HEADERS, (b"x-request-id", asked.request_id.encode())]
        status, began = 0, self._clock.monotonic()

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        is_webhook = asked.path.startswith("/webhooks/")
        with log.correlated(asked.request_id):
            try:
                if is_webhook:
                    response = await self.intake(asked, receive)
                    await response(scope, receive, dressed)
                else:
                    await self._asgi(scope, receive, dressed)
            except Exception as error:
                log.exception(error, "receiver.failed")
                if not status:
                    await refusal("request.failed", asked.request_id)(scope, receive, dressed)
        # A pattern, never the path: what anybody may ask for must not become a label.
        route = "/webhooks/{gateway}" if is_webhook else self.pages.route(asked.path)
        self._seen.observe(route, status, self._clock.monotonic() - began)

    async def _respond(self, scope: Any, receive: Receive, send: Send) -> None:
        response = await self.pages(scope["payctl"])
        await response(scope, receive, send)
