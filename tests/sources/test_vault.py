"""`vault:` against a real OpenBao."""

from __future__ import annotations

import base64
import json
import time

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from bulk_import.material import Materials
from bulk_import.material.sources.base import Opening
from bulk_import.model import Encoding, Lane, Target
from bulk_import.settings import Settings
from tests.e2e import materials
from tests.e2e.support import Workplace
from tests.e2e.test_canary import forms, search
from tests.sandbox_client import Sandbox
from tests.sources.bao import Bao
from tests.sources.support import add

LANE = Lane("aws", "111122223333", "us-east-1")
ALLOW = ("--allow-source", "vault:")
READ = 'path "secret/data/*" { capabilities = ["read"] }'


@pytest.mark.parametrize("spec", ["SYMMETRIC_DEFAULT", "HMAC_224", "HMAC_512", "RSA_2048", "ECC_NIST_P384"])
def test_a_field_is_imported(sandbox: Sandbox, work: Workplace, bao: Bao, spec: str) -> None:
    material = materials.make(spec)
    bao.write(f"keys/{spec}", key=base64.b64encode(material).decode(), other="x")
    key = sandbox.key(key_spec=spec, key_usage=materials.usage(spec))
    add(work, f"vault:secret/keys/{spec}?field=key", key["key_id"], encoding="base64")
    result = work.run(*ALLOW, **bao.environment())
    assert result.code == 0, result.stderr
    assert materials.held_by(sandbox.client(), key["key_id"], spec, material)
    assert search(work.folder, result, forms(material), leave_out=set()) == []


def test_pem_needs_no_encoding_and_other_text_does(sandbox: Sandbox, work: Workplace, bao: Bao) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    bao.write("pem", **{"private key+": pem, "hex": materials.make("HMAC_256").hex()})
    add(work, "vault:secret/pem?field=private%20key+", sandbox.key(key_spec="ECC_NIST_P256")["key_id"])
    add(work, "vault:secret/pem?field=hex", sandbox.key(key_spec="HMAC_256")["key_id"], name="hex")
    result = work.run(*ALLOW, **bao.environment())
    assert result.code == 4
    assert result.entries["one"]["status"] == "imported"
    assert result.entries["hex"]["error"]["code"] == "AmbiguousEncoding"


def test_versions(sandbox: Sandbox, work: Workplace, bao: Bao) -> None:
    first, second = materials.make("HMAC_256"), materials.make("HMAC_256")
    for material in (first, second, materials.make("HMAC_256"), materials.make("HMAC_256")):
        bao.write("versions", key=material.hex())
    bao.client.secrets.kv.v2.delete_secret_versions("versions", versions=[3], mount_point="secret")
    bao.client.secrets.kv.v2.destroy_secret_versions("versions", versions=[4], mount_point="secret")
    keys = {}
    for version in ("1", "2", "3", "4", "5", "current"):
        keys[version] = sandbox.key(key_spec="HMAC_256")["key_id"]
        query = "" if version == "current" else f"&version={version}"
        add(work, f"vault:secret/versions?field=key{query}", keys[version], name=f"v{version}", encoding="hex")
    add(
        work,
        "vault:secret/versions?field=no&version=2",
        sandbox.key(key_spec="HMAC_256")["key_id"],
        name="no",
        encoding="hex",
    )
    add(work, "vault:secret/nowhere?field=k", sandbox.key(key_spec="HMAC_256")["key_id"], name="nil", encoding="hex")
    result = work.run(*ALLOW, **bao.environment())
    assert result.code == 4, result.stderr
    errors = {name: entry["error"] for name, entry in result.entries.items() if entry["error"]}
    assert {name: error["code"] for name, error in errors.items()} == dict.fromkeys(
        ("v3", "v4", "v5", "vcurrent", "no", "nil"), "MaterialNotFound"
    )
    assert "was deleted at" in errors["v3"]["message"]
    assert "was destroyed" in errors["v4"]["message"]
    assert "was destroyed" in errors["vcurrent"]["message"]
    assert "does not exist" in errors["v5"]["message"]
    assert "no field no" in errors["no"]["message"]
    assert materials.held_by(sandbox.client(), keys["1"], "HMAC_256", first)
    assert materials.held_by(sandbox.client(), keys["2"], "HMAC_256", second)


