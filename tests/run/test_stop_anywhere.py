"""A stop at every single turn of the loop: every target ends once, truthfully, and nothing else is torn down."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bulk_import.material import Materials
from bulk_import.material.sources.base import Opening
from bulk_import.model import ImportParameters, KeyRotation, KeyView, Lane, Outcome, Status, Target, WrappingKeySpec
from bulk_import.plan import Wanted
from bulk_import.ports import Trace
from bulk_import.run.lane import LaneRunner
from bulk_import.run.policy import Policy
from bulk_import.run.runner import run_lanes
from bulk_import.run.stop import Stop
from bulk_import.settings import Settings
from tests.run.invented import ORDERS, plan_paint
from tests.virtual_time import VirtualTimeLoop, run

T = TypeVar("T")
LANE = Lane("aws", "111122223333", "us-east-1")
TARGETS = 5
STEPS = 400  # turns of the loop: more than the whole run takes
FOREVER = "KEY_MATERIAL_DOES_NOT_EXPIRE"


@cache
def wrapping_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


class Kms:
    """KMS as a lane sees it, always consistent; each call takes some steps of the loop and some time."""

    lane = LANE

    def __init__(self) -> None:
        self.imported: set[str] = set()
        self.looked_at: set[str] = set()
        self.painted: set[str] = set()

    async def _wire(self, trace: Trace, operation: str) -> None:
        trace.sent(operation)
        await asyncio.sleep(0)
        await asyncio.sleep(0.05 if operation == "ImportKeyMaterial" else 0.01)
        trace.note(operation, "request")

    async def describe_key(self, key_id: str, trace: Trace, *, at_once: bool = False) -> KeyView:
        if key_id.startswith("alias/"):
            self.looked_at.add(key_id)
        await self._wire(trace, "DescribeKey")
        arn = f"arn:aws:kms:us-east-1:111122223333:key/{key_id.rpartition('/')[2]}"
        view = KeyView(arn, "PendingImport", "EXTERNAL", "CUSTOMER", "SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
        if arn in self.imported:
            view = replace(view, state="Enabled", expiration_model=FOREVER, current_key_material_id="a" * 64)
        return view

    async def list_key_rotations(self, key_id: str, trace: Trace) -> list[KeyRotation]:
        await self._wire(trace, "ListKeyRotations")
        return []

    async def get_parameters_for_import(self, key_id: str, trace: Trace, **_: Any) -> ImportParameters:
        await self._wire(trace, "GetParametersForImport")
        return ImportParameters(b"token", wrapping_key(), datetime.now(UTC) + timedelta(days=1))

    async def import_key_material(self, key_id: str, trace: Trace, **_: Any) -> str:
        await self._wire(trace, "ImportKeyMaterial")
        self.imported.add(key_id)
        return "a" * 64

    async def paint_key(self, key_id: str, trace: Trace) -> None:
        await self._wire(trace, "PaintKey")
        self.painted.add(key_id)

    async def generate_mac(self, key_id: str, trace: Trace, **_: Any) -> bytes:
        raise NotImplementedError

    async def get_public_key(self, key_id: str, trace: Trace) -> bytes:
        raise NotImplementedError

    async def encrypt(self, key_id: str, trace: Trace, **_: Any) -> bytes:
        raise NotImplementedError

    async def decrypt(self, key_id: str, trace: Trace, **_: Any) -> bytes:
        raise NotImplementedError


class Journal:
    """Takes a step of the loop to reach the disk."""

    def write(self, event: str, /, **fields: Any) -> None:
        """No one reads it."""

    async def sync(self) -> None:
        await asyncio.sleep(0)


async def once(attempt: Callable[[], Awaitable[T]], *, settling_until: float = 0.0) -> T:
    return await attempt()


async def stopped_at(step: int, *, grace: float) -> tuple[Counter[str], list[Outcome], Kms]:
    """Runs a lane of a few targets, and asks it to stop after so many steps of the loop."""
    kms, stop, ended = Kms(), Stop(), []
    targets = [
        Target(n, f"key-{n}", LANE, f"alias/{n}", "env:STOP_ANYWHERE", wrapping_key_spec=WrappingKeySpec.RSA_2048)
        for n in range(TARGETS)
    ]
    policy = Policy(
        datetime.now(UTC),
        Materials(Opening(Settings(), None)),
        2,
        0.01,
        60,
        once,
        "auto",
        require_proof=False,
        prove_use=False,
    )
    lane = LaneRunner(
        LANE, targets, kms, policy, sink=Journal(), stop=stop, import_rate=lambda: 1.0, on_end=ended.append,
        wanted=lambda target: Wanted(target, None),
    )  # fmt: skip

    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.in_turn(step, lambda: stop.request("SIGTERM"))
    await run_lanes([lane], stop, grace=grace)
    return Counter(outcome.id for outcome in ended), ended, kms


@pytest.mark.parametrize("grace", [0.0, 60.0])
@pytest.mark.parametrize("order", ["imported only", *ORDERS])
def test_a_stop_at_every_step(grace: float, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOP_ANYWHERE", base64.b64encode(bytes(range(32))).decode())
    if order in ORDERS:
        plan_paint(monkeypatch, order, lambda _: False)
    seen: set[Status] = set()
    for step in range(1, STEPS):
        ends, ended, kms = run(stopped_at(step, grace=grace))
        assert all(count == 1 for count in ends.values()), step
        for outcome in ended:
            took_effect = outcome.key_arn in kms.imported | kms.painted
            if outcome.changed is not None:
                assert outcome.changed is took_effect, (step, outcome)
            if grace and took_effect:
                assert outcome.status is Status.IMPORTED, (step, outcome)  # there was time enough to verify it
        # What took effect is reported: no change without its entry.
        assert {outcome.key_arn for outcome in ended} >= kms.imported | kms.painted, step
        if order in ORDERS:
            imported = {outcome.key_arn for outcome in ended if outcome.status is Status.IMPORTED}
            assert imported <= kms.imported & kms.painted, step
        # Targets are started in order, and who was looked at has ended.
        assert kms.looked_at <= {outcome.key_id for outcome in ended}, step
        assert sorted(ends) == [f"key-{n}" for n in range(len(ends))], step
        seen |= {outcome.status for outcome in ended}
    assert {Status.IMPORTED, Status.NOT_ATTEMPTED} <= seen
    assert ends.total() == TARGETS  # the last stop came after the end
