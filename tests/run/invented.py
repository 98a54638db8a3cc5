"""A kind of change that KMS does not have, for the tests of the protocol: a key gets a coat of paint.

Its repeat does harm (a second coat), as a second CreateKey would. What holds for it holds for every kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from bulk_import.plan import Decision, Step, decide
from bulk_import.run.change import Kind
from bulk_import.run.steps import KINDS

PAINT = "PaintKey"
ORDERS = ("painted first", "painted last")


class Paint(Kind):
    operation = PAINT
    repeatable = False

    async def prepare(self) -> None:
        """Needs nothing."""

    async def send(self) -> Mapping[str, Any]:
        kms: Any = self.kms
        await kms.paint_key(self.run.arn, self.run)
        return {}

    async def applied(self) -> bool:
        kms: Any = self.kms
        painted: bool = await kms.is_painted(self.run.arn, self.run)
        return painted


def plan_paint(monkeypatch: pytest.MonkeyPatch, order: str, painted: Callable[[str], bool]) -> None:
    """From here on every key that gets material, and is not `painted` (by its ARN), gets a coat as well."""

    def decide_and_paint(wanted: Any, view: Any, *rest: Any, **named: Any) -> Decision:
        decision = decide(wanted, view, *rest, **named)
        if painted(view.arn) or not (decision.steps or view.state == "Enabled"):
            return decision
        coat = (Step("paint", "it has no paint"),)
        return replace(
            decision, steps=(*coat, *decision.steps) if order == "painted first" else (*decision.steps, *coat)
        )

    monkeypatch.setitem(KINDS, "paint", Paint)
    monkeypatch.setattr("bulk_import.run.lane.decide", decide_and_paint)
    monkeypatch.setattr("bulk_import.run.found.decide", decide_and_paint)
