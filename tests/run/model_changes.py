"""What all kinds of change share in the modelled world: a durable intent first, and every way to be answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson

from bulk_import.errors import ServiceError
from bulk_import.model import KeyRotation
from bulk_import.ports import Trace
from tests.run.model_kms import Choices, ModelKms, World, lost

CHANGE_ANSWERS = (
    "carried out", "carried out, no answer", "no answer", "throttled", "denied", "carried out, killed",
    "carried out, power cut",
)  # fmt: skip
NAMES = {  # of `changes` in the report
    "CreateKey": "created", "CreateAlias": "alias", "ImportKeyMaterial": "imported", "ReplicateKey": "replicated",
    "RotateKeyOnDemand": "rotated", "PutKeyPolicy": "policy", "TagResource": "tags",
    "UpdateKeyDescription": "description", "DeleteImportedKeyMaterial": "deleted",
}  # fmt: skip


class ChangingWorld(World):
    """Counts requests by operation and target: `sent`, `made` (carried out), `unknown` (the program got no answer)."""

    def __init__(self, choices: Choices, specs: tuple[str, ...]) -> None:
        super().__init__(choices, specs, signals=False)
        self.sent: Counter[tuple[str, int]] = Counter()
        self.made: Counter[tuple[str, int]] = Counter()
        self.unknown: Counter[tuple[str, int]] = Counter()

    def intents(self, operation: str, index: int) -> int:
        """Those that a power cut would leave."""
        assert self.journal is not None
        events = map(orjson.loads, self.journal.path.read_bytes()[: self.durable].splitlines())
        return sum(
            (event["event"], event.get("operation"), event.get("index")) == ("intent", operation, index)
            for event in events
        )

    def carried_out(self, index: int) -> set[str]:
        """What the report must list under `changes`."""
        return {NAMES[operation] for (operation, at), count in self.made.items() if at == index and count}

    def check_unwell(self, index: int, entry: Mapping[str, Any]) -> None:
        """An entry that is not OK says whether anything was changed, and lists no change that was not made."""
        code = entry["error"]["code"]
        assert code != "InternalError", entry
        assert (code == "OutcomeUnknown") is (entry["changed"] is None), entry
        made = self.carried_out(index)
        if entry["changed"] is not None:
            assert entry["changed"] is bool(made), (made, entry)
        assert set(entry["changes"]) <= made, (made, entry)

    def check_repeats(self, *operations: str, more: int = 0) -> None:
        """Nothing is made twice, except where nobody knew that it was made. `more`: had to be made again."""
        for request, count in self.made.items():
            assert request[0] not in operations or count <= 1 + self.unknown[request] + more, request


class ChangingKms(ModelKms):
    async def change(self, operation: str, trace: Trace, index: int, effect: Callable[[], object]) -> None:
        """One request. `effect` may raise ServiceError: then KMS refuses it."""
        world = self._world
        assert isinstance(world, ChangingWorld)
        await asyncio.sleep(0.01)
        trace.sent(operation)
        request = operation, index
        world.sent[request] += 1
        assert world.intents(*request) >= world.sent[request], f"{operation} without a durable intent"
        answer = world.choices.among(operation, *CHANGE_ANSWERS)
        world.unknown[request] += answer not in ("carried out", "throttled", "denied")
        if "carried out" in answer:
            effect()
            world.made[request] += 1
        await asyncio.sleep(0.01)
        if answer in ("carried out, killed", "carried out, power cut"):
            world.kill(answer.removeprefix("carried out, "))
        if answer == "throttled":
            raise refused("ThrottlingException", operation, retryable=True)
        if answer == "denied":
            raise refused("AccessDeniedException", operation)
        if answer != "carried out":
            raise ServiceError(
                "No answer.", code="ConnectionFailed", operation=operation, retryable=True, outcome_unknown=True
            )
        trace.note(operation, f"request-{operation}")


def refused(code: str, operation: str, *, retryable: bool = False) -> ServiceError:
    return ServiceError("No.", code=code, operation=operation, retryable=retryable, request_id="request-r")


class HoldsMaterials(Protocol):
    """A world with one key with several materials. `before`: of its last change, which a stale host shows."""

    choices: Choices
    materials: tuple[KeyRotation, ...]
    before: tuple[KeyRotation, ...]


def list_materials(world: HoldsMaterials, trace: Trace) -> list[KeyRotation]:
    """ListKeyRotations. Raises ServiceError where there is no answer."""
    trace.sent("ListKeyRotations")
    options = ["good", "no answer", *(["stale"] if world.before != world.materials else [])]
    answer = world.choices.among("ListKeyRotations", *options)
    if answer == "no answer":
        raise lost("ListKeyRotations")
    return list(world.before if answer == "stale" else world.materials)
