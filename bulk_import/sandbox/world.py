"""Everything that one sandbox holds, and how it is emptied."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from moto.core.base_backend import BackendDict

from bulk_import.sandbox.access.gate import Gate
from bulk_import.sandbox.calls import Log
from bulk_import.sandbox.clock import Clock
from bulk_import.sandbox.identity import Identity
from bulk_import.sandbox.kms.backend import install
from bulk_import.sandbox.kms.faults import Faults
from bulk_import.sandbox.kms.imports import Imports
from bulk_import.sandbox.kms.lag import Lag
from bulk_import.sandbox.kms.quotas import Quotas
from bulk_import.sandbox.kms.service import Kms
from bulk_import.sandbox.kms.wrapping_keys import WrappingKeys


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """How to start. `port` 0: any free one. `quotas`: requests per second by operation.

    `pool`: the folder that keeps primes for wrapping keys between runs; None: the user's cache folder.
    `stop_with_stdin`: stdin is a pipe from the process that started the sandbox, which ends when the pipe closes.
    """

    port: int = 0
    seed: Path | None = None
    enforce_quotas: bool = False
    quotas: dict[str, float] = field(default_factory=dict)
    lag_seconds: float = 0.0
    authorization_lag_seconds: float = 0.0
    strict_roles: bool = False
    enforce_policies: bool = False
    pool: Path | None = None
    stop_with_stdin: bool = False


class World:
    """One sandbox's whole state."""

    def __init__(self, options: SandboxOptions) -> None:
        self.options = options
        self.wrapping_keys = WrappingKeys(options.pool or default_pool())
        self.faults = Faults()
        self.reset()

    def reset(self) -> None:
        """As it was at the start, but without the seed file. Wrapping keys never come again even so."""
        self.log = Log()  # before the calls that wait go on: they see by it that they are too late
        self.faults.clear()
        options = self.options
        self.clock = Clock()
        self.skew = 0.0  # seconds that the servers' clock is ahead of the true one, for the signatures
        self.quotas = Quotas(enforce=options.enforce_quotas, rates=dict(options.quotas))
        self.identity = Identity(self.clock, strict_roles=options.strict_roles)
        self.lag = Lag(seconds=options.lag_seconds, authorization=options.authorization_lag_seconds)
        self.gate = Gate(self.identity, self.lag, enforce=options.enforce_policies)
        self.imports = Imports(self.clock, self.wrapping_keys)
        self.kms = Kms(self.clock, self.imports, self.lag)
        install(self.clock)
        BackendDict.reset()

    def age(self, seconds: float) -> None:
        """Moves the clock of tokens, sessions and key material forward."""
        self.clock.advance(seconds)


def default_pool() -> Path:
    """The user's cache folder, by the XDG rule."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "bulk-import" / "sandbox"
