"""The README's option tables, made from the settings: `python -m tests.readme_tables` writes them anew.

A table stands between `<!-- options:COMMAND -->` and `<!-- /options -->`. test_readme.py fails where one is old.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import typer

from bulk_import import cli, settings

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"(<!-- options:([a-z]+) -->\n)(.*?)(<!-- /options -->)", re.DOTALL)
SECTION = "\n## Options\n\nWhat stands here is what `bulk-import COMMAND --help` says.\n"


def table(command: str) -> str:
    """Every option of a command: its name, what it takes, its default, what it does."""
    module = importlib.import_module(f"bulk_import.commands.{command}")
    fields = settings.fields(*module.GROUPS)
    usage = " ".join(["bulk-import", command, *(_metavar(kind) for kind in module.ARGUMENTS.values())])
    lines = [f"\n**`{usage}`**\n", "| option | value | default | |", "| --- | --- | --- | --- |"]
    # What --help is made of; typer keeps no list of options that could be asked for.
    parameters = inspect.signature(cli._callback(module)).parameters  # noqa: SLF001
    for name, parameter in parameters.items():
        option = parameter.annotation.__metadata__[0]
        if not isinstance(option, typer.models.OptionInfo):
            continue
        [flag] = [declared for declared in (option.default, *(option.param_decls or ())) if declared]
        said, _, default = (option.help or "").partition(" [default: ")
        assert name == "config" or name in fields
        lines.append(
            f"| `{flag}` | {_cell(option.metavar or '')} | {_cell(default.removesuffix(']'))} | {_text(said)} |"
        )
    return "\n".join(lines) + "\n\n"


def _metavar(annotation: Any) -> str:
    return str(annotation.__metadata__[0].metavar)


def _cell(text: str) -> str:
    return f"`{_text(text)}`" if text else ""


def _text(text: str) -> str:
    return text.replace("|", "\\|")


def written(readme: str) -> str:
    """The README with every table as it must be."""
    return BLOCK.sub(lambda block: block[1] + table(block[2]) + block[4], readme)


def with_all_blocks(readme: str) -> str:
    """Commands that have no block yet get one, after the last that there is."""
    blocks = list(BLOCK.finditer(readme))
    there = {block[2] for block in blocks}
    new = "".join(f"\n<!-- options:{name} -->\n<!-- /options -->\n" for name in cli.COMMANDS if name not in there)
    if not blocks:
        return readme.rstrip("\n") + "\n" + SECTION + new
    end = blocks[-1].end() + 1
    return readme[:end] + new + readme[end:]


def main() -> None:
    README.write_text(written(with_all_blocks(README.read_text("utf-8"))), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
