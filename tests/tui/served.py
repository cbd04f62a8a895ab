"""Starts `fts serve` as a person does, and counts what it has running."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import psutil

from fts.jobs.python import python


def started(db_path: Path, *words: str, cwd: Path | None = None) -> tuple[subprocess.Popen[str], str]:
    """The server and the address it prints, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = Path(__file__).parents[2]
    server = subprocess.Popen(
        python("-m", "fts.jobs.cli", "--db", str(db_path), "serve", "--port", str(port), *words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:"), address
    return server, address


def monitors(server: int) -> list[psutil.Process]:
    """Every process below the server."""
    try:
        return psutil.Process(server).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
