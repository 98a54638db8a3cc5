"""Older results of commands that make no run: a merge, a rendering, a plan. For runs: test_older_results_of_runs.py."""

from __future__ import annotations

import json

import pytest

from tests.e2e.support import ACCOUNT, Workplace
from tests.faults.support import add_targets
from tests.no_wrong_green.made_reports import RENDERED, good, offline, shards, work
from tests.sandbox_client import Sandbox

__all__ = ["offline", "work"]

OTHER = {
    "a part that is missing": (("r0.json", "nowhere.json"), {}, 3),
    "a part that is no report": (("r0.json", "broken.json"), {}, 3),
    "a part of last month": (("r0.json", "r1.json", "old.json"), {}, 3),
    "an unknown option": (("r0.json", "r1.json", "r2.json", "--no-such-option"), {}, 2),
    "no part": ((), {}, 2),
    "an unknown variable": (("r0.json", "r1.json", "r2.json"), {"BULK_IMPORT_ALOW_STALE": "1"}, 3),
    "a setting that is wrong": (("r0.json", "r1.json", "r2.json", "--config", "nowhere.toml"), {}, 3),
}


@pytest.mark.parametrize("why", OTHER)
@pytest.mark.parametrize("form", ["json", "table", *RENDERED])
def test_a_merge_that_fails_leaves_no_older_result(form: str, why: str, offline: Workplace) -> None:
    """The merge is the last step of a pipeline: its page is what people look at."""
    arguments, environment, code = OTHER[why]
    made = shards()
    for number, one in enumerate(made):
        (offline.folder / f"r{number}.json").write_text(json.dumps(one))
    made[2]["run"]["started_at"] = "2026-02-02T04:30:00Z"
    (offline.folder / "old.json").write_text(json.dumps(made[2]))
    (offline.folder / "broken.json").write_text("{")
    to = ("--format", form, "--output", "whole")
    for _ in range(2):  # the same merge again leaves nothing next to it
        assert offline.call("report", "r0.json", "r1.json", "r2.json", *to).code == 0
    before = {path.name: path.read_bytes() for path in offline.folder.iterdir()}
    assert {name for name in before if "merged" in name} == set()
    assert offline.call("report", *arguments, *to, **environment).code == code
    after = {path.name: path.read_bytes() for path in offline.folder.iterdir()}
    assert not after.keys() & {"whole", "whole.sha256"}
    kept = [data for name, data in after.items() if name.startswith("whole.merged-") and not name.endswith(".sha256")]
    assert kept == ([before["whole"]] if form == "json" else [])


@pytest.mark.parametrize("wrong", [(), ("--no-such-option",), ("--config", "nowhere.toml")])
@pytest.mark.parametrize("output", ["r0.json", "./r0.json", "page.html"])
def test_what_a_report_is_made_from_is_no_older_result(output: str, wrong: tuple[str, ...], offline: Workplace) -> None:
    (offline.folder / "r0.json").write_text(json.dumps(good()))
    assert offline.call("report", "r0.json", "--format", "html", "--output", "page.html").code == 0
    before = {path.name: path.read_bytes() for path in offline.folder.iterdir()}
    result = offline.call("report", "r0.json", "page.html", "--format", "json", "--output", output, *wrong)
    assert result.code in (2, 3)
    assert {path.name: path.read_bytes() for path in offline.folder.iterdir()} == before


def test_a_merge_that_fails_leaves_no_older_result_in_s3(sandbox: Sandbox, work: Workplace) -> None:
    s3 = sandbox.client("s3", None)
    s3.create_bucket(Bucket="older")
    (work.folder / "r0.json").write_text(json.dumps(good()))
    for form, name in (("junit", "junit.xml"), ("json", "whole.json")):
        to = ("--format", form, "--output", f"s3://older/{name}")
        assert work.call("report", "r0.json", *to).code == 0
        assert work.call("report", "nowhere.json", *to).code == 3
    left = {item["Key"] for item in s3.list_objects_v2(Bucket="older").get("Contents", ())}
    assert not left & {"junit.xml", "whole.json"}, left


