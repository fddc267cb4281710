"""``payctl config``: settings, where each comes from, and whether they hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from payctl import config_file
from payctl.cli.framework import (
    Column,
    ExitCode,
    command,
    confirm,
    emit,
    emit_list,
    note,
    noun,
    session,
    write_text,
)
from payctl.cli.messages import render
from payctl.cli.session import Session
from payctl.config import Config, load
from payctl.config_layers import candidates, user_file
from payctl.errors import NotConfigured, PayctlError
from payctl.settings import is_secret

app = noun("config")

_KEY = Column("key", "id", rank=0)
_VALUE = Column("value", "long", rank=0)
_ORIGIN = Column("origin", "long", rank=1)


@command(
    app,
    "show",
    examples=[
        "payctl config show",
        "payctl config show --origin --profile live",
        "payctl config show --json",
    ],
)
def show(
    origin: Annotated[bool, typer.Option("--origin", help="Also where each comes from.")] = False,
) -> None:
    """Show every setting in force; secrets as reference and fingerprint.

    JSON always carries the origin. Precedence: flags, environment, files, the former service's
    variables, defaults.
    """
    config = session().config
    items = [
        {"key": line.key, "value": line.value, "origin": line.origin} for line in config.shown()
    ]
    columns = (_KEY, _VALUE, _ORIGIN) if origin else (_KEY, _VALUE)
    extra = {"profile": config.profile}
    emit_list(items, "payctl.config/1", columns, id_key="key", extra=extra)
    for line in config.notes:
        note(f"note: {line}")


@command(app, "path", examples=["payctl config path", "payctl config path --json"])
def path() -> None:
    """Show the files configuration is looked for in, highest first, and which were read."""
    run = session()
    chosen = Path(run.flags.config) if run.flags.config else None
    items = [
        {"path": str(file), "state": "read" if file.is_file() else "absent"}
        for file in candidates(run.environ, chosen, Path.cwd())
    ]
    columns = (Column("path", "id", rank=0), Column("state"))
    emit_list(items, "payctl.config_files/1", columns, id_key="path")


@command(
    app,
    "profiles",
    examples=["payctl config profiles", "payctl config profiles -q"],
)
def profiles() -> None:
    """List the profiles of the configuration files."""
    run = session()
    chosen = Path(run.flags.config) if run.flags.config else None
    first = _loose(run, run.flags.profile, chosen)
    items = []
    for name in first.profiles or (first.profile,):
        config = _loose(run, name, chosen)
        items.append(
            {
                "profile": name,
                "live": config.get("live"),
                "database": config.place,
                "book": config.book,
                "gateways": sorted(config.gateways),
                "problems": len(config.problems),
            }
        )
    columns = (
        Column("profile", "id", rank=0),
        Column("live"),
        Column("database", rank=0),
        Column("book", rank=2),
        Column("gateways", rank=1),
        Column("problems", "number", rank=3),
    )
    emit_list(items, "payctl.config_profiles/1", columns, id_key="profile")


@command(
    app,
    "validate",
    examples=["payctl config validate", "payctl config validate --profile live --json"],
    exits={ExitCode.CONFIG: "something is wrong; every problem is listed"},
)
def validate() -> None:
    """Check a profile: unknown keys, types, secrets that cannot be read, keys of the wrong kind."""
    run = session()
    chosen = Path(run.flags.config) if run.flags.config else None
    config = _loose(run, run.flags.profile, chosen)
    found = [*config.problems, *_deeper(config)]
    items = [
        {
            "code": problem.code,
            "field": problem.field,
            "message": render(problem, run.lang).text,
            "next": render(problem, run.lang).next,
        }
        for problem in found
    ]
    columns = (Column("message", "long", rank=0), Column("next", "long", rank=1))
    if items or run.is_json:
        emit_list(items, "payctl.config_problems/1", columns, id_key="code")
    for line in (*config.notes, *_advice(config)):
        note(f"note: {line}")
    if found:
        raise NotConfigured("config.invalid", count=len(found), profile=config.profile)
    note(f"profile {config.profile}: {config.place}, {len(config.gateways)} gateways, no problem")


@command(
    app,
    "set",
    changes=True,
    examples=[
        "payctl config set timezone Africa/Dakar",
        "payctl config set gateways.stripe.secret_key env:STRIPE_SECRET_KEY --profile live",
        "payctl config set log.level debug --dry-run",
    ],
    exits={ExitCode.CONFIG: "not a setting, a secret in clear, or a file too artful to edit"},
)
def set_value(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The setting: log.level.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Its new value.")],
) -> None:
    """Set one value in the configuration file; comments and order are kept.

    The file is that of --config, else the highest that exists, else the user's. A secret is given
    as env:NAME, file:/path or cmd:PROGRAM, never in clear.
    """
    run = session()
    chosen = Path(run.flags.config) if run.flags.config else None
    files = candidates(run.environ, chosen, Path.cwd())
    fallback = chosen or user_file(run.environ)
    file = next((each for each in files if each.is_file()), fallback)
    named = run.flags.profile or run.environ.get("PAYCTL_PROFILE")
    profile = named or _loose(run, None, chosen).profile
    after = config_file.with_value(config_file.read(file), profile, key, value, file)
    if _can_act(run, profile, chosen):
        confirm([f"set {key} of profile {profile} in {file}"])
    if run.dry_run:
        write_text(after)
        return
    config_file.write(file, after)
    emit(
        {"profile": profile, "key": key, "path": str(file)},
        "payctl.config_set/1",
        id_key="key",
    )


def _loose(run: Session, profile: str | None, path: Path | None) -> Config:
    return load(environ=run.environ, profile=profile, path=path, strict=False)


def _can_act(run: Session, profile: str, path: Path | None) -> bool:
    """Whether the profile as it stands could move money, so that its change must be confirmed.

    A profile that does not exist yet, or whose keys contradict it, refuses every other change;
    being asked to confirm on it would only stand in the way of mending it.
    """
    try:
        config = _loose(run, profile, path)
        _ = config.live
    except NotConfigured:
        return False
    run.__dict__["config"] = config
    return True


def _deeper(config: Config) -> Iterator[PayctlError]:
    """Problems that show only when secrets are read and gateways are built."""
    for key, found in config.values.items():
        if key == "ledger.anchors":
            continue  # a program there takes lines; it is no reference to a secret
        for item in found.value if isinstance(found.value, list) else [found.value]:
            try:
                config.resolve(str(item))
            except PayctlError as problem:
                problem.field = key
                yield problem
    try:
        _ = config.live
    except PayctlError as problem:
        yield problem
    yield from _gateways(config)


def _gateways(config: Config) -> Iterator[PayctlError]:
    from payctl.gateways.registry import build, names

    installed = names()
    for account, section in config.gateways.items():
        if section.former and section.type not in installed:
            continue
        try:
            build(section.type, account, section.settings, config.resolve)
        except PayctlError as problem:
            yield problem


def _advice(config: Config) -> Iterator[str]:
    for key, found in sorted(config.values.items()):
        if found.origin.kind == "environment" and is_secret(key) and str(found.value)[:4] == "env:":
            yield f"{key} stands in the environment; a file of mode 0600 keeps it to yourself"
