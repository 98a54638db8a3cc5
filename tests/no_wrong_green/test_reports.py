"""No report, merge, rendering or older file looks better than the run: through the real command line."""

from __future__ import annotations

import copy
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.e2e import materials
from tests.e2e.support import ACCOUNT, Result, Workplace
from tests.faults.forks import Forks
from tests.faults.support import add_targets, wait_until
from tests.formats.make_report import make_report
from tests.no_wrong_green.conftest import Run
from tests.sandbox_client import Sandbox

Document = dict[str, Any]


class Quick(Workplace):
    """Its commands run in processes that need no time to start."""

    forks: Forks

    def call(self, *arguments: str, stdin: bytes | None = None, **environment: str) -> Result:
        assert stdin is None
        return self.forks.run(self.folder, self.environment(**environment), list(arguments))


@pytest.fixture
def offline(tmp_path: Path, forks: Forks) -> Workplace:
    work = Quick(tmp_path, "http://127.0.0.1:9")
    work.forks = forks
    return work


@pytest.fixture
def work(sandbox: Sandbox, tmp_path: Path, forks: Forks) -> Workplace:
    work = Quick(tmp_path, sandbox.url)
    work.forks = forks
    return work


def good(n: int = 12) -> Document:
    """A report of a run that succeeded."""
    report = make_report(n, lanes=3)
    for result in report["results"]:
        result |= {"status": "imported", "changed": True, "error": None}
        result["verification"] = result["verification"] or {
            "verified": True, "reads": 3, "consecutive": 3, "duration_seconds": 4.0, "proof": "hmac",
            "round_trip": None, "detail": "",
        }  # fmt: skip
    report["summary"] |= {"imported": n, "reimported": 0, "unchanged": 0, "failed": 0, "not_attempted": 0}
    report["run"] |= {"outcome": "succeeded", "exit_code": 0}
    return report


def shards(of: int = 3) -> list[Document]:
    full, made = good(), []
    for number in range(of):
        one = copy.deepcopy(full)
        one["lanes"] = one["lanes"][number::of]
        mine = {(lane["account"], lane["region"]) for lane in one["lanes"]}
        one["results"] = [r for r in one["results"] if (r["account"], r["region"]) in mine]
        one["run"] |= {"run_id": f"run-{number}", "shard": f"{number + 1}/{of}"}
        made.append(one)
    return made


def report(work: Workplace, documents: list[Document], *options: str) -> Result:
    names = [f"part-{number}.json" for number in range(len(documents))]
    for name, document in zip(names, documents, strict=True):
        (work.folder / name).write_text(json.dumps(document))
    return work.call("report", *names, *options)


def killed(document: Document) -> None:
    document["run"] |= {"finished_at": None, "exit_code": None, "outcome": "interrupted"}
    document["results"][0] |= {"status": "not_attempted", "changed": False, "verification": None,
                               "error": {"code": "Stopped", "operation": None, "message": "m", "retryable": True,
                                         "advice": "a"}}  # fmt: skip


def nothing_well(document: Document) -> None:
    killed(document)
    for result in document["results"]:
        own = {name: result[name] for name in ("index", "id", "account", "region")}
        result.update(copy.deepcopy(document["results"][0]) | own)


CODES: dict[str, tuple[Callable[[list[Document]], Any], int]] = {
    "all well": (lambda made: None, 0),
    "a shard missing": (lambda made: made.pop(1), 4),
    "one killed": (lambda made: killed(made[1]), 4),
    "all killed, none well": (lambda made: [nothing_well(one) for one in made], 5),
    "one stopped by a signal": (lambda made: (killed(made[1]), made[1]["run"].update(exit_code=143)), 143),
    "a report elsewhere": (lambda made: made[2]["run"].update(exit_code=6), 6),
    "an internal error beside a deadline": (
        lambda made: (made[0]["run"].update(exit_code=7), made[1]["run"].update(exit_code=1)),
        1,
    ),
    "a summary that claims success": (lambda made: killed(made[0]) or made[0]["run"].update(
        finished_at="2026-03-02T04:31:00Z", exit_code=0, outcome="succeeded"), 4),
}  # fmt: skip


@pytest.mark.parametrize("name", CODES)
def test_report_ends_with_the_code_of_what_it_shows(name: str, offline: Workplace) -> None:
    change, expected = CODES[name]
    made = shards()
    change(made)
    assert report(offline, made, "--format", "junit").code == expected


def test_one_report_ends_with_its_own_code(offline: Workplace) -> None:
    one = good()
    assert report(offline, [one]).code == 0
    one["run"]["exit_code"] = 7
    assert report(offline, [one]).code == 7
    killed(one)
    assert report(offline, [one]).code == 4
    nothing_well(one)
    assert report(offline, [one]).code == 5


