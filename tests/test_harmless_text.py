"""Text from outside can fail at most its own target, and acts on no terminal, log or CI runner that shows it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_import.text import harmless, harmless_lines, harmless_values
from tests.e2e import materials
from tests.e2e.rewriter import Rewriter
from tests.e2e.support import Workplace
from tests.formats.make_report import make_report
from tests.sandbox_client import Sandbox

HOSTILE = {
    "escape": "red \x1b[31m and title \x1b]0;x\x07",
    "c1": "one \x9b31m and \x85 next",
    "newline": "first\n::error::second\r\n##[error]third",
    "github": "::set-output name=token::abc",
    "azure": "##vso[task.setvariable variable=x]y",
    "surrogate": "half \ud83d a character",
    "bidi": "abc \u202e cba \u2066 x",
    "separator": "a\u2028b\u2029c",
}
# What no output may hold: controls but line feed and tab, and a command of a CI runner where a line begins.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
COMMAND = re.compile(r"^\s*(::[a-z-]+( [^:]*)?::|.*##[a-z]*\[)", re.IGNORECASE | re.MULTILINE)


@pytest.fixture
def work(sandbox: Sandbox, tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, sandbox.url)


def two_keys(sandbox: Sandbox, work: Workplace) -> list[str]:
    """The ARNs of the targets `bad` and `good`."""
    arns = []
    for name in ("bad", "good"):
        key = sandbox.key(key_spec="HMAC_256")
        work.key(key["key_id"], materials.make("HMAC_256"), name=name)
        arns.append(key["arn"])
    return arns


FILES = {"junit": "junit.xml", "html": "page.html", "markdown": "report.md", "csv": "report.csv"}
RENDER = tuple(text for name, file in FILES.items() for text in ("--render", f"{name}={file}"))


def assert_harmless(work: Workplace, stderr: str) -> None:
    for name in ("report.json", "report.journal.jsonl", *FILES.values()):
        text = (work.folder / name).read_text("utf-8").replace("\r\n", "\n")
        assert not CONTROL.search(text), name
    assert not CONTROL.search(stderr)
    assert not COMMAND.search(stderr)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_message_of_kms_fails_its_own_target_only(text: str, sandbox: Sandbox, work: Workplace) -> None:
    bad, _ = two_keys(sandbox, work)
    sandbox.fault("error", operation="DescribeKey", key=bad, times=None, code="AccessDeniedException", message=text)
    result = work.run(*RENDER)
    assert result.code == 4
    assert {name: entry["status"] for name, entry in result.entries.items()} == {"bad": "failed", "good": "imported"}
    assert_harmless(work, result.stderr)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("field", ["KeyState", "KeySpec", "Origin", "ExpirationModel"])
def test_a_hostile_field_fails_its_own_target_only(field: str, text: str, sandbox: Sandbox, work: Workplace) -> None:
    bad, _ = two_keys(sandbox, work)

    def spoil(operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        if operation == "DescribeKey" and answer["KeyMetadata"]["Arn"] == bad:
            answer["KeyMetadata"][field] = text
        return answer

    with Rewriter(sandbox.url, spoil) as proxy:
        work.url = proxy.url
        result = work.run(*RENDER, "--verify-timeout", "5s")
    assert result.code == 4
    assert {name: entry["status"] for name, entry in result.entries.items()} == {"bad": "failed", "good": "imported"}
    assert_harmless(work, result.stderr)


@pytest.mark.parametrize("request_id", ["\xff\xfe\x80", "caf\xe9-\x1b[2J", "::error::x"])
def test_a_request_id_that_is_no_text_is_shown_with_escapes(request_id: str, sandbox: Sandbox, work: Workplace) -> None:
    two_keys(sandbox, work)
    with Rewriter(sandbox.url, lambda _, answer: answer, headers={"x-amzn-RequestId": request_id}) as proxy:
        work.url = proxy.url
        result = work.run(*RENDER)
    assert result.code == 0
    assert_harmless(work, result.stderr)
    shown = {item["request_id"] for entry in result.entries.values() for item in entry["request_ids"]}
    assert len(shown) == 1
    assert shown.pop().isprintable()


def test_a_hostile_answer_of_sts(sandbox: Sandbox, work: Workplace) -> None:
    two_keys(sandbox, work)
    sandbox.fault("error", operation="AssumeRole", times=None, code="AccessDenied", message=HOSTILE["newline"])
    result = work.run(*RENDER)
    assert result.code == 5
    assert_harmless(work, result.stderr)


@pytest.mark.parametrize("name", [b"caf\xe9", b"a\x1b[31mb", b"x\n::error::y"])
def test_a_folder_whose_name_is_no_text(name: bytes, sandbox: Sandbox, work: Workplace) -> None:
    two_keys(sandbox, work)
    work.folder = work.folder / os.fsdecode(name)
    work.folder.mkdir()
    for key in ("bad", "good"):
        (work.folder / f"{key}.key").write_bytes((work.folder.parent / f"{key}.key").read_bytes())
    manifest = work.write()
    done = subprocess.run(
        work.command("run", str(manifest), "--report", str(work.folder / "report.json"), "--read-interval", "20ms"),
        cwd=work.folder.parent, env=work.environment(), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    stderr = done.stderr.decode()
    assert done.returncode == 0, stderr
    assert not CONTROL.search(stderr)
    assert not COMMAND.search(stderr)


@pytest.mark.parametrize("value", [b"caf\xe9", b"a\x1b[31mb", b"x\n::error::y"])
def test_a_label_that_is_no_text(value: bytes, sandbox: Sandbox, work: Workplace) -> None:
    two_keys(sandbox, work)
    text = os.fsdecode(value)
    result = work.run("--label", f"team={text}", *RENDER, GITHUB_ACTOR=text)
    assert result.code == 0
    assert_harmless(work, result.stderr)
    assert result.report["run"]["labels"] == {"actor": harmless(text), "team": harmless(text)}


@pytest.mark.parametrize("name", [b"caf\xe9.yaml", b"a\x1b[31mb.yaml", b"x\n::error::y.yaml"])
@pytest.mark.parametrize("command", ["validate", "run", "report"])
def test_a_file_that_is_missing(command: str, name: bytes, work: Workplace) -> None:
    result = work.call(command, os.fsdecode(name))
    assert result.code == 3
    assert not CONTROL.search(result.stderr)
    assert not COMMAND.search(result.stderr)


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_what_is_harmless_can_be_written_and_stays_so(text: str) -> None:
    made = harmless(text)
    made.encode("utf-8")
    assert not CONTROL.search(made)
    assert "\n" not in made
    assert not COMMAND.search(made)
    assert harmless(made) == made


@given(st.text(alphabet=st.sampled_from("abc:#[] \x1b\nset-"), max_size=30))
def test_no_command_of_a_ci_runner_is_left(text: str) -> None:
    assert not COMMAND.search(harmless(text))
    assert not COMMAND.search(harmless_lines(text))


@pytest.mark.parametrize(
    "text",
    ["arn:aws:iam::111122223333:role/byok/Importer", "arn:aws:s3:::bucket/key", "a # b ## c", "Grüße, 鍵, 🔑", "x::y"],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text
    assert harmless_values({text: [text, 1, None, {"a": text}]}) == {text: [text, 1, None, {"a": text}]}


@pytest.mark.parametrize("text", [text for name, text in HOSTILE.items() if name != "surrogate"])
@pytest.mark.parametrize("form", ["table", "json", "html", "junit", "markdown", "github", "csv"])
def test_a_hostile_report_acts_on_nobody_who_shows_it(form: str, text: str, work: Workplace) -> None:
    report = make_report(5)
    for result in report["results"]:
        result["key_id"] = result["key_state"] = text
        if result["error"]:
            result["error"] |= {"message": text, "advice": text, "code": text}
    report["run"] |= {"labels": {text: text}, "error": {"code": "X", "message": text, "advice": text}}
    report["run"]["manifest"]["uri"] = text
    (work.folder / "hostile.json").write_text(json.dumps({**report, "results": list(report["results"])}))
    result = work.call("report", "hostile.json", "--format", form)
    output = result.stdout.decode().replace("\r\n", "\n") + result.stderr
    assert not CONTROL.search(output)
    if form != "github":  # whose commands are wanted there; what is in them is escaped
        assert not COMMAND.search(output)
    assert "hostile" not in result.stderr, result.stderr
