"""What is held of a target's material between its check and its sealing: three ways, by what the source can do."""

from __future__ import annotations

from typing import Protocol, Self

from bulk_import.errors import MaterialError
from bulk_import.material import expect, shape, sources, wrapping
from bulk_import.material.evidence import Evidence
from bulk_import.material.secret import Fingerprint, Secret
from bulk_import.material.sources.base import Content, Kind, Offer, Opened, Sealer, Source
from bulk_import.material.sources.patience import Patience
from bulk_import.model import Encoding, ImportParameters, KeySpec, Target, WrappingAlgorithm


class Held(Protocol):
    """The material of one target between its check and its sealing, here or in a token."""

    @property
    def evidence(self) -> Evidence: ...

    @property
    def algorithm(self) -> WrappingAlgorithm:
        """What to ask GetParametersForImport for."""
        ...

    @property
    def parameters(self) -> ImportParameters | None:
        """Those that it was sealed for before the run: KMS is not asked for others. None: it is sealed when asked."""
        ...

    async def seal(self, public_key: bytes) -> bytes:
        """The EncryptedKeyMaterial of ImportKeyMaterial. `public_key`: GetParametersForImport's, DER
        SubjectPublicKeyInfo. May be called again for another one. Raises TargetError.
        """
        ...


class AtWork:
    """One source of the run. `broken`: why it cannot be used."""

    def __init__(self, kind: Kind, opened: Opened, patience: Patience) -> None:
        self.kind = kind
        self.opened = opened
        self.patience = patience
        self.broken: MaterialError | None = None


class Reread:
    """A source that costs nothing to read: nothing is held but what shows that the material is the same."""

    def __init__(self, at_work: AtWork, source: Source, target: Target, key_spec: KeySpec) -> None:
        self._at_work = at_work
        self._source = source
        self._target = target
        self._key_spec = key_spec
        self._seen: Fingerprint
        self.evidence: Evidence
        self.algorithm = _algorithm(target, key_spec)
        self.parameters = None

    @classmethod
    async def of(cls, at_work: AtWork, source: Source, target: Target, key_spec: KeySpec, key_arn: str) -> Self:
        held = cls(at_work, source, target, key_spec)
        with await held._load() as secret:
            held.evidence = checked(secret, target, key_spec, key_arn)
            held._seen = Fingerprint(secret)
        return held

    async def seal(self, public_key: bytes) -> bytes:
        with await self._load() as secret:
            if not self._seen.matches(secret):
                raise MaterialError("The material changed while the run was using it.", code="MaterialChanged")
            return wrapping.seal(
                secret,
                public_key=public_key,
                algorithm=self.algorithm,
                wrapping_key_spec=self._target.wrapping_key_spec,
            )

    async def _load(self) -> Secret:
        return await load(self._at_work, self._source, self._target, self._key_spec)


class Borrowed:
    """A source that is read once: its material stays, locked in memory, until it is sealed."""

    def __init__(self, secret: Secret, evidence: Evidence, target: Target) -> None:
        self._secret = secret
        self._wrapping_key_spec = target.wrapping_key_spec
        self.evidence = evidence
        self.algorithm = _algorithm(target, evidence.key_spec)
        self.parameters = None

    async def seal(self, public_key: bytes) -> bytes:
        return wrapping.seal(
            self._secret, public_key=public_key, algorithm=self.algorithm, wrapping_key_spec=self._wrapping_key_spec
        )


class Sealed:
    """A source that seals by itself."""

    def __init__(self, at_work: AtWork, sealer: Sealer, offer: Offer, target: Target) -> None:
        self._at_work = at_work
        self._sealer = sealer
        self._target = target
        self.evidence = offer.evidence
        self.algorithm = offer.algorithm
        self.parameters = None

    @classmethod
    async def of(cls, at_work: AtWork, sealer: Sealer, target: Target, key_spec: KeySpec, key_arn: str) -> Self:
        rest = target.material.partition(":")[2]
        offer = await at_work.patience(lambda: sealer.offer(rest, target, key_spec, key_arn=key_arn))
        if target.expect is not None and target.expect.spki_sha256 is not None:
            expect.check_public_key(offer.evidence.public_key, target.expect)
        return cls(at_work, sealer, offer, target)

    async def seal(self, public_key: bytes) -> bytes:
        wrapping.check_wrapping_key(public_key, self._target.wrapping_key_spec)
        rest = self._target.material.partition(":")[2]
        return await self._at_work.patience(
            lambda: self._sealer.seal(
                rest,
                self.evidence.key_spec,
                public_key=public_key,
                algorithm=self.algorithm,
                wrapping_key_spec=self._target.wrapping_key_spec,
            )
        )


async def load(at_work: AtWork, source: Source, target: Target, key_spec: KeySpec | None) -> Secret:
    rest = target.material.partition(":")[2]
    content = await at_work.patience(lambda: source.read(rest, target))
    return decoded(content, target.encoding, key_spec, copy=False)


def decoded(content: Content, encoding: Encoding | None, key_spec: KeySpec | None, *, copy: bool) -> Secret:
    """`copy`: whether the content stays somebody else's; otherwise it is wiped, or becomes the Secret itself."""
    if copy:
        content = Content(bytearray(content.data), content.encoding)
    return sources.decoded(content, encoding, key_spec)


def checked(secret: Secret, target: Target, key_spec: KeySpec, key_arn: str) -> Evidence:
    shape.check(secret, key_spec)
    if target.expect is not None:
        expect.check(secret, key_spec, target.expect)
    return Evidence.prepare(secret, key_spec, key_arn)


def _algorithm(target: Target, key_spec: KeySpec) -> WrappingAlgorithm:
    return target.wrapping_algorithm or wrapping.default_algorithm(key_spec)
