"""Expands `~`, `~name` and `$HOME` in paths on the command line, if the shell has not.

A shell does not expand them within quotes or after `=`, nor does a program that starts fts without a shell.
"""

from __future__ import annotations

import os
from typing import Any

import click

from fts.state.files import expanded


class PathType(click.Path):
    """A click.Path that expands `~` and variables."""

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = os.fspath(value)
        if not text:  # it would be the folder one stands in
            self.fail("it is empty; give a value, or leave it out", param, ctx)
        return super().convert(str(expanded(text)), param, ctx)


class FileType(click.types.StringParamType):
    """A string that is a path or begins with one: FILE.py:FUNCTION."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        return str(expanded(text)) if text.startswith(("~", "$")) else text
