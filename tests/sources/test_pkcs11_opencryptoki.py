"""`pkcs11:` with a token that counts wrong PINs and locks: the soft token of openCryptoki."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.support import Result, Workplace
from tests.sandbox_client import Sandbox
from tests.sources.support import add
from tests.sources.test_pkcs11 import ALLOW
from tests.sources.tokens import OpenCryptoki

pytestmark = pytest.mark.xdist_group("opencryptoki")  # one token, and its last test locks it
URI = "pkcs11:token=byok;object="


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenCryptoki]:
    running = OpenCryptoki(tmp_path_factory.mktemp("opencryptoki"), "1234abcd")
    yield running
    running.stop()


class Inside(Workplace):
    """Commands run where the token is."""

    def __init__(self, folder: Path, url: str, token: OpenCryptoki) -> None:
        super().__init__(folder, url)
        self._token = token

    def command(self, *arguments: str) -> list[str]:
        return [*self._token.inside, f"--wd={self.folder}", *super().command(*arguments)]


@pytest.fixture
def work(sandbox: Sandbox, tmp_path: Path, token: OpenCryptoki) -> Workplace:
    return Inside(tmp_path, sandbox.url, token)


def test_aes_and_hmac_keys_but_no_private_keys(sandbox: Sandbox, work: Workplace, token: OpenCryptoki) -> None:
    by_token = token.mac("mac")
    kcv = token.aes("aes")[:6]
    token.pair("pair", "RSA_2048")
    mac = sandbox.key(key_spec="HMAC_256")["key_id"]
    add(work, URI + "mac", mac, name="mac")
    add(work, URI + "aes", sandbox.key()["key_id"], name="aes", expect={"kcv": kcv})
    add(work, URI + "pair", sandbox.key(key_spec="RSA_2048")["key_id"], name="rsa")
    result = work.run(*ALLOW, "--require-proof", **token.environment())
    assert result.code == 4, result.stderr
    for name, proof in {"mac": "hmac", "aes": "material_id"}.items():
        entry = result.entries[name]
        assert (entry["verification"]["proof"], entry["wrapping_algorithm"]) == (proof, "RSAES_OAEP_SHA_256")
    assert result.entries["aes"]["material_check"]
    error = result.entries["rsa"]["error"]
    assert error["code"] == "WrappingNotAllowed"
    assert "CKM_AES_KEY_WRAP_KWP: not in the token" in error["message"]
    answer = sandbox.client().generate_mac(KeyId=mac, Message=b"message", MacAlgorithm="HMAC_SHA_256")
    assert answer["Mac"].hex() == by_token


def test_no_run_locks_the_token(sandbox: Sandbox, work: Workplace, token: OpenCryptoki) -> None:
    """Runs with a wrong PIN, one after the other: before the token would lock, the login is not attempted any more."""
    token.mac("locks")
    (work.folder / "wrong").write_text("9999zzzz")
    for number in range(3):
        add(work, URI + "locks", sandbox.key(key_spec="HMAC_256")["key_id"], name=f"k{number}")

    def message(result: Result) -> str:
        errors = [entry["error"] for entry in result.entries.values()]
        assert {error["code"] for error in errors} == {"SourceDenied"}
        [said] = {error["message"] for error in errors}
        return str(said)

    wrong = token.environment(BULK_IMPORT_PKCS11_PIN_FILE=str(work.folder / "wrong"))
    said = [message(work.run(*ALLOW, **wrong)) for _ in range(3)]
    attempts = ["the PIN is wrong" in text for text in said]
    assert attempts[0]
    assert not attempts[-1]
    assert "one more wrong PIN would lock the token, so no login was attempted" in said[-1]
    assert "one more wrong PIN" in message(work.run(*ALLOW, **token.environment()))  # not even with the right PIN
    token.mac("by hand")  # a login with the right PIN resets the counter
    result = work.run(*ALLOW, **token.environment())
    assert result.code == 0, result.stderr


def test_a_locked_pin(sandbox: Sandbox, work: Workplace, token: OpenCryptoki) -> None:
    right, token.pin = token.pin, "9999zzzz"
    for _ in range(8):
        with pytest.raises(AssertionError, match="CKR_PIN"):
            token.mac("never")
    token.pin = right
    add(work, URI + "mac", sandbox.key(key_spec="HMAC_256")["key_id"])
    result = work.run(*ALLOW, **token.environment())
    error = result.entries["one"]["error"]
    assert (error["code"], "its PIN is locked" in error["message"]) == ("SourceDenied", True), error
    assert "must reset the PIN" in error["advice"]
