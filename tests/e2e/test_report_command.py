"""`report`, and `run --render`, through the real command line."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import threading
from functools import reduce
from pathlib import Path

import jsonschema
import pytest

from bulk_import.delivery.local import from_journal
from bulk_import.report.formats import FORMATS
from bulk_import.report.schema import report_schema
from bulk_import.settings import RENDERINGS
from tests.e2e import materials
from tests.e2e.support import ACCOUNT, Workplace
from tests.journal import journals
from tests.journal.journals import ended, intent, pinned, run_ended
from tests.sandbox_client import Sandbox


@pytest.fixture
def offline(tmp_path: Path) -> Workplace:
    """A folder with a journal of a whole run and one of a run that was killed; there is no AWS."""
    journals.make_run(tmp_path / "whole.jsonl", 3, ended(0), ended(1), ended(2), run_ended())
    journals.make_run(tmp_path / "killed.jsonl", 3, ended(0), pinned(1), intent(1))
    return Workplace(tmp_path, "http://127.0.0.1:9")


def add_keys(sandbox: Sandbox, work: Workplace, *regions: str) -> None:
    for region in regions or ("us-east-1",):
        key = sandbox.key(ACCOUNT, region, key_spec="HMAC_256")
        work.key(key["key_id"], materials.make("HMAC_256"), name=f"key-{region}", region=region)
    work.key("alias/nobody", materials.make("HMAC_256"), name="missing")


def test_a_journal_gives_the_very_report_of_the_run(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    work.run()
    rebuilt = work.call("report", "report.journal.jsonl", "--format", "json")
    assert rebuilt.code == 4
    assert rebuilt.stdout == (work.folder / "report.json").read_bytes()
    assert rebuilt.stderr == ""


def test_a_killed_runs_journal_gives_a_report_too(offline: Workplace) -> None:
    result = offline.call("report", "killed.jsonl", "--format", "json", "--output", "report.json")
    assert (result.code, result.stdout) == (4, b"")
    jsonschema.validate(result.report, report_schema())
    assert result.report["run"]["exit_code"] is None
    assert [entry["status"] for entry in result.report["results"]] == ["imported", "failed", "not_attempted"]
    digest, name = (offline.folder / "report.json.sha256").read_text().split()
    assert (digest, name) == (hashlib.sha256((offline.folder / "report.json").read_bytes()).hexdigest(), "report.json")


def recommended(text: str, work: Workplace, **names: str) -> int:
    """Runs the command that a message recommends, as a person copies it into a shell. Returns its exit code."""
    command = re.search(r"bulk-import report .*--output \w+", text)
    assert command is not None, text
    line = reduce(lambda line, name: line.replace(name, shlex.quote(names[name])), names, command[0])
    bulk_import = shlex.join(work.command())
    done = subprocess.run(
        ["/bin/sh", "-c", line.replace("bulk-import", bulk_import, 1)], cwd=work.folder, env=work.environment(),
        capture_output=True, timeout=100, check=False,
    )  # fmt: skip
    assert b"Usage" not in done.stderr, done.stderr
    return done.returncode


def test_the_recommended_command_makes_the_report_from_its_journal(offline: Workplace) -> None:
    journal = offline.folder / "a folder's $name" / "whole.jsonl"
    journal.parent.mkdir()
    (offline.folder / "whole.jsonl").rename(journal)
    assert recommended(from_journal(journal), offline, PATH="report.json") == 0
    assert [entry["status"] for entry in json.loads((offline.folder / "report.json").read_bytes())["results"]]


def test_the_recommended_command_makes_a_report_again_that_was_changed(offline: Workplace) -> None:
    offline.call("report", "killed.jsonl", "--format", "json", "--output", "report.json")
    path = offline.folder / "report.json"
    good = path.read_bytes()
    assert b'"not_attempted"' in good
    path.write_bytes(good.replace(b'"status":"failed"', b'"status":"imported"').replace(b'"failed":1', b'"failed":0'))
    changed = offline.call("report", "report.json")
    assert changed.code == 3
    assert recommended(changed.stderr, offline, JOURNAL="killed.jsonl", REPORT="report.json") == 4
    assert path.read_bytes() == good


@pytest.mark.parametrize("name", [*FORMATS, "table"])
def test_every_form_of_a_killed_run(name: str, offline: Workplace) -> None:
    to_stdout = offline.call("report", "killed.jsonl", "--format", name)
    other = offline.call("report", "whole.jsonl", "--format", name, "--output", "out")
    to_file = offline.call("report", "killed.jsonl", "--format", name, "--output", "out")  # it replaces the older one
    assert (to_stdout.code, other.code, to_file.code) == (4, 0, 4), to_file.stderr
    assert to_stdout.stdout == (offline.folder / "out").read_bytes()
    assert b"OutcomeUnknown" in to_stdout.stdout


def test_the_table_says_in_its_first_and_last_line_that_it_was_not_aws(offline: Workplace) -> None:
    lines = offline.call("report", "whole.jsonl").stdout.decode().splitlines()
    assert "Not AWS" in lines[0]
    assert "Not AWS" in lines[-1]


def test_a_report_on_stdin_and_through_a_pipe(offline: Workplace) -> None:
    data = (offline.folder / "whole.jsonl").read_bytes()
    expected = offline.call("report", "whole.jsonl", "--format", "csv").stdout
    assert offline.call("report", "-", "--format", "csv", stdin=data).stdout == expected
    os.mkfifo(offline.folder / "pipe")
    writer = threading.Thread(target=(offline.folder / "pipe").write_bytes, args=(data,))
    writer.start()
    assert offline.call("report", "pipe", "--format", "csv").stdout == expected
    writer.join()


def test_shards_of_a_run_become_one_report(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work, "us-east-1", "eu-west-1", "eu-west-3")
    for number in (1, 2, 3):
        work.run("--shard", f"{number}/3", "--report", f"r{number}.json")
    merged = work.call("report", "r3.json", "r1.json", "r2.json", "--format", "json", "--output", "report.json")
    assert merged.code == 4
    jsonschema.validate(merged.report, report_schema())
    assert {entry["id"] for entry in merged.report["results"]} == {key["id"] for key in work.keys}
    assert merged.report["summary"]["total"] == 4
    assert (merged.report["run"]["outcome"], merged.report["run"]["exit_code"]) == ("partial", 4)

    lacking = work.call("report", "r1.json", "r2.json", "--format", "json")
    assert "no report of shard 3/3" in lacking.stderr
    assert json.loads(lacking.stdout)["run"]["outcome"] == "interrupted"


WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "this file is empty"),
    "not JSON": (b"# a page\n", "not JSON"),
    "another JSON": (b'{"version": 1}', "not a report"),
    "another version": (b'{"schema_version": 2, "results": []}', "schema_version is 2"),
    "no head": (b'{"schema_version": 1, "results": []}', "tool, run, summary, lanes is missing"),
    "damaged journal": (b'{"seq":1,"at":"x"}\n{"seq":2}\n', "not a journal"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_report_is_refused_by_name(name: str, offline: Workplace) -> None:
    data, says = WRONG[name]
    (offline.folder / "wrong.json").write_bytes(data)
    for result in (offline.call("report", "wrong.json"), offline.call("report", "-", stdin=data)):
        assert (result.code, result.stdout) == (3, b"")
        assert says in result.stderr
        assert result.stderr.startswith(("wrong.json:", "stdin:"))
    assert offline.call("report", "nowhere.json").code == 3
    assert "is a folder" in offline.call("report", ".").stderr


@pytest.mark.parametrize("cut", [0.5, 0.9])
def test_a_report_that_was_cut_off_names_its_line(cut: float, offline: Workplace) -> None:
    offline.call("report", "whole.jsonl", "--format", "json", "--output", "report.json")
    data = (offline.folder / "report.json").read_bytes()
    (offline.folder / "report.json").write_bytes(data[: int(len(data) * cut)])
    result = offline.call("report", "report.json", "--format", "json")
    assert result.code == 3
    assert "report.json:" in result.stderr


def test_an_output_that_cannot_be_written_is_exit_code_six(offline: Workplace) -> None:
    result = offline.call("report", "whole.jsonl", "--format", "html", "--output", "nowhere/report.html")
    assert (result.code, result.stdout) == (6, b"")
    assert "nowhere/report.html" in result.stderr


def test_a_big_report_needs_little_memory(tmp_path: Path) -> None:
    """40,000 targets: a report of 40 MB, written again with 60 MB more than --help needs."""
    work = Workplace(tmp_path, "")
    journals.make_run(tmp_path / "big.jsonl", 40_000, *(ended(index) for index in range(40_000)), run_ended())
    assert work.call("report", "big.jsonl", "--format", "json", "--output", "report.json").code == 0
    assert (tmp_path / "report.json").stat().st_size > 30_000_000
    small = peak(work, "report", "--help")
    assert peak(work, "report", "report.json", "--format", "json", "--output", "again.json") < small + 60_000
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "report.json").read_bytes()


def peak(work: Workplace, *arguments: str) -> int:
    """Kilobytes that a command had in memory at most."""
    code = (
        "import resource, sys; from bulk_import.cli import main; main(sys.argv[1:]); "
        "sys.stderr.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))"
    )
    command = [work.command()[0], "-c", code, *arguments]
    done = subprocess.run(command, cwd=work.folder, env=work.environment(), capture_output=True, text=True, check=True)
    return int(done.stderr)


# --- run --render


def test_renderings_are_written_beside_the_report(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    asked = {name: f"out.{name}" for name in RENDERINGS}
    result = work.run(*(word for name, path in asked.items() for word in ("--render", f"{name}={path}")))
    assert result.code == 4
    for name, path in asked.items():
        afterwards = work.call("report", "report.json", "--format", name).stdout
        assert (work.folder / path).read_bytes() == afterwards
    assert b'tests="2" failures="1"' in (work.folder / "out.junit").read_bytes()


def test_every_format_can_be_asked_for() -> None:
    assert set(RENDERINGS) == set(FORMATS)


@pytest.mark.parametrize(
    ("value", "code", "says"),
    [("pdf=report.pdf", 2, "'pdf' is not a rendering"), ("html", 2, "NAME=VALUE"), ("html=-", 2, "needs a path"),
     ("html=nowhere/report.html", 3, "nowhere does not exist"), ("html=report.json", 3, "where the report goes"),
     ("html=report.journal.jsonl", 3, "where the journal goes"), ("html=.", 3, "is a folder")],
)  # fmt: skip
def test_a_rendering_that_cannot_be_is_refused_before_any_call(
    value: str, code: int, says: str, sandbox: Sandbox, work: Workplace
) -> None:
    add_keys(sandbox, work)
    before = len(sandbox.calls())
    result = work.run("--render", value)
    assert (result.code, result.stdout) == (code, b"")
    assert says in result.stderr
    assert len(sandbox.calls()) == before
    assert not (work.folder / "report.json").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--journal", "report.json"), "where the report goes"),
        (("--journal", "./sub/../report.json"), "where the report goes"),
        (("--journal", "report.json.sha256"), "where the report's SHA-256 goes"),
        (("--journal", "manifest.json"), "where the manifest is"),
        (("--report", "manifest.json"), "where the manifest is"),
        (("--render", "csv=manifest.json"), "where the manifest is"),
        (("--journal", "pipe"), "pipe is not a file"),
        (("--journal", "sub"), "sub is not a file"),
    ],
)  # fmt: skip
def test_files_that_would_take_each_others_place_are_refused_before_any_call(
    options: tuple[str, ...], says: str, sandbox: Sandbox, work: Workplace
) -> None:
    """A journal under the report's name would be gone with the report; a pipe or a device is no one's to rename."""
    add_keys(sandbox, work)
    os.mkfifo(work.folder / "pipe")
    (work.folder / "sub").mkdir()
    work.write()
    files = {path.name for path in work.folder.iterdir()}
    before = len(sandbox.calls())
    result = work.run(*options)
    assert (result.code, says in result.stderr) == (3, True), result.stderr
    assert len(sandbox.calls()) == before
    assert {path.name for path in work.folder.iterdir()} == files
    assert (work.folder / "pipe").is_fifo()


@pytest.mark.parametrize("name", ["json", "csv"])
def test_an_output_in_the_place_of_what_it_is_made_from_is_refused(name: str, offline: Workplace) -> None:
    """A journal is all that is left of a killed run."""
    journal = (offline.folder / "killed.jsonl").read_bytes()
    result = offline.call("report", "whole.jsonl", "killed.jsonl", "--format", name, "--output", "./killed.jsonl")
    assert (result.code, "killed.jsonl" in result.stderr) == (2, True), result.stderr
    assert (offline.folder / "killed.jsonl").read_bytes() == journal


@pytest.mark.parametrize("name", ["json", "csv", "table"])
def test_an_output_that_is_a_pipe_is_written_into(name: str, offline: Workplace) -> None:
    os.mkfifo(offline.folder / "pipe")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((offline.folder / "pipe").read_bytes()), daemon=True)
    reader.start()
    result = offline.call("report", "whole.jsonl", "--format", name, "--output", "pipe")
    reader.join(20)
    assert (result.code, bool(received and received[0])) == (0, True), result.stderr
    assert (offline.folder / "pipe").is_fifo()


def test_a_rendering_that_fails_late_costs_no_report(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    (work.folder / "pages").mkdir()
    sandbox.hold("ImportKeyMaterial")
    process = work.start("--render", "html=pages/report.html", "--render", "csv=report.csv")
    while not sandbox.calls(operation="DescribeKey"):
        assert process.poll() is None, process.communicate()
    (work.folder / "pages").rmdir()
    sandbox.release()
    result = work.finish(process)
    assert result.code == 6
    assert "html could not be written to pages/report.html" in result.stderr
    assert result.report["run"]["exit_code"] == 6
    assert result.report["summary"]["imported"] == 1
    assert (work.folder / "report.csv").exists()
