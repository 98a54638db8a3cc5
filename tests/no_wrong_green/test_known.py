"""--known: an earlier report proves symmetric keys that a run finds as wanted, as long as the source is the same."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES as AES_KEY
from cryptography.hazmat.primitives.cmac import CMAC

from tests.e2e import materials
from tests.e2e.support import Workplace
from tests.faults.support import imports
from tests.no_wrong_green.conftest import Run
from tests.s3.support import Bucket
from tests.sandbox_client import CALLER, Sandbox

AES = "SYMMETRIC_DEFAULT"
PROVED = ("--require-proof", "--known", "report.json")


def planted(sandbox: Sandbox, work: Workplace, **fields: Any) -> tuple[dict[str, str], bytes]:
    key, material = sandbox.key(key_spec=AES), materials.make(AES)
    work.key(key["key_id"], material, name="aes", **fields)
    return key, material


def test_the_material_check_is_aes_cmac_of_the_keys_arn(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    key, material = planted(sandbox, work)
    work.key(sandbox.key(key_spec="HMAC_256")["key_id"], materials.make("HMAC_256"), name="mac")
    entries = run().entries
    check = CMAC(AES_KEY(material))
    check.update(b"bulk-import:" + key["arn"].encode())
    assert entries["aes"]["material_check"] == check.finalize()[:8].hex()
    assert entries["mac"]["material_check"] is None


def test_a_second_run_is_proved_and_imports_nothing(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    """And a third: each run's report proves the next."""
    key, _ = planted(sandbox, work)
    first = run(*PROVED)
    assert (first.code, "does not exist yet" in first.stderr) == (0, True)
    for _ in range(2):
        again = run(*PROVED)
        entry = again.entries["aes"]
        assert (again.code, entry["status"]) == (0, "unchanged")
        assert (entry["verification"]["proof"], entry["verification"]["detail"]) == ("material_id", "")
        assert "does not exist yet" not in again.stderr
    assert imports(sandbox) == {key["arn"]: 1}


@pytest.mark.parametrize("options", [PROVED, ("--known", "report.json")])
def test_a_source_that_was_replaced_is_found(
    sandbox: Sandbox, work: Workplace, run: Run, options: tuple[str, ...]
) -> None:
    planted(sandbox, work)
    assert run(*options).code == 0
    (work.folder / "aes.key").write_bytes(materials.make(AES))
    result = run(*options)
    assert (result.code, result.entries["aes"]["error"]["code"]) == (5, "MaterialMismatch")
    assert "the source no longer holds" in result.entries["aes"]["error"]["message"]


