"""What a token can really wrap for KMS, found out with keys that are thrown away, and the wrapping itself.

AES and HMAC keys: C_WrapKey with CKM_RSA_PKCS_OAEP. RSA and ECC private keys, in the form of RSA_AES_KEY_WRAP_*:
CKM_RSA_AES_KEY_WRAP, or the same in two steps: a temporary AES key wraps the private key (AES-KWP, RFC 5649), and is
itself wrapped with OAEP. Mechanisms of the same number pad in three different ways, so nothing is believed that a
probe has not shown. Which hash OAEP works with decides between …_SHA_256 and …_SHA_1.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import PyKCS11
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap_with_padding

from bulk_import.token import keys
from bulk_import.token.refused import Refused
from bulk_import.token.session import Token

HASHES: Final = {
    "SHA_256": (PyKCS11.CKM_SHA256, PyKCS11.CKG_MGF1_SHA256, hashes.SHA256),
    "SHA_1": (PyKCS11.CKM_SHA_1, PyKCS11.CKG_MGF1_SHA1, hashes.SHA1),
}  # the strongest first
_KWP: Final = {
    "CKM_AES_KEY_WRAP_KWP": PyKCS11.CKM_AES_KEY_WRAP_KWP,
    "CKM_AES_KEY_WRAP_PAD": PyKCS11.CKM_AES_KEY_WRAP_PAD,
}
_LARGE: Final = 16 * 1024  # more than any wrapped key: some tokens answer the question for the size with an error
_TRIES: Final = 8  # keys whose length does not show how they are padded
_ADVICE: Final = (
    "The HSM's administrator must enable CKM_RSA_AES_KEY_WRAP, or CKM_AES_KEY_WRAP_KWP as RFC 5649 defines it together "
    "with CKM_RSA_PKCS_OAEP: this may need newer firmware. Otherwise use another source for this key."
)

_Wrap = Callable[[Any, Any, str], bytes]  # wrapping public key, key, hash → what KMS takes


class Ways(NamedTuple):
    """`algorithms`: KMS's names, the strongest first, with the mechanisms used. `probe`: what came out for a throw-away
    private key, in PKCS#8. `without`: why other ways do not work, for people.
    """

    algorithms: dict[str, str]
    probe: bytes
    without: list[str]


class Wrapper:
    """The wrapping of one token, logged in."""

    def __init__(self, token: Token) -> None:
        self._token = token
        self._session = token.session
        self._mine = rsa.generate_private_key(65537, 2048)
        self._under: Any = None
        self._known: dict[str, tuple[Ways, dict[str, _Wrap]]] = {}
        self._hashes: list[str] | None = None

    def ways(self, key: keys.Key) -> Ways:
        """How the token can wrap a key of this spec."""
        return self._of(key)[0]

    def wrap(self, key: keys.Key, public_key: rsa.RSAPublicKey, algorithm: str) -> bytes:
        """Raises Refused."""
        wrap = self._of(key)[1].get(algorithm)
        if wrap is None:
            raise Refused("WrappingNotAllowed", f"the token cannot wrap with {algorithm}", _ADVICE)
        under = self._public(public_key)
        try:
            return wrap(under, key.handle, _hash_of(algorithm))
        except PyKCS11.PyKCS11Error as error:
            raise Refused(
                "MaterialNotExportable", f"the token refuses to wrap the key: {error}",
                "The HSM's administrator must allow wrapping: CKA_EXTRACTABLE=true and CKA_WRAP_WITH_TRUSTED=false.",
            ) from error  # fmt: skip
        finally:
            self._session.destroyObject(under)

    def _of(self, key: keys.Key) -> tuple[Ways, dict[str, _Wrap]]:
        """The ways, and for each algorithm the function that goes its way."""
        spec = str(key.spec)
        family = "RSA" if spec.startswith("RSA_") else "bytes" if spec in keys.LENGTHS else spec
        if family not in self._known:
            self._known[family] = self._bytes() if family == "bytes" else self._private(key, family)
        return self._known[family]

    def _bytes(self) -> tuple[Ways, dict[str, _Wrap]]:
        algorithms = {f"RSAES_OAEP_{name}": "CKM_RSA_PKCS_OAEP" for name in self._oaep()}
        why = self._why("CKM_RSA_PKCS_OAEP")
        missing = [name for name in HASHES if f"RSAES_OAEP_{name}" not in algorithms]
        without = [f"CKM_RSA_PKCS_OAEP with {name}: {why}" for name in missing]
        return Ways(algorithms, b"", without), dict.fromkeys(algorithms, self._wrap_oaep)

    def _private(self, key: keys.Key, family: str) -> tuple[Ways, dict[str, _Wrap]]:
        """For each hash the first way that works: one step, otherwise two."""
        ways: dict[str, _Wrap] = {"CKM_RSA_AES_KEY_WRAP": self._wrap_rsa_aes}
        ways |= {f"CKM_RSA_PKCS_OAEP and {name}": self._two_steps(number) for name, number in _KWP.items()}
        without: list[str] = []
        for name in list(ways):
            if (mechanism := name.rpartition(" ")[2]) not in self._token.mechanisms:
                without.append(f"{mechanism}: not in the token")
                del ways[name]
        found = Ways({}, b"", without)
        wraps: dict[str, _Wrap] = {}
        for digest in HASHES:
            for name, wrap in list(ways.items()):
                if "OAEP" in name and digest not in self._oaep():
                    continue
                try:
                    probe = self._probe(key, family, wrap, digest)
                except Refused as refused:
                    without.append(f"{name.rpartition(' ')[2]} ({digest}): {refused}")
                    if "OAEP" in name:
                        del ways[name]  # the hash makes no difference to the second step
                    continue
                algorithm = f"RSA_AES_KEY_WRAP_{digest}"
                found.algorithms[algorithm], wraps[algorithm] = name, wrap
                found = found._replace(probe=probe)
                break
        if not self._oaep():
            without.append("CKM_RSA_PKCS_OAEP: " + self._why("CKM_RSA_PKCS_OAEP"))
        return found, wraps

    def _probe(self, key: keys.Key, family: str, wrap: _Wrap, digest: str) -> bytes:
        """Wraps throw-away keys until one shows how it is padded. Returns its PKCS#8. Raises Refused."""
        for _ in range(_TRIES):
            private, public = self._temporary_pair(key, family)
            try:
                wrapped = wrap(self._probing_key(), private, digest)
            except PyKCS11.PyKCS11Error as error:
                raise Refused("WrappingNotAllowed", str(error)) from error
            finally:
                self._session.destroyObject(private)
                self._session.destroyObject(public)
            opened = self._opened(wrapped, digest)
            if len(opened) % 8 or family != "RSA":  # keys of one curve all have the same length
                return opened
        raise Refused("WrappingNotAllowed", "the padding cannot be found out")

    def _opened(self, wrapped: bytes, digest: str) -> bytes:
        """As KMS opens it: the AES key first, then RFC 5649, with nothing before, between or behind."""
        size = self._mine.key_size // 8
        algorithm = HASHES[digest][2]()
        try:
            aes_key = self._mine.decrypt(wrapped[:size], padding.OAEP(padding.MGF1(algorithm), algorithm, None))
            opened = aes_key_unwrap_with_padding(aes_key, wrapped[size:])
        except (ValueError, InvalidUnwrap):
            raise Refused("WrappingNotAllowed", "its output is not that of RFC 5649") from None
        length = _der_length(opened)
        if length is None:
            raise Refused("WrappingNotAllowed", "what it wraps is not PKCS#8")
        if length != len(opened):
            raise Refused("WrappingNotAllowed", "it pads the key to a multiple of 8 bytes before it wraps it")
        return opened

    def _oaep(self) -> list[str]:
        """The hashes with which OAEP really works here: some tokens list the mechanism and refuse SHA-256."""
        if self._hashes is None:
            self._hashes = []
            if "CKM_RSA_PKCS_OAEP" in self._token.mechanisms:
                self._hashes = self._working()
        return self._hashes

    def _working(self) -> list[str]:
        try:
            key = self._temporary_aes()
        except PyKCS11.PyKCS11Error:
            return []
        working = []
        for name, (_, _, digest) in HASHES.items():
            oaep = padding.OAEP(padding.MGF1(digest()), digest(), None)
            try:
                opened = self._mine.decrypt(self._wrap_oaep(self._probing_key(), key, name), oaep)
            except (PyKCS11.PyKCS11Error, ValueError):
                continue
            if len(opened) == 32:
                working.append(name)
        self._session.destroyObject(key)
        return working

    def _why(self, mechanism: str) -> str:
        return "the token refuses it" if mechanism in self._token.mechanisms else "not in the token"

    def _wrap_oaep(self, under: Any, handle: Any, digest: str) -> bytes:
        mechanism, mask, _ = HASHES[digest]
        return self._wrapped(under, handle, PyKCS11.RSAOAEPMechanism(mechanism, mask))

    def _wrap_rsa_aes(self, under: Any, handle: Any, digest: str) -> bytes:
        mechanism, mask, _ = HASHES[digest]
        oaep = _OaepParameters(mechanism, mask, PyKCS11.CKZ_DATA_SPECIFIED, None, 0)
        parameters = _RsaAesParameters(256, ctypes.pointer(oaep))
        return self._wrapped(under, handle, PyKCS11.Mechanism(PyKCS11.CKM_RSA_AES_KEY_WRAP, bytes(parameters)))

    def _two_steps(self, mechanism: int) -> _Wrap:
        def wrap(under: Any, handle: Any, digest: str) -> bytes:
            temporary = self._temporary_aes()
            try:
                outer = self._wrap_oaep(under, temporary, digest)
                return outer + self._wrapped(temporary, handle, PyKCS11.Mechanism(mechanism, None))
            finally:
                self._session.destroyObject(temporary)

        return wrap

    def _wrapped(self, under: Any, handle: Any, mechanism: Any) -> bytes:
        """C_WrapKey, once, into a buffer that is large enough."""
        into = PyKCS11.ckbytelist(bytes(_LARGE))
        result = self._session.lib.C_WrapKey(self._session.session, mechanism.to_native(), under, handle, into)
        if result != PyKCS11.CKR_OK:
            raise PyKCS11.PyKCS11Error(result)
        return bytes(into)

    def _probing_key(self) -> Any:
        if self._under is None:
            self._under = self._public(self._mine.public_key())
        return self._under

    def _temporary_aes(self) -> Any:
        return self._session.generateKey(
            [
                (PyKCS11.CKA_CLASS, PyKCS11.CKO_SECRET_KEY), (PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_AES),
                (PyKCS11.CKA_VALUE_LEN, 32), (PyKCS11.CKA_TOKEN, False), (PyKCS11.CKA_EXTRACTABLE, True),
                (PyKCS11.CKA_SENSITIVE, True), (PyKCS11.CKA_WRAP, True),
            ],
            mecha=PyKCS11.MechanismAESGENERATEKEY,
        )  # fmt: skip

    def _temporary_pair(self, key: keys.Key, family: str) -> tuple[Any, Any]:
        public: list[tuple[Any, Any]] = [(PyKCS11.CKA_TOKEN, False), (PyKCS11.CKA_VERIFY, True)]
        private = [
            (PyKCS11.CKA_TOKEN, False), (PyKCS11.CKA_SENSITIVE, True), (PyKCS11.CKA_EXTRACTABLE, True),
            (PyKCS11.CKA_SIGN, True),
        ]  # fmt: skip
        if family == "RSA":
            public += [(PyKCS11.CKA_MODULUS_BITS, 2048), (PyKCS11.CKA_PUBLIC_EXPONENT, (1, 0, 1))]
            number = PyKCS11.CKM_RSA_PKCS_KEY_PAIR_GEN
        else:
            parameters = keys.attribute(self._session, key.handle, PyKCS11.CKA_EC_PARAMS)
            public.append((PyKCS11.CKA_EC_PARAMS, tuple(parameters)))
            edwards = family == "ECC_NIST_EDWARDS25519"
            number = PyKCS11.CKM_EC_EDWARDS_KEY_PAIR_GEN if edwards else PyKCS11.CKM_EC_KEY_PAIR_GEN
        try:
            made = self._session.generateKeyPair(public, private, mecha=PyKCS11.Mechanism(number, None))
        except PyKCS11.PyKCS11Error as error:
            raise Refused("WrappingNotAllowed", f"no temporary key for a probe can be generated: {error}") from error
        return made[1], made[0]

    def _public(self, key: rsa.RSAPublicKey) -> Any:
        """A wrapping key: a session object, gone with the session at the latest."""
        numbers = key.public_numbers()
        return self._session.createObject(
            [
                (PyKCS11.CKA_CLASS, PyKCS11.CKO_PUBLIC_KEY), (PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_RSA),
                (PyKCS11.CKA_TOKEN, False), (PyKCS11.CKA_WRAP, True), (PyKCS11.CKA_ENCRYPT, True),
                (PyKCS11.CKA_MODULUS, _big(numbers.n)), (PyKCS11.CKA_PUBLIC_EXPONENT, _big(numbers.e)),
            ]
        )  # fmt: skip


class _OaepParameters(ctypes.Structure):
    """CK_RSA_PKCS_OAEP_PARAMS."""

    _fields_ = (
        ("hashAlg", ctypes.c_ulong), ("mgf", ctypes.c_ulong), ("source", ctypes.c_ulong),
        ("pSourceData", ctypes.c_void_p), ("ulSourceDataLen", ctypes.c_ulong),
    )  # fmt: skip


class _RsaAesParameters(ctypes.Structure):
    """CK_RSA_AES_KEY_WRAP_PARAMS."""

    _fields_ = (("ulAESKeyBits", ctypes.c_ulong), ("pOAEPParams", ctypes.POINTER(_OaepParameters)))


def _hash_of(algorithm: str) -> str:
    return next(name for name in HASHES if algorithm.endswith(name))


def _big(number: int) -> tuple[int, ...]:
    return tuple(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def _der_length(data: bytes) -> int | None:
    """Bytes of the one DER SEQUENCE that `data` begins with; None where there is none."""
    if len(data) < 4 or data[0] != 0x30:
        return None
    if data[1] < 0x80:
        return 2 + data[1]
    size = data[1] & 0x7F
    return 2 + size + int.from_bytes(data[2 : 2 + size], "big")
