"""``payctl gateways rules``: the ordered list of routing rules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from payctl.cli.framework import (
    Column,
    ExitCode,
    LimitOption,
    ReasonOption,
    command,
    confirm,
    emit,
    emit_list,
    moment_of,
    session,
)
from payctl.cli.gateway_app import rules
from payctl.errors import InvalidInput

if TYPE_CHECKING:
    from payctl.payments.route_rules import Rule
    from payctl.payments.rule_book import RuleSet

COLUMNS = (
    Column("place", "number", rank=0),
    Column("name", "id", rank=0),
    Column("effect", rank=0),
    Column("gateways", rank=0),
    Column("when", rank=1),
    Column("enabled", rank=2),
)
CHANGED = (
    Column("version", "number"),
    Column("rules", "number"),
    Column("reason"),
    Column("set_by"),
    Column("at", "time"),
)
_WAITS = {ExitCode.APPROVAL: "a second person must approve; the request has been made"}
_LISTS = ("prefer", "only", "exclude", "countries", "currencies", "methods", "organisers",
          "phone_prefixes", "weekdays")  # fmt: skip


@command(rules, "list", examples=["payctl gateways rules list", "payctl gateways rules list -q"])
def list_rules() -> None:
    """List the rules in force, in their order."""
    current = session().app.rule_book.current()
    rows = [_row(place, rule) for place, rule in enumerate(current.rules, 1)]
    emit_list(
        rows,
        "payctl.route_rules/1",
        COLUMNS,
        id_key="name",
        extra={"version": current.version},
        hint="payctl gateways rules load FILE --reason TEXT",
    )


@command(
    rules,
    "history",
    examples=["payctl gateways rules history", "payctl gateways rules history --limit 5 --json"],
)
def history(limit: LimitOption = 50) -> None:
    """List who changed the rules, when and why."""
    past = session().app.rule_book.history(limit)
    emit_list(
        [{key: value for key, value in _changed(each).items() if key != "rules"} for each in past],
        "payctl.route_rule_history/1",
        (CHANGED[0], *CHANGED[2:]),
        id_key="version",
    )


@command(
    rules,
    "load",
    changes=True,
    examples=[
        "payctl gateways rules load routing.toml --reason 'contract of May' --dry-run",
        "payctl gateways rules load routing.toml --reason 'contract of May'",
    ],
    exits={ExitCode.USAGE: "the file has a mistake; nothing was loaded", **_WAITS},
)
def load(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A rule file (TOML).")],
    reason: ReasonOption,
) -> None:
    """Replace the whole list by a file's. A mistake anywhere in it loads nothing.

    Each [[rule]] has a name, one of prefer, only or exclude with a list of gateways, and any of
    countries, currencies, methods, organisers, phone_prefixes, amount_min, amount_max, hours,
    weekdays, timezone, valid_from, valid_until and enabled.
    """
    run = session()
    confirm([f"routing rules of {file.name}"])
    done = run.app.rule_book.load(run.actor, file, reason=reason, dry_run=run.dry_run)
    emit(_changed(done), "payctl.route_rule_set/1", CHANGED, id_key="version")


@command(
    rules,
    "add",
    changes=True,
    examples=[
        "payctl gateways rules add 'mobile money first' --set prefer=mtn-ci,orange-ci"
        " --set currencies=XOF --set methods=mobile_money --reason 'cheaper'",
        "payctl gateways rules add 'no night calls' --set exclude=mtn-ci"
        " --set hours=22:00-06:00 --place 1 --reason 'maintenance'",
    ],
    exits=_WAITS,
)
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the rule is called.")],
    settings: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="A key of a rule file; lists with commas."),
    ],
    reason: ReasonOption,
    place: Annotated[
        int | None, typer.Option("--place", min=1, metavar="N", help="Its place; default: last.")
    ] = None,
) -> None:
    """Add one rule to the list."""
    run = session()
    written = {"name": name, **dict(map(_pair, settings))}
    confirm([f"routing rule {name}: {' '.join(settings)}"])
    done = run.app.rule_book.add(
        run.actor, written, reason=reason, place=place, dry_run=run.dry_run
    )
    emit(_changed(done), "payctl.route_rule_set/1", CHANGED, id_key="version")


@command(
    rules,
    "remove",
    changes=True,
    examples=[
        "payctl gateways rules remove 'no night calls' --reason 'maintenance over'",
        "payctl gateways rules remove 'no night calls' --reason 'maintenance over' --dry-run",
    ],
    exits={ExitCode.NOT_FOUND: "no such rule", **_WAITS},
)
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The rule.")], reason: ReasonOption
) -> None:
    """Take one rule out of the list."""
    run = session()
    confirm([f"routing rule {name} removed"])
    done = run.app.rule_book.remove(run.actor, name, reason=reason, dry_run=run.dry_run)
    emit(_changed(done), "payctl.route_rule_set/1", CHANGED, id_key="version")


def _row(place: int, rule: Rule) -> dict[str, Any]:
    stored = rule.as_json()
    fixed = ("name", "effect", "gateways", "enabled")
    return {
        "place": place,
        "name": rule.name,
        "effect": rule.effect,
        "gateways": list(rule.gateways),
        "when": {key: value for key, value in stored.items() if key not in fixed},
        "enabled": rule.enabled,
    }


def _changed(new: RuleSet) -> dict[str, Any]:
    return {
        "version": new.version,
        "rules": len(new.rules),
        "reason": new.reason,
        "set_by": new.actor,
        "at": new.at,
    }


def _pair(text: str) -> tuple[str, Any]:
    """``KEY=VALUE`` as a rule file would have it."""
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals:
        raise InvalidInput("route.bad_pair", field="set", text=text[:60])
    if key in _LISTS:
        return key, [each.strip() for each in value.split(",") if each.strip()]
    if key == "enabled" and value in ("true", "false"):
        return key, value == "true"
    return key, _moment(value) if key in ("valid_from", "valid_until") else value


def _moment(text: str) -> Any:
    return moment_of(text, field="set")
