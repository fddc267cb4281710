"""From a command line to an exit code: flags, noun, command, errors.

Only the noun that was typed is imported. Every error leaves through here: one sentence, what
happened to the money and what to do next for people, one fixed shape for programs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from importlib import import_module
from typing import TYPE_CHECKING, Any, TextIO

from payctl.cli.flags import Flags, hoist
from payctl.cli.nouns import NOUNS, overview
from payctl.cli.session import Session, use
from payctl.clock import SystemClock
from payctl.errors import ExitCode, InvalidInput, PayctlError

if TYPE_CHECKING:
    from payctl.app import App


def run(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    stdin: TextIO | None = None,
    app: App | None = None,
) -> int:
    """Run one command line and return its exit code.

    Args:
        argv: the words after ``payctl``.
        environ, stdin: instead of the process's own.
        app: services to use instead of building them from the profile (tests, the demo).
    """
    environ = os.environ if environ is None else environ
    session = Session(environ=environ, argv=tuple(argv), stdin=stdin or sys.stdin)
    if app is not None:
        session.__dict__["app"] = app
    use(session)
    try:
        return _logged(session, lambda: _answered(session, argv))
    finally:
        if app is None:
            for built in ("app", "unchecked_app"):
                if built in session.__dict__:
                    session.__dict__[built].close()
        use(None)


def _logged(session: Session, work: Callable[[], int]) -> int:
    """Note in the log what a line that opened the book was and how it ended."""
    clock = SystemClock()
    started = clock.monotonic()
    code = work()
    if "app" in session.__dict__:
        from payctl import log

        took_ms = round((clock.monotonic() - started) * 1000)
        log.info("command", command=session.command, exit_code=code, ms=took_ms)
    return code


def _answered(session: Session, argv: Sequence[str]) -> int:
    try:
        if any("\ud800" <= letter <= "\udfff" for word in argv for letter in word):
            raise InvalidInput("usage.not_utf8")
        session.flags, rest = hoist(argv)
        return _dispatch(session, rest)
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader went away (payctl ... | head); nothing is left to say to anybody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.DONE)
    except PayctlError as error:
        if session.flags == Flags() and "--json" in argv:
            session.flags = Flags(output="json")
        from payctl.cli.failures import report

        return report(error, session)
    except Exception as error:
        from payctl.cli.failures import report_bug

        return report_bug(error, session)


def _dispatch(session: Session, words: list[str]) -> int:
    if words in (["--help"], ["-h"], ["help"]):
        print(overview())
        return 0
    if words == ["--version"]:
        words = ["version"]
    name, *rest = words or ["today"]
    if name not in NOUNS:
        raise _unknown(name)
    return _guarded(session, lambda: build(name, rest[:1]), rest, f"payctl {name}")


def build(name: str, verb: Sequence[str] = ()) -> Any:
    """The Typer command of a noun; imports its module.

    Where *verb* names one of its verbs it has no other: to build them all, each with its options,
    takes longer than to run one.
    """
    import typer

    app = import_module(NOUNS[name].module).app
    commands = [each for each in app.registered_commands if each.name in verb]
    groups = [each for each in app.registered_groups if each.name in verb]
    if commands or groups:
        app = copy(app)
        app.registered_commands, app.registered_groups = commands, groups
    return typer.main.get_command(app)


def _guarded(session: Session, make: Callable[[], Any], words: list[str], prog: str) -> int:
    """Run a noun's command; Typer's own usage errors become ours."""
    import typer

    command = make()
    try:
        code = command.main(args=words, prog_name=prog, standalone_mode=False)
    except typer.Abort:
        return int(ExitCode.INTERRUPTED)
    except typer.TyperException as error:
        raise _usage(error, prog) from None
    sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _usage(error: Any, prog: str) -> InvalidInput:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else prog
    parameter = getattr(error, "param", None)
    field = getattr(parameter, "name", None)
    text = " ".join(error.format_message().split())
    return InvalidInput("usage", field=field, text=text.rstrip("."), help=f"{path} --help")


def _unknown(name: str) -> InvalidInput:
    if name.startswith("-"):
        return InvalidInput("usage", text=f"No such option: {name[:40]}", help="payctl --help")
    from difflib import get_close_matches

    near = get_close_matches(name, NOUNS, 1)
    if near:
        return InvalidInput("usage.unknown_noun_near", field="noun", noun=name[:40], near=near[0])
    return InvalidInput("usage.unknown_noun", field="noun", noun=name[:40])
