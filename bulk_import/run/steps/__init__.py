"""The kinds of change, one file each, and the steps of one target made in order.

A kind says what it needs, which call it makes, and how a read shows its effect. The protocol that all kinds follow is
in run/change.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from bulk_import.material.evidence import Evidence
from bulk_import.model import KeyView
from bulk_import.plan import Step, StepKind
from bulk_import.ports import KeyService
from bulk_import.run.change import Kind, make, shows
from bulk_import.run.prover import check_stated_id
from bulk_import.run.steps.create_alias import CreateAlias
from bulk_import.run.steps.create_key import CreateKey
from bulk_import.run.steps.import_material import ImportMaterial
from bulk_import.run.target_run import Policy, TargetRun

KINDS: dict[str, type[Kind]] = {
    StepKind.CREATE_KEY: CreateKey,
    StepKind.CREATE_ALIAS: CreateAlias,
    StepKind.IMPORT_MATERIAL: ImportMaterial,
}


async def carry_out(
    run: TargetRun, kms: KeyService, policy: Policy, importing: Callable[[], AbstractAsyncContextManager[object]]
) -> Evidence:
    """Makes every change that `run.decision` lists, in order. Returns what proves the import later.

    `run` is in state PREPARING or APPLIED before, and in APPLIED after. The material is checked before the first
    change. `importing`: makes the place among the lane's imports that the import needs. Raises TargetError.
    """
    decision = run.decision
    if decision is None or decision.key_spec is None:
        raise RuntimeError("a target is changed only after a decision")
    known_arn = run.view.arn if run.view else ""  # a key that is still to be created has none
    if all(step.kind != StepKind.IMPORT_MATERIAL for step in decision.steps):
        evidence = await policy.materials.evidence(run.target, decision.key_spec, key_arn=known_arn)
        run.material_check = evidence.material_check or None
        await _make_all(run, kms, policy, importing)
        return evidence
    async with policy.materials.hold(run.target, decision.key_spec, key_arn=known_arn) as held:
        run.material_check = held.evidence.material_check or None
        run.held, run.decision = held, replace(decision, algorithm=held.algorithm)
        try:
            await _make_all(run, kms, policy, importing)
        finally:
            run.held = None
        return held.evidence


async def _make_all(
    run: TargetRun, kms: KeyService, policy: Policy, importing: Callable[[], AbstractAsyncContextManager[object]]
) -> None:
    for step in run.decision.steps if run.decision else ():
        if step.kind != StepKind.IMPORT_MATERIAL:
            await make(KINDS[step.kind](run, kms, policy))
            continue
        if run.settling:
            # What was just created or changed may be denied for minutes. A cheap read waits for it, so that no scarce
            # permit is spent on a refusal.
            await kms.describe_key(run.arn, run)
        async with importing():
            await make(KINDS[step.kind](run, kms, policy))
        check_stated_id(run)


async def recover(run: TargetRun, kms: KeyService, policy: Policy, view: KeyView) -> bool:
    """A resumed target: finds out which changes, sent before the run was cut short, took effect. Whether any did.

    `view`: the resume's first read.
    """
    kinds = {kind.operation: kind for kind in KINDS.values()}
    for operation in run.doubts.difference(run.effects):
        kind = kinds[operation](run, kms, policy)
        looks, interval = kind.looks()
        if kind.shown_by(view):
            run.took_effect(operation)
        elif looks > 1:
            await asyncio.sleep(interval)
            await shows(kind, looks - 1, interval)
    return bool(run.effects)


def not_yet_made(run: TargetRun, steps: Sequence[Step]) -> tuple[Step, ...]:
    """Those whose call this run has not made with effect. A stale read does not count."""
    return tuple(step for step in steps if KINDS[step.kind].operation not in run.effects)
