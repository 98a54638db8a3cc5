"""Older results of runs: they are set aside before anything can end the run. Through the real command line."""

from __future__ import annotations

import json
import signal

import pytest

from tests.e2e import materials
from tests.e2e.support import ACCOUNT, Workplace
from tests.faults.support import add_targets, wait_until
from tests.no_wrong_green.conftest import Run
from tests.no_wrong_green.made_reports import ASKED, RENDERED, good, offline, work
from tests.sandbox_client import Sandbox

__all__ = ["offline", "work"]  # fixtures


def finished(work: Workplace) -> dict[str, bytes]:
    """Yesterday's results, where those of the next run will be."""
    yesterday = good()
    (work.folder / "report.json").write_text(json.dumps(yesterday))
    for form, name in RENDERED.items():
        assert work.call("report", "report.json", "--format", form, "--output", name).code == 0
    return {path.name: path.read_bytes() for path in work.folder.iterdir()}


def nothing_old_is_left(work: Workplace) -> None:
    for name in RENDERED.values():
        assert not (work.folder / name).exists(), name
    assert not (work.folder / "report.json").exists()
    kept = work.folder / f"report.{good()['run']['run_id']}.json"
    assert json.loads(kept.read_bytes())["run"]["outcome"] == "succeeded"


@pytest.mark.parametrize("manifest", ["nowhere.yaml", "broken.yaml", "empty.yaml"])
def test_a_run_that_ends_before_its_first_call_leaves_no_older_result(manifest: str, offline: Workplace) -> None:
    (offline.folder / "broken.yaml").write_text("version: [")
    (offline.folder / "empty.yaml").write_text("version: 1\nkeys: []\n")
    finished(offline)
    assert offline.call("run", manifest, *ASKED).code == 3
    nothing_old_is_left(offline)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "manifest.json", "--report", "circle"),
        ("run", "manifest.json", "--journal", "circle"),
        ("run", "manifest.json", "--report", "circle/report.json"),
        ("run", "manifest.json", "--report", "circle", "--resume"),
        ("run", "manifest.json", "--render", "html=circle/report.html"),
        ("run", "circle.yaml"),
        ("report", "circle"),
        ("report", "good.json", "--output", "circle/report.txt"),
    ],
)
def test_links_that_form_a_circle(arguments: tuple[str, ...], offline: Workplace) -> None:
    offline.key("alias/any", bytes(32), name="any")
    offline.write()
    (offline.folder / "good.json").write_text(json.dumps(good()))
    for name in ("circle", "circle.yaml"):
        (offline.folder / name).symlink_to(name)
    result = offline.call(*arguments, BULK_IMPORT_RETRY_TIMEOUT="0" if arguments[0] == "run" else "")
    assert result.code in (2, 3, 6), result.stderr
    assert "circle" in result.stderr


@pytest.mark.parametrize(
    ("options", "environment", "code"),
    [
        ((), {"BULK_IMPORT_ALOW_ACCOUNT": ACCOUNT}, 3),
        ((), {"BULK_IMPORT_DRY_RUN": "true"}, 3),
        ((), {"BULK_IMPORT_ALLOW_ACCOUNT": ","}, 3),
        (("--reads", "three"), {}, 2),
        (("--shard", "auto"), {}, 2),
        (("--config", "wrong.toml"), {}, 3),
        (("--config", "nowhere.toml"), {}, 3),
        (("--no-such-option",), {}, 2),
        (("--reads",), {}, 2),
        (("second.yaml",), {}, 2),
        (("--prove", "none", "--require-proof"), {}, 2),
        (("--format", "json"), {}, 2),
        (("--render", "xml=a.xml"), {}, 2),
        (("--render", "csv=again.csv"), {}, 2),
        (("--journal", "report.json"), {}, 3),
    ],
)
def test_a_run_whose_settings_are_wrong_leaves_no_older_result(
    options: tuple[str, ...], environment: dict[str, str], code: int, offline: Workplace
) -> None:
    (offline.folder / "wrong.toml").write_text("max_targets = 'many'\n")
    finished(offline)
    assert offline.call("run", "manifest.json", *ASKED, *options, **environment).code == code
    nothing_old_is_left(offline)


def test_places_that_are_not_known_are_left_alone(offline: Workplace) -> None:
    """Other commands, a dry run, and the report's own place if it is wrong."""
    before = finished(offline)
    assert offline.call("plan", "manifest.json", "--no-such-option").code == 2
    assert offline.call("run", "--help").code == 0
    assert offline.call("run", "manifest.json", "--report", "s3://UPPER").code == 2
    assert offline.call("run", "manifest.json", "--dry-run", "--no-such-option").code == 2
    assert offline.call("run", "manifest.json", "--dry-run", "--reads", "three").code == 2
    assert {path.name: path.read_bytes() for path in offline.folder.iterdir()} == before


def test_a_run_that_ends_before_its_first_call_leaves_no_older_result_in_s3(sandbox: Sandbox, work: Workplace) -> None:
    s3 = sandbox.client("s3", None)
    s3.create_bucket(Bucket="older")
    yesterday = json.dumps(good()).encode()
    run_id = good()["run"]["run_id"]
    s3.put_object(Bucket="older", Key="report.json", Body=yesterday, Metadata={"run-id": run_id})
    s3.put_object(Bucket="older", Key="junit.xml", Body=b"<testsuites/>", Metadata={"run-id": run_id})
    s3.put_object(Bucket="older", Key="page.html", Body=b"somebody else's")
    places = ("--report", "s3://older/report.json", "--render", "junit=s3://older/junit.xml",
              "--render", "html=s3://older/page.html")  # fmt: skip
    assert work.call("run", "nowhere.yaml", *places).code == 3
    kept = f"report.{run_id}.json"
    assert [item["Key"] for item in s3.list_objects_v2(Bucket="older")["Contents"]] == ["page.html", kept]
    assert s3.get_object(Bucket="older", Key=kept)["Body"].read() == yesterday


def test_a_run_that_is_killed_leaves_no_older_result(sandbox: Sandbox, work: Workplace) -> None:
    key = sandbox.key(key_spec="HMAC_256")
    work.key(key["key_id"], materials.make("HMAC_256"), name="one")
    finished(work)
    sandbox.fault("hang", operation="DescribeKey")
    process = work.start(*ASKED)
    journal = work.folder / "report.journal.jsonl"
    wait_until(lambda: journal.exists() and b'"caller"' in journal.read_bytes(), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    sandbox.reset()  # ends the call that hangs
    nothing_old_is_left(work)


def test_a_dry_run_touches_no_older_result(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    add_targets(sandbox, work, 1)
    before = finished(work)
    assert run("--dry-run").code == 0
    assert {name: (work.folder / name).read_bytes() for name in before} == before


@pytest.mark.parametrize("name", ["BULK_IMPORT_DRY_RUN", "BULK_IMPORT_YES"])
def test_what_only_an_option_may_say_has_no_variable(name: str, offline: Workplace) -> None:
    result = offline.call("run", "manifest.json", **{name: "true"})
    assert (result.code, name in result.stderr) == (3, True)
