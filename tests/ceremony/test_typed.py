"""A fingerprint that a person types at a terminal, instead of giving it as an option."""

from __future__ import annotations

import hashlib

import pytest

from tests.ceremony.conftest import Ceremony, spoken
from tests.terminal import pseudo

SEAL = ("seal", "bundle.jsonl", "manifest.json", "sealed.jsonl")


def at_a_terminal(ceremony: Ceremony, typed: str) -> pseudo.Seen:
    vault = ceremony.vault
    return pseudo.run(vault.command(*SEAL), vault.folder, vault.environment(), columns=200, typed=typed)


def test_the_fingerprint_that_was_read_aloud_is_typed(ceremony: Ceremony) -> None:
    ceremony.keys("HMAC_256")
    fingerprint = spoken(ceremony.prepare())
    seen = at_a_terminal(ceremony, f"{fingerprint.upper()}\n")
    assert seen.code == 0, seen.text
    assert "Fingerprint of bundle.jsonl:" in seen.text
    assert "1 sealed" in seen.text


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("{other}\n", "nobody vouches for it"),
        ("{most}0000\n", "nobody vouches for it"),
        ("I agree\n", "is not a fingerprint"),
        ("\n", "is not a fingerprint"),
        ("\x04", "is not a fingerprint"),  # the end of the input
    ],
    ids=["of another file", "one group differs", "no digits", "nothing", "end"],
)
def test_a_wrong_fingerprint_is_refused(typed: str, says: str, ceremony: Ceremony) -> None:
    ceremony.keys("HMAC_256")
    fingerprint = spoken(ceremony.prepare())
    other = hashlib.sha256(b"another bundle").hexdigest()
    seen = at_a_terminal(ceremony, typed.format(other=other, most=fingerprint[:-4]))
    assert (seen.code, says in seen.text) == (3, True), seen.text
    # A person who copies the file's own fingerprint from here would compare the file with itself.
    shown = seen.text.replace(" ", "")
    assert fingerprint.replace(" ", "") not in shown
    assert not (ceremony.vault.folder / "sealed.jsonl").exists()


def test_without_a_terminal_nothing_is_asked_and_nothing_is_read(ceremony: Ceremony) -> None:
    """Also where a fingerprint is in the standard input: nobody saw what it is for."""
    ceremony.keys("HMAC_256")
    fingerprint = spoken(ceremony.prepare())
    result = ceremony.vault.call(*SEAL, stdin=f"{fingerprint}\n".encode())
    assert (result.code, "nobody vouches for it" in result.stderr) == (3, True), result.stderr
    assert "Fingerprint of" not in result.stderr
    assert not (ceremony.vault.folder / "sealed.jsonl").exists()


def test_submit_asks_for_each_file(ceremony: Ceremony) -> None:
    ceremony.keys("HMAC_256")
    prepared = ceremony.prepare()
    sealed = ceremony.seal(*ceremony.vouched(prepared))
    online = ceremony.online
    command = online.command("submit", "bundle.jsonl", "sealed.jsonl", "--read-interval", "20ms")
    swapped = f"{spoken(sealed)}\n{spoken(prepared)}\n"
    seen = pseudo.run(command, online.folder, online.environment(), columns=200, typed=swapped)
    assert seen.code == 3, seen.text
    assert ceremony.imports() == 0
    typed = f"{spoken(prepared)}\n{spoken(sealed)}\n"
    seen = pseudo.run(command, online.folder, online.environment(), columns=200, typed=typed)
    assert seen.code == 0, seen.text
    assert seen.text.index("Fingerprint of bundle.jsonl:") < seen.text.index("Fingerprint of sealed.jsonl:")
    assert ceremony.states() == {"Enabled"}
