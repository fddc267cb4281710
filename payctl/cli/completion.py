"""``payctl completion``: scripts for the shells, and the words they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from payctl.cli.framework import command, noun, session, write_text
from payctl.cli.suggestions import suggestions

app = noun("completion")

_BASH = """\
_payctl() {
    local IFS=$'\\n'
    COMPREPLY=($(payctl completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _payctl payctl
"""
_ZSH = """\
#compdef payctl
_payctl() {
    local -a found
    found=("${(@f)$(payctl completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -a found
}
compdef _payctl payctl
"""
_FISH = """\
function __payctl_words
    set -l typed (commandline -opc)
    payctl completion words -- $typed[2..-1] (commandline -ct) 2>/dev/null
end
complete -c payctl -f -a '(__payctl_words)'
"""


@command(
    app,
    "bash",
    examples=[
        "source <(payctl completion bash)",
        "payctl completion bash > /etc/bash_completion.d/payctl",
    ],
)
def bash() -> None:
    """Print the completion script for bash."""
    write_text(_BASH)


@command(
    app,
    "zsh",
    examples=["source <(payctl completion zsh)", "payctl completion zsh > ~/.zfunc/_payctl"],
)
def zsh() -> None:
    """Print the completion script for zsh."""
    write_text(_ZSH)


@command(
    app,
    "fish",
    examples=[
        "payctl completion fish | source",
        "payctl completion fish > ~/.config/fish/completions/payctl.fish",
    ],
)
def fish() -> None:
    """Print the completion script for fish."""
    write_text(_FISH)


@command(
    app,
    "words",
    hidden=True,
    examples=["payctl completion words -- payments l", "payctl completion words -- --lang ''"],
)
def words(
    typed: Annotated[list[str] | None, typer.Argument(metavar="WORD", help="Typed so far.")] = None,
) -> None:
    """Print what may stand where the last word stands; the scripts call this."""
    before, last = _split(typed or [""])
    for word in suggestions(session(), before, last):
        write_text(word)


def _split(typed: Sequence[str]) -> tuple[list[str], str]:
    return list(typed[:-1]), typed[-1]
