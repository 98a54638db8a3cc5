from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bulk_import.delivery.local import write_report
from bulk_import.errors import InputError, JournalError, ReportNotWritten
from bulk_import.journal.older import set_aside
from bulk_import.model import Status
from bulk_import.report.document import Document
from bulk_import.report.fold import fold
from bulk_import.report.reread import read_report
from bulk_import.report.schema import plan_schema, report_schema
from tests.journal import journals
from tests.journal.journals import answered, ended, intent, lane_ended, pinned, resumed, run_ended, stopping


def closed(schema: Any) -> Any:
    """The schema without further fields: it describes everything that this version writes."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: closed(value) for name, value in schema.items()}
    if "properties" in made:
        made["additionalProperties"] = False
    return made


VALIDATOR = jsonschema.Draft202012Validator(
    closed(report_schema()), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Something of everything."""
    return journals.make_run(
        tmp_path / "journal.jsonl",
        7,
        ended(0),
        ended(1, Status.FAILED),
        ended(2, Status.UNCHANGED),
        pinned(3),
        pinned(4),
        intent(4),
        pinned(5),
        intent(5),
        answered(5),
        lane_ended(),
        resumed(),
        stopping("SIGTERM"),
        run_ended(failure={"code": "ClockSkew", "message": "The clock is wrong.", "exit_code": 5}),
    )


