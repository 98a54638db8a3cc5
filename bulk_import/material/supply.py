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
from typing import Self

from bulk_import.errors import MaterialError, MissingExtra, Problem, SettingsError
from bulk_import.material import memory, ready_made, sources
from bulk_import.material.evidence import Evidence
from bulk_import.material.held import AtWork, Borrowed, Held, Reread, Sealed, checked, decoded, load
from bulk_import.material.sources.base import Content, Kind, Opening, Source
from bulk_import.material.sources.patience import Patience
from bulk_import.model import KeySpec, Target
from bulk_import.ports import Sink


class Materials:
    """An asynchronous context manager. Enter it, call `begin` once, then `hold` for each target."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._at_work: dict[str, AtWork] = {}
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
            (await load(at_work, at_work.opened.source, target, None)).wipe()

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
            yield await Sealed.of(at_work, sealer, target, key_spec, key_arn)
        elif source is None:
            raise RuntimeError(f"the source {at_work.kind.scheme} neither gives nor seals")
        elif not at_work.kind.shared:
            yield await Reread.of(at_work, source, target, key_spec, key_arn)
        else:
            async with self._borrowed(at_work, source, target) as content:
                with decoded(content, target.encoding, key_spec, copy=True) as secret:
                    yield Borrowed(secret, checked(secret, target, key_spec, key_arn), target)

    @asynccontextmanager
    async def _borrowed(self, at_work: AtWork, source: Source, target: Target) -> AsyncIterator[Content]:
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

    def _of(self, target: Target) -> AtWork:
        at_work = self._open(sources.kind_of(target.material))
        if at_work.broken is not None:
            raise _again(at_work.broken)
        return at_work

    def _open(self, kind: Kind) -> AtWork:
        if kind.scheme not in self._at_work:
            patience = Patience(kind.at_once, self._opening.settings.retry_timeout)
            self._at_work[kind.scheme] = AtWork(kind, kind.open(self._opening), patience)
        return self._at_work[kind.scheme]


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


def _kinds(targets: Iterable[Target]) -> list[Kind]:
    """In the order of their first targets."""
    schemes = dict.fromkeys(part.material.partition(":")[0] for target in targets for part in target.parts)
    return [sources.kind_of(f"{scheme}:") for scheme in schemes]


async def _plain(at_work: AtWork, source: Source, target: Target, uri: str) -> bytes:
    """A file that holds no secret."""
    content = await at_work.patience(lambda: source.read(uri.partition(":")[2], target))
    return bytes(content.data)


def _again(error: MaterialError) -> MaterialError:
    return MaterialError(error.message, code=error.code, retryable=error.retryable, advice=error.advice)
