"""TLS of every connection: the certificate, its CA and its name are always verified. No variable turns this off.

A host that answers for KMS gives the wrapping key and can read the material. The CA file is found as the AWS CLI finds
it: AWS_CA_BUNDLE, the profile's `ca_bundle`, REQUESTS_CA_BUNDLE, else the one that botocore brings.
https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-envvars.html
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.httpsession import get_cert_path

from bulk_import.errors import Problem, SettingsError

_ADVICE = "Name a PEM file with the CA's certificates, or unset it to use the usual CAs."


@dataclass(frozen=True, slots=True)
class Trust:
    """`ca`: the file whose certificates are trusted, and who names it, for messages."""

    context: ssl.SSLContext
    ca: str


def trust_of(profile: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Trust:
    """Raises SettingsError where a CA file is named but empty, missing or unusable.

    botocore takes an empty name as "do not verify". Here it is an error, also where another name would win.
    """
    named = [
        ("AWS_CA_BUNDLE", environment.get("AWS_CA_BUNDLE")),
        ("ca_bundle of the profile", profile.get("ca_bundle")),
        ("REQUESTS_CA_BUNDLE", environment.get("REQUESTS_CA_BUNDLE")),
    ]
    blank = [
        Problem("environment", 0, name, "is set but empty, which would turn TLS verification off.", _ADVICE)
        for name, file in named
        if file is not None and not str(file).strip()
    ]
    if blank:
        raise SettingsError(blank)
    name, file = next(((name, str(file)) for name, file in named if file is not None), ("", ""))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(cafile=file or get_cert_path(True))  # noqa: FBT003 - botocore's "verify"
    except (OSError, ValueError) as error:
        reason = "it holds no usable certificate" if isinstance(error, ssl.SSLError | ValueError) else error.strerror
        raise SettingsError(
            [Problem("environment", 0, name, f"the CA file {file} cannot be used: {reason}.", _ADVICE)]
        ) from None
    return Trust(verifying(context), f"{file} ({name})" if file else "the CAs that botocore brings")


def verifying(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context. Raises RuntimeError where it would accept any certificate or any name."""
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise RuntimeError("TLS without verification")
    return context
