"""A Vault that is sealed, then one that is stopped, while a run works; and a run that is killed during `transit:`.

What KMS holds is checked with an independent client: the report must say exactly that, and the next run continues.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.e2e import materials
from tests.e2e.support import Result, Workplace
from tests.sandbox_client import Sandbox
from tests.sources.bao import Bao
from tests.sources.support import add
from tests.sources.test_canary import found
from tests.sources.test_transit import public_key
from tests.sources.wire import BadLine

ALLOW = ("--allow-source", "vault:", "--allow-source", "transit:")


@pytest.fixture
def unsealed(bao: Bao) -> Iterator[Bao]:
    yield bao
    if bao.client.sys.is_sealed():
        bao.unseal()  # other tests share it


def test_a_server_that_goes_away_in_the_middle(sandbox: Sandbox, work: Workplace, unsealed: Bao) -> None:
    """First it is sealed, then no request gets an answer any more. In the end, everything is imported once."""
    bao, held = unsealed, {}
    for number in range(3):
        held |= {f"v{number}": _secret(sandbox, work, bao, number), f"t{number}": _key(sandbox, work, bao, number)}
    with BadLine(bao.address) as line:
        environment = bao.environment(VAULT_ADDR=line.url)
        first = _interrupted(sandbox, work, environment, [1, 2], bao.seal)
        _check(first, held, {0})
        failed = [entry["error"] for entry in first.entries.values() if entry["error"]]
        assert all("is sealed" in error["message"] and "Unseal it" in error["advice"] for error in failed)
        assert {error["retryable"] for error in failed} == {False}
        sealed = work.run(*ALLOW, **environment)
        assert sealed.code == 5, sealed.stderr
        for entry in sealed.entries.values():
            assert (entry["error"]["code"], entry["changed"]) == ("SourceUnavailable", False)
            assert "is sealed" in entry["error"]["message"]
        bao.unseal()
        second = _interrupted(sandbox, work, environment, [2], partial(setattr, line, "lose", 1_000_000))
        _check(second, held, {0, 1})
        assert all(
            "gives no answer" in entry["error"]["message"] for entry in second.entries.values() if entry["error"]
        )
        line.lose = 0
        last = work.run(*ALLOW, **environment)
    assert last.code == 0, last.stderr
    assert {entry["status"] for entry in last.entries.values()} == {"imported", "unchanged"}
    assert all(is_held() for is_held in held.values())
    assert _imports(sandbox) == 6  # nothing was imported twice
    assert [name for name in bao.transit_keys() if name.startswith("kms-")] == []


def test_killed_while_transit_seals(sandbox: Sandbox, work: Workplace, bao: Bao) -> None:
    """Killed while it imports the wrapping key, then while it exports under it. The resumed run removes both."""
    bao.transit_key("killed-inside", "ecdsa-p256")
    answer: Any = bao.client.read("transit/export/signing-key/killed-inside/1")
    private: Any = serialization.load_pem_private_key(answer["data"]["keys"]["1"].encode(), None)
    secret = private.private_numbers().private_value.to_bytes(32, "big")
    key = sandbox.key(key_spec="ECC_NIST_P256")["key_id"]
    add(work, "transit:transit/killed-inside?version=1", key)
    with BadLine(bao.address, pause=60) as line:
        options = (*ALLOW, "--log-level", "debug")
        environment = bao.environment(VAULT_ADDR=line.url)
        for number, request in enumerate((b"/import ", b"byok-export"), 1):
            line.only = request
            process = work.start(*options, *(["--resume"] if number > 1 else []), **environment)
            while line.slow < number:
                assert process.poll() is None, work.finish(process).stderr
                time.sleep(0.02)
            result = work.finish(process, signal.SIGKILL)
            assert found(work, result, [secret], set()) == []
            assert len([name for name in bao.transit_keys() if name.startswith("kms-")]) == 1
            assert sandbox.calls(operation="ImportKeyMaterial") == []
        line.pause = 0.0
        result = work.run(*options, "--resume", "--render", "html=report.html", **environment)
    assert result.code == 0, result.stderr
    assert (result.entries["one"]["status"], result.entries["one"]["attempts"]) == ("imported", 1)
    assert sandbox.client().get_public_key(KeyId=key)["PublicKey"] == public_key(bao, "killed-inside")
    assert [name for name in bao.transit_keys() if name.startswith("kms-")] == []
    assert found(work, result, [secret], set()) == []
    (work.folder / "copy").write_bytes(secret)  # the search would find it
    assert found(work, result, [secret], set()) != []


def _secret(sandbox: Sandbox, work: Workplace, bao: Bao, number: int) -> Callable[[], bool]:
    """An HMAC key in KV. Returns whether KMS holds it."""
    material, key = materials.make("HMAC_256"), sandbox.key(key_spec="HMAC_256")["key_id"]
    bao.write(f"middle-{number}", key=material.hex())
    add(work, f"vault:secret/middle-{number}?field=key", key, name=f"v{number}", encoding="hex")
    return lambda: _state(sandbox, key) == "Enabled" and materials.held_by(sandbox.client(), key, "HMAC_256", material)


def _key(sandbox: Sandbox, work: Workplace, bao: Bao, number: int) -> Callable[[], bool]:
    """A private key in Transit. Returns whether KMS holds it."""
    key = sandbox.key(key_spec="ECC_NIST_P256")["key_id"]
    bao.transit_key(f"middle-{number}", "ecdsa-p256")
    wanted = public_key(bao, f"middle-{number}")
    add(work, f"transit:transit/middle-{number}?version=1", key, name=f"t{number}")
    kms = sandbox.client()
    return lambda: _state(sandbox, key) == "Enabled" and kms.get_public_key(KeyId=key)["PublicKey"] == wanted


def _state(sandbox: Sandbox, key: str) -> str:
    return str(sandbox.client().describe_key(KeyId=key)["KeyMetadata"]["KeyState"])


def _interrupted(
    sandbox: Sandbox, work: Workplace, environment: dict[str, str], late: list[int], interrupt: Callable[[], Any]
) -> Result:
    """A run during which the server goes away: before secrets of the numbers in `late` are read and keys sealed."""
    for entry in work.keys:
        if int(entry["id"][1:]) in late:
            operation = "DescribeKey" if entry["id"].startswith("v") else "GetParametersForImport"
            sandbox.fault("hang", operation=operation, key=entry["key_id"], times=None)
    process = work.start(*ALLOW, "--retry-timeout", "8s", "--read-timeout", "100s", **environment)
    others = 2 * (3 - len(late))
    while not any(rule["fired"] for rule in sandbox.faults()) or _ended(work) < others:
        assert process.poll() is None, work.finish(process).stderr
        time.sleep(0.02)
    interrupt()
    sandbox.post("faults/clear")
    return work.finish(process)


def _ended(work: Workplace) -> int:
    """Targets that have ended in this run, which has begun: also those that were found as wanted, and read a source."""
    return (work.folder / "report.journal.jsonl").read_text().count('"event":"ended"')


def _imports(sandbox: Sandbox) -> int:
    """Requests of the program."""
    return sum("bulk-import/" in call["user_agent"] for call in sandbox.calls(operation="ImportKeyMaterial"))


def _check(result: Result, held: dict[str, Callable[[], bool]], numbers: set[int]) -> None:
    """So many are done and no others, each of which has its own error, and the report says what KMS holds."""
    assert result.code == 4, result.stderr
    entries = result.entries
    done = {name for name, entry in entries.items() if entry["status"] in ("imported", "unchanged")}
    assert done == {f"{kind}{number}" for kind in "vt" for number in numbers}
    assert done == {name for name, is_held in held.items() if is_held()}
    summary = result.report["summary"]
    assert (summary["imported"] + summary["unchanged"], summary["failed"]) == (len(done), len(held) - len(done))
    for name in held.keys() - done:
        entry = entries[name]
        assert (entry["status"], entry["changed"], entry["attempts"]) == ("failed", False, 0)
        assert entry["error"]["code"] == "SourceUnavailable"
        assert entry["error"]["advice"]
