"""botocore's newest version, the AWS Encryption SDK and sops, with a key whose material was imported."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.clients.conftest import CLIENTS, Command
from tests.sandbox.helpers import NEVER, import_material, refused
from tests.sandbox_client import Sandbox

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture
def key(sandbox: Sandbox) -> str:
    """The ARN of an imported key."""
    arn = sandbox.key(alias="alias/imported")["arn"]
    import_material(sandbox.client(), arn, os.urandom(32))
    return arn


def rotate(sandbox: Sandbox, key: str) -> None:
    import_material(sandbox.client(), key, os.urandom(32), ImportType="NEW_KEY_MATERIAL", **NEVER)
    sandbox.client().rotate_key_on_demand(KeyId=key)


def test_the_newest_botocore(sandbox: Sandbox, shell: Command) -> None:
    said = json.loads(shell(f"{CLIENTS}/python {PROGRAMS}/newest_botocore.py"))
    version = said.pop("version")
    assert tuple(map(int, version.split(".")[:2])) >= (1, 44)
    assert said == {
        "unused": False,
        "used": "Encrypt",
        "current": True,
        "old": True,
        "names": [["2025", "NON_CURRENT"], ["2026", "CURRENT"]],
        "dry": "DryRunOperationException",
    }


def test_the_encryption_sdk(sandbox: Sandbox, shell: Command, key: str) -> None:
    program = f"{CLIENTS}/python {PROGRAMS}/encryption_sdk.py"
    shell(f"echo -n secret | {program} $KEY > sealed.bin", KEY=key)
    rotate(sandbox, key)
    assert shell(f"{program} $KEY decrypt < sealed.bin", KEY=key) == "secret"
    assert {"GenerateDataKey", "Decrypt"} <= {call["operation"] for call in sandbox.calls(service="kms")}


def test_sops(sandbox: Sandbox, shell: Command, key: str) -> None:
    shell("echo 'password: secret' > plain.yaml; sops encrypt --kms $KEY plain.yaml > sealed.yaml", KEY=key)
    sealed = shell("cat sealed.yaml")
    assert "secret" not in sealed
    assert key in sealed
    rotate(sandbox, key)
    assert shell("sops decrypt sealed.yaml") == "password: secret\n"
    sandbox.client().delete_imported_key_material(KeyId=key)
    with refused("KMSInvalidStateException"):
        sandbox.client().encrypt(KeyId=key, Plaintext=b"x")
    with pytest.raises(AssertionError, match="is pending import"):
        shell("sops decrypt sealed.yaml")
