"""Faults of the sources, at real components: slow, throttled, answers that are lost, tokens that end in the middle."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from bulk_import.material.sources.patience import Patience, Throttled
from tests.e2e import materials
from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox
from tests.sources.bao import Bao
from tests.sources.support import add
from tests.sources.wire import BadLine
from tests.virtual_time import run

VAULT = ("--allow-source", "vault:", "--allow-source", "transit:")
AWS = ("--allow-source", "secretsmanager:", "--allow-source", "ssm:", "--allow-source", "s3:")
IMPATIENT = ("--read-timeout", "5s", "--retry-timeout", "1s")


def secret(sandbox: Sandbox, work: Workplace, bao: Bao, name: str = "one") -> bytes:
    """A key in the manifest whose material is in Vault."""
    material = materials.make("HMAC_256")
    bao.write(f"faults-{name}", key=material.hex())
    uri = f"vault:secret/faults-{name}?field=key"
    add(work, uri, sandbox.key(key_spec="HMAC_256")["key_id"], name=name, encoding="hex")
    return material


def test_a_vault_that_sends_byte_by_byte_is_given_up(sandbox: Sandbox, work: Workplace, bao: Bao) -> None:
    """Each byte comes in time; all of them would take minutes. The run ends, and only its targets fail."""
    secret(sandbox, work, bao)
    work.key(sandbox.key()["key_id"], materials.make("SYMMETRIC_DEFAULT"), name="good")
    with BadLine(bao.address, pause=0.5) as line:
        result = work.run(*VAULT, "--allow-source", "file:", *IMPATIENT, **bao.environment(VAULT_ADDR=line.url))
    assert result.code == 4, result.stderr
    error = result.entries["one"]["error"]
    assert (error["code"], error["retryable"]) == ("SourceUnavailable", True)
    assert "no complete answer" in error["message"]
    assert result.entries["good"]["status"] == "imported"


def test_lost_answers_of_vault_are_asked_for_again(sandbox: Sandbox, work: Workplace, bao: Bao) -> None:
    secret(sandbox, work, bao)
    with BadLine(bao.address, lose=2) as line:
        result = work.run(*VAULT, **bao.environment(VAULT_ADDR=line.url))
        assert line.lost == 2
    assert result.code == 0, result.stderr


@pytest.mark.parametrize("lost", [b"/import ", b"byok-export", b"DELETE "])
def test_a_lost_answer_of_transit_leaves_no_wrapping_key(
    sandbox: Sandbox, work: Workplace, bao: Bao, lost: bytes
) -> None:
    bao.transit_key("lossy", "ecdsa-p256")
    key = sandbox.key(key_spec="ECC_NIST_P256")["key_id"]
    add(work, "transit:transit/lossy?version=1", key)
    with BadLine(bao.address, lose=1, only=lost) as line:
        result = work.run(*VAULT, **bao.environment(VAULT_ADDR=line.url))
        assert line.lost == 1
    assert result.code == 0, result.stderr
    assert [name for name in bao.transit_keys() if name.startswith("kms-")] == [], result.stderr


def test_a_token_that_ends_in_the_middle(sandbox: Sandbox, work: Workplace, bao: Bao) -> None:
    """One that was given fails what is left, with advice; one that the run logged in for is replaced once."""
    bao.policy("faults", 'path "secret/data/*" { capabilities = ["read"] }')
    for name in ("first", "second"):
        secret(sandbox, work, bao, name)
    given = bao.client.auth.token.create(policies=["faults"], num_uses=1)["auth"]["client_token"]
    result = work.run(*VAULT, **bao.environment(VAULT_TOKEN=given))
    assert result.code == 4, result.stderr
    [failed] = [entry for entry in result.entries.values() if entry["status"] == "failed"]
    assert failed["error"]["code"] == "SourceDenied", failed["error"]
    assert "revoked, has expired" in failed["error"]["advice"]
    approle: Any = bao.client.auth.approle
    approle.create_or_update_approle("faults", token_policies=["faults"], token_num_uses=1)
    environment = {
        "VAULT_ADDR": bao.address,
        "VAULT_ROLE_ID": approle.read_role_id("faults")["data"]["role_id"],
        "VAULT_SECRET_ID": approle.generate_secret_id("faults")["data"]["secret_id"],
    }
    again = work.run(*VAULT, "--vault-auth", "approle", **environment)
    assert {entry["status"] for entry in again.entries.values()} == {"imported", "unchanged"}, again.stderr


@pytest.mark.parametrize(
    ("operation", "code"), [("GetSecretValue", "ThrottlingException"), ("GetParameter", "ThrottlingException")]
)
def test_throttled_stores_are_asked_again(sandbox: Sandbox, work: Workplace, operation: str, code: str) -> None:
    made = {}
    for number in range(4):
        material = materials.make("HMAC_256")
        if operation == "GetSecretValue":
            sandbox.client("secretsmanager", None).create_secret(Name=f"t{number}", SecretString=material.hex())
            uri = f"secretsmanager:t{number}"
        else:
            sandbox.client("ssm", None).put_parameter(Name=f"t{number}", Value=material.hex(), Type="SecureString")
            uri = f"ssm:t{number}"
        key = sandbox.key(key_spec="HMAC_256")["key_id"]
        made[key] = material
        add(work, uri, key, name=f"k{number}", encoding="hex")
    sandbox.fault("error", operation=operation, code=code, message="Rate exceeded", times=5)
    result = work.run(*AWS)
    assert result.code == 0, result.stderr
    assert len(sandbox.calls(operation=operation)) == 9
    assert all(materials.held_by(sandbox.client(), key, "HMAC_256", made[key]) for key in made)
    service = "secretsmanager" if operation == "GetSecretValue" else "ssm"
    assert result.report["run"]["endpoints"][service] == sandbox.url


def test_an_object_that_comes_byte_by_byte_is_given_up(sandbox: Sandbox, work: Workplace) -> None:
    s3 = sandbox.client("s3", None)
    s3.create_bucket(Bucket="byok-slow")
    s3.put_object(Bucket="byok-slow", Key="one", Body=materials.make("HMAC_256"))
    add(work, "s3://byok-slow/one", sandbox.key(key_spec="HMAC_256")["key_id"])
    with BadLine(sandbox.url, pause=0.5) as line:
        result = work.run(*AWS, *IMPATIENT, BULK_IMPORT_ENDPOINT_URL="", AWS_ENDPOINT_URL=sandbox.url,
                          AWS_ENDPOINT_URL_S3=line.url)  # fmt: skip
    assert result.code == 5
    error = result.entries["one"]["error"]
    assert (error["code"], error["retryable"]) == ("SourceUnavailable", True), error
    assert "complete" in error["message"]


class Store:
    """A service with a token bucket: `rate` reads per second, `burst` at once."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.left, self.burst = rate, burst, burst
        self.at = 0.0
        self.answered = self.throttled = 0

    async def read(self) -> int:
        now = asyncio.get_running_loop().time()
        self.left = min(self.burst, self.left + (now - self.at) * self.rate)
        self.at = now
        await asyncio.sleep(0.01)
        if self.left < 1:
            self.throttled += 1
            raise Throttled("too many")
        self.left -= 1
        self.answered += 1
        return self.answered


def test_a_throttled_source_is_paced() -> None:
    """It is not asked again and again: few reads are refused, and the quota is used well. In virtual time."""
    random.seed(7)
    store = Store(rate=10, burst=10)

    async def all_of_them() -> float:
        patience = Patience(8, timeout=3600)
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(patience(store.read) for _ in range(300)))
        return asyncio.get_running_loop().time() - began

    seconds = run(all_of_them())
    assert store.answered == 300
    assert store.throttled < 100
    assert seconds < 3 * 300 / 10
