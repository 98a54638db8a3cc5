"""The library: what the command line itself uses.

    from bulk_import import api

    settings = api.load_settings({"report": "out.json"})
    manifest = api.load_manifest("keys.yaml", settings)
    result = asyncio.run(api.run(manifest, settings))
    print(result.exit_code, result.summary)

Every function raises the exceptions of bulk_import.errors, and no others on purpose.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from bulk_import.settings import load as load_settings

if TYPE_CHECKING:
    from bulk_import.api.ceremonies import Inputs, Preparation, expiring, manifest_of, prepare, read_inputs, submit
    from bulk_import.api.failed import load_failed
    from bulk_import.api.inspections import StatusValues, clear_renderings, show_status, status, write_status
    from bulk_import.api.inventories import Discovery, discover
    from bulk_import.api.manifests import check_material, division, load_manifest
    from bulk_import.api.plans import Saved, clear_plan, clear_plan_file, load_plan, plan_json, save_plan
    from bulk_import.api.reports import (
        Merged,
        Report,
        clear_output,
        clear_output_file,
        json_chunks,
        open_reports,
        render,
        upload_report,
        write_report,
    )
    from bulk_import.api.runs import clear_results, delete, plan, run
    from bulk_import.api.s3 import fetch
    from bulk_import.api.schemas import SCHEMAS
    from bulk_import.approval import SavedPlan
    from bulk_import.delivery.older_results import clear_files
    from bulk_import.job import RunResult
    from bulk_import.report.known import Known
    from bulk_import.work import Started

# Loaded when one of its names is first used: reading a manifest or a report needs no AWS library, half of the start-up.
_PARTS: Final = {
    "bulk_import.api.ceremonies": (
        "Inputs", "Preparation", "expiring", "manifest_of", "prepare", "read_inputs", "submit",
    ),
    "bulk_import.api.failed": ("load_failed",),
    "bulk_import.api.inspections": ("StatusValues", "clear_renderings", "show_status", "status", "write_status"),
    "bulk_import.api.inventories": ("Discovery", "discover"),
    "bulk_import.api.manifests": ("check_material", "division", "load_manifest"),
    "bulk_import.api.plans": ("Saved", "clear_plan", "clear_plan_file", "load_plan", "plan_json", "save_plan"),
    "bulk_import.api.reports": (
        "Merged", "Report", "clear_output", "clear_output_file", "json_chunks", "open_reports", "render",
        "upload_report", "write_report",
    ),
    "bulk_import.api.runs": ("clear_results", "delete", "plan", "run"),
    "bulk_import.api.s3": ("fetch",),
    "bulk_import.api.schemas": ("SCHEMAS",),
    "bulk_import.approval": ("SavedPlan",),
    "bulk_import.delivery.older_results": ("clear_files",),
    "bulk_import.job": ("RunResult",),
    "bulk_import.report.known": ("Known",),
    "bulk_import.work": ("Started",),
}  # fmt: skip

__all__ = [
    "SCHEMAS", "Discovery", "Inputs", "Known", "Merged", "Preparation", "Report", "RunResult", "Saved",
    "SavedPlan", "Started", "StatusValues", "check_material", "clear_files", "clear_output",
    "clear_output_file", "clear_plan", "clear_plan_file", "clear_renderings",
    "clear_results", "delete", "discover", "division", "expiring", "fetch", "json_chunks", "load_failed",
    "load_manifest", "load_plan", "load_settings", "manifest_of", "open_reports", "plan", "plan_json",
    "prepare", "read_inputs", "render", "run", "save_plan", "show_status", "status", "submit", "upload_report",
    "write_report", "write_status",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """https://peps.python.org/pep-0562/"""
    for part, names in _PARTS.items():
        if name in names:
            return getattr(importlib.import_module(part), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
