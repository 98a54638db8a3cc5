"""Where the caller's credentials come from: botocore's chain of providers, with limits, and without questions.

https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
The order is botocore's. Five of its providers are made here, with what their constructors offer: a credential process
has limits of time and size, a token file is checked, an MFA code is asked for at a terminal only, and credentials of
containers and instances come over our own connections, never through a proxy.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

from aiobotocore.credentials import (
    AioAssumeRoleProvider,
    AioAssumeRoleWithWebIdentityProvider,
    AioCanonicalNameCredentialSourcer,
    AioContainerProvider,
    AioEnvProvider,
    AioInstanceMetadataProvider,
    AioProcessProvider,
    AioProfileProviderBuilder,
    create_credential_resolver,
)
from aiobotocore.utils import AioContainerMetadataFetcher, AioInstanceMetadataFetcher
from botocore.utils import resolve_imds_endpoint_mode

from bulk_import.aws.wire.http import Pool, metadata_session
from bulk_import.errors import CallerFault
from bulk_import.material import environment

PROCESS_LIMIT = 120.0  # seconds; it may wait for a person at another window
MOST_OF_AN_OUTPUT = 1 << 16  # bytes that a credential process may print, or a token file may hold

_MFA = (
    "Start the run at a terminal, or give it credentials that need no code: a role for pipelines without MFA, or a "
    "session in AWS_* variables (aws sts get-session-token)."
)

ClientCreator = Callable[..., Any]


def providers(core: Any, create_client: ClientCreator, metadata: Pool) -> list[Any]:
    """The providers to ask, in botocore's order. Raises botocore's exceptions for a configuration that is not valid."""
    found: list[Any] = create_credential_resolver(core).providers
    profile = core.get_config_variable("profile") or "default"
    cache: dict[str, Any] = {}
    container = AioContainerProvider(fetcher=_ContainerFetcher(metadata))
    builder = _ProfileProviders(core, create_client, cache)
    env_is_asked = any(provider.METHOD == "env" for provider in found)
    # `credential_source` may name the environment also where --profile takes it out of the chain.
    instance = AioInstanceMetadataProvider(iam_role_fetcher=_instance_fetcher(core, metadata))
    named = [AioEnvProvider(), container, instance]
    ours: dict[str, Any] = {
        "container-role": container,
        "iam-role": instance,
        "assume-role": AioAssumeRoleProvider(
            load_config=lambda: core.full_config,
            client_creator=create_client,
            cache=cache,
            profile_name=profile,
            prompter=_prompt,
            credential_sourcer=AioCanonicalNameCredentialSourcer(named),
            profile_provider_builder=builder,
        ),
    }
    of_profile = {
        provider.METHOD: provider for provider in builder.providers(profile, disable_env_vars=not env_is_asked)
    }
    ours |= {method: of_profile[method] for method in _OURS if method in of_profile}
    return [ours.get(provider.METHOD, provider) for provider in found]


_OURS = ("custom-process", "assume-role-with-web-identity")


class _ProfileProviders(AioProfileProviderBuilder):  # type: ignore[misc]  # aiobotocore has no types
    """The providers of a profile, also of one that another names as `source_profile`."""

    def __init__(self, core: Any, create_client: ClientCreator, cache: dict[str, Any]) -> None:
        super().__init__(core, cache=cache)
        self._core = core
        self._create_client = create_client
        self._roles = cache

    def providers(self, profile_name: str, disable_env_vars: bool = False) -> list[Any]:  # noqa: FBT001, FBT002 - botocore's signature
        def ours(provider: Any) -> Any:
            if provider.METHOD == "custom-process":
                return AioProcessProvider(
                    profile_name=profile_name,
                    load_config=lambda: self._core.full_config,
                    popen=_start,
                )
            if provider.METHOD == "assume-role-with-web-identity":
                return AioAssumeRoleWithWebIdentityProvider(
                    load_config=lambda: self._core.full_config,
                    client_creator=self._create_client,
                    cache=self._roles,
                    profile_name=profile_name,
                    disable_env_vars=disable_env_vars,
                    token_loader_cls=_TokenFile,
                )
            return provider

        return [ours(provider) for provider in super().providers(profile_name, disable_env_vars)]


def _instance_fetcher(core: Any, pool: Pool) -> Any:
    """Over our own connections: botocore's would go through the proxy of HTTP_PROXY, also to a loopback address."""
    names = ("ec2_metadata_service_endpoint", "ec2_metadata_v1_disabled")
    config = {name: core.get_config_variable(name) for name in names}
    return AioInstanceMetadataFetcher(
        num_attempts=core.get_config_variable("metadata_service_num_attempts"),
        user_agent=core.user_agent(),
        config=config | {"ec2_metadata_service_endpoint_mode": resolve_imds_endpoint_mode(core)},
        session=metadata_session(pool),
    )


