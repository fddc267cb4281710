"""The pages beside the webhooks: is it alive, is it ready, and what only insiders may see.

The inner pages (:func:`inner`) are shown to the loopback address and to who brings the token of the
profile; a request that a proxy has passed on is never taken for one from this machine.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread
from starlette.responses import Response

from payctl import __version__, log
from payctl.errors import PayctlError
from payctl.receiver.answers import Json, refusal
from payctl.receiver.openapi import document
from payctl.receiver.options import Options
from payctl.receiver.request import Asked

if TYPE_CHECKING:
    from payctl.app import App

#: What an inner page returns: something that becomes JSON, or a text and its media type. It may
#: ask the database or a provider; it runs in a thread.
Page = Callable[[], Any]

_PAGE_S = 20.0
_READY_S = 2.0


class Pages:
    """Answers everything but webhooks.

    Args:
        ready: whether the database takes what comes; ``None`` when it does, else a word.
        inner: the pages for insiders, by path.
    """

    def __init__(
        self, options: Options, ready: Callable[[], str | None], inner: Mapping[str, Page]
    ) -> None:
        self._token = options.token.encode() if options.token else None
        self._ready = ready
        self._inner = dict(inner)
        self.stopping = False

    async def __call__(self, asked: Asked) -> Response:
        path = asked.path
        if path not in _OUTER and path not in self._inner:
            return refusal("request.not_found", asked.request_id)
        if asked.method not in ("GET", "HEAD"):
            return refusal("request.method", asked.request_id)
        if path == "/openapi.json":
            return Json(document())
        if path in ("/health/ready", "/health"):
            return await self._health(path)
        if path == "/health/live":
            return Json({"status": "ok"})
        if not self._inside(asked):
            return refusal("request.token", asked.request_id)
        return await self._shown(path, asked)

    def route(self, path: str) -> str:
        """*path* where there is a page, else one word for all others."""
        return path if path in _OUTER or path in self._inner else "other"

    async def _health(self, path: str) -> Response:
        why = "stopping" if self.stopping else None
        if why is None:
            with anyio.move_on_after(_READY_S) as scope:
                why = await to_thread.run_sync(self._ready, abandon_on_cancel=True)
            why = "slow" if scope.cancelled_caught else why
        told = {"status": "ok" if why is None else "unavailable", "database": why or "ok"}
        if path == "/health":
            told["version"] = __version__
        return Json(told, 200 if why is None else 503)

    async def _shown(self, path: str, asked: Asked) -> Response:
        page = self._inner[path]
        try:
            with anyio.fail_after(_PAGE_S):
                shown = await to_thread.run_sync(page, abandon_on_cancel=True)
        except (PayctlError, TimeoutError):
            return refusal("service.unavailable", asked.request_id)
        if isinstance(shown, tuple):
            text, media_type = shown
            return Response(text, media_type=media_type)
        return Json(shown)

    def _inside(self, asked: Asked) -> bool:
        if self._token is not None:
            scheme, _, given = asked.headers.get("authorization", "").partition(" ")
            right = hmac.compare_digest(given.strip().encode("latin-1", "replace"), self._token)
            if scheme.lower() == "bearer" and right:
                return True
        client = asked.client
        return client is not None and client.is_loopback and not asked.forwarded


_OUTER = frozenset({"/openapi.json", "/health", "/health/live", "/health/ready"})


def ready(app: App) -> str | None:
    """Why webhooks could not be stored now; ``None`` when they could."""
    try:
        # The table itself: a book that another version upgraded may still take webhooks.
        app.inbox.due(1)
    except PayctlError as error:
        return error.code.rpartition(".")[2]
    except Exception as error:
        log.exception(error, "receiver.not_ready")
        return "failed"
    return None


def inner(app: App, counts: Mapping[tuple[str, str], int]) -> dict[str, Page]:
    """The pages for insiders: the checks of ``payctl health``, and the metrics where they are on.

    Args:
        counts: webhooks since the start of this process, by account and outcome.
    """
    from payctl.insight.health import DATABASE, GATEWAYS

    def detailed() -> Any:
        webhooks = [
            {"gateway": account, "outcome": outcome, "count": count}
            for (account, outcome), count in sorted(counts.items())
        ]
        return {
            **app.health.detailed().as_json(), "webhooks": webhooks, "inbox": app.inbox.counts(),
        }  # fmt: skip

    def database() -> Any:
        return app.health.report(DATABASE).as_json()

    def gateways() -> Any:
        return app.health.report(GATEWAYS, network=True).as_json()

    pages: dict[str, Page] = {
        "/health/detailed": detailed, "/health/database": database, "/health/gateways": gateways,
        "/health/providers": gateways,
    }  # fmt: skip
    if app.config.get("metrics.enabled"):
        from payctl.insight.metrics import CONTENT_TYPE, render

        pages["/metrics"] = lambda: (render(app), CONTENT_TYPE)
    return pages
