"""`exec:NAME`: the standard output of a command that the settings file defines, never the manifest.

    [exec.hsm-export]
    argv = ["/opt/hsm/export", "--label", "{id}-{region}"]
    timeout = "20s"
    encoding = "base64"
    env = ["HSM_CONFIG"]

The command runs without a shell, in a process group of its own, which is killed at its end, at its timeout and when
the run stops. It gets PATH, HOME, LANG and the variables that `env` names, and no standard input.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Annotated, Any, Final

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bulk_import import open_files
from bulk_import.errors import MaterialError
from bulk_import.material import environment, memory
from bulk_import.material.sources.base import MAX_BYTES, Content, Kind, Opened, Opening, binary
from bulk_import.material.sources.complaint import complaint
from bulk_import.material.sources.covers import exactly
from bulk_import.model import Encoding, Target
from bulk_import.settings import Seconds, Settings

log = structlog.get_logger()

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PLACEHOLDER: Final = re.compile(r"\{\{|\}\}|\{([a-z]*)\}|[{}]")
_DIES: Final = 5.0  # seconds that a killed command gets to disappear


class Command(BaseModel):
    """One [exec.NAME] of the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    argv: Annotated[tuple[str, ...], Field(min_length=1)]
    timeout: Annotated[Seconds, Field(gt=0, le=3600)] = 30.0
    encoding: Encoding | None = None
    env: tuple[str, ...] | dict[str, str] = ()


def parse(rest: str) -> str:
    """The command's name. Raises ValueError."""
    if not _NAME.fullmatch(rest):
        raise ValueError("write the name of a command of the settings file, like exec:hsm-export")
    return rest


class ExecSource:
    """Runs the command once per read."""

    def __init__(self, opening: Opening) -> None:
        self._commands = opening.settings.exec

    async def read(self, rest: str, target: Target) -> Content:
        command = Command.model_validate(self._commands[rest])
        argv = filled(command.argv, target)
        data = await _output(rest, argv, environment.of_command(command.env), command.timeout)
        return Content(data, command.encoding) if command.encoding else binary(data)


async def _output(name: str, argv: Sequence[str], env: Mapping[str, str], seconds: float) -> bytearray:
    """Standard output. Raises MaterialError. The process group is gone afterwards in every case."""
    process = _start(name, argv, env)
    buffer = bytearray(MAX_BYTES + 1)  # of the final size: a buffer that grows leaves copies behind
    written = bytearray()  # the end of stderr
    draining = asyncio.create_task(_drain(_fd(process.stderr), written))
    try:
        async with asyncio.timeout(seconds):
            size = await _fill(_fd(process.stdout), buffer)
            if size > MAX_BYTES:
                raise _failed(name, f"printed more than {MAX_BYTES} bytes", "No key material is that long.")
            code = await _ended(process)
        if code:
            await asyncio.wait([draining], timeout=1)  # a child that is left behind may hold its stderr open
            ended = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            said = complaint(bytes(written), bytes(buffer[:size]))
            raise _failed(name, f"{ended}{f': {said}' if said else ''}", "Run the command by hand to see why.")
        if not size:
            advice = "Run the command by hand: its standard output must be the key material."
            raise MaterialError(f"the command {name} printed nothing", code="MaterialWrongLength", advice=advice)
        return bytearray(memoryview(buffer)[:size])
    except TimeoutError:
        advice = "Find out what it waits for, or raise its timeout in the settings file."
        raise _failed(name, f"did not end within {seconds:g} s", advice) from None
    finally:
        memory.wipe(buffer)
        _kill(process.pid)
        draining.cancel()
        await asyncio.wait([draining])
        for pipe in filter(None, (process.stdout, process.stderr)):
            pipe.close()
        await _reap(name, process)


