"""Why text is not hex, base64 or PEM: the cause in words, and what to do. Nothing here shows a byte of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from bulk_import.material import recipes


class Cause(NamedTuple):
    """A clause that continues "this is not base64: …", and the advice."""

    what: str
    advice: str


_Data = bytes | bytearray | memoryview
_WIDE: Final = re.compile(rb"\x00?(?:[\t-\r\x20-\x7e]\x00){4}")
_LITERAL_NEWLINE: Final = re.compile(rb"\\+[rn]")
_NOT_OF_TEXT: Final = re.compile(rb"[^\t\n\r\x20-\x7e]")
_QUOTES: Final = (b'"', b"'", b"`")
_INVISIBLE: Final = {
    b"\xc2\xa0": "a no-break space (U+00A0)",
    b"\xe2\x80\xaf": "a narrow no-break space (U+202F)",
    b"\xe2\x80\x8b": "a zero-width space (U+200B)",
    b"\xe2\x80\x8c": "a zero-width character (U+200C)",
    b"\xe2\x80\x8d": "a zero-width character (U+200D)",
    b"\xe2\x80\x8e": "an invisible mark (U+200E)",
    b"\xe2\x80\x8f": "an invisible mark (U+200F)",
    b"\xe2\x81\xa0": "a zero-width character (U+2060)",
    b"\xc2\xad": "a soft hyphen (U+00AD)",
    b"\xe2\x80\xa8": "a line separator (U+2028)",
    b"\xe2\x80\xa9": "a paragraph separator (U+2029)",
    b"\xef\xbb\xbf": "a byte order mark (U+FEFF) inside the text",
}
_CURLY: Final = tuple(chr(code).encode() for code in (0xAB, 0xBB, *range(0x2018, 0x2020)))
_DASHES: Final = tuple(chr(code).encode() for code in (*range(0x2010, 0x2016), 0x2212))  # of word processors
_COPY: Final = "Copy it again completely."
_RETYPE: Final = "Copy the text again from its origin, as plain text."


def kind_of_text(data: _Data) -> str:
    """` (hex digits)` and the like, for a message; empty where no kind is known."""
    text = bytes(data).strip().strip(b"\0").removeprefix(b"\xef\xbb\xbf").strip()
    if _WIDE.match(text) or text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return " (UTF-16)"
    name = next((name for pattern, name in _KINDS if re.fullmatch(pattern, text)), "")
    return f" ({name})" if name else ""


_KINDS: Final = (
    (rb"[0-9]+", "digits"),
    (rb"[0-9A-Fa-f]+", "hex digits"),
    (rb"0[xX][0-9A-Fa-f]+", "hex digits with the prefix 0x"),
    (rb"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}", "in the form of a UUID"),
    (rb"(?:(?:0[xX]|\\x)?[0-9A-Fa-f]{1,8}[:\s,;._-]*)+", "hex digits with separators"),
    (rb"[A-Z2-7]+=*", "base32 or words in capitals"),
    (rb"(?s).*-----BEGIN [A-Z0-9 ]+-----.*", "PEM"),
    (rb"[A-Za-z0-9+/]+=*", "base64 characters"),
    (rb"[A-Za-z0-9_-]+=*", "base64url characters"),
    (rb"[A-Za-z0-9+/=_\-\s]+", "base64 characters with line breaks or blanks"),
    (rb"(?s)([\"'`]).*\1", "in quotes"),
    (rb"(?s)\{.*\}", "JSON"),
    (rb"[\x20-\x7e]+", "printable characters"),
)


def cause(data: _Data, own: Sequence[Callable[[bytes], Cause | None]]) -> Cause | None:
    """The first reason found: what spoils text in any encoding, then the encoding's own reasons."""
    text = bytes(data)
    for look in (_of_any_text, *own):
        if found := look(text):
            return found
    return None


def _of_any_text(text: bytes) -> Cause | None:  # noqa: C901, PLR0912 - a table of causes, each its own test
    stripped = text.strip()
    if not stripped:
        return Cause("it holds nothing but blanks", "Check that the source was written.")
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return Cause("it is UTF-16 text", recipes.UTF16)
    if _WIDE.match(text):
        return Cause("it is UTF-16 text without a byte order mark", recipes.UTF16_NO_BOM)
    if _is_binary(text):
        return Cause("it is binary, not text", "Specify `encoding: raw`, or give the text.")
    if text.startswith(b"\xef\xbb\xbf"):
        return Cause("it begins with a byte order mark (BOM)", recipes.BOM)
    if b"***" in text or b"\xe2\x80\xa2" * 3 in text:
        return Cause(
            "it contains *** (a CI system masks secrets like this)", "Take the secret from its store, not from a log."
        )
    if re.match(rb"\$(?:\{|\(|[A-Za-z_])|\{\{|<[A-Za-z_ -]+>\Z", stripped):
        return Cause("it is a reference that nothing has replaced", "Give the value, not the name of its variable.")
    if stripped in (b"null", b"None", b"undefined", b"(null)", b"nil"):
        return Cause("it is the word for an empty value", "Check the step that sets the source.")
    if stripped[:1] in _QUOTES or stripped[-1:] in _QUOTES:
        return Cause("it is in quotes", recipes.QUOTES)
    if any(mark in text for mark in _CURLY):
        return Cause("it contains curly quotes", _RETYPE)
    if name := next((name for mark, name in _INVISIBLE.items() if mark in text), ""):
        return Cause(f"it contains {name}", _RETYPE)
    if b"\xa0" in text and not _is_utf8(text):
        return Cause("it contains a no-break space (0xA0) and is not UTF-8", _RETYPE)
    if any(mark in text for mark in _DASHES):
        return Cause("it contains a dash that is not the ASCII hyphen", _RETYPE)
    if not text.isascii():
        return Cause("it contains a character that is not ASCII", _RETYPE)
    if _LITERAL_NEWLINE.search(text):
        return Cause("it contains \\n as two characters, not as a line break", recipes.LITERAL_NEWLINE)
    if b"\0" in text:
        return Cause("it contains a NUL byte", "Check that the source is text.")
    if stripped.startswith(b"{") and stripped.endswith(b"}"):
        return Cause("it is JSON", "Give the value of the field that holds the key, alone.")
    if re.match(rb"(?:export\s+)?[A-Za-z_][A-Za-z0-9_]*=[^=]", stripped):
        return Cause("it begins with a name and =", "Give the value alone.")
    if stripped.startswith(b"vault:v"):
        return Cause("it is a ciphertext of Vault's Transit engine", "Decrypt it first.")
    return None


