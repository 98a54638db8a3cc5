"""Everything of AWS that one run needs, opened together: clients, the caller, a KMS port for each lane."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self

from bulk_import.aws.kms import LaneKms
from bulk_import.aws.limits import SessionLimit
from bulk_import.aws.pace.limiter import LaneLimiter, merge_quotas, quota_of
from bulk_import.aws.pace.pacing import Quickest
from bulk_import.aws.pace.places import Places
from bulk_import.aws.pace.quotas import AppliedQuotas
from bulk_import.aws.pace.retry import Retry
from bulk_import.aws.sts import Caller, Sts
from bulk_import.aws.wire.clients import Clients
from bulk_import.errors import CallerError
from bulk_import.model import AccountAccess, Lane, SessionPolicy
from bulk_import.model.run import Environment
from bulk_import.settings import Settings
from bulk_import.shards import shares

SANDBOX_SERVER = "bulk-import-sandbox"  # the Server header of the local AWS


class AwsSession:
    """An asynchronous context manager. Enter it, `connect` once, then ask for lanes."""

    def __init__(
        self,
        settings: Settings,
        run_id: str,
        partition: str,
        lanes: Iterable[Lane],
        *,
        scarcest: str = "GetParametersForImport",
        s3: bool = False,
        creating: Iterable[Lane] = (),
        policies: Mapping[str, Sequence[SessionPolicy]],
        stores: Iterable[tuple[str, str | None]] = (),
    ) -> None:
        """`s3`: whether S3 carries the manifest or what the run writes; then its endpoint counts as the run's, too.

        `scarcest`: the operation of an import whose quota decides how fast a lane can be. `creating`: lanes that may
        create keys; they also use the Resource Groups Tagging API. `policies`: by account, what the sessions of its
        role are limited to. `stores`: services that hold key material, each with a Region (None: the caller's); their
        endpoints count as the run's, too.
        """
        self._creating = frozenset(creating)
        self._policies = policies
        self._stores = tuple(stores)
        self._limits: dict[str, SessionLimit] = {}  # by account
        self._settings = settings
        self._run_id = run_id
        self._partition = partition
        self._scarcest = scarcest
        self._s3 = s3
        self._regions = sorted({lane.region for lane in lanes})
        self._quotas = merge_quotas(settings.quota, shares=shares(settings.shard))
        self._lanes: dict[Lane, LaneKms] = {}
        self._quickest: dict[str, dict[str, Quickest]] = {}  # Region → quota →
        self._warned: set[str] = set()  # accounts whose quotas could not be read
        self.retry = Retry(settings.retry_timeout, settings.consistency_timeout)
        self._clients = Clients(settings, run_id, partition)
        self._gate = Places(self._clients.in_flight)
        # STS has places of its own (and a pool of its own): a KMS call that finds its credentials too old assumes
        # the role again while it holds a place. With places shared, enough such calls would wait for each other.
        self._sts_gate = Places(self._clients.in_flight)
        self._stack = AsyncExitStack()
        self._accounts: dict[str, Any] = {}
        self.caller: Caller  # after `connect`
        self._sts: Sts
        self._sts_client: Any = None

    async def __aenter__(self) -> Self:
        """Makes every client. Raises SettingsError for an endpoint that is not to be trusted; calls no one."""
        await self._stack.enter_async_context(self._clients)
        try:
            self._sts_client = await self._clients.sts(self._clients.region)
            if self._s3:
                await self._clients.s3(self._clients.region)
            for service, store_region in self._stores:
                await self._clients.store(service, store_region or self._clients.region)
            for region in self._regions:
                await self._clients.kms(region)
                if any(lane.region == region for lane in self._creating):
                    await self._clients.tagging(region)
                if self._settings.quotas == "service-quotas":
                    await self._clients.service_quotas(region)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def connect(self) -> None:
        """Finds out who the caller is: the run's first call. Raises CallerError."""
        self._sts = Sts(
            self._sts_client,
            await self._clients.caller_credentials(),
            limiter=self._limiter(self._sts_gate),
            gate=self._sts_gate,
            run_id=self._run_id,
            retry=self.retry,
        )
        self.caller = await self._sts.caller()
        partition = self.caller.arn.split(":")[1]
        if partition != self._partition:
            raise CallerError(
                f"The caller {self.caller.arn} is of partition {partition}, the manifest of {self._partition}.",
                code="WrongPartition",
                advice="Credentials do not work across partitions: start the run with some of the manifest's.",
            )

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def lane(self, lane: Lane, access: AccountAccess) -> LaneKms:
        """The KMS port of one lane; lanes of one account share its credentials. Assumes no role yet."""
        if access.account not in self._accounts:
            limit = SessionLimit(access.role_arn or "", self._policies.get(access.account, ()))
            self._limits[access.account] = limit
            self._accounts[access.account] = self._sts.account(access, self.caller, limit)
        self._lanes[lane] = LaneKms(
            lane,
            clients=await self._clients.kms(lane.region),
            credentials=self._accounts[access.account],
            limiter=self._limiter(self._gate, self._quickest.setdefault(lane.region, {})),
            gate=self._gate,
            retry=self.retry,
            applied=await self._applied(lane) if self._settings.quotas == "service-quotas" else None,
            tagging=await self._clients.tagging(lane.region) if lane in self._creating else None,
        )
        return self._lanes[lane]

    def session_policy(self, account: str) -> str | None:
        """What the last session of the account's role is limited to: keys, operations, off. None: there was none."""
        limit = self._limits.get(account)
        return limit.used if limit else None

    def import_rate(self, lane: Lane) -> float:
        """Imports per second that the quota allows the lane, as known now: its first call may read another."""
        known = self._lanes.get(lane)
        return known.limiter.quota(self._scarcest) if known else self._quotas[self._scarcest]

    def rate(self, lane: Lane, operation: str) -> float:
        """Requests per second that the quota of any operation allows the lane, as far as is known now."""
        known = self._lanes.get(lane)
        return known.limiter.quota(operation) if known else self._quotas[quota_of(operation)]

    @property
    def endpoints(self) -> dict[str, str]:
        """Service → the URL in use (of the first Region, where they differ by Region)."""
        return dict(self._clients.endpoints)

    @property
    def foreign(self) -> dict[str, str]:
        """The same, of those that are not AWS's own."""
        return dict(self._clients.foreign)

    @property
    def environment(self) -> Environment:
        """aws, custom or sandbox: a run that did not talk to AWS must say so."""
        if self.caller.server.startswith(SANDBOX_SERVER):
            return "sandbox"
        return "custom" if self._clients.foreign else "aws"

    async def _applied(self, lane: Lane) -> AppliedQuotas:
        return AppliedQuotas(
            lane,
            await self._clients.service_quotas(lane.region),
            limiter=self._limiter(self._gate),
            gate=self._gate,
            retry_timeout=self._settings.retry_timeout,
            stated=[quota_of(name) for name in self._settings.quota],
            warned=self._warned,
        )

    def _limiter(self, gate: Places, quickest: dict[str, Quickest] | None = None) -> LaneLimiter:
        return LaneLimiter(self._quotas, margin=self._settings.pacing_margin, gate=gate, quickest=quickest)
