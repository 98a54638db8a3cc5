"""Material from the stores of the second, independent AWS: ministack has Secrets Manager, SSM and S3.

It has all that is needed: GetSecretValue (text, binary, stages), GetParameter (decryption, versions) and GetObject
(versions).
"""

from __future__ import annotations

import base64
import json
from typing import Any

import boto3

from tests.e2e import materials
from tests.e2e.ministack import Ministack
from tests.e2e.support import ACCOUNT, REGION, Workplace
from tests.e2e.test_canary import forms, search
from tests.sandbox_client import CALLER
from tests.sources.support import add
from tests.sources.test_aws import ALLOW


def keep(ministack: Ministack, made: dict[str, bytes]) -> dict[str, str]:
    """Stores each material in the caller's account with an independent client. Returns the URIs."""

    def client(service: str) -> Any:
        return boto3.client(service, region_name=REGION, endpoint_url=ministack.url, **CALLER)

    text = {name: base64.b64encode(material).decode() for name, material in made.items()}
    secrets, ssm, s3 = client("secretsmanager"), client("ssm"), client("s3")
    secrets.create_secret(Name="second/binary", SecretBinary=made["binary"])
    secrets.create_secret(Name="second/text", SecretString=text["text"])
    secrets.create_secret(Name="second/field", SecretString=json.dumps({"key": text["field"], "other": "x"}))
    secrets.create_secret(Name="second/old", SecretString=text["old"])
    secrets.put_secret_value(SecretId="second/old", SecretString="replaced")
    ssm.put_parameter(Name="/second/parameter", Value=text["parameter"], Type="SecureString")
    ssm.put_parameter(Name="/second/version", Value=text["version"], Type="SecureString")
    ssm.put_parameter(Name="/second/version", Value="replaced", Type="SecureString", Overwrite=True)
    s3.create_bucket(Bucket="byok-second")
    s3.put_bucket_versioning(Bucket="byok-second", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="byok-second", Key="keys/object", Body=made["object"])
    first = s3.put_object(Bucket="byok-second", Key="keys/old", Body=made["old-object"])["VersionId"]
    s3.put_object(Bucket="byok-second", Key="keys/old", Body=b"replaced")
    return {
        "binary": "secretsmanager:second/binary", "text": "secretsmanager:second/text",
        "field": "secretsmanager:second/field?field=key",
        "old": "secretsmanager:second/old?version_stage=AWSPREVIOUS",
        "parameter": "ssm:/second/parameter", "version": "ssm:/second/version?version=1",
        "object": "s3://byok-second/keys/object", "old-object": f"s3://byok-second/keys/old?version_id={first}",
    }  # fmt: skip


SPECS = {
    "binary": "SYMMETRIC_DEFAULT", "text": "HMAC_256", "field": "HMAC_512", "old": "HMAC_384",
    "parameter": "SYMMETRIC_DEFAULT", "version": "HMAC_256",
    "object": "SYMMETRIC_DEFAULT", "old-object": "HMAC_256",
}  # fmt: skip


def test_symmetric_and_hmac_keys_from_every_store(ministack: Ministack, work: Workplace) -> None:
    work.url = ministack.url
    work.defaults["wrapping_key_spec"] = "RSA_2048"  # ministack makes a pair for each call, one after the other
    kms: Any = ministack.client("kms", ACCOUNT, REGION)
    made = {name: materials.make(spec) for name, spec in SPECS.items()}
    keys = {}
    for name, uri in keep(ministack, made).items():
        usage = materials.usage(SPECS[name])
        created = kms.create_key(Origin="EXTERNAL", KeySpec=SPECS[name], KeyUsage=usage)
        keys[name] = created["KeyMetadata"]["KeyId"]
        encoding = "raw" if name in ("binary", "object", "old-object") else "base64"
        add(work, uri, keys[name], name=name, encoding=encoding)
    result = work.run(*ALLOW, "--require-proof", "--log-level", "debug", "--read-timeout", "100s")
    assert result.code == 0, result.stderr
    assert result.report["run"]["environment"] == "custom"
    assert {result.report["run"]["endpoints"][name] for name in ("secretsmanager", "ssm", "s3")} == {ministack.url}
    for name, spec in SPECS.items():
        assert result.entries[name]["status"] == "imported"
        assert kms.describe_key(KeyId=keys[name])["KeyMetadata"]["KeyState"] == "Enabled"
        assert materials.held_by(kms, keys[name], spec, made[name])
        assert result.entries[name]["verification"]["proof"] == ("hmac" if "HMAC" in spec else "material_id")
    texts = [base64.b64encode(material) for material in made.values()]
    needles = [form for secret in (*made.values(), *texts) for form in forms(secret)]
    assert search(work.folder, result, needles, leave_out=set()) == []


def test_what_is_not_there(ministack: Ministack, work: Workplace) -> None:
    work.url = ministack.url
    kms: Any = ministack.client("kms", ACCOUNT, REGION)
    for source, uri in {"secretsmanager": "absent", "ssm": "absent", "s3": "//byok-absent/key"}.items():
        created = kms.create_key(Origin="EXTERNAL", KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
        add(work, f"{source}:{uri}", created["KeyMetadata"]["KeyId"], name=source, encoding="hex")
    result = work.run(*ALLOW)
    assert result.code == 5, result.stderr
    assert {entry["error"]["code"] for entry in result.entries.values()} == {"MaterialNotFound"}
