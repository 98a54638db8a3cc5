"""A key in a token: found by its label and ID, what it is for KMS, and whether it may leave wrapped."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import PyKCS11

from bulk_import.token.refused import Refused

CLASSES: Final = {"secret-key": PyKCS11.CKO_SECRET_KEY, "private": PyKCS11.CKO_PRIVATE_KEY}  # RFC 7512's types
LENGTHS: Final = {"SYMMETRIC_DEFAULT": 32, "HMAC_224": 28, "HMAC_256": 32, "HMAC_384": 48, "HMAC_512": 64}
_HMAC_TYPES: Final = {
    PyKCS11.CKK_SHA224_HMAC: "HMAC_224",
    PyKCS11.CKK_SHA256_HMAC: "HMAC_256",
    PyKCS11.CKK_SHA384_HMAC: "HMAC_384",
    PyKCS11.CKK_SHA512_HMAC: "HMAC_512",
}
# CKA_EC_PARAMS: an OID in DER; for Edwards curves also a PrintableString (PKCS#11 v3.1, 6.3.4).
CURVES: Final = {
    bytes.fromhex("06082a8648ce3d030107"): "ECC_NIST_P256",
    bytes.fromhex("06052b81040022"): "ECC_NIST_P384",
    bytes.fromhex("06052b81040023"): "ECC_NIST_P521",
    bytes.fromhex("06052b8104000a"): "ECC_SECG_P256K1",
    bytes.fromhex("06032b6570"): "ECC_NIST_EDWARDS25519",
    bytes.fromhex("130c") + b"edwards25519": "ECC_NIST_EDWARDS25519",
}


class Key(NamedTuple):
    """`spec`: the KMS key spec that it fits; None: no one. `what`: for people."""

    handle: Any
    spec: str | None
    what: str


def attribute(session: Any, handle: Any, name: int) -> Any:
    """None: the token does not know this attribute, or keeps it to itself."""
    try:
        found = session.getAttributeValue(handle, [name])[0]
    except PyKCS11.PyKCS11Error:
        return None
    return bytes(found) if isinstance(found, (tuple, list, PyKCS11.ckbytelist)) else found


def find(session: Any, attributes: dict[str, str], key_spec: str | None) -> Key:
    """The one key that the attributes name, checked for `key_spec`. None: for any spec. Raises Refused."""
    wanted = attributes.get("type") or _type_of(key_spec)
    handles = {name: _objects(session, attributes, name) for name in CLASSES}
    found = [(name, handle) for name in CLASSES if wanted in (None, name) for handle in handles[name]]
    what = {"secret-key": "secret key", "private": "private key", None: "secret or private key"}[wanted]
    if not found:
        other = next((name for name, there in handles.items() if there), None)
        hint = f"; it has a {'private' if other == 'private' else 'secret'} key of this name" if other else ""
        advice = "Correct object= and id= in the URI. Keys of another user or partition are not visible here."
        raise Refused("MaterialNotFound", f"the token holds no such {what}{hint}", advice)
    if len(found) > 1:
        ids = sorted((attribute(session, handle, PyKCS11.CKA_ID) or b"").hex() or "none" for _, handle in found)
        advice = "Name the key by object= and id= together, and by type=; the HSM's administrator can give it an ID."
        message = f"the token holds {len(found)} such keys, with the IDs {', '.join(ids)} (in hex)"
        raise Refused("MaterialNotFound", message, advice)
    kind, handle = found[0]
    key = _private(session, handle) if kind == "private" else _secret(session, handle)
    _check_spec(session, key, key_spec)
    _check_exportable(session, handle)
    return key


def _type_of(key_spec: str | None) -> str | None:
    if key_spec is None:
        return None
    return "secret-key" if key_spec in LENGTHS else "private"


def _objects(session: Any, attributes: dict[str, str], kind: str) -> list[Any]:
    template: list[tuple[Any, Any]] = [(PyKCS11.CKA_CLASS, CLASSES[kind])]
    if "object" in attributes:
        template.append((PyKCS11.CKA_LABEL, attributes["object"]))
    if "id" in attributes:
        template.append((PyKCS11.CKA_ID, tuple(bytes.fromhex(attributes["id"]))))
    return list(session.findObjects(template))


def _secret(session: Any, handle: Any) -> Key:
    kind = attribute(session, handle, PyKCS11.CKA_KEY_TYPE)
    length = attribute(session, handle, PyKCS11.CKA_VALUE_LEN)
    if kind == PyKCS11.CKK_AES:
        return Key(handle, "SYMMETRIC_DEFAULT" if length == 32 else None, f"an AES key of {length} bytes")
    by_length = {size: spec for spec, size in LENGTHS.items() if spec.startswith("HMAC_")}
    if kind == PyKCS11.CKK_GENERIC_SECRET:
        return Key(handle, by_length.get(length), f"a generic secret of {length} bytes")
    if kind in _HMAC_TYPES:
        spec = _HMAC_TYPES[kind]
        return Key(handle, spec if length == LENGTHS[spec] else None, f"an {spec} key of {length} bytes")
    return Key(handle, None, f"a secret key of type {_name(kind)}")


def _private(session: Any, handle: Any) -> Key:
    kind = attribute(session, handle, PyKCS11.CKA_KEY_TYPE)
    if kind == PyKCS11.CKK_RSA:
        bits = 8 * len((attribute(session, handle, PyKCS11.CKA_MODULUS) or b"").lstrip(b"\0"))
        return Key(handle, f"RSA_{bits}" if bits in (2048, 3072, 4096) else None, f"an RSA key of {bits} bits")
    if kind in (PyKCS11.CKK_EC, PyKCS11.CKK_EC_EDWARDS):
        parameters = attribute(session, handle, PyKCS11.CKA_EC_PARAMS) or b""
        spec = CURVES.get(parameters)
        return Key(handle, spec, spec or f"an EC key with the parameters {parameters.hex() or 'unknown'}")
    return Key(handle, None, f"a private key of type {_name(kind)}")


def _name(kind: Any) -> str:
    return str(PyKCS11.CKK.get(kind, kind))


def _check_spec(session: Any, key: Key, key_spec: str | None) -> None:
    if key_spec is None and key.spec is None:
        raise Refused("MaterialInvalid", f"the key in the token is {key.what}: no KMS key spec fits it", "")
    if key_spec in (None, key.spec):
        return
    aes = attribute(session, key.handle, PyKCS11.CKA_KEY_TYPE) == PyKCS11.CKK_AES
    length = attribute(session, key.handle, PyKCS11.CKA_VALUE_LEN)
    same_kind = key_spec in LENGTHS and aes == (key_spec == "SYMMETRIC_DEFAULT")
    if same_kind and length is not None and length != LENGTHS[key_spec]:
        message = f"the key in the token has {length} bytes; {key_spec} takes {LENGTHS[key_spec]}"
        raise Refused("MaterialWrongLength", message, "Point the URI to a key of this length.")
    advice = "Point the URI to the right key, or correct key_spec."
    raise Refused("MaterialInvalid", f"the key in the token is {key.what}, not {key_spec}", advice)


def _check_exportable(session: Any, handle: Any) -> None:
    if attribute(session, handle, PyKCS11.CKA_EXTRACTABLE) is False:
        raise Refused(
            "MaterialNotExportable", "the key in the token has CKA_EXTRACTABLE=false",
            "The HSM's administrator must make a key with CKA_EXTRACTABLE=true (and CKA_SENSITIVE=true): it cannot be "
            "set later.",
        )  # fmt: skip
    if attribute(session, handle, PyKCS11.CKA_WRAP_WITH_TRUSTED) is True:
        raise Refused(
            "MaterialNotExportable", "the key in the token has CKA_WRAP_WITH_TRUSTED=true",
            "KMS gives a new wrapping key for each import, which no one has marked as trusted. The HSM's "
            "administrator must make a key with CKA_WRAP_WITH_TRUSTED=false.",
        )  # fmt: skip
