"""Every command of every noun: documented, exemplified, confirmed before it changes anything."""

from __future__ import annotations

import ast
import inspect
import shlex
import textwrap
from functools import cache
from pathlib import Path

import pytest
import typer

import payctl.cli
from payctl.cli.flags import NAMES, hoist
from payctl.cli.nouns import NOUNS, overview
from payctl.cli.tree import Leaf, leaves, parameters
from tests.cli.runner import run
from tests.cli.schemas import FOLDER, check, file_name, validator

pytestmark = pytest.mark.unit
CLI = Path(str(payctl.cli.__file__)).parent
NOUN_NAMES = tuple(NOUNS)


@cache
def commands(noun: str) -> tuple[Leaf, ...]:
    return tuple(leaves(noun))


def source_of(leaf: Leaf) -> str:
    return textwrap.dedent(inspect.getsource(inspect.unwrap(leaf.command.callback)))


def test_the_overview_lists_every_noun_and_fits_80_columns() -> None:
    text = overview()
    assert all(f"\n  {noun} " in text for noun in NOUNS)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("noun", NOUN_NAMES)
def test_commands_are_documented_with_examples_that_parse(noun: str) -> None:
    for leaf in commands(noun):
        spec = leaf.spec
        assert spec is not None, leaf.path
        assert spec.summary.endswith("."), f"{leaf.path}: the summary is a sentence"
        assert len(spec.summary) <= 100, leaf.path
        assert len(spec.examples) >= 2, leaf.path
        for example in spec.examples:
            _parses(leaf, example)


def _parses(leaf: Leaf, example: str) -> None:
    """The part of an example that is our command line is accepted by the command's parser."""
    line = example[example.index("payctl ") :] if "payctl " in example else ""
    assert line, f"{leaf.path}: the example does not run payctl: {example}"
    for stop in ("|", ">", ")", "&&", "$"):
        line = line.partition(f" {stop}")[0]
    _, rest = hoist(shlex.split(line.replace("payctl)", "payctl").rstrip(")"))[1:])
    if rest == ["--version"] or not rest:
        return
    words = list(leaf.words)
    if rest[: len(words)] != words:
        return  # an example may show the command that goes before or after
    try:
        leaf.command.make_context(leaf.path, rest[len(words) :]).close()
    except typer.TyperException as error:
        # The files of an example are the reader's own.
        assert "does not exist" in error.message, f"{leaf.path}: {example}: {error.message}"


@pytest.mark.parametrize("noun", NOUN_NAMES)
def test_help_of_each_command_and_each_noun_runs_and_fits(noun: str) -> None:
    for leaf in commands(noun):
        shown = run(*leaf.words, "--help")
        assert shown.code == 0
        assert "Examples:" in shown.out
        # An example is one line to copy, so it alone may be longer.
        others = [line for line in shown.out.splitlines() if not line.lstrip().startswith("$ ")]
        assert max(map(len, others)) <= 80, leaf.path
    assert run(noun, "--help").code == 0


@pytest.mark.parametrize("noun", NOUN_NAMES)
def test_a_command_declares_no_global_flag(noun: str) -> None:
    for leaf in commands(noun):
        taken = {flag for each in parameters(leaf.command) for flag in each["flags"]}
        assert not taken & NAMES, leaf.path


@pytest.mark.parametrize("noun", NOUN_NAMES)
def test_a_change_is_confirmed_and_can_be_rehearsed(noun: str) -> None:
    module = inspect.getsource(__import__(NOUNS[noun].module, fromlist=["app"]))
    for leaf in commands(noun):
        if not (leaf.spec and leaf.spec.changes):
            continue
        flags = {flag for each in parameters(leaf.command) for flag in each["flags"]}
        assert {"--dry-run", "--yes"} <= flags, leaf.path
        body = source_of(leaf)
        helpers = _called(body)
        reached = body + "".join(_function(module, name) for name in helpers)
        assert "confirm(" in reached, f"{leaf.path} never asks"
        assert "dry_run" in reached, f"{leaf.path} does not look at --dry-run"


def _called(source: str) -> set[str]:
    return {
        node.func.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def _function(module: str, name: str) -> str:
    for node in ast.parse(module).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return ast.get_source_segment(module, node) or ""
    return ""


def test_a_noun_without_a_verb_shows_its_help_and_fails() -> None:
    shown = run("config")
    assert (shown.code, shown.out) == (2, "")
    assert "Usage: payctl config" in shown.err


def test_the_tree_as_json_matches_its_schema() -> None:
    items = check(run("commands", "config", "--json").json)["items"]
    assert [item["command"] for item in items][:2] == ["config show", "config path"]
    changing = {item["command"] for item in items if item["changes"]}
    assert changing == {"config set"}


def test_the_commands_of_an_unknown_noun_are_not_found() -> None:
    assert run("commands", "boxes").code == 3


def test_every_schema_that_is_named_in_the_cli_exists_and_is_valid() -> None:
    named = {
        node.value
        for path in CLI.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith("payctl.")
        and node.value.endswith("/1")
        and " " not in node.value
    }
    assert "payctl.config/1" in named
    missing = [name for name in sorted(named) if not FOLDER.joinpath(file_name(name)).is_file()]
    assert missing == []
    for name in named:
        validator(name)
