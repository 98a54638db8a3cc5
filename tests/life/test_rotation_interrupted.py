"""Keys with several materials: expiry, and what goes wrong on the way, such as lost responses and kills."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.support import Workplace
from tests.faults.forks import Forks, Kill
from tests.faults.support import events
from tests.life.rotated import Key, kms, listed, states
from tests.sandbox_client import Sandbox

# --- expiry


def test_expired_materials_come_back_by_their_ids(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    """Also the one that is not current: without it, KMS takes the whole key out of use."""
    key = Key(work, forks, sandbox.key()["key_id"])
    key.add("2024", valid_for="24h", renew_before="1h")
    key.add("2025")
    key.ok()
    old = kms(sandbox).encrypt(KeyId=key.id, Plaintext=b"hello")["CiphertextBlob"]
    ids = [each["KeyMaterialId"] for each in listed(sandbox, key.id)]
    sandbox.advance(25 * 3600)
    sandbox.forget_sessions()
    assert kms(sandbox).describe_key(KeyId=key.id)["KeyMetadata"]["KeyState"] == "PendingImport"
    key.entry["materials"][0] |= {"valid_for": "90d", "renew_before": "30d"}
    entry = key.ok()
    assert (entry["status"], entry["changes"], entry["attempts"]) == ("imported", ["imported"], 1)
    assert [each["KeyMaterialId"] for each in listed(sandbox, key.id)] == ids
    assert [each["ImportState"] for each in listed(sandbox, key.id)] == ["IMPORTED", "IMPORTED"]
    assert kms(sandbox).decrypt(CiphertextBlob=old)["Plaintext"] == b"hello"
    assert key.ok()["status"] == "unchanged"


def test_each_material_is_renewed_by_its_own_expiry(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key = Key(work, forks, sandbox.key()["key_id"], valid_for="90d")
    key.add("2024", valid_for="24h")
    key.add("2025", valid_to="never")
    key.add("2026")
    first = key.ok()
    models = [each["expiration_model"] for each in first["materials"]]
    assert models == ["KEY_MATERIAL_EXPIRES", "KEY_MATERIAL_DOES_NOT_EXPIRE", "KEY_MATERIAL_EXPIRES"]
    assert first["valid_to"] == first["materials"][0]["valid_to"]  # DescribeKey's is the earliest
    assert key.ok()["status"] == "unchanged"
    key.entry["materials"][0] |= {"valid_for": "60d", "renew_before": "30d"}
    second = key.ok()
    assert (second["changes"], second["attempts"]) == (["imported"], 1)
    assert second["materials"][0]["valid_to"] > first["materials"][0]["valid_to"]
    assert second["materials"][2]["valid_to"] == first["materials"][2]["valid_to"]


# --- what goes wrong on the way


@pytest.mark.parametrize("effect", ["drop", "act_then_drop", "act_then_http500"])
@pytest.mark.parametrize("operation", ["ImportKeyMaterial", "RotateKeyOnDemand"])
def test_a_lost_response_never_rotates_twice(
    sandbox: Sandbox, work: Workplace, forks: Forks, operation: str, effect: str
) -> None:
    key = Key(work, forks, sandbox.key()["key_id"], "2024")
    key.ok()
    old = kms(sandbox).encrypt(KeyId=key.id, Plaintext=b"hello")["CiphertextBlob"]
    key.add("2025")
    sandbox.fault(effect, operation=operation)
    entry = key.ok()
    assert entry["changes"] == ["imported", "rotated"]
    assert entry["materials"][1]["proof"] == "material_id"
    assert states(sandbox, key.id) == [("2024", "NON_CURRENT"), ("2025", "CURRENT")]
    assert kms(sandbox).decrypt(CiphertextBlob=old)["Plaintext"] == b"hello"


def test_hosts_that_lag_behind_change_nothing_about_it(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key = Key(work, forks, sandbox.key()["key_id"], "2024")
    key.ok()
    sandbox.post("lag", seconds=1)
    sandbox.advance(2)  # every host shows the first material by now
    key.add("2025")
    key.add("2026")
    entry = key.ok("--consistency-timeout", "20s")
    assert entry["changes"] == ["imported", "rotated"]
    sandbox.post("lag", seconds=0)
    assert [state for _, state in states(sandbox, key.id)] == ["NON_CURRENT", "NON_CURRENT", "CURRENT"]
    assert [each["proof"] for each in entry["materials"]] == ["none", "material_id", "material_id"]


EVENTS = range(5, 17)  # from the first read to the run's last event; those before are the same for every run


@pytest.mark.parametrize(("how", "resumed"), [("before", True), ("after", False)])
@pytest.mark.parametrize("seq", EVENTS)
def test_killed_anywhere_the_rotation_continues(
    sandbox: Sandbox, work: Workplace, forks: Forks, seq: int, how: str, *, resumed: bool
) -> None:
    """A key filled by `material` is adopted and rotated: three changes, each killed before, on and after its way."""
    first = os.urandom(32)
    key = Key(work, forks, sandbox.key(material={"hex": first.hex()})["key_id"])
    old = kms(sandbox).encrypt(KeyId=key.id, Plaintext=b"hello")["CiphertextBlob"]
    key.add("2024", first)
    key.add("2025")
    killed = key.run(kill=Kill(seq, how))
    if killed.code == 0:
        assert len(events(work)) < seq  # it wrote fewer events: there was nothing to kill
        return
    assert killed.code == -signal.SIGKILL
    result = key.run(*(("--resume",) if resumed else ()))
    assert result.code == 0, (result.stderr, result.report["results"])
    entry = result.entries["payments"]
    assert states(sandbox, key.id) == [("2024", "NON_CURRENT"), ("2025", "CURRENT")]
    assert kms(sandbox).decrypt(CiphertextBlob=old)["Plaintext"] == b"hello"
    if resumed:
        assert (entry["status"], entry["changes"]) == ("reimported", ["imported", "rotated"])
        assert entry["materials"][1]["proof"] == "material_id"
    accepted = sum(1 for call in sandbox.calls(operation="RotateKeyOnDemand") if call["status"] == 200)
    assert accepted == 1


@pytest.mark.parametrize("seq", range(4, 8))
def test_killed_before_it_has_its_alias_a_created_key_gets_it(
    sandbox: Sandbox, work: Workplace, forks: Forks, seq: int
) -> None:
    """From the intent of CreateKey to that of CreateAlias. The next run finds the key by its tag."""
    key = Key(work, forks, "alias/payments", "2024", "2025", key_spec="SYMMETRIC_DEFAULT", create={})
    assert key.run(kill=Kill(seq, "after")).code == -signal.SIGKILL
    entry = key.ok()
    (found,) = kms(sandbox).list_keys()["Keys"]
    assert kms(sandbox).describe_key(KeyId="alias/payments")["KeyMetadata"]["Arn"] == found["KeyArn"]
    assert entry["key_arn"] == found["KeyArn"]
    assert entry["changes"][-3:] == ["alias", "imported", "rotated"]
