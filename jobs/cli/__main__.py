"""Makes `python -m fts.jobs.cli` the same as `fts`, for installations without the script."""

import sys

from fts.jobs.cli import main

if __name__ == "__main__":
    sys.exit(main())
