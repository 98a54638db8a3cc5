"""No output replaces an input, another output or a file of somebody else, and what cannot be written loses no more."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e import materials
from tests.e2e.support import Workplace, quick
from tests.faults.support import add_targets
from tests.no_wrong_green.conftest import Run
from tests.no_wrong_green.made_reports import ASKED, RENDERED, good, offline, report, work
from tests.sandbox_client import Sandbox

__all__ = ["offline", "work"]  # fixtures


def linked(link: Callable[[Path, Path], None]) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        link(folder / "key-0.key", folder / "link")
        return "link"

    return make


PLACES: dict[str, Callable[[Path], str]] = {
    "key material": lambda _: "key-0.key",
    "the manifest": lambda _: "manifest.json",
    "another way to it": lambda folder: f"../{folder.name}/./manifest.json",
    "a hard link": linked(os.link),
    "a symbolic link": linked(lambda source, link: link.symlink_to(source)),
    "the settings file": lambda _: "settings.toml",
    "the journal": lambda _: "report.journal.jsonl",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("output", ["--report", "--render", "--journal"])
def test_no_output_of_a_run_takes_the_place_of_an_input(
    output: str, place: str, sandbox: Sandbox, work: Workplace, run: Run
) -> None:
    if place == "the journal" and output != "--render":
        return  # the default journal is named after the report
    add_targets(sandbox, work, 1)
    material = next(work.folder.glob("*.key"))
    material.rename(work.folder / "key-0.key")
    work.keys[0]["material"] = "file:key-0.key"
    (work.folder / "settings.toml").write_text('log_level = "info"\n')
    work.write()
    given = PLACES[place](work.folder)
    before = {path.name: path.read_bytes() for path in work.folder.iterdir()}
    value = f"csv={given}" if output == "--render" else given
    result = run("--config", "settings.toml", output, value)
    assert (result.code, output in result.stderr) == (3, True), result.stderr
    assert {path.name: path.read_bytes() for path in work.folder.iterdir()} == before


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_no_output_of_report_takes_the_place_of_what_is_not_its_own(form: str, offline: Workplace) -> None:
    secret = materials.make("HMAC_256")
    (offline.folder / "k1.key").write_bytes(secret)
    (offline.folder / "settings.toml").write_text('log_level = "info"\n')
    os.link(offline.folder / "k1.key", offline.folder / "hard")
    (offline.folder / "soft").symlink_to("k1.key")
    for output in ("k1.key", "hard", "soft", "part-0.json", "settings.toml"):
        result = report(offline, [good()], "--format", form, "--output", output, "--config", "settings.toml")
        assert (result.code, output in result.stderr) == (2, True), result.stderr
    assert (offline.folder / "k1.key").read_bytes() == secret


BLANKS = b" \n" * 40_000
HEX = b"5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592"


@pytest.mark.parametrize(
    ("name", "content"),
    [("new.json", BLANKS), ("new.json.sha256", HEX), ("new.json.sha256", b"\x01" * 32), ("new.json.sha256", BLANKS)],
)
@pytest.mark.parametrize("command", ["report", "run"])
def test_what_lies_where_a_result_goes_and_is_none_is_left(
    command: str, name: str, content: bytes, offline: Workplace
) -> None:
    (offline.folder / name).write_bytes(content)
    if command == "report":
        result = report(offline, [good()], "--format", "json", "--output", "new.json")
    else:
        result = offline.call("run", "manifest.json", "--report", "new.json", "--render", f"csv={name}")
    assert (result.code, name in result.stderr) == (2 if command == "report" else 3, True), result.stderr
    assert (offline.folder / name).read_bytes() == content


@pytest.mark.parametrize("place", ["the manifest", "key material", "a hard link", "a symbolic link"])
def test_the_step_summary_is_appended_to_no_input(place: str, sandbox: Sandbox, work: Workplace, run: Run) -> None:
    work.key(sandbox.key(key_spec="HMAC_256")["key_id"], materials.make("HMAC_256"), name="key-0")
    work.write()
    given = PLACES[place](work.folder)
    before = {path.name: path.read_bytes() for path in work.folder.iterdir()}
    result = run(GITHUB_STEP_SUMMARY=given)
    assert (result.code, "GITHUB_STEP_SUMMARY" in result.stderr) == (3, True), result.stderr
    assert {path.name: path.read_bytes() for path in work.folder.iterdir()} == before


# --- what cannot be written


@pytest.mark.parametrize("name", [b"b\xfc.json", "bü.json".encode(), "報告.json".encode(), b"caf\xe9/r.json"])
def test_a_report_whose_name_is_not_ascii(name: bytes, sandbox: Sandbox, work: Workplace) -> None:
    """As the folder has it, in Latin-1 too. The sum of it, and that of the older one, can be checked."""
    add_targets(sandbox, work, 1)
    work.write()
    path = work.folder / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    for _ in range(2):
        options = ("--report", os.fsdecode(name))
        done = subprocess.run(
            work.command("run", "manifest.json", *quick(options), *options), cwd=work.folder, env=work.environment(),
            capture_output=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    sums = [sums.name for sums in path.parent.glob("*.sha256")]
    assert len(sums) == 2
    subprocess.run(["sha256sum", "--check", *sums], cwd=path.parent, check=True, capture_output=True)


@pytest.mark.parametrize("variable", ["AWS_CONFIG_FILE", "AWS_CA_BUNDLE", "VAULT_CACERT", "GITHUB_STEP_SUMMARY"])
def test_a_variable_whose_value_can_be_no_file(variable: str, sandbox: Sandbox, work: Workplace, run: Run) -> None:
    add_targets(sandbox, work, 1)
    result = run(**{variable: "a" * 300})
    assert result.code == (3 if variable == "AWS_CA_BUNDLE" else 0), result.stderr


def test_a_pipe_without_a_reader_holds_nothing_up(sandbox: Sandbox, work: Workplace) -> None:
    """Each costs ten seconds: a run's report and step summary, and meanwhile a rendering."""
    add_targets(sandbox, work, 1)
    for name in ("report", "summary", "page"):
        os.mkfifo(work.folder / name)
    process = work.start("--report", "report", "--journal", "j.jsonl", GITHUB_STEP_SUMMARY="summary")
    rendered = report(work, [good()], "--format", "csv", "--output", "page")
    assert (rendered.code, "nobody reads from this pipe" in rendered.stderr) == (6, True), rendered.stderr
    result = work.finish(process)
    assert result.code == 6, result.stderr
    assert "nobody reads from this pipe" in result.stderr
    assert "GITHUB_STEP_SUMMARY" in result.stderr


def test_a_run_without_a_caller_has_all_its_renderings(offline: Workplace) -> None:
    """JUnit once needed an environment, and the renderings after it were lost with it."""
    offline.key("alias/one", materials.make("HMAC_256"), name="one")
    result = offline.run(*ASKED, "--retry-timeout", "0")
    assert result.code == 5, result.stderr
    for name in RENDERED.values():
        assert (offline.folder / name).stat().st_size, name
    assert "<error" in (offline.folder / "junit.xml").read_text()
