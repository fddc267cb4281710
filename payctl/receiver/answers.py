"""What the receiver says: one shape of error, the same headers on every answer, an id of each
request.

No answer holds a stack trace, a path or a word of the database's: what went wrong inside is in the
log under the request's id.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

#: Code -> status and sentence. The codes of errors raised elsewhere keep their names.
SAYS: Mapping[str, tuple[int, str]] = {
    "event.bad_signature": (400, "the signature does not fit the body"),
    "event.stale": (400, "the signed time is too far from now"),
    "event.unreadable": (400, "the body is no event of this provider"),
    "request.unfinished": (408, "the body did not come in time"),
    "request.not_found": (404, "there is nothing at this address"),
    "request.method": (405, "this address does not take this method"),
    "request.forbidden": (403, "this address does not answer you"),
    "request.token": (401, "a bearer token is needed from where you are"),
    "webhook.too_large": (413, "the body is larger than any webhook"),
    "request.too_many": (429, "too many unverified requests from your address"),
    "request.failed": (500, "something went wrong here"),
    "service.busy": (503, "too much is waiting; send it again"),
    "service.unavailable": (503, "it cannot be stored now; send it again"),
    "service.not_configured": (503, "this account is not set up; send it again later"),
}
#: Statuses after which whoever sent it should wait.
_RETRY = {"service.busy": 1, "service.unavailable": 5, "service.not_configured": 60}

SECURITY_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
_numbers = itertools.count()
_run = ""


class Json(Response):
    """A JSON answer."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"), default=str).encode()


def refusal(code: str, request_id: str, *, retry_after_s: float | None = None) -> Response:
    """The one shape of every answer that is no success."""
    status, sentence = SAYS[code]
    headers = {}
    wait_s = retry_after_s if retry_after_s is not None else _RETRY.get(code)
    if wait_s is not None:
        headers["Retry-After"] = str(max(round(wait_s), 1))
    if code == "request.token":
        headers["WWW-Authenticate"] = "Bearer"
    if status in (408, 413):
        # The rest of the body is not waited for.
        headers["Connection"] = "close"
    error = {"code": code, "message": sentence, "request_id": request_id}
    return Json({"error": error}, status, headers)


def request_id_of(given: str | None) -> str:
    """The caller's id when it is a plain word, else one of our own."""
    if given is not None and _SANE_ID.fullmatch(given) and not given.isdigit():
        return given
    global _run
    if not _run:
        _run = os.urandom(5).hex()
    return f"req-{_run}-{next(_numbers):x}"
