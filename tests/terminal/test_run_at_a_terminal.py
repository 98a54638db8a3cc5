"""`run` at a real pseudo-terminal, and without one."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.support import ACCOUNT, Result, Workplace, quick
from tests.sandbox_client import Sandbox
from tests.terminal import pseudo
from tests.terminal.pseudo import Seen

# Slow enough that the view is drawn more than once: five imports at two a second.
SLOWLY = ("--quota", "GetParametersForImport=2")
SLOW = (*quick(SLOWLY), *SLOWLY)
LIVE = "imports/s of"


def add_keys(sandbox: Sandbox, work: Workplace, regions: tuple[str, ...] = ("us-east-1",), count: int = 5) -> None:
    for region in regions:
        for number in range(count):
            key = sandbox.key(ACCOUNT, region, key_spec="HMAC_256")
            work.key(key["key_id"], materials.make("HMAC_256"), name=f"k{number}-{region}", region=region)
    for number in range(12):
        work.key(f"alias/nobody-{number}", materials.make("HMAC_256"), name=f"missing-{number}")


def at_terminal(work: Workplace, *options: str, columns: int = 100, rows: int = 30, **environment: str) -> Seen:
    work.write()
    command = work.command("run", "manifest.json", *SLOW, *options)
    return pseudo.run(command, work.folder, work.environment(**environment), columns=columns, rows=rows)


@pytest.fixture
def seen(sandbox: Sandbox, work: Workplace) -> Seen:
    add_keys(sandbox, work)
    # The last target is verified for as long as many frames take: one of them is drawn, however busy the machine is.
    sandbox.fault("delay", operation="GenerateMac", after=4, seconds=3)
    return at_terminal(work)


def test_the_view_is_drawn_and_taken_away_again(seen: Seen) -> None:
    assert seen.code == 4
    assert seen.raw.count(LIVE) > 3  # drawn, and drawn again
    assert "━" in seen.raw
    assert LIVE not in seen.screen()
    assert seen.raw.rindex("\x1b[?25h") > seen.raw.rindex("\x1b[?25l")  # the cursor is back
    assert seen.stdout == b""


def test_the_view_counts_failures_by_cause_and_shows_the_phases(seen: Seen) -> None:
    assert seen.screen().startswith("Not AWS: this run talks to http://127.0.0.1:")
    assert "Failed: 12 NotFoundException" in seen.text
    assert "ERROR" not in seen.raw
    for phases in ("importing 0, verifying ", "done 16 of 17 targets", "94%", " elapsed, about "):
        assert phases in seen.text


def test_each_failure_is_reported_once(seen: Seen) -> None:
    screen = seen.screen()
    assert [screen.count(f"missing-{number} in ") for number in range(10)] == [1] * 10
    assert screen.count("12 targets failed: NotFoundException") == 1


def test_the_end_has_the_causes_the_counts_and_every_file(seen: Seen, work: Workplace) -> None:
    end = seen.screen().split("12 targets failed: NotFoundException")[1].splitlines()
    assert end[1].startswith("  What to do: ")
    assert sum(line.startswith("  missing-") for line in end) == 10
    counts, *files = [line for line in end if line][end[1:].index("  +2 more in the report") + 1 :]
    assert re.fullmatch(r"5 imported, 12 failed of 17 in \d+(\.\d)? s\. Partial, exit code 4\.", counts)
    assert files == [
        f"Report   {work.folder}/report.json",
        f"Journal  {work.folder}/report.journal.jsonl",
        f"To see it as a page: bulk-import report {work.folder}/report.json --format html --output report.html",
        "This run talked to a sandbox endpoint, not to AWS.",
    ]


def test_the_end_names_every_rendering_the_page_first(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    result = work.run("--render", "csv=out.csv", "--render", "html=page.html", "--render", "junit=j.xml")
    end = result.stderr.splitlines()[-6:]
    written = {line.split()[0]: line.split()[1] for line in end[:-1]}
    assert list(written) == ["Page", "CSV", "JUnit", "Report", "Journal"]
    assert written["Page"] == f"{work.folder}/page.html"
    assert all(Path(path).is_file() for path in written.values())


@pytest.mark.parametrize("columns", [80, 200])
def test_usual_terminals(sandbox: Sandbox, work: Workplace, columns: int) -> None:
    add_keys(sandbox, work)
    seen = at_terminal(work, columns=columns)
    drawn = [line for line in seen.lines if "━━━" in line or "───" in line]
    assert any(line.endswith("%") for line in drawn)
    assert any(line.startswith("111122223333/us-east-1 ") for line in drawn)
    assert {len(line) for line in drawn} == {columns}
    assert "…" not in seen.text  # nothing is cut


def test_a_narrow_terminal(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    seen = at_terminal(work, columns=40, rows=12)
    assert seen.code == 4
    drawn = [line for line in seen.lines if LIVE in line or "━━━" in line or line.startswith("111122223333/")]
    assert drawn
    assert max(map(len, drawn)) <= 40
    assert any(re.fullmatch(r"\d+\.\d imports/s of \d+/s", line) for line in drawn)  # nothing of it is cut


def test_many_lanes_are_bounded(sandbox: Sandbox, work: Workplace) -> None:
    regions = ("us-east-1", "us-east-2", "us-west-2", "eu-west-1", "eu-west-2", "eu-central-1", "eu-north-1")
    add_keys(sandbox, work, regions, count=2)
    seen = at_terminal(work, rows=12)
    assert seen.code == 4
    view, more, _ = pseudo.ESCAPES.sub("", seen.raw).partition("4 faster lanes: 0/8, ")
    assert more
    assert view.rpartition(LIVE)[2].count("111122223333/") == 3


def test_no_color(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    coloured, plain = at_terminal(work), at_terminal(work, NO_COLOR="1")
    assert "\x1b[31m━" in coloured.raw
    assert "\x1b[32m━" in coloured.raw  # only the failed share is red
    assert not [code for code in pseudo.COLOURS.findall(plain.raw) if any(c in code for c in ("3", "9"))]
    assert LIVE in plain.raw  # colours are gone, the view is not


def test_a_dumb_terminal_gets_lines(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    seen = at_terminal(work, TERM="dumb")
    assert seen.code == 4
    assert "\x1b" not in seen.raw


def test_json_at_a_terminal_stays_json(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    seen = at_terminal(work, "--log-format", "json")
    check_log([json.loads(line) for line in seen.lines if line])


def test_json_without_a_terminal(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    result = work.run("--log-format", "json")
    check_log([json.loads(line) for line in result.stderr.splitlines()])


def check_log(events: list[dict[str, Any]]) -> None:
    """Each line about a target names it and the run; the last says how it ended."""
    first, *_, last = events
    assert first["event"].startswith("Not AWS: ")
    failures = [event for event in events if event["event"] == "failed"]
    assert {event["target"] for event in failures} == {f"missing-{number}" for number in range(12)}
    for event in failures:
        assert (event["account"], event["region"], event["code"]) == (ACCOUNT, "us-east-1", "NotFoundException")
    assert {event["run"] for event in events} == {last["run"]}
    assert (last["event"], last["exit_code"], last["environment"]) == ("run ended", 4, "sandbox")
    assert (last["summary"]["failed"], last["summary"]["imported"]) == (12, 5)


def test_without_a_terminal_no_escape_and_no_view(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    result = work.run()
    lines = result.stderr.splitlines()
    assert "\x1b" not in result.stderr
    assert lines[0].startswith("Not AWS: this run talks to ")
    assert lines[-1].endswith("not to AWS.")
    assert not any(" ERROR " in line for line in lines)  # each failure once: in the end's list
    assert [sum(f"missing-{number} in " in line for line in lines) for number in range(10)] == [1] * 10


def test_quiet_says_errors_only(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    result = work.run("--quiet")
    assert result.code == 4
    lines = result.stderr.splitlines()
    assert len(lines) == 12 + 3  # the exit code, and that it does not talk to AWS, first and last
    assert sum("failed: NotFoundException" in line for line in lines) == 12
    work.keys = [key for key in work.keys if not key["id"].startswith("missing")]
    first, _, last = work.run("--quiet").stderr.splitlines()
    assert first.startswith("Not AWS: ")
    assert "ot AWS" in last or "ot to AWS" in last


def test_an_older_journal_is_told_after_the_first_line(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    work.run()
    journal = work.folder / "report.journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
    first, second = work.run().stderr.splitlines()[:2]
    assert first.startswith("Not AWS: ")
    assert "an unfinished journal was set aside" in second


def test_a_run_that_reached_nobody_says_where_it_went(work: Workplace) -> None:
    work.key("alias/nobody", materials.make("HMAC_256"), name="one")
    result = work.run(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    lines = result.stderr.splitlines()
    assert result.code == 5
    assert lines[0].startswith("Not AWS: ")
    assert lines[1].startswith("CallerCredentialsMissing: ")
    assert "not to AWS" in lines[-1]


# --- GitHub Actions


def in_actions(work: Workplace, *options: str) -> Result:
    return work.run(*options, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(work.folder / "summary.md"))


def test_annotations_and_the_steps_summary(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    (work.folder / "summary.md").write_text("before\n")
    result = in_actions(work, "--report", "-")
    assert json.loads(result.stdout)["summary"]["failed"] == 12  # and nothing else is on stdout
    commands = [line for line in result.stderr.splitlines() if line.startswith("::")]
    assert sum(line.startswith("::error ") for line in commands) == 10
    summary = (work.folder / "summary.md").read_text()
    assert summary.startswith("before\n")
    assert "12 of 17 targets failed" in summary


def test_outside_of_actions_there_are_none(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    assert "::error" not in work.run().stderr


def test_a_summary_that_cannot_be_written_costs_nothing(sandbox: Sandbox, work: Workplace) -> None:
    add_keys(sandbox, work)
    (work.folder / "summary.md").mkdir()
    result = in_actions(work)
    assert result.code == 4
    assert "GITHUB_STEP_SUMMARY could not be written" in result.stderr


def test_the_environment_of_the_tests_is_no_actions() -> None:
    """What the tests above rest on."""
    assert "GITHUB_STEP_SUMMARY" not in os.environ
    assert "GITHUB_ACTIONS" not in os.environ
