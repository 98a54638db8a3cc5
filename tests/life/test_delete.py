"""`delete`: its guards, what it leaves, and that `run` fills the key again."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.e2e import materials
from tests.e2e.support import ACCOUNT, REGION, Result, Workplace, quick
from tests.faults.forks import Forks, Kill
from tests.faults.support import events
from tests.life.test_create import kms, sent
from tests.sandbox.helpers import import_material
from tests.sandbox_client import Sandbox
from tests.terminal import pseudo

YES = ("--all", "--yes")


def key(
    sandbox: Sandbox, work: Workplace, name: str = "payments", spec: str = "SYMMETRIC_DEFAULT", **fields: Any
) -> dict[str, str]:
    """A key with material, and a target that names it."""
    material = materials.make(spec)
    planted = sandbox.key(key_spec=spec, alias=f"alias/{name}", material={"hex": material.hex()}, **fields)
    work.defaults["wrapping_key_spec"] = "RSA_2048"
    work.key(f"alias/{name}", material, name=name, key_spec=spec)
    return planted


def delete(forks: Forks, work: Workplace, *options: str, command: str = "delete", kill: Kill | None = None) -> Result:
    work.write()
    settings = [text for text in quick(options) if not text.startswith("GetParametersForImport")]
    settings = [text for at, text in enumerate(settings) if text != "--quota"]
    return forks.run(work.folder, work.environment(), [command, "manifest.json", *settings, *options], kill=kill)


def state(sandbox: Sandbox, key_id: str) -> str:
    return str(kms(sandbox).describe_key(KeyId=key_id)["KeyMetadata"]["KeyState"])


@pytest.mark.parametrize("spec", ["SYMMETRIC_DEFAULT", "HMAC_256", "RSA_2048"])
def test_deleted_then_nothing_to_delete_then_filled_again(
    sandbox: Sandbox, work: Workplace, forks: Forks, spec: str
) -> None:
    planted = key(sandbox, work, spec=spec)
    first = delete(forks, work, *YES)
    assert first.code == 0, first.stderr
    assert "nothing that they encrypted can be decrypted" in first.stderr
    entry = first.entries["payments"]
    assert (entry["status"], entry["changed"], entry["changes"]) == ("deleted", True, ["deleted"])
    assert (entry["key_state"], entry["verification"]["consecutive"]) == ("PendingImport", 3)
    assert (first.report["run"]["command"], first.report["summary"]["deleted"]) == ("delete", 1)
    assert first.report["summary"]["unproved"] == 0
    assert state(sandbox, planted["key_id"]) == "PendingImport"

    second = delete(forks, work, *YES)
    assert (second.code, second.entries["payments"]["status"]) == (0, "unchanged")
    assert len(sandbox.calls(operation="DeleteImportedKeyMaterial")) == 1

    filled = delete(forks, work, command="run")
    assert filled.code == 0, filled.stderr
    assert filled.entries["payments"]["status"] == "imported"
    assert state(sandbox, planted["key_id"]) == "Enabled"


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (("--yes",), "or give --all"),
        (("--all", "--only-id", "payments", "--yes"), "contradict"),
        (("--all",), "Give --yes"),
    ],
)
def test_without_a_choice_and_a_confirmation_nothing_is_deleted(
    sandbox: Sandbox, work: Workplace, forks: Forks, options: tuple[str, ...], what: str
) -> None:
    key(sandbox, work)
    result = delete(forks, work, *options)
    assert (result.code, what in result.stderr) == (2, True), result.stderr
    assert not sent(sandbox)


def test_yes_has_no_variable(sandbox: Sandbox, work: Workplace) -> None:
    key(sandbox, work)
    work.write()
    result = work.call("delete", "manifest.json", "--all", BULK_IMPORT_YES="true")
    assert (result.code, "BULK_IMPORT_YES" in result.stderr) == (3, True), result.stderr
    assert not sent(sandbox)


@pytest.mark.parametrize(("answer", "code"), [("2", 0), ("1", 2), ("yes", 2), ("", 2)])
def test_at_a_terminal_the_number_of_keys_is_typed(sandbox: Sandbox, work: Workplace, answer: str, code: int) -> None:
    planted = [key(sandbox, work, name) for name in ("one", "two")]
    work.write()
    command = work.command("delete", "manifest.json", "--all", "--read-interval", "20ms")
    seen = pseudo.run(command, work.folder, work.environment(), typed=f"{answer}\n")
    assert (seen.code, "type the number of keys (2)" in seen.text) == (code, True), seen.text
    states = {state(sandbox, one["key_id"]) for one in planted}
    assert states == ({"PendingImport"} if code == 0 else {"Enabled"})


def test_a_disabled_key_is_kept_unless_it_is_asked_for(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    disabled = key(sandbox, work, "old", state="Disabled")
    enabled = key(sandbox, work, "new")
    result = delete(forks, work, *YES)
    assert result.code == 4, result.stderr
    assert (result.entries["old"]["error"]["code"], result.entries["old"]["changed"]) == ("KeyDisabled", False)
    assert (state(sandbox, disabled["key_id"]), state(sandbox, enabled["key_id"])) == ("Disabled", "PendingImport")
    again = delete(forks, work, *YES, "--disabled-too")
    assert again.code == 0, again.stderr
    assert state(sandbox, disabled["key_id"]) == "PendingImport"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "of another origin": ({"origin": "AWS_KMS", "material": None}, "NotImportableOrigin"),
    "pending deletion": ({"state": "PendingDeletion"}, "KeyStateNotImportable"),
    "of another spec": ({"key_spec": "HMAC_256"}, "KeySpecMismatch"),
}


@pytest.mark.parametrize("how", REFUSED)
def test_a_key_that_is_not_what_the_manifest_says_is_left_alone(
    sandbox: Sandbox, work: Workplace, forks: Forks, how: str
) -> None:
    fields, code = REFUSED[how]
    material = materials.make("SYMMETRIC_DEFAULT")
    sandbox.key(**{"alias": "alias/payments", "material": {"hex": material.hex()}, **fields})
    work.key("alias/payments", material, name="payments", key_spec="SYMMETRIC_DEFAULT")
    result = delete(forks, work, *YES)
    assert (result.code, result.entries["payments"]["error"]["code"]) == (5, code)
    assert sent(sandbox)["DeleteImportedKeyMaterial"] == 0


def test_the_only_selected_targets_are_emptied(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    kept, emptied = key(sandbox, work, "kept"), key(sandbox, work, "emptied")
    result = delete(forks, work, "--only-id", "emptied", "--yes")
    assert result.code == 0, result.stderr
    assert (state(sandbox, kept["key_id"]), state(sandbox, emptied["key_id"])) == ("Enabled", "PendingImport")


def test_of_several_materials_one_must_be_named(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    """And pending material is gone for good, while the key stays as it is."""
    planted = key(sandbox, work)
    pending(sandbox, planted["key_id"], "2027")
    unnamed = delete(forks, work, *YES)
    assert (unnamed.code, unnamed.entries["payments"]["error"]["code"]) == (5, "RotatedKey")
    assert "--material-name" in unnamed.entries["payments"]["error"]["advice"]
    wrong = delete(forks, work, *YES, "--material-name", "2028")
    assert wrong.entries["payments"]["error"]["code"] == "NoSuchMaterial"
    assert "2027" in wrong.entries["payments"]["error"]["message"]
    named = delete(forks, work, *YES, "--material-name", "2027")
    assert named.code == 0, named.stderr
    entry = named.entries["payments"]
    assert (entry["status"], entry["key_state"]) == ("deleted", "Enabled")
    (left,) = rotations(sandbox, planted["key_id"])
    assert (left["KeyMaterialState"], left["ImportState"]) == ("CURRENT", "IMPORTED")


def rotations(sandbox: Sandbox, key_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = kms(sandbox).list_key_rotations(KeyId=key_id, IncludeKeyMaterial="ALL_KEY_MATERIAL")[
        "Rotations"
    ]
    return found


def pending(sandbox: Sandbox, key_id: str, name: str) -> None:
    """New material next to the current one, as somebody begins a rotation."""
    import_material(
        kms(sandbox), key_id, materials.make("SYMMETRIC_DEFAULT"), ImportType="NEW_KEY_MATERIAL",
        KeyMaterialDescription=name, ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
    )  # fmt: skip


@pytest.mark.parametrize("effect", ["act_then_drop", "drop", "lag"])
def test_a_lost_response_or_a_stale_host_is_looked_through(
    sandbox: Sandbox, work: Workplace, forks: Forks, effect: str
) -> None:
    planted = key(sandbox, work)
    if effect == "lag":
        sandbox.post("lag", seconds=0.5, share=0.5, seed=2)
    else:
        sandbox.fault(effect, operation="DeleteImportedKeyMaterial", times=1)
    result = delete(forks, work, *YES, "--consistency-timeout", "10s")  # the key itself is new, too
    assert result.code == 0, result.stderr
    assert result.entries["payments"]["changes"] == ["deleted"]
    sandbox.post("lag", seconds=0)  # for the client of this test
    assert state(sandbox, planted["key_id"]) == "PendingImport"


def test_another_command_does_not_resume_its_journal(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    key(sandbox, work)
    sandbox.fault("error", operation="DeleteImportedKeyMaterial", code="AccessDeniedException", times=None)
    assert delete(forks, work, *YES).code == 5
    refused = delete(forks, work, "--resume", command="run")
    assert (refused.code, "command delete" in refused.stderr) == (3, True), refused.stderr
    other = delete(forks, work, *YES, "--resume", "--disabled-too")
    assert (other.code, "--disabled-too" in other.stderr) == (3, True), other.stderr
    assert sent(sandbox)["ImportKeyMaterial"] == 0


EVENTS = 12  # more than such a run writes


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("seq", range(2, EVENTS))
def test_killed_anywhere_a_resume_completes_it(
    sandbox: Sandbox, work: Workplace, forks: Forks, seq: int, how: str
) -> None:
    planted = key(sandbox, work)
    killed = delete(forks, work, *YES, kill=Kill(seq, how))
    if killed.code == 0:
        assert len(events(work)) < seq
        return
    assert killed.code == -signal.SIGKILL
    result = delete(forks, work, *YES, "--resume")
    assert result.code == 0, result.stderr
    assert result.entries["payments"]["status"] == "deleted"
    assert state(sandbox, planted["key_id"]) == "PendingImport"
    assert len(sandbox.calls(operation="DeleteImportedKeyMaterial")) <= 2


def test_the_policies_for_it_allow_it_and_nothing_else(work: Workplace) -> None:
    work.key(f"arn:aws:kms:{REGION}:{ACCOUNT}:key/12345678-1234-1234-1234-123456789012", b"x" * 32, name="payments")
    work.write()
    caller = "arn:aws:iam::999988887777:role/CI"
    result = work.call("iam", "manifest.json", "--command", "delete", "--caller-arn", caller)
    assert result.code == 0, result.stderr
    (account,) = json.loads(result.stdout)["accounts"]
    actions = {
        action
        for document in account["permissions_policies"]
        for statement in document["Statement"]
        for action in statement["Action"]
    }
    assert actions == {"kms:DescribeKey", "kms:ListKeyRotations", "kms:DeleteImportedKeyMaterial"}


def test_annotations_and_the_steps_summary(sandbox: Sandbox, work: Workplace, forks: Forks) -> None:
    """As a run writes them in GitHub Actions."""
    key(sandbox, work)
    planted = key(sandbox, work, "locked")
    sandbox.fault("deny", operation="DeleteImportedKeyMaterial", key=planted["key_id"], times=None)
    work.write()
    summary = work.folder / "summary.md"
    environment = work.environment(GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    result = forks.run(work.folder, environment, ["delete", "manifest.json", *YES, "--read-interval", "20ms"])
    assert result.code == 4, result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("::error ")]
    assert len(errors) == 1
    assert "AccessDeniedException" in errors[0]
    assert "1 of 2 targets failed" in summary.read_text()
