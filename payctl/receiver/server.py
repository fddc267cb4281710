"""Runs the receiver: one or several processes that answer, and one that applies what came.

Every process reads the profile itself, so none shares a connection or a thread with another. The
process that applies ends with the one that started it, however that ends.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from payctl.errors import NotConfigured
from payctl.receiver import connections
from payctl.receiver.application import Receiver
from payctl.receiver.applier import GRACE_S, Applier, open_app

#: The writer comes back from the database to a busy interpreter: it must not wait 5 ms for it.
SWITCH_S = 0.0005
_ENV_PROFILE, _ENV_CONFIG = "PAYCTL_PROFILE", "PAYCTL_CONFIG"


@dataclass(frozen=True, slots=True)
class Where:
    """Which profile, as a process that is started anew must be told."""

    profile: str | None
    config: str | None


def serve(
    where: Where,
    host: str,
    port: int,
    *,
    workers: int = 1,
    apply: bool = True,
    listening: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until SIGTERM or SIGINT, which end the process.

    Args:
        workers: processes that answer.
        apply: also run a process that applies events.
        listening: told the address once connections are accepted.

    Raises:
        NotConfigured: ``receiver.cannot_listen``.
    """
    _remember(where)
    more_files()
    # uvicorn ends in good order and then raises the signal once more, for whoever was there first.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    application = create() if workers == 1 else None
    listener = _listen(host, port)
    listening(f"http://{_shown(listener)}")
    applier = Applier() if apply else None
    if applier is not None:
        applier.start()
    try:
        if application is not None:
            server = uvicorn.Server(_config(application))
            server.run(sockets=[listener])
        else:
            config = _config("payctl.receiver.server:create", workers=workers)
            Multiprocess(config, sockets=[listener]).run()
    finally:
        listener.close()
        if applier is not None:
            applier.stop()


def create() -> Receiver:
    """The application of this process, by the environment; also what a worker process runs."""
    sys.setswitchinterval(SWITCH_S)
    receiver = Receiver(open_app())
    receiver.warm()
    return receiver


def more_files() -> None:
    """As many open connections as the system lets us have, and room for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections.MAX_CONNECTIONS + 200
    if soft < wanted and soft != resource.RLIM_INFINITY:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def _config(app: Any, workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=workers,
        http=connections.GuardedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level=logging.ERROR,
        access_log=False,
        # Addresses are our own matter (receiver/addresses): only named proxies are believed.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=round(connections.IDLE_S),
        timeout_graceful_shutdown=GRACE_S,
        backlog=2048,
    )


def _leave(_number: int, _frame: object) -> None:
    raise SystemExit(0)


def _remember(where: Where) -> None:
    """Child processes are started anew and have nothing but the environment."""
    for name, value in ((_ENV_PROFILE, where.profile), (_ENV_CONFIG, where.config)):
        if value is not None:
            os.environ[name] = value


def _listen(host: str, port: int) -> socket.socket:
    try:
        info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, proto, _, address = info[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
        listener.set_inheritable(True)
    except OSError as error:
        raise NotConfigured(
            "receiver.cannot_listen", host=host, port=port, detail=error.strerror or str(error)
        ) from None
    return listener


def _shown(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
