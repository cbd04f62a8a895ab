"""Python imports this at start when the folder is on PYTHONPATH: appends to a file who opens the database by hand."""

import os
import sys

from tests import watched


def _saw(event, args):
    before = len(watched.FOUND)
    watched.saw(event, args)
    for said in watched.FOUND[before:]:
        os.write(_LOG, f"{sys.orig_argv}: {said}\n".encode())


_LOG = os.open(os.environ["WATCHED_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
watched.WATCHED.add(os.path.realpath(os.environ["WATCHED_DB"]))
sys.addaudithook(_saw)
