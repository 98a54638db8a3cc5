"""HashiCorp Vault or OpenBao, as `vault:` and `transit:` use it: one login and one set of connections per run.

The address and the identity come from the environment and the settings, never from a manifest: VAULT_ADDR,
VAULT_NAMESPACE, VAULT_CACERT; VAULT_TOKEN, or a login by AppRole (VAULT_ROLE_ID, VAULT_SECRET_ID) or JWT. A token that
this program logged in for is revoked at the end. hvac is synchronous, so its calls run in threads of their own.
https://developer.hashicorp.com/vault/api-docs
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import hvac
import requests
import structlog

from bulk_import.errors import MaterialError
from bulk_import.material.sources.base import Opening
from bulk_import.material.sources.threads import in_thread
from bulk_import.material.sources.vault_answers import Answers, is_token
from bulk_import.material.sources.vault_faults import translated, unavailable
from bulk_import.material.sources.vault_settings import is_loopback

log = structlog.get_logger()
T = TypeVar("T")

AT_ONCE: Final = 8  # calls at the same time
MOST_CALLS: Final = 3  # one after the other, for one thing that is asked of the server


class VaultServer:
    """One per run for all sources."""

    def __init__(self, opening: Opening) -> None:
        self._settings = opening.settings
        self.address = os.environ.get("VAULT_ADDR", "").rstrip("/")
        self.namespace = os.environ.get("VAULT_NAMESPACE") or None
        self._places = asyncio.Semaphore(AT_ONCE)
        self._idle: list[hvac.Client] = []  # the session below a client is not made for several threads at once
        self._lock = asyncio.Lock()
        self._token: str | None = None
        self._logged_in = False
        self._closed = False

    async def begin(self) -> None:
        """Logs in, once. Raises MaterialError."""
        async with self._lock:
            if self._token is None:
                await self._login()

    async def close(self) -> None:
        """Revokes the token that this run logged in for."""
        if self._closed:
            return
        self._closed = True
        if self._logged_in:
            try:
                await self._in_thread(lambda client: client.auth.token.revoke_self())
            except MaterialError as error:
                log.warning("the Vault token of this run could not be revoked; it ends with its TTL", why=error.message)

    async def __call__(self, work: Callable[[hvac.Client], T]) -> T:
        """`work`, with a client, in a thread. Raises MaterialError. A token that this run logged in for and that is
        refused is replaced once.
        """
        token = self._token
        try:
            return await self._in_thread(work)
        except MaterialError as error:
            if error.code != "SourceDenied" or not self._logged_in:
                raise
            async with self._lock:
                if self._token == token:
                    await self._login()
        return await self._in_thread(work)

    async def _login(self) -> None:
        settings = self._settings
        mount = settings.vault_auth_mount or settings.vault_auth

        def approle(client: hvac.Client) -> Any:
            return client.auth.approle.login(
                role_id=os.environ["VAULT_ROLE_ID"], secret_id=os.environ["VAULT_SECRET_ID"], mount_point=mount
            )

        def jwt(client: hvac.Client) -> Any:
            token = _jwt(Path(settings.vault_jwt_file or ""))
            return client.auth.jwt.jwt_login(role=settings.vault_role or "", jwt=token, path=mount)

        if settings.vault_auth == "token":
            self._token = os.environ["VAULT_TOKEN"]
            return
        self._token = ""
        try:
            answer = await self._in_thread(approle if settings.vault_auth == "approle" else jwt)
        finally:
            self._token = None
        self._token = str(answer["auth"]["client_token"])
        self._logged_in = True

    async def _in_thread(self, work: Callable[[hvac.Client], T]) -> T:
        """Raises MaterialError; also where the server sends byte by byte, and takes too long for all of its answer."""
        async with self._places:
            client = self._idle.pop() if self._idle else self._client()
            client.token = self._token or ""

            def attempt() -> T:
                with translated(self.address):
                    return work(client)

            seconds = MOST_CALLS * (self._settings.connect_timeout + self._settings.read_timeout)
            try:
                async with asyncio.timeout(seconds):
                    found = await in_thread(attempt)
            except TimeoutError:  # the client is not used again: its thread may still use it
                raise unavailable(self.address, f"gave no complete answer within {seconds:g} s") from None
            except MaterialError:
                self._idle.append(client)
                raise
            self._idle.append(client)
            return found

    def _client(self) -> hvac.Client:
        session = requests.Session()
        session.trust_env = not is_loopback(self.address)  # no proxy on loopback
        session.verify = os.environ.get("VAULT_CACERT") or True  # hvac prefers the session's to what it is given itself
        session.auth = _unchanged  # otherwise, requests sends the password that .netrc has for the server or for all
        session.headers["Accept-Encoding"] = "identity"  # the size of an answer is what it seems to be
        return hvac.Client(
            url=self.address,
            token="",
            namespace=self.namespace,
            adapter=Answers,
            timeout=(self._settings.connect_timeout, self._settings.read_timeout),
            allow_redirects=False,  # a redirect would carry the token to another address
            session=session,
        )


def _jwt(path: Path) -> str:
    """Raises MaterialError."""
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise MaterialError(
            f"--vault-jwt-file cannot be read: {error.strerror}", code="SourceDenied",
            advice="Check the path, and that the pipeline writes the file.",
        ) from None  # fmt: skip
    text = token.decode("ascii", "replace")
    if not is_token(text):
        raise MaterialError(
            "--vault-jwt-file holds no JSON Web Token", code="SourceDenied",
            advice="The file must hold the token alone, in one line.",
        )  # fmt: skip
    return text


def _unchanged(request: T) -> T:
    return request
