"""A pipeline with OpenID Connect, rehearsed: GitLab's template, web identity, role, import, under what `iam` printed.

The template's own jobs run in bash. Without one of the printed statements, the run says which permission is missing.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e import materials
from tests.sandbox_client import Sandbox

PIPELINE, TARGET = "999900001111", "111122223333"
CALLER = f"arn:aws:iam::{PIPELINE}:role/ci/gitlab-keys"
MAC_KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
MANIFEST = {
    "version": 1,
    "accounts": {TARGET: {"role": "byok/Importer", "external_id": "org-7f3a"}},
    "defaults": {"region": "us-east-1"},
    "keys": [
        {
            "id": "payments",
            "account": TARGET,
            "key_id": "alias/payments",
            "key_spec": "SYMMETRIC_DEFAULT",
            "material": "env:PAYMENTS_KEY",
            "valid_for": "90d",
        },
        {
            "id": "mac",
            "account": TARGET,
            "key_id": MAC_KEY,
            "key_spec": "HMAC_256",
            "material": "env:MAC_KEY",
            "encoding": "base64",
        },
    ],
}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Federated": f"arn:aws:iam::{PIPELINE}:oidc-provider/gitlab.com"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {"gitlab.com:aud": "https://gitlab.com"},
                "StringLike": {"gitlab.com:sub": "project_path:acme/keys:ref_type:branch:ref:main"},
            },
        }
    ],
}
SEED = {
    "iam": "policies.json",
    "strict_roles": True,
    "accounts": {
        PIPELINE: {
            "roles": [{"name": "ci/gitlab-keys", "trust": TRUST}],
            "oidc_providers": {"gitlab.com": ["https://gitlab.com"]},
        },
        TARGET: {
            "regions": {
                "us-east-1": {
                    "keys": [
                        {"alias": "alias/payments"},
                        {"key_id": MAC_KEY, "key_spec": "HMAC_256"},
                        {"alias": "alias/stranger"},
                    ]
                }
            }
        },
    },
}
Statements = list[dict[str, Any]]


@dataclass
class Pipeline:
    """The repository that holds the manifest, and the AWS that its jobs see."""

    sandbox: Sandbox
    home: Path  # of the sandbox's seed file
    folder: Path  # the checkout

    def printed(self, *options: str) -> dict[str, Any]:
        """What `iam` prints for the manifest."""
        (self.folder / "keys.yaml").write_text(yaml.safe_dump(MANIFEST))
        done = subprocess.run(
            [sys.executable, "-m", "bulk_import", "iam", "keys.yaml", "--caller-arn", CALLER, *options],
            cwd=self.folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def begin(self, policies: dict[str, Any]) -> None:
        self.sandbox.reset()
        (self.home / "policies.json").write_text(json.dumps(policies))
        self.sandbox.seed(SEED)

    def job(
        self, name: str, renderings: str | None = None, template: str = "gitlab", **claims: Any
    ) -> subprocess.CompletedProcess[str]:
        """One job of the template, as GitLab's runner does it: variables, before_script, script."""
        text = subprocess.run(
            [sys.executable, "-m", "bulk_import", "template", template], capture_output=True, text=True, check=True
        ).stdout
        document = yaml.safe_load(text)
        base, job = document.get(".aws", {"before_script": [], "variables": {}}), document[name]
        script = "\n".join(["set -e", *base["before_script"], *job["script"]])
        own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "BULK_IMPORT_"))}
        environment = own | document["variables"] | base["variables"] | job.get("variables", {})
        environment |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PAYMENTS_KEY": base64.b64encode(materials.make("SYMMETRIC_DEFAULT")).decode(),
            "MAC_KEY": base64.b64encode(materials.make("HMAC_256")).decode(),
            "AWS_ROLE_ARN": CALLER,
            "AWS_REGION": "us-east-1",
            "AWS_ID_TOKEN": token(**claims),
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(self.folder / "aws-id-token"),
            "AWS_ENDPOINT_URL": self.sandbox.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "BULK_IMPORT_READ_INTERVAL": "20ms",
            "BULK_IMPORT_CONSISTENCY_TIMEOUT": "0",
        }
        if renderings is not None:
            environment["BULK_IMPORT_RENDER"] = renderings
        return subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )

    def results(self) -> dict[str, Any]:
        report = json.loads((self.folder / "out" / "report.json").read_bytes())
        return {entry["id"]: entry for entry in report["results"]}


