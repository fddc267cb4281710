"""How to write a noun. Everything a noun file needs is imported from here.

A noun file ``payctl/cli/NOUN.py`` parses, confirms and prints: no SQL, no HTTP, no arithmetic on
money. Its name and summary stand in :mod:`payctl.cli.nouns`, so that ``payctl --help`` lists it
without importing it. A complete one::

    \"\"\"``payctl boxes``: count and open boxes.\"\"\"

    from __future__ import annotations

    from typing import Annotated, Any

    import typer

    from payctl import ids
    from payctl.cli.framework import (
        AfterOption, Column, ExitCode, LimitOption, ReasonOption, command, confirm, emit, emit_list,
        finish, noun, session, undo,
    )

    app = noun("boxes")
    COLUMNS = (
        Column("id", "id", rank=0),                    # rank 0: never left out of a narrow table
        Column("status", "state"),
        Column("amount_minor", "money", rank=0),       # its currency stands beside it in "currency"
        Column("opened_at", "time", rank=2),
    )
    BoxId = Annotated[str, typer.Argument(metavar="BOX", help="The box.")]


    @command(app, "list", examples=["payctl boxes list", "payctl boxes list --status open --json"])
    def list_boxes(status: StatusOption = None, limit: LimitOption = 50,
                   after: AfterOption = None) -> None:
        \"\"\"List boxes, newest first.\"\"\"
        page = session().app.boxes.list(status=status, limit=limit, after=after)
        emit_list(map(_json, page.items), "payctl.boxes/1", COLUMNS, next_cursor=page.next,
                  hint="payctl boxes show ID")


    @command(app, "open", changes=True,
             examples=["payctl boxes open box_... --reason audit",
                       "payctl boxes open box_... --reason audit --dry-run"],
             exits={ExitCode.CONFLICT: "the box is open already"})
    def open_box(box: BoxId, reason: ReasonOption) -> None:
        \"\"\"Open a box.\"\"\"
        run = session()
        service, box_id = run.app.boxes, ids.decode(box, "box")
        found = service.get(box_id)
        confirm([f"open box {box}"], found.amount_minor, found.currency)
        done = service.open(run.actor, box_id, reason=reason, dry_run=run.dry_run)
        emit(_json(done), "payctl.box/1", COLUMNS)
        undo(f"payctl boxes close {box}")


    def _json(box: Any) -> dict[str, Any]:
        return {"id": ids.encode("box", box.id), "status": box.status,
                "amount_minor": box.amount_minor, "currency": box.currency,
                "opened_at": box.opened_at}

Rules
- The function's docstring is the help: its first line is the summary. At least two ``examples``.
  ``exits`` names exit codes that mean something special here. A test fails without.
- ``changes=True`` gives the command ``--dry-run``, ``--yes`` and ``--confirm`` without declaring
  them; read ``session().dry_run`` and hand it to the service (which runs the real code in
  ``db.rehearsal()``). Such a command must call :func:`confirm` before it acts: it shows the LIVE
  banner, asks, refuses without a terminal, and does nothing on a test profile or in a dry run.
  ``confirm(..., severe=True)`` for bulk; ``word="NAME"`` when there is no amount to type.
- JSON keys: ``id`` encoded by ``ids.encode``, money as ``amount_minor`` + ``currency`` (a second
  amount is named, ``refunded_minor``), times as aware datetimes, never a UUID, never a float.
  Give the schema's name as an argument, not in the mapping. Commit ``payctl/cli/schemas/NAME.json``
  (for ``payctl.box/1``: ``payctl.box.1.json``); ``tests/cli/schemas.py`` validates.
- Entries of the ledger: :func:`emit_entries` (a dry run's table of debits and credits).
- An outcome that is no error but has its own exit code: print first, then
  ``finish(ExitCode.OPEN)``.
- Errors: raise the classes of :mod:`payctl.errors`; never catch one to print it. Messages for
  people go through :func:`note` (stderr); data through ``emit``. Long work: ``with progress(...)``.
- A noun of one command (``trace``): ``app = single("trace")`` and ``@command(app, "trace", ...)``.
- A verb with verbs of its own (``gateways breaker show``): ``sub = group(app, "breaker", "…")``.
- The global flags (``-o -q -v --json --fields --profile --lang --tz ...``) are taken before the
  command sees them: do not declare those names.
- Import SQLAlchemy, services and everything that imports them inside the functions (or under
  ``TYPE_CHECKING`` for annotations of helpers): ``payctl NOUN --help`` and the completion of the
  shell import your module, and a test fails when that loads a heavy library.
- Tests: ``tests/cli/runner.py`` runs a line in process against a test book:
  ``run("boxes", "list", "--json", db=db)``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, NoReturn, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from payctl.cli.cells import Column, Section
from payctl.cli.confirm import NotConfirmed, confirm
from payctl.cli.entries import emit_entries
from payctl.cli.nouns import NOUNS
from payctl.cli.options import (
    AfterOption,
    AllOption,
    AmountMinorOption,
    AmountOption,
    AsOfOption,
    ConfirmOption,
    CurrencyFilter,
    CurrencyOption,
    DryRunOption,
    GatewayOption,
    KeyOption,
    LimitOption,
    ReasonOption,
    SinceOption,
    StatusOption,
    UntilOption,
    YesOption,
    amount_of,
    moment_of,
    needed,
    needs_no_dry_run,
    required_amount,
    span_of,
)
from payctl.cli.output import detail, emit, emit_list, note, undo, write_text
from payctl.cli.progress import progress
from payctl.cli.session import Session, session
from payctl.errors import ExitCode

__all__ = [
    "AfterOption", "AllOption", "AmountMinorOption", "AmountOption", "AsOfOption", "Column",
    "CommandSpec", "ConfirmOption", "CurrencyFilter", "CurrencyOption", "DryRunOption", "ExitCode",
    "GatewayOption", "KeyOption", "LimitOption", "NotConfirmed", "ReasonOption", "Section",
    "Session", "SinceOption", "StatusOption", "UntilOption", "YesOption", "amount_of", "command",
    "confirm", "detail", "emit", "emit_entries", "emit_list", "finish", "group", "moment_of",
    "needed", "needs_no_dry_run", "note", "noun", "progress", "required_amount", "session",
    "single", "span_of", "spec_of", "undo", "write_text",
]  # fmt: skip

F = TypeVar("F", bound=Callable[..., None])

#: Added to a command that changes something, unless it declares one itself.
_CHANGE_OPTIONS: Mapping[str, tuple[Any, Any]] = {
    "dry_run": (DryRunOption, False),
    "yes": (YesOption, False),
    "confirm": (ConfirmOption, None),
}
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 80}


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """What the command tree, the reference and the tests know of a command."""

    summary: str
    examples: tuple[str, ...]
    exits: Mapping[ExitCode, str]
    changes: bool


class HelpfulCommand(TyperCommand):
    """A command whose help ends in its examples and its special exit codes, as plain text."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        spec = spec_of(self)
        if spec is None:
            return
        with formatter.section("Examples"):
            for example in spec.examples:
                formatter.write(f"{'':>{formatter.current_indent}}$ {example}\n")
        if spec.exits:
            with formatter.section("Exit codes"):
                formatter.write_dl([(str(int(code)), text) for code, text in spec.exits.items()])


