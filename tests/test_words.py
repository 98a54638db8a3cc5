"""Plain technical English: the worst words stay out of messages, help, pages, docstrings and comments."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import bulk_import
from bulk_import.cli import COMMANDS, EPILOG
from bulk_import.codes import CODES
from bulk_import.settings import Settings
from tests.pages import PAGES, Page

PRODUCT = Path(bulk_import.__file__).parent
# Each with the usual word. What is between backticks is not looked at: names of fields and options.
WORSE = {
    r"anew": "again",
    r"heed\w*": "obey",
    r"mend(s|ed)?": "correct",
    r"wholly|the whole of": "all of",
    r"tells?|told|telling": "report, show, say",
    r"beside": "next to",
    r"whoever|whatever|wherever": "anyone who, what, where",
    r"(comes?|came) to (its|their) end": "ends",
    r"(go|goes|gone|going) on with": "continue",
    r"stands? (in|at|on|above|below|there|beside)": "is in",
    r"lies? (in|at|below|beside)": "is in",
    r"is no form of|(?<!there )is no (setting|file|report|manifest|checkpoint)": "is not a",
    r"(requests?|imports?|calls?|permits?|keys) a second": "per second",
    r"(is|are|all|all of them|targets) well": "OK",
    r"in good order": "in an orderly way",
    r"shall": "must",
    r"least level|of late|lest|thereby|whence|hence|ere|amid|unto|likewise": "a usual word",
    r"houses?|rooms?": "package",
}
PATTERN = re.compile(rf"\b({'|'.join(WORSE)})\b", re.IGNORECASE)


def worst(text: str) -> list[str]:
    plain = re.sub(r"`[^`]*`|https?://\S+", "", text)
    return [match[0] for match in PATTERN.finditer(plain)]


def strings(path: Path, *, docstrings: bool) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring, or of every other string of more than one word."""
    tree = ast.parse(path.read_text("utf-8"))
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and (id(node) in bare) is docstrings
            and " " in node.value
        ):
            yield node.lineno, node.value


def comments(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


@pytest.mark.parametrize("path", sorted(PRODUCT.rglob("*.py")), ids=lambda path: str(path.relative_to(PRODUCT)))
def test_messages(path: Path) -> None:
    found = [
        f"{path.name}:{line}: {words} in {text!r}"
        for line, text in strings(path, docstrings=False)
        if (words := worst(text))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("folder", [PRODUCT, Path(__file__).parent], ids=["product", "tests"])
def test_docstrings_and_comments(folder: Path) -> None:
    found = [
        f"{path}:{line}: {words} in {text!r}"
        for path in sorted(folder.rglob("*.py"))
        for line, text in (*strings(path, docstrings=True), *comments(path))
        if (words := worst(text))
    ]
    assert not found, "\n".join(found)


def test_help_and_advice() -> None:
    texts = [EPILOG, *COMMANDS.values(), *(info.description or "" for info in Settings.model_fields.values())]
    texts += [code.advice for code in CODES.values()]
    assert [(words, text) for text in texts if (words := worst(text))] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_pages(page: Page) -> None:
    lines = enumerate(page.prose.splitlines(), 1)
    assert [(words, line) for _, line in lines if (words := worst(line))] == []


@pytest.mark.parametrize("path", sorted((PRODUCT / "templates" / "files").iterdir()), ids=lambda path: path.name)
def test_templates(path: Path) -> None:
    assert [(words, line) for line in path.read_text("utf-8").splitlines() if (words := worst(line))] == []


@pytest.mark.parametrize(
    "path", sorted((PRODUCT / "report" / "formats" / "page").iterdir()), ids=lambda path: path.name
)
def test_the_page(path: Path) -> None:
    assert [(words, line) for line in path.read_text("utf-8").splitlines() if (words := worst(line))] == []


@pytest.mark.parametrize(
    "text", ["It looks at KMS anew.", "Mend it.", "All targets are well.", "2 requests a second", "the run shall stop"]
)
def test_the_worst_words_are_found(text: str) -> None:
    assert worst(text)


def test_usual_words_and_names_are_not() -> None:
    assert not worst("`tell` reads a second time as well, and the lines stand out: https://example.org/mend")
