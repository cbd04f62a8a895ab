"""Runs `fts` for processes that fts starts itself: `python -m fts.jobs.cli`."""

import sys

from fts.jobs.cli import main

if __name__ == "__main__":
    sys.exit(main())
