"""Whether jq is on this machine; tests/left_out.py prints the line if it is not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Final

NEEDED: Final = "TESTS_NEED_JQ"
LEFT_OUT: Final = (
    "Left out: tests/report/test_jq.py (the jq commands of bulk_import/report/README.md); jq not found. "
    "To run it: apt-get install jq."
)


def left_out() -> Iterator[str]:
    if not shutil.which("jq"):
        yield LEFT_OUT