class _ContainerFetcher:
    """botocore's fetcher over our own connections. Not a subclass: aiobotocore would put its own in place of it."""

    def __init__(self, pool: Pool) -> None:
        fetcher = AioContainerMetadataFetcher(session=metadata_session(pool))
        self.full_url, self.retrieve_full_uri = fetcher.full_url, fetcher.retrieve_full_uri


class _TokenFile:
    """An OIDC token, read again for each call: pipelines replace the file before the token expires."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self) -> str:
        """Raises CallerFault; and OSError, which `told` explains."""
        with Path(self._path).open("rb") as file:
            token = file.read(MOST_OF_AN_OUTPUT + 1)
        text = token.decode("utf-8", "replace")
        what = ""
        if not text.strip():
            what = "is empty"
        elif len(token) > MOST_OF_AN_OUTPUT:
            what = f"is larger than {MOST_OF_AN_OUTPUT >> 10} KiB"
        elif "\ufffd" in text:
            what = "is not UTF-8"
        elif len(text.split()) != 1 or text != text.strip():
            what = "holds a line break or a blank, which no token has"
        if what:
            raise CallerFault(
                f"The token file {self._path} {what}.",
                code="InvalidIdentityToken",
                advice="Let the pipeline write the token alone, without a newline at its end (printf %s).",
            )
        return text


async def _start(*command: str, **_botocores: Any) -> _Process:
    """What it writes to stderr may hold a secret, and nobody reads its questions. Raises OSError, CallerFault."""
    if not command:
        raise CallerFault("credential_process is empty.", code="CallerCredentialsInvalid")
    ours, theirs = os.pipe()  # not PIPE: asyncio closes its end only when everybody has closed the other
    output = FileIO(ours)  # `communicate` closes it
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=theirs, stderr=DEVNULL, env=environment.of_helper()
        )
    except BaseException:
        output.close()
        raise
    finally:
        os.close(theirs)
    return _Process(command[0], process, output)


class _Process:
    """A credential process, as botocore asks it."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, output: FileIO) -> None:
        self._name = name
        self._process = process
        self._output = output
        self.returncode = 0

    async def communicate(self) -> tuple[bytes, bytes]:
        """What it printed. Raises CallerFault where it fails, prints too much, or does not end in time."""
        output = bytearray()
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._output
        )
        try:
            async with asyncio.timeout(PROCESS_LIMIT):
                while piece := await reader.read(4096):
                    output += piece
                    if len(output) > MOST_OF_AN_OUTPUT:
                        raise self._fault(f"printed more than {MOST_OF_AN_OUTPUT >> 10} KiB")
                code = await self._process.wait()
        except TimeoutError:
            raise self._fault(f"did not end within {PROCESS_LIMIT:g} s") from None
        finally:
            transport.close()
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
        if code:
            raise self._fault(f"ended with exit status {code}")
        return bytes(output), b""

    def _fault(self, what: str) -> CallerFault:
        return CallerFault(
            f"The credential process {self._name} {what}.",
            code="CallerCredentialsInvalid",
            advice="Run the profile's credential_process by hand: it must print credentials as JSON, and exit with 0.",
        )


def _prompt(text: str) -> str:
    """An MFA code. Raises CallerFault where nobody is there to type it."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise CallerFault(
            "The profile wants an MFA code (mfa_serial), and there is no terminal to ask for it.",
            code="CallerCredentialsInvalid",
            advice=_MFA,
        )
    return getpass.getpass(text)
