"""The learning rate of every optimizer step: linear warm-up, then a cosine to zero."""

from __future__ import annotations

import math


def learning_rate(step: int, peak: float, warmup_steps: int, total_steps: int) -> float:
    """Returns the rate of step `step` (from 1): peak * step / warmup_steps up to the peak, then half a cosine.

    The cosine ends above zero at the last step, so that no step is wasted.
    """
    if step <= warmup_steps:
        return peak * step / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps + 1)
    return peak * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
