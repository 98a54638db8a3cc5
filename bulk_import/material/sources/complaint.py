"""What a message may show of the text that a failed command wrote to stderr: nothing that could be key material.

shown.py finds a key that is written in one piece. A command that handles keys can also write one as bytes, in short
pieces, or as a dump with its characters after it. So as soon as anything is hidden here, only plain words are shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from bulk_import.random_text import SHORTEST, is_random
from bulk_import.shown import HIDDEN, shown

_LONGEST: Final = 300  # characters of stderr in a message
_SECRET: Final = 6  # characters that the command also printed to stdout
_COLOR: Final = re.compile(rb"\x1b\[[0-9;]*[A-Za-z]|[\a\b\t\r]")
_LONG: Final = re.compile(r"[A-Za-z0-9+/=_-]{24,}")  # what could be a key in hex or base64
_PIECES: Final = re.compile(r"(?<!\S)[0-9A-Za-z+/=_-]+(?: +[0-9A-Za-z+/=_-]+)+(?!\S)")
_BASE85: Final = re.compile(r"\S{16,}")
_PUNCTUATION: Final = re.compile(r"[!#$%&*;<>?@^`{|}~]")
_SHORTEST_WORD: Final = 4  # letters, among pieces that look random
_AROUND: Final = "()[]<>\"'.,:;!?"
_REPEATED: Final = re.compile(rf"{HIDDEN}(?: {HIDDEN})+")


def complaint(stderr: bytes, stdout: bytes) -> str:
    """One short line. `stdout`: what the command printed, which is hidden where stderr repeats it."""
    text = " ".join(" ".join(_lines(stderr)).split())
    for secret in {stdout.strip(), *stdout.split()}:
        if len(secret) >= _SECRET:
            text = text.replace(secret.decode("utf-8", "replace"), f" {HIDDEN} ")
    text = _LONG.sub(HIDDEN, shown(text))
    text = _BASE85.sub(_unless_random, _PIECES.sub(_unless_random, text))
    if HIDDEN in text:
        words = re.sub(rf"[\[(]?{HIDDEN}[)\]]?", " 0 ", text).split()
        text = _REPEATED.sub(HIDDEN, " ".join(word if _is_word(word) else HIDDEN for word in words))
    return text if len(text) <= _LONGEST else "…" + text[-_LONGEST:]


def _lines(stderr: bytes) -> Iterator[str]:
    for line in _COLOR.sub(b"", stderr).split(b"\n"):
        try:
            text = unicodedata.normalize("NFKC", line.decode())
        except UnicodeDecodeError:
            yield HIDDEN
            continue
        yield text if text.isprintable() else HIDDEN


def _unless_random(found: re.Match[str]) -> str:
    text = found[0]
    if " " not in text and len(_PUNCTUATION.findall(text)) < 2:  # one is usual in a path or a URL
        return text
    joined = re.sub("[^0-9A-Za-z+]", "", text)
    if len(joined) < SHORTEST or not is_random(joined):
        return text
    return " ".join(word if len(word) >= _SHORTEST_WORD and _is_word(word) else HIDDEN for word in text.split())


def _is_word(text: str) -> bool:
    word = text.strip(_AROUND)
    return word.isalpha() and word[1:].islower()
