"""Material of every key spec, made by `cryptography`, and what opens a seal without the product's code."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bulk_import.model import KeySpec

BYTES = {
    KeySpec.SYMMETRIC_DEFAULT: 32,
    KeySpec.HMAC_224: 28,
    KeySpec.HMAC_256: 32,
    KeySpec.HMAC_384: 48,
    KeySpec.HMAC_512: 64,
}
CURVES = {
    KeySpec.ECC_NIST_P256: ec.SECP256R1(),
    KeySpec.ECC_NIST_P384: ec.SECP384R1(),
    KeySpec.ECC_NIST_P521: ec.SECP521R1(),
    KeySpec.ECC_SECG_P256K1: ec.SECP256K1(),
}
RSA_BITS = {KeySpec.RSA_2048: 2048, KeySpec.RSA_3072: 3072, KeySpec.RSA_4096: 4096}
ASYMMETRIC = [spec for spec in KeySpec if spec not in BYTES]


def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def key_of(spec: KeySpec) -> PrivateKeyTypes:
    if spec in CURVES:
        return ec.generate_private_key(CURVES[spec])
    return rsa_key(RSA_BITS[spec]) if spec in RSA_BITS else ed25519.Ed25519PrivateKey.generate()


def pkcs8(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def spki(key: PrivateKeyTypes) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def material_of(spec: KeySpec) -> bytes:
    return os.urandom(BYTES[spec]) if spec in BYTES else pkcs8(key_of(spec))


def open_oaep(key: rsa.RSAPrivateKey, sealed: bytes, digest: str) -> bytes:
    """RSAES-OAEP by the openssl command, or by `cryptography` where there is none."""
    if shutil.which("openssl") is None:
        algorithm = hashes.SHA256() if digest == "sha256" else hashes.SHA1()  # noqa: S303 - KMS allows it in OAEP
        return key.decrypt(sealed, padding.OAEP(padding.MGF1(algorithm), algorithm, None))
    with TemporaryDirectory() as folder:
        pem = Path(folder, "wrapping.pem")
        pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        options = ["rsa_padding_mode:oaep", f"rsa_oaep_md:{digest}", f"rsa_mgf1_md:{digest}"]
        command = ["openssl", "pkeyutl", "-decrypt", "-inkey", str(pem)]
        command += [word for option in options for word in ("-pkeyopt", option)]
        return subprocess.run(command, input=sealed, capture_output=True, check=True).stdout


def open_kwp(kek: bytes, sealed: bytes) -> bytes:
    """AES key unwrap with padding, written out from RFC 5649, 4.2, on bare AES. Raises ValueError."""
    # Bare AES on single blocks is what the RFC is defined by.
    aes = Cipher(algorithms.AES(kek), modes.ECB()).decryptor()  # noqa: S305
    blocks = [sealed[at : at + 8] for at in range(0, len(sealed), 8)]
    n = len(blocks) - 1
    if n == 1:
        plain = aes.update(sealed)
        a, r = plain[:8], [plain[8:]]
    else:
        a, r = blocks[0], blocks[1:]
        for t in range(6 * n, 0, -1):
            i = (t - 1) % n
            plain = aes.update((int.from_bytes(a, "big") ^ t).to_bytes(8, "big") + r[i])
            a, r[i] = plain[:8], plain[8:]
    size = int.from_bytes(a[4:], "big")
    padded = b"".join(r)
    if a[:4] != bytes.fromhex("a65959a6") or not 8 * (n - 1) < size <= 8 * n or any(padded[size:]):
        raise ValueError("not a key wrapped by RFC 5649 under this key")
    return padded[:size]


def chain(error: BaseException) -> str:
    """Everything that a log could show of an exception: str, repr and arguments, of causes and contexts too."""
    texts, todo, seen = [], [error], set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        texts += [str(one), repr(one), repr(one.args), repr(vars(one))]
        todo += [other for other in (one.__cause__, one.__context__) if other is not None]
    return "\n".join(texts)


def assert_silent(error: BaseException, material: bytes) -> None:
    """No run of 12 bytes of the material is in the chain, as text, hex, base64 or Python's repr.

    Shorter material says nothing: messages hold short words and numbers too.
    """
    told = chain(error)
    for at in range(0, len(material) - 11, 3):
        piece = material[at : at + 12]
        forms = [piece.hex(), base64.b64encode(piece).decode().rstrip("="), repr(piece)[2:-1], piece.decode("latin-1")]
        for form in forms:
            assert form not in told
            assert form.upper() not in told