@pytest.fixture
def report_path(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder / "report.json"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_report_is_as_its_schema_says(journal: Path, report_path: Path) -> None:
    write_report(Document.of(fold(journal)), str(report_path))
    report = json.loads(report_path.read_bytes())
    VALIDATOR.validate(report)
    assert [result["id"] for result in report["results"]] == [f"key-{index}" for index in range(7)]
    assert report["run"]["outcome"] == "interrupted"
    assert report["run"]["exit_code"] == 143
    assert report["run"]["journal_sha256"] == hashlib.sha256(journal.read_bytes()).hexdigest()


def test_members_stand_in_the_published_order(journal: Path, report_path: Path) -> None:
    write_report(Document.of(fold(journal)), str(report_path))
    report, schema = json.loads(report_path.read_bytes()), report_schema()["properties"]
    assert list(report) == ["schema_version", "tool", "run", "summary", "lanes", "results"]
    assert list(report["run"]) == schema["run"]["required"]  # `runs` is of merged ones only
    assert list(report["summary"]) == list(schema["summary"]["properties"])
    assert list(report["lanes"][0]) == list(schema["lanes"]["items"]["properties"])
    for result in report["results"]:
        assert list(result) == list(schema["results"]["items"]["properties"])


@pytest.mark.parametrize("events", [[], [ended(0)]], ids=["killed", "killed at the end"])
def test_a_killed_run_has_a_valid_report(tmp_path: Path, report_path: Path, events: list[journals.Event]) -> None:
    journal = journals.make(tmp_path / "journal.jsonl", journals.started(), journals.target(0), *events)
    write_report(Document.of(fold(journal)), str(report_path))
    report = json.loads(report_path.read_bytes())
    VALIDATOR.validate(report)
    assert (report["run"]["finished_at"], report["run"]["exit_code"]) == (None, None)
    assert report["run"]["outcome"] == "interrupted"


def test_a_run_killed_before_it_listed_its_targets_has_a_valid_report(tmp_path: Path, report_path: Path) -> None:
    write_report(Document.of(fold(journals.make(tmp_path / "journal.jsonl", journals.started()))), str(report_path))
    VALIDATOR.validate(json.loads(report_path.read_bytes()))


@pytest.mark.parametrize("schema", [report_schema(), plan_schema()], ids=["report", "plan"])
def test_the_schemas_are_valid_and_describe_every_field(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    described = 0

    def walk(part: dict[str, Any]) -> None:
        nonlocal described
        for field in part.get("properties", {}).values():
            assert field["description"]
            described += 1
            walk(field)
        if "items" in part:
            walk(part["items"])

    walk(schema)
    assert described > 40


def test_the_schema_refuses_what_is_no_report(journal: Path, report_path: Path) -> None:
    write_report(Document.of(fold(journal)), str(report_path))
    good = json.loads(report_path.read_bytes())
    for change in (
        lambda report: report["results"][0].update(status="done"),
        lambda report: report["results"][0].pop("changed"),
        lambda report: report["run"].update(started_at="2026-03-02 04:30"),
        lambda report: report.update(schema_version=2),
        lambda report: report["summary"].update(failed=-1),
    ):
        bad = copy.deepcopy(good)
        change(bad)
        assert not VALIDATOR.is_valid(bad)


def test_one_result_stands_on_one_line(journal: Path, report_path: Path) -> None:
    write_report(Document.of(fold(journal)), str(report_path))
    lines = report_path.read_text().splitlines()
    assert [json.loads(line.rstrip(","))["id"] for line in lines if line.startswith('{"index":')] == [
        f"key-{index}" for index in range(7)
    ]


def test_the_sum_beside_the_report_is_right_and_nothing_else_is_left(journal: Path, report_path: Path) -> None:
    write_report(Document.of(fold(journal)), str(report_path))
    assert names(report_path.parent) == ["report.json", "report.json.sha256"]
    checked = subprocess.run(
        ["sha256sum", "-c", "report.json.sha256"], cwd=report_path.parent, check=True, capture_output=True
    )
    assert checked.stdout == b"report.json: OK\n"


def test_the_same_journal_makes_the_same_report(journal: Path, report_path: Path) -> None:
    write_report(Document.of(fold(journal)), str(report_path))
    first = report_path.read_bytes()
    write_report(Document.of(fold(journal)), str(report_path))
    assert report_path.read_bytes() == first
    assert names(report_path.parent) == ["report.json", "report.json.sha256"]  # its own older self is not kept


def test_an_older_report_is_kept_under_its_runs_id(tmp_path: Path, report_path: Path) -> None:
    contents = {}
    for run_id in ("run-1", "run-2", "run-3"):
        journal = journals.make_run(tmp_path / f"{run_id}.jsonl", 1, ended(0), run_ended(), run_id=run_id)
        write_report(Document.of(fold(journal)), str(report_path))
        contents[run_id] = report_path.read_bytes()

    folder = report_path.parent
    assert names(folder) == [
        "report.json",
        "report.json.sha256",
        "report.run-1.json",
        "report.run-1.json.sha256",
        "report.run-2.json",
        "report.run-2.json.sha256",
    ]
    assert (folder / "report.run-1.json").read_bytes() == contents["run-1"]
    assert (folder / "report.run-2.json").read_bytes() == contents["run-2"]
    sums = sorted(path.name for path in folder.glob("*.sha256"))
    subprocess.run(["sha256sum", "-c", "--quiet", *sums], cwd=folder, check=True)


@pytest.mark.parametrize("content", [b"my notes\n", b"", b'{"run":{"run_id":"../../etc/passwd"}}'])
def test_a_file_that_is_no_report_is_kept_too(journal: Path, report_path: Path, content: bytes) -> None:
    report_path.write_bytes(content)
    write_report(Document.of(fold(journal)), str(report_path))
    [kept] = list(report_path.parent.glob("report.*.json"))
    assert kept.read_bytes() == content


def test_a_link_stays_a_link(journal: Path, report_path: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.json"
    report_path.symlink_to(real)
    write_report(Document.of(fold(journal)), str(report_path))
    assert report_path.is_symlink()
    VALIDATOR.validate(json.loads(real.read_bytes()))


def test_the_report_goes_to_stdout(journal: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, write_through=True))
    monkeypatch.chdir(tmp_path)
    write_report(Document.of(fold(journal)), "-")
    VALIDATOR.validate(json.loads(out.getvalue()))
    assert names(tmp_path) == ["journal.jsonl"]


def test_a_pipe_is_written_into_not_replaced(journal: Path, report_path: Path) -> None:
    os.mkfifo(report_path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(report_path.read_bytes()))
    reader.start()
    write_report(Document.of(fold(journal)), str(report_path))
    reader.join()
    VALIDATOR.validate(json.loads(read[0]))
    assert report_path.is_fifo()


@pytest.mark.parametrize("make_bad", ["folder missing", "file for a folder", "is a folder", "device full"])
def test_a_report_that_cannot_stand_where_asked_stands_elsewhere(
    tmp_path: Path, report_path: Path, make_bad: str
) -> None:
    journal = journals.make_run(tmp_path / "journal.jsonl", 1, ended(0), run_ended())
    asked = {
        "folder missing": tmp_path / "missing" / "report.json",
        "file for a folder": journal / "report.json",
        "is a folder": report_path.parent,
        "device full": Path("/dev/full"),
    }[make_bad]

    with pytest.raises(ReportNotWritten) as caught:
        write_report(Document.of(fold(journal)), str(asked))

    elsewhere = tmp_path / "report.run-1.json"
    assert str(asked) in caught.value.message
    assert str(elsewhere) in caught.value.message
    report = json.loads(elsewhere.read_bytes())
    VALIDATOR.validate(report)
    assert report["run"]["exit_code"] == 6
    assert names(report_path.parent) == []


def test_a_full_disk_leaves_the_older_report_and_no_half_of_a_new_one(tmp_path: Path, report_path: Path) -> None:
    """A limit on the size of files stands for the full disk; nothing can be written anywhere then."""
    older = journals.make_run(tmp_path / "older.jsonl", 1, ended(0), run_ended(), run_id="older")
    write_report(Document.of(fold(older)), str(report_path))
    before = report_path.read_bytes()
    journal = journals.make_run(tmp_path / "journal.jsonl", 20, *map(ended, range(20)), run_ended())
    code = """
import resource, signal, sys
from pathlib import Path
from bulk_import.errors import ReportNotWritten
from bulk_import.delivery.local import write_report
from bulk_import.report.document import Document
from bulk_import.report.fold import fold
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    write_report(Document.of(fold(Path(sys.argv[1]))), sys.argv[2])
except ReportNotWritten as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, journal, report_path], capture_output=True, text=True, check=True
    )
    assert "File too large" in done.stdout
    assert f"The journal has everything: {journal}" in done.stdout
    assert report_path.read_bytes() == before
    assert names(report_path.parent) == ["report.json", "report.json.sha256"]
    assert names(tmp_path) == ["journal.jsonl", "older.jsonl", "out"]


def test_a_broken_pipe_does_not_lose_the_report(journal: Path) -> None:
    code = """
import sys
from pathlib import Path
from bulk_import.errors import ReportNotWritten
from bulk_import.delivery.local import write_report
from bulk_import.report.document import Document
from bulk_import.report.fold import fold
try:
    write_report(Document.of(fold(Path(sys.argv[1]))), "-")
except ReportNotWritten as error:
    print(error, file=sys.stderr)
"""
    reading, writing = os.pipe()
    os.close(reading)
    # check: nothing may be left in a buffer for the exit to fail on
    done = subprocess.run(
        [sys.executable, "-c", code, journal], stdout=writing, stderr=subprocess.PIPE, text=True, check=True
    )
    os.close(writing)
    elsewhere = journal.parent / "report.run-1.json"
    assert done.stderr == f"The report could not be written to stdout (Broken pipe). It is at {elsewhere}.\n"
    VALIDATOR.validate(json.loads(elsewhere.read_bytes()))


def test_a_report_is_read_back(journal: Path, report_path: Path) -> None:
    write_report(Document.of(fold(journal)), str(report_path))
    whole = json.loads(report_path.read_bytes())
    streamed = read_report(report_path)
    assert {**streamed.head, "results": list(streamed.results)} == whole

    report_path.write_text(json.dumps(whole, indent=4))
    again = read_report(report_path)
    assert {**again.head, "results": list(again.results)} == whole


def test_a_report_without_targets_is_read_back(tmp_path: Path, report_path: Path) -> None:
    write_report(Document.of(fold(journals.make(tmp_path / "journal.jsonl", journals.started()))), str(report_path))
    assert list(read_report(report_path).results) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: text.index(b'"results"') + 2000], r":13: this result is not JSON"),
        (lambda text: text[: text.index(b',\n{"index":2,"id":"key-2"')], ":12: the report ends in the middle"),
        (lambda text: text.replace(b'"status":"failed"', b'"status":failed', 1), r":\d+: this result is not JSON"),
        (
            lambda text: text.replace(b'"schema_version":1', b'"schema_version":7'),
            "schema_version is 7; this program reads",
        ),
        (lambda text: b"{}", "not a report of bulk-import"),
        (lambda text: b"version: 1\n", ":1: this is not JSON"),
        (lambda text: b"", ":1: this is not JSON"),
        (lambda text: b'{"schema_version":1,"results":[]}', "tool, run, summary, lanes is missing"),
    ],
)
def test_a_damaged_report_is_refused_with_its_place(journal: Path, report_path: Path, damage, message: str) -> None:
    write_report(Document.of(fold(journal)), str(report_path))
    report_path.write_bytes(damage(report_path.read_bytes()))
    with pytest.raises(InputError, match=message) as caught:
        list(read_report(report_path).results)
    assert str(report_path) in caught.value.message


def test_a_missing_report_is_an_input_error(report_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_report(report_path)


@pytest.mark.parametrize("finished", [True, False])
def test_an_older_journal_makes_room_under_its_runs_id(tmp_path: Path, finished: bool) -> None:
    path = journals.make_run(tmp_path / "run.journal.jsonl", 1, *([run_ended()] if finished else []))
    aside = set_aside(path)
    assert aside is not None
    assert (aside.path.name, aside.finished) == ("run.journal.run-1.jsonl", finished)
    assert names(tmp_path) == ["run.journal.run-1.jsonl"]
    assert set_aside(path) is None


def test_a_damaged_journal_is_set_aside_but_a_strangers_file_is_not(tmp_path: Path) -> None:
    path = journals.make_run(tmp_path / "journal.jsonl", 3, run_ended())
    path.write_bytes(path.read_bytes().replace(b"key-1", b"key-X"))
    aside = set_aside(path)
    assert aside is not None
    assert (aside.path.name, aside.finished) == ("journal.run-1.jsonl", False)

    for notes in ("my\nnotes\n", "my notes\n", '{"version": 1, "keys": []}'):
        path.write_text(notes)
        with pytest.raises(JournalError, match="not a journal"):
            set_aside(path)
        assert path.read_text() == notes


@pytest.mark.parametrize("content", [b"", b'{"se', b'{"seq":1,"at":"2026-03-0', bytes(4096)])
def test_a_journal_that_was_killed_in_its_first_line_makes_room(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    aside = set_aside(path)
    assert aside is not None
    assert aside.path.read_bytes() == content
    assert not path.exists()


def test_what_the_journal_asked_for_can_be_written_later(journal: Path, report_path: Path) -> None:
    folded = fold(journal)
    assert write_report(Document.of(folded), str(report_path)) == report_path