@pytest.fixture
def secret(sandbox: Sandbox, work: Workplace, bao: Bao) -> bytes:
    """One key whose material is in Vault."""
    material = materials.make("HMAC_256")
    bao.write("one", key=material.hex())
    add(work, "vault:secret/one?field=key", sandbox.key(key_spec="HMAC_256")["key_id"], encoding="hex")
    return material


def accessors(bao: Bao) -> set[str]:
    return set(bao.client.list("auth/token/accessors")["data"]["keys"])


def test_a_login_by_approle_is_revoked_at_the_end(work: Workplace, bao: Bao, secret: bytes) -> None:
    bao.policy("reader", READ)
    bao.client.auth.approle.create_or_update_approle("importer", token_policies=["reader"])
    role_id = bao.client.auth.approle.read_role_id("importer")["data"]["role_id"]
    secret_id = bao.client.auth.approle.generate_secret_id("importer")["data"]["secret_id"]
    before = accessors(bao)
    environment = {"VAULT_ADDR": bao.address, "VAULT_ROLE_ID": role_id, "VAULT_SECRET_ID": secret_id}
    result = work.run(*ALLOW, "--vault-auth", "approle", "--log-level", "debug", **environment)
    assert result.code == 0, result.stderr
    assert accessors(bao) == before
    assert search(work.folder, result, [secret_id.encode(), *forms(secret)], leave_out=set()) == []


def token_of(claims: dict[str, object], signer: ec.EllipticCurvePrivateKey) -> str:
    """A JSON Web Token, ES256. RFC 7519, RFC 7518."""
    parts = [b64url(json.dumps(part).encode()) for part in ({"alg": "ES256", "typ": "JWT"}, claims)]
    r, s = decode_dss_signature(signer.sign(".".join(parts).encode(), ec.ECDSA(hashes.SHA256())))
    return ".".join([*parts, b64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))])


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def test_a_login_by_jwt(work: Workplace, bao: Bao, secret: bytes) -> None:
    signer = ec.generate_private_key(ec.SECP256R1())
    public = (
        signer.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    bao.policy("reader", READ)
    bao.client.write_data("auth/jwt/config", data={"jwt_validation_pubkeys": [public]})
    role = {"role_type": "jwt", "bound_audiences": ["kms"], "user_claim": "sub", "token_policies": ["reader"]}
    bao.client.write_data("auth/jwt/role/pipeline", data=role)
    now = int(time.time())
    claims = {"sub": "job", "aud": "kms", "iat": now, "nbf": now - 60, "exp": now + 600}
    (work.folder / "jwt").write_text(token_of(claims, signer) + "\n")
    before = accessors(bao)
    options = ("--vault-auth", "jwt", "--vault-role", "pipeline", "--vault-jwt-file", "jwt")
    result = work.run(*ALLOW, *options, VAULT_ADDR=bao.address)
    assert result.code == 0, result.stderr
    assert accessors(bao) == before


def test_a_login_that_is_refused_fails_its_targets_only(sandbox: Sandbox, work: Workplace, bao: Bao, secret) -> None:
    work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="good")
    environment = {"VAULT_ADDR": bao.address, "VAULT_ROLE_ID": "no", "VAULT_SECRET_ID": "no-secret-id"}
    result = work.run(*ALLOW, "--allow-source", "file:", "--vault-auth", "approle", **environment)
    assert result.code == 4
    assert result.entries["good"]["status"] == "imported"
    assert result.entries["one"]["error"]["code"] in ("SourceDenied", "SourceFailed")
    assert "no-secret-id" not in result.stderr


def test_a_policy_that_does_not_allow_it(work: Workplace, bao: Bao, secret: bytes) -> None:
    bao.policy("nothing", 'path "secret/data/other" { capabilities = ["read"] }')
    token = bao.client.auth.token.create(policies=["nothing"])["auth"]["client_token"]
    result = work.run(*ALLOW, **bao.environment(VAULT_TOKEN=token))
    assert result.code == 5
    assert result.entries["one"]["error"]["code"] == "SourceDenied"
    assert "policy" in result.entries["one"]["error"]["advice"]
    assert token not in result.stderr + str(result.report)


def test_nobody_there_is_tried_again_and_then_given_up(work: Workplace, secret: bytes) -> None:
    environment = {"VAULT_ADDR": "http://127.0.0.1:9", "VAULT_TOKEN": "t"}
    result = work.run(*ALLOW, "--retry-timeout", "1s", **environment)
    assert result.code == 5
    error = result.entries["one"]["error"]
    assert (error["code"], error["retryable"]) == ("SourceUnavailable", True)


