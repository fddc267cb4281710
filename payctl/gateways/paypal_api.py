"""Calls of PayPal's REST APIs: token, headers, and what a refusal proves.

Sources: developer.paypal.com/api/rest/authentication, /api/rest/requests (headers), /api/rest/
responses (errors), /api/rest/reference/idempotency.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from payctl.clock import Clock
from payctl.gateways.base import Answer, NextAction, Outcome, Probe
from payctl.gateways.exchange import text as scrubbed
from payctl.gateways.http import Http, Reply, answer_without_success
from payctl.gateways.rest import Rest, json_object
from payctl.gateways.tokens import Tokens, TokenStore, token_key

if TYPE_CHECKING:
    from payctl.gateways.paypal_issues import Meaning

#: What reading JSON that is not what the specification says may raise.
BROKEN = (KeyError, IndexError, TypeError, ValueError, AttributeError)
HOSTS = {
    "live": "https://api-m.paypal.com",
    "sandbox": "https://api-m.sandbox.paypal.com",
}


class Api:
    """The calls of one account. Thread-safe.

    Args:
        base_url: one of :data:`HOSTS`, or a test server.
        client_id, client_secret: called when first needed.
        store: where the access token is kept; PayPal's live about nine hours.
    """

    def __init__(
        self,
        base_url: str,
        client_id: Callable[[], str],
        client_secret: Callable[[], str],
        store: TokenStore,
        clock: Clock,
        probe: Probe,
    ) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self.clock = clock
        self._http = Http(clock, probe=probe, secrets=self._secrets)
        # A token call has no effect on money: probes, which mark where it has, do not see it.
        self._token_http = Http(clock, secrets=self._secrets)
        self._anonymous = Rest(self._token_http, base_url, clock)
        tokens = Tokens(store, lambda: self._key(base_url), self._fetch, _read_token, clock)
        self._rest = Rest(self._http, base_url, clock, tokens)

    def get(self, path: str, deadline_s: float) -> Reply:
        return self._rest.call("GET", path, deadline_s=deadline_s)

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | bytes,
        deadline_s: float,
        *,
        request_id: str | None = None,
        whole: bool = False,
        content_type: str | None = None,
    ) -> Reply:
        """Post *body*.

        Args:
            request_id: ``PayPal-Request-Id``: the stored key under which PayPal does it once.
            whole: ask for the whole object; PayPal's default answer has neither amounts nor fee.
            content_type: of a *body* that is no JSON.
        """
        headers = {"Prefer": "return=representation"} if whole else {}
        if request_id is not None:
            headers["PayPal-Request-Id"] = request_id
        if content_type is not None:
            headers["Content-Type"] = content_type
        return self._rest.call("POST", path, deadline_s=deadline_s, body=body, headers=headers)

    def until(self, deadline_s: float) -> Callable[[], float]:
        """A countdown for several calls within one deadline: seconds left, at least a tenth."""
        end = self.clock.monotonic() + deadline_s
        return lambda: max(end - self.clock.monotonic(), 0.1)

    def close(self) -> None:
        self._http.close()
        self._token_http.close()

    def _secrets(self) -> tuple[str, ...]:
        return (self._client_secret(),)

    def _key(self, base_url: str) -> str:
        return token_key(base_url, self._client_id(), self._client_secret())

    def _fetch(self, deadline_s: float) -> Reply:
        import base64

        pair = f"{self._client_id()}:{self._client_secret()}".encode()
        return self._anonymous.call(
            "POST",
            "/v1/oauth2/token",
            deadline_s=deadline_s,
            form={"grant_type": "client_credentials"},
            headers={"Authorization": "Basic " + base64.b64encode(pair).decode()},
        )


def _read_token(reply: Reply) -> tuple[str, int] | None:
    data = json_object(reply)
    token, life_s = data.get("access_token"), data.get("expires_in")
    usable = isinstance(token, str) and token and type(life_s) is int and life_s > 0
    return (token, life_s) if usable else None  # type: ignore[return-value]


def failed(reply: Reply) -> Answer | None:
    """What a reply that is no success proves; ``None`` for a 2xx."""
    plain = answer_without_success(reply)
    if plain is None or reply.fault is not None:
        return plain
    error, status = json_object(reply), reply.status or 0
    named = error.get("name") or error.get("error")
    if not isinstance(named, str):
        # Without PayPal's own words a 4xx may come from anything in between.
        certain = status in (401, 403, 429)
        return plain if certain else _unsure(plain)
    issue, text = _issue(error)
    answer = _proven(plain, status, named, issue, error)
    return replace(answer, provider_code=issue or named, message=_message(text, error, named))


def issue_of(reply: Reply) -> str | None:
    """The deciding issue of an error, ``None`` where it has none."""
    return _issue(json_object(reply))[0]


def unreadable(reply: Reply, message: str = "unreadable answer") -> Answer:
    """A 2xx that says nothing we understand: it may have happened."""
    return dressed(Answer(Outcome.UNKNOWN, message=message), reply)


def dressed(answer: Answer, reply: Reply) -> Answer:
    """*answer* with what every answer tells of its exchange."""
    return replace(
        answer,
        http_status=reply.status,
        latency_ms=reply.latency_ms,
        exchange=reply.exchange,
        retry_after_s=reply.retry_after_s,
    )


def _proven(
    plain: Answer, status: int, named: str, issue: str | None, error: Mapping[str, Any]
) -> Answer:
    """A 4xx in PayPal's words. 401 and 429 say all by their status; a 5xx may have had its effect
    whatever it says ("might have created a PayPal transaction").
    """
    if status in (401, 429) or not 400 <= status < 500 or status == 408:
        return plain
    from payctl.gateways.paypal_issues import ISSUES, meaning_of

    meaning = ISSUES.get(issue or "") or ISSUES.get(named)
    if meaning is None:
        if status == 403:
            return plain
        if status == 404 and named == "RESOURCE_NOT_FOUND":
            return replace(plain, outcome=Outcome.NOT_FOUND, code=None, reject=None)
        if status in (404, 409):
            return _unsure(plain)
        meaning = meaning_of(issue or named, status)
    return _as_meant(plain, meaning, error)


def _as_meant(plain: Answer, meaning: Meaning, error: Mapping[str, Any]) -> Answer:
    waits = meaning.outcome is Outcome.REQUIRES_ACTION
    return replace(
        plain,
        outcome=meaning.outcome,
        code=meaning.code,
        reject=meaning.reject,
        next_action=NextAction("redirect", url=link(error, "redirect", "payer-action", "approve"))
        if waits
        else None,
    )


def _unsure(plain: Answer) -> Answer:
    return replace(plain, outcome=Outcome.UNKNOWN, reject=None, code=None)


def _issue(error: Mapping[str, Any]) -> tuple[str | None, str]:
    """The first issue we know, else the first there is, and its description."""
    details = error.get("details")
    found = (
        [each for each in details if isinstance(each, dict)] if isinstance(details, list) else []
    )
    found = [each for each in found if isinstance(each.get("issue"), str)]
    from payctl.gateways.paypal_issues import ISSUES

    known = [each for each in found if each["issue"] in ISSUES]
    if not found:
        return None, ""
    chosen = (known or found)[0]
    return str(chosen["issue"])[:80], str(chosen.get("description") or "")


def _message(text: str, error: Mapping[str, Any], named: str) -> str:
    """Why, with the id PayPal's support asks for."""
    said = text or str(error.get("message") or error.get("error_description") or named)
    debug = error.get("debug_id")
    return scrubbed(said)[:400] + (f" (debug_id {str(debug)[:40]})" if debug else "")


def link(data: Mapping[str, Any], *relations: str) -> str | None:
    """The address of the first link with one of *relations*, in their order."""
    links = data.get("links")
    found = {
        str(each.get("rel")): str(each["href"])
        for each in (links if isinstance(links, list) else [])
        if isinstance(each, dict) and each.get("href")
    }
    return next((found[each] for each in relations if each in found), None)
