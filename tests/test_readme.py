"""The pages against the program: every command, option, table, link and anchor."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bulk_import.aws.pace.limiter import DEFAULT_QUOTAS
from bulk_import.cli import COMMANDS
from bulk_import.codes import CODES
from bulk_import.errors import ExitCode
from bulk_import.manifest.models import FIELDS_OF_DEFAULTS, FIELDS_OF_KEYS
from bulk_import.material import wrapping
from bulk_import.material.sources import KINDS
from bulk_import.model import KeySpec, WrappingAlgorithm, WrappingKeySpec
from bulk_import.report.schema import report_schema
from bulk_import.run import lifecycle
from bulk_import.settings import Settings, flag_of
from bulk_import.templates import FILES
from tests import pages, readme_tables
from tests.pages import PAGES, Page, column, rows, ticked
from tests.test_architecture import ORDER

HOW = "run: python -m tests.readme_tables"
# Options of the command line itself, one that is named to say that there is none, what stands for several, and pip's.
BESIDES = {"--help", "--version", "--config", "--install-completion", "--show-completion"}
OTHERS = {"--region", "--only-", "--require-hashes"}


def ids(page: Page) -> str:
    return str(page)


# --- options and commands


def test_no_option_is_missing_in_the_matrix() -> None:
    listed = set(column(pages.COMMANDS.section("Options"), "option"))
    offered = {flag for found in readme_tables.offered().values() for flag in found}
    assert not offered - listed, f"not documented: {sorted(offered - listed)}; {HOW}"
    assert not listed - offered, f"no command has: {sorted(listed - offered)}; {HOW}"


def test_the_matrix_says_what_help_says() -> None:
    have, want = (text.splitlines() for text in (pages.COMMANDS.text, readme_tables.written(pages.COMMANDS.text)))
    wrong = [line for line in want if line not in have]
    assert have == want, f"{HOW}; it differs in {wrong[:5]}"


def test_every_command_is_listed_with_its_arguments() -> None:
    def usage(command: str) -> str:
        arguments = importlib.import_module(f"bulk_import.commands.{command}").ARGUMENTS.values()
        return " ".join([command, *(str(argument.__metadata__[0].metavar) for argument in arguments)])

    listed = [ticked(cells[0])[0].replace("\\|", "|") for cells in rows(pages.COMMANDS.text, "command") if cells[1:2]]
    assert listed[: len(COMMANDS)] == [usage(command) for command in COMMANDS]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_options_and_commands_that_a_page_names_exist(page: Page) -> None:
    flags = {flag_of(name) for name in Settings.model_fields} | BESIDES
    lines = [line for line in _joined(page.text) if "bulk-import " in line and not line.startswith("$ pip")]
    for line in lines:
        for call in re.findall(r"bulk-import ([a-z]+)((?: [^`|&]*)?)", line):
            if line.startswith("$ bulk-import"):
                assert call[0] in COMMANDS, line
            if call[0] in COMMANDS:
                offered = readme_tables.offered()[call[0]].keys() | BESIDES
                used = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", call[1]))
                assert used <= offered, f"{line}: `{call[0]}` has no {sorted(used - offered)}"
    for text in ticked(page.prose):
        if re.match(r"--[a-z]", text):
            assert re.split(r"[^a-z0-9-]", text)[0] in flags | OTHERS, text


def _joined(text: str) -> list[str]:
    """Lines, those that a backslash continues made one."""
    return text.replace("\\\n", " ").splitlines()


def test_the_exit_codes_are_those_of_the_program() -> None:
    table = {ticked(name)[0]: int(code) for code, name, _ in rows(pages.COMMANDS.section("Exit codes"), "code")}
    assert table == {code.name: code.value for code in ExitCode}


# --- the manifest


def test_every_field_is_in_the_table_with_where_it_is_allowed() -> None:
    table = {ticked(cells[0])[0]: tuple(cells[-3:]) for cells in rows(pages.MANIFEST.section("Fields"), "field")}
    known = {*FIELDS_OF_KEYS, *FIELDS_OF_DEFAULTS}
    assert not known - set(table), f"not documented: {sorted(known - set(table))}"
    assert not set(table) - known, f"no such field: {sorted(set(table) - known)}"
    for name, (keys, accounts, defaults) in table.items():
        assert (keys == "yes") == (name in FIELDS_OF_KEYS), name
        assert (accounts == "yes") == (defaults == "yes") == (name in FIELDS_OF_DEFAULTS), name


def test_every_sample_is_listed() -> None:
    folder = pages.ROOT / "manifests"
    files = {path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".md"}
    assert set(column(pages.MANIFEST.section("Samples"), "file")) == files


def test_every_source_is_listed() -> None:
    listed = {name.partition(":")[0] for name in column(pages.MANIFEST.section("Material"), "source")}
    assert not set(KINDS) - listed, f"not documented: {sorted(set(KINDS) - listed)}"


def test_the_wrapping_table_is_that_of_the_program() -> None:
    text = pages.MANIFEST.section("Key specs and wrapping")
    head = next(line for line in text.splitlines() if line.startswith("| key spec |"))
    algorithms = [WrappingAlgorithm(name) for name in ticked(head)]
    table = rows(text, "key spec")
    assert [ticked(cells[0])[0] for cells in table] == list(KeySpec)
    for name, _, *cells in table:
        spec = KeySpec(ticked(name)[0])
        for algorithm, cell in zip(algorithms, cells, strict=True):
            refused = [size for size in WrappingKeySpec if wrapping.refusal(spec, algorithm, size)]
            assert bool(cell) == (len(refused) < len(WrappingKeySpec)), (spec, algorithm)
            assert cell.startswith("default") == (wrapping.default_algorithm(spec) is algorithm), (spec, algorithm)
            if cell:
                assert [size for size in WrappingKeySpec if f"`{size}`" in cell] == refused, (spec, algorithm)


# --- the report


def test_every_field_of_the_report_is_named() -> None:
    named = {name for text in ticked(pages.REPORT.section("Fields")) for name in re.findall(r"\w+", text)}

    def fields(schema: dict[str, Any]) -> Iterator[str]:
        for part in (schema, *schema.get("anyOf", ()), schema.get("items", {})):
            for name, below in part.get("properties", {}).items():
                yield name
                yield from fields(below)

    missing = set(fields(report_schema())) - named
    assert not missing, f"not documented: {sorted(missing)}"


def test_every_error_code_is_listed() -> None:
    named = {code for cells in rows(pages.REPORT.section("Error codes"), "code") for code in ticked(cells[0])}
    assert not set(CODES) - named, f"not documented: {sorted(set(CODES) - named)}"
    assert not named - set(CODES), f"no such code: {sorted(named - set(CODES))}"


def test_every_format_of_a_report_is_listed() -> None:
    [values] = re.findall(r"^\| `report` \| (.*) \|$", readme_tables.formats(), re.MULTILINE)
    assert set(column(pages.REPORT.section("Renderings"), "format")) == set(ticked(values))


# --- the rest


def test_the_quotas_are_those_of_the_program() -> None:
    table = {ticked(name)[0]: float(rate) for name, rate in rows(pages.AWS.text, "quota")}
    assert table == DEFAULT_QUOTAS


def test_every_template_is_listed() -> None:
    assert column(pages.TEMPLATES.text, "name") == list(FILES)


def test_every_package_is_in_the_map_in_its_order() -> None:
    listed = [name.rstrip("/").removesuffix(".py") for cells in rows(pages.PROGRAM.section("Architecture"), "package")
              for name in ticked(cells[0])]  # fmt: skip
    known = [name for storey in ORDER for name in storey]
    missing = {*known, "sandbox"} - set(listed)
    assert not missing, f"not documented: {sorted(missing)}"
    assert listed == [*known, "sandbox"]


def test_the_diagram_of_a_targets_life_is_its_table() -> None:
    drawn = {
        (start, end)
        for start, end in re.findall(r"^  (\w+) --> (\w+)", pages.PROGRAM.section("The life of a target"), re.MULTILINE)
    }
    leaving = {lifecycle.Event.ERROR, lifecycle.Event.STOPPED}
    table = {
        (start.name, end.name)
        for start, events in lifecycle.TABLE.items()
        for event, end in events.items()
        if event not in leaving
    }
    assert drawn == table


def test_the_dependencies_are_those_of_the_package() -> None:
    project = tomllib.loads((pages.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {re.match(r"[\w-]+", requirement)[0].lower() for requirement in project["dependencies"]}  # type: ignore[index]  # each has a name
    assert {name.lower() for name, _ in rows(pages.PROGRAM.section("Dependencies"), "package")} == needed


def test_every_target_of_make_is_listed() -> None:
    makefile = (pages.ROOT / "Makefile").read_text("utf-8")
    assert column(pages.TESTS.text, "`make …`") == re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)


# --- links and words


def test_every_page_is_on_the_map() -> None:
    linked = {(pages.ROOT / link).resolve() for link in pages.README.links if "://" not in link and link[0] != "#"}
    below = {(page.path.parent / link).resolve() for page in PAGES for link in page.links if "://" not in link}
    readmes = {page.path for page in PAGES if page.path.name == "README.md"} - {pages.README.path}
    assert not readmes - linked - below, "no page links to them"
    packages = {path for path in readmes if path.is_relative_to(pages.ROOT / "bulk_import")}
    assert not packages - linked, "the README's map lacks them"


def test_the_readme_stays_short() -> None:
    assert len(pages.README.text.splitlines()) <= 350, "move details to the page of the package that they are about"


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_nothing_internal_is_named(page: Page) -> None:
    assert not re.search(r"CONTRACT\b|KMS_FACTS|ARCHITECTURE\.md|/work/|\bissue \d|\bhelper\b", page.text)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_to_a_file_and_an_anchor(page: Page) -> None:
    for link in page.links:
        if "://" in link:
            assert link.startswith("https://"), link
            continue
        path, _, anchor = link.partition("#")
        leads = (page.path.parent / path).resolve() if path else page.path
        assert leads.exists(), link
        assert leads.is_relative_to(pages.ROOT), link
        if anchor:
            assert leads.is_file(), f"{link}: an anchor needs a page"
            assert anchor in pages.page(str(Path(leads).relative_to(pages.ROOT))).anchors, link
