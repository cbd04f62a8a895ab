"""The commands of docs/cluster.md, as they stand there."""

from __future__ import annotations

import re

from tests.fts_process import ROOT


def commands(heading: str) -> list[str]:
    """Of the blocks without a language below that heading; without comments, and one a line."""
    part = (ROOT / "docs" / "cluster.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
    lines = "".join(block for language, block in blocks if not language).replace("\\\n", " ").splitlines()
    return [line.split(" #")[0].strip() for line in lines]
