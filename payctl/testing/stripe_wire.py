"""How Stripe's requests are read and its errors and pages look, for the fake of it."""

from __future__ import annotations

import re
from typing import Any

from payctl.testing.emulators.core import Request

Params = dict[str, str]
Result = tuple[int, dict[str, Any]]


def params_of(request: Request) -> Params:
    """Parameters of a request; a form with a file in it is not read."""
    return dict(request.query) if request.method == "GET" else request.form()


def error_of(
    message: str, code: str, kind: str = "invalid_request_error", **more: str
) -> dict[str, Any]:
    """The body of a refusal."""
    named = {"code": code} if code else {}
    return {"error": {"message": message, "type": kind, **named, **more}}


def nested(params: Params, name: str) -> dict[str, str]:
    """The parameters ``name[...]``, by what stands in the brackets."""
    inside = re.compile(rf"{name}\[(.+)\]")
    return {m[1]: value for key, value in params.items() if (m := inside.fullmatch(key))}


def page(table: dict[str, dict[str, Any]], params: Params) -> Result:
    """One page of a list, newest first."""
    items = list(reversed(table.values()))
    since = int(params.get("created[gte]", 0))
    items = [item for item in items if item["created"] >= since]
    if email := params.get("email"):
        items = [item for item in items if item.get("email") == email]
    if after := params.get("starting_after"):
        items = items[[item["id"] for item in items].index(after) + 1 :]
    limit = int(params.get("limit", 10))
    cut = [dict(item) for item in items[:limit]]
    for item in cut:
        if isinstance(item.get("latest_charge"), dict):
            item["latest_charge"] = item["latest_charge"]["id"]
    return 200, {"object": "list", "data": cut, "has_more": len(items) > limit}
