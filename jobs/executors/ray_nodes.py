"""Runs trials on the nodes of a Ray cluster: Ray places one actor per slot, which runs our agent.

The rest is the command executor's; the difference is that Ray gets hints about which nodes to use or avoid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fts.jobs.executors.command import CommandExecutor
from fts.state import queries
from fts.state.values import NodeState

if TYPE_CHECKING:
    from fts.jobs.executors.base import Want


class RayExecutor(CommandExecutor):
    def _engine_arguments(self, want: Want) -> list[str]:
        """Excludes closed nodes; prefers nodes with the same hardware; avoids nodes that lost a trial."""
        nodes = queries.nodes(self.db)
        gone = {node.id for node in nodes if node.state in (NodeState.LOST, NodeState.SILENT)}
        options = {
            "--shut": [node.id for node in nodes if not node.takes],
            "--avoid": sorted(gone | want.avoid),
            "--like": [node.id for node in nodes if want.like is not None and node.fingerprint == want.like],
        }
        return [word for name, ids in options.items() if ids for word in (name, ",".join(ids))]
