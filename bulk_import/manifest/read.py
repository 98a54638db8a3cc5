"""Where a manifest's bytes come from, and which format they are in."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from bulk_import.manifest.misleading import check_line, check_text
from bulk_import.manifest.problems import fail, joined, nearest

MAX_BYTES = 1 << 30  # of a manifest
MAX_LINE = 1 << 20  # bytes of a line; a JSON document may be one long line


class Format(StrEnum):
    YAML = "yaml"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


_EXTENSIONS = {
    ".yaml": Format.YAML,
    ".yml": Format.YAML,
    ".json": Format.JSON,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".csv": Format.CSV,
}
_FORMATS = {**{f.value: f for f in Format}, "yml": Format.YAML, "ndjson": Format.JSONL}
_PIECE = 1 << 20  # bytes
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(slots=True)
class Source:
    """An opened manifest. Its hash is complete when all of it has been read."""

    file: str  # as problems name it
    format: Format
    folder: str | None
    stream: BinaryIO
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256)
    _size: int = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def text(self) -> str:
        """All of it. Raises ManifestError where it is empty, too large or not UTF-8 text."""
        pieces = []  # read(MAX_BYTES) would ask for a gigabyte of memory at once
        while piece := self.stream.read(_PIECE):
            self._count(piece, 0)
            pieces.append(piece)
        data = b"".join(pieces)
        data = self._checked(data.removeprefix(_BOM), 1, first=True)
        if not data.strip():
            raise fail(self.file, 0, "is empty", "A manifest needs at least `version` and one key.")
        json = self.format is Format.JSON or data.lstrip()[:1] in (b"{", b"[")
        if not json and (line := _long_line(data)):
            raise self._too_long(line)
        text = self._decoded(data, 1)
        check_text(text, self.file, is_yaml=not (self.format is Format.JSON or json))
        return text

    def lines(self) -> Iterator[bytes]:
        """Line by line, each with its end, BOM dropped; holds one line in memory. Raises as `text` does."""
        line = 0
        blank = True
        while raw := self.stream.readline(MAX_LINE + 1):
            line += 1
            self._count(raw, line)
            if len(raw) > MAX_LINE:
                raise self._too_long(line)
            if line == 1:
                raw = self._checked(raw.removeprefix(_BOM), 1, first=True)
            elif b"\0" in raw:
                self._checked(raw, line)
            blank = blank and not raw.strip()
            check_line(raw, self.file, line, quoted=self.format is Format.CSV)
            yield raw
        if blank:
            raise fail(self.file, 0, "is empty", "A manifest needs at least one key.")

    def decoded_lines(self) -> Iterator[str]:
        for line, raw in enumerate(self.lines(), 1):
            yield self._decoded(raw, line)

    def close(self) -> None:
        if self.file != "stdin":  # stdin is its owner's
            self.stream.close()

    def _count(self, data: bytes, line: int) -> None:
        self._hash.update(data)
        self._size += len(data)
        if self._size > MAX_BYTES:
            raise fail(self.file, line, f"is larger than {MAX_BYTES >> 20} MiB", "Split it into several manifests.")

    def _checked(self, data: bytes, line: int, *, first: bool = False) -> bytes:
        if first and data.startswith(_UTF16):
            raise fail(self.file, 1, "is UTF-16, not UTF-8", "Save it as UTF-8.")
        at = data.find(b"\0")
        if at >= 0:
            line += data.count(b"\n", 0, at)
            raise fail(self.file, line, "holds a NUL byte", "Save it as UTF-8 text (not UTF-16, not binary).")
        return data

    def _decoded(self, data: bytes, line: int) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            line += data.count(b"\n", 0, error.start)
            raise fail(self.file, line, "is not UTF-8", "Save it as UTF-8.") from None

    def _too_long(self, line: int) -> Exception:
        message = f"a line of more than {MAX_LINE:,} bytes"
        return fail(self.file, line, message, "A manifest holds no key material; name it by URI.")


def open_source(
    uri: str,
    *,
    manifest_format: str | None,
    material_root: str | None,
    stdin: BinaryIO | None,
    data: bytes | None,
) -> Source:
    """Opens a path, `-` or bytes already fetched. Raises ManifestError where there is nothing to read."""
    file = "stdin" if uri == "-" else uri
    remote = re.match(r"([a-z][a-z0-9+.-]+)://", uri)
    chosen = _format(uri, file, manifest_format)
    folder = _folder(uri, material_root, local=uri != "-" and not remote)
    if data is not None:
        return Source(file, chosen, folder, BytesIO(data))
    if remote:
        advice = "Fetch the manifest first, and give its path, or `-` for stdin."
        raise fail(file, 0, f"{remote[1]}:// cannot be read", advice)
    if uri == "-":
        return Source(file, chosen, folder, stdin or sys.stdin.buffer)
    try:
        return Source(file, chosen, folder, Path(uri).open("rb"))
    except FileNotFoundError:
        raise fail(file, 0, "does not exist", "Check the path.") from None
    except IsADirectoryError:
        raise fail(file, 0, "is a folder, not a manifest", "Name one file.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise fail(file, 0, f"cannot be read: {reason}", "Check the path and its permissions.") from None


def _format(uri: str, file: str, stated: str | None) -> Format:
    if stated is not None:
        if (known := _FORMATS.get(stated.lower())) is None:
            advice = nearest(stated, _FORMATS) or f"Use one of {joined(Format)}."
            raise fail("--manifest-format", 0, f"unknown format {stated!r}", advice)
        return known
    if uri == "-":
        return Format.YAML
    extension = os.path.splitext(uri)[1].lower()  # noqa: PTH122 - also of an s3:// URI
    if (known := _EXTENSIONS.get(extension)) is None:
        message = f"the extension {extension!r} does not show its format"
        raise fail(file, 0, message, f"Name it {joined(_EXTENSIONS)}, or give --manifest-format.")
    return known


def _folder(uri: str, material_root: str | None, *, local: bool) -> str | None:
    if material_root is not None:
        if not Path(material_root).is_dir():
            raise fail("--material-root", 0, f"{material_root} is not a folder", "Name an existing folder.")
        return str(Path(material_root).absolute())
    return str(Path(uri).absolute().parent) if local else None


def _long_line(data: bytes) -> int:
    """The number of the first line longer than MAX_LINE, else 0; in steps of MAX_LINE, not of a line."""
    at = 0
    while len(data) - at > MAX_LINE:
        end = data.rfind(b"\n", at, at + MAX_LINE + 1)
        if end < 0:
            return data.count(b"\n", 0, at) + 1
        at = end + 1
    return 0
