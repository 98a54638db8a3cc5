"""A KMS that answers from names: a million keys exist without one being made.

A key's number and spec are in its name: `alias/k00042` is the symmetric key number 42 of its account and
Region, `h` an HMAC_256, `e` an ECC_NIST_P256 key. Only what was imported is remembered.

What is simplified for load, and what it spares (never the client):
- A wrapping public key is a fresh random modulus (`--unwrap`: one of a few real pairs). Each
  GetParametersForImport answers another one, as KMS does; no one can unwrap what was sealed with it.
- Without unwrapping, the simulator is reported the HMAC and EC material, so that GenerateMac and GetPublicKey are true.
- Material does not expire.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

Body = dict[str, Any]
SPECS = {"k": "SYMMETRIC_DEFAULT", "h": "HMAC_256", "e": "ECC_NIST_P256"}
_USAGE: dict[str, Body] = {
    "SYMMETRIC_DEFAULT": {"KeyUsage": "ENCRYPT_DECRYPT", "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"]},
    "HMAC_256": {"KeyUsage": "GENERATE_VERIFY_MAC", "MacAlgorithms": ["HMAC_SHA_256"]},
    "ECC_NIST_P256": {"KeyUsage": "SIGN_VERIFY", "SigningAlgorithms": ["ECDSA_SHA_256"]},
}
_BITS = {"RSA_2048": 2048, "RSA_3072": 3072, "RSA_4096": 4096}
_NAME = re.compile(r"([khe])(\d{1,12})")
_KEY_ID = re.compile(r"000000([0-9a-f]{2})-0000-4000-8000-(\d{12})")
_TOKEN_FILLER = b64encode(bytes(1400)).decode()  # with its head, a token is as long as AWS's: about 2 KB
_TOKEN_LIFE = 24 * 3600


class Refusal(Exception):
    """An error answer of KMS or STS, all with HTTP status 400."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(slots=True)
class Imported:
    """What is known of a key that holds material."""

    at: float
    expiration_model: str
    valid_to: float | None
    material: bytes | None  # known when unwrapped


@dataclass(frozen=True, slots=True)
class Key:
    account: str
    region: str
    letter: str
    number: int

    @property
    def spec(self) -> str:
        return SPECS[self.letter]

    @property
    def id(self) -> str:
        return f"000000{ord(self.letter):02x}-0000-4000-8000-{self.number:012d}"

    @property
    def arn(self) -> str:
        return f"arn:aws:kms:{self.region}:{self.account}:key/{self.id}"


def key_of(key_id: str, account: str, region: str, *, alias_allowed: bool) -> Key:
    """The key that a KeyId names (ID, ARN, alias, alias ARN) in the caller's account and Region."""
    name = key_id
    if key_id.startswith("arn:"):
        parts = key_id.split(":", 5)
        if len(parts) != 6 or parts[3:5] != [region, account]:
            raise Refusal("NotFoundException", f"Invalid arn {region}")
        name = parts[5].removeprefix("key/")
    if name.startswith("alias/"):
        if not alias_allowed:
            raise Refusal("NotFoundException", f"Invalid keyId '{key_id}'")
        if found := _NAME.fullmatch(name[6:]):
            return Key(account, region, found[1], int(found[2]))
        raise Refusal("NotFoundException", f"Alias arn:aws:kms:{region}:{account}:{name} is not found.")
    found = _KEY_ID.fullmatch(name)
    if found is None or (letter := chr(int(found[1], 16))) not in SPECS:
        raise Refusal("NotFoundException", f"Key 'arn:aws:kms:{region}:{account}:key/{name}' does not exist")
    return Key(account, region, letter, int(found[2]))


