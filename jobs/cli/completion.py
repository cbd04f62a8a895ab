"""`fts completion`: the script with which a shell completes commands, options and choices."""

from __future__ import annotations

import click

from fts.jobs.cli.output import put

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for SHELL; put the line below into ~/.bashrc or ~/.zshrc.

    For fish: fts completion fish > ~/.config/fish/completions/fts.fish
    """
    from click.shell_completion import get_completion_class  # here, not above: for this command only

    made = get_completion_class(shell)
    assert made is not None, "click knows these shells"
    root = click.get_current_context().find_root().command
    put(made(root, {}, "fts", "_FTS_COMPLETE").source())
