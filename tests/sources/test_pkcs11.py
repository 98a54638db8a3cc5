"""`pkcs11:`: AES and HMAC keys that were generated in a real token, and never leave it in the clear."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from tests.e2e import materials
from tests.e2e.ministack import Ministack
from tests.e2e.support import ACCOUNT, REGION, Workplace
from tests.faults.support import events, fired, wait_until
from tests.sandbox_client import Sandbox
from tests.sources.support import add
from tests.sources.tokens import Hsm, Nss, SoftHsm

ALLOW = ("--allow-source", "pkcs11:")
MACS = {"HMAC_224": 28, "HMAC_256": 32, "HMAC_384": 48, "HMAC_512": 64}
TOKENS = {"softhsm": "RSAES_OAEP_SHA_1", "nss": "RSAES_OAEP_SHA_256"}  # the strongest that each of them can


@pytest.fixture(params=TOKENS)
def hsm(request: pytest.FixtureRequest) -> Hsm:
    found: Hsm = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def strongest(request: pytest.FixtureRequest) -> str:
    return TOKENS[request.node.callspec.params["hsm"]]


def test_hmac_keys_are_sealed_in_the_token(sandbox: Sandbox, work: Workplace, hsm: Hsm, strongest: str) -> None:
    able = {spec: length for spec, length in MACS.items() if isinstance(hsm, Nss) or spec != "HMAC_224"}
    by_token = {spec: hsm.mac(f"mac {spec}", length) for spec, length in able.items()}
    keys = {spec: sandbox.key(key_spec=spec)["key_id"] for spec in able}
    for spec, key in keys.items():
        add(work, f"pkcs11:token=byok;object=mac%20{spec};type=secret-key", key, name=spec)
    work.write()
    planned = work.call("plan", "manifest.json", "--out", "plan.json", *ALLOW, **hsm.environment())
    assert planned.code == 0, planned.stderr
    bound = json.loads((work.folder / "plan.json").read_bytes())["binding"]["targets"]
    kinds = {(one["materials"][0]["kind"], len(one["materials"][0]["value"] or "")) for one in bound}
    assert ("hmac_check", 16) in kinds  # a token may allow CKM_SHA256_HMAC with keys of that size only
    assert kinds <= {("hmac_check", 16), ("hmac_check", 0)}
    result = work.run(*ALLOW, "--require-proof", "--plan", "plan.json", **hsm.environment())
    assert result.code == 0, result.stderr
    for spec, key in keys.items():
        entry = result.entries[spec]
        assert (entry["verification"]["proof"], entry["wrapping_algorithm"]) == ("hmac", strongest)
        algorithm = spec.replace("HMAC_", "HMAC_SHA_")
        mac = sandbox.client().generate_mac(KeyId=key, Message=b"message", MacAlgorithm=algorithm)
        assert mac["Mac"].hex() == by_token[spec]
    again = work.run(*ALLOW, "--require-proof", **hsm.environment())
    assert {entry["status"] for entry in again.entries.values()} == {"unchanged"}, again.stderr


def test_an_aes_key_is_sealed_and_its_check_values_are_the_tokens(
    sandbox: Sandbox, work: Workplace, hsm: Hsm, strongest: str
) -> None:
    kcv = hsm.aes("aes")[:6]
    right, wrong = sandbox.key()["key_id"], sandbox.key()["key_id"]
    add(work, "pkcs11:token=byok;id=aes", right, name="right", expect={"kcv": kcv})
    add(work, "pkcs11:token=byok;object=aes", wrong, name="wrong", expect={"kcv": "000000"})
    result = work.run(*ALLOW, **hsm.environment())
    assert result.code == 4, result.stderr
    entry = result.entries["right"]
    assert entry["verification"]["proof"] == "material_id"
    assert entry["verification"]["detail"] == ""
    assert entry["wrapping_algorithm"] == strongest
    assert result.entries["wrong"]["error"]["code"] == "CheckValueMismatch"
    assert len(sandbox.calls(operation="GetParametersForImport")) == 1
    # The check value makes the second run a proof, as it does for a file.
    del work.keys[1]
    again = work.run(*ALLOW, "--require-proof", "--known", "report.json", **hsm.environment())
    assert again.code == 0, again.stderr
    assert again.entries["right"]["verification"]["proof"] == "material_id"
    assert again.entries["right"]["status"] == "unchanged"


def test_an_aes_key_whose_value_is_known_has_the_usual_check_value(sandbox: Sandbox, work: Workplace, hsm: Hsm) -> None:
    """By CKM_AES_CMAC, and block by block where the key may only encrypt."""
    value = bytes(range(32))
    for name, more in (("signs", {}), ("encrypts", {"CKA_SIGN": False})):
        hsm.aes(f"known {name}", CKA_VALUE=value.hex(), **more)
        add(work, f"pkcs11:token=byok;object=known%20{name}", sandbox.key()["key_id"], name=name)
    result = work.run(*ALLOW, **hsm.environment())
    assert result.code == 0, result.stderr
    for entry in result.entries.values():
        cmac = CMAC(AES(value))
        cmac.update(b"bulk-import:" + entry["key_arn"].encode())
        assert entry["material_check"] == cmac.finalize()[:8].hex()


def test_a_key_is_rotated_to_a_second_key_of_the_token(sandbox: Sandbox, work: Workplace, softhsm: SoftHsm) -> None:
    names = ("2025", "2026")
    for name in names:
        softhsm.aes(f"rotated {name}")
    materials = [{"name": name, "material": f"pkcs11:token=byok;object=rotated%20{name}"} for name in names]
    key = sandbox.key()["key_id"]
    work.keys.append({"id": "one", "account": ACCOUNT, "region": REGION, "key_id": key, "materials": materials})
    assert work.run(*ALLOW, **softhsm.environment()).code == 0
    again = work.run(*ALLOW, "--require-proof", "--known", "report.json", **softhsm.environment())
    assert again.code == 0, again.stderr
    assert again.entries["one"]["status"] == "unchanged"
    shown = again.entries["one"]["materials"]
    assert [(each["name"], each["state"], each["proof"]) for each in shown] == [
        ("2025", "NON_CURRENT", "material_id"), ("2026", "CURRENT", "material_id"),
    ]  # fmt: skip
    assert len({each["material_check"] for each in shown} - {None}) == 2


def test_what_the_token_may_not_compare_is_said(sandbox: Sandbox, work: Workplace, hsm: Hsm) -> None:
    hsm.aes("silent", CKA_SIGN=False, CKA_ENCRYPT=False)
    add(work, "pkcs11:token=byok;object=silent", sandbox.key()["key_id"], expect={"kcv": "000000"})
    result = work.run(*ALLOW, **hsm.environment())
    assert result.code == 0, result.stderr
    entry = result.entries["one"]
    assert entry["material_check"] is None
    assert "no_material_check" in entry["verification"]["detail"]
    assert "expect_kcv_not_compared" in entry["verification"]["detail"]


def test_what_the_token_may_not_compare_is_said_of_each_material_and_of_a_created_key(
    sandbox: Sandbox, work: Workplace, softhsm: SoftHsm
) -> None:
    """After the import, when it is found again, and by `status`: the remark names the material that it is about."""
    softhsm.aes("mute", CKA_SIGN=False, CKA_ENCRYPT=False)
    softhsm.aes("speaking")
    several = [{"name": name, "material": f"pkcs11:token=byok;object={name}"} for name in ("speaking", "mute")]
    one = {"account": ACCOUNT, "region": REGION}
    work.keys.append({"id": "several", "key_id": sandbox.key()["key_id"], "materials": several} | one)
    new = {"create": {}, "key_spec": "SYMMETRIC_DEFAULT", "expect": {"kcv": "000000"}}
    add(work, "pkcs11:token=byok;object=mute", "alias/new", name="new", **new)
    for _ in ("imported", "found as wanted"):
        result = work.run(*ALLOW, "--known", "report.json", **softhsm.environment())
        assert result.code == 0, result.stderr
        said = {name: entry["verification"]["detail"] for name, entry in result.entries.items()}
        assert said["several"].endswith("allowed with the key in the token (mute)")
        assert said["several"].count("no_material_check") == 1
        assert "expect_kcv_not_compared" in said["new"]
        assert "no_material_check" in said["new"]


def test_into_the_second_kms(ministack: Ministack, work: Workplace, hsm: Hsm) -> None:
    work.url = ministack.url
    by_token = hsm.mac("second")
    kms = ministack.client("kms", ACCOUNT, REGION)
    mac, aes = (
        kms.create_key(Origin="EXTERNAL", **more)["KeyMetadata"]["KeyId"]  # type: ignore[attr-defined]  # boto3
        for more in ({"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}, {})
    )
    hsm.aes("second aes")
    add(work, "pkcs11:token=byok;object=second", mac, name="mac")
    add(work, "pkcs11:token=byok;object=second%20aes", aes, name="aes")
    result = work.run(*ALLOW, "--prove-use", **hsm.environment())
    assert result.code == 0, result.stderr
    answer = kms.generate_mac(KeyId=mac, Message=b"message", MacAlgorithm="HMAC_SHA_256")  # type: ignore[attr-defined]
    assert answer["Mac"].hex() == by_token


def test_the_algorithm_that_the_token_lacks_is_reported_before_a_permit(
    sandbox: Sandbox, work: Workplace, softhsm: SoftHsm
) -> None:
    softhsm.aes("algorithm")
    fields = {"wrapping_algorithm": "RSAES_OAEP_SHA_256"}
    add(work, "pkcs11:token=byok;object=algorithm", sandbox.key()["key_id"], **fields)
    result = work.run(*ALLOW, **softhsm.environment())
    error = result.entries["one"]["error"]
    assert error["code"] == "WrappingNotAllowed"
    assert "can wrap this key with RSAES_OAEP_SHA_1" in error["message"]
    assert "KMS accepts RSAES_OAEP_SHA_256, RSAES_OAEP_SHA_1" in error["message"]
    assert "RSAES_OAEP_SHA_1" in error["advice"]
    assert sandbox.calls(operation="GetParametersForImport") == []


REFUSED = {
    "not extractable": (
        "aes", 32, {"CKA_EXTRACTABLE": False}, "SYMMETRIC_DEFAULT", "MaterialNotExportable", "CKA_EXTRACTABLE=true",
    ),
    "trusted only": (
        "aes", 32, {"CKA_WRAP_WITH_TRUSTED": True}, "SYMMETRIC_DEFAULT", "MaterialNotExportable",
        "CKA_WRAP_WITH_TRUSTED=false",
    ),
    "a short key": ("aes", 16, {}, "SYMMETRIC_DEFAULT", "MaterialWrongLength", "length"),
    "another kind": ("mac", 32, {}, "SYMMETRIC_DEFAULT", "MaterialInvalid", "key_spec"),
    "no MAC": ("mac", 32, {"CKA_SIGN": False}, "HMAC_256", "MaterialNotExportable", "CKA_SIGN=true"),
    "nothing": (None, 0, {}, "HMAC_256", "MaterialNotFound", "object="),
}  # fmt: skip


def test_keys_that_cannot_go(sandbox: Sandbox, work: Workplace, softhsm: SoftHsm) -> None:
    for name, (kind, length, more, spec, _, _) in REFUSED.items():
        if kind:
            softhsm.ask("secret", name, kind=kind, length=length, more=more)
        add(
            work,
            f"pkcs11:token=byok;object={name.replace(' ', '%20')}",
            sandbox.key(key_spec=spec)["key_id"],
            name=name.replace(" ", "-"),
        )
    result = work.run(*ALLOW, **softhsm.environment())
    assert result.code == 5
    for name, (_, _, _, _, code, advice) in REFUSED.items():
        error = result.entries[name.replace(" ", "-")]["error"]
        assert error["code"] == code, error
        assert advice in error["advice"], error
    assert sandbox.calls(operation="GetParametersForImport") == []


def test_several_keys_of_one_name(sandbox: Sandbox, work: Workplace, softhsm: SoftHsm) -> None:
    for identity in ("01", "02"):
        softhsm.aes("twin", CKA_ID=identity)
    add(work, "pkcs11:token=byok;object=twin", sandbox.key()["key_id"], name="both")
    add(work, "pkcs11:token=byok;object=twin;id=%02", sandbox.key()["key_id"], name="second")
    result = work.run(*ALLOW, **softhsm.environment())
    assert result.entries["second"]["status"] == "imported", result.stderr
    error = result.entries["both"]["error"]
    assert error["code"] == "MaterialNotFound"
    assert "01, 02" in error["message"]
    assert "id=" in error["advice"]


def replace(softhsm: SoftHsm, label: str) -> None:
    """The AES key of that label is another one from now on."""
    softhsm.ask("remove", label, kind="CKO_SECRET_KEY")
    softhsm.aes(label)


def test_a_key_that_is_replaced_in_the_middle_is_not_sealed(
    sandbox: Sandbox, work: Workplace, softhsm: SoftHsm
) -> None:
    """What was checked, and gave the evidence, is what is sealed: the same object, not one of the same name."""
    softhsm.aes("replaced")
    keys = [sandbox.key()["key_id"] for _ in range(2)]
    for number, key in enumerate(keys):
        add(work, "pkcs11:token=byok;object=replaced", key, name=f"k{number}")
    sandbox.hold("GetParametersForImport", key=keys[1])
    process = work.start(*ALLOW, "--read-timeout", "100s", **softhsm.environment())
    wait_until(lambda: fired(sandbox) == 1 and bool(sandbox.calls(operation="ImportKeyMaterial")), process)
    replace(softhsm, "replaced")
    sandbox.release()
    result = work.finish(process)
    assert result.code == 4, result.stderr
    error = result.entries["k1"]["error"]
    assert (error["code"], "was replaced" in error["message"]) == ("MaterialChanged", True), error
    assert len(sandbox.calls(operation="ImportKeyMaterial")) == 1


def test_a_key_that_is_replaced_between_two_targets_is_sealed_for_neither(
    sandbox: Sandbox, work: Workplace, softhsm: SoftHsm
) -> None:
    """The look of the second target must not permit what the first one has not seen: `expect.kcv` is of the old key."""
    kcv = softhsm.aes("shared")[:6]
    first = sandbox.key()["key_id"]
    last = sandbox.key(region="eu-west-1")["key_id"]
    for number, key in enumerate((sandbox.key()["key_id"], first)):
        add(work, "pkcs11:token=byok;object=shared", key, name=f"k{number}", expect={"kcv": kcv})
    add(work, "pkcs11:token=byok;object=shared", last, name="last", region="eu-west-1")
    sealing = sandbox.hold("GetParametersForImport", key=first)
    looking = sandbox.hold("DescribeKey", key=last)
    process = work.start(*ALLOW, "--read-timeout", "100s", **softhsm.environment())
    wait_until(
        lambda: all(rule["fired"] for rule in sandbox.faults()) and bool(sandbox.calls(operation="ImportKeyMaterial")),
        process,
    )
    replace(softhsm, "shared")
    sandbox.release(looking)
    wait_until(lambda: has_result(work, "last"), process)
    sandbox.release(sealing)
    result = work.finish(process)
    assert result.entries["k0"]["status"] == "imported", result.stderr
    codes = {name: (result.entries[name]["error"] or {}).get("code") for name in ("k1", "last")}
    assert codes == {"k1": "MaterialChanged", "last": "MaterialChanged"}
    assert len(sandbox.calls(operation="ImportKeyMaterial")) == 1


def has_result(work: Workplace, name: str) -> bool:
    return any(event["event"] == "ended" and event["result"]["id"] == name for event in events(work))


def test_a_secret_and_a_private_key_of_one_name_are_two_keys(sandbox: Sandbox, work: Workplace, nss: Nss) -> None:
    """One URI, and the key spec says which of the two: neither stands for the other."""
    nss.aes("same")
    nss.pair("same", "RSA_2048")
    for number in range(4):
        spec = "RSA_2048" if number % 2 else "SYMMETRIC_DEFAULT"
        key = sandbox.key(key_spec=spec, key_usage=materials.usage(spec))
        add(work, "pkcs11:token=byok;object=same", key["key_id"], name=f"k{number}", key_spec=spec)
    result = work.run(*ALLOW, "--quota", "GetParametersForImport=0.5", **nss.environment())
    assert result.code == 0, {name: entry["error"] for name, entry in result.entries.items()}


@pytest.mark.parametrize(
    "uri",
    ["pkcs11:", "pkcs11:token=byok", "pkcs11:object=a", "pkcs11:token=byok;object=a?pin-value=1234",
     "pkcs11:token=byok;object=a?pin-source=file:x", "pkcs11:token=byok;object=a?module-path=/evil.so",
     "pkcs11:token=byok;object=a;object=b", "pkcs11:token=byok;object=a;type=cert", "pkcs11:token=byok;label=a",
     "pkcs11:token=byok;object=%zz", "pkcs11:token=byok;object="],
)  # fmt: skip
def test_uris_that_are_none(work: Workplace, uri: str) -> None:
    add(work, uri)
    work.write()
    result = work.call("validate", "manifest.json", *ALLOW)
    assert result.code == 3
    assert "1234" not in result.stderr


def test_validate_says_what_the_token_can_do(work: Workplace, softhsm: SoftHsm) -> None:
    softhsm.aes("fähig")
    softhsm.mac("able mac", CKA_SENSITIVE=False)
    add(work, "pkcs11:token=byok;object=f%C3%A4hig", key_spec="SYMMETRIC_DEFAULT", name="one")
    add(work, "pkcs11:token=byok;object=able%20mac", "alias/two", name="two")  # of which only KMS knows the spec
    work.write()
    result = work.call("validate", "manifest.json", "--material", *ALLOW, **softhsm.environment())
    assert result.code == 0, result.stderr
    [aes] = [line for line in result.stderr.splitlines() if line.startswith("one ")]
    [mac] = [line for line in result.stderr.splitlines() if line.startswith("two ")]
    assert "an AES key of 32 bytes, for SYMMETRIC_DEFAULT" in aes
    assert (
        "RSAES_OAEP_SHA_1 (CKM_RSA_PKCS_OAEP); used: RSAES_OAEP_SHA_1; proof: material_id; material_check: yes" in aes
    )
    assert "for HMAC_256" in mac
    assert "proof: hmac, by the token; warning: CKA_SENSITIVE=false" in mac
    assert "warning" not in aes


def test_validate_reports_what_cannot_go(work: Workplace, softhsm: SoftHsm) -> None:
    softhsm.aes("validated", 16)
    add(work, "pkcs11:token=byok;object=validated", key_spec="SYMMETRIC_DEFAULT", name="stated")
    add(work, "pkcs11:token=byok;object=validated", "alias/two", name="open")
    work.write()
    result = work.call("validate", "manifest.json", "--material", *ALLOW, **softhsm.environment())
    assert result.code == 3
    assert "16 bytes; SYMMETRIC_DEFAULT takes 32" in result.stderr
    assert "no KMS key spec fits it" in result.stderr