class Group(TyperGroup):
    """A noun, or a verb with verbs of its own. Without a verb it shows its help and exits 2, so
    that a script whose variable was empty does not pass for one that did something."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help(), err=True)
            raise typer.Exit(ExitCode.USAGE)
        return super().parse_args(ctx, args)


def noun(name: str) -> typer.Typer:
    """The Typer application of a noun with verbs."""
    return _application(name, NOUNS[name].summary)


def single(name: str) -> typer.Typer:
    """The Typer application of a noun that is itself the command."""
    if name not in NOUNS:
        raise KeyError(name)
    return typer.Typer(
        name=name, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
    )


def group(parent: typer.Typer, name: str, summary: str) -> typer.Typer:
    """A verb with verbs of its own below *parent*."""
    app = _application(name, summary)
    parent.add_typer(app, name=name)
    return app


def command(
    app: typer.Typer,
    name: str,
    *,
    examples: Sequence[str],
    changes: bool = False,
    exits: Mapping[ExitCode, str] | None = None,
    hidden: bool = False,
) -> Callable[[F], F]:
    """Register a function as the command *name* of *app*; see the module's text."""

    def register(function: F) -> F:
        summary = (inspect.getdoc(function) or "").partition("\n")[0]
        spec = CommandSpec(summary, tuple(examples), dict(exits or {}), changes)
        wrapped = _with_change_options(function) if changes else function
        wrapped.__payctl__ = spec  # type: ignore[attr-defined]
        app.command(name, cls=HelpfulCommand, context_settings=_CONTEXT, hidden=hidden)(wrapped)
        return function

    return register


def spec_of(command: Any) -> CommandSpec | None:
    """The spec of a built Typer command; ``None`` for a group."""
    spec = getattr(command.callback, "__payctl__", None)
    return spec if isinstance(spec, CommandSpec) else None


def finish(code: ExitCode) -> NoReturn:
    """End with *code* after the result has been printed."""
    raise typer.Exit(int(code))


def _application(name: str, summary: str) -> typer.Typer:
    app = typer.Typer(
        name=name,
        cls=Group,
        help=summary[0].upper() + summary[1:] + ".",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=_CONTEXT,
    )
    # With a callback Typer keeps a noun of one verb a group.
    app.callback()(_nothing)
    return app


def _nothing() -> None:
    """Nothing is shared by the verbs of a noun: what they share is in the session."""


def _with_change_options(function: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(function, eval_str=True)
    own = signature.parameters
    added = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _CHANGE_OPTIONS.items()
        if name not in own
    ]

    @functools.wraps(function)
    def wrapped(**given: Any) -> None:
        run = session()
        run.dry_run = bool(given.get("dry_run"))
        run.yes = bool(given.get("yes"))
        run.confirmation = given.get("confirm")
        function(**{name: value for name, value in given.items() if name in own})

    wrapped.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own.values(), *added]
    )
    return wrapped
