"""--help, --version and the schemas: what is shown exists, what exists is shown, and showing it loads little."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from bulk_import import __version__, settings
from bulk_import.cli import COMMANDS, main

HEAVY = (
    "pydantic",
    "pydantic_settings",
    "botocore",
    "aioboto3",
    "aiohttp",
    "cryptography",
    "structlog",
    "yaml",
    "moto",
)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")


def shown(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def options_of(text: str) -> set[str]:
    """The long options that a help text lists, not those that it mentions."""
    return set(re.findall(r"^  (?:-\w, )?(--[a-z][a-z0-9-]*)", text, re.MULTILINE))


def test_the_help_lists_every_command_and_none_that_does_not_work(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--help")
    listed = re.findall(r"^  ([a-z]+)  +\S", text.partition("Commands:")[2], re.MULTILINE)
    assert listed == list(COMMANDS)
    assert options_of(text) == {"--version", "--help", "--install-completion", "--show-completion"}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_the_help_of_a_command_lists_exactly_its_settings(
    name: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, name, flag)
    groups = importlib.import_module(f"bulk_import.commands.{name}").GROUPS
    assert options_of(text) == {settings.flag_of(field) for field in settings.fields(*groups)} | {"--config", "--help"}
    assert "BULK_IMPORT_" in text  # that there are variables, and a file
    # Nothing stands for a value but what says which: a word in capitals, or the choices.
    for option, value in re.findall(r"^  (--[a-z0-9-]+) (\S+)", text, re.MULTILINE):
        assert re.fullmatch(r"[A-Z0-9/=]+|\[[A-Za-z0-9:|-]+\]", value), option


def test_defaults_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(shown(capsys, "run", "--help").split())
    for said in (
        "--reads N Number of consecutive good reads that verify a target. [default: 3]",
        "[default: report.json]",
    ):
        assert said in text
    assert "[default: 600]" in text
    assert "--deadline TIME" in text


def test_options_are_listed_under_headings_in_the_same_order_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    found = ["Arguments", "Selection and guards", "Manifest", "Sources of key material",
             "Verification and proof", "Report and journal",
             "Ceremony", "Run", "Pace", "Access to AWS", "Log", "Options"]  # fmt: skip
    for name in COMMANDS:
        own = re.findall(r"^(\S.*):$", shown(capsys, name, "--help"), re.MULTILINE)
        assert own == [heading for heading in found if heading in own]


def test_every_option_has_a_heading() -> None:
    groups = {group for name in COMMANDS for group in importlib.import_module(f"bulk_import.commands.{name}").GROUPS}
    assert [field for field in settings.fields(*groups) if settings.heading_of(field) == "Options"] == []


def test_every_setting_has_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    for name, info in settings.Settings.model_fields.items():
        assert info.description, name
        assert info.description.endswith("."), name


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "--version") == f"bulk-import {__version__}\n"


def test_as_a_process() -> None:
    for argv, said in ((["--version"], __version__), (["--help"], "Commands:"), (["run", "--help"], "MANIFEST")):
        command = [sys.executable, "-m", "bulk_import", *argv]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert said in done.stdout
        assert done.stderr == ""
    script = Path(sys.executable).with_name("bulk-import")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"bulk-import {__version__}\n"


@pytest.mark.parametrize("argv", [["--help"], ["--version"], [], ["rotate", "m.yaml"]])
def test_what_needs_no_settings_loads_none(argv: list[str]) -> None:
    """So that it answers at once."""
    script = (
        "import sys\nfrom bulk_import.cli import main\n"
        f"main({argv!r})\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_the_sandboxes_libraries_are_loaded_by_the_sandbox_alone() -> None:
    script = (
        "import sys\nfrom bulk_import.cli import main\nmain(['schema', 'manifest'])\n"
        "print([name for name in ('moto', 'flask') if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("document", ["manifest", "report", "plan"])
def test_schemas_are_schemas(document: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", document]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    schema = json.loads(out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.validators.validator_for(schema).check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert not validator.is_valid({})  # it asks for something
    assert not validator.is_valid([])
    assert out.endswith("}\n")
