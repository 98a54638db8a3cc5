"""JUnit XML: a suite per lane, a case per target.

There is no standard; this follows the schema of Jenkins's xUnit plugin (junit-10.xsd), which Jenkins, GitLab,
CodeBuild and Azure read: https://github.com/jenkinsci/xunit-plugin/tree/master/src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TextIO
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from bulk_import.report.formats import view

# Outside XML 1.0's Char production: no escape exists for them. https://www.w3.org/TR/xml/#charsets
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(report: Mapping[str, Any], out: TextIO) -> None:
    """Failed targets are failures, with code, message, advice and request IDs; not attempted ones are skipped."""
    run, summary = report["run"], report["summary"]
    wrong = _wrong_with_the_run(report)
    root = Element(
        "testsuites",
        name=text(f"bulk-import {run['run_id']}"),
        time=time(run["duration_seconds"]),
        tests=str(summary["total"] + len(wrong)),
        failures=str(summary["failed"]),
        errors=str(len(wrong)),
    )
    if wrong:
        root.append(_run_suite(run, wrong))
    lanes = {(lane["account"], lane["region"]): lane for lane in report["lanes"]}
    for key, results in view.by_lane(report).items():
        root.append(_suite(run, lanes.get(key, {}), results))
    indent(root)
    out.write('<?xml version="1.0" encoding="UTF-8"?>\n')
    out.write(tostring(root, encoding="unicode"))
    out.write("\n")


def _wrong_with_the_run(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(code, message) of what no single target shows: a view that counts failures only would show a success."""
    run, summary = report["run"], report["summary"]
    found = []
    if run.get("error"):
        found.append((run["error"]["code"], f"{run['error']['message']} {run['error']['advice']}"))
    if run["outcome"] == "interrupted" and not run.get("error"):
        why = ", ".join(run.get("stopped_by") or []) or "it was killed, or is still working"
        found.append(("Interrupted", f"The run did not end normally ({why}). Run it again, or continue with --resume."))
    selected = run.get("selected")
    if selected is not None and not run.get("shard") and summary["total"] < selected:
        count = selected - summary["total"]
        found.append(("Incomplete", f"There is no result of {count:,} of {selected:,} selected targets."))
    return found


def _run_suite(run: Mapping[str, Any], wrong: Sequence[tuple[str, str]]) -> Element:
    """A case for each thing that is wrong with the run itself."""
    suite = Element(
        "testsuite", name="the run", tests=str(len(wrong)), failures="0", errors=str(len(wrong)), skipped="0",
        time=time(run["duration_seconds"]), timestamp=text(run["started_at"]),
    )  # fmt: skip
    for code, message in wrong:
        case = SubElement(suite, "testcase", name=text(code), classname="run", time=time(run["duration_seconds"]))
        error = SubElement(case, "error", type=text(code), message=text(message))
        error.text = text(message)
    return suite


def _suite(run: Mapping[str, Any], lane: Mapping[str, Any], results: list[view.Result]) -> Element:
    account, region = results[0]["account"], results[0]["region"]
    started = min((r["started_at"] for r in results if r["started_at"]), default=run["started_at"])
    suite = Element(
        "testsuite",
        name=text(f"{account}/{region}"),
        tests=str(len(results)),
        failures=str(sum(r["status"] == "failed" for r in results)),
        errors="0",
        skipped=str(sum(r["status"] == "not_attempted" for r in results)),
        time=time(lane.get("duration_seconds")),
        timestamp=text(started),
    )
    properties = SubElement(suite, "properties")
    for name, value in _facts(run, lane):
        SubElement(properties, "property", name=name, value=text(value))
    for result in results:
        suite.append(_case(result))
    return suite


def _facts(run: Mapping[str, Any], lane: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [
        ("run_id", run["run_id"]),
        ("outcome", run["outcome"]),
        ("environment", run["environment"] or "none: no call was made"),
        ("manifest", run["manifest"]["uri"]),
        ("manifest_sha256", run["manifest"]["sha256"]),
    ]
    facts += [(f"quota.{operation}", f"{rate:g}/s") for operation, rate in lane.get("quota", {}).items()]
    facts += [(f"calls.{operation}", str(count)) for operation, count in lane.get("calls", {}).items()]
    facts += [(f"throttled.{operation}", str(count)) for operation, count in lane.get("throttled", {}).items()]
    return facts


def _case(result: view.Result) -> Element:
    # A dot parts package and class in Jenkins's tree: account, then Region.
    case = Element(
        "testcase",
        name=text(result["id"]),
        classname=text(f"{result['account']}.{result['region']}"),
        time=time(view.seconds(result)),
    )
    error = result["error"] or {
        "code": result["status"],
        "message": "",
        "advice": "",
        "operation": None,
        "retryable": False,
    }
    if result["status"] == "not_attempted":
        SubElement(case, "skipped", message=text(f"{error['code']}: {error['message']} {error['advice']}".strip()))
    elif result["status"] == "failed":
        failure = SubElement(case, "failure", type=text(error["code"]), message=text(error["message"]))
        failure.text = text("\n".join(_story(result, error)))
    return case


def _story(result: view.Result, error: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{error['code']}: {error['message']}",
        f"What to do: {error['advice']}",
        f"Key: {result['key_arn'] or result['key_id']}",
        f"Retryable: {'yes' if error['retryable'] else 'no'}",
    ]
    if result["materials"]:
        lines.append(f"Materials: {view.materials(result)}")
    if error["operation"]:
        lines.append(f"Operation: {error['operation']}")
    if result["request_ids"]:
        lines.append(f"Request IDs: {view.request_ids(result)}")
    return lines


def text(value: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", value)


def time(value: float | None) -> str:
    return f"{value or 0:.3f}"
