"""One contract with MTN: its subscription key, its API user, its token, its calls.

Collection and disbursement are sold apart: nothing of the one opens the other, so a refund (which
is a disbursement) may fail with credentials that take payments every day.
Source: momodeveloper.mtn.com, "Getting started" and "Authentication".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from payctl.clock import Clock
from payctl.errors import NotConfigured
from payctl.gateways.http import Http, Reply
from payctl.gateways.momo_data import MARKETS, SANDBOX, Market
from payctl.gateways.rest import Rest, json_object
from payctl.gateways.settings import Settings
from payctl.gateways.tokens import Tokens, token_key

COLLECTION, DISBURSEMENT = "collection", "disbursement"


class Product:
    """Its settings are ``NAME_key``, ``NAME_user`` and ``NAME_secret``.

    Args:
        name: ``collection`` or ``disbursement``; the first part of its addresses.
        http: carries its calls; a token is got by a client of its own, because that is no exchange
            about money and nobody is told of it.
    """

    def __init__(
        self, name: str, settings: Settings, url: str, market: Market, clock: Clock, http: Http
    ) -> None:
        self.name = name
        self._key = settings.secret(f"{name}_key")
        self._user = settings.text(f"{name}_user")
        self._secret = settings.secret(f"{name}_secret")
        self._market = market
        self._clock, self._url = clock, url
        self._plain_http = Http(clock, secrets=self.secrets)
        self._plain = Rest(self._plain_http, url, clock)
        tokens = Tokens(
            settings.tokens,
            lambda: token_key(url, name, self._user, self._secret(), self._key()),
            self._fetch,
            _token,
            clock,
        )
        self._rest = Rest(http, url, clock, tokens)

    def secrets(self) -> tuple[str, ...]:
        """What must not appear in a record."""
        return self._key(), self._secret(), self._basic()

    def call(
        self,
        method: str,
        path: str,
        deadline_s: float,
        *,
        body: Mapping[str, Any] | None = None,
        reference: str | None = None,
        callback: str | None = None,
    ) -> Reply:
        """One call of this product; *reference* becomes the object's id at MTN."""
        headers = {
            "Ocp-Apim-Subscription-Key": self._key(),
            "X-Target-Environment": self._market.target,
        }
        if reference is not None:
            headers["X-Reference-Id"] = reference
        if callback is not None:
            headers["X-Callback-Url"] = callback
        return self._rest.call(
            method, f"/{self.name}/v1_0/{path}", deadline_s=deadline_s, body=body, headers=headers
        )

    def provision(self, user: str, host: str, deadline_s: float) -> tuple[Reply, str | None]:
        """Make the API user *user* in the sandbox and a key for it; the key is ``None`` when either
        was refused, and the reply says why. It must not need the user or key of the settings,
        which are what it makes.
        """
        http = Http(self._clock, secrets=lambda: (self._key(),))
        rest, known = Rest(http, self._url, self._clock), {"Ocp-Apim-Subscription-Key": self._key()}
        made = rest.call(
            "POST", "/v1_0/apiuser", deadline_s=deadline_s, body={"providerCallbackHost": host},
            headers={**known, "X-Reference-Id": user},
        )  # fmt: skip
        if made.status != 201:
            return made, None
        path = f"/v1_0/apiuser/{user}/apikey"
        reply = rest.call("POST", path, deadline_s=deadline_s, headers=known)
        key = json_object(reply).get("apiKey")
        return reply, key if isinstance(key, str) and key else None

    def close(self) -> None:
        """Close the connections of its token calls."""
        self._plain_http.close()

    def _basic(self) -> str:
        import base64

        return base64.b64encode(f"{self._user}:{self._secret()}".encode()).decode()

    def _fetch(self, deadline_s: float) -> Reply:
        # No body at all, and a slash at the end: either is answered with an error otherwise.
        return self._plain.call(
            "POST",
            f"/{self.name}/token/",
            deadline_s=deadline_s,
            headers={
                "Authorization": f"Basic {self._basic()}",
                "Ocp-Apim-Subscription-Key": self._key(),
            },
        )


def market_of(settings: Settings) -> Market:
    """The market of ``environment``, which must be said: left out, it would be the sandbox.

    Raises:
        NotConfigured: ``gateway.setting_missing``, ``gateway.bad_setting``.
    """
    said = settings.text("environment")
    return MARKETS[settings.one_of("environment", said, tuple(MARKETS))]


def callback_of(settings: Settings, market: Market) -> str | None:
    """Where MTN calls back: a host by name, never by number, and live by https only.

    Raises:
        NotConfigured: ``gateway.bad_setting``.
    """
    url = settings.text_or_none("callback_url")
    if url is None:
        return None
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0].rpartition("@")[2].partition(":")[0]
    named = not host.startswith("[") and any(letter.isalpha() for letter in host)
    if not named or scheme not in (("https", "http") if market is SANDBOX else ("https",)):
        raise NotConfigured(
            "gateway.bad_setting", field="callback_url", account=settings.account,
            wanted="https://HOST/PATH, with the host's name as it is registered at MTN",
        )  # fmt: skip
    return url


def _token(reply: Reply) -> tuple[str, int] | None:
    """The token and its life in seconds. Its ``token_type`` is not ``Bearer``, yet sent as such."""
    data = json_object(reply)
    text, life = data.get("access_token"), str(data.get("expires_in"))
    if not isinstance(text, str) or not text:
        return None
    return (text, int(life)) if re.fullmatch("[0-9]{1,7}", life) else None
