"""Where Vault or OpenBao is, and who asks it: what can be checked without calling it, and without its library."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bulk_import.settings import Settings

SETTINGS: Final = (
    "VAULT_ADDR", "VAULT_NAMESPACE", "VAULT_CACERT", "VAULT_TOKEN", "--vault-auth", "--vault-auth-mount",
    "--vault-role", "VAULT_ROLE_ID", "VAULT_SECRET_ID", "--vault-jwt-file",
)  # fmt: skip


def settings_problems(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """What is wrong with the settings and the environment: (place, message, advice). Calls no one."""
    address = os.environ.get("VAULT_ADDR", "")
    url = urlsplit(address)
    if not address:
        yield "VAULT_ADDR", "is not set", "Set it to the server's address, such as https://vault.example.com:8200."
    elif url.scheme not in ("http", "https") or not url.hostname or url.username is not None:
        yield "VAULT_ADDR", "is not an address", "Write it like https://vault.example.com:8200, without a user."
    elif url.scheme == "http" and not is_loopback(address):
        yield "VAULT_ADDR", "has http:// for an address that is not loopback", "Use https://."
    for name in ("VAULT_CACERT", "VAULT_NAMESPACE"):
        if os.environ.get(name) == "":
            yield name, "is set, but empty", "Give it a value, or unset it."
    authority = os.environ.get("VAULT_CACERT")
    if authority and not Path(authority).is_file():
        yield "VAULT_CACERT", "names no file", "Name a file with the CA's certificate in PEM."
    needed: dict[str, tuple[str, ...]] = {
        "token": ("VAULT_TOKEN",),
        "approle": ("VAULT_ROLE_ID", "VAULT_SECRET_ID"),
        "jwt": (),
    }
    for name in needed[settings.vault_auth]:
        if not os.environ.get(name):
            yield name, f"is not set, and --vault-auth {settings.vault_auth} needs it", "Let the pipeline provide it."
    if settings.vault_auth == "jwt" and not settings.vault_jwt_file:
        yield "--vault-jwt-file", "is missing, and --vault-auth jwt needs it", "Name the file with the JSON Web Token."
    if settings.vault_auth == "jwt" and not settings.vault_role:
        yield "--vault-role", "is missing, and --vault-auth jwt needs it", "Name the role of the JWT auth method."


def is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
