"""What a token's process reports instead of an answer, and what people can do about what a token returns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import PyKCS11

_LOGIN: Final = {
    PyKCS11.CKR_PIN_INCORRECT: (
        "the PIN is wrong",
        "Correct the PIN first. The token counts wrong PINs and locks: each run tries once.",
    ),
    PyKCS11.CKR_PIN_LOCKED: ("its PIN is locked", "The HSM's administrator (the security officer) must reset the PIN."),
    PyKCS11.CKR_PIN_EXPIRED: ("its PIN has expired", "The HSM's administrator must set a new PIN."),
    PyKCS11.CKR_PIN_LEN_RANGE: ("the PIN has a wrong length", "Correct the PIN."),
    PyKCS11.CKR_USER_PIN_NOT_INITIALIZED: (
        "no user PIN was set", "The HSM's administrator must set the user PIN (C_InitPIN).",
    ),
}  # fmt: skip


class Refused(Exception):
    """What the other side reports. `code` is one of the program's, `advice` is for people."""

    def __init__(self, code: str, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.advice = advice


def of_login(error: PyKCS11.PyKCS11Error) -> Refused:
    """Why the token refuses the login."""
    known = _LOGIN.get(error.value)
    if known is None:
        advice = "Check the PIN. The token counts wrong PINs and locks: each run tries once."
        return Refused("SourceDenied", f"the token refuses the login: {error}", advice)
    return Refused("SourceDenied", f"the token refuses the login: {known[0]} ({error})", known[1])


@contextmanager
def allowed(what: str, attribute: str) -> Iterator[None]:
    """For an operation that the key's attribute must permit. Raises Refused."""
    try:
        yield
    except PyKCS11.PyKCS11Error as error:
        advice = f"The HSM's administrator must set {attribute}=true for the key, and enable the mechanism."
        raise Refused("MaterialNotExportable", f"the token cannot {what}: {error}", advice) from error
