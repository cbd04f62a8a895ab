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
from fts.jobs.devices import BadSetting, Gpu, gpus_in_words
from fts.jobs.sensors.detect import gpu_handle, visible_names
from fts.jobs.status.formatting import count, in_gb

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VARIABLE = "FTS_GPUS"
NONE = ("none", "-1")


def list_gpus(environ: Mapping[str, str] = os.environ) -> tuple[Gpu, ...]:
    """Returns the GPUs; raises BadSetting for an invalid FTS_GPUS."""
    text = environ.get(VARIABLE, "").strip()
    if text:
        return () if text.lower() in NONE else named(text)
    visible = visible_names(environ)
    return () if visible == [] else by_nvml(visible or [])


def too_few_gpus(wants: Iterable[tuple[int, int | None]]) -> str:
    """Returns a message if this machine has too few or too small GPUs for one of these trials; empty: it has enough.

    `wants`: the number of GPUs of a trial, and the bytes that it promises to need of each (None: unknown).
    """
    asked = sorted({(gpus, needed or 0) for gpus, needed in wants if gpus}, reverse=True)
    there = list_gpus() if asked else ()
    only = "only a worker with nodes that have more can run it (fts worker --executor ...)"
    for gpus, needed in asked:
        if gpus > len(there):
            return (
                f"gpu is {gpus}, and this machine has {count(len(there), 'GPU')} for trials: {only}; {VARIABLE} names "
                f"GPUs that were not found: {VARIABLE}=0,1"
            )
        if gpus > sum(gpu.holds(needed) for gpu in there):
            of = "a GPU" if gpus == 1 else f"each of {gpus} GPUs"
            return f"memory is {in_gb(needed)} of {of}, and this machine has {gpus_in_words(there)}: {only}"
    return ""


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
