"""AssumeRoleWithWebIdentity and AssumeRoleWithSAML: no one signs them, the token or assertion says who calls.

The token's signature is not verified: the sandbox knows no provider's keys. Everything else that it says is.
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithSAML.html
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from bulk_import.sandbox.access.conditions import as_list
from bulk_import.sandbox.answers import AwsError

UNSIGNED = frozenset({"AssumeRoleWithWebIdentity", "AssumeRoleWithSAML"})


@dataclass(frozen=True, slots=True)
class WebIdentity:
    """What a token says. `provider`: the issuer without its scheme."""

    provider: str
    subject: str
    audience: str
    claims: dict[str, Any]

    def context(self) -> dict[str, Any]:
        """The condition keys of a trust policy: the provider's name before each claim."""
        found = {
            f"{self.provider}:{name}": value for name, value in self.claims.items() if isinstance(value, str | bool)
        }
        return found | {f"{self.provider}:aud": self.audience}


def read_token(text: str, now: float) -> WebIdentity:
    """Raises AwsError: InvalidIdentityToken, ExpiredTokenException."""
    try:
        _, payload, _ = text.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        issuer, subject, expires = claims["iss"], claims["sub"], float(claims["exp"])
        audience = as_list(claims["aud"])[0]
    except (ValueError, KeyError, TypeError, IndexError):
        raise AwsError("InvalidIdentityToken", "The ID Token provided is not a valid JWT.") from None
    if expires <= now:
        raise AwsError(
            "ExpiredTokenException",
            f"Token expired: current date/time {int(now)} must be before the expiration date/time {int(expires)}",
        )
    provider = str(issuer).removeprefix("https://").rstrip("/")
    return WebIdentity(provider, str(subject), str(audience), claims)


def check_assertion(text: str) -> None:
    """Raises AwsError where `text` is no SAML response in base64. What it says is not read."""
    try:
        document = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        document = b""
    if b"Assertion" not in document:
        raise AwsError("InvalidIdentityToken", "Invalid SAMLResponse")
