"""Every printed file: real options and variables, one version, no readable secret, each exit code distinguished."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bulk_import import __version__, cli, settings
from bulk_import.templates import FILES, template
from tests.faults.forks import Forks

NAMES = sorted(FILES)
FLEETS = {"github-actions-matrix", "gitlab-matrix", "aws-batch-array", "kubernetes-indexed", "slurm"}
STANDBY = {"github-actions-standby", "gitlab-standby"}
NIGHTLY = {"github-actions-nightly", "gitlab-nightly"}  # they import nothing
RUNS = set(NAMES) - FLEETS - STANDBY - NIGHTLY - {"container"}  # one run, on one machine
PREFIX = "BULK_IMPORT_"


class CloudFormation(yaml.SafeLoader):
    """Its short forms (`!Ref`) read as what they stand for."""


CloudFormation.add_multi_constructor("!", lambda loader, tag, node: {tag: loader.construct_scalar(node)})  # type: ignore[no-untyped-call]  # PyYAML's stubs


def documents(name: str) -> list[Any]:
    return list(yaml.load_all(template(name), CloudFormation))


def nodes(value: Any) -> Any:
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from nodes(child)


def variables(name: str) -> dict[str, str]:
    """The BULK_IMPORT_* variables that the file sets, however the engine writes them."""
    text = template(name)
    found = dict(re.findall(rf"({PREFIX}\w+)\s*[:=]\s*'?\"?([^\s'\"\\]+)", text))
    found |= dict(re.findall(rf"[Nn]ame: ({PREFIX}\w+)\n\s+[Vv]alue: (?:!Sub )?\"?([^\s\"]+)", text))
    return {variable: value.replace("${Reports}", "reports") for variable, value in found.items()}


# --- what is asked of the program


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_is_a_setting_with_a_good_value(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    named = set(re.findall(rf"{PREFIX}[A-Z_]*[A-Z]", template(name)))
    given = variables(name)
    assert given
    assert named == given.keys(), "a variable that is named and not set, or not read by this test"
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    loaded = settings.load()
    assert all(getattr(loaded, variable.removeprefix(PREFIX).lower()) is not None for variable in given)


def calls(text: str) -> list[tuple[str, str]]:
    """(command, the rest of its line) of every call of the program, in comments too."""
    joined = re.sub(r"\\\n\s*(?:#\s*)?", "", text)
    found = re.findall(r"bulk-import(?::[\w.]+)? ([a-z]+)\b([^|>;`\n]*)", joined)
    return [(command, rest) for command, rest in found if command in cli.COMMANDS]


@pytest.mark.parametrize("name", NAMES)
def test_every_option_is_one_of_its_command(name: str) -> None:
    assert calls(template(name))
    for command, rest in calls(template(name)):
        groups = importlib.import_module(f"bulk_import.commands.{command}").GROUPS
        known = {settings.flag_of(field) for field in settings.fields(*groups)}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known, (command, rest)


def test_the_options_are_seen() -> None:
    """What the test above rests on."""
    assert ("plan", " keys.yaml --detailed-exitcode --format json ") in calls(template("codebuild"))
    assert ("iam", " keys.yaml --format cloudformation-caller") in calls(template("kubernetes"))
    assert ("run", " keys.yaml") in calls(template("container"))


@pytest.mark.parametrize("name", NAMES)
def test_the_version_is_this_one(name: str) -> None:
    text = template(name)
    assert "@VERSION@" not in text
    assert f"bulk-import {__version__}" in "".join(text.splitlines()[:2])
    assert all(pin == __version__ for pin in re.findall(r"bulk-import==([\w.]+?)(?=[\\'\s])", text))


def test_the_command_prints_it(forks: Forks, tmp_path: Path) -> None:
    for name in NAMES:
        done = forks.run(tmp_path, os.environ, ["template", name])
        assert (done.code, done.stdout.decode(), done.stderr) == (0, template(name), "")
    wrong = forks.run(tmp_path, os.environ, ["template", "travis"])
    assert wrong.code == 2
    assert "kubernetes" in wrong.stderr


# --- secrets


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_on_a_command_line_and_no_stored_keys(name: str) -> None:
    text = template(name)
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("#", "//")))
    assert not re.search(r"\$\{?PAYMENTS_KEY", code), "a shell would show it in its process list or trace"
    assert not re.search(r"AWS_SECRET_ACCESS_KEY|aws_secret|AKIA[A-Z0-9]{16}|aws-access-key-id", text)
    assert "set -x" not in text


def test_material_comes_from_the_engines_secret_store() -> None:
    assert "PAYMENTS_KEY: ${{ secrets.PAYMENTS_KEY }}" in template("github-actions")
    assert "PAYMENTS_KEY = credentials('payments-key')" in template("jenkins")
    assert "PAYMENTS_KEY" not in yaml.safe_load(template("gitlab"))["variables"]  # a CI/CD variable of the project
    by_name = {each.get("Name"): each for each in nodes(documents("codebuild")) if isinstance(each, dict)}
    assert by_name["PAYMENTS_KEY"]["Type"] == "SECRETS_MANAGER"
    job = documents("aws-batch")[0]["Resources"]["Job"]["Properties"]["ContainerProperties"]
    assert [secret["Name"] for secret in job["Secrets"]] == ["PAYMENTS_KEY"]
    assert "PAYMENTS_KEY" not in json.dumps(job["Environment"])
    kubernetes = {each.get("name"): each for each in nodes(documents("kubernetes")) if isinstance(each, dict)}
    assert kubernetes["PAYMENTS_KEY"]["valueFrom"].keys() == {"secretKeyRef"}
    assert "PAYMENTS_KEY" not in re.sub(r"^#.*$", "", template("container"), flags=re.MULTILINE)


# --- one run at a time, an approval, the report in every case


def test_one_run_at_a_time() -> None:
    github = yaml.safe_load(template("github-actions"))
    assert github["concurrency"] == {"group": "bulk-import-keys", "cancel-in-progress": False}
    assert yaml.safe_load(template("gitlab"))[".aws"]["resource_group"] == "bulk-import-keys"
    assert "disableConcurrentBuilds()" in template("jenkins")
    assert documents("codebuild")[0]["Resources"]["Project"]["Properties"]["ConcurrentBuildLimit"] == 1
    batch = documents("aws-batch")[0]["Resources"]
    assert batch["Compute"]["Properties"]["ComputeResources"]["MaxvCpus"] == 1
    needs = batch["Job"]["Properties"]["ContainerProperties"]["ResourceRequirements"]
    assert {"Type": "VCPU", "Value": "1"} in needs
    assert documents("kubernetes")[3]["spec"]["concurrencyPolicy"] == "Forbid"


def test_the_report_is_kept_whatever_the_end() -> None:
    job = yaml.safe_load(template("github-actions"))["jobs"]["import"]
    upload = job["steps"][-1]
    assert upload["if"] == "always()"
    assert job["steps"][-3]["env"]["BULK_IMPORT_REPORT"].startswith(upload["with"]["path"])
    gitlab = yaml.safe_load(template("gitlab"))["import"]
    assert gitlab["artifacts"]["when"] == "always"
    assert gitlab["variables"]["BULK_IMPORT_REPORT"].startswith(gitlab["artifacts"]["paths"][0])
    after = template("jenkins").split("stage('Import')")[1].split("post {")[1]
    assert after.lstrip().startswith("always {")
    assert "archiveArtifacts artifacts: 'out/**'" in after
    spec = yaml.safe_load(documents("codebuild")[0]["Resources"]["Project"]["Properties"]["Source"]["BuildSpec"])
    assert spec["artifacts"]["files"] == ["out/**/*"]
    assert variables("codebuild")["BULK_IMPORT_REPORT"] == "out/report.json"
    assert variables("aws-batch")["BULK_IMPORT_REPORT"] == "s3://reports/report.json"
    pod = documents("kubernetes")[3]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    kept = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "reports"}
    assert kept == {os.path.dirname(variables("kubernetes")["BULK_IMPORT_REPORT"])}  # noqa: PTH120 - a path of the pod


@pytest.mark.parametrize("name", sorted(RUNS))
def test_the_page_is_kept_beside_the_report(name: str) -> None:
    """For the person who is called when the run is red."""
    given = variables(name)
    pages = [path for form, _, path in (each.partition("=") for each in given["BULK_IMPORT_RENDER"].split(","))
             if form == "html"]  # fmt: skip
    assert pages == [given["BULK_IMPORT_REPORT"].replace(".json", ".html")]


def test_the_engines_own_view_of_tests_has_the_targets() -> None:
    assert "junit=out/junit.xml" in variables("gitlab")["BULK_IMPORT_RENDER"]
    assert yaml.safe_load(template("gitlab"))["import"]["artifacts"]["reports"] == {"junit": "out/junit.xml"}
    assert "junit=out/junit.xml" in variables("jenkins")["BULK_IMPORT_RENDER"]
    assert "junit testResults: 'out/junit.xml'" in template("jenkins").split("stage('Import')")[1].split("post {")[1]


def test_the_batch_job_may_write_its_bucket_and_no_other() -> None:
    """What a report in S3 needs as the README says: read, write, and distinguish a missing object from a denied one."""
    resources = documents("aws-batch")[0]["Resources"]
    [policy] = resources["JobRole"]["Properties"]["Policies"]
    granted = {
        (action, json.dumps(statement["Resource"]))
        for statement in policy["PolicyDocument"]["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
        if action.startswith("s3:")
    }
    objects, bucket = json.dumps({"Sub": "${Reports.Arn}/*"}), json.dumps({"GetAtt": "Reports.Arn"})
    assert granted == {
        ("s3:GetObject", objects), ("s3:PutObject", objects), ("s3:DeleteObject", objects), ("s3:ListBucket", bucket),
    }  # fmt: skip
    assert resources["Reports"]["DeletionPolicy"] == "Retain"


@pytest.mark.parametrize("name", ["github-actions", "gitlab", "jenkins"])
def test_a_person_stands_between_plan_and_import(name: str) -> None:
    text = template(name)
    assert text.index("--detailed-exitcode") < text.index("bulk-import run")
    if name == "github-actions":
        assert text.index("--out plan.json") < text.index('bulk-import run "$MANIFEST" --plan plan.json')
    if name == "github-actions":
        jobs = yaml.safe_load(text)["jobs"]
        assert jobs["import"]["if"] == "needs.plan.outputs.exit-code == '10'"
        assert jobs["import"]["environment"] == "key-import"
    elif name == "gitlab":
        jobs = yaml.safe_load(text)
        assert jobs["plan"]["allow_failure"] == {"exit_codes": [10]}
        assert jobs["import"]["rules"][0]["when"] == "manual"
    else:
        assert "code == 10" in text
        assert text.index("stage('Plan')") < text.index("input {") < text.index("stage('Import')")


@pytest.mark.parametrize("name", sorted(RUNS))
def test_exit_codes_are_told_apart(name: str) -> None:
    text = template(name)
    for code in ("4", "5", "7"):
        assert re.search(rf"(?<![\d.]){code}(?=[ ),\]|:]| the)", text), code
    assert "143" in text


def test_batch_engines_start_again_only_what_was_stopped() -> None:
    rules = documents("kubernetes")[3]["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    fails = next(rule["onExitCodes"] for rule in rules if rule["action"] == "FailJob")
    assert fails["operator"] == "In"
    assert fails["values"] == [1, 2, 3, 4, 5, 6, 7]
    retry = documents("aws-batch")[0]["Resources"]["Job"]["Properties"]["RetryStrategy"]["EvaluateOnExit"]
    assert [(rule.get("OnExitCode", "*"), rule["Action"]) for rule in retry] == [("143", "RETRY"), ("*", "EXIT")]


# --- time


def seconds(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m|h)", text).groups()  # type: ignore[union-attr]  # it fails loudly
    return int(number) * {"s": 1, "m": 60, "h": 3600}[unit]


# Seconds that the engine leaves between its first signal and the end; and that it lets a job take.
LEAVES = {"github-actions": 10, "jenkins": 20, "kubernetes": 60, "aws-batch": 30, "codebuild": 60, "gitlab": 60}


@pytest.mark.parametrize("name", sorted(LEAVES))
def test_grace_and_deadline_fit_into_the_engines_time(name: str) -> None:
    given = variables(name)
    limits = {
        "github-actions": lambda: yaml.safe_load(template(name))["jobs"]["import"]["timeout-minutes"] * 60,
        "gitlab": lambda: seconds(yaml.safe_load(template(name))["import"]["timeout"]),
        "jenkins": lambda: int(re.findall(r"timeout\(time: (\d+), unit: 'MINUTES'", template(name))[-1]) * 60,
        "codebuild": lambda: documents(name)[0]["Resources"]["Project"]["Properties"]["TimeoutInMinutes"] * 60,
        "aws-batch": lambda: documents(name)[0]["Resources"]["Job"]["Properties"]["Timeout"]["AttemptDurationSeconds"],
        "kubernetes": lambda: documents(name)[3]["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"],
    }
    grace, deadline = seconds(given["BULK_IMPORT_GRACE"]), seconds(given["BULK_IMPORT_DEADLINE"])
    assert grace < LEAVES[name]
    assert deadline + grace + 60 < limits[name]()


def test_the_pods_grace_is_the_one_above() -> None:
    pod = documents("kubernetes")[3]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == LEAVES["kubernetes"]


# --- pins and rights


@pytest.mark.parametrize(("name", "actions"), [
    ("github-actions", 9), ("github-actions-matrix", 8), ("github-actions-standby", 4),
])  # fmt: skip
def test_actions_are_pinned_by_commit(name: str, actions: int) -> None:
    uses = re.findall(r"uses: (\S+)(.*)", template(name))
    assert len(uses) == actions
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action, _ in uses)
    assert all(re.fullmatch(r"\s+# v\d+\.\d+\.\d+", version) for _, version in uses)


@pytest.mark.parametrize("name", ["github-actions", "github-actions-standby"])
def test_jobs_have_the_least_permissions(name: str) -> None:
    workflow = yaml.safe_load(template(name))
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"] == {"contents": "read", "id-token": "write"}


@pytest.mark.parametrize("name", ["kubernetes", "kubernetes-indexed", "jenkins"])
def test_images_are_named_by_digest(name: str) -> None:
    images = re.findall(r"image:? '?(\S+?)'?\n", template(name))
    assert images
    assert all(re.fullmatch(r"[\w./-]+@sha256:[0-9a-f]{64}", image) for image in images)


@pytest.mark.parametrize("name", ["codebuild", "aws-batch", "aws-batch-array"])
def test_roles_have_no_wildcards(name: str) -> None:
    for node in nodes(documents(name)):
        if isinstance(node, dict) and node.get("Effect") == "Allow":
            assert "*" not in json.dumps(node.get("Action"))
            assert json.dumps(node.get("Resource", "")) not in ('"*"', '["*"]')


def test_files_end_as_files_do() -> None:
    for name in NAMES:
        text = template(name)
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
        assert "\t" not in text
        assert max(map(len, text.splitlines())) <= 130
        assert Path(FILES[name]).name == FILES[name]


# --- each day, for an emergency


def standby_script(name: str) -> str:
    document = yaml.safe_load(template(name))
    if name == "gitlab-standby":
        return "\n".join(document["standby"]["script"][2:])  # the first two write the token's file
    text: str = document["jobs"]["prepare"]["steps"][-2]["run"]
    return text


@pytest.mark.parametrize("name", sorted(STANDBY))
@pytest.mark.parametrize("code", [0, 4, 5, 3])
@pytest.mark.parametrize("signed", [False, True], ids=["read aloud", "signed"])
def test_each_day_a_bundle_of_every_key(name: str, code: int, signed: bool, tmp_path: Path) -> None:
    """The exit code is that of `prepare`, and half of the quota is left to others."""
    variables = {"MANIFEST": "keys.yaml", "BUNDLE": "bundle.jsonl", "RUNNER_TEMP": str(tmp_path)}
    if signed:
        variables["BUNDLE_SIGNING_KEY"] = "/vars/key.pem" if name == "gitlab-standby" else "-----BEGIN PRIVATE KEY-----"
    elif name == "github-actions-standby":
        variables["BUNDLE_SIGNING_KEY"] = ""  # what GitHub makes of a secret that does not exist
    assert script(standby_script(name), tmp_path, variables, code) == code
    [call] = (tmp_path / "calls").read_text().splitlines()
    expected = "prepare keys.yaml bundle.jsonl --standby --quota GetParametersForImport=0.5"
    key = "/vars/key.pem" if name == "gitlab-standby" else f"{tmp_path}/signing.pem"
    assert call == (f"{expected} --sign-with {key}" if signed else expected)


@pytest.mark.parametrize("name", sorted(STANDBY))
def test_a_bundle_for_an_emergency_comes_each_day_and_is_kept_whatever_the_end(name: str) -> None:
    document = yaml.safe_load(template(name))
    if name == "gitlab-standby":
        job = document["standby"]
        kept, always = job["artifacts"]["paths"], job["artifacts"]["when"]
        assert '$CI_PIPELINE_SOURCE == "schedule"' in job["rules"][0]["if"]
    else:
        upload = document["jobs"]["prepare"]["steps"][-1]
        kept, always = upload["with"]["path"].split(), upload["if"].removesuffix("()")
        [schedule] = document[True]["schedule"]  # `on` is read as true by YAML 1.1
        assert re.fullmatch(r"\d+ \d+ \* \* \*", schedule["cron"])
    assert kept == ["bundle.jsonl", "bundle.jsonl.sig"]
    assert always == "always"
    assert not calls(template(name))[0][1].count("run ")


# --- every night


def nightly(name: str) -> tuple[str, dict[str, str]]:
    """The shell text of the check, and the variables that the engine sets for it."""
    if name == "github-actions-nightly":
        document = yaml.safe_load(template(name))
        step = document["jobs"]["status"]["steps"][-2]
        return step["run"], document["env"] | step["env"]
    document = yaml.safe_load(template(name))["status"]
    return "\n".join(document["script"]), document["variables"]


@pytest.mark.parametrize("name", sorted(NIGHTLY))
@pytest.mark.parametrize("code", [0, 4, 5, 6, 11, 130])
def test_the_nightly_job_ends_as_the_check_does(name: str, code: int, tmp_path: Path) -> None:
    text, environment = nightly(name)
    summary = tmp_path / "summary"
    assert script(text, tmp_path, environment | {"GITHUB_STEP_SUMMARY": str(summary)}, code) == code
    assert (tmp_path / "calls").read_text().split() == ["status", "keys.yaml", "--format", "json"]
    assert (tmp_path / "out" / "status.json").exists()


@pytest.mark.parametrize("name", sorted(NIGHTLY))
def test_the_nightly_job_keeps_its_page_and_imports_nothing(name: str) -> None:
    _, environment = nightly(name)
    assert "html=out/status.html" in environment["BULK_IMPORT_RENDER"]
    assert {command for command, _ in calls(template(name))} == {"status", "iam", "template"} - (
        {"template"} if name == "github-actions-nightly" else set()
    )
    document = yaml.safe_load(template(name))
    if name == "github-actions-nightly":
        assert document[True]["schedule"]  # YAML 1.1 reads `on` as true
        assert document["jobs"]["status"]["steps"][-1]["if"] == "always()"
        assert document["jobs"]["status"]["permissions"] == {"contents": "read", "id-token": "write"}
    else:
        assert document["status"]["artifacts"]["when"] == "always"
        assert "schedule" in document["status"]["rules"][0]["if"]


# --- several machines


def test_the_number_of_shards_is_the_same_everywhere() -> None:
    github = yaml.safe_load(template("github-actions-matrix"))
    shards = github["jobs"]["import"]["strategy"]["matrix"]["shard"]
    assert [str(number) for number in shards] == [str(n + 1) for n in range(int(github["env"]["SHARDS"]))]
    shard, merge = documents("kubernetes-indexed")
    counts = {each["value"] for each in nodes([shard, merge]) if isinstance(each, dict) and
              each.get("name") == "BULK_IMPORT_SHARDS"}  # fmt: skip
    assert counts == {str(shard["spec"]["completions"])} == {str(shard["spec"]["parallelism"])}


def test_the_merge_runs_whatever_the_shards_ended_with() -> None:
    jobs = yaml.safe_load(template("github-actions-matrix"))["jobs"]
    assert (jobs["merge"]["needs"], jobs["merge"]["if"]) == ("import", "always()")
    assert jobs["import"]["strategy"]["fail-fast"] is False
    gitlab = yaml.safe_load(template("gitlab-matrix"))
    assert gitlab["merge"]["rules"][0]["when"] == "always"
    assert gitlab["import"]["allow_failure"] == {"exit_codes": [4, 5, 7]}
    # A rule's own allow_failure would replace that. A manual job of a rule holds the pipeline up without it.
    assert gitlab["import"]["rules"][0].keys() == {"if", "when"}
    assert '--dependency="afterany:$array"' in template("slurm")


def script(text: str, folder: Path, environment: dict[str, str], code: int, *arguments: str) -> int:
    """Runs a template's shell text with a `bulk-import` that ends with `code`."""
    program = folder / "bin" / "bulk-import"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/calls"\nexit {code}\n')
    program.chmod(0o755)
    path = {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    command = ["bash", "-e", "-c", text, *arguments]
    return subprocess.run(command, cwd=folder, env=path | environment, check=False, timeout=60).returncode


@pytest.mark.parametrize("code", [0, 4, 5, 143])
def test_the_exit_code_of_the_merge_is_that_of_the_fleet(code: int, tmp_path: Path) -> None:
    merges = {
        "github": (yaml.safe_load(template("github-actions-matrix"))["jobs"]["merge"]["steps"][-2]["run"], ()),
        "gitlab": ("\n".join(yaml.safe_load(template("gitlab-matrix"))["merge"]["script"]), ()),
        "batch": (documents("aws-batch-array")[0]["Resources"]["Merge"]["Properties"]["ContainerProperties"]
                  ["Command"][2], ("merge", "array", "3")),
        "slurm": (template("slurm"), ("slurm.sh", "merge", "fleet")),
    }  # fmt: skip
    for name, (text, arguments) in merges.items():
        folder = tmp_path / name
        for number in range(1, 5):
            of_github = f"shards/shard-{number}-attempt-1"
            for place in (of_github if name == "github" else f"shards/{number}", f"fleet/{number}"):
                (folder / place).mkdir(parents=True)
                (folder / place / "report.json").touch()
        assert script(text, folder, {"SHARDS": "4", "REPORTS": "bucket"}, code, *arguments) == code, name
        first = (folder / "calls").read_text().splitlines()[0].split()
        assert first[0] == "report"
        assert sum(word.endswith(".json") for word in first) == 5, (name, first)


def test_a_matrix_merges_the_last_attempt_of_each_shard(tmp_path: Path) -> None:
    text = yaml.safe_load(template("github-actions-matrix"))["jobs"]["merge"]["steps"][-2]["run"]
    for name in ("shard-1-attempt-1", "shard-2-attempt-2", "shard-2-attempt-10", "shard-2-attempt-9"):
        (tmp_path / "shards" / name).mkdir(parents=True)
        (tmp_path / "shards" / name / "report.json").touch()
    assert script(text, tmp_path, {"SHARDS": "3"}, 4) == 4
    merged = (tmp_path / "calls").read_text().splitlines()[0]
    assert "shard-1-attempt-1/report.json shards/shard-2-attempt-10/report.json --format json" in merged


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (4, 0), (5, 0), (7, 0), (3, 3), (143, 143), (1, 1)])
def test_a_batch_job_whose_report_says_what_failed_is_done(code: int, expected: int, tmp_path: Path) -> None:
    job = documents("aws-batch-array")[0]["Resources"]["Shard"]["Properties"]["ContainerProperties"]
    environment = {"REPORTS": "bucket", "AWS_BATCH_JOB_ID": "abc:2", "AWS_BATCH_JOB_ARRAY_INDEX": "2"}
    assert script(job["Command"][2], tmp_path, environment, code) == expected
    assert (tmp_path / "calls").read_text().split()[-1] == "s3://bucket/abc/2.json"
