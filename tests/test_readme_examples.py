"""The README against the program: what it shows must work, and what it lists must be all there is.

Fenced blocks say what they are after their language: ```yaml manifest, ```yaml seed, ```json policy trust.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from bulk_import import api, iam
from bulk_import.aws.pace.limiter import DEFAULT_QUOTAS
from bulk_import.cli import COMMANDS
from bulk_import.codes import CODES
from bulk_import.errors import ExitCode
from bulk_import.manifest.models import FIELDS_OF_DEFAULTS, FIELDS_OF_KEYS
from bulk_import.material import wrapping
from bulk_import.model import KeySpec, WrappingAlgorithm, WrappingKeySpec
from bulk_import.report.schema import report_schema
from tests.sandbox_client import Sandbox

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = [(language, kind.strip(), text) for language, kind, text in
          re.findall(r"^```(\w+)([^\n]*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)]  # fmt: skip
MANIFESTS = [(language, text) for language, kind, text in BLOCKS if kind == "manifest"]
CALLER = "arn:aws:iam::999900001111:role/pipeline"


def block(language: str, kind: str) -> str:
    """The one block of this kind."""
    (text,) = (text for its, said, text in BLOCKS if (its, said) == (language, kind))
    return text


def section(title: str) -> str:
    """What stands below a heading, up to the next of its rank."""
    head = re.search(rf"^(#+) {re.escape(title)}$", README, re.MULTILINE)
    assert head is not None, title
    rest = README[head.end() :]
    end = re.search(rf"^#{{1,{len(head[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str, column: str) -> list[list[str]]:
    """The cells of the table whose first column is called `column`, without the head."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {column} |")) + 2
    found = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def ticked(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def first_manifest(folder: Path) -> Path:
    """The manifest of the walk through AWS, its material beside it."""
    (folder / "payments.key").write_bytes(os.urandom(32))
    path = folder / "keys.yaml"
    path.write_text(MANIFESTS[0][1])
    return path


# --- manifests


@pytest.mark.parametrize(("language", "text"), MANIFESTS)
def test_manifests_are_valid(language: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / f"keys.{language}"
    path.write_text(text)
    assert api.load_manifest(str(path), api.load_settings()).targets


def test_every_shape_of_manifest_is_shown() -> None:
    assert {language for language, _ in MANIFESTS} == {"yaml", "json", "jsonl", "csv"}


def test_the_fan_out_is_as_its_comment_says(tmp_path: Path) -> None:
    (text,) = (text for _, text in MANIFESTS if "three targets" in text)
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    targets = api.load_manifest(str(path), api.load_settings()).targets
    assert [str(target.lane) for target in targets] == [
        "111122223333/eu-central-1",
        "111122223333/eu-west-1",
        "444455556666/us-east-1",
    ]


def test_every_field_is_in_the_table_with_where_it_is_allowed() -> None:
    table = {ticked(name)[0]: places for name, *_, keys, accounts, defaults in rows(section("Fields"), "field")
             for places in [(keys, accounts, defaults)]}  # fmt: skip
    known = {*FIELDS_OF_KEYS, *FIELDS_OF_DEFAULTS}
    assert set(table) == known
    for name, (keys, accounts, defaults) in table.items():
        assert (keys == "yes") == (name in FIELDS_OF_KEYS), name
        assert (accounts == "yes") == (defaults == "yes") == (name in FIELDS_OF_DEFAULTS), name


# --- the walk through AWS


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `iam` prints for the README's manifest."""
    path = first_manifest(tmp_path_factory.mktemp("iam"))
    manifest = api.load_manifest(str(path), api.load_settings())
    accounts = [iam.access(manifest, account, iam.Asked(), CALLER) for account in manifest.accounts]
    return iam.document(manifest, accounts, CALLER)


def test_the_policies_are_those_that_iam_prints(policies: dict[str, Any]) -> None:
    account = policies["accounts"][0]
    assert [json.loads(block("json", "policy caller"))] == policies["caller"]["permissions_policies"]
    assert json.loads(block("json", "policy trust")) == account["trust_policy"]
    assert [json.loads(block("json", "policy permissions"))] == account["permissions_policies"]
    (statements,) = (
        each["statements"] for each in account["key_policies"] if [key["id"] for key in each["keys"]] == ["payments"]
    )
    assert json.loads(block("json", "policy key")) == statements


def test_every_operation_is_in_the_table(tmp_path: Path) -> None:
    path = tmp_path / "keys.csv"
    lines = [f"{spec},111122223333,us-east-1,Importer,alias/{spec},{spec},file:k" for spec in KeySpec]
    path.write_text("\n".join(["id,account,region,role,key_id,key_spec,material", *lines]))
    manifest = api.load_manifest(str(path), api.load_settings())
    access = iam.access(manifest, "111122223333", iam.Asked(prove_use=True), CALLER)
    granted = {
        action for policy in access.permissions for statement in policy["Statement"] for action in statement["Action"]
    }
    listed = {operation for cells in rows(section("4. The permissions"), "operation") for operation in ticked(cells[0])}
    assert listed == granted | {"sts:AssumeRole", "sts:GetCallerIdentity"}


def bulk_import(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bulk_import", *arguments],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)} | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_walk_works_in_the_sandbox_of_the_seed(sandbox: Sandbox, tmp_path: Path) -> None:
    first_manifest(tmp_path)
    sandbox.seed(yaml.safe_load(block("yaml", "seed")))
    variables = {"TOKENS_KEY": "cm91dGluZSBib3JpbmcgYnl0ZXMgb2YgYSBrZXkgISE=", "AWS_ENDPOINT_URL": sandbox.url}

    validated = bulk_import(tmp_path, "validate", "keys.yaml", "--material", **variables)
    assert validated.returncode == 0, validated.stderr
    assert validated.stderr.strip() in README

    planned = bulk_import(tmp_path, "plan", "keys.yaml", **variables)
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout in README

    ran = bulk_import(tmp_path, "run", "keys.yaml", "--allow-account", "111122223333", "--require-proof",
                      "--read-interval", "0", **variables)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    report = json.loads((tmp_path / "report.json").read_bytes())
    assert [entry["status"] for entry in report["results"]] == ["imported", "imported"]
    example = next(json.loads(text) for language, kind, text in BLOCKS if (language, kind) == ("json", ""))
    assert set(example) == set(report["results"][0])

    again = bulk_import(tmp_path, "run", "keys.yaml", "--require-proof", **variables)
    assert again.returncode == ExitCode.PARTIAL
    entries = json.loads((tmp_path / "report.json").read_bytes())["results"]
    assert [(entry["id"], entry["status"]) for entry in entries] == [("payments", "failed"), ("tokens", "unchanged")]
    assert entries[0]["error"]["code"] == "ProofMissing"


def test_the_library_example_runs(sandbox: Sandbox, tmp_path: Path) -> None:
    path = first_manifest(tmp_path)
    sandbox.seed(yaml.safe_load(block("yaml", "seed")))
    (tmp_path / "example.py").write_text(block("python", ""))
    done = subprocess.run(
        [sys.executable, "example.py", path.name, sandbox.url],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "TOKENS_KEY": "cm91dGluZSBib3JpbmcgYnl0ZXMgb2YgYSBrZXkgISE="}
        | {"BULK_IMPORT_READ_INTERVAL": "0"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "{'import': 2}"
    assert sorted(lines[1:3]) == ["payments imported", "tokens imported"]
    assert lines[3] == "0 2 of 2 well"


# --- tables


def test_the_exit_codes_are_those_of_the_program() -> None:
    table = {ticked(name)[0]: int(code) for code, name, _ in rows(section("Exit codes"), "code")}
    assert table == {code.name: code.value for code in ExitCode}


def test_every_error_code_named_exists() -> None:
    named = {code for cells in rows(section("Error codes"), "code") for code in ticked(cells[0])}
    assert named
    assert named <= set(CODES)


def test_every_field_of_the_report_is_named() -> None:
    named = {name for text in ticked(section("Report")) for name in re.findall(r"\w+", text)}

    def fields(schema: dict[str, Any]) -> Iterator[str]:
        for part in (schema, *schema.get("anyOf", ()), schema.get("items", {})):
            for name, below in part.get("properties", {}).items():
                yield name
                yield from fields(below)

    missing = set(fields(report_schema())) - named
    assert not missing


def test_the_wrapping_table_is_that_of_the_program() -> None:
    head = next(line for line in README.splitlines() if line.startswith("| key spec |"))
    algorithms = [WrappingAlgorithm(name) for name in ticked(head)]
    table = rows(README, "key spec")
    assert [ticked(cells[0])[0] for cells in table] == list(KeySpec)
    for name, _, *cells in table:
        spec = KeySpec(ticked(name)[0])
        for algorithm, cell in zip(algorithms, cells, strict=True):
            refused = [size for size in WrappingKeySpec if wrapping.refusal(spec, algorithm, size)]
            assert bool(cell) == (len(refused) < len(WrappingKeySpec)), (spec, algorithm)
            assert cell.startswith("default") == (wrapping.default_algorithm(spec) is algorithm), (spec, algorithm)
            if cell:
                assert [size for size in WrappingKeySpec if f"`{size}`" in cell] == refused, (spec, algorithm)


def test_the_quotas_are_those_of_the_program() -> None:
    table = {ticked(name)[0]: float(rate) for name, rate in rows(section("Quotas and speed"), "quota")}
    assert table == DEFAULT_QUOTAS


def test_every_command_has_its_options_and_no_other() -> None:
    assert re.findall(r"^<!-- options:([a-z-]+) -->$", README, re.MULTILINE) == list(COMMANDS)
    assert README.count("<!-- /options -->") == len(COMMANDS)


def test_the_dependencies_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {re.match(r"[\w-]+", requirement)[0].lower() for requirement in project["dependencies"]}  # type: ignore[index]  # each has a name
    assert {name.lower() for name, _ in rows(section("Dependencies"), "package")} == needed


# --- jq for 3 a.m.


def test_the_jq_lines_find_what_they_say(tmp_path: Path) -> None:
    def entry(name: str, **fields: Any) -> dict[str, Any]:
        plain = {"account": "1", "region": "r", "key_arn": name, "valid_to": None, "changed": True, "error": None}
        verification = {"proof": "hmac", "detail": ""}
        return {"id": name, "verification": verification, "request_ids": [], **plain, **fields}

    soon = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}"
    failure = {"code": "NotFoundException", "message": "gone", "advice": "look"}
    report = {
        "run": {"outcome": "partial", "exit_code": 4, "environment": "aws", "stopped_by": [], "error": None},
        "summary": {"total": 5},
        "lanes": [{"account": "1", "region": "r", "throttled": {"X": 1}, "effective_rate": {"X": 0.5}}],
        "results": [
            entry("broken", error=failure),
            entry("doubtful", changed=None, error=failure | {"code": "OutcomeUnknown"}),
            entry("unproved", verification={"proof": "none", "detail": "material_not_compared"}),
            entry("expiring", valid_to=soon),
            entry("tokens", request_ids=[{"operation": "DescribeKey", "request_id": "abc"}]),
        ],
    }
    (tmp_path / "report.json").write_text(json.dumps(report))
    commands = [line for language, _, text in BLOCKS if language == "sh" for line in text.splitlines()]
    assert all(line.startswith("jq ") for line in commands)
    answers = []
    for line in commands:
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
        if done.returncode == 127:
            pytest.skip("jq is not installed")
        assert done.returncode == 0, done.stderr
        answers.append(done.stdout)
    ended, failed, counted, grave, unproved, expiring, requests, throttled = answers
    assert '"partial"' in ended
    assert [line.split("\t")[0] for line in failed.splitlines()] == ["broken", "doubtful"]
    assert counted.splitlines() == ["1\tNotFoundException", "1\tOutcomeUnknown"]
    assert [line.split("\t")[0] for line in grave.splitlines()] == ["doubtful"]
    assert [line.split("\t")[0] for line in unproved.splitlines()] == ["unproved"]
    assert expiring == f"{soon}\texpiring\texpiring\n"
    assert requests == "DescribeKey\tabc\n"
    assert json.loads(throttled)["throttled"] == {"X": 1}


# --- links and words


def test_nothing_internal_is_named() -> None:
    assert not re.search(r"CONTRACT|KMS_FACTS|ARCHITECTURE|/work/|\bissue \d|\bhelper\b", README)


def test_links_into_this_repository_lead_somewhere() -> None:
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links
    for link in links:
        if link.startswith("#"):
            assert link[1:] in anchors, link
        elif not link.startswith("https://"):
            assert (ROOT / link.partition("#")[0]).exists(), link
