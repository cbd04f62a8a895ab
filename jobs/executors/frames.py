"""The protocol between a worker and its agents: length-prefixed binary frames over two pipes.

A frame has a kind, a JSON object and up to a megabyte of bytes. Nodes are not trusted: at the first frame that is cut
off, too large, of another version or not JSON, either side ends the connection with an error message.

    worker to agent   welcome code data start attempt file run send stop limits end beat
    agent to worker   hello need fact file files log decision vitals exit preempted refused
"""

from __future__ import annotations

import json
import os
import re
import select
import struct
import threading
import time
from dataclasses import field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = 1
MAGIC = b"\x00fts-agent\x00\n"  # starts the stream, so that output of a login shell before it can be skipped
HEADER = struct.Struct(">4sBBII")  # name, version, kind, bytes of JSON, bytes of the body
NAME = b"fts1"
END = b"\n"  # ends every frame: srun forwards only whole lines
MOST_BODY = 1 << 20
MOST_FROM_NODE = 2 << 20  # bytes of JSON; a fact has at most one megabyte
MOST_FROM_HEAD = 256 << 20  # bytes of JSON; a specification contains earlier trials
MOST_NOISE = 1 << 16  # bytes before MAGIC
PART = 1 << 16  # bytes per write
STACK = re.compile(r"\[0x[0-9a-f]+\]|^\*\*\* StackTrace")  # a stack line of a native crash, useless as explanation
TRAILER = re.compile(  # a line that only reports an exit: the cause is in an earlier line
    r"^(srun: error: \S+: tasks? [\d,-]+: |srun: (forcing|Force|Job step|launch/slurm|Terminating)"
    r"|slurmstepd\S*: error: \*\*\* |command terminated with|pod \S+ terminated)"
)
NOTHING = "it printed nothing"


class FrameKind(IntEnum):
    """The kind of a frame, with its sender."""

    HELLO = 1  # node: describes itself
    WELCOME = 2  # worker: lease, grace, interval of heartbeats
    START = 3  # worker: start a process of this program with these threads and limits
    ATTEMPT = 4  # worker: token and specification; the FILEs that follow are its checkpoint
    CODE = 5  # worker: the FILEs that follow are the code of this folder
    FILE = 6  # both: a part of a file
    RUN = 7  # worker: all files were sent, run the trial
    SEND = 8  # worker: a command of fts.jobs.api.protocol
    STOP = 9  # worker: how: freeze, thaw, ask, insist (SIGTERM), kill, stdin (close it)
    LIMITS = 10  # worker: new memory limits
    END = 11  # worker: end the process; the agent waits for the next START, or exits with `leave`
    BEAT = 12  # worker: heartbeat
    FACT = 13  # node: a fact of the trial
    FILES = 14  # node: the FILEs before this frame form a complete set
    LOG = 15  # node: more of the trial's log
    DECISION = 16  # node: a decision of its watchdog
    VITALS = 17  # node: heartbeat with sensor readings, memory and pace
    EXIT = 18  # node: the process has ended
    REFUSED = 19  # node: why it ends the connection
    PREEMPTED = 20  # node: the engine wants it back; facts of the trial still count
    DATA = 21  # worker: md5s of the data sets that belong to the code
    NEED = 22  # node: which of those it needs


@dataclass(frozen=True)
class Frame:
    kind: FrameKind
    meta: dict[str, Any] = field(default_factory=dict)
    body: bytes = b""


class BadFrame(ValueError):
    """A frame that is invalid or cut off; the message says how."""


def encode(frame: Frame) -> bytes:
    meta = json.dumps(frame.meta, separators=(",", ":")).encode()
    return HEADER.pack(NAME, VERSION, frame.kind, len(meta), len(frame.body)) + meta + frame.body + END


