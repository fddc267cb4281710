"""Serves emulators over HTTP on 127.0.0.1, one at the root or several under their names.

A second party in another process (a client in another language, an operator with ``curl``) steers
them at ``/_emulator/{name}/``: ``POST faults`` with ``{"fault", "operation", "times", "after"}``,
``POST advance`` with ``{"seconds"}``, ``GET state``, ``GET requests``, ``GET deliveries``.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from payctl.testing.emulators.core import Emulator, Exchange, Request, Response

#: Largest request body that is read.
MAX_BODY = 8 * 1024 * 1024


class EmulatorServer:
    """A running server; use it in a ``with``.

    Args:
        emulators: one answers at the root; several each below ``/{name}``.
        port: 0 takes a free one.
    """

    def __init__(self, *emulators: Emulator, port: int = 0) -> None:
        self._server = _Server(("127.0.0.1", port), emulators)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._several = len(emulators) > 1

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def url_of(self, emulator: Emulator) -> str:
        """The base address of *emulator*."""
        return f"{self.url}/{emulator.name}" if self._several else self.url

    def start(self) -> Self:
        self._thread.start()
        return self

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, address: tuple[str, int], emulators: Sequence[Emulator]) -> None:
        self.by_name = {emulator.name: emulator for emulator in emulators}
        super().__init__(address, _Handler)

    def find(self, path: str) -> tuple[Emulator | None, str]:
        """The emulator that *path* is for, and the path below its root."""
        if len(self.by_name) == 1:
            return next(iter(self.by_name.values())), path
        name, _, rest = path.lstrip("/").partition("/")
        return self.by_name.get(name), "/" + rest


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: :attr:`Emulator.requests` has it all."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        split = urlsplit(self.path)
        size = min(int(self.headers.get("Content-Length") or 0), MAX_BODY)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(split.query, keep_blank_values=True))
        body = self.rfile.read(size)
        if split.path.startswith("/_emulator/"):
            self._write(_control(self.server, self.command, split.path, body))
            return
        emulator, path = self.server.find(split.path)
        if emulator is None:
            known = ", ".join(sorted(self.server.by_name))
            self._write(Response(404, {"error": f"no emulator there; there are: {known}"}))
            return
        self._play(emulator.receive(Request(self.command, path, query, headers, body)))

    def _play(self, exchange: Exchange) -> None:
        if exchange.wait_s:
            time.sleep(exchange.wait_s)
        if exchange.response is None:
            self.close_connection = True
            return
        self._write(exchange.response, reset=exchange.reset)

    def _write(self, response: Response, reset: bool = False) -> None:
        content = response.content()
        self.send_response(response.status)
        headers = {"Content-Type": "application/json", **response.headers}
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if not reset:
            self.wfile.write(content)
            return
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        # Closing with a zero linger time sends a reset instead of an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def finish(self) -> None:
        """A connection that was cut has nothing left to flush."""
        if self.connection.fileno() != -1:
            super().finish()


def _control(server: _Server, method: str, path: str, body: bytes) -> Response:
    """Steer an emulator from outside."""
    name, _, verb = path.removeprefix("/_emulator/").partition("/")
    emulator = server.by_name.get(name)
    if emulator is None:
        return Response(404, {"error": f"there are: {', '.join(sorted(server.by_name))}"})
    try:
        given = json.loads(body) if body else {}
        return _steer(emulator, method, verb, given)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return Response(400, {"error": str(error)})


def _steer(emulator: Emulator, method: str, verb: str, given: Mapping[str, Any]) -> Response:
    if (method, verb) == ("POST", "faults"):
        emulator.fault(
            str(given["fault"]), str(given.get("operation", "*")), int(given.get("times", 1)),
            int(given.get("after", 0)),
        )  # fmt: skip
        return Response(200, {"armed": given["fault"]})
    if (method, verb) == ("POST", "advance"):
        emulator.advance(float(given["seconds"]))
        return Response(200, {"now": emulator.now().isoformat()})
    with emulator.lock:
        if (method, verb) == ("GET", "state"):
            return Response(200, emulator.state())
        if (method, verb) == ("GET", "requests"):
            return Response(200, [[each.method, each.path] for each in emulator.requests])
        if (method, verb) == ("GET", "deliveries"):
            return Response(
                200,
                [
                    [each.method, each.url, dict(each.headers), each.body.decode()]
                    for each in emulator.deliveries
                ],
            )
    return Response(404, {"error": "faults, advance, state, requests, deliveries"})
