"""Python processes of ours as forks of one that has their modules: 10 ms of processor instead of 100 to 1,600.

    python -P tests/forks.py NAME KIND FD        serves orders on a socket of that name until FD is closed

A fork gets words, environment, folder, descriptors, limits and umask of the process that was asked for, and its exit
code and signals are its own. Its parent is the server, /proc shows the server's command line, and all forks have one
hash seed. Where this matters, `off()` or `Study(..., starts=True)` starts processes; so do other systems than Linux,
and an environment with variables that only an interpreter that starts obeys.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib.abc
import importlib.util
import io
import json
import os
import pkgutil
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parent.parent
OF_THE_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "MKL_CBWR")
AROUND = {name: value for name, value in os.environ.items() if not name.startswith("FTS_")}
CORE = (  # packages with all that is in them
    "fts.jobs.cli", "fts.jobs.worker", "fts.jobs.status", "fts.jobs.records", "fts.jobs.form", "fts.jobs.notify",
    "fts.jobs.executors", "fts.jobs.trial", "fts.jobs.check", "fts.state.queries", "importlib.metadata",
)  # fmt: skip
LATE = (  # what commands, workers and trials import when they need it
    "ctypes.util", "difflib", "encodings.utf_8_sig", "fts.jobs.search.drawing", "fts.study.study", "numpy.random",
    "pynvml",
)  # fmt: skip
SCIENCE = (
    "torch", "pandas", "pyarrow.parquet", "sklearn.ensemble", "sklearn.linear_model", "sklearn.metrics", "sklearn.svm",
    "arch.bootstrap", "fts.study.build", "fts.study.final_model", "fts.study.walk_trainer", "fts.study.fold_trainer",
)  # fmt: skip
MONITOR = ("textual.drivers.linux_driver", "textual.widgets._tab_pane", "textual.widgets._tabbed_content")
OF_OTHERS = {  # kind of server -> the modules that are not run by a fork of "core"
    "science": ("fts.study.", "tests.chaos.", "tests.training."),
    "monitor": ("fts.tui",),
    "messages": ("fts.jobs.notify.send",),
}
LOADS = {  # kind -> packages with all that is in them, and modules
    "core": (CORE, LATE),
    "science": (CORE, (*LATE, *SCIENCE)),
    "monitor": (("fts.tui",), MONITOR),
    "messages": (("fts.jobs.notify",), ("apprise",)),
}
SHARED = "SHARED_FORKS"  # variable: the name of the servers of all test processes of a run
CUSTOM = "CUSTOMIZED_IN"  # variable: a folder of PYTHONPATH with a sitecustomize.py that may run late, in a fork
ASKING = ("fts.jobs.supervisor.child", "fts.jobs.supervisor.template")  # start processes
ASKING_TOO = (  # in the processes that have loaded them
    "fts.jobs.notify.keeper", "fts.jobs.notify.send", "fts.tui.data.form_process", "fts.tui.data.form_runs",
    "fts.tui.late_changes",
)  # fmt: skip
REAL_POPEN = subprocess.Popen  # a test may put another in its place
LIMITS = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
NUMBER = struct.Struct("q")
HIGH_FD = 200  # received descriptors are moved up here, out of the way of the numbers they must get


# -- who asks


def can_fork(environ: Mapping[str, str]) -> bool:
    """Whether a fork is the process that this environment would start. PYTHONUNBUFFERED is obeyed by both."""
    known = {str(ROOT), *AROUND.get("PYTHONPATH", "").split(os.pathsep), environ.get(CUSTOM, "")}
    others = set(environ.get("PYTHONPATH", "").split(os.pathsep)) - known
    return _Asked.forks and all(map(_is_empty, others)) and _of_the_start(environ) == _of_the_start(AROUND)


def _is_empty(folder: str) -> bool:
    return {path.name for path in Path(folder).iterdir()} <= {"__pycache__"} if Path(folder).is_dir() else True


def is_of_the_start(name: str) -> bool:
    return name.startswith(OF_THE_START)


def _of_the_start(environ: Mapping[str, str]) -> dict[str, str]:
    of_it = {name: value for name, value in environ.items() if is_of_the_start(name)}
    return of_it | {"PYTHONPATH": "", "PYTHONUNBUFFERED": ""}


class _Asked:
    """The servers of this test process."""

    forks = sys.platform == "linux"
    name = f"fts-forks-{os.getpid()}"  # of their sockets; a fork has its parent's
    alive: dict[str, int] = {}  # noqa: RUF012  # kind -> what ends it when it is closed


@contextlib.contextmanager
def off(really: bool = True) -> Iterator[None]:
    """Processes are started, not forked."""
    before = _Asked.forks
    _Asked.forks = before and not really
    try:
        yield
    finally:
        _Asked.forks = before


def share() -> None:
    """Has the test processes that this one starts ask its servers: each loads torch for 4 s."""
    if _Asked.forks:
        _line("core").close()
        os.environ[SHARED] = _Asked.name


def ask_shared() -> None:
    """For a test process alone: what it starts may be in another namespace, where the servers are not."""
    _Asked.name = os.environ.pop(SHARED, _Asked.name)


def install() -> None:
    """Has the processes of supervisors that run in this process forked."""
    for name in (*ASKING, *(each for each in ASKING_TOO if each in sys.modules)):
        module = importlib.import_module(name)
        shim = ModuleType("subprocess")
        vars(shim).update(vars(subprocess))
        shim.Popen = popen  # type: ignore[attr-defined]
        module.subprocess = shim  # type: ignore[attr-defined]


def popen(argv: Sequence[str], **options: Any) -> Any:
    """A process of ours as a fork, any other as subprocess.Popen starts it."""
    environ = os.environ if options.get("env") is None else options["env"]
    ours = argv[0] == sys.executable and argv[1] in ("-m", "-Pm") and argv[2].startswith(("fts.", "tests."))
    if ours and can_fork(environ):
        with contextlib.suppress(ConnectionError, FileNotFoundError):
            return Forked(argv, **options)
    return REAL_POPEN(argv, **options)


class Forked:
    """A process that a server forks, as subprocess.Popen shows its own.

    `argv` begins as python() writes it. Raises ConnectionError where no server is, FileNotFoundError without a folder.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
        start_new_session: bool = True,
        close_fds: bool = True,
        terminal: bool = False,
        text: bool = False,
        errors: str | None = None,
    ) -> None:
        """`terminal`: its stdin controls it, as that of a program in a terminal does."""
        if not (folder := Path(cwd or ".").absolute()).is_dir():
            raise FileNotFoundError(folder)
        line = _line(next((kind for kind, names in OF_OTHERS.items() if argv[2].startswith(names)), "core"))
        self.args, self.returncode = list(argv), None
        self.stdin: Any = None
        self.stdout: Any = None
        self.stderr: Any = None
        self._lock = threading.Lock()
        self._errors = (errors or "strict") if text else None
        self._said = (bytearray(), bytearray())
        self._answer, told = os.pipe()
        close = [told]
        if stdin == subprocess.PIPE:
            stdin, write = os.pipe()
            close.append(stdin)
            self.stdin = os.fdopen(write, "w", 1) if text else os.fdopen(write, "wb", buffering=0)
        elif stdin == subprocess.DEVNULL:
            stdin = os.open(os.devnull, os.O_RDONLY)
            close.append(stdin)
        given = {"stdout": stdout, "stderr": stderr}
        for name, stream in given.items():
            if stream == subprocess.PIPE:
                read, given[name] = os.pipe()
                close.append(given[name])
                setattr(self, name, os.fdopen(read, errors=errors) if text else os.fdopen(read, "rb"))
            elif stream == subprocess.DEVNULL:
                given[name] = os.open(os.devnull, os.O_WRONLY)
                close.append(given[name])
        if stderr in (subprocess.STDOUT, None):
            given["stderr"] = 2 if stderr is None else given["stdout"]
        streams = [stdin, *given.values()]
        environ = dict(os.environ if env is None else env)
        if argv[2] != "fts.jobs.cli":
            environ["ASKED_BY"] = str(os.getpid())  # whom a trial has to kill: its parent is the server
        order = {
            "argv": list(argv), "cwd": str(folder), "session": start_new_session, "terminal": terminal,
            "environ": environ, "numbers": [0, 1, 2, *pass_fds], "umask": _umask(),
            "limits": [(each, *resource.getrlimit(each)) for each in LIMITS],
        }  # fmt: skip
        fds = [each if isinstance(each, int) else each.fileno() for each in (*streams, *pass_fds)]
        try:
            with line:
                socket.send_fds(line, [json.dumps(order).encode()], [told, *fds])
        finally:
            for fd in close:
                os.close(fd)
        (self.pid,) = NUMBER.unpack(os.read(self._answer, NUMBER.size))

    def poll(self) -> int | None:
        return self._look(0.0)

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        if (code := self._look(timeout)) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return code

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Writes the input, which must fit into a pipe, and reads to the end; goes on where an earlier one gave up."""
        until = None if timeout is None else time.monotonic() + timeout
        if self.stdin is not None and not self.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self.stdin.write(input or self._text_of(b""))
                self.stdin.close()
        pipes = {pipe for pipe in (self.stdout, self.stderr) if pipe is not None and not pipe.closed}
        while pipes:
            ready = select.select(list(pipes), [], [], None if until is None else max(0.0, until - time.monotonic()))[0]
            if not ready:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0, bytes(self._said[0]), bytes(self._said[1]))
            for pipe in ready:
                more = os.read(pipe.fileno(), 1 << 16)
                self._said[pipe is self.stderr].extend(more)
                if not more:
                    pipe.close()
                    pipes.discard(pipe)
        self.wait(None if until is None else max(0.0, until - time.monotonic()))
        out, err = (
            None if pipe is None else self._text_of(bytes(said))
            for pipe, said in zip((self.stdout, self.stderr), self._said, strict=True)
        )
        return out, err

    def _text_of(self, said: bytes) -> Any:
        if self._errors is None:
            return said
        return io.TextIOWrapper(io.BytesIO(said), encoding="utf-8", errors=self._errors).read()

    def _look(self, timeout: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._answer], [], [], timeout)[0]:
                told = os.read(self._answer, NUMBER.size) or NUMBER.pack(-signal.SIGKILL)
                (self.returncode,) = NUMBER.unpack(told)
                os.close(self._answer)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(argv: Sequence[str], cwd: Path, environ: Mapping[str, str], timeout_s: float) -> tuple[int, str, str]:
    """Exit code, stdout and stderr. Raises subprocess.TimeoutExpired."""
    pipe = subprocess.PIPE
    process = popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, cwd=cwd, env=environ)
    try:
        said = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    finally:
        process.stdout.close()
        process.stderr.close()
    told = (io.TextIOWrapper(io.BytesIO(text), encoding="utf-8").read() for text in said)
    return process.wait(max(1.0, timeout_s)), *told


def _umask() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("Umask:")), 8)


def _line(kind: str) -> socket.socket:
    """A connection to the server of that kind, which begins when it is asked for the first time."""
    if _Asked.name == f"fts-forks-{os.getpid()}" and kind not in _Asked.alive:
        its_end, end = os.pipe()
        process = begin(_Asked.name, kind, its_end)
        os.close(its_end)
        atexit.register(process.wait)
        atexit.register(os.close, end)
        _Asked.alive[kind] = end
    try:
        return _connected(kind)
    except ConnectionRefusedError:  # this is a fork: its server begins others
        if kind == "core":
            raise
        with _connected("core") as core:
            core.sendall(json.dumps({"begin": kind}).encode())
            core.recv(1)
        return _connected(kind)


def _connected(kind: str) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        line.connect(f"\0{_Asked.name}-{kind}")
    except OSError:
        line.close()
        raise
    return line


def begin(name: str, kind: str, end: int) -> subprocess.Popen[bytes]:
    """Starts a server and waits until it can be asked."""
    ready, its_ready = os.pipe()
    process = REAL_POPEN(
        [sys.executable, "-P", __file__, name, kind, str(end), str(its_ready)],
        env=AROUND | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # a fork gets its own before it says anything
        pass_fds=(end, its_ready),
        start_new_session=True,
    )
    os.close(its_ready)
    os.read(ready, 1)
    os.close(ready)
    return process


# -- the process that forks


def serve(name: str, kind: str, end: int, ready: int) -> None:
    """Until the test process has closed its end."""
    door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    door.bind(f"\0{name}-{kind}")
    door.listen(64)
    load(kind)
    woken, wake = os.pipe()
    for fd in (woken, wake):
        os.set_blocking(fd, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    os.close(ready)
    begun: set[str] = set()
    told: dict[int, int] = {}  # pid -> the socket that its exit code goes to
    while True:
        for fd in select.select([door, woken, end], [], [])[0]:
            if fd == end:
                return
            if fd == woken:
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 1024)
                tell_ended(told)
                continue
            with door.accept()[0] as line:
                said, fds, _, _ = socket.recv_fds(line, 1 << 20, 20)
                order = json.loads(said or "{}")
                if "begin" in order and order["begin"] not in begun:  # two processes may have found it missing
                    begin(name, order["begin"], end)
                    begun.add(order["begin"])
            if "argv" not in order:
                continue
            pid = os.fork()
            if pid == 0:
                become(name, order, fds[1:])
            for each in fds[1:]:
                os.close(each)
            told[pid] = fds[0]
            os.write(fds[0], NUMBER.pack(pid))


def load(kind: str) -> None:
    packages, modules = LOADS[kind]
    for package in packages:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for name in modules:
        importlib.import_module(name)
    databases = importlib.import_module("tests.new_databases")
    databases.empty()
    tempfile.tempdir = None  # a fork asks its own TMPDIR
    databases.install()
    remember_own_code()
    if kind == "science":
        sys.modules["torch"].set_num_threads(1)
    gc.collect()
    gc.freeze()


def remember_own_code() -> None:
    """A worker reads all files of fts at its start, 40 ms: it gets what was read here, as long as they are the same."""
    check = importlib.import_module("fts.jobs.supervisor.upgrade_check")
    read, known = check.md5_of, {}

    def md5_of(file: str) -> str:
        key = file, check.stamp_of(file)
        return known[key] if key in known else read(file)

    for file in check.files_in(check.folders_of(ROOT / "fts")):
        known[file, check.stamp_of(file)] = read(file)
    check.md5_of = md5_of


def tell_ended(told: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if (answer := told.pop(ended[0], None)) is None:
                continue  # another server
            with contextlib.suppress(BrokenPipeError):
                os.write(answer, NUMBER.pack(os.waitstatus_to_exitcode(ended[1])))
            os.close(answer)


def become(name: str, order: dict[str, Any], fds: list[int]) -> None:
    """The process that was asked for, from here to its end; a fork must never return into the server."""
    code = 1
    try:
        prepare(name, order, fds)
        run_module(order["argv"][2])
        code = 0
    except SystemExit as leaving:
        if leaving.code is not None and not isinstance(leaving.code, int):
            print(leaving.code, file=sys.stderr)
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # noqa: BLE001  # see above
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    from fts.jobs.trial.stacks import exit_now  # here: one that was no trial process need not have it

    exit_now(code)


def run_module(name: str) -> None:
    """As `python -m` does; runpy would warn of a module that is loaded already."""
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = importlib.util.find_spec(f"{name}.__main__")
    assert spec is not None and isinstance(spec.loader, importlib.abc.InspectLoader)
    program = ModuleType("__main__")
    program.__spec__, program.__file__ = spec, spec.origin
    sys.modules["__main__"] = program
    code = spec.loader.get_code(spec.name)
    assert code is not None
    exec(code, vars(program))


def prepare(name: str, order: dict[str, Any], fds: list[int]) -> None:
    """Makes a fork what the process would be before its first line."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if order["session"]:
        os.setsid()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, HIGH_FD) for fd in fds]
    os.closerange(3, HIGH_FD)
    for fd, number in zip(high, order["numbers"], strict=True):
        os.dup2(fd, number)
        os.close(fd)
    if order["terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.umask(order["umask"])
    for limit, soft, hard in order["limits"]:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (soft, hard))
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environ"])
    time.tzset()
    for stream in (sys.stdout, sys.stderr):
        unbuffered = bool(order["environ"].get("PYTHONUNBUFFERED"))
        stream.reconfigure(write_through=unbuffered, line_buffering=stream.isatty() or stream is sys.stderr)
    sys.orig_argv = order["argv"]
    _, way, module, *words = order["argv"]
    asked = order["environ"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [each for each in asked if each and each not in sys.path]  # folders that may get their files later
    if way == "-m":
        sys.path.insert(0, order["cwd"])
    sys.argv = [module, *words]
    if numpy_random := sys.modules.get("numpy.random"):
        numpy_random.seed()  # as Python's own has been: each process begins elsewhere
    _Asked.name = name
    if module.startswith("fts."):  # another has its own ways
        install()
    if folder := order["environ"].get(CUSTOM):
        exec(Path(folder, "sitecustomize.py").read_text(), {})


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