@pytest.mark.parametrize("form", [*RENDERED, "table"])
def test_no_rendering_takes_the_place_of_a_report(form: str, sandbox: Sandbox, work: Workplace) -> None:
    """A report may be the only proof of what a symmetric key holds (--known), and a rendering keeps no copy of it."""
    add_targets(sandbox, work, 1, specs=("HMAC_256",))
    work.write()
    (work.folder / "theirs.json").write_text(json.dumps(good()))
    (work.folder / "r0.json").write_text(json.dumps(good()))
    before = (work.folder / "theirs.json").read_bytes()
    commands = [("report", "r0.json", "--format", form, "--output", "theirs.json")]
    if form != "table":
        commands += [(name, "manifest.json", "--render", f"{form}=theirs.json") for name in ("run", "status")]
    for command in commands:
        result = work.call(*command)
        assert (result.code, "theirs.json holds a report" in result.stderr) == (2 if form == command[3] else 3, True)
        assert (work.folder / "theirs.json").read_bytes() == before


@pytest.mark.parametrize("output", ["--report", "--journal"])
@pytest.mark.parametrize("read", ["--pkcs11-pin-file", "--vault-jwt-file", "AWS_CONFIG_FILE", "VAULT_CACERT"])
def test_no_output_takes_the_place_of_a_file_that_a_setting_names(read: str, output: str, offline: Workplace) -> None:
    offline.key("alias/any", bytes(range(32)), name="any")
    offline.write()
    (offline.folder / "secret").write_text("1234\n")
    options, environment = ((), {read: "secret"}) if read.isupper() else ((read, "secret"), {})
    before = {path.name: path.read_bytes() for path in offline.folder.iterdir()}
    result = offline.call("run", "manifest.json", output, "secret", *options, **environment)
    assert (result.code, output in result.stderr) == (3, True), result.stderr
    assert {path.name: path.read_bytes() for path in offline.folder.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "environment", "code"),
    [
        (("--no-such-option",), {}, 2),
        (("--only-failed", "nowhere.json"), {}, 3),
        (("--known", "manifest.json"), {}, 3),
        (("--only-id", "nobody"), {}, 3),
        (("--config", "nowhere.toml"), {}, 3),
        (("--format", "xml"), {}, 2),
        (("--shard", "auto"), {}, 2),
        ((), {"BULK_IMPORT_ALLOW_ACCOUNT": ","}, 3),
        ((), {"BULK_IMPORT_ALOW_ACCOUNT": ACCOUNT}, 3),
        ((), {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, 5),
    ],
)
@pytest.mark.parametrize("named_by", ["option", "variable"])
def test_a_plan_that_is_not_made_leaves_no_older_plan(
    sandbox: Sandbox,
    work: Workplace,
    *,
    options: tuple[str, ...],
    environment: dict[str, str],
    code: int,
    named_by: str,
) -> None:
    add_targets(sandbox, work, 1, specs=("HMAC_256",))
    work.write()
    out = ("--out", "plan.json") if named_by == "option" else ()
    variables = {} if out else {"BULK_IMPORT_OUT": "plan.json"}
    assert work.call("plan", "manifest.json", *out, **variables).code == 0
    assert (work.folder / "plan.json").exists()
    assert work.call("plan", "manifest.json", *out, *options, **variables, **environment).code == code
    assert not (work.folder / "plan.json").exists()


def test_what_is_no_plan_is_left_where_the_plan_would_go(offline: Workplace) -> None:
    offline.key("alias/any", bytes(range(32)), name="any")
    offline.write()
    (offline.folder / "report.json").write_text(json.dumps(good()))
    before = {path.name: path.read_bytes() for path in offline.folder.iterdir()}
    for place in ("any.key", "manifest.json", "report.json"):
        assert offline.call("plan", "manifest.json", "--out", place, "--no-such-option").code == 2
        assert offline.call("plan", "manifest.json", "--out", place).code == 3
    assert {path.name: path.read_bytes() for path in offline.folder.iterdir()} == before
