"""Stands for an environment without Ray: what is asked of a cluster there."""

import os
import sys

from fts.jobs.executors import ray_look

sys.modules["ray"] = None  # type: ignore[assignment]  # an import of it fails, as where it is not installed
sys.argv[1:] = sys.argv[1:] or [os.devnull]
ray_look.main()
