"""An approved plan: run as it is, again, resumed, and after its environment changed."""

from __future__ import annotations

import hashlib
import hmac
import json
import signal
from datetime import datetime, timedelta

import jsonschema
import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from bulk_import.api import SCHEMAS
from tests.approval.support import Fleet, stale
from tests.e2e import materials
from tests.e2e.support import Workplace
from tests.e2e.test_canary import forms
from tests.faults.forks import Forks, Kill
from tests.faults.support import events
from tests.sandbox.helpers import NEVER, import_material, public_key
from tests.sandbox_client import Sandbox

SYMMETRIC = "SYMMETRIC_DEFAULT"


@pytest.fixture
def fleet(sandbox: Sandbox, work: Workplace, forks: Forks) -> Fleet:
    return Fleet(sandbox, work, forks)


def fill(fleet: Fleet) -> dict[str, bytes]:
    """Targets of every kind: to import, to create, to correct, to renew, as wanted. Returns their materials."""
    sandbox, work = fleet.sandbox, fleet.work
    made = {name: materials.make(spec) for name, spec in KINDS.items()}
    for name in ("aes", "mac", "ecc"):
        work.key(sandbox.key(key_spec=KINDS[name])["key_id"], made[name], name=name, valid_for="30d")
    create = {"description": "New", "tags": {"team": "a"}}
    work.key("alias/new", made["new"], name="new", key_spec=SYMMETRIC, create=create)
    held = {"material": {"hex": made["drifted"].hex()}, "description": "Somebody's"}
    sandbox.key(alias="alias/drifted", **held)
    work.key("alias/drifted", made["drifted"], name="drifted", key_spec=SYMMETRIC, create={"description": "Ours"})
    good = sandbox.key(key_spec="HMAC_256", material={"hex": made["good"].hex()})
    work.key(good["key_id"], made["good"], name="good")
    return made


KINDS = {
    "aes": SYMMETRIC, "mac": "HMAC_256", "ecc": "ECC_NIST_P256", "new": SYMMETRIC, "drifted": SYMMETRIC,
    "good": "HMAC_256",
}  # fmt: skip


ALIASES = "arn:aws:kms:us-east-1:111122223333:"


def check_value(spec: str, material: bytes, arn: str) -> str:
    """As the contract of a plan defines it."""
    text = f"bulk-import:{arn}".encode()
    if spec == SYMMETRIC:
        cmac = CMAC(AES(material))
        cmac.update(text)
        return cmac.finalize()[:8].hex()
    if spec == "HMAC_256":
        return hmac.digest(material, text, "sha256")[:8].hex()
    return hashlib.sha256(public_key(material)).hexdigest()


def test_planned_then_run_then_run_again(fleet: Fleet) -> None:
    made = fill(fleet)
    plan = fleet.plan()
    file = fleet.work.folder / "plan.json"
    jsonschema.validate(plan, SCHEMAS["plan"]())
    assert oct(file.stat().st_mode)[-3:] == "600"
    assert not fleet.changes()
    assert [one["materials"][0]["kind"] for one in plan["binding"]["targets"]] == [
        "material_check", "hmac_check", "spki_sha256", "material_check", "material_check", "hmac_check",
    ]  # fmt: skip
    assert [one["materials"][0]["value"] for one in plan["binding"]["targets"]] == [
        check_value(KINDS[one["id"]], made[one["id"]], one["key_arn"] or f"{ALIASES}alias/new")
        for one in plan["targets"]
    ]
    assert not [secret for material in made.values() for secret in forms(material) if secret in file.read_bytes()]

    first = fleet.run("--require-proof", "--known", "none.json", "--only-id", "aes")
    assert first.code == 3, first.stderr  # another selection
    first = fleet.run()
    assert first.code == 0, (first.stderr, first.report["results"])
    assert {name: entry["status"] for name, entry in first.entries.items()} == {
        "aes": "imported", "mac": "imported", "ecc": "imported", "new": "imported", "drifted": "corrected",
        "good": "unchanged",
    }  # fmt: skip
    for name, spec in KINDS.items():
        assert materials.held_by(fleet.kms(), first.entries[name]["key_arn"], spec, made[name]), name
    created = datetime.fromisoformat(plan["binding"]["created_at"]).replace(microsecond=0)
    shown = fleet.kms().describe_key(KeyId=first.entries["aes"]["key_arn"])["KeyMetadata"]["ValidTo"]
    assert shown == created + timedelta(days=30)  # it counts from the plan's instant

    done = fleet.changes()
    second = fleet.run()
    assert second.code == 0, (second.stderr, [entry["error"] for entry in second.report["results"]])
    assert {entry["status"] for entry in second.report["results"]} == {"unchanged"}
    assert fleet.run().code == 0  # by the journals of both
    assert fleet.changes() == done


