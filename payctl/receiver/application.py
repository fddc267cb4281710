"""The ASGI application: webhooks on one side, a few pages on the other.

Written as one plain callable, because every layer costs each webhook time and there are two kinds
of address only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from payctl import log
from payctl.errors import NotConfigured, PayctlError
from payctl.receiver.answers import SECURITY_HEADERS, refusal
from payctl.receiver.intake import Intake
from payctl.receiver.options import Options, from_config
from payctl.receiver.pages import Page, Pages, inner, ready
from payctl.receiver.request import Asked
from payctl.receiver.writer import Writer

if TYPE_CHECKING:
    from payctl.app import App

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Any, Receive, Send], Awaitable[None]]


class Receiver:
    """The application of one profile.

    Args:
        app: the services.
        options: default: what the profile says.
        pages: more pages for insiders, by path.
        writer: default: one that stores through ``app.reception``.
    """

    def __init__(
        self,
        app: App,
        options: Options | None = None,
        *,
        pages: Mapping[str, Page] | None = None,
        writer: Writer | None = None,
    ) -> None:
        self._app = app
        self.options = options or from_config(app.config, app.gateways)
        self.writer = writer or Writer(partial(app.reception.store, keep=True), app.db.leave)
        self.intake = Intake(
            app.reception, self.writer, self.options, app.queries.knows_token, app.db.clock
        )
        own = inner(app, self.intake.counts.by_outcome)
        self.pages = Pages(self.options, lambda: ready(app), {**own, **(pages or {})})
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
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # Every request has been answered by now, so nothing is left but what nobody waits for.
        self.pages.stopping = True
        self.writer.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _guarded(self, scope: Any, receive: Receive, send: Send) -> None:
        """Every answer has the same headers; none shows what went wrong inside."""
        asked = Asked(scope, self.options.proxies)
        scope["payctl"] = asked
        extra = [*SECURITY_HEADERS, (b"x-request-id", asked.request_id.encode())]
        begun = False

        async def dressed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        try:
            if asked.path.startswith("/webhooks/"):
                response = await self.intake(asked, receive)
                await response(scope, receive, dressed)
            else:
                await self._asgi(scope, receive, dressed)
        except Exception as error:
            log.exception(error, "receiver.failed", request=asked.request_id)
            if not begun:
                await refusal("request.failed", asked.request_id)(scope, receive, dressed)

    async def _respond(self, scope: Any, receive: Receive, send: Send) -> None:
        response = await self.pages(scope["payctl"])
        await response(scope, receive, send)
