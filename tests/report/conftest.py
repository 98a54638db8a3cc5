from __future__ import annotations

from tests.report import jq

# Not collected, rather than skipped: tests/left_out.py says in one line what that leaves out.
collect_ignore = ["test_jq.py"] if list(jq.left_out()) else []
