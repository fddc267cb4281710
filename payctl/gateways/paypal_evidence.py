"""The bodies of what we say to a dispute at PayPal. Pure: the same answer makes the same body.

The published specification names only the files of these requests. The JSON beside them, in a part
called ``input``, is as PayPal's guide has it (developer.paypal.com/docs/disputes).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from payctl.gateways.base import Answer
from payctl.gateways.checks import rejected
from payctl.gateways.disputes import DisputeResponse

#: What PayPal opens, by the ending of the name.
_TYPES: Mapping[str, str] = {
    "pdf": "application/pdf", "png": "image/png", "gif": "image/gif",
    "jpg": "image/jpeg", "jpeg": "image/jpeg",
}  # fmt: skip
#: name, file name, content type, content
_Part = tuple[str, str | None, str, bytes]
#: Longest ``notes``; a longer text goes as several.
LONGEST = 2000


def accepted() -> dict[str, str]:
    """We accept the claim. The operator's reason stays with us: the customer would read it."""
    return {"note": "The claim is accepted.", "accept_claim_type": "REFUND"}


def contested(response: DisputeResponse, *, asked: bool) -> tuple[bytes, str]:
    """The body, and its content type, of evidence that PayPal *asked* for, or of information."""
    told = notes(response.text)
    said: dict[str, Any] = {"notes": told[0]}
    if asked:
        # PayPal asks for proofs of shipment too, which nobody has of a ticket; it takes any other.
        said = {"evidences": [{"evidence_type": "OTHER", "notes": each} for each in told]}
    parts: list[_Part] = [
        ("input", None, "application/json", json.dumps(said, ensure_ascii=False).encode())
    ]
    if response.file:
        name = _file_name(response.file_name)
        parts.append(("file1", name, _TYPES[_ending(name)], response.file))
    return _multipart(parts)


def notes(text: str) -> list[str]:
    """*text* in pieces as long as PayPal takes them."""
    return [text[start : start + LONGEST] for start in range(0, len(text), LONGEST)]


def refuse_file(response: DisputeResponse) -> Answer | None:
    """An answer's file that PayPal cannot open is refused before anything is sent."""
    if response.file and _ending(response.file_name) not in _TYPES:
        return rejected("evidence_type", "a file must be pdf, png, gif, jpg or jpeg")
    return None


def _multipart(parts: list[_Part]) -> tuple[bytes, str]:
    # Made from the content, so that it is not in it, and is the same again.
    digest = hashlib.sha256(b"\0".join(content for *_, content in parts)).hexdigest()
    boundary = f"payctl{digest[:40]}"
    lines: list[bytes] = []
    for name, file_name, kind, content in parts:
        about = f'form-data; name="{name}"' + (f'; filename="{file_name}"' if file_name else "")
        head = f"--{boundary}\r\nContent-Disposition: {about}\r\nContent-Type: {kind}\r\n\r\n"
        lines += [head.encode(), content, b"\r\n"]
    return b"".join((*lines, f"--{boundary}--\r\n".encode())), (
        f"multipart/form-data; boundary={boundary}"
    )


def _file_name(name: str) -> str:
    """*name* in the letters PayPal allows of a document's name."""
    stem = name.rpartition("/")[2].rpartition(".")[0]
    clean = re.sub(r"[^A-Za-z0-9_,-]+", "-", stem).strip("-")[:100] or "evidence"
    return f"{clean}.{_ending(name)}"


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower()
