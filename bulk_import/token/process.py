"""The child process that talks to one token: one JSON object per line in, one out.

PKCS#11 libraries are a vendor's native code: they may crash, print, or hold locks for ever. So each token has a process
of its own, one request at a time. The PIN comes by the first line, never by argument or variable, and no plaintext of a
key passes here: keys are used by handle only.
https://docs.oasis-open.org/pkcs11/pkcs11-spec/v3.1/pkcs11-spec-v3.1.html
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import PyKCS11
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

HASHES = {
    "SHA_256": (PyKCS11.CKM_SHA256, PyKCS11.CKG_MGF1_SHA256, hashes.SHA256),
    "SHA_1": (PyKCS11.CKM_SHA_1, PyKCS11.CKG_MGF1_SHA1, hashes.SHA1),
}  # the strongest first
MACS = {
    "HMAC_224": PyKCS11.CKM_SHA224_HMAC,
    "HMAC_256": PyKCS11.CKM_SHA256_HMAC,
    "HMAC_384": PyKCS11.CKM_SHA384_HMAC,
    "HMAC_512": PyKCS11.CKM_SHA512_HMAC,
}
LENGTHS = {"SYMMETRIC_DEFAULT": 32, "HMAC_224": 28, "HMAC_256": 32, "HMAC_384": 48, "HMAC_512": 64}


class Refused(Exception):
    """What the other side reports. `code` is one of the program's, `advice` for people."""

    def __init__(self, code: str, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.advice = advice


class Token:
    """One token, logged in."""

    def __init__(self, module: str, token: dict[str, str], pin: str) -> None:
        self._library = PyKCS11.PyKCS11Lib()
        try:
            self._library.load(module)
        except PyKCS11.PyKCS11Error as error:
            raise Refused(
                "SourceFailed", f"the PKCS#11 module cannot be loaded: {error}", "Check --pkcs11-module."
            ) from error
        self._slot = self._found(token)
        self._session = self._library.openSession(self._slot)
        try:
            self._session.login(pin)
        except PyKCS11.PyKCS11Error as error:
            advice = "Check the PIN's file. The token counts wrong PINs and locks: the run tries once."
            raise Refused("SourceDenied", f"the token refuses the login: {error}", advice) from error
        self._oaep = self._probed()

    def _found(self, wanted: dict[str, str]) -> Any:
        matching, names = [], []
        for slot in self._library.getSlotList(tokenPresent=True):
            info = self._library.getTokenInfo(slot)
            known = {
                "token": info.label, "manufacturer": info.manufacturerID, "model": info.model,
                "serial": info.serialNumber,
            }  # fmt: skip
            known = {name: str(value).strip(" \0") for name, value in known.items()} | {"slot-id": str(slot)}
            if known["token"]:
                names.append(known["token"])
            if all(known.get(name) == value for name, value in wanted.items()) and known["token"]:
                matching.append(slot)
        if len(matching) != 1:
            what = "no token matches" if not matching else f"{len(matching)} tokens match"
            advice = "Correct token=, serial=, model= or manufacturer= in the URI."
            raise Refused("MaterialNotFound", f"{what}; the module has: {', '.join(names) or 'none'}", advice)
        return matching[0]

    def _probed(self) -> list[str]:
        """The hashes with which OAEP really works here: some tokens list the mechanism and refuse SHA-256. Tried with
        keys that are thrown away.
        """
        if "CKM_RSA_PKCS_OAEP" not in self._library.getMechanismList(self._slot):
            return []
        mine = rsa.generate_private_key(65537, 2048)
        working = []
        try:
            wrapping = self._public(mine.public_key())
            key = self._session.generateKey(
                [
                    (PyKCS11.CKA_CLASS, PyKCS11.CKO_SECRET_KEY), (PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_AES),
                    (PyKCS11.CKA_VALUE_LEN, 32), (PyKCS11.CKA_TOKEN, False), (PyKCS11.CKA_EXTRACTABLE, True),
                    (PyKCS11.CKA_SENSITIVE, True), (PyKCS11.CKA_ENCRYPT, True),
                ],
                mecha=PyKCS11.MechanismAESGENERATEKEY,
            )  # fmt: skip
        except PyKCS11.PyKCS11Error:
            return []
        for name, (mechanism, mask, digest) in HASHES.items():
            try:
                wrapped = bytes(self._session.wrapKey(wrapping, key, PyKCS11.RSAOAEPMechanism(mechanism, mask)))
                opened = mine.decrypt(wrapped, padding.OAEP(padding.MGF1(digest()), digest(), None))
            except (PyKCS11.PyKCS11Error, ValueError):
                continue
            if len(opened) == 32:
                working.append(name)
        for handle in (key, wrapping):
            self._session.destroyObject(handle)
        return working

    def look(self, *, attributes: dict[str, str], key_spec: str, message: str, zeros: bool) -> dict[str, Any]:
        """What the token can do with the key: checks it, and makes the evidence."""
        key = self._key(attributes, key_spec)
        found: dict[str, Any] = {"hashes": self._oaep}
        if key_spec in MACS:
            mac = self._use(lambda: self._session.sign(key, bytes.fromhex(message), _plain(MACS[key_spec])), "CKA_SIGN")
            found["mac"] = bytes(mac).hex()
        elif zeros:
            ecb = _plain(PyKCS11.CKM_AES_ECB)
            block = self._use(lambda: self._session.encrypt(key, bytes(16), ecb), "CKA_ENCRYPT")
            found["kcv"] = bytes(block)[:3].hex()
        return found

    def seal(self, *, attributes: dict[str, str], key_spec: str, public_key: str, digest: str) -> dict[str, Any]:
        """C_WrapKey under KMS's wrapping key, which is a session object and gone afterwards."""
        key = self._key(attributes, key_spec)
        mechanism, mask, _ = HASHES[digest]
        loaded = serialization.load_der_public_key(bytes.fromhex(public_key))
        if not isinstance(loaded, rsa.RSAPublicKey):
            raise Refused("InvalidWrappingKey", "the wrapping key is not RSA")
        wrapping = self._public(loaded)
        try:
            sealed = bytes(self._session.wrapKey(wrapping, key, PyKCS11.RSAOAEPMechanism(mechanism, mask)))
        except PyKCS11.PyKCS11Error as error:
            raise Refused(
                "MaterialNotExportable", f"the token refuses to wrap the key: {error}",
                "The HSM's administrator must allow wrapping: CKA_EXTRACTABLE=true and CKA_WRAP_WITH_TRUSTED=false.",
            ) from error  # fmt: skip
        finally:
            self._session.destroyObject(wrapping)
        return {"sealed": sealed.hex()}

    def _public(self, key: rsa.RSAPublicKey) -> Any:
        numbers = key.public_numbers()
        return self._session.createObject(
            [
                (PyKCS11.CKA_CLASS, PyKCS11.CKO_PUBLIC_KEY), (PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_RSA),
                (PyKCS11.CKA_TOKEN, False), (PyKCS11.CKA_WRAP, True), (PyKCS11.CKA_ENCRYPT, True),
                (PyKCS11.CKA_MODULUS, _big(numbers.n)), (PyKCS11.CKA_PUBLIC_EXPONENT, _big(numbers.e)),
            ]
        )  # fmt: skip

    def _key(self, attributes: dict[str, str], key_spec: str) -> Any:
        template: list[tuple[Any, Any]] = [(PyKCS11.CKA_CLASS, PyKCS11.CKO_SECRET_KEY)]
        if "object" in attributes:
            template.append((PyKCS11.CKA_LABEL, attributes["object"]))
        if "id" in attributes:
            template.append((PyKCS11.CKA_ID, tuple(bytes.fromhex(attributes["id"]))))
        found = self._session.findObjects(template)
        if len(found) != 1:
            what = "holds no such secret key" if not found else f"holds {len(found)} such secret keys"
            advice = "Name it by object= and id=. This version seals no RSA and ECC private keys from a token."
            raise Refused("MaterialNotFound", f"the token {what}", advice)
        self._check(found[0], key_spec)
        return found[0]

    def _check(self, key: Any, key_spec: str) -> None:
        kind = self._attribute(key, PyKCS11.CKA_KEY_TYPE)
        length = self._attribute(key, PyKCS11.CKA_VALUE_LEN)
        extractable = self._attribute(key, PyKCS11.CKA_EXTRACTABLE)
        trusted_only = self._attribute(key, PyKCS11.CKA_WRAP_WITH_TRUSTED)
        aes = kind == PyKCS11.CKK_AES
        if aes != (key_spec == "SYMMETRIC_DEFAULT"):
            message = f"the key in the token is {'an AES' if aes else 'a generic secret or HMAC'} key, not {key_spec}"
            raise Refused("MaterialInvalid", message, "Point the URI to the right key.")
        if length != LENGTHS[key_spec]:
            message = f"the key in the token has {length} bytes; {key_spec} takes {LENGTHS[key_spec]}"
            raise Refused("MaterialWrongLength", message)
        if extractable is False:
            raise Refused(
                "MaterialNotExportable", "the key in the token has CKA_EXTRACTABLE=false",
                "The HSM's administrator must make a key with CKA_EXTRACTABLE=true: it cannot be set later.",
            )  # fmt: skip
        if trusted_only is True:
            raise Refused(
                "MaterialNotExportable", "the key in the token has CKA_WRAP_WITH_TRUSTED=true",
                "KMS gives a new wrapping key for each import, which no one has marked as trusted. The HSM's "
                "administrator must make a key with CKA_WRAP_WITH_TRUSTED=false.",
            )  # fmt: skip

    def _attribute(self, key: Any, name: int) -> Any:
        try:
            return self._session.getAttributeValue(key, [name])[0]
        except PyKCS11.PyKCS11Error:
            return None  # the token does not know this attribute

    def _use(self, work: Callable[[], Any], attribute: str) -> Any:
        try:
            return work()
        except PyKCS11.PyKCS11Error as error:
            raise Refused(
                "SourceFailed", f"the token cannot make the evidence: {error}",
                f"The HSM's administrator must set {attribute}=true for the key.",
            ) from error  # fmt: skip


def _plain(mechanism: int) -> Any:
    return PyKCS11.Mechanism(mechanism, None)


def _big(number: int) -> tuple[int, ...]:
    return tuple(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def main() -> None:
    # A library that prints must not spoil the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    token: Token | None = None
    for line in sys.stdin:
        request = json.loads(line)
        operation = request.pop("operation")
        try:
            if operation == "open":
                token = Token(**request)
                answer: dict[str, Any] = {}
            elif token is None:
                raise Refused("SourceFailed", "the token is not open")
            else:
                answer = token.look(**request) if operation == "look" else token.seal(**request)
        except Refused as refused:
            answer = {"code": refused.code, "message": str(refused), "advice": refused.advice}
        except PyKCS11.PyKCS11Error as error:
            answer = {"code": "SourceFailed", "message": f"the token answers {error}", "advice": ""}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
