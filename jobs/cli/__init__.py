"""The `fts` command: stdout is data, stderr is talk, and every error is one sentence."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

import click

from jobs.cli.errors import code_of, sentence_of
from jobs.cli.output import complain


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 answered, 1 failed, 2 usage, 5 schema, 6 no data.

    FTS_DEBUG=1 lets an exception through with its traceback.
    """
    gc.set_threshold(20_000)  # 5 ms of each command: hardly anything that is being imported is garbage
    from jobs.cli.group import fts  # here, not above: a bad installation must still end in one sentence

    debug = bool(os.environ.get("FTS_DEBUG"))
    try:
        result = fts.main(list(sys.argv[1:] if argv is None else argv), prog_name="fts", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted; nothing more was done")
        return 130
    except BrokenPipeError:  # `fts events | head`: nobody reads any more, which is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # the outermost net: a person sees a sentence, FTS_DEBUG=1 the traceback
        if debug:
            raise
        complain(sentence_of(error))
        return code_of(error)
