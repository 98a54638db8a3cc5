"""The one writer of output: results on stdout, everything else on stderr."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import structlog

from bulk_import.errors import BulkImportError
from bulk_import.files import write_stream
from bulk_import.settings import Settings
from bulk_import.text import harmless

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_COLOURS = {"debug": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
_RESET = "\x1b[0m"


def _to_stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


_write: Callable[[str], None] = _to_stderr


class _Stderr(io.TextIOBase):
    """What the log is written to: the writer of the moment."""

    def write(self, text: str) -> int:
        _write(text)
        return len(text)


class _Bridge(logging.Handler):
    """Libraries' log records, as one line each and without tracebacks: those could quote a request."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(record.levelno, record.getMessage(), logger=record.name)


def configure(settings: Settings) -> None:
    """Sets logging up: structlog to stderr, as text or JSON."""
    renderer: Any = structlog.processors.JSONRenderer() if settings.log_format == "json" else _Text()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _harmless,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            max(_LEVELS[settings.log_level], _LEVELS["warning"] if settings.quiet else 0)
        ),
        logger_factory=structlog.WriteLoggerFactory(_Stderr()),  # type: ignore[arg-type]  # asks for write and flush only
        cache_logger_on_first_use=True,
    )
    # Warnings only: at debug level botocore logs whole requests.
    logging.basicConfig(level=logging.WARNING, handlers=[_Bridge()], force=True)


def _harmless(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """No value of a log line can act on the terminal or the CI runner that shows it."""
    return {name: harmless(value) if isinstance(value, str) else value for name, value in event.items()}


class _Text:
    """A line for people: time, level, the target that it is about, what happened; then what else is known."""

    def __init__(self) -> None:
        self._at_terminal = sys.stderr.isatty()
        # A terminal that is able to, and no one said NO_COLOR: https://no-color.org
        self._colours = (
            self._at_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
        )

    def __call__(self, _logger: Any, _method: str, event: structlog.typing.EventDict) -> str:
        time, level, text = str(event.pop("timestamp"))[11:19], str(event.pop("level")), str(event.pop("event"))
        target, account, region = (event.pop(name, None) for name in ("target", "account", "region"))
        code, message = event.pop("code", None), event.pop("message", None)
        place = f"{account}/{region}" if account and region else account
        where = " in ".join(str(part) for part in (target, place) if part)
        what = ": ".join(str(part) for part in (where, text, code, message) if part)
        if self._at_terminal:
            event.pop("run", None)  # the first line says it, and no one joins the lines of a screen
        rest = " ".join(f"{name}={value}" for name, value in event.items())
        colour = _COLOURS.get(level, "") if self._colours else ""
        word = f"{colour}{level.upper()}{_RESET}" if colour else level.upper()
        return _one_line(f"{time} {word} {what}" + (f" ({rest})" if rest else ""))


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def divert(writer: Callable[[str], None] | None) -> None:
    """From now on all text for stderr goes to `writer`; None: to stderr itself."""
    global _write  # noqa: PLW0603 - one process has one stderr
    _write = writer or _to_stderr


def say(text: str) -> None:
    """A line for people, on stderr."""
    _write(text.rstrip("\n") + "\n")


def result(data: bytes) -> None:
    """The command's result, on stdout. Raises BulkImportError where it is closed or full."""
    try:
        sys.stdout.flush()
        write_stream(sys.stdout.buffer, data)
    except OSError as error:
        # Python's own flush at exit must not complain about it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise  # the reader has gone
        raise BulkImportError(
            f"stdout cannot be written: {error.strerror or 'it is closed'}.",
            code="OutputNotWritten",
            advice="Send it to a file or a pipe that takes it.",
        ) from None
