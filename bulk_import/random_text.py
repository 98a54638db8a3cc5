"""Whether a run of letters and digits looks drawn at random, as base64, base32 and long hex of a key do, or is a name.

A likelihood ratio test: each pair of neighbouring characters has a weight, the logarithm of how much more often random
base64 has such a pair than names have it. Names keep to one kind of character (small letters, capitals, digits) and to
the pairs of letters that words have; random text does neither. A run is random if the weights of some part of it add up
to LIMIT. The weights come from about 490,000 names: paths of a Debian system, shapes and operations of AWS's services,
identifiers of Python, and packages of registries. tests/test_shown.py measures what is missed.
"""

from __future__ import annotations

from functools import cache
from typing import Final

SHORTEST: Final = 20  # characters; 16 bytes of base64 without padding have 22
LIMIT: Final = 16.0  # random base64 has 1.6 for each pair on average
# Short parts of names are often random: abbreviated commits, IDs of containers. No key is that short.
_SHORTEST_PART: Final = 15

_SMALL, _CAPITAL, _DIGIT, _PLUS, _SEPARATOR = "a", "A", "1", "+", "-"
# By the kinds of the two characters. Two letters of one word depend on the letters: common, uncommon or rare pair.
_LETTERS: Final = {"aa": (-1.9, 0.1, 2.6), "Aa": (-1.7, 0.6, 3.5), "AA": (-0.8, 0.4, 1.8)}
_OTHERS: Final = {
    "aA": 2.4, "a1": 3.2, "A1": 2.5, "1a": 1.9, "1A": 3.2, "11": -1.1,
    "a-": -1.3, "A-": -0.8, "1-": -2.7, "-a": -0.8, "-A": 1.0, "-1": 1.0, "--": -0.9,
    "a+": 2.0, "A+": 2.0, "1+": 2.0, "+a": 1.0, "+A": 1.0, "+1": 1.0, "++": 0.0, "+-": 0.0, "-+": 0.0,
}  # fmt: skip
# Which letters follow a letter: 90 % of all pairs in names are common, another 8 % are uncommon.
_FOLLOWERS: Final = {
    "a": ("bcdgilmnprstu", "fkvwxy"), "b": ("aelou", "irsy"), "c": ("acehiklortu", "psy"),
    "d": ("adeikos", "bgjlpruw"), "e": ("acdfglmnpqrstvx", "beiouwy"), "f": ("aio", "eflrtuy"),
    "g": ("ceilorsu", "aghmn"), "h": ("aeio", "mrtuy"), "i": ("abcdefglmnoprstv", "xz"), "j": ("", "aeos"),
    "k": ("ae", "isu"), "l": ("aeilostu", "cdpvy"), "m": ("aeimop", "bclsu"), "n": ("acdefgiostu", "klmnpv"),
    "o": ("cdglmnoprstuw", "abfikvy"), "p": ("aehiloprtuy", "cds"), "q": ("u", "l"),
    "r": ("acdefikmostuvy", "glnpr"), "s": ("acdehioprstuy", "fklmnq"), "t": ("aehiorstuy", "cfglmpw"),
    "u": ("delmnprst", "abcgix"), "v": ("aei", "mo"), "w": ("aos", "eir"), "x": ("", "acept"),
    "y": ("cp", "mnst"), "z": ("", "aeo"),
}  # fmt: skip


def is_random(run: str, *, limit: float = LIMIT, shortest: int = _SHORTEST_PART) -> bool:
    """Whether some part of `run` (letters, digits, `+ / - _`; ASCII) is more likely random than a name.

    `shortest`: how many pairs of characters the part has at least.
    """
    evidence, length = 0.0, 0
    for weight in map(_weight, run, run[1:]):
        evidence += weight
        length += 1
        if evidence <= 0:
            evidence, length = 0.0, 0
        elif evidence >= limit and length >= shortest:
            return True
    return False


@cache
def _weight(one: str, other: str) -> float:
    kinds = _kind(one) + _kind(other)
    if kinds in _OTHERS:
        return _OTHERS[kinds]
    common, uncommon = _FOLLOWERS[one.lower()]
    follower = other.lower()
    return _LETTERS[kinds][0 if follower in common else 1 if follower in uncommon else 2]


def _kind(character: str) -> str:
    if character.isalpha():
        return _SMALL if character.islower() else _CAPITAL
    return _DIGIT if character.isdigit() else _PLUS if character == "+" else _SEPARATOR
