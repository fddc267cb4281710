"""JSON over HTTP with an access token: what the adapters of most providers share.

One :meth:`Rest.call` is one logical exchange. Only a refused token is answered by a second one,
with a fresh token: such a request had no effect, so that is the one repetition that cannot do
anything twice. Most providers refuse with a 401; some say it in the body of a 200.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from payctl.clock import Clock
from payctl.gateways.http import Http, Reply
from payctl.gateways.tokens import Tokens

#: Some providers' walls refuse the names of HTTP libraries (Cloudflare 1010 at CinetPay).
USER_AGENT = "payctl"


def unauthorised(reply: Reply) -> bool:
    """Whether *reply* refuses the token, as HTTP says it."""
    return reply.status == 401


class Rest:
    """Calls of one provider.

    Args:
        base_url: without a trailing slash; *path* of each call is put behind it.
        tokens: gives the token; ``None`` where the provider wants none.
        refused: whether a reply says that the token was not accepted and nothing was done.
        query_parameter: the query parameter that carries the token, for a provider that wants it
            there instead of in the ``Authorization`` header.
    """

    def __init__(
        self,
        http: Http,
        base_url: str,
        clock: Clock,
        tokens: Tokens | None = None,
        *,
        refused: Callable[[Reply], bool] = unauthorised,
        query_parameter: str | None = None,
    ) -> None:
        self._http = http
        self._base_url = base_url
        self._clock = clock
        self._tokens = tokens
        self._refused = refused
        self._query_parameter = query_parameter

    def call(
        self,
        method: str,
        path: str,
        *,
        deadline_s: float,
        body: Mapping[str, Any] | list[Any] | bytes | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Make one call within *deadline_s* seconds, its token included; never raises. A *body* of
        bytes goes as it is, as JSON unless *headers* name another type.
        """
        until = self._clock.monotonic() + deadline_s
        sent: dict[str, str] = {"Accept": "application/json", "User-Agent": USER_AGENT}
        sent.update(headers or {})
        content: bytes | None = None
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
            content = urlencode(form).encode()
        elif body is not None:
            sent.setdefault("Content-Type", "application/json")
            content = body if isinstance(body, bytes) else _json(body)
        if self._tokens is None:
            return self._send(method, path, sent, content, until)
        token = self._tokens.current(self._left(until))
        if isinstance(token, Reply):
            return token
        reply = self._send(method, path, sent, content, until, token)
        if not self._refused(reply):
            return reply
        self._tokens.drop(token)
        fresh = self._tokens.current(self._left(until))
        if isinstance(fresh, Reply):
            return fresh
        return self._send(method, path, sent, content, until, fresh)

    def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        content: bytes | None,
        until: float,
        token: str | None = None,
    ) -> Reply:
        sent = dict(headers)
        if token is not None and self._query_parameter is not None:
            join = "&" if "?" in path else "?"
            path += join + urlencode({self._query_parameter: token})
        elif token is not None:
            sent["Authorization"] = f"Bearer {token}"
        return self._http.send(
            method, self._base_url + path, headers=sent, body=content, deadline_s=self._left(until)
        )

    def _left(self, until: float) -> float:
        return max(until - self._clock.monotonic(), 0.1)


def _json(data: Mapping[str, Any] | list[Any]) -> bytes:
    import json

    return json.dumps(data, ensure_ascii=False).encode()


def json_object(reply: Reply) -> dict[str, Any]:
    """The JSON object of a reply; empty when there is none (HTML, cut, another type)."""
    import json

    try:
        data = json.loads(reply.body)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
