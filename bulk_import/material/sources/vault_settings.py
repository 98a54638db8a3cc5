"""Where Vault or OpenBao is, and who asks it: what can be checked without calling it, and without its library."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bulk_import.settings import Settings

SETTINGS: Final = (
    "VAULT_ADDR", "VAULT_NAMESPACE", "VAULT_CACERT", "VAULT_TOKEN", "--vault-auth", "--vault-auth-mount",
    "--vault-role", "VAULT_ROLE_ID", "VAULT_SECRET_ID", "--vault-jwt-file",
)  # fmt: skip
_VISIBLE: Final = re.compile(r"[!-~]*")  # what a header can hold as one word
# RFC 1123, section 2.1; with `_`, which some private names have, and a dot at the end.
_HOST: Final = re.compile(
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?"
)
_LONGEST_NAME: Final = 253


def settings_problems(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """What is wrong with the settings and the environment: (place, message, advice). Calls no one."""
    address = os.environ.get("VAULT_ADDR", "")
    if not address:
        yield "VAULT_ADDR", "is not set", "Set it to the server's address, such as https://vault.example.com:8200."
    elif not _is_address(address):
        advice = "Write it like https://vault.example.com:8200, without a user, a query or blanks."
        yield "VAULT_ADDR", "is not an address", advice
    elif urlsplit(address).scheme == "http" and not is_loopback(address):
        yield "VAULT_ADDR", "has http:// for an address that is not loopback", "Use https://."
    for name in ("VAULT_CACERT", "VAULT_NAMESPACE"):
        if os.environ.get(name) == "":
            yield name, "is set, but empty", "Give it a value, or unset it."
    authority = os.environ.get("VAULT_CACERT")
    if authority and not Path(authority).is_file():
        yield "VAULT_CACERT", "names no file", "Name a file with the CA's certificate in PEM."
    yield from _identity_problems(settings)


def _identity_problems(settings: Settings) -> Iterator[tuple[str, str, str]]:
    needed: dict[str, tuple[str, ...]] = {
        "token": ("VAULT_TOKEN",),
        "approle": ("VAULT_ROLE_ID", "VAULT_SECRET_ID"),
        "jwt": (),
    }
    for name in needed[settings.vault_auth]:
        if not os.environ.get(name):
            yield name, f"is not set, and --vault-auth {settings.vault_auth} needs it", "Let the pipeline provide it."
    for name in ("VAULT_NAMESPACE", *needed[settings.vault_auth]):
        if not _VISIBLE.fullmatch(os.environ.get(name, "")):
            yield name, "holds a blank, a line break or a character that is not ASCII", "Set it to the value alone."
    if settings.vault_auth == "jwt" and not settings.vault_jwt_file:
        yield "--vault-jwt-file", "is missing, and --vault-auth jwt needs it", "Name the file with the JSON Web Token."
    if settings.vault_auth == "jwt" and not settings.vault_role:
        yield "--vault-role", "is missing, and --vault-auth jwt needs it", "Name the role of the JWT auth method."


def _is_address(text: str) -> bool:
    """Whether it is the URL of a server, with a path at most: anything else could be a secret, and would be shown."""
    if not _VISIBLE.fullmatch(text) or any(mark in text for mark in "@?#\\"):
        return False
    try:
        url = urlsplit(text)
        port = url.port  # a property that checks it
    except ValueError:
        return False
    host = url.hostname or ""
    return url.scheme in ("http", "https") and port != 0 and _is_host(host)


def _is_host(host: str) -> bool:
    if ":" in host:
        return _is_ip(host)
    return len(host) <= _LONGEST_NAME and bool(_HOST.fullmatch(host))


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
