"""``payctl help``: topics, and the help of any command."""

from __future__ import annotations

from typing import Annotated

import typer

from payctl.cli.framework import command, single, write_text
from payctl.cli.main import build
from payctl.cli.nouns import NOUNS, overview
from payctl.cli.topics import TOPICS
from payctl.errors import InvalidInput

app = single("help")


@command(
    app,
    "help",
    examples=["payctl help exit-codes", "payctl help money", "payctl help payments process"],
)
def help_on(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[TOPIC | COMMAND]", help="What to explain.")
    ] = None,
) -> None:
    """Explain a topic or a command; alone, list the commands and the topics."""
    if not words:
        write_text(overview())
    elif words[0] in TOPICS:
        write_text(TOPICS[words[0]]())
    elif words[0] in NOUNS:
        name, *verbs = words
        build(name).main(args=[*verbs, "--help"], prog_name=f"payctl {name}", standalone_mode=False)
    else:
        raise InvalidInput(
            "usage.unknown_topic", field="topic", topic=words[0][:40], topics=", ".join(TOPICS)
        )
