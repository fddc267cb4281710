"""A receiving end as the core service would have it, and notifications to send there."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID

from payctl.db.engine import Database
from payctl.db.operators import job_actor
from payctl.notifications.http import Channel
from payctl.notifications.outbox import Notification, Outbox
from payctl.notifications.relay import Relay
from payctl.notifications.schedule import Parcel, Result
from payctl.notifications.senders import CoreSender, Sender
from payctl.notifications.signing import key_of
from payctl.notifications.target import parse

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
ACTOR = job_actor("outbox_relay", "job.outbox")


@dataclass(frozen=True)
class Request:
    """What came in. ``peer`` tells connections apart."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    peer: int

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


#: A status and response headers.
Reply = tuple[int, Mapping[str, str]]


@dataclass
class Receiver:
    """A server on this machine that remembers every request and answers what ``reply`` says."""

    reply: Callable[[Request], Reply] = lambda request: (200, {})
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def ids(self) -> list[str]:
        return [request.id for request in self.requests]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that does not trust us hangs up."""

    request_queue_size = 64


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver, lock = Receiver(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.path, headers, body, self.client_address[1])
            with lock:
                receiver.requests.append(request)
            status, more = receiver.reply(request)
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = _Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    receiver.url = (
        f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}/hooks?from=payctl"
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sender_to(db: Database, url: str, *secrets: str, width: int = 4) -> CoreSender:
    keys, target = [key_of(each) for each in secrets or (SECRET,)], parse(url)
    return CoreSender(
        keys, lambda: Channel(target, db.clock, allow_private=True), db.clock, width=width
    )


@contextmanager
def relaying(db: Database, url: str, *secrets: str, width: int = 4) -> Iterator[Relay]:
    """A relay over HTTP."""
    relay = Relay(db, "core", sender_to(db, url, *secrets, width=width))
    try:
        yield relay
    finally:
        relay.close()


def tell(db: Database, *objects: UUID, type: str = "payment.succeeded") -> list[UUID]:
    """One more notification of each object, in one commit; their ids."""
    outbox = Outbox(db)
    with db.transaction() as tx:
        return [outbox.append(tx, type, "payment", each, {"amount_minor": 5}) for each in objects]


@dataclass
class Scripted(Sender):
    """A sender without a network: what each try ends in is up to ``outcome``."""

    outcome: Callable[[Notification], str] = lambda notification: "delivered"
    tried: list[Notification] = field(default_factory=list)
    took: list[Notification] = field(default_factory=list)
    stops: bool = True

    def send(self, parcels: list[Parcel], until: float) -> list[Result]:  # type: ignore[override]
        results: list[Result] = []
        for parcel in parcels:
            if self.stops and results and results[-1].outcome in ("down", "throttled", "gone"):
                results.append(Result(parcel, "unsent"))
                continue
            outcome = self.outcome(parcel.notification)
            self.tried.append(parcel.notification)
            if outcome == "delivered":
                self.took.append(parcel.notification)
            reason = None if outcome == "delivered" else outcome
            results.append(Result(parcel, outcome, reason))
        return results

    def close(self) -> None: ...
