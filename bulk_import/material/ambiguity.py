"""Whether bytes may be text that represents other bytes, where the manifest specifies no encoding.

An HMAC or asymmetric key can never get other material later, so text that was taken for the key itself, or decoded in
the wrong way, is permanent. Random material has such a form with a probability below 1 in 100 million.
"""

from __future__ import annotations

import re
from itertools import filterfalse, pairwise
from typing import Final

from bulk_import.errors import MaterialError
from bulk_import.material.cause import kind_of_text
from bulk_import.model import Encoding, KeySpec

_PLAIN: Final = rb"[\t-\r\x20-\x7e]"
_UTF8: Final = rb"(?:" + _PLAIN + rb"|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3})"
_TEXT: Final = re.compile(rb"\x00*(?:\xef\xbb\xbf)?" + _UTF8 + rb"+\x00*")  # padded with zeros, too
_WIDE: Final = re.compile(rb"(?:\xff\xfe|\xfe\xff)?\x00*(?:" + _PLAIN + rb"\x00{1,3})+" + _PLAIN + rb"?\x00*")
# Words of other languages, in the code pages that have them. Random bytes of 28 fit each with a probability below 1 in
# 100 million: a form allows at most half of all bytes, and fewer letters of ASCII where it allows more others.
_WORDS: Final = tuple(
    re.compile(form)
    for form in (
        rb"[A-Za-z0-9 !._\xc0-\xff-]+",  # ISO 8859, Windows-125x, KOI8
        rb"[0-9 !,.?_\x80-\xaf\xdf-\xfe-]+",  # Cyrillic of DOS and Macintosh
        rb"[0-9 !._\xa1-\xfe-]+",  # EUC-JP, EUC-KR, GB 2312, half-width kana
        rb"(?:[\x81-\x9f\xe0-\xea][\x40-\x7e\x80-\xfc]|[0-9 !-])+",  # Shift_JIS
        rb"(?:[\xa1-\xf9][\x40-\x7e\xa1-\xfe]|[0-9 !-])+",  # Big5
        rb"[\x40\x4b\x5a\x60\x6d\x81-\x89\x91-\x99\xa2-\xa9\xc1-\xc9\xd1-\xd9\xe2-\xe9\xf0-\xf9]+",  # EBCDIC
    )
)
# Sentences, a third of whose letters may be beyond ASCII: in Windows-125x some of these are below 0xC0.
_SENTENCE: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 !',-.?")
_ACCENTED: Final = frozenset(
    (*b"\x8a\x8c\x8d\x8e\x8f\x9a\x9c\x9d\x9e\x9f\xa3\xa5\xaa\xaf\xb3\xb9\xba\xbe\xbf", *range(0xC0, 0x100))
)
_SCRIPTS: Final = 4  # upper bytes of UTF-16 that one text has: its script, ASCII, punctuation, the byte order mark
_LEAST_UNITS: Final = 12
_SPACES: Final = frozenset((*range(0x09, 0x0E), 0xA0, 0x3000, 0xFEFF))
_PADDED: Final = re.compile(rb"(?s)(.+?)(.)\2{2,}")  # to a block size, with one byte or as PKCS#7 does
_IS_PLAIN: Final = frozenset((*range(0x09, 0x0E), *range(0x20, 0x7F)))
# Hex, base32, digits, words of one case: of base64's 64 characters, random material uses far more of them.
_LETTERS: Final = re.compile(rb"[A-Za-z]+")
_SMALL_A: Final = ord("a")
_NARROW: Final = re.compile(rb"(?:[0-9A-Fa-f]+|[0-9a-z]+|[0-9A-Z]+)=*")


def reads_as_text(data: bytearray | memoryview) -> bool:
    """Whether `data` is text in Unicode or a code page, apart from a few bytes. Makes no copy of it."""
    if _is_test_vector(data):
        return False
    if _WIDE.fullmatch(data) or _reads_as_utf16(data) or _reads_as_words_of_any(data):
        return True
    padded = _PADDED.fullmatch(data)
    if padded is None:
        return False
    with memoryview(data)[: padded.end(1)] as unpadded:
        return _reads_as_words_of_any(unpadded)


def _is_test_vector(data: bytearray | memoryview) -> bool:
    """00 01 02 …, or one byte repeated, and not of ASCII alone: no words of any code page look like this."""
    if len(data) < 2 or _IS_PLAIN.issuperset(data):
        return False
    step = (data[1] - data[0]) % 256
    return all((after - before) % 256 == step for before, after in pairwise(data))


def _reads_as_words_of_any(data: bytearray | memoryview) -> bool:
    """Without padding, and in one byte or more for each character."""
    if any(form.fullmatch(data) for form in (_TEXT, *_WORDS)):
        return True
    accented = sum(map(_ACCENTED.__contains__, data))
    if accented * 3 <= len(data) and all(byte in _SENTENCE or byte in _ACCENTED for byte in data):
        return True
    others = list(filterfalse(_IS_PLAIN.__contains__, data))
    # A code page has its letters above 0xA0; a few other bytes may be damage.
    return len(others) * 16 <= len(data) or (len(others) * 7 <= len(data) and min(others) >= 0xA0)


def _reads_as_utf16(data: bytearray | memoryview) -> bool:
    """Text of any one script: of two bytes, the upper one is one of a few, and the lower one is not."""
    if len(data) < 2 * _LEAST_UNITS:
        return False
    for upper in (0, 1):
        with memoryview(data)[upper::2] as uppers, memoryview(data)[1 - upper :: 2] as lowers:
            if len(set(uppers)) <= _SCRIPTS < len(set(lowers)) and all(
                _may_be_in_text(high << 8 | low) for high, low in zip(uppers, lowers, strict=False)
            ):
                return True
    return False


def _may_be_in_text(unit: int) -> bool:
    """A unit of UTF-16. Halves of what takes two units cannot be judged one by one."""
    return unit in _SPACES or 0xD800 <= unit < 0xE000 or chr(unit).isprintable()


def check_source(data: bytearray, taken: Encoding) -> None:
    """`data`: what the source holds; `taken`: the source's default encoding.

    Raises MaterialError (AmbiguousEncoding) where another encoding may be meant. PEM is never ambiguous.
    """
    if taken is Encoding.RAW and reads_as_text(data):
        _refuse(f"the material is text{kind_of_text(data)}. It may represent the key, or be the key itself")
    if taken is Encoding.BASE64 and (_NARROW.fullmatch(data.strip()) or _reads_as_words(data)):
        _refuse(f"the material can be read as base64, but also as other text{kind_of_text(data)}")


def _reads_as_words(data: bytearray) -> bool:
    """LettersOnlyLikeThis: random base64 has other characters, and its case changes at every second letter."""
    changes = sum((one >= _SMALL_A) != (other >= _SMALL_A) for one, other in pairwise(data))
    return _LETTERS.fullmatch(data.strip()) is not None and changes * 3 <= len(data)


def check_material(material: bytearray, taken: Encoding, key_spec: KeySpec | None) -> None:
    """`material`: what the default encoding `taken` made of the source, for AES and HMAC keys (None: not known).

    Raises MaterialError (AmbiguousEncoding) where it is text once more: base64 of hex, of base64, of a password.
    """
    if taken is Encoding.PEM or (key_spec is not None and key_spec.asymmetric):
        return
    if reads_as_text(material):
        _refuse(
            f"the material decodes to text{kind_of_text(material)}. That may represent the key, or be the key itself"
        )


def _refuse(message: str) -> None:
    raise MaterialError(f"no encoding is specified, and {message}", code="AmbiguousEncoding")
