"""The commands `fts tui`, `fts snapshot` and `fts serve`: the monitor full screen, as a picture, in a browser."""

from __future__ import annotations

import re
from pathlib import Path

import click

from fts.jobs.allowed_hosts import LOOPBACK, cannot_listen
from fts.jobs.api.amounts import read_time
from fts.jobs.cli.app import Whole, here
from fts.jobs.cli.errors import NothingThere
from fts.jobs.cli.maintain import existing
from fts.jobs.cli.output import emit, put, say
from fts.state.files import atomic_write, expanded
from fts.state.user import this_person

SIZE = re.compile(r"(\d{1,3})x(\d{1,3})")
LEAST = (40, 8)  # columns and rows; a smaller screen shows the verdict only
SCREENS = ("queue", "trials", "curves", "hardware", "logs", "results", "events")
THEMES = click.Choice(["dark", "light"])


@click.command()
@click.option("--readonly", is_flag=True, help="no key changes anything")
@click.option("--mouse/--no-mouse", default=None, help="--no-mouse for slow links and the terminal's own selection")
@click.option("--ascii/--no-ascii", "ascii_only", default=None, help="plain ASCII (automatic without UTF-8)")
@click.option("--theme", metavar="NAME", help="dark, light, ansi or one of Textual; default: $FTS_THEME, else dark")
@click.option("--at", metavar="TIME", help="replay: 03:12, 2h (ago), 2026-11-20 22:00  [default: live]")
@click.option("--keys", is_flag=True, help="print all keys and colours as a file for ~/.config/fts/monitor.toml")
def tui(
    readonly: bool, mouse: bool | None, ascii_only: bool | None, theme: str | None, at: str | None, keys: bool
) -> int:
    """The monitor, full screen. Running workers continue when you leave it."""
    from fts.tui.__main__ import main as monitor  # here, not above: Textual, for this command only

    flags = {"--readonly": readonly, "--keys": keys, "--mouse": mouse, "--no-mouse": mouse is False}
    flags |= {"--ascii": ascii_only, "--no-ascii": ascii_only is False}
    words = [flag for flag, given in flags.items() if given]
    words += [word for flag, value in (("--theme", theme), ("--at", at)) if value for word in (flag, value)]
    return monitor(["--db", str(here().db), *words])


@click.command()
@click.option("--screen", type=click.Choice(SCREENS), default="queue", show_default=True, help="screen to show")
@click.option(
    "--size", default="120x40", show_default=True, metavar="COLSxROWS", help="terminal size to draw for, 40x8 or more"
)
@click.option("--theme", type=THEMES, default="dark", show_default=True, help="colours")
@click.option("--at", metavar="TIME", help="past time to show: 10h (ago), 2026-11-20 22:00  [default: now]")
@click.option("--ascii", "ascii_only", is_flag=True, help="plain ASCII")
@click.option(
    "--to",
    "target",
    metavar="FILE|FORMAT",
    help="FILE.svg, .png or .txt to write; svg or png alone name it after the screen, txt alone prints  [default: txt]",
)
def snapshot(screen: str, size: str, theme: str, at: str | None, ascii_only: bool, target: str | None) -> None:
    """A screen of the monitor as text (default), SVG or PNG, without a terminal."""
    if not (match := SIZE.fullmatch(size)):
        raise click.UsageError(f"{size!r} is not a size; expected columns x rows such as 120x40")
    columns, rows = int(match[1]), int(match[2])
    if columns < LEAST[0] or rows < LEAST[1]:
        raise click.UsageError(f"{size} is too small for a screen; expected at least {LEAST[0]}x{LEAST[1]}")
    path = file_of(target, f"fts-{screen}-{size}")
    from fts.tui.pictures import render  # here, not above: the monitor's drawing, for this command only

    moment = read_time(at) if at else None
    picture = render(
        existing(), screen, (columns, rows), theme, moment, user=this_person(), ascii_only=ascii_only,
        title=here().outputs.parent.name,
    )  # fmt: skip
    if path is None:
        return put(picture.text.rstrip("\n"))
    if path.suffix.lower() == ".png":
        atomic_write(path.resolve(), picture.png)
    else:
        atomic_write(path.resolve(), picture.svg if path.suffix.lower() == ".svg" else picture.text)
    return say(f"written: {path}")


def file_of(target: str | None, name: str) -> Path | None:
    """Returns the file to write a picture to; None: print it. Raises UsageError for an unknown format."""
    if target in (None, "txt"):
        return None
    path = Path(f"{name}.{target}") if target in ("svg", "png") else expanded(str(target))
    if path.suffix.lower() not in (".svg", ".png", ".txt"):
        raise click.UsageError(f"{path.name!r} has no known ending; expected .svg, .png or .txt")
    if path.is_dir():
        raise click.UsageError(f"{path} is a folder, expected a file")
    return path


@click.command()
@click.option("--port", default=8000, show_default=True, type=Whole(1024, 65535), help="port to listen on")
@click.option("--theme", type=THEMES, default="dark", show_default=True, help="colours of the page")
@click.option(
    "--sessions", default=4, show_default=True, type=Whole(1, 100), help="largest number of browser tabs at once"
)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="address to listen on")
def serve(port: int, theme: str, sessions: int, host: str) -> None:
    """Show the monitor in a browser: read-only, for everyone who knows the address it prints.

    The address holds a random token. Each tab is a process of about 100 MB, so their number is limited.
    With --host 0.0.0.0 other machines can connect. The connection is not encrypted: prefer ssh -L.
    """
    from fts.tui.serve import serve as serve_monitor  # here, not above: for this command only
    from fts.tui.settings import BadSettings, file, read

    try:
        read(file())
    except BadSettings as error:
        raise click.UsageError(str(error)) from None
    database = existing()
    if host not in LOOPBACK:
        say(
            f"listening on {host}: everybody who can reach this address can watch, because the connection is not "
            f"encrypted. `ssh -L {port}:127.0.0.1:{port}` needs no --host."
        )

    def ready(address: str) -> None:
        emit(address)
        say(f"shows {database}, read-only; Ctrl-C ends it")

    try:
        serve_monitor(database, port, theme, host=host, sessions=sessions, ready=ready)
    except OSError as error:
        raise NothingThere(f"cannot listen on {host}:{port}: {cannot_listen(error)}") from None
