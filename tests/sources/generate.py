"""Generates keys inside a PKCS#11 token, in a process of its own.

python generate.py MODULE INIT_ARGS PIN LABEL REQUEST

Independent of the program. REQUEST is JSON; what the token says of the new key goes to stdout, as JSON.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

import PyKCS11 as P

CURVES = {
    "ECC_NIST_P256": "06082a8648ce3d030107",
    "ECC_NIST_P384": "06052b81040022",
    "ECC_NIST_P521": "06052b81040023",
    "ECC_SECG_P256K1": "06052b8104000a",
    "ECC_NIST_EDWARDS25519": "130c656477617264733235353139",
}
MACS = {28: P.CKM_SHA224_HMAC, 32: P.CKM_SHA256_HMAC, 48: P.CKM_SHA384_HMAC, 64: P.CKM_SHA512_HMAC}


class Arguments(ctypes.Structure):
    _fields_ = (
        ("functions", ctypes.c_void_p * 4),
        ("flags", ctypes.c_ulong),
        ("text", ctypes.c_char_p),
        ("none", ctypes.c_void_p),
    )


def opened(module: str, init_args: str, pin: str, label: str) -> Any:
    if init_args:
        functions = ctypes.POINTER(ctypes.c_void_p)()
        assert ctypes.CDLL(module).C_GetFunctionList(ctypes.byref(functions)) == 0
        initialize = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.POINTER(Arguments))(functions[1])
        assert initialize(ctypes.byref(Arguments(flags=2, text=init_args.encode()))) == 0
    library = P.PyKCS11Lib()
    library.load(module)
    slots = library.getSlotList(tokenPresent=True)
    [slot] = [slot for slot in slots if library.getTokenInfo(slot).label.strip(" \0") == label]
    session = library.openSession(slot, P.CKF_SERIAL_SESSION | P.CKF_RW_SESSION)
    session.login(pin)
    session.library = library
    return session


def named(more: dict[str, Any]) -> dict[int, Any]:
    """Attributes by their names; CKA_VALUE and CKA_ID are hex."""
    return {getattr(P, name): tuple(bytes.fromhex(v)) if isinstance(v, str) else v for name, v in more.items()}


def secret(session: Any, name: str, kind: str, length: int, more: dict[str, Any]) -> dict[str, str]:
    template = {
        P.CKA_CLASS: P.CKO_SECRET_KEY, P.CKA_TOKEN: True, P.CKA_LABEL: name, P.CKA_ID: tuple(name.encode()),
        P.CKA_SENSITIVE: True, P.CKA_EXTRACTABLE: True, P.CKA_SIGN: True, P.CKA_ENCRYPT: True,
        P.CKA_KEY_TYPE: P.CKK_AES if kind == "aes" else P.CKK_GENERIC_SECRET,
    } | named(more)  # fmt: skip
    if P.CKA_VALUE in template:
        key = session.createObject(list(template.items()))
    else:
        template[P.CKA_VALUE_LEN] = length
        number = P.CKM_AES_KEY_GEN if kind == "aes" else P.CKM_GENERIC_SECRET_KEY_GEN
        key = session.generateKey(list(template.items()), mecha=P.Mechanism(number, None))
    if kind == "aes":
        may = template[P.CKA_ENCRYPT]
        return {"zeros": bytes(session.encrypt(key, bytes(16), P.Mechanism(P.CKM_AES_ECB, None))).hex() if may else ""}
    may = template[P.CKA_SIGN] and length in MACS
    return {"mac": bytes(session.sign(key, b"message", P.Mechanism(MACS[length], None))).hex() if may else ""}


def pair(session: Any, name: str, spec: str, more: dict[str, Any]) -> dict[str, str]:
    both = {P.CKA_TOKEN: True, P.CKA_LABEL: name, P.CKA_ID: tuple(name.encode())}
    public = both | {P.CKA_VERIFY: True}
    private = (
        both | {P.CKA_SENSITIVE: True, P.CKA_EXTRACTABLE: True, P.CKA_SIGN: True, P.CKA_PRIVATE: True} | named(more)
    )
    if spec.startswith("RSA_"):
        public |= {P.CKA_MODULUS_BITS: int(spec[4:]), P.CKA_PUBLIC_EXPONENT: (1, 0, 1)}
        number = P.CKM_RSA_PKCS_KEY_PAIR_GEN
    else:
        public[P.CKA_EC_PARAMS] = tuple(bytes.fromhex(CURVES[spec]))
        number = P.CKM_EC_EDWARDS_KEY_PAIR_GEN if spec.endswith("25519") else P.CKM_EC_KEY_PAIR_GEN
    made, _ = session.generateKeyPair(list(public.items()), list(private.items()), mecha=P.Mechanism(number, None))
    names = (P.CKA_MODULUS,) if spec.startswith("RSA_") else (P.CKA_EC_POINT,)
    [value] = session.getAttributeValue(made, names)
    return {"public": bytes(value).hex()}


def rsa(session: Any, name: str, numbers: dict[str, str]) -> dict[str, str]:
    """An RSA key whose value is known. `numbers` are hex."""
    both = {P.CKA_KEY_TYPE: P.CKK_RSA, P.CKA_TOKEN: True, P.CKA_LABEL: name, P.CKA_ID: tuple(name.encode())}
    private = both | {P.CKA_CLASS: P.CKO_PRIVATE_KEY, P.CKA_SENSITIVE: True, P.CKA_EXTRACTABLE: True, P.CKA_SIGN: True}
    session.createObject(list((private | named(numbers)).items()))
    return {}


def remove(session: Any, name: str, kind: str) -> dict[str, str]:
    for handle in session.findObjects([(P.CKA_CLASS, getattr(P, kind)), (P.CKA_LABEL, name)]):
        session.destroyObject(handle)
    return {}


def rename(session: Any, name: str, to: str) -> dict[str, str]:
    """Gives a public key another label and ID."""
    [handle] = session.findObjects([(P.CKA_CLASS, P.CKO_PUBLIC_KEY), (P.CKA_LABEL, name)])
    session.setAttributeValue(handle, [(P.CKA_LABEL, to), (P.CKA_ID, tuple(to.encode()))])
    return {}


def main() -> None:
    module, init_args, pin, label, request = sys.argv[1:]
    asked = json.loads(request)
    work = {"secret": secret, "pair": pair, "rsa": rsa, "remove": remove, "rename": rename}[asked.pop("what")]
    session = opened(module, init_args, pin, label)
    sys.stdout.write(json.dumps(work(session, **asked)))


if __name__ == "__main__":
    main()
