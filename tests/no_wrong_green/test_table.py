"""The page's table of what must never be green: each kind has two inputs or more, in tests that pytest collects."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.pages import ROOT, rows

TESTS = ROOT / "tests"
KINDS = 33
Row = Sequence[str]  # the kind, a test that shows it, and the ID of one more input


def faults(table: Sequence[Row], collected: set[str]) -> list[str]:
    """What is wrong with the table. `collected`: pytest's IDs, without the folder of the tests."""
    found = [] if len(table) >= KINDS else [f"{len(table)} kinds instead of {KINDS}"]
    for kind, shown_by, also_by in table:
        test, other = shown_by.strip("`"), also_by.strip("`")
        inputs = {each for each in collected if each.partition("[")[0] == test}
        if not inputs:
            found.append(f"{kind}: no test {test}")
        if other not in collected:
            found.append(f"{kind}: no input {other}")
        if len(inputs | {other}) < 2:
            found.append(f"{kind}: one input only")
    return found


def collected(files: set[str]) -> set[str]:
    """The ID of every input of these tests."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-o", "addopts=", *sorted(files)],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    return {line.removeprefix("tests/") for line in done.stdout.splitlines() if "::" in line}


def test_each_kind_has_two_inputs_or_more() -> None:
    table = rows((TESTS / "README.md").read_text("utf-8"), "never")
    named = {cell.strip("`").partition("::")[0] for row in table for cell in row[1:]}
    assert not faults(table, collected({f"tests/{file}" for file in named}))


GOOD: list[Row] = [(f"kind {number}", "`a.py::test_x`", f"`a.py::test_x[{number}]`") for number in range(KINDS)]
IDS = {f"a.py::test_x[{number}]" for number in range(KINDS)} | {"a.py::test_alone"}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (("k", "`a.py::test_y`", "`a.py::test_x[1]`"), "no test"),
        (("k", "`a.py::test_x`", "`a.py::test_x[99]`"), "no input"),
        (("k", "`a.py::test_x`", "`b.py::test_x[1]`"), "no input"),
        (("k", "`a.py::test_alone`", "`a.py::test_alone`"), "one input only"),
    ],
)
def test_a_table_that_is_wrong_is_found(row: Row, says: str) -> None:
    assert not faults(GOOD, IDS)
    assert says in faults([*GOOD[:-1], row], IDS)[0]
    assert faults(GOOD[1:], IDS) == [f"{KINDS - 1} kinds instead of {KINDS}"]
