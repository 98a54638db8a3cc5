"""The files of a ceremony in S3: copied there when complete, read from there, and never used without a voucher."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.ceremony.conftest import QUICK, Ceremony
from tests.ceremony.test_attacks import KINDS, signer
from tests.sandbox_client import Sandbox

BUCKET = "s3://ceremony"


@pytest.fixture
def bucket(sandbox: Sandbox) -> None:
    sandbox.client("s3", None).create_bucket(Bucket="ceremony")


@pytest.mark.usefixtures("bucket")
@pytest.mark.parametrize("signed", [False, True], ids=["fingerprints", "signatures"])
def test_bundle_and_sealed_files_in_s3(signed: bool, ceremony: Ceremony, sandbox: Sandbox, tmp_path: Path) -> None:
    ceremony.keys("HMAC_256", "SYMMETRIC_DEFAULT")
    private, public = signer(tmp_path, "both", *KINDS["ed25519"])
    sign = ("--sign-with", private) if signed else ()
    command = ["prepare", "manifest.json", f"{BUCKET}/bundle.jsonl", *QUICK]
    prepared = ceremony.call(ceremony.online, *command, *sign)
    assert prepared.code == 0, prepared.stderr
    s3 = sandbox.client("s3", None)
    for name in ("bundle.jsonl", *(["bundle.jsonl.sig"] if signed else [])):
        s3.download_file("ceremony", name, str(ceremony.vault.folder / name))
        (ceremony.online.folder / name).unlink()
    vouched = ["--signed-by", public] if signed else ceremony.vouched(prepared)
    sealed = ceremony.seal(*vouched, *sign)
    assert sealed.code == 0, sealed.stderr
    for name in ("sealed.jsonl", *(["sealed.jsonl.sig"] if signed else [])):
        s3.upload_file(str(ceremony.vault.folder / name), "ceremony", name)
    vouched = ["--signed-by", public] if signed else ceremony.vouched(prepared, sealed)
    uris = ["submit", f"{BUCKET}/bundle.jsonl", f"{BUCKET}/sealed.jsonl", "--read-interval", "20ms"]
    assert ceremony.call(ceremony.online, *uris).code == 3
    assert ceremony.imports() == 0
    submitted = ceremony.call(ceremony.online, *uris, *vouched)
    assert submitted.code == 0, submitted.stderr
    facts = submitted.report["run"]["ceremony"]
    assert [file["file"] for file in (facts["bundle"], *facts["sealed"])] == uris[1:3]


@pytest.mark.usefixtures("bucket")
def test_an_older_bundle_there_is_kept(ceremony: Ceremony, sandbox: Sandbox) -> None:
    ceremony.keys("HMAC_256")
    command = ["prepare", "manifest.json", f"{BUCKET}/bundle.jsonl", *QUICK]
    for _ in range(2):
        assert ceremony.call(ceremony.online, *command).code == 0
        (ceremony.online.folder / "bundle.jsonl").unlink()
    names = {item["Key"] for item in sandbox.client("s3", None).list_objects_v2(Bucket="ceremony")["Contents"]}
    assert len([name for name in names if name.endswith(".jsonl")]) == 2


def test_a_bucket_that_is_missing_loses_nothing(ceremony: Ceremony) -> None:
    ceremony.keys("HMAC_256")
    command = ["prepare", "manifest.json", f"{BUCKET}/bundle.jsonl", *QUICK]
    prepared = ceremony.call(ceremony.online, *command)
    assert prepared.code == 3
    assert "The bundle is in bundle.jsonl" in prepared.stderr
    assert (ceremony.online.folder / "bundle.jsonl").exists()


def test_seal_takes_files_only(ceremony: Ceremony) -> None:
    ceremony.keys("HMAC_256")
    ceremony.prepare()
    shutil.copy(ceremony.vault.folder / "bundle.jsonl", ceremony.vault.folder / "b.jsonl")
    result = ceremony.call(ceremony.vault, "seal", f"{BUCKET}/bundle.jsonl", "manifest.json", "sealed.jsonl")
    assert (result.code, "works without a network" in result.stderr) == (2, True)
