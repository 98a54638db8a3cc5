"""The materials of one run: every source opened, and what is held of each from its check to its sealing.

target ── hold ──▶ Held: evidence, algorithm ── permit ──▶ Held.seal ──▶ EncryptedKeyMaterial
            │
            ├── Reread   file:, env:        read, checked and wiped; read again for sealing
            ├── Borrowed other sources      read once, shared by the targets that overlap, wiped after the last
            └── Sealed   transit:, pkcs11:  never here: the source seals under KMS's wrapping key
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol, Self

from bulk_import.errors import MaterialError, MissingExtra, Problem, SettingsError
from bulk_import.material import expect, memory, ready_made, shape, sources, wrapping
from bulk_import.material.evidence import Evidence
from bulk_import.material.secret import Fingerprint, Secret
from bulk_import.material.sources.base import Content, Kind, Offer, Opened, Opening, Sealer, Source
from bulk_import.material.sources.patience import Patience
from bulk_import.model import Encoding, ImportParameters, KeySpec, Target, WrappingAlgorithm
from bulk_import.ports import Sink


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


class Materials:
    """An asynchronous context manager. Enter it, call `begin` once, then `hold` for each target."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._at_work: dict[str, _AtWork] = {}
        self._shares: dict[tuple[str, str], _Share] = {}

    def check(self, targets: Iterable[Target]) -> None:
        """Whether the sources of `targets` can be opened. Calls no one. Raises MissingExtra, SettingsError."""
        problems: list[Problem] = []
        for kind in _kinds(targets):
            if kind.module is not None and importlib.util.find_spec(kind.module) is None:
                raise MissingExtra(
                    f"The source {kind.scheme}: needs the extra `{kind.extra}`.",
                    advice=f"Install it: pip install 'kms-bulk-import[{kind.extra}]'.",
                )
            for place, message, advice in kind.settings_problems(self._opening.settings):
                problems.append(Problem("settings", 0, place, f"{message}.", advice))
        if problems:
            raise SettingsError(list(dict.fromkeys(problems)))

    def record(self, sink: Sink, leftovers: Sequence[Mapping[str, str]]) -> None:
        """Before anything is opened: where sources write down what a killed run would leave, and what one has left."""
        self._opening = replace(self._opening, sink=sink, leftovers=leftovers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for share in self._shares.values():
            share.end()
        for at_work in self._at_work.values():
            if at_work.opened.close is not None:
                await at_work.opened.close()

    async def begin(self, targets: Iterable[Target]) -> None:
        """Opens the sources of `targets`, and connects those that must connect before the lanes start.

        A source that fails here fails its own targets when they come.
        """
        targets = tuple(part for target in targets for part in target.parts)
        for kind in _kinds(targets):
            at_work = self._open(kind)
            begin = at_work.opened.begin
            if begin is not None:
                own = [target for target in targets if sources.kind_of(target.material) is kind]
                try:
                    await at_work.patience(partial(begin, own))
                except MaterialError as error:
                    at_work.broken = error

    async def evidence(self, target: Target, key_spec: KeySpec, *, key_arn: str = "") -> Evidence:
        """What proves the target's material, for one that is not imported now. Raises TargetError."""
        async with self.hold(target, key_spec, key_arn=key_arn) as held:
            return held.evidence

    async def readable(self, target: Target) -> None:
        """Reads the material without a key spec: only KMS could say what its shape must be. Raises MaterialError."""
        if target.ready_made is not None:
            return  # without a key spec, nothing can be said about what was sealed
        at_work = self._of(target)
        if at_work.opened.source is not None:
            (await _load(at_work, at_work.opened.source, target, None)).wipe()

    async def ability(self, target: Target) -> str | None:
        """One line: what the source can do with the target's key. None: nothing to say. Raises MaterialError."""
        at_work = self._of(target)
        ability = at_work.opened.ability
        if ability is None:
            return None
        rest = target.material.partition(":")[2]
        return await at_work.patience(lambda: ability(rest, target))

    @asynccontextmanager
    async def hold(self, target: Target, key_spec: KeySpec, *, key_arn: str = "") -> AsyncIterator[Held]:
        """The target's material, checked. Raises TargetError, with nothing left unwiped.

        `key_arn`: of the key that it is for, where it is known: the evidence then has a material_check.
        """
        at_work = self._of(target)
        source, sealer = at_work.opened.source, at_work.opened.sealer
        if target.ready_made is not None and source is not None:
            yield await ready_made.hold(target, target.ready_made, key_spec, partial(_plain, at_work, source, target))
        elif sealer is not None:
            yield await _Sealed.of(at_work, sealer, target, key_spec, key_arn)
        elif source is None:
            raise RuntimeError(f"the source {at_work.kind.scheme} neither gives nor seals")
        elif not at_work.kind.shared:
            yield await _Reread.of(at_work, source, target, key_spec, key_arn)
        else:
            async with self._borrowed(at_work, source, target) as content:
                with _decoded(content, target.encoding, key_spec, copy=True) as secret:
                    yield _Borrowed(secret, _checked(secret, target, key_spec, key_arn), target)

    @asynccontextmanager
    async def _borrowed(self, at_work: _AtWork, source: Source, target: Target) -> AsyncIterator[Content]:
        rest = target.material.partition(":")[2]
        identity = (at_work.kind.scheme, at_work.kind.identity(rest, target, self._opening.settings))
        share = self._shares.get(identity)
        if share is None:
            reading = asyncio.create_task(at_work.patience(lambda: source.read(rest, target)))
            share = self._shares[identity] = _Share(reading)
        share.users += 1
        try:
            yield await share.content()
        finally:
            share.users -= 1
            if not share.users:
                if self._shares.get(identity) is share:
                    del self._shares[identity]
                share.end()

    def _of(self, target: Target) -> _AtWork:
        at_work = self._open(sources.kind_of(target.material))
        if at_work.broken is not None:
            raise _again(at_work.broken)
        return at_work

    def _open(self, kind: Kind) -> _AtWork:
        if kind.scheme not in self._at_work:
            patience = Patience(kind.at_once, self._opening.settings.retry_timeout)
            self._at_work[kind.scheme] = _AtWork(kind, kind.open(self._opening), patience)
        return self._at_work[kind.scheme]


class _AtWork:
    """One source of the run. `broken`: why it cannot be used."""

    def __init__(self, kind: Kind, opened: Opened, patience: Patience) -> None:
        self.kind = kind
        self.opened = opened
        self.patience = patience
        self.broken: MaterialError | None = None


class _Share:
    """One read of a source, for all targets that need its result at the same time."""

    def __init__(self, task: asyncio.Task[Content]) -> None:
        self.users = 0
        self._task = task
        self._pages: list[int] | None = None

    async def content(self) -> Content:
        """Each user waits for the same read; a user that is cancelled does not end it for the others."""
        try:
            content = await asyncio.shield(self._task)
        except MaterialError as error:
            raise _again(error) from None  # one exception per target: they add their tracebacks to it
        if self._pages is None:
            self._pages = memory.lock(content.data)
        return content

    def end(self) -> None:
        """No one needs the result any more."""
        self._task.cancel()
        self._task.add_done_callback(self._wipe)

    def _wipe(self, task: asyncio.Task[Content]) -> None:
        if task.cancelled() or task.exception() is not None:
            return
        memory.wipe(task.result().data)
        memory.unlock(self._pages or [])
        self._pages = []


class _Reread:
    """A source that costs nothing to read: nothing is held but what shows that the material is the same."""

    def __init__(self, at_work: _AtWork, source: Source, target: Target, key_spec: KeySpec) -> None:
        self._at_work = at_work
        self._source = source
        self._target = target
        self._key_spec = key_spec
        self._seen: Fingerprint
        self.evidence: Evidence
        self.algorithm = _algorithm(target, key_spec)
        self.parameters = None

    @classmethod
    async def of(cls, at_work: _AtWork, source: Source, target: Target, key_spec: KeySpec, key_arn: str) -> Self:
        held = cls(at_work, source, target, key_spec)
        with await held._load() as secret:
            held.evidence = _checked(secret, target, key_spec, key_arn)
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
        return await _load(self._at_work, self._source, self._target, self._key_spec)


class _Borrowed:
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


class _Sealed:
    """A source that seals by itself."""

    def __init__(self, at_work: _AtWork, sealer: Sealer, offer: Offer, target: Target) -> None:
        self._at_work = at_work
        self._sealer = sealer
        self._target = target
        self.evidence = offer.evidence
        self.algorithm = offer.algorithm
        self.parameters = None

    @classmethod
    async def of(cls, at_work: _AtWork, sealer: Sealer, target: Target, key_spec: KeySpec, key_arn: str) -> Self:
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


def _kinds(targets: Iterable[Target]) -> list[Kind]:
    """In the order of their first targets."""
    schemes = dict.fromkeys(part.material.partition(":")[0] for target in targets for part in target.parts)
    return [sources.kind_of(f"{scheme}:") for scheme in schemes]


async def _load(at_work: _AtWork, source: Source, target: Target, key_spec: KeySpec | None) -> Secret:
    rest = target.material.partition(":")[2]
    content = await at_work.patience(lambda: source.read(rest, target))
    return _decoded(content, target.encoding, key_spec, copy=False)


async def _plain(at_work: _AtWork, source: Source, target: Target, uri: str) -> bytes:
    """A file that holds no secret."""
    content = await at_work.patience(lambda: source.read(uri.partition(":")[2], target))
    return bytes(content.data)


def _decoded(content: Content, encoding: Encoding | None, key_spec: KeySpec | None, *, copy: bool) -> Secret:
    """`copy`: whether the content stays somebody else's; otherwise it is wiped, or becomes the Secret itself."""
    if copy:
        content = Content(bytearray(content.data), content.encoding)
    return sources.decoded(content, encoding, key_spec)


def _checked(secret: Secret, target: Target, key_spec: KeySpec, key_arn: str) -> Evidence:
    shape.check(secret, key_spec)
    if target.expect is not None:
        expect.check(secret, key_spec, target.expect)
    return Evidence.prepare(secret, key_spec, key_arn)


def _algorithm(target: Target, key_spec: KeySpec) -> WrappingAlgorithm:
    return target.wrapping_algorithm or wrapping.default_algorithm(key_spec)


def _again(error: MaterialError) -> MaterialError:
    return MaterialError(error.message, code=error.code, retryable=error.retryable, advice=error.advice)
