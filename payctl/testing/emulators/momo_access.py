"""MTN's users, keys and tokens ("Sandbox user provisioning", "Authentication").

A subscription key opens one product; an API user is made with such a key and belongs to its
product, and so does a token. Live, users are made in the partner portal.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from payctl.testing.emulators.core import Request, Response
from payctl.testing.emulators.momo_tables import error

SUBSCRIPTION_KEYS: Mapping[str, str] = {
    "collection": "c0ffee00c0ffee00c0ffee00c0ffee00",
    "disbursement": "d15bd15bd15bd15bd15bd15bd15bd15b",
}
USERS: Mapping[str, str] = {
    "collection": "5f3c7a10-7f6f-4f6e-9d0a-2f6f1c1d9e01",
    "disbursement": "5f3c7a10-7f6f-4f6e-9d0a-2f6f1c1d9e02",
}
API_KEYS: Mapping[str, str] = {
    "collection": "0123456789abcdef0123456789abcdef",
    "disbursement": "fedcba9876543210fedcba9876543210",
}
#: Callbacks of these users may go here only.
CALLBACK_HOST = "localhost"
TOKEN_LIFE_S = 3600


@dataclass(slots=True)
class User:
    """An API user; ``host`` is its ``providerCallbackHost``."""

    product: str
    host: str
    keys: set[str] = field(default_factory=set)


class Access:
    """Who may do what. ``target`` is the environment it answers for."""

    def __init__(self, target: str, now: Callable[[], datetime]) -> None:
        self._target = target
        self._now = now
        self.users = {
            user: User(product, CALLBACK_HOST, {API_KEYS[product]})
            for product, user in USERS.items()
        }
        self._tokens: dict[str, tuple[User, datetime]] = {}

    def expire(self) -> None:
        """Every token given so far is refused from now on."""
        self._tokens.clear()

    def provision(self, request: Request) -> Response:
        """``POST apiuser``, ``GET apiuser/{id}``, ``POST apiuser/{id}/apikey``."""
        key = request.headers.get("ocp-apim-subscription-key")
        product = next((p for p, each in SUBSCRIPTION_KEYS.items() if each == key), None)
        if product is None:
            return error(401)
        parts = request.path.removeprefix("/v1_0/apiuser").strip("/").split("/")
        if request.method == "POST" and parts == [""]:
            return self._user(request, product)
        known = self.users.get(parts[0])
        if known is None:
            return error(404)
        if request.method == "POST" and parts[1:] == ["apikey"]:
            made = uuid.uuid4().hex
            known.keys = {made}
            return Response(201, {"apiKey": made})
        if request.method != "GET" or parts[1:]:
            return error(404)
        body = {"providerCallbackHost": known.host, "targetEnvironment": self._target}
        return Response(200, body)

    def _user(self, request: Request, product: str) -> Response:
        user, given = request.headers.get("x-reference-id", ""), request.json()
        host = given.get("providerCallbackHost") if isinstance(given, dict) else None
        if not is_uuid4(user) or not isinstance(host, str) or not host:
            return error(400)
        if user in self.users:
            return error(409)
        self.users[user] = User(product, host)
        return Response(201)

    def token(self, request: Request, product: str) -> Response:
        """``POST /{product}/token/``: Basic, no body (an empty object passes), an hour's life."""
        if request.headers.get("ocp-apim-subscription-key") != SUBSCRIPTION_KEYS[product]:
            return error(401)
        if request.body.strip() not in (b"", b"{}"):
            return error(400)
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        try:
            name, _, key = base64.b64decode(text).decode().partition(":")
        except ValueError:
            name, key = "", ""
        user = self.users.get(name)
        if kind != "Basic" or user is None or user.product != product or key not in user.keys:
            return Response(401, {"error": "login_failed"})
        made = f"momo-token-{product}-{uuid.uuid4().hex}"
        self._tokens[made] = (user, self._now() + timedelta(seconds=TOKEN_LIFE_S))
        body = {"access_token": made, "token_type": "access_token", "expires_in": TOKEN_LIFE_S}
        return Response(200, body)

    def refused(self, request: Request, product: str) -> Response | None:
        """Why a call of *product* is refused before anything is looked at."""
        headers = request.headers
        if headers.get("ocp-apim-subscription-key") != SUBSCRIPTION_KEYS[product]:
            return error(401)
        user, ends = self._held(request)
        if user is None or user.product != product or ends <= self._now():
            return error(401, "UNAUTHORIZED_TOKEN")
        if headers.get("x-target-environment") != self._target:
            return error(500, "NOT_ALLOWED_TARGET_ENVIRONMENT")
        callback = headers.get("x-callback-url")
        if callback is not None and urlsplit(callback).hostname != user.host:
            return error(500, "INVALID_CALLBACK_URL_HOST")
        return None

    def _held(self, request: Request) -> tuple[User | None, datetime]:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        return self._tokens.get(token if kind == "Bearer" else "", (None, self._now()))


def is_uuid4(text: str) -> bool:
    """``X-Reference-Id``: a UUID of version 4 in its usual form."""
    try:
        found = uuid.UUID(text)
    except ValueError:
        return False
    return found.version == 4 and str(found) == text.lower()