def token(**claims: Any) -> str:
    """A token as GitLab gives it to a job."""
    fields = {
        "iss": "https://gitlab.com",
        "sub": "project_path:acme/keys:ref_type:branch:ref:main",
        "aud": "https://gitlab.com",
        "exp": int(time.time()) + 3600,
    }
    parts = [{"alg": "RS256"}, fields | claims, "signature"]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sandbox, Path]]:
    folder = tmp_path_factory.mktemp("home")
    (folder / "seed.yaml").write_text("{}")
    with Sandbox("--enforce-policies", "--seed", str(folder / "seed.yaml")) as sandbox:
        yield sandbox, folder


@pytest.fixture
def pipeline(home: tuple[Sandbox, Path], tmp_path: Path) -> Pipeline:
    return Pipeline(*home, tmp_path)


def test_the_printed_policies_are_enough(pipeline: Pipeline) -> None:
    pipeline.begin(pipeline.printed())
    planned = pipeline.job("plan")
    assert planned.returncode == 10, planned.stderr
    imported = pipeline.job("import")
    assert imported.returncode == 0, imported.stderr
    assert {name: entry["status"] for name, entry in pipeline.results().items()} == {
        "payments": "imported",
        "mac": "imported",
    }
    assert pipeline.results()["mac"]["verification"]["proof"] == "hmac"
    calls = pipeline.sandbox.calls()
    assert {call["operation"] for call in calls} >= {"AssumeRoleWithWebIdentity", "AssumeRole", "ImportKeyMaterial"}
    assert {call["account"] for call in calls if call["service"] == "kms"} == {TARGET}


def documents(printed: dict[str, Any]) -> dict[str, Statements]:
    """Every list of statements of the output, by where it stands."""
    [account] = printed["accounts"]
    found = {f"caller {n}": doc["Statement"] for n, doc in enumerate(printed["caller"]["permissions_policies"])}
    found |= {f"role {n}": doc["Statement"] for n, doc in enumerate(account["permissions_policies"])}
    return found | {"trust": account["trust_policy"]["Statement"]}


PRINTED = (
    ("caller 0", "AssumeImporters"),
    ("role 0", "Read"),
    ("role 0", "Read2"),
    ("role 0", "Parameters"),
    ("role 0", "Parameters2"),
    ("role 0", "Import"),
    ("role 0", "Import2"),
    ("trust", "Caller"),
)


def test_the_table_has_every_printed_statement(pipeline: Pipeline) -> None:
    found = documents(pipeline.printed())
    assert [(place, statement["Sid"]) for place, those in found.items() for statement in those] == list(PRINTED)


@pytest.mark.parametrize(("place", "sid"), PRINTED)
def test_without_one_statement_the_run_names_what_is_missing(pipeline: Pipeline, place: str, sid: str) -> None:
    policies = pipeline.printed()
    statements = documents(policies)[place]
    [statement] = [one for one in statements if one["Sid"] == sid]
    statements.remove(statement)
    pipeline.begin(policies)
    ended = pipeline.job("import")
    assert ended.returncode in (4, 5), ended.stderr
    actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
    said = ended.stdout + ended.stderr + json.dumps(pipeline.results())
    assert any(f"not authorized to perform: {action}" in said for action in actions), said


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"sub": "project_path:acme/keys:ref_type:branch:ref:feature"}, "sts:AssumeRoleWithWebIdentity"),
        ({"aud": "https://other.example"}, "Incorrect token audience"),
        ({"exp": 1}, "Token expired"),
    ],
)
def test_a_token_that_the_role_does_not_trust(pipeline: Pipeline, claims: dict[str, Any], words: str) -> None:
    pipeline.begin(pipeline.printed())
    ended = pipeline.job("import", renderings="html=out/report.html", **claims)
    assert ended.returncode == 5
    assert words in ended.stdout + ended.stderr
    assert [call["operation"] for call in pipeline.sandbox.calls() if call["service"] == "kms"] == []


def test_the_daily_bundle_is_made_by_a_role_that_cannot_import(pipeline: Pipeline) -> None:
    """The job of `template gitlab-standby` under `iam --command prepare`."""
    pipeline.begin(pipeline.printed("--command", "prepare"))
    made = pipeline.job("standby", template="gitlab-standby")
    assert made.returncode == 0, made.stderr
    lines = [json.loads(line) for line in (pipeline.folder / "bundle.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["bundle", "prepared", "prepared"]
    assert lines[0]["standby"] is True
    imported = pipeline.job("import")
    assert imported.returncode == 5, imported.stderr
    assert "not authorized to perform: kms:ImportKeyMaterial" in json.dumps(pipeline.results())
