"""`bulk-import iam` as a person calls it; its templates as cfn-lint sees them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox

ROOT = Path(__file__).parents[2]
CALLER = "arn:aws:iam::999988887777:role/ci/Pipeline"


def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bulk_import", "iam", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "", "PYTHONWARNINGS": "error", **environment},
    )  # fmt: skip


def load(text: str) -> Any:
    assert "&id" not in text, "CloudFormation knows no YAML aliases"
    return yaml.safe_load(text)


def test_every_template_is_good_cloudformation(tmp_path: Path) -> None:
    """One call for all: cfn-lint takes seconds to start. Its informational rules count, too."""
    (tmp_path / "many.json").write_text(
        json.dumps(
            {
                "version": 1,
                "defaults": {"role": "a/b/Importer", "external_id": "org-1"},
                "keys": [
                    {"id": f"k{n}", "account": "111122223333", "region": "eu-west-1", "material": "env:K",
                     "key_id": f"{n:08x}-12ab-34cd-56ef-1234567890ab", "valid_to": "2027-01-01T00:00:00Z"}
                    for n in range(60)
                ],
            }
        )
    )  # fmt: skip
    calls = {
        "role": ("manifests/fleet.yaml", "--only-account", "111122223333"),
        "parameter": ("manifests/minimal.yaml", "--caller-arn", CALLER, "--prove-use"),
        "specs": ("manifests/every-key-spec.yaml", "--caller-arn", CALLER, "--prove-use"),
        "gov": ("manifests/govcloud.yaml",),
        "own": ("manifests/own-account.yaml", "--caller-arn", "arn:aws:iam::111122223333:user/me"),
        "many": (str(tmp_path / "many.json"),),
    }
    for name, arguments in calls.items():
        done = call(*arguments, "--format", "cloudformation")
        assert done.returncode == 0, done.stderr
        (tmp_path / f"{name}.yaml").write_text(done.stdout)
        load(done.stdout)
    done = call("manifests/fleet.yaml", "--format", "cloudformation-caller", "--caller-arn", CALLER)
    (tmp_path / "caller.yaml").write_text(done.stdout)
    files = sorted(map(str, tmp_path.glob("*.yaml")))
    assert len(files) == 7
    lint = subprocess.run(
        [Path(sys.executable).parent / "cfn-lint", "--include-checks", "I", "--template", *files],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert lint.returncode == 0, lint.stdout + lint.stderr
    many = load((tmp_path / "many.yaml").read_text())["Resources"]
    assert sum(resource["Type"] == "AWS::IAM::ManagedPolicy" for resource in many.values()) > 1
    role = many["ImporterRole"]["Properties"]
    assert (role["RoleName"], role["Path"]) == ("Importer", "/a/b/")
    own = load((tmp_path / "own.yaml").read_text())
    assert own["Resources"]["ImporterPolicy1"]["Properties"]["Users"] == ["me"]
    assert "ImporterRole" not in own["Resources"]


def test_template_and_document_say_the_same() -> None:
    arguments = ("manifests/every-key-spec.yaml", "--caller-arn", CALLER)
    document = json.loads(call(*arguments).stdout)["accounts"][0]
    template = load(call(*arguments, "--format", "cloudformation").stdout)
    resources = template["Resources"]
    policies = [r["Properties"]["PolicyDocument"] for r in resources.values() if r["Type"] == "AWS::IAM::ManagedPolicy"]
    assert policies == document["permissions_policies"]
    trust = resources["ImporterRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]
    assert trust["Principal"] == {"AWS": {"Ref": "CallerArn"}}
    assert template["Parameters"]["CallerArn"]["Default"] == CALLER
    assert [each["Statements"] for each in template["Metadata"]["KeyPolicies"]] == [
        each["statements"] for each in document["key_policies"]
    ]


def test_without_a_caller_nothing_can_be_assumed_by_oversight() -> None:
    done = call("manifests/minimal.yaml")
    trust = json.loads(done.stdout)["accounts"][0]["trust_policy"]
    assert trust["Statement"][0]["Principal"] == {"AWS": "REPLACE-WITH-THE-CALLERS-ARN"}
    assert "--caller-arn" in done.stderr
    template = load(call("manifests/minimal.yaml", "--format", "cloudformation").stdout)
    assert "Default" not in template["Parameters"]["CallerArn"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("manifests/fleet.yaml", "--format", "cloudformation"), "choose one with --only-account"),
        (("manifests/own-account.yaml", "--format", "cloudformation-caller"), "role: null"),
        (("manifests/minimal.yaml", "--format", "table"), "json or cloudformation or cloudformation-caller"),
        (("manifests/minimal.yaml", "--caller-arn", "me"), "--caller-arn"),
        (("manifests/minimal.yaml", "--caller-arn", "arn:aws:iam::111122223333:role/*"), "--caller-arn"),
        (("manifests/minimal.yaml", "--caller-arn", "arn:aws:iam::111122223333:user/team/a?c"), "--caller-arn"),
        (("manifests/minimal.yaml", "--caller-arn", "arn:aws:iam::111122223333:role/${aws:username}"), "--caller-arn"),
        (("manifests/minimal.yaml", "--caller-arn", "arn:aws:iam::111122223333:role/ci/*/Runner"), "--caller-arn"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], said: str) -> None:
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--role", "byok/*", "wildcard"),
        ("--role", "arn:{partition}:iam::{account}:role/?/Importer", "wildcard"),
        ("--external-id", "org-*", "is not an external ID"),
        ("--external-id", "${aws:PrincipalTag/x}", "is not an external ID"),
    ],
)
def test_no_wildcard_and_no_variable_reaches_a_policy(option: str, value: str, said: str) -> None:
    done = call("manifests/minimal.yaml", option, value)
    assert (done.returncode, done.stdout) == (3, "")
    assert said in done.stderr


def test_forms_of_other_commands_are_refused_there() -> None:
    done = call("manifests/minimal.yaml", BULK_IMPORT_FORMAT="table")
    assert done.returncode == 2


def test_nobody_is_called(sandbox: Sandbox, work: Workplace) -> None:
    work.key("alias/a", b"", name="a")
    work.write()
    done = work.call("iam", "manifest.json", "--quiet")
    assert done.code == 0
    assert "named by alias" in done.stderr, "a wider policy is told of, --quiet or not"
    assert sandbox.calls() == []


def test_dates_are_not_judged(work: Workplace) -> None:
    """A manifest whose valid_to has passed still shows what its role needs."""
    work.key("alias/a", b"", name="a", valid_to="2020-01-01T00:00:00Z")
    work.write()
    assert work.call("iam", "manifest.json").code == 0