def failed_in_place(document: Document) -> None:
    """Its status alone says that it is OK."""
    document["results"][0]["error"] = {"code": "X", "operation": None, "message": "m", "retryable": False,
                                       "advice": "a"}  # fmt: skip


def test_a_run_that_has_no_end_or_ended_by_an_error_is_no_success(offline: Workplace) -> None:
    """Its exit code does not count."""
    for change in ({"finished_at": None}, {"error": {"code": "X", "message": "m", "advice": "a"}}):
        one = good()
        one["run"] |= change
        assert report(offline, [one]).code == 4, change
        made = shards()
        made[1]["run"] |= change
        assert report(offline, made).code == 4, change


REFUSED: dict[str, tuple[Callable[[list[Document]], Any], str]] = {
    "last month's shard": (lambda made: made[1]["run"].update(started_at="2026-02-02T04:30:00Z"), "--allow-stale"),
    "a day and a minute": (lambda made: made[2]["run"].update(started_at="2026-03-03T04:31:00Z"), "--allow-stale"),
    "another selection": (
        lambda made: made[1]["run"]["selection"].update(ids=["payments-00001"]), "has another selection"),
    "another manifest": (lambda made: made[2]["run"]["manifest"].update(sha256="0" * 64), "has another manifest"),
    "another environment": (lambda made: made[1]["run"].update(environment="sandbox"), "has another environment"),
    "another sandbox": (
        lambda made: [one["run"].update(environment="sandbox", endpoints={"kms": f"http://127.0.0.1:{at}"})
                      for at, one in enumerate(made)], "has another environment"),
    "another division": (lambda made: made[1]["run"].update(shard="2/4"), "has another number of shards"),
    "a result that was removed": (lambda made: made[0]["results"].pop(), "some are missing"),
    "a result of another run": (lambda made: made[0]["results"].append(made[1]["results"][-1]), "part-0.json too"),
    "an index twice": (lambda made: made[1]["results"][0].update(index=0), "has index 0 too"),
    "an index beyond the selection": (lambda made: made[2]["results"][-1].update(index=10**9), "only 12 were selected"),
    "shard 1/999999999": (lambda made: made[0]["run"].update(shard="1/999999999"), "run.shard"),
    "shard 9/3": (lambda made: made[0]["run"].update(shard="9/3"), "run.shard"),
    "lanes of text": (lambda made: made[0].update(lanes=["x"]), "lanes.0"),
    "runs in runs": (lambda made: made[1]["run"].update(runs=[{"runs": []}]), "run.runs.0"),
    "a verification that is a list": (lambda made: made[1]["results"][0].update(verification=[1]), "verification"),
    "an instant that is none": (lambda made: made[1]["run"].update(started_at="2026-99-01T00:00:00Z"), "started_at"),
    "an instant without an offset": (
        lambda made: made[1]["results"][0].update(started_at="2026-03-02T04:30:00"), "started_at"),
    "a huge number": (lambda made: made[1]["run"].update(duration_seconds=1e300), "duration_seconds"),
    "a huge count": (lambda made: made[1]["results"][0].update(attempts=2**60), "attempts"),
    "an error of a target that is OK": (lambda made: failed_in_place(made[1]), "it has an error"),
    "a target that is OK but not verified": (
        lambda made: made[2]["results"][0]["verification"].update(verified=False), "it was not verified"),
    "deep nesting": (lambda made: made[1]["run"].update(labels=_nested(300)), "part-1.json"),
}  # fmt: skip


def _nested(depth: int) -> Document:
    found: Document = {}
    for _ in range(depth):
        found = {"a": found}
    return found


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_one_run_is_refused(name: str, offline: Workplace) -> None:
    change, says = REFUSED[name]
    made = shards()
    change(made)
    result = report(offline, made, "--format", "json")
    assert (result.code, result.stdout) == (3, b""), result.stderr
    assert says in result.stderr
    assert "part-" in result.stderr


def test_old_results_may_be_allowed(offline: Workplace) -> None:
    made = shards()
    made[1]["run"]["started_at"] = "2026-02-02T04:30:00Z"
    assert report(offline, made, "--allow-stale", "--format", "json").code == 0


DOUBLED: dict[str, tuple[str, str]] = {
    "the status": ('"status":"imported"', '"status":"failed","status":"imported"'),
    "the other way round": ('"status":"imported"', '"status":"imported","status":"failed"'),
    "a verification": ('"verified":true', '"verified":false,"verified":true'),
    "an escaped name": ('"status":"imported"', '"stat\\u0075s":"failed","status":"imported"'),
    "the exit code": ('"exit_code":0', '"exit_code":5,"exit_code":0'),
    "all results": ("\n]\n}\n", '\n],\n"results":[]\n}\n'),
    "the summary": ("\n]\n}\n", '\n],\n"summary":{}\n}\n'),
    "a second document": ("\n]\n}\n", "\n]\n}\n{}\n"),
    "a comma too few": ('"error":null},\n', '"error":null}\n'),
    "results in the line of their name": ('"results":[\n', '"results":[ {"status":"failed"} ,\n'),
}


