"""Calls of one lane: each takes its permit, is counted, and its errors become ours. What they say is in kms.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from bulk_import.aws.answers import endless, whole
from bulk_import.aws.pace.limiter import LaneLimiter
from bulk_import.aws.pace.places import Places
from bulk_import.aws.pace.quotas import AppliedQuotas
from bulk_import.aws.pace.retry import Retry
from bulk_import.aws.same_key import SameKey
from bulk_import.aws.wire.clients import RegionClients
from bulk_import.aws.wire.trace import Traced
from bulk_import.aws.wire.translate import translate
from bulk_import.codes import STALE_CREDENTIALS, THROTTLED
from bulk_import.errors import BulkImportError, LaneError, ServiceError
from bulk_import.model import Lane
from bulk_import.ports import Trace

MOST_LISTED = 10_000  # pages of tagged keys, aliases or tags: far above KMS's own limits

# Operation → (the client's method, whether the connection is one for writes).
METHODS: dict[str, tuple[str, bool]] = {
    "DescribeKey": ("describe_key", False),
    "ListKeyRotations": ("list_key_rotations", False),
    "GetParametersForImport": ("get_parameters_for_import", True),
    "ImportKeyMaterial": ("import_key_material", True),
    "CreateKey": ("create_key", True),
    "CreateAlias": ("create_alias", True),
    "ReplicateKey": ("replicate_key", True),
    "ListAliases": ("list_aliases", False),
    "ListKeys": ("list_keys", False),
    "ListResourceTags": ("list_resource_tags", False),
    "GetResources": ("get_resources", False),  # of the Resource Groups Tagging API
    "GetKeyPolicy": ("get_key_policy", False),
    "UpdateKeyDescription": ("update_key_description", True),
    "TagResource": ("tag_resource", True),
    "PutKeyPolicy": ("put_key_policy", True),
    "RotateKeyOnDemand": ("rotate_key_on_demand", True),
    "DeleteImportedKeyMaterial": ("delete_imported_key_material", True),
    "GenerateMac": ("generate_mac", False),
    "GetPublicKey": ("get_public_key", False),
    "Encrypt": ("encrypt", False),
    "Decrypt": ("decrypt", False),
}


# Calls that change AWS: each attempt has an intent of its own in the journal, and is never repeated here.
CHANGES = frozenset(
    (
        "ImportKeyMaterial", "CreateKey", "CreateAlias", "ReplicateKey", "UpdateKeyDescription", "TagResource",
        "PutKeyPolicy", "RotateKeyOnDemand",
        "DeleteImportedKeyMaterial",
    )
)  # fmt: skip


class LaneCalls:
    """The requests of one lane, of any operation."""

    def __init__(
        self,
        lane: Lane,
        *,
        clients: RegionClients,
        credentials: Any,
        limiter: LaneLimiter,
        gate: Places,
        retry: Retry,
        applied: AppliedQuotas | None = None,
        tagging: Any = None,
    ) -> None:
        """`tagging`: the client of the Resource Groups Tagging API, for lanes that create keys."""
        self.lane = lane
        self.limiter = limiter
        self._clients = clients
        self._credentials = credentials  # AccountCredentials or OwnCredentials
        self._gate = gate
        self._retry = retry
        self._at_once = replace(retry, consistency_timeout=0.0)
        self._tagging = tagging
        self._applied = applied  # None: the limiter has the rates already
        self._same_key = SameKey(lane)
        self._counting = asyncio.Lock()  # of those who take several permits for one call of another lane
        self._ended: LaneError | None = None  # set once, by an answer from elsewhere

    async def _read(
        self, operation: str, trace: Trace, request: Mapping[str, Any], *needed: str, retry: Retry | None = None
    ) -> dict[str, Any]:
        """A call that may be repeated without harm. An answer without the `needed` members is a lost one."""

        async def attempt() -> dict[str, Any]:
            return whole(operation, await self._call(operation, trace, request), *needed)

        settling_until = 0.0 if retry is self._at_once else trace.settling_until
        return await (retry or self._retry)(attempt, settling_until=settling_until)

    async def _call(self, operation: str, trace: Trace, request: Mapping[str, Any]) -> dict[str, Any]:
        """One attempt; a second one at once where only the session's credentials were stale.

        A change is not sent a second time here: each one has an intent of its own in the journal.
        """
        if self._ended is not None:
            raise self._ended
        credentials = await self._credentials.get()
        if self._applied is not None:
            await self._applied.tell(self.limiter, credentials, self._check_lane)
        try:
            return await self._send(operation, trace, request, credentials)
        except ServiceError as error:
            if error.code not in STALE_CREDENTIALS:
                raise
            await self._credentials.renew(credentials)
            if operation in CHANGES:
                raise
        return await self._send(operation, trace, request, await self._credentials.get())

    async def _send(self, operation: str, trace: Trace, request: Mapping[str, Any], credentials: Any) -> dict[str, Any]:
        name, is_write = METHODS[operation]
        client = self._clients.writes if is_write else self._clients.reads
        if operation == "GetResources":
            client = self._tagging
        method: Callable[..., Awaitable[dict[str, Any]]] = getattr(client, name)
        throttler = self.limiter.throttler(operation)
        await self._renew_if_due(operation, credentials)
        began = time.monotonic()
        permitted = await throttler.acquire()
        self.limiter.calls[operation] += 1
        sent_at: float | None = None
        done = False
        try:
            with Traced(
                operation, credentials, began=began, account=self.lane.account, region=self.lane.region
            ) as call:
                try:
                    answer = await method(**request)
                    done = True
                finally:
                    sent_at = call.sent_at
                    if sent_at is not None or not is_write:  # only writes are timed
                        trace.sent(operation)
        except BulkImportError:
            raise  # ours already: a credentials refresh inside the signature failed
        except Exception as error:  # noqa: BLE001 - every vendor's exception is translated, here and nowhere else
            ours = translate(error, operation, self.lane.region)
            if is_write and sent_at is None:
                ours.outcome_unknown = False  # nothing had left
            if ours.code in THROTTLED:
                self.limiter.throttles[operation] += 1
                throttler.throttled()
            if ours.request_id:
                trace.note(operation, ours.request_id)
            raise ours from None
        finally:
            self._gate.release()
            throttler.settle(permitted, sent_at, done=done)
        throttler.succeeded()
        request_id = str(answer["ResponseMetadata"].get("RequestId", ""))
        trace.note(operation, request_id)
        try:
            self._same_key.check(operation, request, answer, changes=is_write, request_id=request_id)
        except LaneError as elsewhere:
            self._ended = elsewhere
            raise
        return answer

    @staticmethod
    async def _renew_if_due(operation: str, credentials: Any) -> None:
        """Before a permit and a place are taken, so that neither waits for STS. Raises ServiceError, LaneError."""
        try:
            await credentials.get_frozen_credentials()
        except BulkImportError:
            raise
        except Exception as error:  # noqa: BLE001 - as in _send
            ours = translate(error, operation)
            ours.outcome_unknown = False  # nothing was sent
            raise ours from None

    def _check_lane(self, operation: str, arn: str | None) -> None:
        """For responses of other services, which are not about a key. Raises LaneError."""
        try:
            self._same_key.check_lane(operation, arn)
        except LaneError as elsewhere:
            self._ended = elsewhere
            raise

    async def _pages(
        self, operation: str, trace: Trace, request: dict[str, Any], member: str, name: str
    ) -> AsyncIterator[Mapping[str, Any]]:
        """The entries of all pages. `name`: the member of an entry that occurs once in the list.

        Raises ServiceError, also where the list repeats itself: what it should have had instead is then unknown.
        """
        seen: set[str] = set()
        for _ in range(MOST_LISTED):
            answer = await self._read(operation, trace, request, member)
            for entry in answer[member]:
                found = str(whole(operation, entry, name)[name])
                if found in seen:
                    raise ServiceError(f"It lists one {name} twice.", code="MalformedAnswer", operation=operation)
                seen.add(found)
                yield entry
            if not answer.get("Truncated"):
                return
            if not answer.get("NextMarker"):
                break
            request = request | {"Marker": answer["NextMarker"]}
        raise endless(operation)
