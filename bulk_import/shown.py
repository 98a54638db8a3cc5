"""Values of a manifest, a variable or a setting as text for people: never what may be key material or a password.

People paste keys into the oddest places: behind `file:` and `env:`, into key_id, a label, an option. Code that quotes
such a value sends it through `shown`. The file, line, field and id next to it say where it is.
"""

from __future__ import annotations

import re
from typing import Final

from bulk_import.random_text import LIMIT, SHORTEST, is_random
from bulk_import.text import harmless, harmless_lines

HIDDEN: Final = "<not shown>"

# What may stay although it is long: key IDs, the digest of an image or of a public key, a commit, an ID of a resource
# or an endpoint of a VPC, a role of IAM Identity Center.
_KNOWN: Final = re.compile(
    r"(?<![0-9A-Za-z+/=_-])"
    r"(?:(?:[a-z]{1,12}[-_])?[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}|mrk-[0-9A-Fa-f]{32}|[0-9a-f]{40})"
    r"(?![0-9A-Za-z+/=_-])|(?<=[:/])(?:[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}|mrk-[0-9A-Fa-f]{32})"
    r"(?![0-9A-Za-z+/=_-])|\bsha256:[0-9a-f]{64}(?![0-9A-Za-z+/=_-])"
    r"|\bAWSReservedSSO_[0-9A-Za-z+=,.@-]{1,32}_[0-9a-f]{16}(?![0-9A-Za-z+=_-])"
    r"|(?<![0-9A-Za-z+=_-])[a-z]{1,12}-[0-9a-f]{17}(?:-[0-9a-z]{8})?(?![0-9A-Za-z+/=_-])"
)
_HEX: Final = re.compile(
    r"[0-9A-Fa-f]{32,}"
    r"|(?:-?[0-9]{1,3}(?:[ \t]*[,;|][ \t]*|[ \t]+)){15,}-?[0-9]{1,3}"  # bytes as decimal numbers
    r"|(?:[0-9A-Fa-f]{2}[ :,;._/-]+){15,}[0-9A-Fa-f]{2}"  # in pairs, words, double words or quad words
    r"|(?:[0-9A-Fa-f]{4}[ :,;._/-]+){7,}[0-9A-Fa-f]{4}"
    r"|(?:[0-9A-Fa-f]{8}[ :,;._/-]+){3,}[0-9A-Fa-f]{8}"
    r"|(?:[0-9A-Fa-f]{16}[ :,;._/-]+)+[0-9A-Fa-f]{16}"
    r"|(?:(?:0[xX]|\\{1,4}x)[0-9A-Fa-f]{1,2}[ :,;]*){16,}"
    r"|(?:[0-9A-Fa-f]{4,12}-){5,}[0-9A-Fa-f]{4,12}"  # UUIDs joined together
    r"|[0-9A-Za-z._~+-]{0,8}%[0-9A-Fa-f]{2}"  # percent-encoded; `/` stays as it is in a URL
    r"(?:[0-9A-Za-z._~+/-]{0,8}%[0-9A-Fa-f]{2}){7,}[0-9A-Za-z._~+/-]{0,16}"
    r"|(?:\\{1,4}[0-7]{3}){8,}"  # and as octal ones
)
# Bytes as text of Python, C or JSON, where those that are letters stand as they are.
_ESCAPED: Final = re.compile(
    r"[^\s\\]{0,10}(?:(?:\\{1,4}x[0-9A-Fa-f]{2}|\\{1,4}u00[0-9A-Fa-f]{2}|\\{1,4}u\{[0-9A-Fa-f]{1,2}\})"
    r"(?:[^\n\\]|\\[abefnrtv0\\/'\"]){0,10}){6,}"
)
# Base64 and base32. Percent-encoding and JSON have other ways to write + and / and =.
_PLUS: Final = r"%2[Bb]|\\{1,4}u002[Bb]"
_SLASH: Final = r"%2[Ff]|\\{1,4}u002[Ff]|\\{1,4}/"
_DIGIT64: Final = rf"(?:[0-9A-Za-z+/_-]|{_PLUS}|{_SLASH})"
_PADDING: Final = r"(?:=|%3[Dd]|\\{1,4}u003[Dd])"
_PADDED: Final = re.compile(rf"{_DIGIT64}{{22,}}{_PADDING}{{2}}(?![0-9A-Za-z])")
_BASE32: Final = re.compile(r"(?<![0-9A-Za-z])(?=(?:[A-Z]*[2-7]){3})[A-Z2-7]{26,}=*")
_PLAIN_RUN: Final = re.compile(rf"[0-9A-Za-z+/_-]{{{SHORTEST},}}=*")
_RUN: Final = re.compile(rf"{_DIGIT64}{{{SHORTEST},}}{_PADDING}*")
# Text in lines of one length, as base64, xxd and PEM write it, also where YAML or an escape has made one line of it.
_LINE_BREAK: Final = r"(?:[ \t]*(?:\\{1,4}[rn]|[\r\n])+[ \t]*|[ \t]+(?=[^\s]*[0-9A-Z+/=]))"
_LINES: Final = re.compile(
    rf"(?<![0-9A-Za-z+/_-])([0-9A-Za-z+/_-]{{40,}}+)(?:{_LINE_BREAK}[0-9A-Za-z+/_-]{{40,80}})*"
    rf"{_LINE_BREAK}[0-9A-Za-z+/_-]{{1,80}}+={{0,2}}+(?![ \t]+[A-Za-z])"
)
# The shortest key material that KMS imports is that of an HMAC_224 key: 28 bytes, so 56 hex digits or 38 characters of
# base64. The 16 bytes of China's SM4 look like an MD5 or a UUID.
# https://docs.aws.amazon.com/kms/latest/developerguide/importing-keys-conceptual.html
_SHORTEST_KEY_HEX: Final = 56
_SHORTEST_KEY_BASE64: Final = 38
_DIGEST: Final = re.compile(r"[0-9a-f]{12,}|[0-9A-F]{12,}")
_PAIRS_OF_A_KEY: Final = 26  # of 37: at its ends, random text may look like a name
# A user and a password before the @ of a URL, or of what was meant to be one.
_WITH_SCHEME: Final = re.compile(r"((?::/|//)/?)[^\n]*@")
_WITHOUT_SCHEME: Final = re.compile(r"(?<![^\s'\"(=])(?!arn:)[^\s'\"/@:]+:[^\s'\"@]*@")


