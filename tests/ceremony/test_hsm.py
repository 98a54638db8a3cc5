"""A ceremony whose material is in an HSM: sealed there, on a machine without a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.ceremony.conftest import Ceremony, spoken
from tests.e2e.ministack import Ministack
from tests.e2e.support import ACCOUNT, REGION, Result, Workplace
from tests.faults.forks import Forks
from tests.sandbox_client import Sandbox
from tests.sources.support import add
from tests.sources.tokens import Hsm, Nss, SoftHsm

ALLOW = ("--allow-source", "pkcs11:")


def sealed_offline(vault: Workplace, hsm: Hsm, *options: str) -> Result:
    """`seal` in a process that has no network: not even a loopback interface."""
    arguments = ["seal", "bundle.jsonl", "manifest.json", "sealed.jsonl", *ALLOW, *options]
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "bulk_import", *arguments], cwd=vault.folder,
        env=vault.environment(**hsm.environment()), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return Result(done.returncode, done.stdout, done.stderr.decode(), vault.folder)


def copy(name: str, source: Workplace, to: Workplace) -> None:
    shutil.copy(source.folder / name, to.folder)


def test_keys_of_an_hsm_go_through_the_three_steps(ceremony: Ceremony, sandbox: Sandbox, softhsm: SoftHsm) -> None:
    by_token = softhsm.mac("ceremony mac")
    kcv = softhsm.aes("ceremony aes")[:6]
    mac, aes = sandbox.key(key_spec="HMAC_256")["key_id"], sandbox.key()["key_id"]
    sha_1 = {"wrapping_algorithm": "RSAES_OAEP_SHA_1"}  # all that SoftHSM can
    add(ceremony.vault, "pkcs11:token=byok;object=ceremony%20mac", mac, name="mac", **sha_1)
    add(ceremony.vault, "pkcs11:token=byok;object=ceremony%20aes", aes, name="aes", expect={"kcv": kcv}, **sha_1)
    ceremony.online.keys = ceremony.vault.keys
    ceremony.online.write()
    ceremony.vault.write()
    prepared = ceremony.prepare(*ALLOW)  # without a module, a PIN or a token
    assert prepared.code == 0, prepared.stderr
    sealed = sealed_offline(ceremony.vault, softhsm, *ceremony.vouched(prepared))
    assert (sealed.code, "2 sealed" in sealed.stderr) == (0, True), sealed.stderr
    copy("sealed.jsonl", ceremony.vault, ceremony.online)
    submitted = ceremony.submit(*ceremony.vouched(prepared, sealed), "--require-proof", "--prove-use")
    assert submitted.code == 0, submitted.stderr
    proofs = {name: entry["verification"]["proof"] for name, entry in submitted.entries.items()}
    assert proofs == {"mac": "hmac", "aes": "material_id"}
    assert submitted.entries["aes"]["material_check"]
    answer = sandbox.client().generate_mac(KeyId=mac, Message=b"message", MacAlgorithm="HMAC_SHA_256")
    assert answer["Mac"].hex() == by_token


def test_seal_says_which_settings_are_missing(ceremony: Ceremony, sandbox: Sandbox, softhsm: SoftHsm) -> None:
    softhsm.mac("settings")
    add(ceremony.vault, "pkcs11:token=byok;object=settings", sandbox.key(key_spec="HMAC_256")["key_id"])
    ceremony.online.keys = ceremony.vault.keys
    ceremony.online.write()
    ceremony.vault.write()
    prepared = ceremony.prepare(*ALLOW)
    sealed = ceremony.seal(*ALLOW, *ceremony.vouched(prepared))  # without a module or a PIN
    assert sealed.code == 3, sealed.stderr
    for said in ("--pkcs11-module: is missing", "--pkcs11-pin-file: is missing"):
        assert said in sealed.stderr
    assert not (ceremony.vault.folder / "sealed.jsonl").exists()


def test_an_algorithm_that_the_hsm_lacks_is_said_by_seal(
    ceremony: Ceremony, sandbox: Sandbox, softhsm: SoftHsm
) -> None:
    """`prepare` cannot know the HSM: without a stated algorithm the bundle has the strongest."""
    softhsm.mac("strong")
    add(ceremony.vault, "pkcs11:token=byok;object=strong", sandbox.key(key_spec="HMAC_256")["key_id"])
    ceremony.online.keys = ceremony.vault.keys
    ceremony.online.write()
    ceremony.vault.write()
    prepared = ceremony.prepare(*ALLOW)
    sealed = sealed_offline(ceremony.vault, softhsm, *ceremony.vouched(prepared))
    assert sealed.code == 5
    assert "WrappingNotAllowed" in sealed.stderr
    assert "in a ceremony, set it in both manifests and prepare again" in sealed.stderr


@pytest.mark.parametrize("token", ["softhsm", "nss"])
def test_on_the_second_kms(
    ministack: Ministack, forks: Forks, tmp_path: Path, token: str, request: pytest.FixtureRequest
) -> None:
    hsm: Hsm = request.getfixturevalue(token)
    for name in ("online", "vault"):
        (tmp_path / name).mkdir()
    online, vault = Workplace(tmp_path / "online", ministack.url), Workplace(tmp_path / "vault", "https://kms.invalid")
    ceremony = Ceremony(online, vault, forks, None)  # type: ignore[arg-type]  # its keys are made here
    kms: Any = ministack.client("kms", ACCOUNT, REGION)
    specs = {"HMAC_512": "hmac"} | ({"ECC_NIST_P256": "public_key"} if isinstance(hsm, Nss) else {})
    for spec in specs:
        usage = "GENERATE_VERIFY_MAC" if spec.startswith("HMAC") else "SIGN_VERIFY"
        key = kms.create_key(Origin="EXTERNAL", KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["KeyId"]
        if spec.startswith("HMAC"):
            hsm.mac(f"m {spec}", 64)
        else:
            hsm.pair(f"m {spec}", spec)
        more = {} if isinstance(hsm, Nss) else {"wrapping_algorithm": "RSAES_OAEP_SHA_1"}
        add(vault, f"pkcs11:token=byok;object=m%20{spec}", key, name=spec, **more)
    online.keys = vault.keys
    online.write()
    vault.write()
    prepared = ceremony.prepare(*ALLOW)
    assert prepared.code == 0, prepared.stderr
    sealed = sealed_offline(vault, hsm, *ceremony.vouched(prepared))
    assert sealed.code == 0, sealed.stderr
    copy("sealed.jsonl", vault, online)
    submitted = ceremony.submit(*ceremony.vouched(prepared, sealed), "--require-proof")
    assert submitted.code == 0, submitted.stderr
    assert {name: entry["verification"]["proof"] for name, entry in submitted.entries.items()} == specs
    assert spoken(sealed).replace(" ", "") == submitted.report["run"]["ceremony"]["sealed"][0]["sha256"]
