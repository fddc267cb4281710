"""The HTTP side of a provider's fake: reads a request, lets its fault happen, writes the answer."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

Params = dict[str, str]


class Fake(Protocol):
    """What the HTTP side needs of the provider behind it."""

    hang_s: float
    requests: list[tuple[str, str, Params, dict[str, str]]]

    def take_fault(self, path: str) -> str | None: ...

    def answer(
        self, method: str, path: str, params: Params, key: str | None, fault: str | None
    ) -> tuple[int, dict[str, Any], bool]: ...


def handler_of(fake: Fake) -> type[BaseHTTPRequestHandler]:
    """The HTTP side: reads a request, lets its fault happen, writes the answer."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: tests read :attr:`StripeFake.requests`."""

        def do_GET(self) -> None:
            self._serve("GET", dict(parse_qsl(urlsplit(self.path).query)))

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            self._serve("POST", dict(parse_qsl(self.rfile.read(size).decode("utf-8", "replace"))))

        def _serve(self, method: str, params: Params) -> None:
            path = urlsplit(self.path).path
            headers = {name.lower(): value for name, value in self.headers.items()}
            fake.requests.append((method, path, params, headers))
            fault = fake.take_fault(path)
            if fault == "hang":
                time.sleep(fake.hang_s)
            if fault in ("drop", "hang"):
                self.close_connection = True
                return
            if fault in _PLAIN:
                self._write(*_PLAIN[fault])
                return
            key = headers.get("idempotency-key")
            status, body, replayed = fake.answer(method, path, params, key, fault)
            if fault == "hang_after":
                time.sleep(fake.hang_s)
            if fault in ("drop_after", "hang_after"):
                self.close_connection = True
                return
            text = json.dumps(body)
            if fault in ("html_after", "empty_after"):
                text = "<html>gateway</html>" if fault == "html_after" else ""
            more = {"Idempotent-Replayed": "true"} if replayed else {}
            if fault == "notice":
                more["Stripe-Notice"] = "this version is old"
            self._write(status, text, more, cut=fault == "reset_after")

        def _write(
            self, status: int, text: str, more: Mapping[str, str] | None = None, cut: bool = False
        ) -> None:
            data = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Request-Id", f"req_fake{len(fake.requests)}")
            for name, value in (more or {}).items():
                self.send_header(name, value)
            self.end_headers()
            if not cut:
                self.wfile.write(data)
                return
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            # Closing with a zero linger time sends a reset instead of an orderly end.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
            self.close_connection = True

        def finish(self) -> None:
            """A connection that was cut has nothing left to flush."""
            if self.connection.fileno() != -1:
                super().finish()

    return Handler


def _error(message: str, code: str | None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code}}


#: Faults that answer before anything happens: status, body, headers.
_PLAIN: dict[str, tuple[int, str, dict[str, str]]] = {
    "503": (503, json.dumps(_error("not now", None, "api_error")), {}),
    "409": (409, json.dumps(_error("key in use", "idempotency_key_in_use")), {}),
    "429": (429, json.dumps(_error("slow down", "rate_limit")), {"Retry-After": "2"}),
    "401": (401, json.dumps(_error("Invalid API Key", None)), {}),
    "html_400": (400, "<html>bad request</html>", {}),
    "html_403": (403, "<html>forbidden</html>", {}),
}
