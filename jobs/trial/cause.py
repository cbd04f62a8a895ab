"""Maps an exception of a trial to its cause, one of the words of fts.state.values.Cause.

The words are repeated here, because a trial process imports nothing of the database. A test compares the two lists.
"""

from __future__ import annotations

import errno
import io
import re
import resource
from pathlib import Path

OF_A_TRIAL = ("'OptunaTrial'",)  # in Python's error for f(lr), a function that expects the value and not a trial
REMOVED = ("system_attrs", "set_system_attr")  # of a trial, in Optuna 5
OUT_OF_MEMORY = "out of memory"
DISK = "disk"
DATA_ERROR = "data error"
MACHINE_ERROR = "machine error"
CODE_ERROR = "code error"

DATA_ERRORS = {"DataError", "BadBars", "BadSplit", "LeakyFeature", "JoinFailed", "ManifestError", "WrongBars"}
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
MISUSED = (  # wrong calls, which fail on every machine
    errno.EBADF, errno.ECHILD, errno.EFAULT, errno.ENAMETOOLONG, errno.ENOTEMPTY, errno.ENOTSOCK, errno.ENOTTY,
    errno.ESPIPE, errno.ESRCH, errno.EXDEV,
)  # fmt: skip
IN_THE_WAY = (  # the user's code left a folder or a pipe where a trial's files belong; a link may be a person's
    errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL, errno.ENXIO,
)  # fmt: skip
LIMITS = {errno.EFBIG: resource.RLIMIT_FSIZE, errno.EMFILE: resource.RLIMIT_NOFILE}
AT_START = {kind: resource.getrlimit(kind)[0] for kind in LIMITS.values()}  # before any code of the user runs
# Messages of libraries that raise no MemoryError: of an allocator, or of a loader under a memory limit.
NO_MEMORY = (
    "allocate memory", "failed to map segment", "std::bad_alloc", "not enough memory", "backend out of memory",
    "cuda out of memory", "status_alloc_failed", "cannot map", "failed to allocate", "unable to allocate",
)  # fmt: skip
# A driver or device is missing, busy or lost. A kernel that reads wrong addresses is the code's fault instead.
NO_DEVICE = (
    "not compiled with cuda", "no nvidia driver", "cuda driver", "no cuda gpus", "invalid device ordinal",
    "cuda-capable device", "device is lost", "fallen off the bus", "ecc error", "not linked with support for mps",
    "mps backend is", "mps device", "driver/library version mismatch", "initialization error", "cuda error: unknown",
    "system not yet initialized", "no kernel image", "not supported by the pytorch", "hardware stack error",
    "unspecified launch failure", "failed to initialize nvml", "cudnn_status_not_initialized",
    "cublas_status_not_initialized", "can't start new thread",
)  # fmt: skip


NO_FOLDER = re.compile(r"non-existent directory: '(.+)'")  # pandas raises an OSError without a number


class DeviceMissing(RuntimeError):
    """The trial's device is not available on this machine."""


def message_of(error: BaseException) -> str:
    """Returns the message of an exception; empty if its __str__ fails."""
    try:
        return str(error).strip()
    except Exception:  # noqa: BLE001  # __str__ of other people's classes can raise anything
        return ""


def cause_of(error: BaseException) -> str:
    """Returns the cause of an exception. Looks at the exception itself before the one it was raised from."""
    names = {cls.__name__ for cls in type(error).__mro__}
    message = message_of(error).lower()
    number = error.errno if isinstance(error, OSError) else None
    library = isinstance(error, ImportError | OSError | RuntimeError | AssertionError | SystemError)
    if isinstance(error, MemoryError) or "OutOfMemoryError" in names or number == errno.ENOMEM:
        return OUT_OF_MEMORY
    if library and any(words in message for words in NO_MEMORY):
        return OUT_OF_MEMORY
    if ("CannotWrite" in names and number in IN_THE_WAY) or _changed_limit(number):
        return CODE_ERROR
    if number in MISUSED or isinstance(error, io.UnsupportedOperation):
        return CODE_ERROR
    if (names & {"DiskFull", "CannotWrite"} and number != errno.EFBIG) or number in FULL:
        return DISK
    if names & DATA_ERRORS:
        return DATA_ERROR
    if isinstance(error, ImportError | OSError | DeviceMissing):
        return MACHINE_ERROR
    if library and any(words in message for words in NO_DEVICE):
        return MACHINE_ERROR
    under = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if library and isinstance(under, ImportError | MemoryError):  # `RuntimeError: could not load ...` from the loader
        return cause_of(under)
    return CODE_ERROR


def is_foreign(error: BaseException) -> bool:
    """Can other trials perhaps write? The full disk may be another than the study's, or only this folder is locked."""
    is_ours = any(cls.__name__ == "CannotWrite" for cls in type(error).__mro__)
    return not (is_ours and isinstance(error, OSError) and error.errno in FULL)


def _changed_limit(number: int | None) -> bool:
    """Is the error due to a resource limit that the code itself has changed?"""
    kind = None if number is None else LIMITS.get(number)
    return kind is not None and resource.getrlimit(kind)[0] != AT_START[kind]


def advice(error: BaseException) -> str:
    """Returns what to change if the function was written for another program or folder; empty if unknown."""
    if isinstance(error, AttributeError) and any(word in str(error) for word in OF_A_TRIAL) and error.name in REMOVED:
        return f"; Optuna has removed trial.{error.name}, and the code was written for an older one"
    if isinstance(error, TypeError | AttributeError) and any(word in str(error) for word in OF_A_TRIAL):
        return (
            "; the function gets a trial of Optuna: draw with its suggest_float(...), or declare the arguments with "
            "--space NAME=LOW:HIGH"
        )
    if isinstance(error, EOFError) and str(error) == "EOF when reading a line":  # of input()
        return "; a trial has no keyboard: make the answer an axis, or read it from a file"
    missing = missing_path(error)
    return f"; the trial runs in {Path.cwd()}" if missing is not None and not Path(missing).is_absolute() else ""


def missing_path(error: BaseException) -> str | None:
    """Returns the file or folder that an error says does not exist; None: it names none."""
    if isinstance(error, FileNotFoundError):
        return error.filename if isinstance(error.filename, str) else None
    found = NO_FOLDER.search(message_of(error)) if isinstance(error, OSError) and error.errno is None else None
    return found[1] if found else None
