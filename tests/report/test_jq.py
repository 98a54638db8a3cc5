"""The jq commands of the report's page find what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import pages
from tests.report import jq


def test_the_jq_lines_find_what_they_say(tmp_path: Path) -> None:
    def entry(name: str, **fields: Any) -> dict[str, Any]:
        plain = {"account": "1", "region": "r", "key_arn": name, "valid_to": None, "changed": True, "error": None}
        verification = {"proof": "hmac", "detail": ""}
        return {"id": name, "verification": verification, "request_ids": [], **plain, **fields}

    soon = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}"
    failure = {"code": "NotFoundException", "message": "gone", "advice": "look"}
    report = {
        "run": {"outcome": "partial", "exit_code": 4, "environment": "aws", "stopped_by": [], "error": None},
        "summary": {"total": 5},
        "lanes": [{"account": "1", "region": "r", "throttled": {"X": 1}, "effective_rate": {"X": 0.5}}],
        "results": [
            entry("broken", error=failure),
            entry("doubtful", changed=None, error=failure | {"code": "OutcomeUnknown"}),
            entry("unproved", verification={"proof": "none", "detail": "material_not_compared"}),
            entry("expiring", valid_to=soon),
            entry("tokens", request_ids=[{"operation": "DescribeKey", "request_id": "abc"}]),
        ],
    }
    (tmp_path / "report.json").write_text(json.dumps(report))
    commands = [line for block in pages.REPORT.blocks if block.language == "sh" for line in block.text.splitlines()]
    assert all(line.startswith("jq ") for line in commands)
    answers = []
    for line in commands:
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        answers.append(done.stdout)
    ended, failed, counted, grave, unproved, expiring, requests, throttled = answers
    assert '"partial"' in ended
    assert [line.split("\t")[0] for line in failed.splitlines()] == ["broken", "doubtful"]
    assert counted.splitlines() == ["1\tNotFoundException", "1\tOutcomeUnknown"]
    assert [line.split("\t")[0] for line in grave.splitlines()] == ["doubtful"]
    assert [line.split("\t")[0] for line in unproved.splitlines()] == ["unproved"]
    assert expiring == f"{soon}\texpiring\texpiring\n"
    assert requests == "DescribeKey\tabc\n"
    assert json.loads(throttled)["throttled"] == {"X": 1}


@pytest.mark.parametrize(("more", "code"), [({}, pytest.ExitCode.OK), ({jq.NEEDED: "1"}, pytest.ExitCode.USAGE_ERROR)])
def test_its_absence_is_said_in_one_line_and_an_error_where_it_is_needed(
    more: dict[str, str], code: pytest.ExitCode, tmp_path: Path
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TESTS_NEED_"))}
    choice = ["tests/report", "-k", "jq or test_a_killed_run"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n1", *choice, "-p", "no:cacheprovider"],
        env={**kept, **more, "PATH": str(tmp_path)}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count(jq.LEFT_OUT) == 1
    assert "skipped" not in done.stdout
