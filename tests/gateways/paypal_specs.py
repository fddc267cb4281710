"""PayPal's published OpenAPI specifications, to hold requests and answers against."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from payctl.testing.emulators.core import Request, Response
from payctl.testing.emulators.paypal_disputes import parts_of
from tests.gateways.harnesses import FIXTURES

NAMES = (
    "checkout_orders_v2", "payments_payment_v2", "payments_payouts_batch_v1",
    "reporting_transactions_v1", "notifications_webhooks_v1", "customer_disputes_v1",
)  # fmt: skip
#: Headers of ours that are no parameters of an operation.
_COMMON = {"accept", "accept-encoding", "user-agent", "authorization", "content-type",
           "content-length", "host", "connection"}  # fmt: skip


@cache
def spec(name: str) -> dict[str, Any]:
    """One specification with OpenAPI's ``nullable`` written as JSON Schema has it."""
    raw = gzip.decompress((FIXTURES / f"paypal_{name}.json.gz").read_bytes())
    data: dict[str, Any] = _nullable(json.loads(raw))
    return data


@cache
def _registry() -> Registry[Any]:
    found: Registry[Any] = Registry()
    for name in NAMES:
        text = json.dumps(spec(name)).replace('"#/components', f'"{name}#/components')
        found = found.with_resource(
            name, Resource.from_contents(json.loads(text), default_specification=DRAFT202012)
        )
    return found


def _nullable(node: Any) -> Any:
    if isinstance(node, list):
        return [_nullable(each) for each in node]
    if not isinstance(node, dict):
        return node
    out = {key: _nullable(value) for key, value in node.items()}
    if out.pop("nullable", None) is True:
        return {"anyOf": [out, {"type": "null"}]}
    return out


def issues(name: str) -> Iterator[str]:
    """Every ``issue`` that the enums of a specification name."""
    pending: list[Any] = [spec(name)]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            issue = node.get("issue")
            if isinstance(issue, dict):
                yield from issue.get("enum", ())
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def enum(name: str, schema: str, field: str | None = None) -> set[str]:
    """The values of an enum: of a schema, or of one of its fields."""
    found = spec(name)["components"]["schemas"][schema]
    return set((found["properties"][field] if field else found)["enum"])


@dataclass(frozen=True)
class Operation:
    """One operation of one specification."""

    spec: str
    path: str
    method: str
    described: Mapping[str, Any]


def operation_of(request: Request) -> Operation | None:
    """The operation a request is for; ``None`` for the token and the customer's page."""
    for name in NAMES:
        for path, methods in spec(name)["paths"].items():
            pattern = re.sub(r"\\\{[^}]*\}", "[^/]+", re.escape(path))
            if re.fullmatch(pattern, request.path) and request.method.lower() in methods:
                method = request.method.lower()
                return Operation(name, path, method, methods[method])
    return None


def check_request(request: Request, operation: Operation) -> None:
    """Body, query and headers are what the specification allows, and nothing else."""
    body = operation.described.get("requestBody")
    if operation.spec == "customer_disputes_v1" and request.body:
        check_answer(request, operation)
    elif body is not None and request.body:
        _check(operation.spec, _schema(_resolve(operation.spec, body)), json.loads(request.body))
    elif request.method == "POST":
        assert request.body in (b"", b"{}"), (operation.path, request.body)
    known = [_resolve(operation.spec, each) for each in operation.described.get("parameters", ())]
    headers = {each["name"].lower(): each for each in known if each["in"] == "header"}
    query = {each["name"]: each for each in known if each["in"] == "query"}
    extra = set(request.headers) - _COMMON - set(headers)
    assert not extra, (operation.path, extra)
    assert set(request.query) <= set(query), (operation.path, request.query)
    assert {name for name, each in query.items() if each.get("required")} <= set(request.query)
    for name, value in request.query.items():
        schema = query[name]["schema"]
        typed = int(value) if schema.get("type") == "integer" else value
        jsonschema.Draft202012Validator(schema).validate(typed)
    for name in set(request.headers) & set(headers):
        jsonschema.Draft202012Validator(headers[name]["schema"]).validate(request.headers[name])


def check_answer(request: Request, operation: Operation) -> None:
    """What is said to a dispute. The specification has only the files of these bodies; what the
    JSON beside them may hold is taken from what a dispute shows of it afterwards.
    """
    described = _resolve(operation.spec, operation.described["requestBody"])
    assert set(described["content"]) == {"multipart/form-data"}
    if operation.path.endswith("accept-claim"):
        said = json.loads(request.body)
        assert set(said) == {"note", "accept_claim_type"}
        _check(operation.spec, _named("accept_claim_type"), said["accept_claim_type"])
        return
    first, *files = parts_of(request)
    assert (first.name, first.content_type) == ("input", "application/json")
    said = json.loads(first.content)
    if operation.path.endswith("provide-evidence"):
        assert set(said) == {"evidences"}
        for each in said["evidences"]:
            _check(operation.spec, _named("evidence"), each)
    else:
        _check(operation.spec, _named("supporting_info"), said)
    for each in files:
        _check(operation.spec, _named("document"), {"name": each.file_name})


def _named(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def check_response(response: Response, operation: Operation) -> None:
    """The status is foreseen and the body is what the specification says of it."""
    answers = operation.described["responses"]
    status = str(response.status)
    assert status in answers or response.status >= 400, (operation.path, status)
    found = _resolve(operation.spec, answers.get(status) or answers["default"])
    if response.status == 204 or "content" not in found:
        assert response.body is None or response.status >= 400
        return
    _check(operation.spec, _schema(found), json.loads(response.content()))


def _schema(described: Mapping[str, Any]) -> Any:
    return next(iter(described["content"].values()))["schema"]


def _resolve(name: str, node: Any) -> Any:
    while isinstance(node, dict) and "$ref" in node:
        target: Any = spec(name)
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def _check(name: str, schema: Any, data: Any) -> None:
    absolute = json.loads(json.dumps(schema).replace('"#/components', f'"{name}#/components'))
    jsonschema.Draft202012Validator(absolute, registry=_registry()).validate(data)
    unknown = sorted(_unknown(name, [schema], data))
    assert not unknown, unknown


def _unknown(name: str, schemas: list[Any], data: Any, at: str = "") -> Iterator[str]:
    """Names in *data* that none of its schemas knows: the specifications do not forbid them."""
    parts = list(_parts(name, schemas))
    if isinstance(data, list):
        inner = [part["items"] for part in parts if "items" in part]
        for number, each in enumerate(data):
            yield from _unknown(name, inner, each, f"{at}[{number}]")
    if not isinstance(data, dict) or any(part.get("additionalProperties") for part in parts):
        return
    for key, value in data.items():
        inner = [part["properties"][key] for part in parts if key in part.get("properties", {})]
        if inner:
            yield from _unknown(name, inner, value, f"{at}.{key}")
        else:
            yield f"{at}.{key}"


def _parts(name: str, schemas: list[Any]) -> Iterator[Mapping[str, Any]]:
    """All schemas that apply or may apply, references and combinations followed."""
    pending = list(schemas)
    while pending:
        node = _resolve(name, pending.pop())
        if not isinstance(node, dict):
            continue
        yield node
        for combined in ("allOf", "anyOf", "oneOf"):
            pending.extend(node.get(combined, ()))
