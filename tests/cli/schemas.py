"""Hold emitted JSON against the schema it names."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.protocols import Validator

FOLDER = files("payctl.cli").joinpath("schemas")


def file_name(schema: str) -> str:
    """``payctl.payment/1`` lives in ``payctl.payment.1.json``."""
    return schema.replace("/", ".") + ".json"


@cache
def validator(schema: str) -> Validator:
    document = json.loads(FOLDER.joinpath(file_name(schema)).read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(document)
    return Draft202012Validator(document, format_checker=FormatChecker())


def check(emitted: Any) -> Any:
    """Validate what a command printed with ``--json``; returns it."""
    validator(emitted["schema"]).validate(emitted)
    return emitted
