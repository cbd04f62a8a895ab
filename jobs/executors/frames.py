"""The language between a worker and its agents: binary frames with a length, over any two pipes.

A frame has a kind, a JSON object and up to a megabyte of bytes. Either side ends the connection with a sentence at the
first frame that is cut off, too large, of another version or not JSON: a node is not trusted.

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
MAGIC = b"\x00fts-agent\x00\n"  # comes first, so that what a login shell prints before it can be passed over
HEADER = struct.Struct(">4sBBII")  # name, version, kind, bytes of JSON, bytes behind it
NAME = b"fts1"
END = b"\n"  # of every frame: srun passes on whole lines, and keeps the rest until one ends
MOST_BODY = 1 << 20
MOST_FROM_NODE = 2 << 20  # bytes of JSON; a fact has at most one megabyte
MOST_FROM_HEAD = 256 << 20  # a specification holds the trials before it
MOST_NOISE = 1 << 16  # bytes before the magic word
PART = 1 << 16  # written at once
STACK = re.compile(r"\[0x[0-9a-f]+\]|^\*\*\* StackTrace")  # a line of a crash of native code, which tells nobody why
TRAILER = re.compile(  # a line that only says that something ended: what went wrong stands before it
    r"^(srun: error: \S+: tasks? [\d,-]+: |srun: (forcing|Force|Job step|launch/slurm|Terminating)"
    r"|slurmstepd\S*: error: \*\*\* |command terminated with|pod \S+ terminated)"
)
NOTHING = "it printed nothing"


class Kind(IntEnum):
    """What a frame is."""

    HELLO = 1  # node: what it is
    WELCOME = 2  # worker: lease, grace
    START = 3  # worker: this program, these threads, limits
    ATTEMPT = 4  # worker: token, specification; the files that follow are what it goes on from
    CODE = 5  # worker: the files that follow are the code of this folder
    FILE = 6  # a part of a file
    RUN = 7  # worker: everything is there
    SEND = 8  # worker: a command of fts.jobs.api.protocol
    STOP = 9  # worker: freeze, thaw, ask, kill, stdin
    LIMITS = 10  # worker: of memory
    END = 11  # worker: end the process; the agent waits for another
    BEAT = 12  # worker: is there
    FACT = 13  # node: a fact of the trial
    FILES = 14  # node: the parts before this frame are whole files now
    LOG = 15  # node: more of the trial's log
    DECISION = 16  # node: what its watchdog did or wants
    VITALS = 17  # node: how it is
    EXIT = 18  # node: the process has ended
    REFUSED = 19  # node: why it leaves
    PREEMPTED = 20  # node: the engine wants it back; what the trial still says counts
    DATA = 21  # worker: these data sets, by md5, belong to the code
    NEED = 22  # node: of those, what has to be sent


@dataclass(frozen=True)
class Frame:
    kind: Kind
    meta: dict[str, Any] = field(default_factory=dict)
    body: bytes = b""


class BadFrame(ValueError):
    """The other side does not speak our language, or its connection was cut; the sentence says how."""


def encode(frame: Frame) -> bytes:
    meta = json.dumps(frame.meta, separators=(",", ":")).encode()
    return HEADER.pack(NAME, VERSION, frame.kind, len(meta), len(frame.body)) + meta + frame.body + END


class Reader:
    """Frames from a descriptor, one thread's."""

    def __init__(self, fd: int, most_meta: int) -> None:
        self.fd, self.most_meta = fd, most_meta
        self.noise = b""  # what came before the magic word
        self.heard = time.monotonic()  # the last byte came: a large frame takes long on a slow link
        self._magic = False

    def next(self) -> Frame | None:
        """The next frame; None at the end of the stream. Raises BadFrame."""
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
            told = json.loads(meta or b"")
            found = Kind(kind)
        except (ValueError, RecursionError) as error:
            raise BadFrame(f"a frame of kind {kind} cannot be read: {str(error)[:200]}") from None
        if not isinstance(told, dict):
            raise BadFrame(f"a frame of kind {kind} holds a {type(told).__name__}, expected an object")
        return Frame(found, told, body or b"")

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
    """Frames to a descriptor; several threads may send."""

    def __init__(self, fd: int, gives_up: Callable[[], bool], magic: bool = False) -> None:
        """`gives_up` is asked while the other side takes nothing."""
        self.fd, self.gives_up = fd, gives_up
        self._lock = threading.Lock()
        self._broken = False
        os.set_blocking(fd, False)
        if magic:
            self.begin()

    def begin(self) -> None:
        """The word by which the other side knows us. Raises BrokenPipeError."""
        with self._lock:
            self._write(MAGIC)

    def send(self, kind: Kind, meta: dict[str, Any] | None = None, body: bytes = b"") -> None:
        """Raises BrokenPipeError when the other side is gone, or takes nothing any more."""
        data = encode(Frame(kind, meta or {}, body))
        with self._lock:
            self._write(data)

    def beat(self) -> None:
        """Says that we are here, unless that has to wait: then what is under way says it. Raises BrokenPipeError."""
        if self._lock.acquire(blocking=False):
            try:
                if ready(self.fd, 0.0):
                    self._write(encode(Frame(Kind.BEAT)))
            finally:
                self._lock.release()

    def end(self) -> None:
        """Nothing is sent from now on: the descriptor may be closed."""
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
                        raise BrokenPipeError("the other side takes nothing any more")
                    continue
                try:
                    left = left[os.write(self.fd, left[:PART]) :]
                except BlockingIOError:
                    time.sleep(0.001)
        except OSError as error:
            self._broken = True  # half a frame may be out: nothing can follow it
            raise BrokenPipeError(str(error)) from error


def ready(fd: int, timeout_s: float) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    return bool(poller.poll(timeout_s * 1000))


def last_line(said: bytes) -> str:
    """The last line of what a shell or an engine printed that says why, for a sentence."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines()]
    lines = [line for line in lines if line and not STACK.search(line)]
    tells = [line for line in lines if not TRAILER.search(line)] or lines
    return tells[-1][:300] if tells else NOTHING
