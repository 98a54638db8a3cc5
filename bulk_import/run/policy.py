"""How the targets of a run are treated: its settings, as the stages need them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from bulk_import.deletion import NOTHING, Asked
from bulk_import.material.bound import Supply
from bulk_import.model import KnownMaterial, Target
from bulk_import.ports import Retrier

if TYPE_CHECKING:
    from bulk_import.run.approved import Approved

# By target, key ARN and, of a target with several materials, KeyMaterialId (else empty).
KnownOf = Callable[[Target, str, str], KnownMaterial | None]


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings that decide how a target is treated, as the stages need them. Times in seconds."""

    started_at: datetime  # of the run: valid_for counts from here
    materials: Supply
    reads: int
    read_interval: float
    verify_timeout: float
    retry: Retrier
    prove: str  # auto | changed | all | none
    require_proof: bool
    prove_use: bool
    known: KnownOf | None = None  # of --known: what an earlier run has proved of a symmetric target
    # What of `create` is set where a key differs; None: it is not compared at all.
    correct: frozenset[str] | None = frozenset({"description"})
    deletion: Asked = NOTHING
    consistency_timeout: float = 0.0  # how long a key that is not found is waited for
    approved: Approved | None = None  # of --plan
