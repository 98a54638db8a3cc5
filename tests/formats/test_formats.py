"""Each rendering: exact for a small report, bounded for a large one, harmless for a hostile one."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from markdown_it import MarkdownIt

from bulk_import.errors import UsageError
from bulk_import.report.formats import FORMATS, render
from bulk_import.report.formats.markdown import STEP_SUMMARY_LIMIT, append_step_summary
from tests.formats import golden_files
from tests.formats.make_report import make_report

XSD = etree.XMLSchema(etree.parse(Path(__file__).with_name("junit-10.xsd")))
CANARIES = (
    "</script><script>window.pwned=1</script>",
    '"><img src=x onerror=window.pwned=1>',
    "<!--<script>",
    "{{ 7*7 }}{% raw %}",
    "a|b](javascript:window.pwned=1) ![x](http://192.0.2.1/x.png) `code` **bold** @everyone www.example.com",
    "line one\n::add-mask::line two\r\n::error::line three %0A::warning::x",
    "=HYPERLINK(1)",
    "\x00\x08\x1b[31m\ufffe",
    "&lt;b&gt; &amp;",
)


def rendered(name: str, report: dict[str, Any]) -> str:
    out = io.StringIO()
    render(name, report, out)
    return out.getvalue()


def with_canaries() -> dict[str, Any]:
    report = make_report(40, all_failed=True)
    for i, result in enumerate(report["results"]):
        canary = CANARIES[i % len(CANARIES)]
        result["id"] = result["key_id"] = canary
        result["error"] |= {"message": canary, "advice": canary, "code": canary}
        result["request_ids"].append({"operation": canary, "request_id": canary})
    report["run"]["manifest"]["uri"] = report["run"]["run_id"] = "".join(CANARIES)
    report["run"]["labels"] = dict(zip(CANARIES, CANARIES, strict=True))
    return report


# ---- all -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["corrected", "deleted"])
def test_a_status_that_is_rare_is_shown_where_it_occurs(status: str) -> None:
    report = make_report(10)
    summary = report["summary"]
    page, text = rendered("html", report), rendered("markdown", report)
    assert f'class="count {status}"' not in page
    assert f"| {status} |" not in text
    changed = next(result for result in report["results"] if result["status"] == "unchanged")
    changed["status"] = status
    summary |= {"unchanged": summary["unchanged"] - 1, status: 1}
    page, text = rendered("html", report), rendered("markdown", report)
    assert f'class="count {status}"' in page
    assert f"| {status} |" in text
    assert f"{sum(r['status'] not in ('failed', 'not_attempted') for r in report['results'])} OK" in text


@pytest.mark.parametrize("n", [10, 1_000, 10_000])
def test_the_generator_is_honest(n: int) -> None:
    report = make_report(n)
    counts = Counter(r["status"] for r in report["results"])
    assert {k: v for k, v in report["summary"].items() if v and k not in ("total", "unproved")} == counts
    assert len(counts) == 5
    assert report["summary"]["total"] == sum(lane["targets"] for lane in report["lanes"]) == n
    assert report == make_report(n)


@pytest.mark.parametrize("name", golden_files.FORMATS)
@pytest.mark.parametrize("report", golden_files.REPORTS)
def test_a_small_report_is_rendered_as_the_golden_file(report: str, name: str, tmp_path: Path) -> None:
    render(name, golden_files.REPORTS[report](), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == golden_files.path(report, name).read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_without_targets_or_end_is_rendered(name: str) -> None:
    report = make_report(10)
    report |= {"lanes": [], "results": [], "summary": dict.fromkeys(report["summary"], 0)}
    report["run"] |= {"finished_at": None, "duration_seconds": None, "exit_code": None, "caller": None}
    report["run"] |= {"outcome": "interrupted", "journal_sha256": None, "selection": None}
    assert report["run"]["run_id"] in rendered(name, report) or name == "csv"


@pytest.mark.parametrize("name", FORMATS)
def test_a_report_is_not_changed_by_rendering_it(name: str) -> None:
    report = make_report(10)
    before = deepcopy(report)
    rendered(name, report)
    assert report == before


def test_an_unknown_format_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="'pdf'") as caught:
        render("pdf", make_report(10), io.StringIO())
    assert "markdown" in caught.value.advice


def test_a_rendering_that_fails_leaves_the_older_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("older")
    broken = make_report(10)
    del broken["results"][7]["error"]
    with pytest.raises(KeyError):
        render("html", broken, path)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_that_are_no_utf8_in_a_message_are_shown_as_escapes(tmp_path: Path) -> None:
    report = make_report(10)
    report["results"][3]["error"]["message"] = b"file:\xff.key is missing".decode(errors="surrogateescape")
    for name in FORMATS:
        render(name, report, tmp_path / name)
        assert "is missing" in (tmp_path / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["html", "markdown", "github"])
def test_a_run_not_against_aws_says_so_first_and_last(name: str) -> None:
    text = rendered(name, make_report(10, environment="custom"))
    lines = [line for line in text.splitlines() if "not aws" in line.lower()]
    assert len(lines) >= 2
    if name != "html":  # whose first and last lines test_page.py looks at
        body = text.splitlines()
        assert lines[0] == body[0]
        assert lines[-1] == body[-1]


# ---- junit -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [10, 1_000, 10_000])
def test_junit_is_valid_and_adds_up(n: int) -> None:
    report = make_report(n)
    root = etree.fromstring(rendered("junit", report).encode())
    XSD.assertValid(root)
    assert len(root) == len(report["lanes"])
    assert len(root.findall(".//testcase")) == int(root.get("tests")) == n
    assert len(root.findall(".//failure")) == report["summary"]["failed"]
    assert len(root.findall(".//skipped")) == report["summary"]["not_attempted"]
    for suite in root:
        assert int(suite.get("tests")) == len(suite.findall("testcase"))
        assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
        assert int(suite.get("skipped")) == len(suite.findall("testcase/skipped"))


def test_a_junit_failure_tells_what_to_do_and_the_request_ids() -> None:
    report = make_report(10)
    root = etree.fromstring(rendered("junit", report).encode())
    failed = next(r for r in report["results"] if r["status"] == "failed")
    failure = root.find(f".//testcase[@name='{failed['id']}']/failure")
    assert failure.get("type") == failed["error"]["code"]
    assert failure.get("message") == failed["error"]["message"]
    assert failed["error"]["advice"] in failure.text
    assert all(entry["request_id"] in failure.text for entry in failed["request_ids"])


def test_junit_holds_any_text() -> None:
    report = with_canaries()
    root = etree.fromstring(rendered("junit", report).encode())
    XSD.assertValid(root)
    assert {case.get("name") for case in root.iter("testcase")} >= {CANARIES[0], CANARIES[5], CANARIES[8]}
    assert "\ufffd\ufffd\ufffd[31m\ufffd" in {case.get("name") for case in root.iter("testcase")}


# ---- markdown --------------------------------------------------------------------------------------------------------

MARKDOWN = MarkdownIt("gfm-like", {"linkify": False, "html": True}).enable("table")


def markdown_parts(text: str) -> tuple[set[str], str]:
    """(kinds of elements, all the text as a reader sees it)"""
    kinds, seen = set(), []
    for block in MARKDOWN.parse(text):
        kinds.add(block.type)
        for part in block.children or []:
            kinds.add(part.type)
            seen.append(part.content)
    return kinds, " ".join(seen)


def test_markdown_is_bounded_at_ten_thousand_failures() -> None:
    report = make_report(10_000, lanes=5_000, all_failed=True)
    for i, result in enumerate(report["results"]):
        result["error"] |= {"message": "☃|" * 5_000, "advice": "💥" * 5_000, "code": f"Code{i}"}
    text = rendered("markdown", report)
    assert len(text.encode()) < STEP_SUMMARY_LIMIT
    assert "more failures: see the report" in text
    assert "more codes: see the report" in text
    assert "more lanes: see the report" in text
    assert text.index("### Failures") < text.index("### Lanes")


def test_markdown_shows_hostile_text_as_text() -> None:
    kinds, seen = markdown_parts(rendered("markdown", with_canaries()))
    assert not kinds & {"html_inline", "html_block", "link_open", "image", "code_inline", "em_open", "fence"}
    assert "<img src=x onerror=window.pwned=1>" in seen
    assert "a|b](javascript:window.pwned=1) ![x](http://192.0.2.1/x.png)" in seen
    assert "&lt;b&gt; &amp;" in seen


@given(st.text(min_size=1, max_size=60))
def test_markdown_cells_keep_any_text_in_its_cell(message: str) -> None:
    report = make_report(10)
    report["results"][3]["error"]["message"] = f"before {message} after"
    tokens = MARKDOWN.parse(rendered("markdown", report))
    cells = [tokens[i + 1] for i, token in enumerate(tokens) if token.type == "td_open"]
    (cell,) = [c for c in cells if c.content.startswith("before ")]
    seen = "".join(part.content for part in cell.children)
    printable = " ".join("".join(c if c.isprintable() else " " for c in message).split())
    assert seen == " ".join(f"before {printable} after".split())


def test_the_step_summary_is_appended_within_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("# Earlier\n")
    report = make_report(1_000)
    env = {"GITHUB_STEP_SUMMARY": str(path)}
    assert append_step_summary(report, env)
    assert path.read_text().startswith("# Earlier\n\n## bulk-import partial")
    path.write_bytes(b"x" * (STEP_SUMMARY_LIMIT - 20_000))
    assert append_step_summary(make_report(10_000, lanes=5_000, all_failed=True), env)
    assert path.stat().st_size < STEP_SUMMARY_LIMIT
    assert "more failures: see the report" in path.read_text()


def test_no_step_summary_without_its_variable_or_room(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * (STEP_SUMMARY_LIMIT - 2_000))
    assert not append_step_summary(make_report(10), {})
    assert not append_step_summary(make_report(10), {"GITHUB_STEP_SUMMARY": ""})
    assert not append_step_summary(make_report(10), {"GITHUB_STEP_SUMMARY": str(path)})
    assert path.stat().st_size == STEP_SUMMARY_LIMIT - 2_000


# ---- github ----------------------------------------------------------------------------------------------------------

COMMAND = re.compile(r"::(error|warning|notice) title=([^:,]*)::(.*)")


@pytest.mark.parametrize("report", [make_report(10_000), make_report(10_000, all_failed=True), with_canaries()])
def test_annotations_are_bounded_and_one_line_each(report: dict[str, Any]) -> None:
    lines = rendered("github", report).split("\n")
    assert lines.pop() == ""
    levels = Counter(COMMAND.fullmatch(line)[1] for line in lines)
    assert levels["error"] == 10
    assert levels["warning"] <= 10
    assert levels["notice"] == 1
    assert all(len(line) < 4_096 for line in lines)


def test_a_lone_code_is_annotated_among_thousands_and_the_rest_is_summed() -> None:
    report = make_report(10_000, all_failed=True)
    for result in report["results"]:
        result["error"]["code"] = "AccessDeniedException"
    report["results"][9_999]["error"]["code"] = "MaterialMismatch"
    errors = [line for line in rendered("github", report).splitlines() if line.startswith("::error")]
    assert "MaterialMismatch%3A" in errors[0]
    assert "And 9,991 more failures: AccessDeniedException 9,991." in errors[-1]


def test_an_annotation_says_its_text_back() -> None:
    report = make_report(10)
    report["results"][3]["error"]["message"] = CANARIES[5]
    line = next(line for line in rendered("github", report).splitlines() if "add-mask" in line)
    text = COMMAND.fullmatch(line)[3].replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
    assert text.startswith(CANARIES[5])


# ---- csv -------------------------------------------------------------------------------------------------------------


def test_csv_has_a_row_and_a_line_for_each_target() -> None:
    report = with_canaries()
    text = rendered("csv", report)
    assert text.startswith("\ufeff")
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    assert len(rows) == len(report["results"]) == text.count("\n") - 1
    assert rows[0]["account"] == report["results"][0]["account"]
    assert rows[0]["id"] == CANARIES[0]


@given(st.sampled_from("=+-@\uff1d\uff0b\uff0d\uff20"), st.sampled_from(["", " ", "\t", "\n"]), st.text(max_size=10))
def test_no_csv_cell_is_a_formula(sign: str, lead: str, rest: str) -> None:
    report = make_report(10)
    for key in ("id", "key_id", "region"):
        report["results"][3][key] = lead + sign + rest
    report["results"][3]["error"]["message"] = lead + sign + rest
    for row in csv.reader(io.StringIO(rendered("csv", report).removeprefix("\ufeff"), newline="")):
        assert not any(cell.lstrip().startswith(sign) for cell in row)


@given(
    st.text(max_size=8), st.sampled_from(";\t|"), st.sampled_from(["", " ", '"', "'", "  \""]),
    st.sampled_from("=+-@\uff1d\uff0b\uff0d\uff20"), st.text(max_size=8),
)  # fmt: skip
def test_nor_is_what_another_list_separator_makes_a_cell(
    before: str, separator: str, lead: str, sign: str, rest: str
) -> None:
    """Where the list separator is ;, a spreadsheet begins a new cell inside of ours."""
    report = make_report(10)
    for key in ("id", "key_id", "region"):
        report["results"][3][key] = f"{before}{separator}{lead}{sign}{rest}"
    for line in rendered("csv", report).splitlines():
        for cell in re.split(r"[;\t|]", line)[1:]:
            assert not cell.lstrip(" \"'").startswith(sign) or cell.lstrip(' "').startswith("'")


# ---- html (without a browser) ----------------------------------------------------------------------------------------


def test_the_page_holds_the_whole_report_as_data() -> None:
    report = with_canaries()
    page = rendered("html", report)
    (data,) = re.findall(r'<script type="application/json" id="report">(.*?)</script>', page, re.DOTALL)
    packed = json.loads(data)["results"]
    assert len(packed["rows"]) == len(report["results"])
    for row, result in zip(packed["rows"], report["results"], strict=True):
        flat = {
            name: packed["tables"][name][value] if name in packed["tables"] else value
            for name, value in zip(packed["fields"], row, strict=True)
        }
        assert flat["id"] == result["id"]
        assert flat["message"] == result["error"]["message"]
        assert flat["request_ids"] == [[e["operation"], e["request_id"]] for e in result["request_ids"]]


def test_hostile_text_makes_no_element_of_the_page() -> None:
    page = etree.HTML(rendered("html", with_canaries()))
    plain = etree.HTML(rendered("html", make_report(40, all_failed=True)))
    assert not page.findall(".//img")
    assert len(page.findall(".//script")) == len(plain.findall(".//script")) == 2
    assert not [e for e in page.iter() if any(str(name).startswith("on") for name in e.attrib)]


# --- the worst news first


@pytest.mark.parametrize("name", ["html", "markdown", "github"])
def test_what_is_grave_stands_before_what_is_frequent(name: str) -> None:
    """One key that holds other material must not be looked for below a thousand denials."""
    report = make_report(1_000)
    for result in report["results"]:
        if result["error"] and result["error"]["code"] == "MaterialNotFound":
            result["error"]["code"] = "AccessDenied"  # the most frequent one, with those that are there
    codes = [result["error"]["code"] for result in report["results"] if result["status"] == "failed"]
    assert codes.count("MaterialMismatch") < codes.count("AccessDenied")
    text = rendered(name, report)
    assert 0 < text.index("MaterialMismatch") < text.index("OutcomeUnknown") < text.index("AccessDenied")


def test_large_numbers_of_the_headline_have_their_commas() -> None:
    assert "partial: 392 of 10,000 targets failed, 196 not attempted, 9,412 OK" in rendered(
        "github", make_report(10_000)
    )
