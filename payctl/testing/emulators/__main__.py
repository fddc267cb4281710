"""Providers on this machine: ``python -m payctl.testing.emulators [NAME ...]``.

Serves the named emulators (all, without a name) on 127.0.0.1 until it is interrupted, and prints
the base address of each and how to make it misbehave.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from inspect import isabstract
from pathlib import Path
from pkgutil import iter_modules

import payctl.testing.emulators as package
from payctl.testing.emulators.core import Emulator
from payctl.testing.emulators.scenario import BadScenario, play
from payctl.testing.emulators.server import EmulatorServer

PORT = 9100
_NO_PROVIDERS = ("__main__", "core", "scenario", "server")


def discovered() -> dict[str, type[Emulator]]:
    """Every emulator in this package, by name."""
    found: dict[str, type[Emulator]] = {}
    for module in iter_modules(package.__path__):
        if module.name in _NO_PROVIDERS:
            continue
        for each in vars(import_module(f"{package.__name__}.{module.name}")).values():
            if isinstance(each, type) and issubclass(each, Emulator) and not isabstract(each):
                found[each.name] = each
    return dict(sorted(found.items()))


def main(words: Sequence[str], stop: threading.Event | None = None) -> int:
    """Serve until *stop* (or Ctrl-C); 2 when what was asked for cannot be served."""
    known = discovered()
    options = _parser(known).parse_args(words)
    names = options.names or list(known)
    if strange := [name for name in names if name not in known]:
        return _refuse(f"there is no emulator {', '.join(strange)}; there are {', '.join(known)}")
    emulators = {name: known[name]() for name in names}
    try:
        steps = play(options.scenario, emulators) if options.scenario else 0
        server = EmulatorServer(*emulators.values(), port=options.port)
    except (BadScenario, OSError) as error:
        return _refuse(str(error))
    with server:
        for emulator in emulators.values():
            print(described(server, emulator), flush=True)
        if steps:
            print(f"{steps} steps of {options.scenario} are armed", flush=True)
        print("Ctrl-C ends", flush=True)
        try:
            (stop or threading.Event()).wait()
        except KeyboardInterrupt:
            print("ended", file=sys.stderr)
    return 0


def described(server: EmulatorServer, emulator: Emulator) -> str:
    """Where *emulator* is and how to steer it."""
    control = f"{server.url}/_emulator/{emulator.name}"
    fault = json.dumps({"fault": "drop_after", "operation": emulator.example})
    return "\n".join(
        (
            f"{emulator.name}: {server.url_of(emulator)}",
            f"  its faults    curl {control}/help",
            f"  arm one       curl {control}/faults -d '{fault}'",
            f"  its time      curl {control}/advance -d '{{\"seconds\": 3600}}'",
            f"  what it holds curl {control}/state",
            f"  its webhooks  curl -X POST {control}/deliver",
        )
    )


def _refuse(why: str) -> int:
    print(why, file=sys.stderr)
    return 2


def _parser(known: dict[str, type[Emulator]]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m payctl.testing.emulators", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help=", ".join(known))
    parser.add_argument("--port", type=int, default=PORT, help=f"default {PORT}; 0: a free one")
    parser.add_argument("--scenario", type=Path, metavar="FILE", help="JSON: what goes wrong")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