class FrameReader:
    """Reads frames from a descriptor; for one thread."""

    def __init__(self, fd: int, most_meta: int) -> None:
        self.fd, self.most_meta = fd, most_meta
        self.noise = b""  # bytes before MAGIC
        self.heard = time.monotonic()  # time of the last byte, not frame: a large frame takes long on a slow link
        self._magic = False

    def next(self) -> Frame | None:
        """Returns the next frame; None at the end of the stream. Raises BadFrame."""
        if not self._magic and not self._find_magic():
            return None
        head = self._exactly(HEADER.size, may_end=True)
        if head is None:
            return None
        name, version, kind, n_meta, n_body = HEADER.unpack(head)
        if name != NAME:
            raise BadFrame(f"a frame begins with {name!r}, expected {NAME!r}")
        if version != VERSION:
            raise BadFrame(f"a frame has version {version}, expected {VERSION}: both sides need the same fts")
        if n_meta > self.most_meta or n_body > MOST_BODY:
            raise BadFrame(f"a frame has {n_meta:,} + {n_body:,} bytes, allowed are {self.most_meta:,} + {MOST_BODY:,}")
        meta, body, end = self._exactly(n_meta), self._exactly(n_body), self._exactly(len(END))
        if end != END:
            raise BadFrame(f"a frame of kind {kind} ends with {end!r}, expected a line's end")
        try:
            content = json.loads(meta or b"")
            found = FrameKind(kind)
        except (ValueError, RecursionError) as error:
            raise BadFrame(f"a frame of kind {kind} cannot be read: {str(error)[:200]}") from None
        if not isinstance(content, dict):
            raise BadFrame(f"a frame of kind {kind} holds a {type(content).__name__}, expected an object")
        return Frame(found, content, body or b"")

    def _find_magic(self) -> bool:
        seen = b""
        while MAGIC not in seen:
            part = os.read(self.fd, 1)
            if not part:
                self.noise = seen
                return False
            seen += part
            if len(seen) > MOST_NOISE:
                raise BadFrame(f"{MOST_NOISE:,} bytes came before the first frame: {last_line(seen)}")
        self.noise = seen[: -len(MAGIC)]
        self._magic = True
        return True

    def _exactly(self, size: int, may_end: bool = False) -> bytes | None:
        parts, missing = [], size
        while missing:
            part = os.read(self.fd, min(missing, PART))
            if not part:
                if may_end and missing == size:
                    return None
                raise BadFrame(f"a frame was cut off: {size - missing:,} of {size:,} bytes came")
            self.heard = time.monotonic()
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


class Writer:
    """Writes frames to a descriptor. Thread-safe."""

    def __init__(self, fd: int, gives_up: Callable[[], bool]) -> None:
        """`gives_up` is called while the pipe is full; True ends the connection."""
        self.fd, self.gives_up = fd, gives_up
        self._lock = threading.Lock()
        self._broken = False
        os.set_blocking(fd, False)

    def begin(self) -> None:
        """Writes MAGIC, which an agent sends before its first frame. Raises BrokenPipeError."""
        with self._lock:
            self._write(MAGIC)

    def send(self, kind: FrameKind, meta: dict[str, Any] | None = None, body: bytes = b"") -> None:
        """Writes one frame. Raises BrokenPipeError when the other side is gone or does not read any more."""
        data = encode(Frame(kind, meta or {}, body))
        with self._lock:
            self._write(data)

    def beat(self) -> None:
        """Writes a heartbeat, unless another frame is being written, which proves the same. Raises BrokenPipeError."""
        if self._lock.acquire(blocking=False):
            try:
                if ready(self.fd, 0.0):
                    self._write(encode(Frame(FrameKind.BEAT)))
            finally:
                self._lock.release()

    def end(self) -> None:
        """Stops all sending, so that the descriptor may be closed."""
        with self._lock:
            self._broken = True

    def _write(self, data: bytes) -> None:
        if self._broken:
            raise BrokenPipeError("the connection has ended")
        left = memoryview(data)
        try:
            while left:
                if not ready(self.fd, 0.5):
                    if self.gives_up():
                        raise BrokenPipeError("the other side does not read any more")
                    continue
                try:
                    left = left[os.write(self.fd, left[:PART]) :]
                except BlockingIOError:
                    time.sleep(0.001)
        except OSError as error:
            self._broken = True  # half a frame may have been sent: nothing can follow it
            raise BrokenPipeError(str(error)) from error


def ready(fd: int, timeout_s: float) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    return bool(poller.poll(timeout_s * 1000))


def last_line(printed: bytes) -> str:
    """Returns the last printed line that explains an end: no stack lines, no exit messages of an engine."""
    lines = [line.strip() for line in printed.decode(errors="replace").splitlines()]
    lines = [line for line in lines if line and not STACK.search(line)]
    tells = [line for line in lines if not TRAILER.search(line)] or lines
    return tells[-1][:300] if tells else NOTHING
