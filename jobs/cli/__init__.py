"""Runs the `fts` command: data goes to stdout, messages to stderr, and every error is one sentence."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fts.jobs.interrupts import sigint_kills_silently

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 success, 1 failed, 2 usage, 5 schema, 6 no data.

    FTS_DEBUG=1 lets an exception through with its traceback.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["log"] and not {"-h", "--help"} & set(words):
        from fts.jobs.cli.log import log  # here: a script calls it every epoch; the imports below take 0.1 s

        return log(words[1:])
    return _run(words)


def first_steps_without_study(words: list[str]) -> list[str]:
    """Returns the lines that `fts` without a command prints in a folder without a study; empty if there is one."""
    from fts.jobs.cli.newcomer import first_steps
    from fts.jobs.settings import places
    from fts.state.location import has_study

    given = words[words.index("--db") + 1] if "--db" in words[:-1] else None
    return [] if has_study(places(given).db) else first_steps(Path.cwd())


def _run(words: list[str]) -> int:
    with sigint_kills_silently():
        import click  # here, not above: see `log`

        from fts.jobs.cli.errors import USAGE, code_of, sentence_of
        from fts.jobs.cli.output import complain, open_closed_streams

        open_closed_streams()
        gc.set_threshold(20_000)  # saves 5 ms per command: imports produce hardly any garbage
        from fts.jobs.cli.app import fts, is_completing  # here: errors of a bad installation are one sentence, too

    if is_completing():
        from fts.jobs.cli.completion import register_shells  # here: only while a shell completes

        register_shells()

    debug = bool(os.environ.get("FTS_DEBUG"))
    try:
        result = fts.main(words, prog_name="fts", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.exceptions.NoArgsIsHelpError as bare:  # `fts` without a command: print the list of commands
        with _ignoring_closed_streams():
            is_fts_alone = bare.ctx is not None and bare.ctx.parent is None
            steps = first_steps_without_study(words) if is_fts_alone else []
            click.echo("\n".join(steps) if steps else bare.format_message(), err=True)
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        with _ignoring_closed_streams():
            complain("interrupted; nothing more was done")
        return 130
    except BrokenPipeError:  # `fts events | head` closed the pipe, which is no error
        _flush_or_discard(sys.stdout)
        return 0
    except Exception as error:  # outermost handler: prints a sentence; FTS_DEBUG=1 shows the traceback
        if debug:
            raise
        return _report_error(sentence_of(error), code_of(error), "--json" in words)


def _report_error(sentence: str, code: int, as_json: bool) -> int:
    """Prints the error on stderr, and with --json also as one JSON object on stdout; returns the exit code."""
    from fts.jobs.cli.output import complain, emit_json

    with _ignoring_closed_streams():
        complain(sentence)
    if as_json:
        with _ignoring_closed_streams():
            emit_json("error", {"code": code, "message": sentence})
    return code


@contextlib.contextmanager
def _ignoring_closed_streams() -> Iterator[None]:
    """Ignores write errors of stdout and stderr (closed pipe, full disk), so that they do not change the exit code."""
    try:
        yield
    except OSError:
        _flush_or_discard(sys.stdout)
        _flush_or_discard(sys.stderr)


def _flush_or_discard(stream: TextIO) -> None:
    """Flushes the stream, or points it at /dev/null, so that Python's own flush at exit does not fail again."""
    with contextlib.suppress(OSError):
        stream.flush()
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
