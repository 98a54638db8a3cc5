"""Materials whose check values are seen each time that a source was read: a plan notes them, a run compares them.

The value is computed over the key's ARN as the plan saw it. A key that is still to be created has none: the ARN of its
alias stands for it, in the run too, where the key has an ARN by then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Protocol

from bulk_import.material.evidence import Evidence
from bulk_import.material.held import Held
from bulk_import.model import CheckValue, ImportParameters, KeySpec, Target, WrappingAlgorithm

_Part = tuple[int, str, str, str]
See = Callable[[Target, CheckValue], None]  # raises TargetError where the value is another than it must be


class Supply(Protocol):
    """What a target needs of the materials of a run; see supply.Materials."""

    async def evidence(self, target: Target, key_spec: KeySpec, *, key_arn: str = "") -> Evidence: ...

    def hold(self, target: Target, key_spec: KeySpec, *, key_arn: str = "") -> AbstractAsyncContextManager[Held]: ...


class BoundMaterials:
    """Implements Supply. `arn_for`: what the check values of a target are computed over, by its key's ARN as known."""

    def __init__(self, materials: Supply, arn_for: Callable[[Target, str], str], see: See) -> None:
        self._materials = materials
        self._arn_for = arn_for
        self._see = see
        self._checked: dict[_Part, Evidence] = {}

    async def check(self, target: Target, key_spec: KeySpec, *, key_arn: str = "") -> None:
        """Reads the source, for `see`. The next call of `evidence` uses this read. Raises TargetError."""
        self._checked[_part(target, key_arn)] = await self._read(target, key_spec, key_arn)

    async def evidence(self, target: Target, key_spec: KeySpec, *, key_arn: str = "") -> Evidence:
        """As Materials.evidence. Raises TargetError, also where `see` does."""
        return self._checked.pop(_part(target, key_arn), None) or await self._read(target, key_spec, key_arn)

    async def _read(self, target: Target, key_spec: KeySpec, key_arn: str) -> Evidence:
        async with self.hold(target, key_spec, key_arn=key_arn) as held:
            return held.evidence

    @asynccontextmanager
    async def hold(self, target: Target, key_spec: KeySpec, *, key_arn: str = "") -> AsyncIterator[Held]:
        """As Materials.hold. Raises TargetError, also where `see` does."""
        bound = self._arn_for(target, key_arn)
        async with self._materials.hold(target, key_spec, key_arn=bound) as held:
            self._see(target, held.evidence.check_value())
            if bound == key_arn:
                yield held
            elif not key_arn:
                yield _Other(held, replace(held.evidence, material_check="", hmac_check=""))
            else:
                # What is sealed is what was compared: the second look only computes the value over the key's own ARN.
                yield _Other(held, await self._materials.evidence(target, key_spec, key_arn=key_arn))


class _Other:
    """Implements Held: the same material, with other evidence."""

    def __init__(self, held: Held, evidence: Evidence) -> None:
        self._held = held
        self.evidence = evidence

    @property
    def algorithm(self) -> WrappingAlgorithm:
        return self._held.algorithm

    @property
    def parameters(self) -> ImportParameters | None:
        return self._held.parameters

    async def seal(self, public_key: bytes) -> bytes:
        return await self._held.seal(public_key)


def _part(target: Target, key_arn: str) -> _Part:
    return target.index, target.material, target.encoding or "", key_arn


def alias_arn(target: Target) -> str:
    """Stands for the ARN of a key that is to be created."""
    lane = target.lane
    return f"arn:{lane.partition}:kms:{lane.region}:{lane.account}:{target.alias or target.key_id}"
