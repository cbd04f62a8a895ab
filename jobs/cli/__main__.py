"""`python -m fts.jobs.cli` is `fts`, where no script was installed."""

import sys

from fts.jobs.cli import main

if __name__ == "__main__":
    sys.exit(main())
