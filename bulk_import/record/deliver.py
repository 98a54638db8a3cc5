"""The report to where it was asked for: a path, stdout, or S3 by way of a file beside the journal."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulk_import.errors import CallerError, ObjectError, ReportNotWritten
from bulk_import.model import ObjectUri, in_s3
from bulk_import.ports import ObjectStore
from bulk_import.record.checkpoint import Checkpoint
from bulk_import.record.fold import Folded
from bulk_import.record.in_time import in_time
from bulk_import.record.older import sha256_path
from bulk_import.record.publish import publish
from bulk_import.record.report import write_report
from bulk_import.settings import Settings


@dataclass(frozen=True, slots=True)
class Delivery:
    """`given_up`: makes what returns when an upload must not take longer. `store` is needed for S3 only."""

    settings: Settings
    store: ObjectStore | None
    given_up: Callable[[], Coroutine[Any, Any, None]]
    checkpoint: Checkpoint | None = None

    async def report(self, folded: Folded, *, report_elsewhere: bool = False) -> Path | ObjectUri | None:
        """Returns where it is; None: stdout. `report_elsewhere`: it shall say exit code 6.

        Raises ReportNotWritten, which says where it is instead.
        """
        destination = self.settings.report
        if self.store is None or not in_s3(destination):
            return write_report(folded, destination, report_elsewhere=report_elsewhere).path
        uri = ObjectUri.parse(destination)
        run_id = folded.started["run_id"]
        local = folded.journal.parent / f"report.{run_id}.json"
        written = write_report(folded, str(local), report_elsewhere=report_elsewhere)
        advice = None
        try:
            if self.checkpoint is not None and self.checkpoint.taken:
                # What goes on with this run writes its report there, and knows more.
                reason = "another run took over the checkpoint"
            elif await in_time(
                publish(self.store, local, uri, sha256=written.sha256 or "", run_id=run_id), self.given_up()
            ):
                local.unlink()
                sha256_path(local).unlink()
                return uri
            else:
                reason = "the run was stopped before it was there"
        except ObjectError as error:
            reason, advice = error.reason, error.advice
        except CallerError as error:
            reason, advice = error.message, error.advice
        if not report_elsewhere:
            write_report(folded, str(local), report_elsewhere=True)
        raise ReportNotWritten(f"The report could not be written to {uri} ({reason}). It is at {local}.", advice=advice)
