"""What a source of key material is: one that gives the material, or one that seals it by itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bulk_import.material.evidence import Evidence
from bulk_import.material.sources.covers import Covers, by_path
from bulk_import.model import Encoding, KeySpec, Target, WrappingAlgorithm, WrappingKeySpec
from bulk_import.ports import Sink, Stores
from bulk_import.settings import Settings

_PEM = (b"-----BEGIN ", "-----BEGIN ".encode("utf-16-le"))
T = TypeVar("T")

MAX_BYTES = 64 * 1024  # an RSA_4096 key as PEM has 3.3 KB: anything larger than this is not a key


@dataclass(slots=True)
class Content:
    """The bytes of a source, not decoded; anyone who gets them wipes them.

    `encoding`: how the bytes are read if the manifest specifies no encoding. None: text, whose encoding must be
    specified, because the same characters can be hex, base64 or a passphrase.
    """

    data: bytearray = field(repr=False)
    encoding: Encoding | None


def binary(data: bytearray) -> Content:
    """Bytes of unknown meaning: raw, or PEM if they are PEM, however damaged: its decoder then names the damage."""
    return Content(data, Encoding.PEM if _is_pem(data) else Encoding.RAW)


def text(data: bytearray) -> Content:
    """Characters: PEM if they are PEM, otherwise the manifest must say what they are."""
    return Content(data, Encoding.PEM if _is_pem(data) else None)


def _is_pem(data: bytearray) -> bool:
    return any(mark in data for mark in _PEM)


class Source(Protocol):
    """Gives the material. Every method gets the URI without its scheme and colon, in a form that `parse` accepted."""

    async def read(self, rest: str, target: Target) -> Content:
        """The source's bytes as they are. `target`: for placeholders that are not in the URI. Raises MaterialError;
        `retryable` if a repeat can succeed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Offer:
    """What a source that seals by itself says about a key before anything is sealed.

    `evidence`: what proves the import later. `algorithm`: the wrapping algorithm to ask KMS for.
    """

    evidence: Evidence
    algorithm: WrappingAlgorithm


class Sealer(Protocol):
    """Seals the material under KMS's wrapping key by itself: its plaintext never reaches this process."""

    async def offer(self, rest: str, target: Target, key_spec: KeySpec, *, key_arn: str = "") -> Offer:
        """Finds the key and checks it. `key_arn`: of the KMS key, for a material_check; empty: not known.

        Raises MaterialError; `retryable` if a repeat can succeed.
        """
        ...

    async def seal(
        self, rest: str, key_spec: KeySpec, *, public_key: bytes, algorithm: WrappingAlgorithm,
        wrapping_key_spec: WrappingKeySpec,
    ) -> bytes:  # fmt: skip
        """The EncryptedKeyMaterial of ImportKeyMaterial, for the offered algorithm. `public_key`: DER
        SubjectPublicKeyInfo. Raises MaterialError.
        """
        ...


@dataclass(frozen=True, slots=True)
class Opening:
    """What sources are opened with; each takes what it needs."""

    settings: Settings
    root: Path | None  # the folder that relative paths start from
    leftovers: Sequence[Mapping[str, str]] = ()  # wrapping keys that an earlier run recorded and did not remove
    sink: Sink | None = None  # the journal; None: nothing is sealed
    variables: frozenset[str] = frozenset()  # that `env:` sources name: no child process gets them
    stores: Stores | None = None  # AWS's; None: this command works without AWS
    _common: dict[object, Any] = field(default_factory=dict)

    def one(self, make: Callable[[Opening], T]) -> T:
        """What several sources share, made once for all of them."""
        if make not in self._common:
            self._common[make] = make(self)
        found: T = self._common[make]
        return found


@dataclass(frozen=True, slots=True)
class Opened:
    """A source at work. `begin` runs once, before the lanes start; `close` once, at the end of the run. `ability`: says
    in one line what the source can do with the key, without its scheme and colon, of a target.
    """

    source: Source | None = None
    sealer: Sealer | None = None
    begin: Callable[[Sequence[Target]], Awaitable[None]] | None = None
    close: Callable[[], Awaitable[None]] | None = None
    ability: Callable[[str, Target], Awaitable[str]] | None = None


Check = Callable[[Target, Settings], Iterable[tuple[str, str, str]]]


def nothing_more(_target: Target, _settings: Settings) -> Iterable[tuple[str, str, str]]:
    """For sources whose URI is all that can be checked before they are opened."""
    return ()


def no_problems(_settings: Settings) -> Iterable[tuple[str, str, str]]:
    """For sources that need no settings."""
    return ()


def by_uri(rest: str, _target: Target, _settings: Settings) -> str:
    """Targets with the same URI share one result."""
    return rest


@dataclass(frozen=True, slots=True)
class Kind:
    """One URI scheme: the row that `--help`, the schema and the documentation are made from.

    `network`: whether it may use the network. `checked_offline`: whether `validate --material` reads it. `shared`:
    whether targets that overlap share one result, which is held until the last of them is sealed; a source that is not
    shared is read again for sealing instead, so that nothing is held while a lane waits. `at_once`: most operations on
    the source at the same time. `parse` raises ValueError with a message for people; `check` yields (field, message,
    advice) for what else a manifest may not ask of the source. `identity`: equal for targets that can share one
    result. `covers` says whether a prefix of --allow-source covers a URI, both without their scheme; it raises
    ValueError for a prefix that can cover none. `settings_problems` yields (place, message, advice) for what is wrong
    with the settings, before any call.
    """

    scheme: str
    form: str
    summary: str
    parse: Callable[[str], object]
    open: Callable[[Opening], Opened]
    seals: bool = False
    network: bool = False
    checked_offline: bool = False
    shared: bool = True
    extra: str | None = None
    module: str | None = None  # of the extra: what must be importable
    settings: tuple[str, ...] = ()  # options and variables that it reads
    at_once: int = 8
    check: Check = nothing_more
    identity: Callable[[str, Target, Settings], str] = by_uri
    covers: Covers = by_path
    settings_problems: Callable[[Settings], Iterable[tuple[str, str, str]]] = no_problems
