"""The HTML report in a real Chromium: quiet, alone, usable by mouse, keyboard and screen reader, at any size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from bulk_import.codes import GRAVE
from tests.formats.conftest import SIZES
from tests.formats.make_report import make_report
from tests.formats.tab import AXE, Tab, browser, found, written

__all__ = ["browser"]  # a fixture

# One worker starts one browser for all of them. The first start of a browser on a busy machine takes its time.
pytestmark = [pytest.mark.xdist_group("chromium"), pytest.mark.timeout(300)]


# ---- at every size ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
def test_the_page_opens_without_a_word_or_a_request(browser: Browser, reports: Any, n: int) -> None:
    report, url = reports[n]
    with Tab(browser, url) as page:
        found(page, n, n)
        for status in ("imported", "reimported", "unchanged", "failed", "not_attempted"):
            expect(page.locator(f"button[data-status={status}] .number")).to_have_text(f"{report['summary'][status]:,}")
        assert page.locator("#rows tbody tr").count() == min(n, 25)
        assert page.locator("#lane-rows tbody tr").count() == min(len(report["lanes"]), 12)
        first = page.locator("#rows tbody tr").first
        expect(first).to_contain_text("failed")
        expect(first).to_contain_text(next(r["id"] for r in report["results"] if r["status"] == "failed"))


@pytest.mark.parametrize("n", SIZES)
def test_filter_and_search_find_what_the_report_holds(browser: Browser, reports: Any, n: int) -> None:
    report, url = reports[n]
    results = report["results"]
    failed = [r for r in results if r["status"] == "failed"]
    one = failed[-1]
    with Tab(browser, url) as page:
        page.get_by_label("Status").select_option("failed")
        found(page, len(failed), n)
        page.get_by_label("Error code").select_option(one["error"]["code"])
        found(page, sum(r["error"]["code"] == one["error"]["code"] for r in failed), n)
        page.get_by_role("button", name="Clear filters").click()
        found(page, n, n)
        page.get_by_label("Account").select_option(one["account"])
        page.get_by_label("Region").select_option(one["region"])
        lane = [r for r in results if (r["account"], r["region"]) == (one["account"], one["region"])]
        found(page, len(lane), n)
        page.get_by_role("button", name="Clear filters").click()
        page.get_by_label("Search").fill(one["request_ids"][-1]["request_id"].upper())
        found(page, 1, n)
        expect(page.locator("#rows tbody tr")).to_contain_text(one["id"])
        page.get_by_label("Search").fill(f"{one['region']} {one['id']}")
        found(page, 1, n)
        page.get_by_label("Search").fill("no such target")
        expect(page.locator("#found")).to_contain_text("nothing matches")
        assert page.locator("#rows tbody tr").count() == 0


@pytest.mark.parametrize("n", SIZES)
def test_the_keyboard_alone_leads_to_a_failures_advice(browser: Browser, reports: Any, n: int) -> None:
    report, url = reports[n]
    failed = next(r for r in report["results"] if r["status"] == "failed")
    with Tab(browser, url) as page:
        keys = page.keyboard
        keys.press("Tab")
        expect(page.get_by_role("link", name="Skip to the targets")).to_be_focused()
        keys.press("Enter")
        keys.press("Tab")
        expect(page.get_by_label("Search")).to_be_focused()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        keys.type(failed["id"])
        found(page, 1, n)
        control = page.get_by_role("button", name=failed["id"], exact=True)
        for _ in range(16):
            keys.press("Tab")
            if control.evaluate("(element) => element === document.activeElement"):
                break
        expect(control).to_have_attribute("aria-expanded", "false")
        keys.press("Enter")
        expect(control).to_have_attribute("aria-expanded", "true")
        detail = page.locator("tr.detail")
        expect(detail).to_contain_text(failed["error"]["advice"].replace("`", ""))
        expect(detail).to_contain_text(failed["error"]["message"])
        for entry in failed["request_ids"]:
            expect(detail).to_contain_text(entry["request_id"])
        keys.press("Space")
        expect(detail).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("n", SIZES)
def test_axe_finds_nothing(browser: Browser, reports: Any, n: int, scheme: str) -> None:
    with Tab(browser, reports[n][1], scheme=scheme) as page:
        page.locator("#rows .disclosure").first.click()
        assert_accessible(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_a_telephone_in_the_sandbox(browser: Browser, tmp_path: Path, scheme: str) -> None:
    url = written(make_report(60, environment="sandbox", interrupted=True), tmp_path / "page.html")
    with Tab(browser, url, scheme=scheme, width=380) as page:
        page.locator("#rows .disclosure").first.click()
        assert_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 380


def assert_accessible(page: Page) -> None:
    page.evaluate(AXE)
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert len(result["passes"]) > 20
    found = [(v["id"], v["help"], [node["target"] for node in v["nodes"]][:3]) for v in result["violations"]]
    assert found == []


# ---- parts of the page -----------------------------------------------------------------------------------------------


def test_ten_thousand_targets_are_turned_page_by_page(browser: Browser, reports: Any) -> None:
    report, url = reports[10_000]
    with Tab(browser, url) as page:
        pages = page.get_by_role("navigation", name="Pages of targets")
        expect(pages).to_contain_text("Page 1 of 400")
        pages.get_by_role("button", name="Last").press("Enter")
        expect(pages).to_contain_text("Page 400 of 400")
        expect(pages.get_by_role("button", name="Previous")).to_be_focused()  # `Last` is spent, focus is not lost
        pages.get_by_label("Targets per page").select_option("500")
        expect(pages).to_contain_text("Page 1 of 20")
        assert page.locator("#rows tbody tr").count() == 500
        page.get_by_label("Order").select_option("manifest")
        expect(page.locator("#rows tbody th").first).to_contain_text(report["results"][0]["id"])


def test_a_cause_a_count_a_lane_and_a_day_lead_to_their_targets(browser: Browser, reports: Any) -> None:
    report, url = reports[1_000]
    results = report["results"]
    with Tab(browser, url) as page:
        page.locator("button.link[data-code=OutcomeUnknown]").click()
        found(page, sum(r["error"] is not None and r["error"]["code"] == "OutcomeUnknown" for r in results), 1_000)
        expect(page.locator("#targets")).to_be_focused()

        counter = page.locator("button[data-status=reimported]")
        counter.click()
        found(page, report["summary"]["reimported"], 1_000)
        expect(counter).to_have_attribute("aria-pressed", "true")
        counter.click()
        found(page, 1_000, 1_000)

        page.locator("#lane-rows button").first.click()
        found(page, worst_lane(report)["targets"], 1_000)

        day = min(r["valid_to"] for r in results if r["valid_to"])[:10]
        due = sum((r["valid_to"] or "").startswith(day) for r in results)
        expect(page.locator("#expiry-story")).to_contain_text("first on 6 March 2026")
        page.get_by_role("button", name=f"6 March 2026: {due} targets expire").click()
        found(page, due, 1_000)


def trouble(report: dict[str, Any], lane: dict[str, Any]) -> tuple[int, int, float]:
    """Failures, throttled calls, duration: by what the lanes are ordered."""
    place = (lane["account"], lane["region"])
    failed = sum(r["status"] == "failed" and (r["account"], r["region"]) == place for r in report["results"])
    return failed, sum(lane["throttled"].values()), lane["duration_seconds"]


def worst_lane(report: dict[str, Any]) -> dict[str, Any]:
    return max(report["lanes"], key=lambda lane: trouble(report, lane))


def test_lanes_with_failures_come_first_then_those_that_were_throttled(browser: Browser, tmp_path: Path) -> None:
    report = make_report(1_000, lanes=12)
    for result in report["results"]:
        if result["status"] == "failed" and result["region"] != "us-east-1":
            result |= {"status": "imported", "error": None}
    ordered = sorted(report["lanes"], key=lambda lane: trouble(report, lane), reverse=True)
    failing, throttled = (sum(bool(trouble(report, lane)[part]) for lane in ordered) for part in (0, 1))
    assert 0 < failing < 12
    assert 0 < throttled < 12
    with Tab(browser, written(report, tmp_path / "page.html")) as page:
        heads = page.locator("#lane-rows tbody th")
        for place, lane in enumerate(ordered):
            expect(heads.nth(place)).to_contain_text(lane["account"])
            expect(heads.nth(place)).to_contain_text(lane["region"])
        story = page.locator("#lanes-story")
        expect(story).to_contain_text(f"{failing} with failures, {throttled} with throttled calls")


def test_grave_causes_come_first_with_every_key(browser: Browser, reports: Any) -> None:
    report, url = reports[1_000]
    failed = [r for r in report["results"] if r["status"] == "failed"]
    grave = [r for r in failed if r["error"]["code"] in GRAVE]
    with Tab(browser, url) as page:
        part = page.locator("#grave")
        expect(part.locator("h2")).to_have_text(f"Do not use these {len(grave)} keys until you know why")
        for result in grave:
            expect(part).to_contain_text(result["key_arn"])
        named = set(page.locator("#causes button.link").all_inner_texts())
        assert named == {r["error"]["code"] for r in report["results"] if r["error"]} - set(GRAVE)
        assert page.locator("#causes tbody tr").count() == len(named)
        above, below = (page.locator(name).bounding_box() for name in ("#grave", "#failures"))
        assert above is not None
        assert below is not None
        assert above["y"] < below["y"]


def test_a_run_without_failures_has_no_causes(browser: Browser, tmp_path: Path) -> None:
    report = make_report(10)
    for result in report["results"]:
        result |= {"status": "imported", "error": None}
    with Tab(browser, written(report, tmp_path / "page.html")) as page:
        expect(page.locator("#grave")).to_have_count(0)
        expect(page.locator("#failures")).to_have_count(0)


def test_unproved_is_a_filter(browser: Browser, reports: Any) -> None:
    report, url = reports[1_000]
    failed = next(r for r in report["results"] if r["status"] == "failed")
    with Tab(browser, url) as page:
        page.get_by_label("Status").select_option("unproved")
        found(page, report["summary"]["unproved"], 1_000)
        expect(page.locator("#rows tbody")).not_to_contain_text(failed["id"])
        page.get_by_role("button", name="Clear filters").click()
        page.locator("button.count.unproved").click()
        found(page, report["summary"]["unproved"], 1_000)


def test_each_status_has_one_colour_everywhere(browser: Browser, reports: Any) -> None:
    colour = "(e, part) => getComputedStyle(e)[part]"
    seen = {}
    for scheme in ("light", "dark"):
        with Tab(browser, reports[1_000][1], scheme=scheme) as page:
            for status in ("imported", "reimported", "unchanged", "failed", "not_attempted"):
                page.get_by_label("Status").select_option(status)
                cell = page.locator(f"#rows td.status.{status} .icon").first.evaluate(colour, "color")
                count = page.locator(f".count.{status} .icon").evaluate(colour, "color")
                share = page.locator(f".share rect.{status}").evaluate(colour, "fill")
                assert cell == count == share
                strips = page.locator(f".strip rect.{status}")
                if strips.count():
                    assert strips.first.evaluate(colour, "fill") == cell
                width = page.locator(f".share rect.{status}").bounding_box()
                assert width is not None
                assert width["width"] > 5
                seen[scheme, status] = cell
    assert len(set(seen.values())) == len(seen)


def test_backticks_are_code(browser: Browser, tmp_path: Path) -> None:
    report = make_report(10)
    for result in report["results"]:
        if result["status"] == "failed":
            result["error"] |= {
                "code": "MaterialNotFound",
                "message": "no `<b>x</b>` and a lone `",
                "advice": "See `a<b`.",
            }
    with Tab(browser, written(report, tmp_path / "page.html")) as page:
        row = page.locator("#causes tbody tr").first
        assert row.locator("code").all_inner_texts() == ["a<b", "<b>x</b>"]
        expect(row).to_contain_text("and a lone `")
        assert page.locator("#rows td.what code").first.inner_text() == "<b>x</b>"


def test_the_filter_is_part_of_the_address(browser: Browser, reports: Any) -> None:
    report, url = reports[1_000]
    with Tab(browser, url + "#status=failed&code=nonsense&code=MaterialMismatch") as page:
        expect(page.get_by_label("Status")).to_have_value("failed")
        page.get_by_label("Error code").select_option("MaterialMismatch")
        address = page.evaluate("location.href")
    with Tab(browser, address) as page:
        found(page, sum((r["error"] or {}).get("code") == "MaterialMismatch" for r in report["results"]), 1_000)


def test_the_lanes_show_the_pacing(browser: Browser, reports: Any) -> None:
    report, url = reports[10_000]
    longest = max(report["lanes"], key=lambda lane: lane["duration_seconds"])
    calls = longest["calls"]["GetParametersForImport"]
    lane = worst_lane(report)
    mine = [r for r in report["results"] if (r["account"], r["region"]) == (lane["account"], lane["region"])]
    imports = sum(bool(r["attempts"]) for r in mine)
    failures = sum(r["status"] == "failed" for r in mine)
    with Tab(browser, url) as page:
        said = f"allows no less than 3 min {calls - 1 - 180} s for {calls} calls"
        expect(page.locator("#lanes-story")).to_contain_text(said)
        strip = page.locator("#lane-rows td.strip svg").first
        label = strip.get_attribute("aria-label") or ""
        head, rate, tail = re.fullmatch(r"(Pacing: .*), (\d\.\d\d)/s (.*)", label).groups()  # type: ignore[union-attr]  # it matches
        assert (head, tail) == (f"Pacing: {imports} imports", f"(quota 1/s); {failures} failures")
        # One import per 1.045 s, less the failures. The last verification takes seconds and is not counted.
        assert 0.85 <= float(rate) <= 1
        # A quota of one per second: in four-second slices, most columns are near the dashed line and none is far above.
        line = float(strip.locator("line.quota").get_attribute("y1"))
        tops = [float(bar.get_attribute("y")) for bar in strip.locator("rect.sent").all()]
        assert len(tops) > 60
        assert all(top >= line - 6 for top in tops)
        assert sum(top <= line + 6 for top in tops) >= 0.75 * len(tops)
        assert strip.locator("rect.failed").count() >= failures - 4


@pytest.mark.parametrize("environment", ["custom", "sandbox"])
def test_banners_tell_what_the_numbers_do_not(browser: Browser, tmp_path: Path, environment: str) -> None:
    report = make_report(10, environment=environment, interrupted=True)
    with Tab(browser, written(report, tmp_path / "page.html")) as page:
        banners = page.locator(".banner:visible")
        expect(banners.first).to_contain_text("Not AWS")
        expect(banners.first).to_be_in_viewport()
        expect(page.locator("main .banner:visible").first).to_contain_text("Interrupted")
        expect(banners.last).to_contain_text("Not AWS")
        assert "Interrupted" in page.locator(".outcome").inner_text() + page.title().capitalize()


def test_paper_gets_the_content_without_the_controls(browser: Browser, reports: Any) -> None:
    with Tab(browser, reports[10][1], scheme="dark") as page:
        page.emulate_media(media="print")
        expect(page.locator("#filters")).to_be_hidden()
        expect(page.locator("#failures")).to_be_visible()
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"


def test_without_javascript_the_causes_are_still_there(browser: Browser, reports: Any) -> None:
    report, url = reports[10]
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    expect(page.locator("noscript .banner")).to_be_visible()
    failed = next(r for r in report["results"] if r["status"] == "failed")
    expect(page.locator("#failures")).to_contain_text(failed["error"]["advice"].replace("`", ""))
    context.close()
