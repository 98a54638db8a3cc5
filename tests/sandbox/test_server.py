"""The server itself: connections, request IDs, the log, start and stop, seeds, and moto's other services."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import ROOT
from tests.sandbox.helpers import OAEP, import_material, metadata, new_material, parameters, refused
from tests.sandbox_client import Sandbox


def test_a_connection_stays_open_and_is_named(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    answers = [kms.list_keys()["ResponseMetadata"] for _ in range(3)]
    calls = sandbox.calls(operation="ListKeys")
    assert len({call["connection"] for call in calls}) == 1
    assert [answer["RequestId"] for answer in answers] == [call["request_id"] for call in calls]
    assert len({call["request_id"] for call in calls}) == 3
    assert {answer["HTTPHeaders"]["server"] for answer in answers} == {"bulk-import-sandbox"}


def test_the_log_knows_who_and_what(sandbox: Sandbox) -> None:
    arn = sandbox.key(alias="alias/one")["arn"]
    metadata(sandbox.client(user_agent_extra="run/abc"), "alias/one")
    [call] = sandbox.calls(operation="DescribeKey", account="111122223333", region="us-east-1")
    assert (call["key"], call["status"], call["code"], call["service"]) == (arn, 200, "", "kms")
    assert "run/abc" in call["user_agent"]
    assert call["principal"].endswith("assumed-role/Tester/independent-client")
    assert sandbox.calls(after=call["number"]) == []


def test_no_key_material_is_shown(sandbox: Sandbox) -> None:
    material = new_material("HMAC_256")
    arn = sandbox.key(key_spec="HMAC_256")["arn"]
    import_material(sandbox.client(), arn, material)
    assert material.hex() not in repr(sandbox.keys()) + repr(sandbox.calls())


def test_lists_come_in_pages(sandbox: Sandbox) -> None:
    lane = {"us-east-1": {"generate": [{"count": 120, "alias": "alias/a-{n}"}]}}
    keys = sandbox.seed({"accounts": {"111122223333": {"regions": lane}}})
    kms = sandbox.client()
    assert len(kms.list_keys()["Keys"]) == 100
    listed = [key["KeyArn"] for page in kms.get_paginator("list_keys").paginate() for key in page["Keys"]]
    assert listed == [key["arn"] for key in keys]
    aliases = [a["AliasName"] for page in kms.get_paginator("list_aliases").paginate() for a in page["Aliases"]]
    assert aliases == [key["alias"] for key in keys]
    [one] = kms.list_aliases(KeyId=keys[7]["key_id"])["Aliases"]
    assert (one["AliasName"], one["TargetKeyId"]) == ("alias/a-7", keys[7]["key_id"])
    with refused("InvalidMarkerException"):
        kms.list_keys(Marker="nowhere")


def test_aliases_move_and_go(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    one, other = sandbox.key(alias="alias/a"), sandbox.key()
    kms.update_alias(AliasName="alias/a", TargetKeyId=other["key_id"])
    assert metadata(kms, "alias/a")["Arn"] == other["arn"]
    assert kms.list_aliases(KeyId=one["key_id"])["Aliases"] == []
    kms.delete_alias(AliasName="alias/a")
    with refused("NotFoundException"):
        metadata(kms, "alias/a")


def test_an_aws_managed_key(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    seen = metadata(kms, "alias/aws/s3")
    assert (seen["KeyManager"], seen["Origin"], seen["KeyState"]) == ("AWS", "AWS_KMS", "Enabled")
    with refused("UnsupportedOperationException"):
        parameters(kms, seen["KeyId"], OAEP[1])


def test_an_operation_that_kms_lacks(sandbox: Sandbox) -> None:
    connection = http.client.HTTPConnection(sandbox.url.removeprefix("http://"))
    credential = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/kms/aws4_request, SignedHeaders=h, Signature=s"
    for target, status, word in (("Explode", 400, b"UnknownOperation"), ("CreateKey", 200, b"KeyMetadata")):
        headers = {"Authorization": credential, "X-Amz-Target": f"TrentService.{target}"}
        connection.request("POST", "/", b"{}", headers)
        answer = connection.getresponse()
        assert answer.status == status
        assert word in answer.read()
    connection.request("POST", "/", b"{}")
    answer = connection.getresponse()
    assert (answer.status, b"MissingAuthenticationToken" in answer.read()) == (403, True)
    connection.close()


def test_wrapping_keys_are_never_given_twice(sandbox: Sandbox) -> None:
    kms = sandbox.client()
    arns = [sandbox.key()["arn"] for _ in range(2)]
    keys = [parameters(kms, arn, OAEP[1], "RSA_4096")["PublicKey"] for arn in arns * 20]
    sandbox.reset()
    arn = sandbox.key()["arn"]
    keys += [parameters(sandbox.client(), arn, OAEP[1], "RSA_4096")["PublicKey"] for _ in range(20)]
    assert len(set(keys)) == 60


def test_s3_by_account(sandbox: Sandbox) -> None:
    s3 = sandbox.client("s3")
    s3.create_bucket(Bucket="manifests")
    s3.put_object(Bucket="manifests", Key="a/keys.yaml", Body=b"version: 1\n" * 1000)
    assert s3.get_object(Bucket="manifests", Key="a/keys.yaml")["Body"].read() == b"version: 1\n" * 1000
    assert s3.head_object(Bucket="manifests", Key="a/keys.yaml")["ContentLength"] == 11000
    assert sandbox.client("s3", account="444455556666").list_buckets()["Buckets"] == []


def test_a_seed_file(tmp_path: Path) -> None:
    (tmp_path / "mac.key").write_bytes(bytes(32))
    seed = tmp_path / "seed.yaml"
    seed.write_text(
        """
