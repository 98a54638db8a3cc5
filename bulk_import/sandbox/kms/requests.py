"""One KMS request as the operations see it: checked parameters, caller, and the key that it names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.identity import Principal
from bulk_import.sandbox.kms.backend import SandboxKmsBackend
from bulk_import.sandbox.kms.keys import SandboxKey


@dataclass(slots=True)
class Request:
    """`at`: the moment whose state the answering host knows; None: it knows everything.

    `is_principal`: whether the host knows the principal of an ARN.
    """

    operation: str
    params: dict[str, Any]
    who: Principal
    store: SandboxKmsBackend
    at: float | None = None
    named: SandboxKey | None = None
    is_principal: Callable[[str], bool] = lambda _: True

    @property
    def key(self) -> SandboxKey:
        """The key that KeyId names."""
        assert self.named is not None  # noqa: S101 - KeyId is required by the service model
        return self.named

    def dry_run(self) -> None:
        """Call it when nothing but the act itself is left to do. Raises AwsError where DryRun is set."""
        if self.params.get("DryRun"):
            raise AwsError(
                "DryRunOperationException", "The request would have succeeded, but the DryRun option is set."
            )
