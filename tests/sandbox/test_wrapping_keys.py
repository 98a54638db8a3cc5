"""The pool of wrapping keys, on its own."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bulk_import.sandbox.kms.wrapping_keys import WrappingKeys


def test_pairs_are_whole_keys_and_never_the_same() -> None:
    pool = WrappingKeys(None)
    taken = [pool.take("RSA_2048") for _ in range(40)]
    assert len({key.public_der() for key in taken}) == 40
    for key in taken[:5]:
        public = serialization.load_der_public_key(key.public_der())
        assert isinstance(public, rsa.RSAPublicKey)
        assert (public.key_size, public.public_numbers().e) == (2048, 65537)
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        assert key.private_key().decrypt(public.encrypt(b"x", oaep), oaep) == b"x"


def test_a_spoilt_cache_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "primes-1024.txt").write_text("not a number\n")
    assert WrappingKeys(tmp_path).take("RSA_2048").private_key().key_size == 2048


def test_primes_are_kept(tmp_path: Path) -> None:
    numbers = [rsa.generate_private_key(65537, 2048).private_numbers() for _ in range(2)]
    primes = [prime for pair in numbers for prime in (pair.p, pair.q)]
    (tmp_path / "primes-1024.txt").write_text("".join(f"{prime:x}\n" for prime in primes))
    key = WrappingKeys(tmp_path).take("RSA_2048")
    assert {key.p, key.q} == set(primes[:2])
