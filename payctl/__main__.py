"""``python -m payctl`` and the ``payctl`` command."""

from __future__ import annotations

import gc
import sys

#: More objects than a command makes that reads or writes one thing; most come of its imports.
_MANY_OBJECTS = 100_000


def main() -> None:
    """Run the command line of this process and exit with its code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        # Answered before anything else is imported.
        from payctl import __version__

        print(f"payctl {__version__}")
        return
    _collect_later()
    try:
        from payctl.cli.main import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    # Ending, the interpreter would look for garbage among all that it is about to give up.
    gc.freeze()
    sys.exit(code)


def _collect_later() -> None:
    """Begin to look for garbage when there is much to find: what a command imports is none, and to
    look through it time and again is a tenth of its life. One that lives longer collects as usual,
    but never again among what has stayed until the first time.
    """
    usual = gc.get_threshold()

    def collected(phase: str, _info: object) -> None:
        if phase == "stop":
            gc.callbacks.remove(collected)
            gc.freeze()
            gc.set_threshold(*usual)

    gc.callbacks.append(collected)
    gc.set_threshold(_MANY_OBJECTS, *usual[1:])


if __name__ == "__main__":
    main()
