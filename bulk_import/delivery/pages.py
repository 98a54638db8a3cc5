"""Renderings that are not made from a report (those of `status`): to local files and to S3."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from bulk_import.aws import objects
from bulk_import.delivery.publish import publish_rendering
from bulk_import.errors import ObjectError, ReportNotWritten
from bulk_import.model import ObjectUri, in_s3
from bulk_import.report.formats import FORMATS, write_text
from bulk_import.settings import Settings

AGAIN = "Make the place writable, or name another one, and run this again."


async def write(
    settings: Settings, texts: Mapping[str, str], *, run_id: str, partition: str
) -> Mapping[str, Path | ObjectUri]:
    """Writes each text to its place of --render, also after one that failed. Returns format → where it is.

    Raises ReportNotWritten, which names those that could not be written; CallerError.
    """
    written: dict[str, Path | ObjectUri] = {}
    missing: list[ReportNotWritten] = []
    async with AsyncExitStack() as stack:
        store = None
        for name, text in texts.items():
            place = settings.render[name]
            try:
                if not in_s3(place):
                    written[name] = await asyncio.to_thread(_to_file, place, text)
                    continue
                if store is None:
                    store = await stack.enter_async_context(objects.open_objects(settings, partition=partition))
                uri = ObjectUri.parse(place)
                with tempfile.TemporaryDirectory(prefix="bulk-import-") as folder:
                    copy = Path(folder) / "rendering"
                    write_text(copy, text)
                    form = FORMATS[name]
                    await publish_rendering(store, copy, uri, content_type=form.content_type, run_id=run_id)
                written[name] = uri
            except OSError as error:
                missing.append(_missing(name, place, error.strerror or str(error), AGAIN))
            except ObjectError as error:
                missing.append(_missing(name, place, error.reason, error.advice))
    if missing:
        raise ReportNotWritten(
            "\n".join(error.message for error in missing),
            advice=" ".join(dict.fromkeys(error.advice for error in missing)),
        )
    return written


def _to_file(place: str, text: str) -> Path:
    path = Path(place).absolute()
    write_text(path, text)
    return path


def _missing(name: str, place: str, reason: str, advice: str) -> ReportNotWritten:
    return ReportNotWritten(f"The rendering {name} could not be written to {place} ({reason}).", advice=advice)