@pytest.mark.parametrize("name", DOUBLED)
@pytest.mark.parametrize("indented", [False, True])
def test_a_report_that_readers_understand_differently_is_refused(
    name: str, offline: Workplace, *, indented: bool
) -> None:
    """Which of two values with one name counts, RFC 8259 does not say."""
    made = report(offline, [good()], "--format", "json", "--output", "written.json")
    assert made.code == 0, made.stderr
    text = (offline.folder / "written.json").read_text()
    found, instead = DOUBLED[name]
    assert found in text
    text = text.replace(found, instead, 1)
    (offline.folder / "doubled.json").write_text(f" {text}" if indented else text)
    result = offline.call("report", "doubled.json", "--format", "json")
    assert result.code == 3, result.stdout[:500]
    assert "doubled.json" in result.stderr


@pytest.mark.parametrize("text", ["[" * 100_000, '{"schema_version":1,"run":' + "9" * 500 + "}", "{}", "\0" * 64])
def test_a_file_that_is_no_report_is_refused(text: str, offline: Workplace) -> None:
    (offline.folder / "hostile.json").write_text(text)
    result = offline.call("report", "hostile.json")
    assert (result.code, "hostile.json" in result.stderr) == (3, True), result.stderr


@pytest.mark.parametrize("lanes", ["in turn", "one after the other", "at random"])
def test_shards_are_merged_in_manifest_order(lanes: str, offline: Workplace) -> None:
    made = shards()
    results = [entry for one in made for entry in one["results"]]
    if lanes != "in turn":  # which target is of which lane, the manifest decides
        order = list(range(12)) if lanes == "one after the other" else [7, 0, 11, 3, 9, 1, 5, 10, 2, 8, 4, 6]
        for index, entry in zip(order, results, strict=True):
            entry["index"] = index
        for one in made:
            one["results"].sort(key=lambda entry: entry["index"])
    result = report(offline, [made[2], made[0], made[1]], "--format", "json")
    assert [entry["index"] for entry in json.loads(result.stdout)["results"]] == list(range(12))


@pytest.mark.parametrize("name", ["a shard missing", "one killed"])
def test_junit_has_an_error_of_its_own_for_the_run(name: str, offline: Workplace) -> None:
    made = shards()
    CODES[name][0](made)
    suites = etree.fromstring(report(offline, made, "--format", "junit").stdout)
    assert int(suites.get("errors")) == len(suites.findall(".//error")) >= 1
    assert int(suites.get("tests")) == len(suites.findall(".//testcase"))


# --- older results


def finished(work: Workplace) -> dict[str, bytes]:
    """Yesterday's results, where those of the next run will be."""
    yesterday = good()
    (work.folder / "report.json").write_text(json.dumps(yesterday))
    for form, name in RENDERED.items():
        assert work.call("report", "report.json", "--format", form, "--output", name).code == 0
    return {path.name: path.read_bytes() for path in work.folder.iterdir()}


RENDERED = {
    "junit": "junit.xml",
    "html": "report.html",
    "csv": "report.csv",
    "markdown": "report.md",
    "github": "a.txt",
}
ASKED = [word for form, name in RENDERED.items() for word in ("--render", f"{form}={name}")]


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


# --- outputs that would replace inputs


def linked(link: Callable[[Path, Path], None]) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        link(folder / "key-0.key", folder / "link")
        return "link"

    return make


