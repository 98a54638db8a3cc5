"""The whole path against two KMS that were written independently of each other: the sandbox and ministack.

Each test runs on both. Where ministack departs from AWS, the difference is in DIFFERENCES with its reason, and
the test says what is then expected instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, ROLE, Workplace

# What ministack 1.5.33 does otherwise than AWS, as far as these tests see it.
DIFFERENCES = {
    "replaces_material": "different material replaces the old on re-import; AWS: IncorrectKeyMaterialException",
    "no_rotations": "ListKeyRotations is unknown, so a rotated key cannot be told",
    "enables_disabled": "importing into a Disabled key enables it; AWS leaves it Disabled",
}

# ministack makes an RSA-4096 pair for each call, one after the other: the last of many waits long on a busy machine.
PATIENT = ("--read-timeout", "100s")


@dataclass
class Cloud:
    """One of the two."""

    name: str
    work: Workplace
    client: Callable[[str, str], Any]  # (account, region) → an independent boto3 KMS client inside the account

    def differs(self, what: str) -> bool:
        return self.name == "ministack" and what in DIFFERENCES

    def create(self, spec: str, *, account: str = ACCOUNT, region: str = REGION, alias: str | None = None) -> str:
        """A key that waits for its material. Returns its ID."""
        kms = self.client(account, region)
        found = kms.create_key(Origin="EXTERNAL", KeySpec=spec, KeyUsage=materials.usage(spec))
        key_id = str(found["KeyMetadata"]["KeyId"])
        if alias:
            kms.create_alias(AliasName=alias, TargetKeyId=key_id)
        return key_id


@pytest.fixture(params=["sandbox", "ministack"])
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> Cloud:
    server = request.getfixturevalue(request.param)
    if request.param == "sandbox":
        return Cloud(
            "sandbox", Workplace(tmp_path, server.url), lambda account, region: server.client("kms", account, region)
        )
    return Cloud(
        "ministack", Workplace(tmp_path, server.url), lambda account, region: server.client("kms", account, region)
    )


def test_every_key_spec_is_imported_and_proved(cloud: Cloud) -> None:
    made = {spec: materials.make(spec) for spec in materials.ALL_SPECS}
    keys = {spec: cloud.create(spec) for spec in materials.ALL_SPECS}
    for spec, material in made.items():
        cloud.work.key(keys[spec], material, name=spec)

    result = cloud.work.run(*PATIENT)

    assert result.code == 0, result.stderr
    proofs = {spec: entry["verification"]["proof"] for spec, entry in result.entries.items()}
    for spec in materials.ALL_SPECS:
        expected = "material_id" if spec == "SYMMETRIC_DEFAULT" else "hmac" if "HMAC" in spec else "public_key"
        assert proofs[spec] == expected
        assert materials.held_by(cloud.client(ACCOUNT, REGION), keys[spec], spec, made[spec])


def test_a_second_run_changes_nothing(cloud: Cloud) -> None:
    for spec in ("SYMMETRIC_DEFAULT", "HMAC_256", "ECC_NIST_P256"):
        cloud.work.key(cloud.create(spec), materials.make(spec), name=spec)
    assert cloud.work.run().code == 0

    result = cloud.work.run()

    assert result.code == 0, result.stderr
    assert {entry["status"] for entry in result.entries.values()} == {"unchanged"}
    assert {entry["attempts"] for entry in result.entries.values()} == {0}
    calls = result.report["lanes"][0]["calls"]
    assert "GetParametersForImport" not in calls
    assert "ImportKeyMaterial" not in calls
    assert result.entries["HMAC_256"]["verification"]["proof"] == "hmac"
    assert result.entries["SYMMETRIC_DEFAULT"]["verification"]["detail"] == "material_not_compared"


def test_accounts_and_regions_are_kept_apart(cloud: Cloud) -> None:
    material = materials.make("HMAC_256")
    accounts, regions = [ACCOUNT, "444455556666", "777788889999"], [REGION, "eu-west-1"]
    for account in accounts:
        for region in regions:
            cloud.create("HMAC_256", account=account, region=region, alias="alias/fleet")
    cloud.work.key("alias/fleet", material, name="fleet")
    del cloud.work.keys[0]["account"], cloud.work.keys[0]["region"]
    cloud.work.keys[0] |= {"accounts": accounts, "regions": regions}

    result = cloud.work.run(*PATIENT)

    assert result.code == 0, result.stderr
    assert [(entry["account"], entry["region"]) for entry in result.report["results"]] == [
        (account, region) for account in accounts for region in regions
    ]
    assert result.report["summary"]["imported"] == 6
    for account in accounts:
        for region in regions:
            assert materials.held_by(cloud.client(account, region), "alias/fleet", "HMAC_256", material)


def test_expiry_is_set_and_changed(cloud: Cloud) -> None:
    key = cloud.create("SYMMETRIC_DEFAULT")
    valid_to = (datetime.now(UTC) + timedelta(days=90)).replace(microsecond=0)
    cloud.work.key(key, materials.make("SYMMETRIC_DEFAULT"), name="expiring", valid_to=valid_to.isoformat())

    first = cloud.work.run()
    found = cloud.client(ACCOUNT, REGION).describe_key(KeyId=key)["KeyMetadata"]
    cloud.work.keys[0]["valid_to"] = "never"
    second = cloud.work.run()

    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert (found["ExpirationModel"], found["ValidTo"]) == ("KEY_MATERIAL_EXPIRES", valid_to)
    assert second.entries["expiring"]["status"] == "reimported"
    found = cloud.client(ACCOUNT, REGION).describe_key(KeyId=key)["KeyMetadata"]
    assert found["ExpirationModel"] == "KEY_MATERIAL_DOES_NOT_EXPIRE"


def test_other_material_for_a_key_that_has_some_is_never_green(cloud: Cloud) -> None:
    for spec in ("HMAC_512", "ECC_NIST_P384"):
        cloud.work.key(cloud.create(spec), materials.make(spec), name=spec)
    assert cloud.work.run().code == 0
    for spec in ("HMAC_512", "ECC_NIST_P384"):
        (cloud.work.folder / f"{spec}.key").write_bytes(materials.make(spec))

    result = cloud.work.run()

    assert result.code == 5
    assert {entry["error"]["code"] for entry in result.entries.values()} == {"MaterialMismatch"}
    assert {entry["changed"] for entry in result.entries.values()} == {False}


def test_other_material_with_another_expiry(cloud: Cloud) -> None:
    """Then an import is needed, and KMS itself must refuse the bytes."""
    key = cloud.create("HMAC_256")
    cloud.work.key(key, materials.make("HMAC_256"), name="mac")
    assert cloud.work.run().code == 0
    (cloud.work.folder / "mac.key").write_bytes(materials.make("HMAC_256"))
    cloud.work.keys[0]["valid_for"] = "90d"

    result = cloud.work.run()

    if cloud.differs("replaces_material"):
        assert result.entries["mac"]["status"] == "reimported"
        return
    assert result.code == 5
    assert result.entries["mac"]["error"]["code"] == "IncorrectKeyMaterialException"
    assert result.entries["mac"]["changed"] is False


def test_a_disabled_key_stays_disabled(cloud: Cloud) -> None:
    key = cloud.create("HMAC_256")
    cloud.work.key(key, materials.make("HMAC_256"), name="off")
    assert cloud.work.run().code == 0
    cloud.client(ACCOUNT, REGION).disable_key(KeyId=key)
    cloud.work.keys[0]["valid_for"] = "30d"

    result = cloud.work.run("--verify-timeout", "5s")

    entry = result.entries["off"]
    state = cloud.client(ACCOUNT, REGION).describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
    if cloud.differs("enables_disabled"):
        assert (state, entry["error"]["code"], entry["changed"]) == ("Enabled", "VerificationTimeout", True)
        return
    assert result.code == 0, result.stderr
    assert (state, entry["status"], entry["key_state"]) == ("Disabled", "reimported", "Disabled")
    assert entry["verification"]["proof"] == "none"
    assert "key_disabled" in entry["verification"]["detail"]


def test_a_missing_key_and_one_of_another_origin_fail_alone(cloud: Cloud) -> None:
    kms = cloud.client(ACCOUNT, REGION)
    ours = kms.create_key(Origin="AWS_KMS")["KeyMetadata"]["KeyId"]
    cloud.work.key(ours, materials.make("SYMMETRIC_DEFAULT"), name="aws-kms")
    cloud.work.key("alias/nobody", materials.make("SYMMETRIC_DEFAULT"), name="missing")
    cloud.work.key(cloud.create("HMAC_384"), materials.make("HMAC_384"), name="good")

    result = cloud.work.run()

    assert result.code == 4
    errors = {name: entry["error"] and entry["error"]["code"] for name, entry in result.entries.items()}
    assert errors == {"aws-kms": "NotImportableOrigin", "missing": "NotFoundException", "good": None}
    assert all(entry["error"]["advice"] for entry in result.entries.values() if entry["error"])


def test_the_environment_is_told(cloud: Cloud) -> None:
    """A run that did not talk to AWS says so in the report, and on the terminal."""
    cloud.work.key(cloud.create("HMAC_224"), materials.make("HMAC_224"), name="mac", encoding="raw")
    result = cloud.work.run()
    assert result.report["run"]["environment"] == ("sandbox" if cloud.name == "sandbox" else "custom")
    assert result.report["run"]["endpoints"] == {"kms": cloud.work.url, "sts": cloud.work.url}
    assert "not to AWS" in result.stderr
    assert ROLE
