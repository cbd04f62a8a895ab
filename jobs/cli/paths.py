"""A path on the command line: `~`, `~name` and `$HOME` are expanded here, where the shell has not done it.

A shell leaves them as they are within quotes, behind `=` and in what other programs start.
"""

from __future__ import annotations

import os
from typing import Any

import click

from fts.state.files import expanded


class PathType(click.Path):
    """As click.Path."""

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(str(expanded(os.fspath(value))), param, ctx)


class FileType(click.types.StringParamType):
    """A text that is a path, or begins with one: FILE.py:FUNCTION."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        return str(expanded(text)) if text.startswith(("~", "$")) else text