PLACES: dict[str, Callable[[Path], str]] = {
    "key material": lambda _: "key-0.key",
    "the manifest": lambda _: "manifest.json",
    "another way to it": lambda folder: f"../{folder.name}/./manifest.json",
    "a hard link": linked(os.link),
    "a symbolic link": linked(lambda source, link: link.symlink_to(source)),
    "the settings file": lambda _: "settings.toml",
    "the journal": lambda _: "report.journal.jsonl",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("output", ["--report", "--render", "--journal"])
def test_no_output_of_a_run_takes_the_place_of_an_input(
    output: str, place: str, sandbox: Sandbox, work: Workplace, run: Run
) -> None:
    if place == "the journal" and output != "--render":
        return  # the default journal is named after the report
    add_targets(sandbox, work, 1)
    material = next(work.folder.glob("*.key"))
    material.rename(work.folder / "key-0.key")
    work.keys[0]["material"] = "file:key-0.key"
    (work.folder / "settings.toml").write_text('log_level = "info"\n')
    work.write()
    given = PLACES[place](work.folder)
    before = {path.name: path.read_bytes() for path in work.folder.iterdir()}
    value = f"csv={given}" if output == "--render" else given
    result = run("--config", "settings.toml", output, value)
    assert (result.code, output in result.stderr) == (3, True), result.stderr
    assert {path.name: path.read_bytes() for path in work.folder.iterdir()} == before


@pytest.mark.parametrize("form", ["json", "csv", "table"])
def test_no_output_of_report_takes_the_place_of_what_is_not_its_own(form: str, offline: Workplace) -> None:
    secret = materials.make("HMAC_256")
    (offline.folder / "k1.key").write_bytes(secret)
    (offline.folder / "settings.toml").write_text('log_level = "info"\n')
    os.link(offline.folder / "k1.key", offline.folder / "hard")
    (offline.folder / "soft").symlink_to("k1.key")
    for output in ("k1.key", "hard", "soft", "part-0.json", "settings.toml"):
        result = report(offline, [good()], "--format", form, "--output", output, "--config", "settings.toml")
        assert (result.code, output in result.stderr) == (2, True), result.stderr
    assert (offline.folder / "k1.key").read_bytes() == secret


BLANKS = b" \n" * 40_000
HEX = b"5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592"


@pytest.mark.parametrize(
    ("name", "content"),
    [("new.json", BLANKS), ("new.json.sha256", HEX), ("new.json.sha256", b"\x01" * 32), ("new.json.sha256", BLANKS)],
)
@pytest.mark.parametrize("command", ["report", "run"])
def test_what_lies_where_a_result_goes_and_is_none_is_left(
    command: str, name: str, content: bytes, offline: Workplace
) -> None:
    (offline.folder / name).write_bytes(content)
    if command == "report":
        result = report(offline, [good()], "--format", "json", "--output", "new.json")
    else:
        result = offline.call("run", "manifest.json", "--report", "new.json", "--render", f"csv={name}")
    assert (result.code, name in result.stderr) == (2 if command == "report" else 3, True), result.stderr
    assert (offline.folder / name).read_bytes() == content


# --- what cannot be written


def test_a_pipe_without_a_reader_holds_nothing_up(sandbox: Sandbox, work: Workplace) -> None:
    """Each costs ten seconds: a run's report and step summary, and meanwhile a rendering."""
    add_targets(sandbox, work, 1)
    for name in ("report", "summary", "page"):
        os.mkfifo(work.folder / name)
    process = work.start("--report", "report", "--journal", "j.jsonl", GITHUB_STEP_SUMMARY="summary")
    rendered = report(work, [good()], "--format", "csv", "--output", "page")
    assert (rendered.code, "nobody reads from this pipe" in rendered.stderr) == (6, True), rendered.stderr
    result = work.finish(process)
    assert result.code == 6, result.stderr
    assert "nobody reads from this pipe" in result.stderr
    assert "GITHUB_STEP_SUMMARY" in result.stderr


def test_a_run_without_a_caller_has_all_its_renderings(offline: Workplace) -> None:
    """JUnit once needed an environment, and the renderings after it were lost with it."""
    offline.key("alias/one", materials.make("HMAC_256"), name="one")
    result = offline.run(*ASKED, "--retry-timeout", "0")
    assert result.code == 5, result.stderr
    for name in RENDERED.values():
        assert (offline.folder / name).stat().st_size, name
    assert "<error" in (offline.folder / "junit.xml").read_text()


# --- shards without targets


@pytest.mark.parametrize("shard", ["2/2", "9/12", "9999/9999"])
def test_a_shard_without_targets_is_done(shard: str, sandbox: Sandbox, work: Workplace, run: Run) -> None:
    add_targets(sandbox, work, 1)
    result = run("--shard", shard, "--render", "junit=junit.xml")
    assert result.code == 0, result.stderr
    assert (result.report["summary"]["total"], result.report["run"]["selected"]) == (0, 1)
    assert (result.report["run"]["outcome"], result.report["run"]["shard"]) == ("succeeded", shard)
    assert f"shard {shard} has no target" in result.stderr
    for command in (["plan", "manifest.json", "--shard", shard], ["validate", "manifest.json", "--shard", shard]):
        assert work.call(*command).code == 0
    assert work.call("report", "report.json").code == 0


def test_an_empty_shard_is_merged_with_the_others(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    add_targets(sandbox, work, 1)
    for number in (1, 2):
        run("--shard", f"{number}/2", "--report", f"r{number}.json")
    result = work.call("report", "r1.json", "r2.json", "--format", "json")
    assert (result.code, json.loads(result.stdout)["summary"]["total"]) == (0, 1)
    assert ACCOUNT in json.dumps(json.loads(result.stdout)["lanes"])
