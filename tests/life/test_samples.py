"""The samples of a key's life in manifests/, run as they are: what exists is seeded, what is named is generated."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from bulk_import.api import load_manifest, load_settings
from tests.e2e import materials
from tests.e2e.support import Result, Workplace, quick
from tests.pages import ROOT
from tests.sandbox_client import Sandbox

# AES-256 with the check value of the samples' `expect`.
WITH_CHECK_VALUE = bytes.fromhex("a3e61f1c0aad0335") + b"\x5a" * 24
TOKENS = "mrk-1234abcd12ab34cd56ef1234567890ab"
# What exists of each sample's keys; `of`: the material that it holds. Everything else is created by the run.
EXISTING: dict[str, list[dict[str, Any]]] = {
    "create.yaml": [],
    "replicas.yaml": [
        {"key_id": TOKENS, "key_spec": "HMAC_256", "multi_region": True, "replicas": ["us-east-1"], "of": "TOKENS_KEY"}
    ],
    "rotation.yaml": [
        {"alias": "alias/payments"},
        {"alias": "alias/sessions", "multi_region": True, "replicas": ["eu-west-1"], "of": "sessions-2025.key"},
    ],
    "expiry.yaml": [{"alias": f"alias/{name}"} for name in ("rolling", "short", "project", "archive")],
}


def generated(folder: Path, sample: Path) -> dict[str, bytes]:
    """Material for everything that the sample names, by the file's or the variable's name."""
    made: dict[str, bytes] = {}
    for target in load_manifest(str(sample), load_settings()).targets:
        for part in target.parts:
            scheme, _, name = part.material.partition(":")
            if name in made:
                continue
            spec = part.key_spec or "SYMMETRIC_DEFAULT"
            made[name] = WITH_CHECK_VALUE if part.expect else materials.make(spec)
            if scheme == "file":
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(as_pem(made[name]) if name.endswith(".pem") else made[name])
                path.chmod(0o600)
    return made


def as_pem(material: bytes) -> bytes:
    key: Any = serialization.load_der_private_key(material, None)
    form = serialization.PrivateFormat.PKCS8
    return bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


@pytest.mark.parametrize("name", EXISTING)
def test_a_sample_is_run_twice(sandbox: Sandbox, work: Workplace, name: str) -> None:
    shutil.copytree(ROOT / "manifests", work.folder, dirs_exist_ok=True)
    made = generated(work.folder, work.folder / name)
    for key in EXISTING[name]:
        fields = {field: value for field, value in key.items() if field != "of"}
        held = {"material": {"hex": made[key["of"]].hex()}} if "of" in key else {}
        sandbox.key(region="eu-central-1", **fields, **held)
    variables = {one: base64.b64encode(material).decode() for one, material in made.items() if one == "TOKENS_KEY"}

    def run(*options: str) -> Result:
        return work.call("run", name, *quick(options), *options, **variables)

    first = run()
    assert first.code == 0, (first.stderr, [entry["error"] for entry in first.report["results"]])
    assert not {"failed", "not_attempted"} & {entry["status"] for entry in first.report["results"]}
    second = run("--require-proof", "--known", "report.json")
    assert second.code == 0, (second.stderr, [entry["error"] for entry in second.report["results"]])
    assert {entry["status"] for entry in second.report["results"]} == {"unchanged"}
    checked = work.call("status", name, "--within", "1h", "--read-interval", "20ms", **variables)
    assert checked.code == 0, checked.stdout.decode()
