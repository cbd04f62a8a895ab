"""Makes `python -m fts` the same as `fts`, for a shell that does not find the script."""

import sys

from fts.jobs.cli import main

if __name__ == "__main__":
    sys.exit(main())