def _is_binary(text: bytes) -> bool:
    """Whether it is no text in any encoding that people use: text in a code page has a few bytes that are not ASCII."""
    return not _is_utf8(text) and 4 * len(_NOT_OF_TEXT.findall(text)) > len(text)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def blanks(text: bytes) -> Cause | None:
    """White space other than one line end after the text."""
    end = -2 if text.endswith(b"\r\n") else -1 if text.endswith(b"\n") else len(text)
    line = text[:end]
    if b"\r" in line or line.endswith(b"\r"):
        return Cause("it contains a carriage return (CR)", recipes.BLANKS)
    if b"\n" in line.strip():
        return Cause("it has line breaks", recipes.BLANKS)
    if b"\n" in line:
        return Cause("it has empty lines", recipes.BLANKS)
    if line[:1].isspace():
        return Cause("it begins with a blank", recipes.BLANKS)
    if line[-1:].isspace():
        return Cause("it ends with a blank", recipes.BLANKS)
    if re.search(rb"\s", line):
        return Cause("it contains a blank", recipes.BLANKS)
    return None


def of_pem(text: bytes) -> Cause | None:
    if b"-----BEGIN " in text:
        return Cause("it is PEM", "Specify `encoding: pem`.")
    return None


def of_base64(text: bytes) -> Cause | None:
    """Of text in one line."""
    text = text.strip()
    if re.fullmatch(rb"(?:[A-Za-z-]+:|data:[^,]*,|base64[:,]).*", text):
        return Cause("it begins with a prefix", "Give the base64 text alone.")
    if re.search(rb"%[0-9A-Fa-f]{2}", text):
        return Cause("it is percent-encoded", "Decode the percent signs first (%2B is +, %2F is /, %3D is =).")
    if re.fullmatch(rb"[A-Za-z0-9_-]+=*", text) and re.search(rb"[_-]", text):
        return Cause("it is base64url (- and _ instead of + and /)", recipes.BASE64URL)
    if re.search(rb"[^A-Za-z0-9+/=]", text):
        return Cause("it contains a character that base64 does not have", "Check `encoding`.")
    if b"=" in text.rstrip(b"="):
        return Cause("it has padding (=) inside: two texts may have been joined", "Give one text.")
    length, padding = len(text.rstrip(b"=")), len(text) - len(text.rstrip(b"="))
    if length % 4 == 1:
        return Cause("its length is impossible: a character is missing or too many", _COPY)
    if (length + padding) % 4 or padding > 2:
        if padding < -length % 4:
            return Cause("its padding (=) is missing", recipes.PADDING)
        return Cause("its padding (=) is too long", _COPY)
    return Cause("its last character has bits that no encoder writes: it may be cut or mistyped", _COPY)


def of_hex(text: bytes) -> Cause | None:
    """Of text in one line."""
    text = text.strip()
    if re.match(rb"0[xX]", text):
        return Cause("it begins with 0x", recipes.HEX_PREFIX)
    if re.fullmatch(rb"(?:[0-9A-Fa-f]+[:,;._-])+[0-9A-Fa-f]+[:,;.]?", text):
        return Cause("it has separators", recipes.HEX_SEPARATORS)
    if re.fullmatch(rb"(?:\\x[0-9A-Fa-f]{2})+|[xX]['\"].*|[0-9A-Fa-f]+[hH]", text):
        return Cause("it is written as a literal of a programming language", "Give the digits alone.")
    if re.fullmatch(rb"[0-9A-Fa-f]+", text):
        return Cause("it has an odd number of digits: one is missing or too many", _COPY)
    if re.fullmatch(rb"[0-9A-Fa-fOoIl]+", text):
        return Cause("it contains the letter O, I or l, perhaps instead of a digit", "Copy it again; do not type it.")
    if re.fullmatch(rb"[A-Za-z0-9+/_-]+=*", text):
        return Cause("it contains letters that are not hex digits; it may be base64", "Check `encoding`.")
    return Cause("it contains a character that is not a hex digit", "Check `encoding`.")
