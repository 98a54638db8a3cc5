"""HashiCorp Vault or OpenBao, as `vault:` and `transit:` use it: one login and one set of connections per run.

The address and the identity come from the environment and the settings, never from a manifest: VAULT_ADDR,
VAULT_NAMESPACE, VAULT_CACERT; VAULT_TOKEN, or a login by AppRole (VAULT_ROLE_ID, VAULT_SECRET_ID) or JWT. A token that
this program logged in for is revoked at the end. hvac is synchronous, so its calls run in threads of their own.
https://developer.hashicorp.com/vault/api-docs
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import hvac
import requests
import structlog
from hvac import exceptions

from bulk_import.errors import MaterialError
from bulk_import.material.sources.base import Opening
from bulk_import.material.sources.patience import Throttled
from bulk_import.material.sources.threads import in_thread
from bulk_import.material.sources.vault_settings import is_loopback

log = structlog.get_logger()
T = TypeVar("T")

AT_ONCE: Final = 8  # calls at the same time
MOST_CALLS: Final = 3  # one after the other, for one thing that is asked of the server
_SHOWN: Final = 300  # characters of a server's message


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
            token = Path(settings.vault_jwt_file or "").read_text("utf-8").strip()
            return client.auth.jwt.jwt_login(role=settings.vault_role or "", jwt=token, path=mount)

        if settings.vault_auth == "token":
            self._token = os.environ["VAULT_TOKEN"]
            return
        self._token = ""
        try:
            answer = await self._in_thread(approle if settings.vault_auth == "approle" else jwt)
        except OSError as error:
            raise MaterialError(
                f"--vault-jwt-file cannot be read: {error.strerror}", code="SourceDenied",
                advice="Check the path, and that the pipeline writes the file.",
            ) from None  # fmt: skip
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
                raise _unavailable(self.address, f"gave no complete answer within {seconds:g} s") from None
            except MaterialError:
                self._idle.append(client)
                raise
            self._idle.append(client)
            return found

    def _client(self) -> hvac.Client:
        session = requests.Session()
        session.trust_env = not is_loopback(self.address)  # no proxy, no .netrc on loopback
        return hvac.Client(
            url=self.address,
            token="",
            namespace=self.namespace,
            verify=os.environ.get("VAULT_CACERT") or True,
            timeout=(self._settings.connect_timeout, self._settings.read_timeout),
            allow_redirects=False,  # a redirect would carry the token to another address
            session=session,
        )


@contextmanager
def translated(address: str) -> Iterator[None]:
    """hvac's and requests' exceptions as MaterialError, most specific first. No request is quoted."""
    try:
        yield
    except exceptions.VaultDown as error:
        said = said_by(error)
        if "sealed" in said.lower():
            raise MaterialError(
                f"the server at {address} is sealed", code="SourceUnavailable",
                advice="Unseal it (`vault operator unseal` or `bao operator unseal`), then run again.",
            ) from None  # fmt: skip
        raise _unavailable(address, f"is down: {said}") from None
    except exceptions.RateLimitExceeded as error:
        raise Throttled(f"the server at {address} was asked too often: {said_by(error)}") from None
    except (exceptions.BadGateway, exceptions.PreconditionFailed) as error:
        raise _unavailable(address, f"answers {type(error).__name__}: {said_by(error)}") from None
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        raise MaterialError(
            f"the server at {address} refuses: {said_by(error)}", code="SourceDenied",
            advice="The token was revoked, has expired, or its policy does not allow this path: `bulk-import iam "
            "--format vault-policy` prints the policy.",
        ) from None  # fmt: skip
    except exceptions.InvalidPath as error:
        raise MaterialError(f"there is nothing there: {said_by(error)}", code="MaterialNotFound") from None
    except exceptions.VaultError as error:
        raise MaterialError(
            f"the server at {address} answers {type(error).__name__}: {said_by(error)}", code="SourceFailed",
            advice="Read the server's log and audit log.",
        ) from None  # fmt: skip
    except requests.exceptions.SSLError:
        raise MaterialError(
            f"the certificate of {address} is not trusted", code="SourceUnavailable",
            advice="Check VAULT_ADDR and VAULT_CACERT.",
        ) from None  # fmt: skip
    except requests.exceptions.RequestException as error:
        raise _unavailable(address, f"gives no answer ({type(error).__name__})") from None


def said_by(error: exceptions.VaultError) -> str:
    """The server's own words, cleaned and shortened."""
    text = "; ".join(str(part) for part in error.errors or ()) or "no reason given"
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def data_of(answer: Any) -> dict[str, Any]:
    """The `data` of an answer. Raises MaterialError for an answer that is not Vault's."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        raise MaterialError(
            "the answer is not Vault's", code="SourceFailed",
            advice="Check VAULT_ADDR: a redirect is not followed, because it would carry the token elsewhere.",
        )  # fmt: skip
    return data


def _unavailable(address: str, what: str) -> MaterialError:
    return MaterialError(f"the server at {address} {what}", code="SourceUnavailable", retryable=True)
