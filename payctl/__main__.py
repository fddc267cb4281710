"""``python -m payctl`` and the ``payctl`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process and exit with its code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        # Answered before anything else is imported.
        from payctl import __version__

        print(f"payctl {__version__}")
        return
    try:
        from payctl.cli.main import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
