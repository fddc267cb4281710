"""The receiver's OpenAPI document: what providers and monitors may ask."""

from __future__ import annotations

from functools import cache
from typing import Any

from payctl import __version__
from payctl.receiver.answers import SAYS
from payctl.webhooks.model import MAX_BODY_BYTES

_ERROR = {"$ref": "#/components/schemas/Error"}


@cache
def document() -> dict[str, Any]:
    """The document, made once."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "payctl receiver",
            "version": __version__,
            "description": "Takes the webhooks of payment providers. Each is verified, stored, and"
            " answered; what it is about is asked of the provider later.",
        },
        "paths": {
            "/webhooks/{gateway}": _webhook("gateway"),
            "/webhooks/{gateway}/{account}": _webhook("gateway", "account"),
            "/webhooks/{gateway}/{account}/{token}": _webhook("gateway", "account", "token"),
            "/health": _page("Whether it can take webhooks, and its version.", probe=True),
            "/health/live": _page("Whether the process answers."),
            "/health/ready": _page("Whether webhooks can be stored now.", probe=True),
            "/health/detailed": _page("Every check of payctl health, and the inbox.", inside=True),
            "/health/database": _page("The book: does it answer, is it at head.", inside=True),
            "/health/gateways": _page("The providers, asked now and then.", inside=True),
            "/health/providers": _page("The same as /health/gateways.", inside=True),
            "/metrics": _page("Metrics for Prometheus, where they are on.", inside=True),
            "/openapi.json": _page("This document."),
        },
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {
                        "error": {
                            "type": "object",
                            "required": ["code", "message", "request_id"],
                            "properties": {
                                "code": {"type": "string", "enum": sorted(SAYS)},
                                "message": {"type": "string"},
                                "request_id": {"type": "string"},
                            },
                        }
                    },
                }
            },
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


_DESCRIBED = {
    "gateway": "our name of the merchant account, or its kind of gateway",
    "account": "our name of the account where the kind comes first; or the secret token",
    "token": "the secret token of the account's address, where it has one",
}


def _webhook(*names: str) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"},
         "description": _DESCRIBED[name]}
        for name in names
    ]  # fmt: skip
    refused = (400, 401, 403, 404, 405, 408, 413, 429, 500, 503)
    codes = {status for status, _ in SAYS.values()}
    operation = {
        "summary": "A webhook, as the provider sends it.",
        "requestBody": {
            "required": True,
            "description": f"at most {MAX_BODY_BYTES} bytes",
            "content": {"*/*": {"schema": {"type": "string"}}},
        },
        "responses": {
            "200": {"description": "stored, or stored before"},
            **{str(each): _refused() for each in refused if each in codes},
        },
    }
    return {"parameters": parameters, "post": operation, "put": operation}


def _page(summary: str, *, probe: bool = False, inside: bool = False) -> dict[str, Any]:
    answered: dict[str, Any] = {"content": {"application/json": {}}}
    responses: dict[str, Any] = {"200": {"description": "OK", **answered}}
    if probe:
        responses["503"] = {"description": "not now, and why", **answered}
    operation: dict[str, Any] = {"summary": summary, "responses": responses}
    if inside:
        responses |= {"401": _refused(), "503": _refused()}
        operation["security"] = [{"bearer": []}]
        operation["description"] = "From the loopback address, or with the receiver's token."
    return {"get": operation}


def _refused() -> dict[str, Any]:
    return {"description": "refused", "content": {"application/json": {"schema": _ERROR}}}
