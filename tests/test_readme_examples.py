"""The pages' examples: what they show must work, and print what they say.

The README's ten minutes are followed to the letter: files are saved as it says, commands typed as it says.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from bulk_import import api, iam
from bulk_import.model import KeySpec
from tests import pages
from tests.pages import PAGES, ROOT, Block, rows, ticked
from tests.sandbox_client import Sandbox

MANIFESTS = [block for page in PAGES for block in page.blocks if block.kind == "manifest"]
TEN_MINUTES = "Ten minutes in the sandbox"
CALLER = "arn:aws:iam::999900001111:role/pipeline"


def first_manifest(folder: Path) -> Path:
    """The README's manifest, its material next to it."""
    material = folder / "payments.key"
    material.write_bytes(os.urandom(32))
    material.chmod(0o600)  # as with the README's umask; otherwise a warning comes first
    path = folder / "keys.yaml"
    path.write_text(pages.README.block("yaml", "manifest"))
    return path


# --- manifests


@pytest.mark.parametrize("block", MANIFESTS, ids=lambda block: block.language)
def test_manifests_are_valid(block: Block, tmp_path: Path) -> None:
    path = tmp_path / f"keys.{block.language}"
    path.write_text(block.text)
    assert api.load_manifest(str(path), api.load_settings()).targets


def test_every_shape_of_manifest_is_shown() -> None:
    assert {block.language for block in MANIFESTS} == {"yaml", "json", "jsonl", "csv"}


def test_the_fan_out_is_as_its_comment_says(tmp_path: Path) -> None:
    (text,) = (block.text for block in MANIFESTS if "three targets" in block.text)
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    targets = api.load_manifest(str(path), api.load_settings()).targets
    assert [str(target.lane) for target in targets] == [
        "111122223333/eu-central-1",
        "111122223333/eu-west-1",
        "444455556666/us-east-1",
    ]


# --- policies


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `iam` prints for the README's manifest."""
    path = first_manifest(tmp_path_factory.mktemp("iam"))
    manifest = api.load_manifest(str(path), api.load_settings())
    accounts = [iam.access(manifest, account, iam.Asked(), CALLER) for account in manifest.accounts]
    return iam.document(manifest, accounts, CALLER)


def test_the_policies_are_those_that_iam_prints(policies: dict[str, Any]) -> None:
    account, block = policies["accounts"][0], pages.IAM.block
    assert [json.loads(block("json", "policy caller"))] == policies["caller"]["permissions_policies"]
    assert json.loads(block("json", "policy trust")) == account["trust_policy"]
    assert [json.loads(block("json", "policy permissions"))] == account["permissions_policies"]
    (statements,) = (
        each["statements"] for each in account["key_policies"] if [key["id"] for key in each["keys"]] == ["payments"]
    )
    assert json.loads(block("json", "policy key")) == statements


