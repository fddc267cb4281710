"""Serves emulators over HTTP on 127.0.0.1, one at the root or several under their names.

A second party in another process (a client in another language, an operator with ``curl``) steers
them at ``/_emulator/{name}/``:

=====================  ============================================================================
``POST faults``        arm one: ``{"fault", "operation", "times", "after"}``
``DELETE faults``      disarm all
``POST advance``       move the provider's time on: ``{"seconds"}``
``GET state``          everything the provider holds
``GET requests``       method and path of everything that came in
``GET deliveries``     the webhooks it wants to make
``POST deliver``       make those that were not made yet, to addresses of this machine only
``GET help``           what the emulator can do, its own faults included
=====================  ============================================================================
"""

from __future__ import annotations

import inspect
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from payctl.testing.emulators.core import Delivery, Emulator, Exchange, Request, Response

#: Largest request body that is read.
MAX_BODY = 8 * 1024 * 1024
#: Longest wait for whoever receives a webhook.
DELIVER_S = 10.0
#: How often the server looks whether it is to end.
POLL_S = 0.02
_HERE = ("127.0.0.1", "localhost", "::1")


class EmulatorServer:
    """A running server; use it in a ``with``.

    Args:
        emulators: one answers at the root; several each below ``/{name}``.
        port: 0 takes a free one.
    """

    def __init__(self, *emulators: Emulator, port: int = 0) -> None:
        self._server = _Server(("127.0.0.1", port), emulators)
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(POLL_S,), daemon=True)
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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up before its answer is what some faults are for."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def find(self, path: str) -> tuple[Emulator | None, str]:
        """The emulator that *path* is for, and the path below its root."""
        if len(self.by_name) == 1:
            return next(iter(self.by_name.values())), path
        name, _, rest = path.lstrip("/").partition("/")
        return self.by_name.get(name), "/" + rest


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    #: head and body are two writes; the second must not wait for the first one's receipt
    disable_nagle_algorithm = True
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
        root = split.path.removesuffix(path)
        self._play(emulator.receive(Request(self.command, path, query, headers, body, root)))

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
    match method, verb:
        case "POST", "faults":
            operation = str(given.get("operation", "*"))
            times, after = int(given.get("times", 1)), int(given.get("after", 0))
            emulator.fault(str(given["fault"]), operation, times, after)
            return Response(200, {"armed": given["fault"]})
        case "DELETE", "faults":
            emulator.clear_faults()
            return Response(200, {"armed": None})
        case "POST", "advance":
            emulator.advance(float(given["seconds"]))
            return Response(200, {"now": emulator.now().isoformat()})
        case "POST", "deliver":
            # Whoever receives one may ask the emulator at once, so no lock is held here.
            return Response(200, [_deliver(each) for each in emulator.take_deliveries()])
        case "GET", "help":
            text = inspect.getdoc(sys.modules[type(emulator).__module__]) or ""
            return Response(200, text + "\n", {"Content-Type": "text/plain; charset=utf-8"})
    return _look(emulator, method, verb)


def _look(emulator: Emulator, method: str, verb: str) -> Response:
    with emulator.lock:
        match method, verb:
            case "GET", "state":
                return Response(200, json.loads(json.dumps(emulator.state())))
            case "GET", "requests":
                return Response(200, [[each.method, each.path] for each in emulator.requests])
            case "GET", "deliveries":
                return Response(
                    200,
                    [
                        [each.method, each.url, dict(each.headers), each.body.decode()]
                        for each in emulator.deliveries
                    ],
                )
    known = "faults, advance, state, requests, deliveries, deliver, help"
    return Response(404, {"error": known})


def _deliver(delivery: Delivery) -> dict[str, Any]:
    """Make one webhook; only to this machine, because a test must not reach anybody else."""
    split = urlsplit(delivery.url)
    told: dict[str, Any] = {"url": delivery.url}
    if split.scheme != "http" or split.hostname not in _HERE:
        return told | {"error": "only http addresses of this machine are called"}
    connection = HTTPConnection(split.hostname, split.port, timeout=DELIVER_S)
    target = f"{split.path or '/'}?{split.query}" if split.query else split.path or "/"
    try:
        connection.request(delivery.method, target, delivery.body, dict(delivery.headers))
        return told | {"status": connection.getresponse().status}
    except (OSError, HTTPException) as failure:
        return told | {"error": type(failure).__name__}
    finally:
        connection.close()
