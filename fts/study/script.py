"""Writes a cell as a standalone script: the frozen specification, and one call that runs it.

Scripts are generated from specifications and never edited: twelve hand-kept copies once drifted apart (lesson 16).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fts.study.cell import CellSpec

VERB = {"cell": "hpo", "train": "train", "replicate": "replicate", "baseline": "baseline", "walk": "walk"}
WIDTH = 110

TEMPLATE = '''"""{title}

Made by `fts script`; the specification below is frozen; to change a cell, use `fts enqueue` and write the script again.

    python {name} --dry-run     one optimizer step, nothing is written
    python {name}               run it here; Ctrl-C stops at a checkpoint, the same command continues
    python {name} --again       run it again after it is done
"""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    sys.path.pop(0)  # this folder: no jobs.py or torch.py beside the script is imported instead of the real one

from fts.study.run_script import main

SPEC = {spec}

if __name__ == "__main__":
    sys.exit(main(SPEC))
'''


def script_name(cell: CellSpec) -> str:
    """Returns hpo_2M_h1_threshold_1pct.py or train_2M_h1_threshold_1pct.py: verb and experiment."""
    return f"{VERB[cell.kind]}_{cell.experiment.partition('_')[2] or cell.experiment}.py"


def script_text(cell: CellSpec) -> str:
    """Returns the script, formatted as ruff would, except for long lists."""
    return TEMPLATE.format(title=_title(cell), name=script_name(cell), spec=_literal(cell.to_json()))


def _title(cell: CellSpec) -> str:
    what = {
        "cell": f"searches {cell.trials} trials of at most {cell.epochs} epochs",
        "train": f"trains the final model of trial {cell.origin.get('trial')}",
        "replicate": f"trains the winner with {cell.trials} other seeds",
        "walk": f"trains the winner with {cell.trials} seeds for each of {cell.folds} folds",
        "baseline": f"fits {cell.trials} baselines",
    }[cell.kind]
    return f"{cell.experiment}: {what}, horizon {cell.horizon} days, data {cell.dataset} {cell.data_md5[:12]}."


def _literal(value: Any, depth: int = 0) -> str:
    """Returns a Python literal of JSON-like content, on one line if it fits."""
    line = _one_line(value)
    if len(line) + 4 * depth <= WIDTH or not isinstance(value, dict | list | tuple) or not value:
        return line
    inner, outer = "    " * (depth + 1), "    " * depth
    if isinstance(value, dict):
        rows = [f"{inner}{json.dumps(key)}: {_literal(item, depth + 1)},\n" for key, item in value.items()]
        return "{\n" + "".join(rows) + outer + "}"
    rows = [f"{inner}{_literal(item, depth + 1)},\n" for item in value]
    return "[\n" + "".join(rows) + outer + "]"


def _one_line(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_one_line(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_one_line(item) for item in value) + "]"
    return json.dumps(value) if isinstance(value, str) else repr(value)
