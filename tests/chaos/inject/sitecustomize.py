"""Python imports this at start when the folder is on PYTHONPATH: the moments and troubles of faults.py, uninvited."""

import sys

import faults  # found beside this file

faults.install(faults.role_of(sys.orig_argv))
