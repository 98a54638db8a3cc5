"""What a user gets: the wheel, its licence, its types, its pages; and a repository whose parts agree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from flit_core import buildapi

from bulk_import import __version__
from tests import pages

ROOT = pages.ROOT
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WORKFLOW = ROOT / ".github" / "workflows" / "check.yml"
TOP = {"LICENSE", "Makefile", "README.md", "bulk_import", "manifests", "pyproject.toml", "tests"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    before = Path.cwd()
    os.chdir(ROOT)  # where a build backend is called, by PEP 517
    try:
        return folder / buildapi.build_wheel(str(folder))
    finally:
        os.chdir(before)


def read(wheel: Path, name: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(name).decode()


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_licence_types_and_pages(wheel: Path) -> None:
    about = f"kms_bulk_import-{__version__}.dist-info"
    assert read(wheel, f"{about}/licenses/LICENSE") == (ROOT / "LICENSE").read_text("utf-8")
    metadata = read(wheel, f"{about}/METADATA")
    assert "\nLicense-Expression: MIT\n" in metadata
    assert "# bulk-import\n" in metadata, "the README is the package's page"
    assert "bulk_import/py.typed" in names(wheel)
    inside = [str(page) for page in pages.PAGES if str(page).startswith("bulk_import/")]
    assert len(inside) > 8
    assert set(inside) <= names(wheel)
    assert read(wheel, "bulk_import/manifest/README.md") == pages.MANIFEST.text


def test_mypy_on_the_wheel_knows_the_settings(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    site = sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")})
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (tmp_path / "use.py").write_text(
        "from bulk_import.settings import Settings\n\n"
        "def reads(settings: Settings) -> str:\n    return settings.reads\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "--cache-dir", os.devnull, "use.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert 'Incompatible return value type (got "int", expected "str")' in done.stdout, done.stdout + done.stderr
    assert "Found 1 error" in done.stdout


def test_version_and_changelog_agree() -> None:
    changelog = pages.page(".github/CHANGELOG.md").text
    versions = re.findall(r"^## (\d+\.\d+\.\d+) - \d{4}-\d{2}-\d{2}$", changelog, re.MULTILINE)
    assert versions[0] == __version__ == PROJECT["version"]
    assert len(re.findall(r"^## ", changelog, re.MULTILINE)) == len(versions) == len(set(versions))


def test_ci_runs_on_every_declared_python() -> None:
    declared = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", name)]
    [job] = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"].values()
    assert job["strategy"]["matrix"]["python"] == declared
    assert [step for step in job["steps"] if ".ci/run" in step.get("run", "")]
    assert PROJECT["requires-python"] == f">={declared[0]}"


def test_the_workflow_is_valid_and_secure() -> None:
    bin_ = Path(sys.executable).parent
    for command in (
        [bin_ / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW],
        [bin_ / "check-jsonschema", "--builtin-schema", "vendor.dependabot", ROOT / ".github" / "dependabot.yml"],
        [bin_ / "zizmor", "--offline", "--pedantic", "--no-progress", ROOT / ".github"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_top_level_has_nothing_unexpected() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.partition("/")[0] for line in tracked.splitlines()}
    other = {name for name in top if not name.startswith((".", "requirements"))}
    assert other == TOP
