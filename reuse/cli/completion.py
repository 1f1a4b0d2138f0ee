"""`reuse completion`: what a shell reads to complete commands, options and their values."""

import os
import re

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from reuse.cli.options import Command

PROGRAM, VARIABLE = "reuse", "_REUSE_COMPLETE"
PLACES = {
    "bash": 'eval "$(reuse completion bash)"   in ~/.bashrc',
    "zsh": 'eval "$(reuse completion zsh)"   in ~/.zshrc, after compinit',
    "fish": "reuse completion fish > ~/.config/fish/completions/reuse.fish",
}


class WholeWords(BashComplete):
    """Bash, which takes `timm:resnet18` and `--freeze=hidden1` for three words each and completes the last alone."""

    name = "bash"
    _kept = ""  # of the word that is completed, which stays as it is

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one that is completed, and that one, as they were typed."""
        words = split_arg_string(os.environ["COMP_WORDS"])[: int(os.environ["COMP_CWORD"]) + 1]
        glued: list[str] = []
        for word in words:
            if glued and (re.fullmatch("[:=]+", word) or re.search("[:=]$", glued[-1])):
                glued[-1] += word
            else:
                glued.append(word)
        last = glued[-1] if len(words) > int(os.environ["COMP_CWORD"]) and len(glued) > 1 else ""
        found = re.match(r".*[:=]", last)
        self._kept = found.group() if found else ""
        option, equals, value = last.partition("=")
        if equals and option.startswith("--"):
            return [*glued[1:-1], option], value
        return glued[1:-1] if last else glued[1:], last

    def format_completion(self, item: CompletionItem) -> str:
        """Return a value as bash puts it in place of its last word."""
        kept = self._kept.partition("=")[2] if self._kept.startswith("--") else self._kept
        return f"{item.type},{item.value.removeprefix(kept)}"


add_completion_class(WholeWords)


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(list(PLACES)), required=False)
def completion(shell: str | None) -> None:
    """Print what makes SHELL complete commands, options, names, runs and layers; without SHELL, how to install it.

    Example: eval "$(reuse completion bash)"
    """
    if shell is None:
        click.echo("\n".join(["To complete with the tab key, put this into your shell's file:", *PLACES.values()]))
        return
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(click.Command(PROGRAM), {}, PROGRAM, VARIABLE).source())
