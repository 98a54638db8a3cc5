"""KMS's endpoint in one Region: found by botocore's rules once, and not for each call again.

A client applies the rules of its service to every call, which is a twentieth of a call's CPU. Of KMS's rules, nothing
depends on the call. botocore lets a program replace its loader of such data; without rules, a client sends every call
to its endpoint_url.

https://botocore.amazonaws.com/v1/documentation/api/latest/reference/loaders.html
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiobotocore.credentials import AioCredentials
from botocore.exceptions import UnknownServiceError

from bulk_import.aws.wire.credentials import SigningAs

_RULES = "endpoint-rule-set-1"


class Loader:
    """botocore's loader. While in `without_rules`, it has no rules for the endpoint of that service."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._without: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    @contextmanager
    def without_rules(self, service: str) -> Iterator[None]:
        """No other client of the service may be made meanwhile."""
        self._without = service
        try:
            yield
        finally:
            self._without = None

    def load_service_model(self, service_name: str, type_name: str, api_version: str | None = None) -> Any:
        """Raises UnknownServiceError where there are no rules."""
        if type_name == _RULES and service_name == self._without:
            raise UnknownServiceError(service_name=service_name, known_service_names="")
        return self._loader.load_service_model(service_name, type_name, api_version)


async def endpoint_of(client: Any) -> str:
    """The URL that this client of KMS sends its calls to, by botocore's rules and the caller's configuration.

    botocore shows it only in a signed URL; this one is signed with nobody's credentials, and used for nothing.
    """
    with SigningAs(AioCredentials("nobody", "nothing")):
        signed = await client.generate_presigned_url("list_keys")
    url = str(signed).partition("?")[0]
    return url.removesuffix("/") if url.count("/") == 3 else url  # the root is written without its slash
