"""The process of one token, from this side: one request at a time, each with a time limit."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

import structlog

import bulk_import
from bulk_import import open_files
from bulk_import.errors import MaterialError
from bulk_import.material import environment
from bulk_import.settings import Settings

log = structlog.get_logger()

PIN_VARIABLE: Final = "PKCS11_PIN"
_SECONDS: Final = 60.0  # that one operation of a token may take


class TokenProcess:
    """One token. An answer that does not come in time ends the process."""

    def __init__(self, variables: frozenset[str]) -> None:
        """Raises MaterialError."""
        root = str(Path(bulk_import.__file__).parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "bulk_import.token.process"], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=environment.of_token(variables) | {"PYTHONPATH": path}, text=True, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            reason = errno.errorcode.get(error.errno or 0, type(error).__name__)
            raise MaterialError(
                f"the process of the token cannot be started: {os.strerror(error.errno or 0)} ({reason})",
                code="SourceFailed",
                advice=open_files.ADVICE if open_files.is_shortage(error) else "Check the limits of this process.",
            ) from None
        self._lock = asyncio.Lock()
        # A task that is cancelled gives up the lock above while its thread still waits for the answer.
        self._pipes = threading.Lock()

    async def ask(self, operation: str, **request: Any) -> dict[str, Any]:
        """Raises MaterialError."""
        async with self._lock:
            try:
                async with asyncio.timeout(_SECONDS):
                    line = await asyncio.to_thread(
                        self._exchange, json.dumps({"operation": operation, **request}) + "\n"
                    )
            except TimeoutError:
                self._process.kill()
                raise _failed(f"the token did not respond within {_SECONDS:g} s") from None
        if not line:
            await asyncio.to_thread(self._process.wait)
            raise _failed(f"the process of the token has ended ({_ended(self._process.returncode)})")
        answer: dict[str, Any] = json.loads(line)
        if "code" in answer:
            raise MaterialError(answer["message"], code=answer["code"], advice=answer["advice"] or None)
        return answer

    def _exchange(self, line: str) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("a token without pipes")
        try:
            with self._pipes:
                stdin.write(line)
                stdin.flush()
                return stdout.readline()
        except (BrokenPipeError, ValueError):
            return ""

    async def close(self) -> None:
        self._process.kill()
        await asyncio.to_thread(self._process.communicate)


def _ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    known = {number.value: number.name for number in signal.Signals}
    return f"by the signal {known.get(-code, -code)}"


def _failed(message: str) -> MaterialError:
    return MaterialError(
        message, code="SourceFailed",
        advice="Look at the HSM and at its library's log; only the targets of this token failed.",
    )  # fmt: skip


def pin(settings: Settings) -> str:
    """From the file, otherwise from the environment. Raises MaterialError for what cannot be a PIN: it would count as
    a wrong one.
    """
    if not settings.pkcs11_pin_file:
        return _usable(os.environ.get(PIN_VARIABLE, ""), PIN_VARIABLE)
    path = Path(settings.pkcs11_pin_file)
    try:
        found = path.read_text("utf-8").rstrip("\r\n")
        if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            log.warning("the file with the PIN can be read by other users: set its mode to 0600", path=str(path))
    except (OSError, UnicodeDecodeError):
        raise MaterialError(
            "--pkcs11-pin-file cannot be read", code="SourceDenied", advice="Check its path and permissions."
        ) from None
    return _usable(found, "--pkcs11-pin-file")


def _usable(found: str, place: str) -> str:
    """`found`. Raises MaterialError for what can be no PIN: a token would count it as a wrong one."""
    if found.isprintable() and found:
        return found
    what = "has several lines" if "\n" in found else "holds what is no text of UTF-8, or no printable character"
    raise MaterialError(
        f"{place} {what if found else 'is empty'}; no login was attempted",
        code="SourceDenied", advice="Write the PIN there and nothing else: in UTF-8, without a byte-order mark.",
    )  # fmt: skip
