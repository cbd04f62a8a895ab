"""Decides which HTTP requests a local server answers: those with this machine as host and no foreign origin.

Without this check a web page of another site could read from 127.0.0.1, through a host name that it points here (DNS
rebinding).
"""

from __future__ import annotations

import errno
import ipaddress
import socket

from fts.raising import quoted

LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
EVERYWHERE = ("0.0.0.0", "::")  # all network interfaces


def refusal(host: str, origin: str | None, port: int, bound: str = "127.0.0.1") -> str | None:
    """Says why a request is refused; None: it is allowed. `bound`: the address that the server listens on."""
    if not _is_ours(host, port, bound):
        return (
            f"host {quoted(host)} is not this machine: use http://127.0.0.1:{port} (or ssh -L {port}:127.0.0.1:{port})"
        )
    if origin is None:
        return None
    scheme, _, name = origin.lower().partition("://")
    if scheme != "http" or not _is_ours(name, port, bound) or (bound not in LOOPBACK and name != host.lower()):
        return f"origin {quoted(origin)} is another site: refused"
    return None


def _is_ours(name: str, port: int, bound: str) -> bool:
    """Is it a name of this machine with our port?

    If the server listens on the network, only IP addresses and the bound name count: no other site can use those.
    """
    host, _, said = name.lower().rpartition(":")
    if said != str(port):
        return False
    if host in LOOPBACK or bound in LOOPBACK:
        return host in LOOPBACK
    if host == name_of(bound).lower():
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def name_of(host: str) -> str:
    """Returns the host name for a URL of the address that we listen on."""
    if host in EVERYWHERE:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def cannot_listen(error: OSError) -> str:
    """Says why a server cannot listen, and what helps."""
    if error.errno == errno.EADDRINUSE:
        return "another program uses this port; choose another with --port"
    if error.errno == errno.EACCES:
        return "permission denied; choose a port from 1024 up with --port"
    return "this machine has no such address; leave --host out to listen on this machine only"
