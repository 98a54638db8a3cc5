"""The option matrix of bulk_import/commands/README.md, made from the settings model.

`python -m tests.readme_tables` writes it again; tests/test_readme.py names what is missing. The tables are between
`<!-- options -->` and `<!-- /options -->`, and between `<!-- formats -->` and `<!-- /formats -->`.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path

import typer

from bulk_import import cli, settings

PAGE = Path(__file__).parent.parent / "bulk_import" / "commands" / "README.md"
BLOCK = re.compile(r"(<!-- (options|formats) -->\n)(.*?)(<!-- /\2 -->)", re.DOTALL)
YES = "•"


def offered() -> dict[str, dict[str, typer.models.OptionInfo]]:
    """Command → option → what --help is made of."""
    return {command: _options(command) for command in cli.COMMANDS}


def _options(command: str) -> dict[str, typer.models.OptionInfo]:
    module = importlib.import_module(f"bulk_import.commands.{command}")
    # typer keeps no list of options that could be asked for.
    parameters = inspect.signature(cli._callback(module)).parameters.values()  # noqa: SLF001
    found = {}
    for option in (parameter.annotation.__metadata__[0] for parameter in parameters):
        if isinstance(option, typer.models.OptionInfo):
            [flag] = [declared for declared in (option.default, *(option.param_decls or ())) if declared]
            found[str(flag)] = option
    return found


def options() -> str:
    """One row per option: its name, what it takes, its default, what it does, and the commands that have it."""
    commands = offered()
    order = [*(settings.flag_of(name) for name in settings.Settings.model_fields), "--config"]
    head = ["option", "value", "default", "does", *(f"`{command}`" for command in commands)]
    lines = ["", _row(head), _row([*["---"] * 4, *[":-:"] * len(commands)])]
    for flag in order:
        having = [command for command, found in commands.items() if flag in found]
        if having:
            option = commands[having[0]][flag]
            said, _, default = (option.help or "").partition(" [default: ")
            value, default = option.metavar or "", default.removesuffix("]")
            if flag == "--format":
                value, default = "FORMAT", ""  # by command: see formats()
            marks = [YES if command in having else "" for command in commands]
            lines.append(_row([f"`{flag}`", _ticked(value), _ticked(default), said, *marks]))
    return "\n".join(lines) + "\n\n"


def formats() -> str:
    """What --format may be, by command."""
    lines = ["", _row(["command", "`--format`"]), _row(["---", "---"])]
    for command, found in offered().items():
        if "--format" in found:
            values = (found["--format"].metavar or "").strip("[]").split("|")
            lines.append(_row([f"`{command}`", " ".join(f"`{value}`" for value in values)]))
    return "\n".join(lines) + "\n\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _ticked(text: str) -> str:
    return f"`{text}`" if text else ""


def written(page: str) -> str:
    """The page with both tables as they must be."""
    made = {"options": options, "formats": formats}
    return BLOCK.sub(lambda block: block[1] + made[block[2]]() + block[4], page)


def main() -> None:
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