def test_a_source_that_was_replaced_is_found_by_a_dry_run(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    planted(sandbox, work)
    assert run(*PROVED).code == 0
    (work.folder / "aes.key").write_bytes(materials.make(AES))
    plan = work.call("run", "manifest.json", "--dry-run", "--known", "report.json", "--format", "json")
    assert (plan.code, json.loads(plan.stdout)["targets"][0]["error"]["code"]) == (5, "MaterialMismatch")


def test_another_id_in_kms_is_found(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    planted(sandbox, work)
    assert run().code == 0
    path = work.folder / "report.json"
    path.write_text(
        re.sub(r'"key_material_id":\s*"[0-9a-f]{64}"', f'"key_material_id":"{"ab" * 32}"', path.read_text())
    )
    result = run("--known", "report.json")
    assert (result.code, result.entries["aes"]["error"]["code"]) == (5, "MaterialMismatch")


@pytest.mark.parametrize("options", [PROVED, ("--known", "report.json")])
@pytest.mark.parametrize("between", ["mismatch", "denied", "invalid manifest", "killed"])
def test_a_run_that_failed_does_not_hide_what_was_proved(
    sandbox: Sandbox, work: Workplace, run: Run, between: str, options: tuple[str, ...]
) -> None:
    """Otherwise the second run after a source was replaced would be green again."""
    planted(sandbox, work)
    proved, other = (work.folder / "aes.key").read_bytes(), materials.make(AES)
    assert run(*options).code == 0
    if between == "mismatch":
        (work.folder / "aes.key").write_bytes(other)
    elif between == "denied":
        sandbox.fault("deny", operation="DescribeKey", times=1)
    elif between == "invalid manifest":
        work.keys[0]["spec"] = "?"
    else:
        for name in ("report.json", "report.json.sha256"):  # as a run that begins, and dies
            path = work.folder / name
            path.rename(work.folder / name.replace("report.", "report.20261125T010203Z-0a1b2c3d."))
    if between != "killed":
        assert run(*options).code in (3, 5)
        work.keys[0].pop("spec", None)
    (work.folder / "aes.key").write_bytes(other)
    result = run(*options)
    assert (result.code, result.entries["aes"]["error"]["code"]) == (5, "MaterialMismatch")
    (work.folder / "aes.key").write_bytes(proved)
    again = run(*options)
    assert (again.code, again.entries["aes"]["verification"]["proof"]) == (0, "material_id")


def test_a_file_with_a_similar_name_is_no_report_of_the_series(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    planted(sandbox, work)
    for name in ("report.schema.json", "report.20261125T010203Z.json", "other.20261125T010203Z-0a1b2c3d.json"):
        (work.folder / name).write_text("{")
    for _ in range(2):
        assert run(*PROVED).code == 0


def test_the_instant_counts_and_not_its_text(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    """As texts, 01:00:00Z comes after 01:00:00.5Z."""
    planted(sandbox, work)
    assert run().code == 0
    text = (work.folder / "report.json").read_text()
    older = re.sub(r'"material_check":\s*"[0-9a-f]{16}"', f'"material_check":"{"0" * 16}"', text)
    older = re.sub(r'"finished_at":\s*"[^"]+"', '"finished_at":"2026-11-26T01:00:00Z"', older)
    newer = re.sub(r'"finished_at":\s*"[^"]+"', '"finished_at":"2026-11-26T01:00:00.500000Z"', text)
    (work.folder / "reports").mkdir()
    for name, content in {"a": newer, "b": older}.items():
        (work.folder / "reports" / f"{name}.json").write_text(content)
    assert run("--require-proof", "--known", "reports").code == 0


# --- what proves nothing
def test_without_a_proof_in_the_report_there_is_none(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    """Found as wanted, never compared."""
    material = materials.make(AES)
    work.key(sandbox.key(material={"hex": material.hex()})["key_id"], material, name="aes")
    assert run("--known", "report.json").code == 0
    assert run(*PROVED).entries["aes"]["error"]["code"] == "ProofMissing"
    assert run("--prove", "all").code == 0
    assert run(*PROVED).code == 0


def test_a_stated_id_is_no_proof_of_the_source(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    """Its report must not make the next run say that the source was compared."""
    key = sandbox.key(material={"hex": materials.make(AES).hex()})
    shown = sandbox.client().describe_key(KeyId=key["key_id"])["KeyMetadata"]["CurrentKeyMaterialId"]
    work.key(key["key_id"], materials.make(AES), name="aes", key_material_id=shown)
    for _ in range(2):
        verification = run(*PROVED).entries["aes"]["verification"]
        assert verification["detail"] == "source_not_compared"


@pytest.mark.parametrize(
    ("found", "other"),
    [
        ('"environment":"sandbox"', '"environment":"aws"'),
        ('"id":"aes"', '"id":"another"'),
        ('"status":"imported"', '"status":"failed"'),
        ('"proof":"material_id"', '"proof":"none"'),
    ],
)
def test_entries_of_something_else_prove_nothing(
    sandbox: Sandbox, work: Workplace, run: Run, found: str, other: str
) -> None:
    planted(sandbox, work)
    assert run().code == 0
    path = work.folder / "report.json"
    text = path.read_text()
    pattern = re.escape(found).replace(":", r":\s*")
    assert re.search(pattern, text)
    (work.folder / "known.json").write_text(re.sub(pattern, other, text))
    result = run("--require-proof", "--known", "known.json")
    assert (result.code, result.entries["aes"]["error"]["code"]) == (5, "ProofMissing")


def test_a_report_of_another_sandbox_proves_nothing(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    planted(sandbox, work)
    assert run().code == 0
    path = work.folder / "report.json"
    path.write_text(path.read_text().replace(sandbox.url, "http://127.0.0.1:1"))
    assert run(*PROVED).code == 5


def test_a_report_that_cannot_be_read_is_an_error(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    """And the report of the run before, which was green, is not left where it could be taken for this run's."""
    key, _ = planted(sandbox, work)
    assert run().code == 0
    report = (work.folder / "report.json").read_text()
    odd = re.sub(r'"material_check":\s*"[0-9a-f]{16}"', '"material_check":"0é"', report)
    assert odd != report
    for content in ("{", odd):
        (work.folder / "known.json").write_text(content)
        result = run("--known", "known.json")
        assert (result.code, "known.json" in result.stderr) == (3, True), result.stderr
    assert imports(sandbox) == {key["arn"]: 1}
    assert not (work.folder / "report.json").exists()


# --- where they are
def test_the_newest_of_a_folder_counts(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    planted(sandbox, work)
    (work.folder / "reports").mkdir()
    assert run("--report", "reports/b.json").code == 0
    text = (work.folder / "reports" / "b.json").read_text()
    older = re.sub(r'"material_check":\s*"[0-9a-f]{16}"', f'"material_check":"{"0" * 16}"', text)
    older = re.sub(r'"finished_at":\s*"[^"]+"', '"finished_at":"2020-01-01T00:00:00.000000Z"', older)
    (work.folder / "reports" / "c.json").write_text(older)
    assert run("--require-proof", "--known", "reports").code == 0


def test_reports_below_a_prefix_of_s3(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    planted(sandbox, work)
    client = sandbox.client("s3", None)
    client.create_bucket(Bucket="reports")
    bucket = Bucket(client, "reports")
    known = ("--require-proof", "--known", bucket.uri("nightly/"))
    first = run(*known, **environment())
    assert (first.code, "does not exist yet" in first.stderr) == (0, True), first.stderr
    bucket.put("nightly/one.json", (work.folder / "report.json").read_bytes())
    bucket.put("nightly/one.json.sha256", b"not a report")
    second = run(*known, **environment())
    assert (second.code, second.entries["aes"]["status"]) == (0, "unchanged"), second.stderr


def test_a_report_in_s3_stands_for_its_series(sandbox: Sandbox, work: Workplace, run: Run) -> None:
    planted(sandbox, work)
    client = sandbox.client("s3", None)
    client.create_bucket(Bucket="series")
    Bucket(client, "series").put("a/report.schema.json", b"{")
    uri = Bucket(client, "series").uri("a/report.json")
    options = ("--report", uri, "--known", uri, "--render", "csv=results.csv")
    assert run(*options, **environment()).code == 0
    (work.folder / "aes.key").write_bytes(materials.make(AES))
    for _ in range(2):
        assert run(*options, **environment()).code == 5
        assert "MaterialMismatch" in (work.folder / "results.csv").read_text()


def environment() -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": CALLER["aws_access_key_id"], "AWS_SECRET_ACCESS_KEY": CALLER["aws_secret_access_key"]}
