"""What a run writes to its journal at the beginning, at each lane's end, and at its own end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from bulk_import import __version__
from bulk_import.errors import BulkImportError
from bulk_import.model import Lane, Manifest
from bulk_import.model.run import Command
from bulk_import.plan import wanted_of
from bulk_import.ports import Sink
from bulk_import.settings import Settings

# Settings without which a result cannot be judged; a resume must not change them.
MATTERS = frozenset(
    (
        "prove", "reads", "read_interval", "verify_timeout", "require_proof", "prove_use", "quota", "correct",
        "material_name", "disabled_too",
    )
)  # fmt: skip
# What a journal without the setting was written with.
UNSET: dict[str, Any] = {"correct": ["description"], "material_name": None, "disabled_too": False}


def begin(
    sink: Sink,
    manifest: Manifest,
    settings: Settings,
    *,
    run_id: str,
    started: datetime,
    labels: Mapping[str, str],
    command: Command = "run",
) -> None:
    """The run and its targets. Each target's ValidTo is frozen here."""
    sink.write(
        "run_started",
        run_id=run_id,
        started_at=started,
        tool={"name": "bulk-import", "version": __version__},
        labels=dict(labels),
        selected=manifest.selected,
        report=settings.report,
        **bound_to(manifest, settings, command),
    )
    name_targets(sink, manifest, started)


def bound_to(manifest: Manifest, settings: Settings, command: Command) -> dict[str, Any]:
    """What a journal is bound to: a resume must find the same."""
    return {
        "command": command,
        "manifest": {"uri": manifest.shown_uri, "sha256": manifest.sha256, "targets": manifest.total},
        "selection": selection(settings, manifest),
        "partition": manifest.partition,
        "shard": settings.shard,
        "settings": settings.model_dump(mode="json", include=set(MATTERS)),
        **({"ceremony": asdict(manifest.ceremony)} if manifest.ceremony else {}),
        "plan": _plan(manifest),
    }


def _plan(manifest: Manifest) -> dict[str, str] | None:
    """Of a run with --plan. A resume must be given the same."""
    if manifest.plan is None:
        return None
    return {"sha256": manifest.plan.sha256, "created_at": f"{manifest.plan.created_at:%Y-%m-%dT%H:%M:%S.%fZ}"}


def name_targets(sink: Sink, manifest: Manifest, started: datetime, *, after: int = 0) -> None:
    """The selected targets, but for the first `after`, which are named already."""
    for target in manifest.targets[after:]:
        sink.write(
            "target",
            index=target.index,
            position=target.reported_index,
            id=target.id,
            account=target.lane.account,
            region=target.lane.region,
            key_id=target.shown_key_id,
            valid_to=wanted_of(target, manifest.counts_from(started)).valid_to,
        )


def lane_ended(
    sink: Sink,
    lane: Lane,
    *,
    duration: float,
    calls: Mapping[str, int],
    throttled: Mapping[str, int],
    quota: Mapping[str, float],
    effective_rate: Mapping[str, float],
    session_policy: str | None,
) -> None:
    """`duration` in seconds; rates in calls per second."""
    sink.write(
        "lane_ended",
        account=lane.account,
        region=lane.region,
        duration_seconds=round(duration, 3),
        calls=dict(sorted(calls.items())),
        throttled=dict(sorted(throttled.items())),
        quota=dict(quota),
        effective_rate=dict(effective_rate),
        session_policy=session_policy,
    )


async def end(sink: Sink, *, stopped: str, failure: BulkImportError | None) -> None:
    """`stopped`: why, empty where nothing did; `failure`: what ended the whole run. Raises JournalError."""
    if stopped:
        sink.write("stopping", reason=stopped)
    extra: dict[str, Any] = {}
    if failure is not None:
        extra["failure"] = {
            "code": failure.code,
            "message": failure.message,
            "advice": failure.advice,
            "exit_code": int(failure.exit_code),
        }
    sink.write("run_ended", finished_at=datetime.now(UTC), **extra)
    await sink.sync()


def selection(settings: Settings, manifest: Manifest) -> dict[str, list[str]]:
    """What of the manifest was selected; empty lists: all."""
    chosen = {
        "accounts": list(settings.only_account),
        "regions": list(settings.only_region),
        "ids": list(settings.only_id),
    }
    return chosen | {"failed_in": [manifest.failed_in]} if manifest.failed_in else chosen
