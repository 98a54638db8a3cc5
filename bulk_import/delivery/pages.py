"""Renderings that are not made from a report (those of `status`): to local files and to S3."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from bulk_import.aws import objects
from bulk_import.delivery.publish import publish_rendering
from bulk_import.errors import CallerError, ObjectError, ReportNotWritten
from bulk_import.model import ObjectUri, in_s3
from bulk_import.report.formats import FORMATS, write_text
from bulk_import.settings import Settings

log = structlog.get_logger()

AGAIN = "Make the place writable, or name another one, and run this again."


async def write(
    settings: Settings, text_of: Callable[[str], str], *, run_id: str, partition: str
) -> Mapping[str, Path | ObjectUri]:
    """Writes each format of --render to its place, also after one that failed. Returns format → where it is.

    `text_of`: makes the text of a format. Raises ReportNotWritten, which names those that could not be written.
    """
    written: dict[str, Path | ObjectUri] = {}
    missing: list[ReportNotWritten] = []
    async with AsyncExitStack() as stack:
        store = None
        for name, place in settings.render.items():
            try:
                text = text_of(name)
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
            except CallerError as error:
                missing.append(_missing(name, place, error.message, error.advice))
            except Exception as error:  # noqa: BLE001 - a defect of one rendering must not cost the others
                kind = type(error).__name__
                log.error("internal error", rendering=name, exception=kind)  # noqa: TRY400 - a traceback could quote a secret
                missing.append(ReportNotWritten(f"The rendering {name} could not be made ({kind}).", advice=AGAIN))
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
