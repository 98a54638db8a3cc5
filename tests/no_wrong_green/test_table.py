"""The page's table of what must never be green names tests that exist."""

from __future__ import annotations

import ast

from tests.pages import ROOT, rows

TESTS = ROOT / "tests"
KINDS = 33


def test_each_kind_has_a_test_that_exists() -> None:
    table = rows((TESTS / "README.md").read_text("utf-8"), "never")
    assert len(table) >= KINDS
    for kind, named in table:
        file, _, function = named.strip("`").partition("::")
        tree = ast.parse((TESTS / file).read_text("utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert function in defined, f"{kind}: {named}"
        assert function.startswith("test_"), named
