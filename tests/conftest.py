"""Every test process computes on one thread that sleeps while it waits: two files run side by side on two cores."""

import os

for name, value in {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}.items():
    os.environ.setdefault(name, value)  # before torch is imported; with spinning threads the suite took thrice as long
