"""Runs a command at a pseudo-terminal, as a person would."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
CURSOR_UP = "\x1b[1A"


@dataclass(frozen=True)
class Seen:
    """What came out of the terminal. stdout is not the terminal: it is a file, as in `bulk-import … > file`."""

    code: int
    raw: str
    stdout: bytes

    @property
    def text(self) -> str:
        """Without escape sequences; what was drawn over is still in it."""
        return ESCAPES.sub("", self.raw).replace("\r\n", "\n").replace("\r", "\n")

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def screen(self) -> str:
        """What is there at the end: enough of a terminal for what rich's Live uses."""
        rows: list[str] = [""]
        row = 0
        for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|\r|\n)", self.raw):
            if part == "\n":
                row += 1
                rows += [""] * (row + 1 - len(rows))
            elif part == "\x1b[2K":
                rows[row] = ""
            elif up := re.fullmatch(r"\x1b\[(\d*)A", part):
                row = max(0, row - int(up[1] or 1))
            elif part != "\r" and not ESCAPES.fullmatch(part):
                rows[row] += part
        return "\n".join(rows)


def run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], *, columns: int = 100, rows: int = 30,
    typed: str = "",
) -> Seen:  # fmt: skip
    """To its end. The terminal is stdin and stderr; the size is the terminal's, not a variable's.

    `typed`: keys that were pressed before anything asked for them.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    out = folder / "stdout"
    clean = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    clean |= {"TERM": "xterm-256color"} | {
        name: environment[name] for name in ("TERM", "NO_COLOR") if environment.get(name)
    }
    with out.open("wb") as stdout:
        process = subprocess.Popen(command, cwd=folder, env=clean, stdin=theirs, stdout=stdout, stderr=theirs)
    os.write(ours, typed.encode())
    os.close(theirs)
    chunks: list[bytes] = []
    while True:
        select.select([ours], [], [])
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # Linux says EIO when the last one closes the other side
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(ours)
    return Seen(process.wait(timeout=60), b"".join(chunks).decode(), out.read_bytes())
