"""What MTN's sandbox does with which number ("Testing", momodeveloper.mtn.com), and its errors.

The same number means different things in different operations; any other number succeeds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from payctl.testing.emulators.core import Response

#: What the last two digits of 467331234NN lead to, from 50 on, by operation.
REQUEST_TO_PAY = (
    "FAILED", "REJECTED", "EXPIRED", "ONGOING", "DELAYED", "PAYER_NOT_FOUND",
    "PAYEE_NOT_ALLOWED_TO_RECEIVE", "NOT_ALLOWED", "NOT_ALLOWED_TARGET_ENVIRONMENT",
    "INVALID_CALLBACK_URL_HOST", "INVALID_CURRENCY", "INTERNAL_PROCESSING_ERROR",
    "SERVICE_UNAVAILABLE", "COULD_NOT_PERFORM_TRANSACTION", "TRANSFER_TYPE_UNKNOWN",
)  # fmt: skip
TRANSFER = (
    "FAILED", "REJECTED", "EXPIRED", "ONGOING", "DELAYED", "NOT_ENOUGH_FUNDS",
    "PAYER_LIMIT_REACHED", "PAYEE_NOT_FOUND", "NOT_ALLOWED", "NOT_ALLOWED_TARGET_ENVIRONMENT",
    "INVALID_CALLBACK_URL_HOST", "INVALID_CURRENCY", "INTERNAL_PROCESSING_ERROR",
    "SERVICE_UNAVAILABLE", "TRANSFER_TYPE_UNKNOWN",
)  # fmt: skip
BY_KIND: Mapping[str, tuple[str, ...]] = {
    "requesttopay": REQUEST_TO_PAY, "transfer": TRANSFER, "deposit": REQUEST_TO_PAY[:14],
}  # fmt: skip
ACTIVE = (
    "NOT_FOUND", "NOT_ACTIVE", "NOT_ALLOWED", "NOT_ALLOWED_TARGET_ENVIRONMENT",
    "INTERNAL_PROCESSING_ERROR", "SERVICE_UNAVAILABLE",
)  # fmt: skip
#: What ``referenceIdToRefund`` leads to, from "1" on.
REFUND = (
    "NOT_FOUND", "FAILED", "REJECTED", "EXPIRED", "ONGOING", "DELAYED", "NOT_ALLOWED",
    "NOT_ALLOWED_TARGET_ENVIRONMENT", "INVALID_CALLBACK_URL_HOST", "INVALID_CURRENCY",
    "INTERNAL_PROCESSING_ERROR", "SERVICE_UNAVAILABLE", "COULD_NOT_PERFORM_TRANSACTION",
)  # fmt: skip
#: What a POST of these answers at once ("Common error codes"); all others end an accepted request.
AT_ONCE: Mapping[str, int] = {"SERVICE_UNAVAILABLE": 503, "INTERNAL_PROCESSING_ERROR": 500}
#: These leave a request open.
OPEN = ("ONGOING", "DELAYED")
#: The code that goes with a status, where nothing else is said.
CODES: Mapping[int, str] = {
    400: "BAD_REQUEST", 401: "ACCESS_DENIED_SUBSCRIPTION_KEY", 403: "FORBIDDEN_IP",
    404: "RESOURCE_NOT_FOUND", 409: "RESOURCE_ALREADY_EXIST", 500: "INTERNAL_PROCESSING_ERROR",
    503: "SERVICE_UNAVAILABLE",
}  # fmt: skip


def of_number(number: str, table: tuple[str, ...]) -> str:
    """What *number* leads to; empty where it is none of the table."""
    found = re.fullmatch(r"467331234(\d\d)", number)
    place = int(found[1]) - 50 if found else -1
    return table[place] if 0 <= place < len(table) else ""


def of_refund(about: str) -> str:
    """What a refund of *about* leads to; empty where it is none of the table."""
    listed = about.isascii() and about.isdigit() and 1 <= int(about) <= len(REFUND)
    return REFUND[int(about) - 1] if listed else ""


def error(status: int, code: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """MTN's ``ErrorReason``."""
    code = code or CODES.get(status, "TOO_MANY_REQUESTS")
    message = code.replace("_", " ").capitalize()
    return Response(status, {"code": code, "message": message}, headers or {})
