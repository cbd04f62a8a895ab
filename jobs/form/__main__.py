"""`python -m fts.jobs.form --db PATH`: answers the enqueue form of the monitor through stdin and stdout."""

import sys

from fts.jobs.form.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
