"""Our bootstrap is the arch package's, to the last bit."""

import subprocess
import sys

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap, optimal_block_length

from fts.scores.bootstrap import best_block, stationary_indices


@pytest.mark.parametrize(("n", "block", "seed"), [(2, 1, 0), (60, 1, 9), (500, 23, 1), (491, 40, 7), (37, 100, 3)])
def test_the_same_days_are_drawn(n: int, block: int, seed: int) -> None:
    theirs = StationaryBootstrap(block, np.arange(n), seed=np.random.default_rng(seed)).bootstrap(20)
    assert (stationary_indices(n, block, seed, 20) == np.stack([drawn[0] for drawn, _ in theirs])).all()


@pytest.mark.parametrize("n", [10, 11, 63, 500, 501, 1200])
@pytest.mark.parametrize("memory", [0.0, 0.3, 0.9, 0.99, -0.5])
def test_the_same_block_is_chosen(n: int, memory: float) -> None:
    for seed in range(10):
        values = np.random.default_rng(seed).standard_normal(n)
        for i in range(1, n):
            values[i] += memory * values[i - 1]
        assert best_block(values) == optimal_block_length(values)["stationary"].iloc[0]


def test_an_interval_needs_neither_arch_nor_pandas() -> None:
    program = """
import sys
import numpy as np
from fts.scores.intervals import auc_interval, compare
y = np.arange(200) % 3 == 0
auc_interval(y, np.linspace(0, 1, 200), 1, seed=0)
compare(y, np.linspace(0, 1, 200), np.linspace(1, 0, 200), 1)
print(sorted({"arch", "pandas", "matplotlib", "sklearn", "torch"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
