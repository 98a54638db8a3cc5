"""The one type of key material in this program."""

from __future__ import annotations

import hmac
import os
from hashlib import blake2b
from typing import Final, NoReturn, Self, SupportsIndex, final

from bulk_import.material import memory

_REFUSED: Final = "key material is neither copied nor serialised"


@final
class Secret:
    """Key material in memory: as late as possible in, as early as possible wiped.

    Its buffer is locked in memory where the system allows it. It says nothing in `repr`, `str` and format; it has no
    equality by content, no copy and no pickle. Use it as a context manager, or call `wipe()`.

    `wipe()` overwrites this object's own buffer. Copies that decoders of base64 and hex return, and those that
    `cryptography` needs as `bytes`, are overwritten too (memory.py). Python and its libraries keep further copies that
    nothing here can reach: what PEM decoding returns, RSA's numbers as Python integers, text that came from a server,
    the process's environment, pages that the system swapped out. They are freed at once, but not overwritten. If that
    is not enough, seal inside an HSM.
    """

    __slots__ = ("_data", "_pages", "_wiped")

    def __init__(self, data: bytearray | bytes) -> None:
        """Takes a bytearray over as its own: the giver must not keep it. `bytes` are copied."""
        self._data = data if isinstance(data, bytearray) else bytearray(data)
        self._pages = memory.lock(self._data)
        self._wiped = False

    def view(self) -> memoryview:
        """The material, read-only and not copied; zeros once it is wiped. Raises ValueError after `wipe()`."""
        self._check()
        return memoryview(self._data).toreadonly()

    def wipe(self) -> None:
        """Overwrites the material in place, also under views handed out before. May be called again."""
        memory.wipe(self._data)
        pages, self._pages = self._pages, []
        memory.unlock(pages)
        self._wiped = True

    def _check(self) -> None:
        if self._wiped:
            raise ValueError("this key material was wiped already")

    def __len__(self) -> int:
        self._check()
        return len(self._data)

    def __enter__(self) -> Self:
        self._check()
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return "<Secret>"

    def __format__(self, format_spec: str) -> str:
        return "<Secret>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(_REFUSED)

    def __getstate__(self) -> NoReturn:
        raise TypeError(_REFUSED)


@final
class Fingerprint:
    """Recognises the same key material when it is loaded again. A digest under a key of its own, so that it shows
    nothing about the material to anyone else.
    """

    __slots__ = ("_digest", "_key")

    def __init__(self, secret: Secret) -> None:
        self._key = os.urandom(32)
        self._digest = self._of(secret)

    def matches(self, secret: Secret) -> bool:
        return hmac.compare_digest(self._digest, self._of(secret))

    def _of(self, secret: Secret) -> bytes:
        return blake2b(secret.view(), key=self._key, digest_size=32).digest()

    def __repr__(self) -> str:
        return "<Fingerprint>"
