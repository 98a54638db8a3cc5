"""Ports for servers that do not choose one themselves."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket

# Below what the kernel gives to connections, and to servers that ask for any port (32768 and above): such a port may be
# taken before its server listens.
LOWEST, COUNT = 20_000, 12_000
_numbers = itertools.count()


def free_port() -> int:
    """On loopback; the next one is left to the same server. Workers have neighbouring process IDs, and other ports."""
    for number in _numbers:
        port = LOWEST + (os.getpid() * 32 + number * 2) % COUNT
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("unreachable: the numbers do not end")
