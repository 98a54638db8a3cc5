"""The one writer of output: results on stdout, everything else on stderr."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import structlog

from bulk_import.errors import BulkImportError
from bulk_import.settings import Settings

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class _Bridge(logging.Handler):
    """Libraries' log records, as one line each and without tracebacks: those could quote a request."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(record.levelno, record.getMessage(), logger=record.name)


def configure(settings: Settings) -> None:
    """Sets logging up: structlog to stderr, as text or JSON."""
    colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=colours, pad_event_to=0)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            max(_LEVELS[settings.log_level], _LEVELS["warning"] if settings.quiet else 0)
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Warnings only: at debug level botocore logs whole requests.
    logging.basicConfig(level=logging.WARNING, handlers=[_Bridge()], force=True)


def say(text: str) -> None:
    """A line for people, on stderr."""
    sys.stderr.write(text.rstrip("\n") + "\n")


def result(data: bytes) -> None:
    """The command's result, on stdout. Raises BulkImportError where it is closed or full."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        # Python's own flush at exit must not complain about it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise  # whoever read it has gone, and knows
        raise BulkImportError(
            f"stdout cannot be written: {error.strerror or 'it is closed'}.",
            code="OutputNotWritten",
            advice="Send it to a file or a pipe that takes it.",
        ) from None