def test_namespaces(sandbox: Sandbox, work: Workplace, bao: Bao) -> None:
    import hvac  # noqa: PLC0415 - only here

    bao.client.write_data("sys/namespaces/team", data={})
    inside = hvac.Client(url=bao.address, token=bao.client.token, namespace="team")
    inside.sys.enable_secrets_engine("kv", path="byok", options={"version": "2"})
    material = materials.make("HMAC_256")
    inside.secrets.kv.v2.create_or_update_secret("one", secret={"key": material.hex()}, mount_point="byok")
    key = sandbox.key(key_spec="HMAC_256")
    add(work, "vault:byok/one?field=key", key["key_id"], encoding="hex")
    assert work.run(*ALLOW, **bao.environment()).code == 5
    result = work.run(*ALLOW, **bao.environment(VAULT_NAMESPACE="team"))
    assert result.code == 0, result.stderr
    assert materials.held_by(sandbox.client(), key["key_id"], "HMAC_256", material)


WRONG = {
    "no address": ({"VAULT_ADDR": ""}, "VAULT_ADDR"),
    "plain http": ({"VAULT_ADDR": "http://vault.example.com:8200"}, "https://"),
    "no address at all": ({"VAULT_ADDR": "vault.example.com"}, "VAULT_ADDR"),
    "a password in it": ({"VAULT_ADDR": "https://user:hunter2@vault.example.com"}, "without a user"),
    "no token": ({"VAULT_TOKEN": ""}, "VAULT_TOKEN"),
    "an empty CA": ({"VAULT_CACERT": ""}, "VAULT_CACERT"),
    "a missing CA": ({"VAULT_CACERT": "/no/such/file"}, "VAULT_CACERT"),
    "no secret ID": ({"BULK_IMPORT_VAULT_AUTH": "approle", "VAULT_ROLE_ID": "r"}, "VAULT_SECRET_ID"),
    "no JWT": ({"BULK_IMPORT_VAULT_AUTH": "jwt", "BULK_IMPORT_VAULT_ROLE": "r"}, "--vault-jwt-file"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_settings_that_cannot_work(sandbox: Sandbox, work: Workplace, case: str, command: str) -> None:
    environment, said = WRONG[case]
    add(work, "vault:secret/one?field=key")
    work.write()
    result = work.call(
        command, "manifest.json", *ALLOW, **{"VAULT_ADDR": "https://127.0.0.1:1", "VAULT_TOKEN": "t"} | environment
    )
    assert result.code == 3, result.stderr
    assert said in result.stderr
    assert "hunter2" not in result.stderr
    assert sandbox.calls() == []
    assert not (work.folder / "report.journal.jsonl").exists()


@pytest.mark.parametrize(
    "uri",
    ["vault:secret", "vault:secret/one", "vault:secret/one?version=1", "vault:secret/one?field=k&version=0",
     "vault:secret/one?field=k&version=x", "vault:secret/../one?field=k", "vault:/one?field=k", "vault:a//b?field=k",
     "vault:secret/one?field=k&namespace=x", "vault:secret/one?field=k&addr=http://evil"],
)  # fmt: skip
def test_uris_that_are_none(work: Workplace, uri: str) -> None:
    add(work, uri)
    work.write()
    result = work.call("validate", "manifest.json", *ALLOW)
    assert result.code == 3
    assert "material" in result.stderr


def test_validate_does_not_ask_it(work: Workplace) -> None:
    add(work, "vault:secret/one?field=k", key_spec="HMAC_256")
    work.write()
    result = work.call("validate", "manifest.json", "--material", *ALLOW, VAULT_ADDR="http://127.0.0.1:9")
    assert result.code == 0, result.stderr
    assert "vault:" in result.stderr  # that it was not read


async def test_no_proxy_is_asked_on_loopback(bao: Bao, monkeypatch: pytest.MonkeyPatch) -> None:
    bao.write("proxied", key="00" * 31 + "01")
    for name, value in bao.environment(HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="").items():
        monkeypatch.setenv(name, value)
    target = Target(0, "one", LANE, "alias/one", "vault:secret/proxied?field=key", encoding=Encoding.HEX)
    async with Materials(Opening(Settings(), None)) as opened:
        await opened.begin([target])
        await opened.readable(target)