def _start(name: str, argv: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Not through the event loop, which would read the output into buffers of its own."""
    try:
        return subprocess.Popen(  # noqa: S603 - the command is the operator's, without a shell
            argv, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, bufsize=0,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "its argv is not usable"
        if open_files.is_shortage(error):
            raise MaterialError(
                f"the command {name} cannot be started: {reason} ({errno.errorcode[error.errno or 0]})",
                code="SourceFailed", retryable=True, advice=open_files.ADVICE,
            ) from None  # fmt: skip
        raise _failed(name, f"cannot be started: {reason}", "Check argv of the command in the settings file.") from None


async def _ended(process: subprocess.Popen[bytes]) -> int:
    """Its exit code. Asks again and again: a thread that waits for a command could not be given up."""
    pause = 0.001
    while (code := process.poll()) is None:
        await asyncio.sleep(pause)
        pause = min(2 * pause, 0.05)
    return code


async def _reap(name: str, process: subprocess.Popen[bytes]) -> None:
    """Waits until the killed command is gone. One of another user, as sudo starts it, may have stayed."""
    try:
        async with asyncio.timeout(_DIES):
            await _ended(process)
    except TimeoutError:
        log.warning(
            "a command still runs, because this user may not end it", command=name, pid=process.pid,
            advice="End it by hand.",
        )  # fmt: skip


def _fd(stream: IO[bytes] | None) -> int:
    if stream is None:
        raise RuntimeError("a command without pipes")
    os.set_blocking(stream.fileno(), False)
    return stream.fileno()


async def _fill(reading: int, buffer: bytearray) -> int:
    """Reads to the end of the pipe, or of the buffer. Returns the number of bytes."""
    at = 0
    with memoryview(buffer) as view:
        while at < len(buffer):
            await _readable(reading)
            try:
                count = os.readv(reading, [view[at:]])
            except BlockingIOError:
                continue
            if not count:
                break
            at += count
    return at


async def _drain(reading: int, tail: bytearray) -> None:
    """Reads to the end of the pipe, so that the command never waits for it, and keeps the last bytes in `tail`."""
    while True:
        await _readable(reading)
        try:
            chunk = os.read(reading, 4096)
        except BlockingIOError:
            continue
        if not chunk:
            return
        tail[:] = (tail + chunk)[-4096:]


async def _readable(reading: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(reading, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(reading)


def _kill(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # nothing of it is left, or it runs as another user


def filled(argv: Sequence[str], target: Target) -> list[str]:
    """`argv` with its placeholders replaced. Raises ValueError for an unknown one."""
    lane = target.lane
    values = {"partition": lane.partition, "account": lane.account, "region": lane.region, "id": target.id}

    def value(match: re.Match[str]) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        if match[1] not in values:
            raise ValueError(f"{match[0]} is not a placeholder; known: " + " ".join(f"{{{name}}}" for name in values))
        return values[match[1]]

    return [_PLACEHOLDER.sub(value, argument) for argument in argv]


def check(target: Target, settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Whether the settings file defines the command that the manifest names, and defines it correctly."""
    name = target.material.partition(":")[2]
    found = settings.exec.get(name)
    if found is None:
        known = ", ".join(sorted(settings.exec)) or "none"
        yield "material", f"exec:{name} is not defined in the settings file; defined: {known}", _define(name)
        return
    for message in problems(found, target):
        yield "material", f"[exec.{name}] of the settings file: {message}", "Correct the file that --config names."


def problems(table: Any, target: Target) -> Iterator[str]:
    """What is wrong with one [exec.NAME]. No value is quoted."""
    try:
        command = Command.model_validate(table)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            place = ".".join(str(part) for part in item["loc"][:2])
            yield f"{place}: {item['msg'].removeprefix('Value error, ')}"
        return
    try:
        filled(command.argv, target)
    except ValueError as error:
        yield f"argv: {error}"
    for name in command.env:
        if environment.is_aws_credential(name):
            yield f"env: {name} holds AWS credentials, which no child process gets"


def _define(name: str) -> str:
    return f'Define it in the file that --config names: [exec.{name}] with argv = ["/path/to/command"].'


def _failed(name: str, what: str, advice: str) -> MaterialError:
    return MaterialError(f"the command {name} {what}", code="SourceFailed", advice=advice)


def identity(rest: str, target: Target, settings: Settings) -> str:
    """Targets share one result only if the command gets the same arguments for them."""
    return "\0".join([rest, *filled(Command.model_validate(settings.exec[rest]).argv, target)])


KIND = Kind(
    scheme="exec",
    form="exec:NAME",
    summary="the standard output of a command that the settings file defines in [exec.NAME]",
    parse=parse,
    covers=exactly,
    open=lambda opening: Opened(source=ExecSource(opening)),
    checked_offline=True,
    settings=("--config: [exec.NAME] with argv, timeout, encoding, env",),
    at_once=4,
    check=check,
    identity=identity,
)
