"""One botocore session, and for each Region one pair of KMS clients that all accounts share.

A pair, because a read must not go over the connection that carried the import: reads have a client, and so a
connection pool, of their own. All Regions share the pools (see http.py). A client costs 2 ms and 0.2 MB; a client
per account and Region would make each call four times as expensive (measured: 2.6 ms instead of 0.65 ms a call).

Only public interfaces of botocore and aiobotocore are used, so that an update of theirs cannot break a call silently.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self
from urllib.parse import urlsplit

import aioboto3
import structlog
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ProfileNotFound

from bulk_import import __version__
from bulk_import.aws.wire import caller, chain
from bulk_import.aws.wire.credentials import CurrentCredentialsProvider
from bulk_import.aws.wire.descriptors import connections
from bulk_import.aws.wire.endpoint import Loader, endpoint_of
from bulk_import.aws.wire.genuine import default_region, is_genuine
from bulk_import.aws.wire.http import Pool, session_class
from bulk_import.aws.wire.incoming import make_harmless, moment
from bulk_import.aws.wire.route import is_loopback, refuse_plain_http
from bulk_import.aws.wire.shortcut import Shortcut
from bulk_import.aws.wire.tls import trust_of
from bulk_import.errors import CallerError, CallerFault, Problem, ServiceError, SettingsError
from bulk_import.settings import Settings

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RegionClients:
    """KMS in one Region. `writes` carries GetParametersForImport and ImportKeyMaterial, `reads` all else."""

    reads: Any
    writes: Any


class WireConfig(AioConfig):  # type: ignore[misc]  # aiobotocore has no types
    """A client's configuration, which keeps its way to AWS where botocore merges it, however often.

    It merges a provider's own, and once more what the name of a Region says (`fips-us-east-1`).
    """

    def merge(self, other_config: Any) -> Any:
        merged = super().merge(other_config)
        merged.__class__ = WireConfig  # aiobotocore makes one of its own class, which would lose the way
        kept = other_config if isinstance(other_config, WireConfig) else self
        merged.http_session_cls = kept.http_session_cls
        return merged


class Clients:
    """Makes and closes every AWS client of a run. An asynchronous context manager."""

    def __init__(self, settings: Settings, run_id: str, partition: str = "aws") -> None:
        """Raises SettingsError. `partition`: whose default Region is used if nothing names one."""
        _refuse_key_log()
        self._settings = settings
        self._run_id = run_id
        self._stack = AsyncExitStack()
        self._regions: dict[str, RegionClients] = {}
        self._service_quotas: dict[str, Any] = {}
        self._stores: dict[tuple[str, str], Any] = {}
        self._tagging: dict[str, Any] = {}
        self._lock = asyncio.Lock()
        self.endpoints: dict[str, str] = {}  # service → URL, of the first Region
        self.foreign: dict[str, str] = {}  # those that are not AWS's own, of any Region
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
        self._core.register("after-call", make_harmless)
        self._core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=moment)
        self._loader = Loader(self._core.get_component("data_loader"))
        self._core.register_component("data_loader", self._loader)
        self._partitions = self._loader.load_data("partitions")
        self._region = (
            settings.sts_region
            # botocore does not read the first, and takes the second also where it is empty.
            or os.environ.get("AWS_REGION", "").strip()
            or os.environ.get("AWS_DEFAULT_REGION", "").strip()
            or str(self._core.get_scoped_config().get("region") or "").strip()
            or default_region(partition, self._partitions)
        )
        # For what the credential chain creates by itself, which would otherwise use a global endpoint.
        self._core.set_config_variable("region", self._region)
        # Never the global endpoint of STS, which is in us-east-1 (sts_regional_endpoints = legacy).
        self._core.set_config_variable("sts_regional_endpoints", "regional")
        trust = trust_of(self._core.get_scoped_config())
        self.in_flight = connections(settings.max_in_flight)
        if self.in_flight < settings.max_in_flight:
            log.warning("fewer calls at once than --max-in-flight: the limit of open files (ulimit -n) allows no more",
                        calls=self.in_flight)  # fmt: skip
        pool = partial(Pool, trust, size=self.in_flight, connect_timeout=settings.connect_timeout,
                       read_timeout=settings.read_timeout)  # fmt: skip
        self._reads, self._writes = pool(), pool(timed=True)
        self._roles = pool()  # a KMS call may assume its role while it holds a place
        self._metadata = Pool(trust, size=2, connect_timeout=2, read_timeout=2, local=True)
        self._objects = pool(whole=False)  # objects.py has time limits by size
        for library in ("botocore", "aiobotocore"):
            # At debug level they log complete requests and responses: key material, tokens, credentials.
            logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLogger(library).level))
        # For the clients that the credential chain makes for itself (web identity, SSO).
        self._core.set_default_client_config(self._config(self._roles))
        # Every client signs as the lane that calls: see credentials.py.
        self._core.register_component("credential_provider", CurrentCredentialsProvider())
        self._session = aioboto3.Session(botocore_session=self._core)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()
        for pool in (self._reads, self._writes, self._roles, self._objects, self._metadata):
            await pool.close()

    async def caller_credentials(self) -> Any:
        """The caller's own, by botocore's chain. Raises CallerError where there are none."""
        profile = str(self._core.get_config_variable("profile") or "default")
        try:
            providers = chain.providers(self._core, self._provider_client, self._metadata)
            return await caller.load(providers, profile)
        except (CallerFault, ServiceError) as error:
            raise CallerError(error.message, code=error.code, advice=error.advice) from None
        except BotoCoreError as error:
            raise SettingsError(
                [Problem("AWS configuration", 0, "", f"{error}.", "Correct the profile or the AWS_* variable.")]
            ) from None

    def _provider_client(self, service: str, **more: Any) -> Any:
        """A client for the credential chain: the same endpoint and Region as the run's own."""
        url = self._settings.endpoint_url if service == "sts" else None
        if url:
            more = {"endpoint_url": url.replace("{region}", self._region), **more}
        return self._core.create_client(service, **{"region_name": self._region, **more})

    @property
    def region(self) -> str:
        """--sts-region, AWS_REGION, AWS_DEFAULT_REGION or the profile's Region; else one of the partition.

        For everything that has no Region of its own: STS, S3 at first, and what the credential chain creates.
        """
        return self._region

    async def sts(self, region: str) -> Any:
        return await self._client("sts", region, self._roles)

    async def kms(self, region: str) -> RegionClients:
        async with self._lock:
            pair = self._regions.get(region)
            if pair is None:
                with _told("kms"):
                    url = await endpoint_of(await self._made("kms", region, self._reads, None))
                with self._loader.without_rules("kms"):
                    pair = RegionClients(
                        reads=await self._kms_client(region, self._reads, url),
                        writes=await self._kms_client(region, self._writes, url),
                    )
                self._regions[region] = pair
            return pair

    async def _kms_client(self, region: str, pool: Pool, url: str) -> Any:
        client = await self._client("kms", region, pool, url=url)
        service = client.meta.service_model.signing_name
        client.meta.events.register_last("before-call.kms", Shortcut(pool, service=service, region=region))
        return client

    async def service_quotas(self, region: str) -> Any:
        async with self._lock:
            if region not in self._service_quotas:
                self._service_quotas[region] = await self._client("service-quotas", region, self._reads)
            return self._service_quotas[region]

    async def s3(self, region: str) -> Any:
        """By path on loopback, where no name stands for a bucket."""
        client = await self._client("s3", region, self._objects)
        if not is_loopback(urlsplit(client.meta.endpoint_url).hostname or ""):
            return client
        return await self._client("s3", region, self._objects, s3={"addressing_style": "path"})

    async def store(self, service: str, region: str) -> Any:
        """One client per service and Region, for sources of key material."""
        async with self._lock:
            if (service, region) not in self._stores:
                made = await self.s3(region) if service == "s3" else await self._client(service, region, self._roles)
                self._stores[service, region] = made
            return self._stores[service, region]

    async def tagging(self, region: str) -> Any:
        """The Resource Groups Tagging API."""
        async with self._lock:
            if region not in self._tagging:
                self._tagging[region] = await self._client("resourcegroupstaggingapi", region, self._reads)
            return self._tagging[region]

    def _config(self, pool: Pool, **more: Any) -> WireConfig:
        return WireConfig(
            connect_timeout=self._settings.connect_timeout,
            read_timeout=self._settings.read_timeout,
            # botocore's own retries would send calls that the limiter does not see. This mode has no handler.
            retries={"total_max_attempts": 1, "mode": "legacy"},
            # The complete text: botocore would otherwise compose its own for each request, 10% of its cost.
            user_agent=f"bulk-import/{__version__} run/{self._run_id} {self._core.user_agent()}",
            http_session_cls=session_class(pool),
            **more,
        )

    async def _client(self, service: str, region: str, pool: Pool, *, url: str | None = None, **more: Any) -> Any:
        """`url`: None: as settings and environment say."""
        client = await self._made(service, region, pool, url, **more)
        # With one attempt allowed the handler decides nothing, and costs CPU on every call.
        client.meta.events.unregister(f"needs-retry.{service}", unique_id=f"retry-config-{service}")
        endpoint = str(client.meta.endpoint_url)
        refuse_plain_http(endpoint)  # its path too: an unknown placeholder may be there
        pool.way(endpoint)
        self.endpoints.setdefault(service, endpoint)
        if not is_genuine(endpoint, client.meta.service_model.endpoint_prefix, self._partitions):
            self.foreign.setdefault(service, endpoint)
        return client

    async def _made(self, service: str, region: str, pool: Pool, url: str | None, **more: Any) -> Any:
        configured = self._settings.endpoint_url
        if url is None and configured:
            url = configured.replace("{region}", region)
        # Parameters were checked here before, and validation costs CPU on every call.
        config = self._config(pool, parameter_validation=False, **more)
        with _told(service):
            return await self._stack.enter_async_context(
                self._session.client(service, region_name=region, endpoint_url=url, config=config)
            )


@contextmanager
def _told(service: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ValueError) as error:
        advice = "Check --endpoint-url and AWS_ENDPOINT_URL*."
        raise SettingsError([Problem("settings", 0, f"endpoint of {service}", f"{error}.", advice)]) from None


def _refuse_key_log() -> None:
    """Python would write the keys of every TLS session there: with them, anyone can read recorded traffic."""
    if os.environ.get("SSLKEYLOGFILE"):
        advice = "Unset SSLKEYLOGFILE for this program."
        raise SettingsError([Problem("environment", 0, "SSLKEYLOGFILE", "would write down the keys of TLS.", advice)])
