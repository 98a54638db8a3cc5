"""`pkcs11:` with SoftHSM: keys that were generated in the token, and never leave it in the clear."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox
from tests.sources.softhsm import PIN, SoftHsm
from tests.sources.support import add

ALLOW = ("--allow-source", "pkcs11:")
LENGTHS = {"HMAC_256": 32, "HMAC_384": 48, "HMAC_512": 64}


@pytest.fixture(scope="session")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    return SoftHsm(tmp_path_factory.mktemp("softhsm"))


@pytest.mark.parametrize("spec", LENGTHS)
def test_an_hmac_key_is_sealed_in_the_token(sandbox: Sandbox, work: Workplace, hsm: SoftHsm, spec: str) -> None:
    by_token = hsm.make(f"mac {spec}", "mac", LENGTHS[spec])
    key = sandbox.key(key_spec=spec)["key_id"]
    add(work, f"pkcs11:token=byok;object=mac%20{spec}", key)
    result = work.run(*ALLOW, "--require-proof", **hsm.environment())
    assert result.code == 0, result.stderr
    entry = result.entries["one"]
    assert entry["verification"]["proof"] == "hmac"
    assert entry["wrapping_algorithm"] == "RSAES_OAEP_SHA_1"  # all that SoftHSM can
    mac = sandbox.client().generate_mac(KeyId=key, Message=b"message", MacAlgorithm=spec.replace("HMAC_", "HMAC_SHA_"))
    assert mac["Mac"].hex() == by_token
    again = work.run(*ALLOW, "--require-proof", **hsm.environment())
    assert (again.code, again.entries["one"]["status"]) == (0, "unchanged")


def test_an_aes_key_is_sealed_and_its_check_value_compared(sandbox: Sandbox, work: Workplace, hsm: SoftHsm) -> None:
    kcv = hsm.make("aes", "aes", 32)[:6]
    right, wrong = sandbox.key()["key_id"], sandbox.key()["key_id"]
    add(work, "pkcs11:token=byok;id=aes", right, name="right", expect={"kcv": kcv})
    add(work, "pkcs11:token=byok;object=aes", wrong, name="wrong", expect={"kcv": "000000"})
    result = work.run(*ALLOW, **hsm.environment())
    assert result.code == 4, result.stderr
    assert result.entries["right"]["verification"]["proof"] == "material_id"
    assert result.entries["wrong"]["error"]["code"] == "CheckValueMismatch"
    assert len(sandbox.calls(operation="GetParametersForImport")) == 1


def test_the_algorithm_that_the_token_lacks_is_reported_before_a_permit(
    sandbox: Sandbox, work: Workplace, hsm: SoftHsm
) -> None:
    hsm.make("algorithm", "aes", 32)
    fields = {"wrapping_algorithm": "RSAES_OAEP_SHA_256"}
    add(work, "pkcs11:token=byok;object=algorithm", sandbox.key()["key_id"], **fields)
    result = work.run(*ALLOW, **hsm.environment())
    error = result.entries["one"]["error"]
    assert error["code"] == "WrappingNotAllowed"
    assert "RSAES_OAEP_SHA_1" in error["message"]
    assert sandbox.calls(operation="GetParametersForImport") == []


REFUSED = {
    "not extractable": ("aes", 32, '{"CKA_EXTRACTABLE": false}', "SYMMETRIC_DEFAULT", "MaterialNotExportable"),
    "trusted only": ("aes", 32, '{"CKA_WRAP_WITH_TRUSTED": true}', "SYMMETRIC_DEFAULT", "MaterialNotExportable"),
    "a short key": ("aes", 16, "{}", "SYMMETRIC_DEFAULT", "MaterialWrongLength"),
    "another kind": ("mac", 32, "{}", "SYMMETRIC_DEFAULT", "MaterialInvalid"),
    "nothing": (None, 0, "", "HMAC_256", "MaterialNotFound"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_keys_that_cannot_go(sandbox: Sandbox, work: Workplace, hsm: SoftHsm, case: str) -> None:
    kind, length, more, spec, code = REFUSED[case]
    name = f"refused {case}".replace(" ", "-")
    if kind:
        hsm.make(name, kind, length, more)
    add(work, f"pkcs11:token=byok;object={name}", sandbox.key(key_spec=spec)["key_id"])
    result = work.run(*ALLOW, **hsm.environment())
    error = result.entries["one"]["error"]
    assert (result.code, error["code"]) == (5, code), error
    assert error["advice"]
    assert sandbox.calls(operation="GetParametersForImport") == []


def test_a_wrong_pin_is_tried_once(sandbox: Sandbox, work: Workplace, tmp_path_factory: pytest.TempPathFactory) -> None:
    own = SoftHsm(tmp_path_factory.mktemp("wrong-pin"))
    own.make("one", "mac", 32)
    (work.folder / "wrong").write_text("0000")
    for number in range(12):
        add(work, "pkcs11:token=byok;object=one", sandbox.key(key_spec="HMAC_256")["key_id"], name=f"k{number}")
    result = work.run(*ALLOW, **own.environment(BULK_IMPORT_PKCS11_PIN_FILE=str(work.folder / "wrong")))
    assert result.code == 5
    assert {entry["error"]["code"] for entry in result.entries.values()} == {"SourceDenied"}
    assert work.run(*ALLOW, **own.environment()).code == 0  # the token is not locked


def test_a_token_process_that_is_killed_costs_its_targets_only(sandbox: Sandbox, work: Workplace, hsm: SoftHsm) -> None:
    hsm.make("killed", "mac", 32)
    for number in range(3):
        add(work, "pkcs11:token=byok;object=killed", sandbox.key(key_spec="HMAC_256")["key_id"], name=f"k{number}")
    work.key(sandbox.key()["key_id"], os.urandom(32), name="good")
    process = work.start(
        *ALLOW, "--allow-source", "file:", "--quota", "GetParametersForImport=0.5", **hsm.environment()
    )
    while not sandbox.calls(operation="ImportKeyMaterial"):
        time.sleep(0.02)
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
    result = work.finish(process)
    assert result.code == 4, result.stderr
    assert result.entries["good"]["status"] == "imported"
    assert result.entries["k2"]["error"]["code"] == "SourceFailed"
    assert "has ended" in result.entries["k2"]["error"]["message"]


def test_the_pin_appears_nowhere_and_the_child_gets_no_secret(sandbox: Sandbox, work: Workplace, hsm: SoftHsm) -> None:
    hsm.make("quiet", "mac", 32)
    for number in range(2):
        add(work, "pkcs11:token=byok;object=quiet", sandbox.key(key_spec="HMAC_256")["key_id"], name=f"k{number}")
    canaries = {"VAULT_TOKEN": "canary-vault", "CANARY": "canary-env", "DB_PASSWORD": "canary-db"}
    add(work, "env:CANARY", sandbox.key()["key_id"], name="env")
    process = work.start(
        *ALLOW, "--allow-source", "env:", "--quota", "GetParametersForImport=0.5", "--log-level", "debug",
        **hsm.environment(**canaries),
    )  # fmt: skip
    while not sandbox.calls(operation="ImportKeyMaterial"):
        time.sleep(0.02)
    [child] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    environment = Path(f"/proc/{child}/environ").read_bytes()
    arguments = Path(f"/proc/{child}/cmdline").read_bytes()
    result = work.finish(process)
    for secret in (PIN, *canaries.values(), "pipeline"):  # the last: the caller's secret access key
        assert secret.encode() not in environment
        assert secret.encode() not in arguments
    written = [path.read_bytes() for path in work.folder.iterdir() if path.is_file()]
    assert PIN.encode() not in b"".join([*written, result.stderr.encode(), result.stdout])


@pytest.mark.parametrize(
    "uri",
    ["pkcs11:", "pkcs11:token=byok", "pkcs11:object=a", "pkcs11:token=byok;object=a?pin-value=1234",
     "pkcs11:token=byok;object=a?pin-source=file:x", "pkcs11:token=byok;object=a?module-path=/evil.so",
     "pkcs11:token=byok;object=a;object=b", "pkcs11:token=byok;object=a;type=private", "pkcs11:token=byok;label=a",
     "pkcs11:token=byok;object=%zz", "pkcs11:token=byok;object="],
)  # fmt: skip
def test_uris_that_are_none(work: Workplace, uri: str) -> None:
    add(work, uri)
    work.write()
    result = work.call("validate", "manifest.json", *ALLOW)
    assert result.code == 3
    assert "1234" not in result.stderr


def test_settings_that_are_missing(sandbox: Sandbox, work: Workplace) -> None:
    add(work, "pkcs11:token=byok;object=a")
    work.write()
    result = work.call("plan", "manifest.json", *ALLOW)
    assert result.code == 3
    assert "--pkcs11-module" in result.stderr
    assert "--pkcs11-pin-file" in result.stderr
    assert sandbox.calls() == []


def test_validate_reads_the_token(work: Workplace, hsm: SoftHsm) -> None:
    hsm.make("validated", "aes", 16)
    add(work, "pkcs11:token=byok;object=validated", key_spec="SYMMETRIC_DEFAULT")
    work.write()
    result = work.call("validate", "manifest.json", "--material", *ALLOW, **hsm.environment())
    assert result.code == 3
    assert "16 bytes" in result.stderr
