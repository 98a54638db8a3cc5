"""The environment of child processes: no secret in it but what they need."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

_AWS: Final = re.compile(
    r"AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|SECURITY_TOKEN|WEB_IDENTITY_TOKEN_FILE|CONTAINER_.*|PROFILE"
    r"|DEFAULT_PROFILE|CONFIG_FILE|SHARED_CREDENTIALS_FILE|BEARER_TOKEN.*)"
)
_KEYS: Final = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"})
_SECRET: Final = re.compile(
    r"SECRET|TOKEN|PASSW|PASSPHRASE|CREDENTIAL|PRIVATE|API_?KEY|(^|_)PIN($|_)|(^|_)AUTH($|_)", re.IGNORECASE
)
_USUAL: Final = ("PATH", "HOME", "LANG")
_MATERIAL: Final[set[str]] = set()  # variables that hold key material, in any manifest of this process


def keep_back(variables: Iterable[str]) -> None:
    """These variables hold key material: no child process gets them from now on."""
    _MATERIAL.update(variables)


def is_aws_credential(name: str) -> bool:
    return _AWS.fullmatch(name.upper()) is not None


def of_command(extra: Mapping[str, str] | Collection[str]) -> dict[str, str]:
    """PATH, HOME, LANG, and `extra`: names, whose values are this process's, or names with values."""
    values = dict(extra) if isinstance(extra, Mapping) else _present(extra)
    return _present(_USUAL) | values


def of_token(variables: Collection[str]) -> dict[str, str]:
    """What an HSM's library may need: everything except secrets, by name, and what `env:` sources hold.

    Vendors' libraries find their configuration by variables of their own, so no list could name what they need.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _MATERIAL and name not in variables and not is_aws_credential(name) and not _SECRET.search(name)
    }


def of_helper() -> dict[str, str]:
    """What a credential process of the AWS configuration gets: everything but key material and AWS credentials.

    Such helpers read tokens and passwords of systems of their own, so those stay.
    """
    return {name: value for name, value in os.environ.items() if name not in _MATERIAL and name not in _KEYS}


def _present(names: Collection[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}
