"""Kiosk itself, to break: a small HTTP server that keeps payments and can be told to fail."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class KioskFake:
    """``fault`` spoils the next request; ``state`` and ``why`` are how the next payment goes."""

    def __init__(self) -> None:
        self.payments: list[dict[str, Any]] = []
        self.fault, self.state, self.why = "", "paid", None
        fake = self

        class Handler(_Handler):
            provider = fake

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def create(self, wanted: dict[str, Any]) -> dict[str, Any]:
        made = {"id": f"ksk_{len(self.payments)}", "state": self.state, "why": self.why, **wanted}
        self.payments.append(made)
        return made

    def find(self, name: str) -> dict[str, Any] | None:
        return next(
            (each for each in self.payments if name in (each["id"], each["reference"])), None
        )


class _Handler(BaseHTTPRequestHandler):
    provider: KioskFake

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if self.path == "/ping":
            self._write(200, "{}")
            return
        found = self.provider.find(self.path.rpartition("/")[2])
        self._write(200 if found else 404, json.dumps(found))

    def do_POST(self) -> None:
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault, self.provider.fault = self.provider.fault, ""
        if fault == "silence":
            time.sleep(1)
        if fault in ("silence", "no_effect"):
            return
        if fault in ("429", "401", "503"):
            self._write(int(fault), "{}")
            return
        made = self.provider.create(wanted)
        if fault != "lost_answer":
            self._write(200, "<html>" if fault == "garbage" else json.dumps(made))

    def _write(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
