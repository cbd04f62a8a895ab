"""The `fts` command: stdout is data, stderr is talk, and every error is one sentence."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 answered, 1 failed, 2 usage, 5 schema, 6 no data.

    FTS_DEBUG=1 lets an exception through with its traceback.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["log"] and not {"-h", "--help"} & set(words):
        from fts.jobs.cli.log import log  # here: a script calls it every epoch, and what follows takes 0.1 s to import

        return log(words[1:])
    return _run(words)


def lead(words: list[str]) -> list[str]:
    """`fts` alone in a folder without a study: how to begin, in three lines. Empty: there is a study."""
    from fts.jobs.cli.newcomer import first_steps
    from fts.jobs.settings import places
    from fts.state.location import has_study

    given = words[words.index("--db") + 1] if "--db" in words[:-1] else None
    return [] if has_study(places(given).db) else first_steps(Path.cwd())


def _run(words: list[str]) -> int:
    with _interrupt_ends():
        import click  # here, not above: see `log`

        from fts.jobs.cli.errors import USAGE, code_of, sentence_of
        from fts.jobs.cli.output import attach, complain

        attach()
        gc.set_threshold(20_000)  # 5 ms of each command: hardly anything that is being imported is garbage
        from fts.jobs.cli.app import fts, shell_asks  # here, not above: a bad installation ends in one sentence, too

    if shell_asks():
        from fts.jobs.cli.completion import know_shells  # here: only while a shell completes

        know_shells()

    debug = bool(os.environ.get("FTS_DEBUG"))
    try:
        result = fts.main(words, prog_name="fts", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.exceptions.NoArgsIsHelpError as bare:  # `fts` alone: the list of commands is no sentence
        with _unread():
            is_fts_alone = bare.ctx is not None and bare.ctx.parent is None
            steps = lead(words) if is_fts_alone else []
            click.echo("\n".join(steps) if steps else bare.format_message(), err=True)
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        with _unread():
            complain("interrupted; nothing more was done")
        return 130
    except BrokenPipeError:  # `fts events | head`: nobody reads any more, which is no error
        _let_go(sys.stdout)
        return 0
    except Exception as error:  # the outermost net: a person sees a sentence, FTS_DEBUG=1 the traceback
        if debug:
            raise
        return _failed(sentence_of(error), code_of(error), "--json" in words)


@contextlib.contextmanager
def _interrupt_ends() -> Iterator[None]:
    """While modules are loaded, Ctrl-C ends the process without a traceback: nothing was done yet."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored, or somebody else's
        yield
        return
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _failed(sentence: str, code: int, as_json: bool) -> int:
    """Says why on stderr; who asked for JSON also gets its one object, and need not parse an empty answer."""
    from fts.jobs.cli.output import complain, emit_json

    with _unread():
        complain(sentence)
    if as_json:
        with _unread():
            emit_json("error", {"code": code, "message": sentence})
    return code


@contextlib.contextmanager
def _unread() -> Iterator[None]:
    """Last words that nobody reads, or for which there is no room, take nothing from the exit code."""
    try:
        yield
    except OSError:
        _let_go(sys.stdout)
        _let_go(sys.stderr)


def _let_go(stream: TextIO) -> None:
    """What is still held back for a stream must not fail once more when Python ends."""
    with contextlib.suppress(OSError):
        stream.flush()
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
