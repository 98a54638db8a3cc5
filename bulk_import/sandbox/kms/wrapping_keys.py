"""RSA wrapping keys, never one pair for two requests, without making an RSA key for each.

A new RSA-4096 pair costs a third of a second; thousands of tests cannot pay that. So primes are made ahead and kept,
and every request gets a product of two of them that no request had before: n primes give n(n-1)/2 key pairs.
Keys that share a prime are weak, which is no matter for a sandbox that protects nothing.
"""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

EXPONENT = 65537
SPECS = {"RSA_2048": 2048, "RSA_3072": 3072, "RSA_4096": 4096}
MAKE_AHEAD = 256  # unused pairs below which a background thread makes more primes


@dataclass(frozen=True, slots=True)
class WrappingKey:
    """Two primes. The private key is rebuilt when needed: a token that waits holds two numbers only."""

    p: int
    q: int

    def public_der(self) -> bytes:
        """DER SubjectPublicKeyInfo."""
        return (
            rsa.RSAPublicNumbers(EXPONENT, self.p * self.q)
            .public_key()
            .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        )

    def private_key(self) -> rsa.RSAPrivateKey:
        p, q = self.p, self.q
        d = pow(EXPONENT, -1, math.lcm(p - 1, q - 1))
        numbers = rsa.RSAPrivateNumbers(
            p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(EXPONENT, p * q)
        )
        # Both numbers came out of OpenSSL as primes; testing them again would cost 50 times the import itself.
        return numbers.private_key(unsafe_skip_rsa_key_validation=True)


class WrappingKeys:
    """The pool. `folder` keeps its primes between runs; None keeps them in memory only."""

    def __init__(self, folder: Path | None) -> None:
        self._pools = {spec: _Pool(bits, folder) for spec, bits in SPECS.items()}

    def take(self, spec: str) -> WrappingKey:
        """A wrapping key of RSA_2048, RSA_3072 or RSA_4096 that was never handed out before."""
        return self._pools[spec].take()


class _Pool:
    """The primes of one key size. Pair number n is the n-th of (0,1) (0,2) (1,2) (0,3) …"""

    def __init__(self, bits: int, folder: Path | None) -> None:
        self.bits = bits
        self.file = folder / f"primes-{bits // 2}.txt" if folder else None
        self.primes: list[int] | None = None
        self.low, self.high = 0, 1
        self.lock = threading.Lock()
        self.making = threading.Lock()

    def take(self) -> WrappingKey:
        with self.lock:
            if self.primes is None:
                self.primes = self._load()
            while self.high >= len(self.primes):
                self.primes.extend(_two_primes(self.bits))
            pair = WrappingKey(self.primes[self.low], self.primes[self.high])
            self.low += 1
            if self.low == self.high:
                self.low, self.high = 0, self.high + 1
            short = self._unused() < MAKE_AHEAD
        if short and self.making.acquire(blocking=False):
            threading.Thread(target=self._make_ahead, daemon=True).start()
        return pair

    def _unused(self) -> int:
        total = len(self.primes or ())
        return total * (total - 1) // 2 - self.high * (self.high - 1) // 2 - self.low

    def _make_ahead(self) -> None:
        try:
            while True:
                fresh = _two_primes(self.bits)
                with self.lock:
                    assert self.primes is not None  # noqa: S101 - take() loaded them before it started this thread
                    self.primes.extend(fresh)
                    enough = self._unused() >= 2 * MAKE_AHEAD
                    kept = list(self.primes) if enough else []
                if enough:
                    self._save(kept)
                    return
        finally:
            self.making.release()

    def _load(self) -> list[int]:
        try:
            lines = self.file.read_text().split() if self.file else []
            primes = [int(line, 16) for line in lines]
        except (OSError, ValueError):
            return []
        return primes if all(prime.bit_length() == self.bits // 2 for prime in primes) else []

    def _save(self, primes: list[int]) -> None:
        """Best effort: without a cache the next sandbox only starts slower."""
        if not self.file:
            return
        temporary = self.file.with_suffix(f".{os.getpid()}")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text("".join(f"{prime:x}\n" for prime in primes))
            temporary.replace(self.file)
        except OSError:
            temporary.unlink(missing_ok=True)


def _two_primes(bits: int) -> tuple[int, int]:
    numbers = rsa.generate_private_key(EXPONENT, bits).private_numbers()
    return numbers.p, numbers.q
