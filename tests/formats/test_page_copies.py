"""What people copy from the HTML report: commands, lists and tables, harmless where they are pasted."""

from __future__ import annotations

import csv
import io
import itertools
import shlex
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.formats.make_report import make_report
from tests.formats.tab import browser, written

__all__ = ["browser"]  # a fixture

# One worker starts one browser for all of them. The first start of a browser on a busy machine takes its time.
pytestmark = [pytest.mark.xdist_group("chromium"), pytest.mark.timeout(300)]


def copied(page: Page, button: str) -> str:
    page.bring_to_front()  # only the page in front may write to the clipboard
    page.get_by_role("button", name=button, exact=True).click()
    expect(page.locator("#copied")).to_contain_text("Copied")
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_what_is_shown_can_be_copied(browser: Browser, reports: Any) -> None:
    report, url = reports[1_000]
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(url)
    page.get_by_label("Error code").select_option("ThrottlingException")
    wanted = [r for r in report["results"] if (r["error"] or {}).get("code") == "ThrottlingException"]

    words = shlex.split(copied(page, "Copy command"))
    assert words[:3] == ["bulk-import", "run", report["run"]["manifest"]["uri"]]
    assert set(words[3::2]) <= {"--only-id", "--only-account", "--only-region"}
    assert words[4::2].count(wanted[0]["id"]) == 1
    chosen = [r for r in report["results"] if selected(r, words[3:])]
    assert [r for r in wanted if r not in chosen] == []
    noun = "target" if len(chosen) == 1 else "targets"
    expect(page.locator("#copied")).to_have_text(f"Copied a command that selects {len(chosen)} {noun}.")

    ids = copied(page, "Copy request IDs").split("\n")
    assert sorted(ids) == sorted(entry["request_id"] for r in wanted for entry in r["request_ids"])

    rows = list(csv.DictReader(io.StringIO(copied(page, "Copy CSV"))))
    assert [(row["id"], row["account"], row["region"], row["message"]) for row in rows] == [
        (r["id"], r["account"], r["region"], r["error"]["message"]) for r in wanted
    ]

    page.get_by_role("button", name="Copy command for MaterialNotFound").click()
    lost = {r["id"] for r in report["results"] if (r["error"] or {}).get("code") == "MaterialNotFound"}
    expect(page.locator("#copied")).to_contain_text(f"selects {len(lost)} target")
    words = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    assert {value for option, value in itertools.pairwise(words) if option == "--only-id"} == lost
    context.close()


def selected(result: dict[str, Any], options: list[str]) -> bool:
    """As the command line selects: OR within an option, AND between options."""
    given: dict[str, set[str]] = {}
    for option, value in zip(options[::2], options[1::2], strict=True):
        given.setdefault(option.removeprefix("--only-"), set()).add(value)
    return all(result[name] in values for name, values in given.items())


@pytest.mark.parametrize(
    ("command", "copied_command", "title"),
    [
        ("delete", "delete", "Deletion of key material"),  # never `run`: it would import what was deleted
        ("submit", "prepare", "Key material import by ceremony"),  # `submit` selects no targets
        (None, "run", "Key material import"),  # a report of an earlier version
    ],
)
def test_a_copied_command_is_the_runs_own(
    browser: Browser, tmp_path: Path, command: str | None, copied_command: str, title: str
) -> None:
    report = make_report(10)
    report["run"].pop("command", None)
    if command is not None:
        report["run"]["command"] = command
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(written(report, tmp_path / "page.html"))
    assert page.get_by_role("heading", level=1).inner_text() == title
    assert shlex.split(copied(page, "Copy command"))[:2] == ["bulk-import", copied_command]
    context.close()


def test_what_is_copied_is_harmless_in_a_shell_and_in_a_spreadsheet(browser: Browser, tmp_path: Path) -> None:
    report = make_report(10)
    evil = "'; touch /tmp/pwned; echo '"
    report["run"]["manifest"]["uri"] = evil
    for result in report["results"]:
        if result["status"] == "failed":
            result["id"] = evil
            result["error"]["message"] = '=HYPERLINK("http://x")'
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(written(report, tmp_path / "page.html"))
    page.get_by_label("Status").select_option("failed")
    words = shlex.split(copied(page, "Copy command"))
    assert words[2] == evil
    assert words[3:5] == ["--only-id", evil]
    rows = list(csv.DictReader(io.StringIO(copied(page, "Copy CSV"))))
    assert rows
    assert all(row["message"].startswith("'=") for row in rows)
    context.close()
