"""JUnit XML: a suite per lane, a case per key. One that is not as wanted is a failure, an unreadable one an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from bulk_import.report.formats.inspection import view
from bulk_import.report.formats.junit import text, time
from bulk_import.run.inspected import Standing


def write(found: Mapping[str, Any], out: TextIO) -> None:
    run, summary = found["run"], found["summary"]
    unreadable = summary["unreadable"]
    root = Element(
        "testsuites", name=text(f"bulk-import status {run['run_id']}"), time=time(run["duration_seconds"]),
        tests=str(summary["total"]), failures=str(summary["total"] - summary["as_wanted"] - unreadable),
        errors=str(unreadable),
    )  # fmt: skip
    lanes: dict[str, list[view.Target]] = {}
    for target in found["targets"]:
        lanes.setdefault(view.place(target), []).append(target)
    for name, targets in lanes.items():
        root.append(_suite(run, name, targets))
    indent(root)
    out.write('<?xml version="1.0" encoding="UTF-8"?>\n')
    out.write(tostring(root, encoding="unicode"))
    out.write("\n")


def _suite(run: Mapping[str, Any], name: str, targets: list[view.Target]) -> Element:
    errors = sum(one["state"] == Standing.UNREADABLE for one in targets)
    wanted = sum(one["state"] == Standing.AS_WANTED for one in targets)
    suite = Element(
        "testsuite", name=text(name), tests=str(len(targets)), failures=str(len(targets) - errors - wanted),
        errors=str(errors), skipped="0", time=time(run["duration_seconds"]), timestamp=text(run["started_at"]),
    )  # fmt: skip
    properties = SubElement(suite, "properties")
    facts = {
        "run_id": run["run_id"], "environment": run["environment"] or "none: no call was made",
        "manifest": run["manifest"]["uri"], "manifest_sha256": run["manifest"]["sha256"],
    }  # fmt: skip
    for fact, value in facts.items():
        SubElement(properties, "property", name=fact, value=text(value))
    for target in targets:
        suite.append(_case(target))
    return suite


def _case(target: view.Target) -> Element:
    case = Element(
        "testcase", name=text(target["id"]), classname=text(f"{target['account']}.{target['region']}"), time="0.000"
    )
    if target["state"] != Standing.AS_WANTED:
        kind = "error" if target["state"] == Standing.UNREADABLE else "failure"
        wrong = SubElement(case, kind, type=text(target["state"]), message=text(view.why(target)))
        wrong.text = text(f"{view.why(target)}\nWhat to do: {view.advice(target)}\n"
                          f"Key: {target['key_arn'] or target['key_id']}")  # fmt: skip
    return case
