"""Runs trials on the nodes of a Ray cluster: Ray places one actor a slot, which holds an agent of ours.

All else is the command executor's: what is different is that Ray chooses the node, and hears where not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.executors.command import CommandExecutor
from fts.state import queries
from fts.state.values import NodeState

if TYPE_CHECKING:
    from fts.jobs.executors.base import Want


class RayExecutor(CommandExecutor):
    def _suits(self, want: Want) -> list[str]:
        """Never on a node that takes no trial; rather on one of the same hardware, and not where one was lost."""
        nodes = queries.nodes(self.db)
        gone = {node.id for node in nodes if node.state in (NodeState.LOST, NodeState.SILENT)}
        told = {
            "--shut": [node.id for node in nodes if not node.takes],
            "--avoid": sorted(gone | want.avoid),
            "--like": [node.id for node in nodes if want.like is not None and node.fingerprint == want.like],
        }
        return [word for name, ids in told.items() if ids for word in (name, ",".join(ids))]
