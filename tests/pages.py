"""The pages of this repository as the tests read them: text, headings, tables, code blocks, links.

Fenced blocks say what they are after their language: ```yaml manifest, ```yaml seed, ```json policy trust.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OURS = {"README.md", ".github", "bulk_import", "manifests", "tests"}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced code block."""

    language: str
    kind: str  # what follows the language
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown file."""

    path: Path
    text: str

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def blocks(self) -> list[Block]:
        found = re.findall(r"^```(\w+)([^\n]*)\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)
        return [Block(language, kind.strip(), text) for language, kind, text in found]

    @property
    def prose(self) -> str:
        """The page without its fenced blocks and comments."""
        text = re.sub(r"^```.*?^```$", "", self.text, flags=re.MULTILINE | re.DOTALL)
        return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)

    @property
    def anchors(self) -> set[str]:
        """What a link may name after #, as GitHub makes it of the headings."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
        return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}

    @property
    def links(self) -> list[str]:
        return re.findall(r"\]\(([^)\s]+)\)", self.prose)

    def block(self, language: str, kind: str) -> str:
        """The one block of this kind."""
        (text,) = (block.text for block in self.blocks if (block.language, block.kind) == (language, kind))
        return text

    def section(self, title: str) -> str:
        """What is below a heading, up to the next of its rank."""
        head = re.search(rf"^(#+) {re.escape(title)}$", self.text, re.MULTILINE)
        assert head is not None, f"{self}: no heading {title!r}"
        rest = self.text[head.end() :]
        end = re.search(rf"^#{{1,{len(head[1])}}} ", rest, re.MULTILINE)
        return rest[: end.start()] if end else rest


def rows(text: str, column: str) -> list[list[str]]:
    """The cells of the tables whose first column is called `column`, without the head."""
    return list(_rows(text, column))


def _rows(text: str, column: str) -> Iterator[list[str]]:
    inside = False
    for line in text.splitlines():
        if line.startswith(f"| {column} |"):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not re.fullmatch(r"[|\s:-]+", line):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def ticked(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def column(text: str, name: str, cell: int = 0) -> list[str]:
    """The first word in backticks of each row's cell."""
    return [ticked(cells[cell])[0] for cells in rows(text, name)]


@cache
def page(path: str) -> Page:
    """By its path from the repository's root."""
    return Page(ROOT / path, (ROOT / path).read_text("utf-8"))


def _all() -> list[Page]:
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.md") if not path.is_symlink())
    return [
        page(str(path))
        for path in sorted(found)
        if path.parts[0] in OURS and path.parts[:3] != ("tests", "formats", "golden")
    ]


PAGES = _all()
README = page("README.md")
MANIFEST = page("manifests/README.md")
COMMANDS = page("bulk_import/commands/README.md")
PROGRAM = page("bulk_import/README.md")
REPORT = page("bulk_import/report/README.md")
AWS = page("bulk_import/aws/README.md")
IAM = page("bulk_import/iam/README.md")
TEMPLATES = page("bulk_import/templates/README.md")
TESTS = page("tests/README.md")
