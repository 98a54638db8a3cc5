"""Which engines for shards are on this machine; tests/left_out.py prints one line for each that is not."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.shards import slurm

NEEDED: Final = "TESTS_NEED_ENGINES"
SLURM: Final = (
    "Left out: tests/shards/test_slurm.py (an array on a real Slurm); {missing} not found. "
    "To run it: apt-get install slurm-wlm munge."
)
GITLAB: Final = (
    "Left out: tests/shards/test_gitlab.py (the GitLab matrix on gitlab-ci-local); {missing} not found. "
    "To run it: apt-get install rsync, and make .venv/.gitlab (needs npm and Node.js 18 or later)."
)


def gitlab_ci_local() -> str | None:
    """Its path: the one of tests/shards/gitlab/package-lock.json, which the Makefile installs next to .venv."""
    installed = Path(sys.prefix) / "gitlab" / "node_modules" / ".bin"
    return shutil.which("gitlab-ci-local", path=f"{installed}:{os.environ['PATH']}")


def gitlab_missing() -> list[str]:
    """What its test needs and this machine lacks."""
    found = {"gitlab-ci-local": gitlab_ci_local(), **{name: shutil.which(name) for name in ("node", "git", "rsync")}}
    return [name for name, path in found.items() if not path]


def left_out() -> Iterator[str]:
    for line, missing in ((SLURM, slurm.missing()), (GITLAB, gitlab_missing())):
        if missing:
            yield line.format(missing=", ".join(missing))
