"""What both scripts share: reading the manifest, sealing, and how the work is reported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

READS, INTERVAL = 3, 2.0
WRAPPING = {"WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_4096"}
ROLE_SESSION = "baseline"
PASSES = 20  # botocore gives up after five attempts; anyone who writes such a script starts it again for the rest


@dataclass(frozen=True, slots=True)
class Job:
    account: str
    region: str
    key_id: str
    material: Path


def jobs(manifest: Path) -> Iterator[Job]:
    with manifest.open("rb") as lines:
        for line in lines:
            row = orjson.loads(line)
            yield Job(row["account"], row["region"], row["key_id"], manifest.parent / row["material"][5:])


def role_arn(account: str) -> str:
    return f"arn:aws:iam::{account}:role/Importer"


def seal(public_key: bytes, material: bytes) -> bytes:
    """RSAES_OAEP_SHA_256."""
    public = serialization.load_der_public_key(public_key)
    if not isinstance(public, rsa.RSAPublicKey):
        raise TypeError(type(public))
    return public.encrypt(material, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))


def tell(wall: float, keys: int, passes: int, failed_first: int) -> None:
    """`failed_first`: keys that the first pass did not import, for want of permits."""
    sys.stdout.buffer.write(
        orjson.dumps({"wall": wall, "keys": keys, "passes": passes, "failed_first_pass": failed_first})
    )
