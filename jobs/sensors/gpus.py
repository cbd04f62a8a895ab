"""Lists the GPUs that trials may use on this machine: names for CUDA_VISIBLE_DEVICES, and their memory.

FTS_GPUS names them where NVML is missing or should not be used: `FTS_GPUS=0=24GB,1=24GB` (memory may be left out),
`FTS_GPUS=none`. Otherwise those of CUDA_VISIBLE_DEVICES, otherwise all of NVML, by UUID, because CUDA may number them
in another order.
"""

from __future__ import annotations

import os
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from fts.jobs.api.amounts import read_size
from fts.jobs.api.spec import BadSpec
from fts.jobs.devices import BadSetting, Gpu
from fts.jobs.sensors.detect import gpu_handle, visible_names
from fts.jobs.status.formatting import count

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "FTS_GPUS"
NONE = ("none", "-1")


def list_gpus(environ: Mapping[str, str] = os.environ) -> tuple[Gpu, ...]:
    """Returns the GPUs; raises BadSetting for an invalid FTS_GPUS."""
    text = environ.get(VARIABLE, "").strip()
    if text:
        return () if text.lower() in NONE else named(text)
    visible = visible_names(environ)
    return () if visible == [] else by_nvml(visible or [])


def too_few_gpus(wanted: int) -> str:
    """Returns a message if this machine has too few GPUs for such a trial; empty: it has enough."""
    there = len(list_gpus()) if wanted else 0
    if wanted <= there:
        return ""
    return (
        f"gpu is {wanted}, and this machine has {count(there, 'GPU')} for trials: only a worker with nodes that have "
        f"more can run it (fts worker --executor ...); {VARIABLE} names GPUs that were not found: {VARIABLE}=0,1"
    )


def named(text: str) -> tuple[Gpu, ...]:
    """Parses `0=24GB,1=24GB` or `GPU-5c8a,GPU-77aa`."""
    found = []
    for word in text.split(","):
        name, equals, size = (part.strip() for part in word.partition("="))
        try:
            found.append(Gpu(name, read_size(size, "the memory") if equals else None))
        except BadSpec as error:
            raise BadSetting(f"{VARIABLE} is {text[:80]!r}: {error}") from None
    names = [gpu.name for gpu in found]
    if not all(names) or len(set(names)) < len(names):
        raise BadSetting(f"{VARIABLE} is {text[:80]!r}, expected different names such as 0=24GB,1=24GB, or none")
    return tuple(found)


def by_nvml(names: list[str]) -> tuple[Gpu, ...]:
    """Returns the GPUs with these names, up to a number that no GPU has (CUDA ends there, too); without names all.

    Empty without a driver.
    """
    try:
        import pynvml  # here: 26 ms, and only machines with a driver need it

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001  # no library, no driver, or one of another version
        return ()
    try:
        there = range(pynvml.nvmlDeviceGetCount())
        if names:
            names = list(takewhile(lambda name: not name.isdecimal() or int(name) in there, names))
        else:
            handles = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in there]
            names = [text_of(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
        return tuple(Gpu(name, memory_of(pynvml, name), uuid_of(pynvml, name)) for name in names)
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def memory_of(nvml: Any, name: str) -> int | None:
    """Returns the GPU's total bytes; None if it does not report them."""
    try:
        return int(nvml.nvmlDeviceGetMemoryInfo(gpu_handle(nvml, name)).total)
    except nvml.NVMLError:
        return None


def uuid_of(nvml: Any, name: str) -> str:
    """Returns the UUID, which does not depend on CUDA_VISIBLE_DEVICES; empty if the GPU does not report it."""
    try:
        return text_of(nvml.nvmlDeviceGetUUID(gpu_handle(nvml, name)))
    except nvml.NVMLError:
        return ""


def text_of(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
