"""How many connections this process may have: each one is an open file, and the limit is often small.

https://man7.org/linux/man-pages/man2/getrlimit.2.html
"""

from __future__ import annotations

import resource
from pathlib import Path

from bulk_import import open_files

POOLS = 3  # for reads, for writes, for roles
SPARE = (
    14  # files in addition to connections: journal, report, material that is read in threads, names that are resolved
)


def connections(wanted: int) -> int:
    """Of each pool: `wanted`, or what the limit of open files leaves, and at least one."""
    limit = open_files.limit()
    if limit == resource.RLIM_INFINITY:
        return wanted
    left = limit - sum(1 for _ in Path("/dev/fd").iterdir()) - SPARE
    return max(1, min(wanted, left // POOLS))