class WrappingKeys:
    """Wrapping public keys: as many as are asked for, or, to unwrap, one real pair per length."""

    def __init__(self, *, real: bool, seed: int = 1) -> None:
        self._random = random.Random(seed)  # noqa: S311 - public moduli that no one will ever factor or trust
        self._real: dict[str, rsa.RSAPrivateKey] = {}
        self._frame: dict[str, tuple[bytes, bytes]] = {}
        for spec, bits in _BITS.items():
            if real:
                self._real[spec] = rsa.generate_private_key(65537, bits)
            # A SubjectPublicKeyInfo with a recognisable modulus: what is before and after it is the frame.
            modulus = (1 << bits) - 1
            der = _spki(rsa.RSAPublicNumbers(65537, modulus).public_key())
            before, after = der.split(modulus.to_bytes(bits // 8, "big"))
            self._frame[spec] = before, after

    def public(self, spec: str) -> bytes:
        """DER SubjectPublicKeyInfo of a wrapping key."""
        if spec in self._real:
            return _spki(self._real[spec].public_key())
        before, after = self._frame[spec]
        bits = _BITS[spec]
        modulus = self._random.getrandbits(bits) | 1 << (bits - 1) | 1
        return before + modulus.to_bytes(bits // 8, "big") + after

    def unwrap(self, spec: str, algorithm: str, sealed: bytes) -> bytes | None:
        """The material, None where the wrapping keys are not real. Raises InvalidCiphertextException."""
        private = self._real.get(spec)
        if private is None:
            return None
        digest = hashes.SHA1() if algorithm.endswith("SHA_1") else hashes.SHA256()  # noqa: S303 - KMS offers it
        oaep = padding.OAEP(padding.MGF1(digest), digest, None)
        size = _BITS[spec] // 8
        try:
            inner = private.decrypt(sealed[:size], oaep)
            hybrid = algorithm.startswith("RSA_AES_KEY_WRAP")
            return keywrap.aes_key_unwrap_with_padding(inner, sealed[size:]) if hybrid else inner
        except (ValueError, keywrap.InvalidUnwrap):
            raise Refusal("InvalidCiphertextException", "") from None


def _spki(public: rsa.RSAPublicKey) -> bytes:
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass(slots=True)
class Kms:
    """KMS of every account and Region. A method per operation: (account, Region, request) → answer."""

    clock: Callable[[], float] = time.monotonic
    wrapping: WrappingKeys = field(default_factory=lambda: WrappingKeys(real=False))
    hmac_material: bytes | None = None  # that every HMAC key is imported with
    public_key: bytes | None = None  # DER, of the material that every EC key is imported with
    lag: float = 0  # seconds after an import in which half of the reads still show the key before it
    imported: dict[Key, Imported] = field(default_factory=dict)
    _random: random.Random = field(default_factory=lambda: random.Random(2))  # noqa: S311 - which read is stale

    def answer(self, operation: str, account: str, region: str, request: Body) -> Body:
        """Raises Refusal."""
        handler = OPERATIONS.get(operation)
        if handler is None:
            raise Refusal("UnknownOperationException", "")
        key = key_of(request["KeyId"], account, region, alias_allowed=operation not in KEY_ID_ONLY)
        return handler(self, key, request)

    def describe_key(self, key: Key, _request: Body) -> Body:
        seen = self._as_read(key)
        metadata: Body = {
            "AWSAccountId": key.account,
            "KeyId": key.id,
            "Arn": key.arn,
            "CreationDate": 1760000000.123,
            "Enabled": seen is not None,
            "Description": "",
            "KeyState": "Enabled" if seen else "PendingImport",
            "Origin": "EXTERNAL",
            "KeyManager": "CUSTOMER",
            "CustomerMasterKeySpec": key.spec,
            "KeySpec": key.spec,
            "MultiRegion": False,
            **_USAGE[key.spec],
        }
        if seen:
            metadata["ExpirationModel"] = seen.expiration_model
            if seen.valid_to is not None:
                metadata["ValidTo"] = seen.valid_to
            if key.letter == "k":
                metadata["CurrentKeyMaterialId"] = self._material_id(key, seen.material)
        return {"KeyMetadata": metadata}

    def get_parameters_for_import(self, key: Key, request: Body) -> Body:
        algorithm, spec = request["WrappingAlgorithm"], request["WrappingKeySpec"]
        if spec not in _BITS:
            raise Refusal("ValidationException", f"Value '{spec}' at 'wrappingKeySpec' failed to satisfy constraint")
        until = time.time() + _TOKEN_LIFE
        token = f"{key.arn}|{spec}|{algorithm}|{until:.0f}|{_TOKEN_FILLER}"
        return {
            "KeyId": key.arn,
            "ImportToken": b64encode(token.encode()).decode(),
            "PublicKey": b64encode(self.wrapping.public(spec)).decode(),
            "ParametersValidTo": until,
        }

    def import_key_material(self, key: Key, request: Body) -> Body:
        try:
            arn, spec, algorithm, until, _ = b64decode(request["ImportToken"]).decode().split("|")
        except ValueError:
            raise Refusal("InvalidImportTokenException", "") from None
        if arn != key.arn:
            raise Refusal("InvalidImportTokenException", "")
        if float(until) < time.time():
            raise Refusal("ExpiredImportTokenException", "")
        model = request.get("ExpirationModel", "KEY_MATERIAL_EXPIRES")
        if model == "KEY_MATERIAL_EXPIRES" and "ValidTo" not in request:
            raise Refusal(
                "ValidationException", "A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES"
            )
        material = self.wrapping.unwrap(spec, algorithm, b64decode(request["EncryptedKeyMaterial"]))
        before = self.imported.get(key)
        if before and before.material != material:
            raise Refusal("IncorrectKeyMaterialException", "")
        self.imported[key] = Imported(self.clock(), model, request.get("ValidTo"), material)
        answer = {"KeyId": key.arn}
        if key.letter == "k":
            answer["KeyMaterialId"] = self._material_id(key, material)
        return answer

    def list_key_rotations(self, key: Key, request: Body) -> Body:
        held = self.imported.get(key)
        if held is None or request.get("IncludeKeyMaterial") != "ALL_KEY_MATERIAL":
            return {"Rotations": [], "Truncated": False}
        rotation: Body = {
            "KeyId": key.arn,
            "KeyMaterialId": self._material_id(key, held.material),
            "KeyMaterialState": "CURRENT",
            "ImportState": "IMPORTED",
            "ExpirationModel": held.expiration_model,
        }
        if held.valid_to is not None:
            rotation["ValidTo"] = held.valid_to
        return {"Rotations": [rotation], "Truncated": False}

    def generate_mac(self, key: Key, request: Body) -> Body:
        material = self._usable(key).material or self.hmac_material or b""
        mac = hmac.digest(material, b64decode(request["Message"]), "sha256")
        return {"Mac": b64encode(mac).decode(), "MacAlgorithm": request["MacAlgorithm"], "KeyId": key.arn}

    def get_public_key(self, key: Key, _request: Body) -> Body:
        material = self._usable(key).material
        der = self.public_key or b""
        if material:
            private = serialization.load_der_private_key(material, None)
            der = private.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        return {"KeyId": key.arn, "PublicKey": b64encode(der).decode(), "KeySpec": key.spec, **_USAGE[key.spec]}

    def _usable(self, key: Key) -> Imported:
        held = self.imported.get(key)
        if held is None:
            raise Refusal("KMSInvalidStateException", f"{key.arn} is pending import.")
        return held

    def _as_read(self, key: Key) -> Imported | None:
        """The key as one host sees it: within the lag, every other host has not heard of the import yet."""
        held = self.imported.get(key)
        if held and self.lag and self.clock() - held.at < self.lag and self._random.random() < 0.5:
            return None
        return held

    @staticmethod
    def _material_id(key: Key, material: bytes | None) -> str:
        """Derived from key and material, as KMS's is; from the key alone where the material is not known."""
        return hashlib.sha256(key.arn.encode() + (material or b"")).hexdigest()


OPERATIONS: dict[str, Callable[[Kms, Key, Body], Body]] = {
    "DescribeKey": Kms.describe_key,
    "GetParametersForImport": Kms.get_parameters_for_import,
    "ImportKeyMaterial": Kms.import_key_material,
    "ListKeyRotations": Kms.list_key_rotations,
    "GenerateMac": Kms.generate_mac,
    "GetPublicKey": Kms.get_public_key,
}
KEY_ID_ONLY = {"GetParametersForImport", "ImportKeyMaterial", "ListKeyRotations"}
