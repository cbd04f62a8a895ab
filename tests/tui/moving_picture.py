"""Joins frames of the monitor into one SVG that shows them in turn, without a script: the README's moving picture."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = 3.5  # that a frame is shown
GROUP = re.compile(r"<g .*</g>", re.DOTALL)
HEAD = re.compile(r"<svg [^>]*>")
BACKGROUND = re.compile(r'<rect width="100%"[^>]*/>')


def moving(frames: Sequence[str], title: str) -> str:
    """The frames, SVGs of one size, each for SECONDS, again and again; with reduced motion the first one alone."""
    head, background = HEAD.search(frames[0]), BACKGROUND.search(frames[0])
    assert head is not None and background is not None and all(HEAD.search(one)[0] == head[0] for one in frames)  # type: ignore[index]
    whole, share = SECONDS * len(frames), 100 / len(frames)
    style = (
        f"@keyframes turn{{0%,{share - 0.01:.2f}%{{visibility:visible}}{share:.2f}%,100%{{visibility:hidden}}}}"
        f".frame{{visibility:hidden;animation:turn {whole:g}s step-end infinite}}"
        "@media (prefers-reduced-motion:reduce){.frame{animation:none}.first{visibility:visible}}"
    )
    parts = [head[0], f"<title>{title}</title>", f"<style>{style}</style>", background[0]]
    for n, frame in enumerate(frames):
        group = GROUP.search(frame)
        assert group is not None
        delay = n * SECONDS - whole  # it has begun long ago
        parts.append(f'<g class="frame{" first" if n == 0 else ""}" style="animation-delay:{delay:g}s">{group[0]}</g>')
    return "\n".join([*parts, "</svg>\n"])