def test_what_anybody_else_filled_is_not_the_plans(fleet: Fleet) -> None:
    """Only this plan's journal, or --known, shows whose material it is."""
    fill(fleet)
    fleet.plan()
    assert fleet.run("--report", "elsewhere.json").code == 0
    unknown = fleet.run("--prove", "auto")
    assert unknown.code == 4
    for name in ("aes", "mac", "ecc"):
        assert "filled since" in stale(unknown, name)
    assert "no run of this plan created" in stale(unknown, "new")
    known = fleet.run("--known", "elsewhere.json", "--report", "third.json")
    results = {entry["id"]: entry for entry in json.loads((fleet.work.folder / "third.json").read_bytes())["results"]}
    assert known.code == 4
    assert (results["aes"]["status"], results["aes"]["verification"]["proof"]) == ("unchanged", "material_id")


@pytest.mark.parametrize(("spec", "prove"), [(SYMMETRIC, "auto"), ("HMAC_256", "none")])
def test_what_kms_refused_is_not_the_plans(fleet: Fleet, spec: str, prove: str) -> None:
    """KMS refused the import of a run of the plan, and then somebody else filled the key."""
    key_id = fleet.sandbox.key(key_spec=spec)["key_id"]
    fleet.work.key(key_id, materials.make(spec), name="one")
    fleet.plan("--prove", prove)
    fleet.sandbox.fault("error", operation="ImportKeyMaterial", code="InvalidCiphertextException")
    assert fleet.run("--prove", prove).entries["one"]["error"]["code"] == "InvalidCiphertextException"
    import_material(fleet.kms(), key_id, materials.make(spec), **NEVER)
    assert "filled since" in stale(fleet.run("--prove", prove))


def test_an_import_without_an_answer_may_be_the_plans(fleet: Fleet) -> None:
    """It took effect, and a later request of the same plan was refused: the material is still this plan's."""
    key_id = fleet.sandbox.key()["key_id"]
    fleet.work.key(key_id, materials.make(SYMMETRIC), name="one")
    fleet.plan()
    fleet.sandbox.fault("drop", operation="ImportKeyMaterial")
    fleet.sandbox.fault("error", operation="ImportKeyMaterial", code="InvalidCiphertextException")
    first = fleet.run("--retry-timeout", "5")
    assert first.code == 5, first.report["results"]
    import_material(fleet.kms(), key_id, (fleet.work.folder / "one.key").read_bytes(), **NEVER)
    assert fleet.run().code == 0