def shown(text: str) -> str:
    """`text`, harmless, with everything replaced that looks like key material, or like the user of a URL."""
    return _without_secrets(harmless(text))


def shown_lines(text: str) -> str:
    """The same for text of several lines, whose line feeds stay."""
    return _without_secrets(harmless_lines(text))


def holds_key(text: str) -> bool:
    """Whether a part of `text` looks like key material and is as long as KMS's shortest. Stricter than `shown`.

    A name with an MD5 or a UUID in it, or with what an engine has drawn at random, holds no key.
    """
    if len(text) < _SHORTEST_KEY_BASE64:
        return False
    rest = _KNOWN.sub(" ", text)
    if any(len(re.sub("[^0-9A-Fa-f]", "", found[0])) >= _SHORTEST_KEY_HEX for found in _HEX.finditer(rest)):
        return True
    rest = _DIGEST.sub(" ", rest)  # shorter than a key
    return any(is_random(run[0], limit=1.5 * LIMIT, shortest=_PAIRS_OF_A_KEY) for run in _RUN.finditer(rest))


def _without_secrets(text: str) -> str:
    if "@" in text:
        text = _WITHOUT_SCHEME.sub(f"{HIDDEN}@", _WITH_SCHEME.sub(rf"\1{HIDDEN}@", text))
    if len(text) < SHORTEST:
        return text
    parts, at = [], 0
    for known in _KNOWN.finditer(text):
        parts += [_masked(text[at : known.start()]), known[0]]
        at = known.end()
    return "".join([*parts, _masked(text[at:])])


def _masked(text: str) -> str:
    text = _HEX.sub(HIDDEN, _LINES.sub(_masked_lines, text))
    escapes = "\\" in text or "%" in text
    if escapes or "==" in text:
        text = _PADDED.sub(HIDDEN, text)
    text = _BASE32.sub(HIDDEN, text)
    if not escapes:
        return _PLAIN_RUN.sub(_masked_run, text)  # nearly all texts, and a quarter of the time
    return _ESCAPED.sub(HIDDEN, _RUN.sub(_masked_run, text))


def _masked_lines(lines: re.Match[str]) -> str:
    return HIDDEN if _HEX.search(lines[1]) or is_random(lines[1]) else lines[0]


def _masked_run(run: re.Match[str]) -> str:
    text = run[0]
    if not text.isalnum():
        text = re.sub(_PLUS, "+", re.sub(_SLASH, "/", re.sub(f"{_PADDING}+$", "", text)))
    return HIDDEN if is_random(text) else run[0]
