"""One botocore session, and for each Region one pair of KMS clients that all accounts share.

A pair, because a read must not go over the connection that carried the import: reads have a client, and so a
connection pool, of their own; all Regions share the two pools (see http.py). A client costs 2 ms and 0.2 MB; a
client per account and Region would cost each call four times as much (measured: 2.6 ms against 0.65 ms a call).
"""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import aioboto3
from aiobotocore.config import AioConfig
from aiobotocore.credentials import create_credential_resolver
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ProfileNotFound

from bulk_import import __version__
from bulk_import.aws.wire.credentials import CurrentCredentialsProvider
from bulk_import.aws.wire.http import shared_session_class
from bulk_import.aws.wire.incoming import make_harmless
from bulk_import.aws.wire.shortcut import OneEndpoint, Shortcut
from bulk_import.errors import CallerError, Problem, SettingsError
from bulk_import.settings import Settings

# Which hosts are AWS itself; anything else makes the report say so.
AWS_SUFFIXES = (".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws", ".api.amazonwebservices.com.cn")


@dataclass(frozen=True, slots=True)
class RegionClients:
    """KMS in one Region. `writes` carries GetParametersForImport and ImportKeyMaterial, `reads` all else."""

    reads: Any
    writes: Any


class Clients:
    """Makes and closes every AWS client of a run. An asynchronous context manager."""

    def __init__(self, settings: Settings, run_id: str) -> None:
        self._settings = settings
        self._run_id = run_id
        self._stack = AsyncExitStack()
        self._regions: dict[str, RegionClients] = {}
        self._service_quotas: dict[str, Any] = {}
        self._stores: dict[tuple[str, str], Any] = {}
        self._lock = asyncio.Lock()
        self._reads, self._writes = shared_session_class(timed=False), shared_session_class(timed=True)
        self._roles = shared_session_class(timed=False)  # a KMS call may assume its role while it holds a place
        self.endpoints: dict[str, str] = {}
        try:
            self._core = AioSession(profile=settings.profile)
            self._core.get_scoped_config()
        except ProfileNotFound as error:
            profile = error.kwargs.get("profile")
            raise SettingsError(
                [Problem("settings", 0, "--profile", f"the profile {profile!r} is not configured.",
                         "Check --profile and AWS_PROFILE, or add it to the AWS configuration files.")]
            ) from None  # fmt: skip
        except BotoCoreError as error:
            raise SettingsError(
                [Problem("AWS configuration", 0, "", f"cannot be read: {error}.", "Correct that file.")]
            ) from None
        self._callers = create_credential_resolver(self._core)
        self._core.register("after-call", make_harmless)
        # Every client signs as the lane that calls: see credentials.py.
        self._core.register_component("credential_provider", CurrentCredentialsProvider())
        self._session = aioboto3.Session(botocore_session=self._core)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def caller_credentials(self) -> Any:
        """The caller's own, by botocore's chain. Raises CallerError where there are none."""
        try:
            credentials = await self._callers.load_credentials()
        except BotoCoreError as error:
            raise CallerError(
                f"The caller's credentials cannot be loaded: {error}", code="CallerCredentialsMissing"
            ) from None
        if credentials is None:
            raise CallerError("No AWS credentials were found.", code="CallerCredentialsMissing")
        return credentials

    def sts_region(self, partition: str) -> str:
        """--sts-region, else the environment's or profile's, else the partition's first Region."""
        configured = self._settings.sts_region or self._core.get_config_variable("region")
        if configured:
            return str(configured)
        return {"aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1", "aws-eusc": "eusc-de-east-1"}.get(
            partition, "us-east-1"
        )

    async def sts(self, region: str) -> Any:
        return await self._client("sts", region, self._roles)

    async def kms(self, region: str) -> RegionClients:
        async with self._lock:
            pair = self._regions.get(region)
            if pair is None:
                pair = RegionClients(
                    reads=await self._kms_client(region, self._reads),
                    writes=await self._kms_client(region, self._writes),
                )
                self._regions[region] = pair
            return pair

    async def _kms_client(self, region: str, session_class: type[Any]) -> Any:
        client = await self._client("kms", region, session_class)
        rules = client._ruleset_resolver  # noqa: SLF001 - botocore has no other place for an endpoint known already
        answer = await rules.construct_endpoint(
            operation_model=client.meta.service_model.operation_model("DescribeKey"), call_args={}, request_context={}
        )
        client._ruleset_resolver = OneEndpoint(rules, answer)  # noqa: SLF001
        http = client._endpoint.http_session  # noqa: SLF001 - the one that the client closes at its end
        service = client.meta.service_model.signing_name
        client.meta.events.register_last("before-call.kms", Shortcut(http, answer.url, service=service, region=region))
        return client

    async def service_quotas(self, region: str) -> Any:
        async with self._lock:
            if region not in self._service_quotas:
                self._service_quotas[region] = await self._client("service-quotas", region, self._reads)
            return self._service_quotas[region]

    async def store(self, service: str, region: str) -> Any:
        """One client per service and Region, for sources of key material."""
        async with self._lock:
            if (service, region) not in self._stores:
                made = await self.s3(region) if service == "s3" else await self._client(service, region, self._roles)
                self._stores[service, region] = made
            return self._stores[service, region]

    async def s3(self, region: str) -> Any:
        """By path on loopback, where no name stands for a bucket."""
        client = await self._client("s3", region, self._writes)
        if not _is_loopback(urlsplit(client.meta.endpoint_url).hostname or ""):
            return client
        return await self._client("s3", region, self._writes, s3={"addressing_style": "path"})

    async def _client(self, service: str, region: str, session_class: type[Any], **more: Any) -> Any:
        settings = self._settings
        url = settings.endpoint_url
        config = AioConfig(
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            # As many connections as calls may be in flight: no call waits between its permit and the wire.
            max_pool_connections=settings.max_in_flight,
            # botocore's own retries would send calls that the limiter does not see.
            retries={"total_max_attempts": 1, "mode": "standard"},
            # The whole text: botocore would otherwise put its own together again for each request, 10% of its cost.
            user_agent=f"bulk-import/{__version__} run/{self._run_id} {self._core.user_agent()}",
            http_session_cls=session_class,
            **more,
            parameter_validation=False,  # what it checks is checked here before, and it costs CPU on every call
        )
        try:
            client = await self._stack.enter_async_context(
                self._session.client(
                    service,
                    region_name=region,
                    endpoint_url=url.replace("{region}", region) if url else None,
                    config=config,
                )
            )
        except (BotoCoreError, ValueError) as error:
            raise SettingsError(
                [
                    Problem(
                        "settings",
                        0,
                        f"endpoint of {service}",
                        f"{error}.",
                        "Check --endpoint-url and AWS_ENDPOINT_URL*.",
                    )
                ]
            ) from None
        # With one attempt allowed the handler decides nothing, and costs CPU on every call.
        client.meta.events.unregister(f"needs-retry.{service}", unique_id=f"retry-config-{service}")
        endpoint = str(client.meta.endpoint_url)
        refuse_plain_http(endpoint)
        self.endpoints.setdefault(service, endpoint)
        return client


def refuse_plain_http(endpoint: str) -> None:
    """Key material never leaves the machine without TLS. Raises SettingsError."""
    if "@" in endpoint:  # also where the URL is malformed, so that a password would be a part of the host
        problem = "the endpoint's URL holds a user or a password, which would be written down with it."
        raise SettingsError([Problem("settings", 0, "--endpoint-url", problem, "Leave them out.")])
    if "{" in endpoint:
        raise SettingsError(
            [Problem("settings", 0, "--endpoint-url", f"{endpoint}: an unknown placeholder.", "There is {region}.")]
        )
    url = urlsplit(endpoint)
    if url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.hostname or "")):
        return
    raise SettingsError(
        [Problem("settings", 0, "--endpoint-url", f"{endpoint}: only https:// is allowed off loopback.",
                 "Use https://, or unset AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_KMS/_STS/_S3/_SERVICE_QUOTAS.")]
    )  # fmt: skip


def is_aws(endpoint: str) -> bool:
    return (urlsplit(endpoint).hostname or "").endswith(AWS_SUFFIXES)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
