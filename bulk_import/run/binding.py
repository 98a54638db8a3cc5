"""What a plan that is saved notes of each target, beyond what it shows: see model/approval.py."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from bulk_import.errors import TargetError
from bulk_import.material.bound import Supply, alias_arn
from bulk_import.model import AccountAccess, CheckValue, Failure, KeySpec, KeyView, Target
from bulk_import.model.approval import Binding, BoundMaterial, BoundRole, BoundSettings, BoundStep, BoundTarget
from bulk_import.plan import Action, Decision
from bulk_import.run.planned import PlannedTarget
from bulk_import.run.seen import policy_sha256, seen

READS_AT_ONCE: Final = 16  # sources that only the binding reads
# Why a target may be blocked although all of it was read. A plan with any other error is not saved.
READ: Final = frozenset(
    {
        "Drift", "DuplicateKey", "ExpiryTooClose", "KeyContradiction", "KeySpecMismatch", "KeyStateNotImportable",
        "MaterialMismatch", "NotImportableOrigin", "PrimaryNotReady", "RotatedKey", "RotationConflict",
        "WrappingNotAllowed",
    }
)  # fmt: skip

Part = tuple[int, str, str]  # of a material: its target's index, its URI, its encoding


@dataclass(frozen=True, slots=True)
class _Kept:
    target: Target
    view: KeyView | None
    decision: Decision | None  # None: the target is blocked


class Notes:
    """Made before the lanes of a plan are started; `bind` makes the binding after them."""

    def __init__(self) -> None:
        self._values: dict[Part, CheckValue] = {}
        self._kept: list[_Kept] = []

    @staticmethod
    def arn_for(target: Target, key_arn: str) -> str:
        """What the check values are computed over."""
        return key_arn or alias_arn(target)

    def see(self, part: Target, value: CheckValue) -> None:
        """A source was read."""
        self._values[part_of(part)] = value

    def keep(self, target: Target, view: KeyView | None, decision: Decision | None) -> None:
        """A target's plan is made."""
        self._kept.append(_Kept(target, view, decision))

    async def bind(
        self,
        planned: Sequence[PlannedTarget],
        materials: Supply,
        *,
        created_at: datetime,
        shard: str | None,
        accounts: Mapping[str, AccountAccess],
        settings: BoundSettings,
    ) -> tuple[Binding, list[PlannedTarget]]:
        """The binding, and the targets: a source that only the binding reads can block one more."""
        failures = await self._read_the_rest(materials)
        targets = [
            replace(one, action=Action.BLOCKED, detail=failure.message, steps=[], error=failure)
            if (failure := failures.get(one.index)) and one.error is None
            else one
            for one in planned
        ]
        bound = [self._bound(kept) for kept in sorted(self._kept, key=lambda kept: kept.target.index)]
        roles = [
            BoundRole(account=each.account, role_arn=each.role_arn, external_id=each.external_id)
            for each in accounts.values()
        ]
        return Binding(created_at=created_at, shard=shard, roles=roles, settings=settings, targets=bound), targets

    async def _read_the_rest(self, materials: Supply) -> dict[int, Failure]:
        """Sources that the plan itself had no need to read. Returns what could not be read, by the report's index."""
        failures: dict[int, Failure] = {}
        places = asyncio.Semaphore(READS_AT_ONCE)

        async def read(target: Target, part: Target, spec: KeySpec, arn: str) -> None:
            try:
                await materials.evidence(part, spec, key_arn=arn)
            except TargetError as error:
                failures[target.reported_index] = Failure(
                    error.code, error.operation, error.message, error.retryable, error.advice
                )
            finally:
                places.release()

        async with asyncio.TaskGroup() as group:
            for kept in self._kept:
                spec = kept.decision.key_spec if kept.decision else None
                for part in kept.target.parts if spec else ():
                    if spec is not None and part_of(part) not in self._values:
                        await places.acquire()
                        group.create_task(read(kept.target, part, spec, kept.view.arn if kept.view else ""))
        return failures

    def _bound(self, kept: _Kept) -> BoundTarget:
        target, decision = kept.target, kept.decision
        names: list[str | None] = [entry.name for entry in target.materials] or [None]
        values = ((name, self._values.get(part_of(part))) for name, part in zip(names, target.parts, strict=True))
        return BoundTarget(
            index=target.reported_index,
            found=seen(kept.view) if kept.view else None,
            steps=[BoundStep(kind=step.kind, entry=step.entry) for step in decision.changes] if decision else [],
            policy_sha256=policy_sha256(target),
            materials=[
                BoundMaterial(name=name, kind=value.kind, value=value.value)
                for name, value in values
                if value is not None
            ],
        )


def part_of(part: Target) -> Part:
    """Stands for one material of a target."""
    return part.index, part.material, part.encoding or ""


def not_read(targets: Iterable[PlannedTarget]) -> list[PlannedTarget]:
    """Targets of which something could not be read: a plan with one is not saved."""
    return [target for target in targets if target.error is not None and target.error.code not in READ]
