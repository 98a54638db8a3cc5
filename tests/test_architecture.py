"""The order of packages: a package imports from packages above it, never from below. See the list for the order."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bulk_import
from bulk_import.cli import COMMANDS

ROOT = Path(bulk_import.__file__).parent
# From the ground up: a package may import from those before it. Packages on one line do not import each other.
ORDER: tuple[tuple[str, ...], ...] = (
    ("process",),
    ("strict_json",),
    ("text",),
    ("words",),
    ("open_files",),
    ("random_text",),
    ("shown",),
    ("codes",),
    ("errors",),
    ("repeating",),
    ("files",),
    ("kept",),
    ("model",),
    ("ports",),
    ("family",),
    ("shards",),
    ("settings",),
    ("manifest",),
    ("material",),
    ("aws",),
    ("load",),
    ("plan",),
    ("fleet",),
    ("matching",),
    ("rotation",),
    ("creation",),
    ("drift",),
    ("deletion",),
    ("run",),
    ("journal",),
    ("approval",),
    ("report",),
    ("delivery",),
    ("ceremony",),
    ("iam", "templates"),
    ("pipeline",),
    ("work",),
    ("job",),
    ("api",),
    ("commands",),
    ("cli",),
)
LAYER = {package: number for number, packages in enumerate(ORDER) for package in packages}
# Packages that stand alone: the sandbox, so that one mistake cannot be on both sides; a token's process, so that a
# crash of a vendor's library stays there.
APART: dict[str, set[str]] = {"sandbox": {"errors"}, "token": {"process"}}
# What only these packages may import.
KEPT_IN: dict[str, set[str]] = {
    "aioboto3": {"aws"},
    "aiobotocore": {"aws"},
    "boto3": set(),
    "botocore": {"aws", "sandbox"},  # the sandbox reads KMS's service model; it makes no client
    "moto": {"sandbox"},
    "flask": {"sandbox"},
    "werkzeug": {"sandbox"},
    "cryptography": {"ceremony", "material", "sandbox", "token"},
    "PyKCS11": {"token"},
    "hvac": {"material"},
    "requests": {"material"},  # below hvac
    "typer": {"cli", "commands"},
    "rich": {"commands"},
    "jinja2": {"report"},
    "asyncio_throttle": {"aws"},
}
# What a command reaches through `api` only, so that a library user can do all that a command does.
BEHIND_THE_API = {"aws", "journal", "report", "delivery", "ceremony", "load", "pipeline", "work", "job"}
# The exception: `seal` loads no AWS library, and `api` imports `aws`. It works on a machine without a network.
SEAL = Path("commands", "seal.py")
WITHOUT_AWS = ("load", "ceremony.seal", "ceremony.trust", "ceremony.lines")
FILES = sorted(ROOT.rglob("*.py"))


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything that a file imports, at every level of it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are written in full"
            # `from bulk_import import material` names a package, `from bulk_import.model import Lane` does not.
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def packages_imported(path: Path) -> Iterator[tuple[int, str]]:
    for line, name in imports(path):
        parts = name.split(".")
        if parts[0] == "bulk_import" and len(parts) > 1 and parts[1] != "__version__":
            yield line, parts[1]


def stands_wrongly(package: str, imported: str) -> bool:
    """Whether `package` may not import `imported`."""
    if package == imported:
        return False
    if package in APART:
        return imported not in APART[package]
    if imported in APART:
        return package not in ("commands", "cli")  # the command starts it
    return LAYER[imported] >= LAYER[package]


def test_every_room_has_its_place() -> None:
    packages = {package_of(path) for path in FILES} - {"__init__", "__main__"}
    assert packages == LAYER.keys() | APART.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_step_back(path: Path) -> None:
    package = package_of(path)
    if package in ("__init__", "__main__"):
        return  # the doors
    wrong = [
        f"{path}:{line}: {package} imports {name}"
        for line, name in packages_imported(path)
        if stands_wrongly(package, name)
    ]
    assert wrong == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_stay_in_their_packages(path: Path) -> None:
    wrong = [
        f"{path}:{line}: {name}"
        for line, name in imports(path)
        if package_of(path) not in KEPT_IN.get(name.split(".")[0], {package_of(path)})
    ]
    assert wrong == []


def passes_by_the_api(path: Path) -> list[str]:
    """What a file of commands/ imports past `api`; for seal.py also `api` itself."""
    wrong = []
    for line, name in imports(path):
        inside = name.removeprefix("bulk_import.")
        if inside == name:
            continue  # of another library
        package = inside.split(".")[0]
        if path.parts[-2:] == SEAL.parts:
            allowed = any(f"{inside}.".startswith(f"{module}.") for module in WITHOUT_AWS)
            if package == "api" or (package in BEHIND_THE_API and not allowed):
                wrong.append(f"{path.name}:{line}: {name}")
        elif package in BEHIND_THE_API:
            wrong.append(f"{path.name}:{line}: {name}")
    return wrong


@pytest.mark.parametrize("path", sorted((ROOT / "commands").rglob("*.py")), ids=lambda path: path.stem)
def test_commands_go_through_the_api(path: Path) -> None:
    assert passes_by_the_api(path) == []


def test_the_walk_sees_what_passes_by_the_api(tmp_path: Path) -> None:
    """What the test above rests on."""
    text = (
        "from bulk_import import api\nfrom bulk_import.ceremony.seal import seal\n"
        "def hidden():\n    from bulk_import import report\n    from bulk_import.ceremony import prepare\n"
    )
    folder = tmp_path / "commands"
    folder.mkdir()
    for name, lines in (("seal", [1, 4, 5]), ("submit", [2, 4, 5])):
        file = folder / f"{name}.py"
        file.write_text(text)
        assert [int(found.split(":")[1]) for found in passes_by_the_api(file)] == lines


def test_the_walk_sees_steps_back(tmp_path: Path) -> None:
    """What the tests above rest on."""
    file = tmp_path / "lane.py"
    file.write_text(
        "from bulk_import import report\nfrom bulk_import.report.fold import fold\n"
        "def hidden():\n    import bulk_import.api\n"
    )
    assert list(packages_imported(file)) == [(1, "report"), (2, "report"), (4, "api")]
    assert stands_wrongly("run", "report")
    assert stands_wrongly("run", "api")
    assert stands_wrongly("errors", "model")
    assert stands_wrongly("sandbox", "model")
    assert stands_wrongly("aws", "sandbox")
    assert not stands_wrongly("report", "run")
    assert not stands_wrongly("sandbox", "errors")
    assert not stands_wrongly("commands", "sandbox")


@pytest.mark.parametrize(
    "command", ["validate keys.yaml", "report report.json", "schema report", "template gitlab", "run --help"]
)
def test_only_what_calls_aws_loads_a_library_for_it(command: str, tmp_path: Path) -> None:
    """They are half of a start-up. The files are missing: each command gets as far as to look for them."""
    program = (
        "import sys\nfrom bulk_import.cli import main\nmain(sys.argv[1:])\n"
        "print(sorted({'aiobotocore', 'botocore', 'aiohttp'} & sys.modules.keys()), file=sys.stderr)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, *command.split()], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert found.stderr.splitlines()[-1] == "[]"


def test_every_file_of_a_command_is_a_command() -> None:
    commands = {path.stem for path in (ROOT / "commands").glob("*.py") if "def execute(" in path.read_text("utf-8")}
    assert commands == COMMANDS.keys()


@pytest.mark.parametrize("words", ["../shared", "CONTRACT.md", "KMS_FACTS", "ARCHITECTURE.md", "STYLE.md"])
def test_what_readers_need_stands_here(words: str) -> None:
    """No file of the product sends its reader to papers that do not come with it."""
    texts = [path for path in ROOT.rglob("*") if path.is_file() and path.suffix not in (".pyc", ".so")]
    assert [str(path) for path in texts if words in path.read_text("utf-8", errors="replace")] == []


def test_one_run_is_on_one_page() -> None:
    """A reader sees how a run goes without turning a page."""
    tree = ast.parse((ROOT / "job.py").read_text())
    [run] = [node for node in tree.body if isinstance(node, ast.AsyncFunctionDef) and node.name == "run"]
    assert run.end_lineno is not None
    assert run.end_lineno - run.lineno < 60
