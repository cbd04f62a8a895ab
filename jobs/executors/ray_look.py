"""Prints one line of JSON about a Ray cluster: its versions and nodes, or why it cannot be queried.

    python -Pm fts.jobs.executors.ray_look HOST:PORT      (the worker starts it, so that it need not import Ray)

`joined`: this machine is one of its nodes.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

PATIENCE_S = 10


def look(address: str) -> dict[str, Any]:
    try:
        import ray
        from ray._private.utils import compute_version_info
    except ImportError as error:
        return {"why": "missing" if error.name == "ray" else f"ray cannot be loaded: {error}"}
    from ray._private.services import find_node_ids
    from ray._raylet import GcsClient

    mine = compute_version_info()[:2]
    try:
        client = GcsClient(address=address)
        metadata = json.loads(client.internal_kv_get(b"CLUSTER_METADATA", b"cluster", timeout=PATIENCE_S) or b"{}")
        theirs = (metadata.get("ray_version"), metadata.get("python_version"))
        found = {"versions": {"here": mine, "there": theirs}}
        there = nodes(client)
        return found | {"nodes": there, "joined": bool({one["id"] for one in there} & set(find_node_ids()))}
    except ray.exceptions.AuthenticationError:
        return {"why": "token"}
    except ray.exceptions.RayError as error:
        return {"why": str(error).splitlines()[0][:300]}


def nodes(client: Any) -> list[dict[str, Any]]:
    """Returns the living nodes, sorted by the names that fts gives them."""
    found = []
    for node in client.get_all_node_info(timeout=PATIENCE_S).values():
        if node.state == 0:  # alive
            key, at = node.node_id.hex(), (node.node_manager_address, node.node_manager_port)
            name = f"{node.node_manager_hostname}-{key[:8]}"  # a machine may have several nodes, each with its own id
            found.append({"name": name, "id": key, "at": at, "resources": dict(node.resources_total)})
    return sorted(found, key=lambda one: str(one["name"]))


def main() -> None:
    stdout = os.dup(1)
    os.dup2(2, 1)  # output of Ray must not mix with the answer
    found = look(sys.argv[1])
    os.write(stdout, json.dumps(found).encode())
    os._exit(0)


if __name__ == "__main__":
    main()
