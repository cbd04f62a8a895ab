"""Every test process computes on one thread that sleeps while it waits: two files run side by side on two cores."""

import os

import pytest

for name, value in {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}.items():
    os.environ.setdefault(name, value)  # before torch is imported; with spinning threads the suite took thrice as long


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests take up to two hours, whichever command runs them."""
    for item in items:
        if item.get_closest_marker("slow") is not None and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(7200))
