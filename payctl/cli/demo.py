"""``payctl demo``: the whole product on one screen, on a scratch book."""

from __future__ import annotations

import shutil
import textwrap
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from payctl.cli.framework import command, progress, session, single, write_text
from payctl.config_layers import data_dir
from payctl.errors import CheckFailed, Conflict
from payctl.ids import encode

if TYPE_CHECKING:
    from payctl.app import App
    from payctl.cli.demo_story import Story

app = single("demo")
MARK = "payctl.toml"
WIDTH = 79
#: The demo's day ends about now, so that the commands tried next find a fresh book.
LASTS = timedelta(hours=5)
#: What is shown of the finished book, by the very commands an operator types.
SHOWN = (
    ["gateways", "list"],
    ["payments", "statistics", "--by", "gateway"],
    ["wallets", "list"],
    ["ledger", "trial-balance"],
    ["ledger", "check"],
)


@command(
    app,
    "demo",
    examples=["payctl demo", "payctl demo --lang fr", "payctl demo --folder ./try"],
)
def demo(
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Where its book is written.")
    ] = None,
) -> None:
    """Sell a festival's tickets on a scratch book: declines, fail-over, a lost answer, a crash."""
    from payctl.cli.demo_story import Story, open_app

    run = session()
    place = (folder or data_dir(run.environ) / "demo").absolute()
    _fresh(place)
    now = run.now() - LASTS
    services = open_app(place, now.replace(microsecond=0), seed=1)
    words = tomllib.loads((Path(__file__).parent / "demo_text.toml").read_text("utf-8"))[run.lang]
    _tell(words["title"])
    with progress("demo", 250) as bar:
        story = Story(place, services, lambda key, **v: _tell(words[key].format(**v)), bar.advance)
        story.run()
    shown = encode("payment", story.marks["crash"])
    for line in (*SHOWN, ["trace", shown]):
        _show(line, place, services)
    at = services.db.clock.now().strftime("%Y-%m-%d %H:%M UTC")
    write_text("")
    _tell(words["where"].format(database=services.db.describe()))
    _tell(words["next"].format(now=at))
    for suggestion in _next_lines(place, story):
        write_text(f"  {suggestion}")


def _show(words: list[str], place: Path, services: App) -> None:
    """Run a command on the demo's book, as typed."""
    from payctl.cli import main
    from payctl.cli.session import use

    run = session()
    write_text(f"\n$ payctl {' '.join(words)}")
    flags = ["--config", str(place / MARK), "--output", "table", "--lang", run.lang]
    code = main.run([*words, *flags], environ=run.environ, app=services)
    use(run)
    if code:
        raise CheckFailed("demo.command_failed", command=" ".join(words), status=code)


def _next_lines(place: Path, story: Story) -> list[str]:
    lost, group = (encode("payment", story.marks[name]) for name in ("lost", "group"))
    return [
        f"export PAYCTL_CONFIG={place / MARK}",
        f"payctl trace {lost}",
        f"payctl payments show {group}",
        "payctl payments process --amount 25.00 --currency EUR --method card \\",
        "    --organiser lagune-live --order try-1 --dry-run",
        "payctl cases list",
        "payctl help money",
    ]


def _fresh(place: Path) -> None:
    """An empty folder of the demo's own; never anything somebody else made.

    Raises:
        Conflict: ``demo.not_ours``.
    """
    from payctl.cli.demo_story import CONFIG

    if place.exists() and any(place.iterdir()):
        mark = place / MARK
        if not mark.is_file() or not mark.read_text(encoding="utf-8").startswith(
            "# Written by `payctl demo`"
        ):
            raise Conflict("demo.not_ours", field="folder", folder=str(place))
        shutil.rmtree(place)
    place.mkdir(parents=True, exist_ok=True)
    (place / MARK).write_text(CONFIG.format(folder=place), encoding="utf-8")


def _tell(text: str) -> None:
    write_text(textwrap.fill(text, WIDTH, subsequent_indent="  ", break_long_words=False))