accounts:
  "111122223333":
    roles: [{name: Tester}]
    regions:
      us-east-1:
        quotas: {GetParametersForImport: 5}
        keys:
          - {alias: alias/new}
          - {alias: alias/mac, key_spec: HMAC_256, material: {file: mac.key}, state: Disabled, tags: {team: a}}
          - {alias: alias/mrk, multi_region: true, material: {file: mac.key}, replicas: [eu-west-1]}
          - {alias: alias/old, material: {file: mac.key}, valid_to: 2020-01-01T00:00:00Z}
        generate:
          - {count: 3, alias: "alias/load-{n}", key_spec: RSA_2048}
"""
    )
    with Sandbox("--seed", str(seed)) as sandbox:
        shown = {key["aliases"][0]: key for key in sandbox.keys(region="us-east-1")}
        states = {alias: key["state"] for alias, key in shown.items()}
        assert states == {
            "alias/new": "PendingImport",
            "alias/mac": "Disabled",
            "alias/mrk": "Enabled",
            "alias/old": "PendingImport",
            "alias/load-0": "PendingImport",
            "alias/load-1": "PendingImport",
            "alias/load-2": "PendingImport",
        }
        [replica] = sandbox.keys(region="eu-west-1")
        assert replica["key_id"] == shown["alias/mrk"]["key_id"]
        tags = sandbox.client().list_resource_tags(KeyId=shown["alias/mac"]["key_id"])["Tags"]
        assert tags == [{"TagKey": "team", "TagValue": "a"}]
        assert {"account": "111122223333", "region": "us-east-1", "quota": "GetParametersForImport", "rate": 5} in (
            sandbox.get("quotas")["lanes"]
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('accounts: {"1": {}}', "accounts.1: an account has 12 digits"),
        ("accuonts: {}", "accuonts: Extra inputs are not permitted"),
        ('accounts: {"111122223333": {regions: {us-east-1: {keys: [{key_spec: AES}]}}}}', "keys.0.key_spec: unknown"),
        ('accounts: {"111122223333": {regions: {us-east-1: {keys: [{state: Enabled}]}}}}', "keys.0.state: a key"),
        ("accounts: [", "seed.yaml:1: is not valid YAML: "),
    ],
)
def test_mistakes_in_a_seed_file(tmp_path: Path, text: str, words: str) -> None:
    seed = tmp_path / "seed.yaml"
    seed.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "bulk_import.sandbox", "--seed", str(seed)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert words in done.stderr
    assert str(seed) in done.stderr
    assert done.stdout == ""


def test_a_missing_seed_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bulk_import", "sandbox", "--seed", "nowhere.yaml"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.startswith("nowhere.yaml: there is no such seed file. Check --seed, or omit it")
    assert "Errno" not in done.stderr


def test_a_port_in_use_is_named_with_what_to_do(sandbox: Sandbox) -> None:
    port = sandbox.url.rsplit(":", 1)[1]
    done = subprocess.run(
        [sys.executable, "-m", "bulk_import", "sandbox", "--port", port], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == f"--port {port}: Address already in use. Use another port, or 0 for any free one.\n"


def test_options_and_a_clean_end(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    with Sandbox("--enforce-quotas", "--quota", "CreateKey=9", "--strict-roles", "--pool", str(pool)) as sandbox:
        quotas = sandbox.get("quotas")
        assert (quotas["enforce"], quotas["rates"]["CreateKey"]) == (True, 9)
        assert sandbox.get("health")["pid"] == sandbox.process.pid
    assert sandbox.process.returncode == 0


def test_it_listens_on_loopback_only(sandbox: Sandbox) -> None:
    port = int(sandbox.url.rsplit(":", 1)[1])
    listening = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{os.getpid()}/net/{name}").read_text().splitlines()[1:]
    ]
    addresses = {fields[1] for fields in listening if fields[3] == "0A" and int(fields[1].split(":")[1], 16) == port}
    assert addresses == {f"0100007F:{port:04X}"}
