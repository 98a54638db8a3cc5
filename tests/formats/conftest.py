from __future__ import annotations

from tests.formats import chromium

# Not collected, rather than skipped: tests/left_out.py says in one line what that leaves out.
collect_ignore = [] if chromium.find() else ["test_page.py"]
