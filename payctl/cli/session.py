"""What one command line runs with: its output, its language, its profile, its operator.

Everything costly is built when first asked for: ``payctl version`` never reads a configuration
file, and only a command that touches ``session().app`` opens the database.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from payctl.cli.flags import FORMATS, Flags
from payctl.clock import Clock, SystemClock
from payctl.errors import InvalidInput

if TYPE_CHECKING:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from payctl.app import App
    from payctl.config import Config
    from payctl.db.actor import Actor

_TRUE = frozenset({"1", "true", "yes", "on"})


@dataclass
class Session:
    """One run of the command line.

    Attributes:
        flags: the global flags.
        environ: the process environment.
        command: the command line, for audit; card numbers, phones and secrets are taken out.
        dry_run, yes, confirmation: what ``--dry-run``, ``--yes`` and ``--confirm`` said; filled by
            the framework for commands declared with ``changes=True``.
    """

    flags: Flags = field(default_factory=Flags)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    argv: Sequence[str] = ()
    stdin: TextIO = field(default_factory=lambda: sys.stdin, repr=False)
    dry_run: bool = False
    yes: bool = False
    confirmation: str | None = None

    # -- output -----------------------------------------------------------------------------------

    @cached_property
    def output(self) -> str:
        """``table``, ``plain``, ``json``, ``jsonl`` or ``csv``."""
        if self.flags.output:
            return self.flags.output
        chosen = self.environ.get("PAYCTL_OUTPUT", "")
        if chosen and chosen not in FORMATS:
            raise InvalidInput(
                "flag.bad_choice",
                field="output",
                flag="PAYCTL_OUTPUT",
                value=chosen[:40],
                choices=", ".join(FORMATS),
            )
        return chosen or ("table" if sys.stdout.isatty() else "plain")

    @property
    def is_json(self) -> bool:
        return self.output in ("json", "jsonl")

    @property
    def fields(self) -> tuple[str, ...]:
        return self.flags.fields

    @property
    def quiet(self) -> bool:
        return self.flags.quiet

    @property
    def verbose(self) -> int:
        return self.flags.verbose

    @property
    def debug(self) -> bool:
        return self.flags.debug or self.environ.get("PAYCTL_DEBUG", "").lower() in _TRUE

    def colored(self, stream: TextIO) -> bool:
        """Whether *stream* may carry colours; a state is never told by colour alone."""
        if self.flags.no_color or self.environ.get("NO_COLOR"):
            return False
        if self.environ.get("FORCE_COLOR"):
            return True
        return stream.isatty() and self.environ.get("TERM") != "dumb"

    # -- input ------------------------------------------------------------------------------------

    @property
    def no_input(self) -> bool:
        """Whether a question must be refused instead of asked: also when stdin is no terminal."""
        silent = self.environ.get("PAYCTL_NO_INPUT", "").lower() in _TRUE
        return self.flags.no_input or silent or not self.stdin.isatty()

    @cached_property
    def command(self) -> str:
        from payctl.log import redact

        return redact(shlex.join(["payctl", *self.argv]))[:1000]

    # -- language and time ------------------------------------------------------------------------

    @cached_property
    def lang(self) -> str:
        """``en`` or ``fr``: ``--lang``, PAYCTL_LANG, the profile (when already read), LANG."""
        chosen = self.flags.lang or self.environ.get("PAYCTL_LANG")
        if chosen is None and "config" in self.__dict__:
            chosen = self.config.get("language")
        if chosen is None:
            locale = (self.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
            chosen = next((value for value in locale if value), "en")
        return "fr" if chosen.lower().startswith("fr") else "en"

    @cached_property
    def tz(self) -> ZoneInfo:
        """Zone of printed and typed times: ``--tz``, PAYCTL_TZ, the profile's."""
        from zoneinfo import ZoneInfo

        from payctl.settings import is_zone

        name = self.flags.tz or self.environ.get("PAYCTL_TZ") or self.config.timezone
        if not is_zone(name):
            raise InvalidInput("time.unknown_zone", field="tz", zone=name[:60])
        return ZoneInfo(name)

    @property
    def clock(self) -> Clock:
        """The book's clock once there is a book, else the machine's."""
        return self.app.db.clock if "app" in self.__dict__ else SystemClock()

    def now(self) -> datetime:
        return self.clock.now()

    # -- profile, services, operator --------------------------------------------------------------

    @cached_property
    def config(self) -> Config:
        """The profile. Notes about it (ignored variables) are for ``config validate``."""
        from payctl.config import load

        path = Path(self.flags.config) if self.flags.config else None
        flags = {"language": self.flags.lang} if self.flags.lang else {}
        return load(environ=self.environ, profile=self.flags.profile, path=path, flags=flags)

    @property
    def profile(self) -> str:
        return self.config.profile

    @cached_property
    def app(self) -> App:
        """The services of this profile; opens the log and the database.

        Raises:
            InvalidInput: ``usage.correlation_id``.
        """
        from payctl import log
        from payctl.app import App
        from payctl.log_settings import CORRELATION_ID

        config = self.config
        self.open_log()
        given = self.environ.get(CORRELATION_ID)
        if given and log.correlation() != given:
            raise InvalidInput("usage.correlation_id", field=CORRELATION_ID)
        return App.open(config)

    def open_log(self) -> None:
        """Direct the log to where the profile says, or to the usual file when there is none."""
        from payctl.log_settings import open_log

        open_log(lambda: self.config, self.environ)

    @cached_property
    def unchecked_app(self) -> App:
        """The services, without asking whether the book is complete: to upgrade or examine it."""
        from payctl.app import App

        return self.__dict__.get("app") or App(self.config)

    @cached_property
    def actor(self) -> Actor:
        """Whoever runs this, as the book knows them."""
        return self.app.operators.current(token=self.config.operator_token, command=self.command)


_current: ContextVar[Session | None] = ContextVar("payctl_session", default=None)


def session() -> Session:
    """The session of the running command line."""
    found = _current.get()
    if found is None:
        found = Session()
        _current.set(found)
    return found


def use(new: Session | None) -> None:
    """Make *new* the current session; done by ``payctl.cli.main`` and by tests."""
    _current.set(new)
