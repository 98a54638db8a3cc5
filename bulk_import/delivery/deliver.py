"""The report and its renderings to where they were asked for. S3: by way of a file next to the journal.

What S3 does not take stays in that file, and the message says where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from bulk_import.delivery import renderings
from bulk_import.delivery.checkpoint import Checkpoint
from bulk_import.delivery.in_time import in_time
from bulk_import.delivery.local import write_report
from bulk_import.delivery.publish import publish, publish_rendering
from bulk_import.errors import BulkImportError, CallerError, ObjectError, ReportNotWritten
from bulk_import.kept import name_of_older, sha256_path
from bulk_import.model import ObjectUri, in_s3
from bulk_import.ports import ObjectStore
from bulk_import.report import formats
from bulk_import.report.document import Document
from bulk_import.report.reread import Report
from bulk_import.settings import Settings

log = structlog.get_logger()

AFTERWARDS = "Make it from the report or the journal: bulk-import report REPORT --format FORMAT --output PATH."


@dataclass(frozen=True, slots=True)
class Refused:
    """Why S3 does not have it, and what to do; None: what ReportNotWritten says."""

    reason: str
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """`place`: of the report; None: it went to stdout, or `error` says where. `error`: what ended the run included."""

    place: Path | ObjectUri | None
    report: Report
    error: BulkImportError | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """`given_up`: makes what returns when an upload must not take longer. `store` is needed for S3 only."""

    settings: Settings
    store: ObjectStore | None
    given_up: Callable[[], Coroutine[Any, Any, None]]
    checkpoint: Checkpoint | None = None
    written: dict[str, Path | ObjectUri] = field(default_factory=dict)  # renderings: format → where it is

    async def all(self, document: Document, failure: BulkImportError | None) -> Delivered:
        """Report and renderings. `failure`: what ended the run early."""
        place: Path | ObjectUri | None = None
        missing: list[ReportNotWritten] = []
        try:
            place = await self.report(document)
        except ReportNotWritten as error:
            missing.append(error)
            document = document.elsewhere()
        report = document.as_report()
        try:
            await self.renderings(report, document.folded.journal.parent)
        except ReportNotWritten as error:
            missing.append(error)
            document = document.elsewhere()
            report = document.as_report()
            if not (place is None or (isinstance(place, Path) and not place.is_file())):  # it must say exit code 6 too
                place = await self.report(document)
        if not missing:
            return Delivered(place, report, failure)
        # They say where the report is, so they are reported in any case; what ended the run is reported with them.
        before = [f"{failure.code}: {failure.message}"] if failure else []
        return Delivered(place, report, _joined(missing, before))

    async def report(self, document: Document) -> Path | ObjectUri | None:
        """Returns where it is; None: stdout. Raises ReportNotWritten, which says where it is instead."""
        destination = self.settings.report
        if self.store is None or not in_s3(destination):
            return write_report(document, destination)
        store, uri = self.store, ObjectUri.parse(destination)
        run_id = document.run_id
        local = document.folded.journal.parent / f"report.{run_id}.json"
        write_report(document, str(local))
        refused = await self._upload(lambda: publish(store, local, uri, run_id=run_id))
        if refused is None:
            local.unlink()
            sha256_path(local).unlink()
            return uri
        write_report(document.elsewhere(), str(local))
        raise ReportNotWritten(
            f"The report could not be written to {uri} ({refused.reason}). It is at {local}.", advice=refused.advice
        )

    async def renderings(self, report: Report, folder: Path) -> None:
        """Writes each, also after one that failed. `folder`: for what S3 does not take.

        Raises ReportNotWritten, naming those that could not be written, and where they are instead.
        """
        missing: list[ReportNotWritten] = []
        for name, destination in self.settings.render.items():
            try:
                await self._rendering(name, report, destination, folder)
            except OSError as error:
                reason = error.strerror or str(error)
                missing.append(
                    ReportNotWritten(
                        f"The rendering {name} could not be written to {destination} ({reason}).", advice=AFTERWARDS
                    )
                )
            except ReportNotWritten as error:
                missing.append(error)
            except Exception as error:  # noqa: BLE001 - a defect of one rendering must not cost the others
                kind = type(error).__name__
                log.error("internal error", rendering=name, exception=kind)  # noqa: TRY400 - a traceback could quote a secret
                missing.append(ReportNotWritten(f"The rendering {name} could not be made ({kind}).", advice=AFTERWARDS))
        if missing:
            raise _joined(missing)

    async def _rendering(self, name: str, report: Report, destination: str, folder: Path) -> None:
        """Raises OSError, ReportNotWritten."""
        if self.store is None or not in_s3(destination):
            self.written[name] = renderings.write(name, report, destination)
            return
        store, uri = self.store, ObjectUri.parse(destination)
        form, run_id = formats.FORMATS[name], report.head["run"]["run_id"]
        local = folder / name_of_older(form.default_name, run_id)
        renderings.write(name, report, str(local))
        refused = await self._upload(
            lambda: publish_rendering(store, local, uri, content_type=form.content_type, run_id=run_id)
        )
        if refused is not None:
            raise ReportNotWritten(
                f"The rendering {name} could not be written to {uri} ({refused.reason}). It is at {local}.",
                advice=refused.advice,
            )
        local.unlink()
        self.written[name] = uri

    async def _upload(self, send: Callable[[], Coroutine[Any, Any, None]]) -> Refused | None:
        """None: it is there."""
        if self.checkpoint is not None and self.checkpoint.taken:
            # What continues this run writes its own there, and knows more.
            return Refused("another run took over the checkpoint")
        try:
            if await in_time(send(), self.given_up()):
                return None
            return Refused("the run was stopped before it was there")
        except ObjectError as error:
            return Refused(error.reason, error.advice)
        except CallerError as error:
            return Refused(error.message, error.advice)


def _joined(errors: Sequence[ReportNotWritten], before: Sequence[str] = ()) -> ReportNotWritten:
    return ReportNotWritten(
        "\n".join([*before, *(error.message for error in errors)]),
        advice=" ".join(dict.fromkeys(error.advice for error in errors)),
    )