def test_an_approved_plan_after_the_environment_changed(fleet: Fleet) -> None:
    sandbox, work = fleet.sandbox, fleet.work
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "kms:*", "Resource": "*"}],
    }
    (work.folder / "policy.json").write_text(json.dumps(policy))
    stated = {"description": "Ours", "tags": {"team": "a"}}
    keys: dict[str, str] = {}

    def key(name: str, spec: str = "HMAC_256", **fields: object) -> None:
        found = sandbox.key(key_spec=spec, alias=f"alias/{name}", **fields)
        keys[name] = found["key_id"]
        work.key(f"alias/{name}", materials.make(spec), name=name, key_spec=spec)

    for name in ("untouched", "filled_mac", "deleted", "gone", "moved", "described", "replaced", "altered"):
        key(name)
    key("filled_aes", SYMMETRIC)
    held = materials.make("HMAC_256")
    for name in ("disabled", "emptied", "expired", "tagged"):
        key(name, material={"hex": held.hex()}, description="Ours", tags={"team": "a"})
        (work.folder / f"{name}.key").write_bytes(held)
    work.keys[-1]["create"] = stated
    work.keys[[entry["id"] for entry in work.keys].index("altered")]["create"] = {"policy": "file:policy.json"}
    work.key("alias/created", materials.make("HMAC_256"), name="created", key_spec="HMAC_256", create={})
    plan = fleet.plan("--correct", "description", "--correct", "policy")
    assert plan["summary"]["blocked"] == 0

    kms = fleet.kms()
    import_material(kms, keys["filled_mac"], materials.make("HMAC_256"), **NEVER)
    import_material(kms, keys["filled_aes"], materials.make(SYMMETRIC), **NEVER)
    kms.delete_imported_key_material(KeyId=keys["emptied"])
    import_material(kms, keys["expired"], held, ExpirationModel="KEY_MATERIAL_EXPIRES",
                    ValidTo=datetime.fromisoformat("2027-06-30T00:00:00+00:00"))  # fmt: skip
    kms.disable_key(KeyId=keys["disabled"])
    kms.schedule_key_deletion(KeyId=keys["deleted"], PendingWindowInDays=7)
    kms.delete_alias(AliasName="alias/gone")
    other = sandbox.key(key_spec="HMAC_256")
    kms.update_alias(AliasName="alias/moved", TargetKeyId=other["key_id"])
    kms.update_key_description(KeyId=keys["described"], Description="Somebody's")
    kms.tag_resource(KeyId=keys["tagged"], Tags=[{"TagKey": "team", "TagValue": "b"}])
    made = kms.create_key(Origin="EXTERNAL", KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]
    kms.create_alias(AliasName="alias/created", TargetKeyId=made["KeyId"])
    (work.folder / "replaced.key").write_bytes(materials.make("HMAC_256"))
    policy["Statement"][0]["Sid"] = "Another"  # type: ignore[index]  # mypy sees a str or a list
    (work.folder / "policy.json").write_text(json.dumps(policy))

    before = fleet.changes()
    result = fleet.run("--correct", "description", "--correct", "policy")
    assert result.code == 4, result.stderr
    wrong = {name: entry["error"] and entry["error"]["code"] for name, entry in result.entries.items()}
    assert wrong.pop("untouched") is None
    assert set(wrong.values()) == {"PlanStale"}, wrong
    for name, text in {
        "filled_aes": "by no run of this plan", "filled_mac": "by no run of this plan",
        "disabled": "key_state was Enabled, and is Disabled",
        "deleted": "PendingDeletion", "gone": "there is no such key now", "moved": "key_arn was",
        "described": "description was , and is Somebody's", "replaced": "its source holds other material",
        "altered": "`create.policy` is another one", "emptied": "key_state was Enabled, and is PendingImport",
        "expired": "expiration_model was", "tagged": "tags was", "created": "no run of this plan created",
    }.items():  # fmt: skip
        assert text in stale(result, name), result.entries[name]["error"]
    assert fleet.changes() - before == {"GetParametersForImport": 1, "ImportKeyMaterial": 1}
    assert fleet.state(keys["untouched"]) == "Enabled"
    assert fleet.state(keys["altered"]) == fleet.state(keys["replaced"]) == "PendingImport"

    dry = fleet.run("--correct", "description", "--correct", "policy", "--dry-run", "--format", "json")
    assert dry.code == 4, dry.stderr
    blocked = {one["id"] for one in json.loads(dry.stdout)["targets"] if one["error"]}
    assert blocked == set(wrong)


def test_killed_anywhere_and_continued(fleet: Fleet) -> None:
    """A key that is created and one that is renewed: killed after each answer, then resumed or run again."""
    sandbox, work = fleet.sandbox, fleet.work
    new, old = materials.make(SYMMETRIC), materials.make(SYMMETRIC)
    work.key("alias/new", new, name="new", key_spec=SYMMETRIC, create={"tags": {"team": "a"}})
    held = sandbox.key(material={"hex": old.hex()}, alias="alias/old")
    work.key("alias/old", old, name="old", valid_for="30d")
    fleet.plan()
    assert fleet.run("--report", "whole.json").code == 0
    seqs = [event["seq"] for event in events(work, "whole.journal.jsonl") if event["event"] == "answered"]
    for number, seq in enumerate(seqs):
        sandbox.reset()
        again = {"key_id": held["key_id"], "material": {"hex": old.hex()}, "alias": "alias/old"}
        sandbox.seed({"accounts": {"111122223333": {"regions": {"us-east-1": {"keys": [again]}}}}})
        for path in work.folder.glob("report*"):
            path.unlink()
        killed = fleet.run(kill=Kill(seq, "after"))
        assert killed.code == -signal.SIGKILL, killed.stderr
        result = fleet.run(*(("--resume",) if number % 2 else ()))
        assert result.code == 0, (seq, result.stderr, [entry["error"] for entry in result.report["results"]])
        assert len(fleet.kms().list_keys()["Keys"]) == 2
        for name, material in (("new", new), ("old", old)):
            assert materials.held_by(fleet.kms(), f"alias/{name}", SYMMETRIC, material)
        assert fleet.changes()["CreateKey"] == 1
