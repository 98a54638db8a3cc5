"""`sandbox`: a local AWS on 127.0.0.1 until stopped; prints its endpoint URL on stdout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bulk_import.commands import output
from bulk_import.errors import ExitCode, MissingExtra
from bulk_import.settings import Settings

ARGUMENTS: dict[str, Any] = {}
GROUPS = ("common", "sandbox")


def execute(settings: Settings) -> ExitCode:
    output.configure(settings)
    try:
        from bulk_import.sandbox.server import serve  # noqa: PLC0415 - the extra may be missing
        from bulk_import.sandbox.world import SandboxOptions  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"`sandbox` needs the extra `sandbox` ({error.name} is not installed).",
            advice="Install it: pip install 'kms-bulk-import[sandbox]', from where you installed this program",
        ) from None
    serve(
        SandboxOptions(
            port=settings.port,
            seed=Path(settings.seed) if settings.seed else None,
            enforce_quotas=settings.enforce_quotas,
            lag_seconds=settings.lag,
            authorization_lag_seconds=settings.authorization_lag,
            enforce_policies=settings.enforce_policies,
        )
    )
    return ExitCode.OK
