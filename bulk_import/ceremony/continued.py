"""The file of a bundle: begun, or continued by a later `prepare` of the same manifest, caller and environment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bulk_import import __version__
from bulk_import.aws.session import AwsSession
from bulk_import.ceremony.bundle import VERSION, Access, Bundle, BundleHead, Prepared, members, read_bundle
from bulk_import.ceremony.lines import LineWriter, begun, cut, last_check, read_bytes, refuse
from bulk_import.journal import narrate
from bulk_import.model import Manifest
from bulk_import.model.run import CallerFacts, ManifestFacts, Tool
from bulk_import.settings import Settings
from bulk_import.words import as_utc

SPARE: Final = timedelta(hours=1)  # a bundle whose parameters expire sooner is not continued


def known_bundle(into: Path, manifest: Manifest, settings: Settings) -> Bundle | None:
    """The bundle that is continued, its torn last line cut off; None: there is none yet. Raises CeremonyError."""
    whole = begun(into, "a bundle")
    if whole is None:
        cut(into, None)
        return None
    known = read_bundle(into, whole)
    head = known.head
    advice = "Name another file, or move this one away."
    if (head.manifest.sha256, head.selection, head.standby) != (
        manifest.sha256, narrate.selection(settings, manifest), settings.standby,
    ):  # fmt: skip
        raise refuse(into, 1, "is a bundle of another manifest or selection, or with another --standby.", advice)
    for line in known.targets.values():
        if isinstance(line, Prepared) and line.deadline - datetime.now(UTC) < SPARE:
            raise refuse(into, 0, f"its import parameters expire at {as_utc(line.deadline)}.", advice)
    cut(into, whole)
    return known


def bundle_writer(
    into: Path,
    known: Bundle | None,
    manifest: Manifest,
    settings: Settings,
    *,
    session: AwsSession,
    run_id: str,
    started: datetime,
) -> LineWriter:
    """Continues the file, or begins it with its head.

    Raises OSError; CeremonyError where the bundle was begun by another caller or at another endpoint.
    """
    caller = CallerFacts(session.caller.account, session.caller.arn)
    if known is not None:
        if (known.head.prepared_by.account, known.head.environment) != (caller.account, session.environment):
            advice = "Use the credentials and endpoints that it was begun with, or name another file."
            raise refuse(into, 1, "was begun by another caller or in another environment.", advice)
        data = read_bytes(into)
        return LineWriter(into, line=data.count(b"\n"), after=last_check(data))
    writer = LineWriter(into)
    head = BundleHead(
        kind="bundle",
        version=VERSION,
        tool=Tool("bulk-import", __version__),
        bundle_id=run_id,
        prepared_at=started,
        prepared_by=caller,
        partition=manifest.partition,
        environment=session.environment,
        endpoints=session.endpoints,
        manifest=ManifestFacts(manifest.uri, manifest.sha256, manifest.total),
        selection=narrate.selection(settings, manifest),
        selected=len(manifest.targets),
        standby=settings.standby,
        accounts=[
            Access(
                account=access.account, role_arn=access.role_arn, external_id=access.external_id,
                session_duration=access.session_duration,
            )
            for access in manifest.accounts.values()
        ],
    )  # fmt: skip
    writer.write(members(head))
    return writer
