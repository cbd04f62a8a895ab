"""Lists everything a person can do to the queue, once: the monitor's keys and palette, the `fts` command and the
journal all use this registry, so that each of them can do the same.

Importing it loads no torch, optuna, textual or pandas.
"""

from fts.jobs.actions.registry import ACTIONS, Action, by_id, by_key, for_key

__all__ = ["ACTIONS", "Action", "by_id", "by_key", "for_key"]
