"""The child process that talks to one token: one JSON object per line in, one out.

PKCS#11 libraries are a vendor's native code: they may crash, print, or hold locks for ever. So each token has a process
of its own, one request at a time. The PIN comes by a line of its own, never by argument or variable. No plaintext of a
key passes here, except of keys that are generated to find out how the token wraps, and thrown away.
https://docs.oasis-open.org/pkcs11/pkcs11-spec/v3.1/pkcs11-spec-v3.1.html
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PyKCS11
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bulk_import.process import keep_memory_private
from bulk_import.token import evidence, keys
from bulk_import.token.refused import Refused
from bulk_import.token.session import Token
from bulk_import.token.wrapping import Wrapper


class Desk:
    """Answers the requests, in the order open, login, then any of look and seal. All of them raise Refused."""

    def __init__(self) -> None:
        self._token: Token | None = None
        self._wrapper: Wrapper | None = None
        self._first_seen: dict[str, int] = {}  # the object of the first look, by what names it

    def open(self, *, module: str, init_args: str | None, token: dict[str, str]) -> dict[str, Any]:
        """Which token it is, so that one token with two names is logged in to once."""
        self._token = Token(module, init_args, token)
        return {"token": self._token.identity}

    def login(self, *, pin: str) -> dict[str, Any]:
        if self._token is None:
            raise Refused("SourceFailed", "the token is not open")
        self._token.login(pin)
        self._wrapper = Wrapper(self._token)
        return {}

    def look(
        self, *, attributes: dict[str, str], key_spec: str | None, message: str, zeros: bool, check: str | None
    ) -> dict[str, Any]:
        """What the token can do with the key: checks it, and makes the evidence.

        `message`: for the HMAC, in hex. `zeros`: whether to encrypt a block of zeros, for expect.kcv. `check`: what the
        material_check or hmac_check is computed over. What the token cannot do is missing in the answer.
        """
        token, wrapper = self._open()
        key = keys.find(token.session, attributes, key_spec)
        self._first_seen.setdefault(_named(attributes, key), key.handle.value())
        self._check_same(attributes, key)
        ways = wrapper.ways(key)
        found: dict[str, Any] = {
            "key_spec": key.spec, "what": key.what, "algorithms": ways.algorithms, "without": ways.without,
            "probe": ways.probe.hex(), "largest_rsa": token.largest_rsa(),
            "readable": keys.attribute(token.session, key.handle, PyKCS11.CKA_SENSITIVE) is False,
        }  # fmt: skip
        if key.spec in evidence.MACS:
            found["mac"] = evidence.mac(token, key, bytes.fromhex(message)).hex()
            checked = evidence.sha256_mac(token, key, check.encode()) if check is not None else None
            if checked is not None:
                found["hmac_check"] = checked[:8].hex()
        elif key.spec in keys.LENGTHS:
            found |= self._check_values(token, key, zeros=zeros, check=check)
        else:
            found["public_key"] = evidence.public_key(token, key).hex()
        return found

    def _check_values(self, token: Token, key: keys.Key, *, zeros: bool, check: str | None) -> dict[str, str]:
        found = {}
        block = evidence.ecb(token, key, bytes(16)) if zeros else None
        if block is not None:
            found["kcv"] = block[:3].hex()
        cmac = evidence.cmac(token, key, check.encode()) if check is not None else None
        if cmac is not None:
            found["material_check"] = cmac[:8].hex()
        return found

    def seal(self, *, attributes: dict[str, str], key_spec: str, public_key: str, algorithm: str) -> dict[str, Any]:
        """C_WrapKey under KMS's wrapping key, which is a session object and gone afterwards."""
        token, wrapper = self._open()
        key = keys.find(token.session, attributes, key_spec)
        self._check_same(attributes, key)
        loaded = serialization.load_der_public_key(bytes.fromhex(public_key))
        if not isinstance(loaded, rsa.RSAPublicKey):
            raise Refused("InvalidWrappingKey", "the wrapping key is not RSA")
        return {"sealed": wrapper.wrap(key, loaded, algorithm).hex()}

    def _check_same(self, attributes: dict[str, str], key: keys.Key) -> None:
        """One name and spec is one object for as long as the run lasts: targets that wait have seen that one."""
        if self._first_seen.get(_named(attributes, key)) != key.handle.value():
            raise Refused("MaterialChanged", "the key in the token was replaced while the run was using it")

    def _open(self) -> tuple[Token, Wrapper]:
        if self._token is None or self._wrapper is None:
            raise Refused("SourceFailed", "the token is not open")
        return self._token, self._wrapper


def _named(attributes: dict[str, str], key: keys.Key) -> str:
    return json.dumps([key.spec, attributes], sort_keys=True)


def _where(error: Exception) -> str:
    """What failed and where, without its text: that may quote what a library returned."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in the token's process, {Path(frame.filename).name} line {frame.lineno}"


def main() -> None:
    keep_memory_private()  # the PIN, and a token in software; the parent's mark does not outlive execve(2)
    # A library that prints must not spoil the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    desk = Desk()
    operations: dict[str, Callable[..., dict[str, Any]]] = {
        "open": desk.open,
        "login": desk.login,
        "look": desk.look,
        "seal": desk.seal,
    }
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = operations[request.pop("operation")](**request)
        except Refused as refused:
            answer = {"code": refused.code, "message": str(refused), "advice": refused.advice}
        except PyKCS11.PyKCS11Error as error:
            answer = {"code": "SourceFailed", "message": f"the token answers {error}", "advice": ""}
        except Exception as error:  # noqa: BLE001 - a mistake here must not look like a crash of the library
            answer = {"code": "InternalError", "message": _where(error), "advice": ""}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