def test_every_operation_is_in_the_table(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    common = {"account": "111122223333", "region": "us-east-1"}
    keys = [{"id": spec, "key_id": f"alias/{spec}", "key_spec": spec, "material": "file:k"} for spec in KeySpec]
    root = {"AWS": "arn:aws:iam::111122223333:root"}
    statement = {"Effect": "Allow", "Principal": root, "Action": "kms:*", "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    create = {"multi_region": True, "description": "x", "tags": {"Team": "payments"}, "policy": policy}
    keys += [{"id": "new", "key_id": "alias/new", "key_spec": "HMAC_256", "material": "file:k", "create": create}]
    several = [{"name": "2025", "material": "file:a"}, {"name": "2026", "material": "file:b"}]
    keys += [{"id": "old", "key_id": "alias/old", "key_spec": "SYMMETRIC_DEFAULT", "materials": several}]
    keys += [{"id": "mrk", "key_id": "alias/mrk", "key_spec": "HMAC_256", "material": "file:k", "create": {},
              "replicas": ["eu-west-1"]}]  # fmt: skip
    whole = {"version": 1, "defaults": {"role": "Importer"}, "keys": [{**common, **key} for key in keys]}
    path.write_text(json.dumps(whole))
    manifest = api.load_manifest(str(path), api.load_settings())
    everything = frozenset({"description", "tags", "policy"})
    asked = [iam.Asked(prove_use=True, correct=everything), iam.Asked(command="discover"), iam.Asked(command="delete")]
    granted = {
        action
        for one in asked
        for document in iam.access(manifest, "111122223333", one, CALLER).permissions
        for granting in document["Statement"]
        for action in granting["Action"]
    }
    listed = {operation for cells in rows(pages.IAM.section("Operations"), "operation")
              for operation in ticked(cells[0])}  # fmt: skip
    assert not granted - listed, f"not documented: {sorted(granted - listed)}"
    assert listed == granted | {"sts:AssumeRole", "sts:GetCallerIdentity"}


# --- the ten minutes


def typed(block: Block) -> tuple[list[str], list[str]]:
    """A console block's commands, and what it says that they print."""
    commands: list[str] = []
    output: list[str] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append(line[2:])
        elif commands and commands[-1].endswith("\\"):
            commands[-1] += f"\n{line}"
        else:
            output.append(line)
    return commands, output


@contextmanager
def local_aws(command: str, folder: Path) -> Iterator[str]:
    """Starts what the README says, on a free port. Yields the URL that it prints."""
    words = shlex.split(command.removesuffix("&"))
    words[words.index("--port") + 1] = "0"
    assert words[0] == "bulk-import"
    process = subprocess.Popen(
        [sys.executable, "-m", "bulk_import", *words[1:]],
        cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(100)
        process.stdout.close()


def environment() -> dict[str, str]:
    """As after activating the environment; no AWS but what the README sets."""
    bin_ = str(Path(sys.executable).parent)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BULK_IMPORT_"))}
    return kept | {"PATH": f"{bin_}:{kept['PATH']}", "PYTHONPATH": str(ROOT), "AWS_CONFIG_FILE": os.devnull,
                   "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip


def test_the_ten_minutes_work_as_they_are_written(tmp_path: Path) -> None:
    blocks = pages.Page(pages.README.path, pages.README.section(TEN_MINUTES)).blocks
    files = {"seed": "seed.yaml", "manifest": "keys.yaml"}
    steps: list[str] = ["set -e"]
    expected: list[str] = []
    folder, sandbox = tmp_path / "byok", ""
    for block in blocks:
        if block.kind in files:
            steps.append(f"cat > {files[block.kind]} <<'EOF'\n{block.text}EOF")
        if block.kind == "try":
            commands, output = typed(block)
            if "sandbox" in commands[0]:
                [sandbox], [said] = commands, output
                subprocess.run(["bash", "-c", "\n".join(steps)], cwd=tmp_path, env=environment(), check=True)
                steps = ["set -e", "cd byok"]
                continue
            steps += commands
            expected += output
    with local_aws(sandbox, folder) as url:
        script = "\n".join(steps).replace(said, url)
        assert url in script
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )
    printed = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 0, done.stderr
    assert [line for line in expected if line not in printed] == []
    runs = [json.loads(path.read_bytes()) for path in folder.glob("report*.json")]
    first, second = sorted(runs, key=lambda report: report["run"]["started_at"])
    assert [entry["status"] for entry in first["results"]] == ["imported", "imported"]
    assert [entry["verification"]["proof"] for entry in first["results"]] == ["material_id", "hmac"]
    assert [entry["status"] for entry in second["results"]] == ["unchanged", "unchanged"]
    assert [entry["verification"]["proof"] for entry in second["results"]] == ["material_id", "hmac"]
    assert "payments" in (folder / "report.html").read_text()
    example = json.loads(pages.REPORT.block("json", ""))
    assert set(example) == set(first["results"][0])


def test_the_library_example_runs(sandbox: Sandbox, tmp_path: Path) -> None:
    path = first_manifest(tmp_path)
    sandbox.seed(yaml.safe_load(pages.README.block("yaml", "seed")))
    (tmp_path / "example.py").write_text(pages.PROGRAM.block("python", ""))
    done = subprocess.run(
        [sys.executable, "example.py", path.name, sandbox.url],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "TOKENS_KEY": "xR5FW0HfbAFzJ+FgAd0GS4tnM/rqppsj2b15yAeSN9U="}
        | {"BULK_IMPORT_READ_INTERVAL": "0"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "{'import': 2}"
    assert sorted(lines[1:3]) == ["payments imported", "tokens imported"]
    assert lines[3] == "0 2 of 2 OK"
    assert "payments" in (tmp_path / "report.html").read_text()
