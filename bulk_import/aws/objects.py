"""S3 with the caller's own credentials: the port ObjectStore. A lane's role never reads a manifest nor writes a report.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html
A bucket of another Region is found by S3's own redirect.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from aiohttp import ClientError as HttpError
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from bulk_import.aws import object_errors
from bulk_import.aws.pace.retry import Retry
from bulk_import.aws.wire.clients import Clients
from bulk_import.aws.wire.trace import Traced
from bulk_import.aws.wire.translate import translate
from bulk_import.errors import CallerError, CallerFault, ObjectError, Problem, ServiceError, SettingsError
from bulk_import.model import S3_SCHEME, ObjectFacts, ObjectUri
from bulk_import.settings import Settings

T = TypeVar("T")

MOST_NAMES = 10_000  # of one prefix
_CHUNK = 1 << 20  # bytes read at once
SLOWEST = 32 << 10  # bytes a second: a transfer below it is given up and tried again


@asynccontextmanager
async def open_objects(settings: Settings, *, partition: str = "aws", run_id: str = "-") -> AsyncIterator[S3Objects]:
    """Makes the client, and finds the caller's credentials; calls no one at S3.

    `partition`: whose first Region is asked where none is configured. Raises CallerError, SettingsError.
    """
    async with Clients(settings, run_id, partition) as clients:
        credentials = await clients.caller_credentials()
        yield S3Objects(await clients.s3(clients.region), credentials, settings)


def fetch(uri: str, settings: Settings, *, limit: int) -> bytes:
    """One object. May be called inside a running event loop, which then waits.

    Raises ObjectError, CallerError, SettingsError.
    """
    try:
        wanted = ObjectUri.parse(uri)
    except ValueError as error:
        raise ObjectError(uri, f"{error}.", code="InvalidURI", advice=object_errors.ADVICE["InvalidURI"]) from None

    async def work() -> bytes:
        async with open_objects(settings) as store:
            into = io.BytesIO()
            await store.get(wanted, into, limit=limit)
            return into.getvalue()

    return outside(work)


def outside(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs `work` in an event loop of its own, also where one is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work()).result()


def fetch_all(
    prefix: str, settings: Settings, *, choose: Callable[[list[str]], list[str]], limit: int
) -> Iterator[tuple[str, bytes]]:
    """Objects whose key begins with the prefix, as (URI, content). `choose`: which of the URIs, and in which order.

    Raises ObjectError, CallerError, SettingsError.
    """

    async def names() -> list[str]:
        async with open_objects(settings) as store:
            return await store.names(prefix)

    for uri in choose(outside(names)):
        yield uri, fetch(uri, settings, limit=limit)


class S3Objects:
    """Implements ports.ObjectStore. Made by `open_objects`."""

    def __init__(self, client: Any, credentials: Any, settings: Settings) -> None:
        self._client = client
        self._credentials = credentials
        self._retry = Retry(settings.retry_timeout, consistency_timeout=0)
        self._patience = 2 * settings.connect_timeout + settings.read_timeout
        self._encryption = _encryption(settings)

    async def get(self, uri: ObjectUri, into: BinaryIO, *, limit: int) -> ObjectFacts:
        async def attempt(clock: asyncio.Timeout) -> ObjectFacts:
            into.seek(0)
            into.truncate()
            answer = await self._client.get_object(Bucket=uri.bucket, Key=uri.key)
            facts = _facts(answer)
            clock.reschedule(asyncio.get_running_loop().time() + self._patience + min(facts.size, limit) / SLOWEST)
            body = answer["Body"]  # entering it gives the bare response, which checks nothing
            async with body:
                if facts.size > limit:
                    message = f"is larger than {limit >> 20} MiB ({facts.size:,} bytes)."
                    raise ObjectError(str(uri), message, code="TooLarge", advice=object_errors.ADVICE["TooLarge"])
                while chunk := await body.read(_CHUNK):  # length and checksum are checked at its end
                    into.write(chunk)
            return facts

        return await self._call("GetObject", uri, attempt)

    async def names(self, prefix: str) -> list[str]:
        """The URIs of all objects whose key begins with that of `prefix`, in their order. A missing bucket has none."""
        bucket, _, start = prefix.removeprefix(S3_SCHEME).partition("/")
        where = ObjectUri(bucket, start or "/")

        async def attempt(_: asyncio.Timeout) -> list[str]:
            found: list[str] = []
            request: dict[str, Any] = {"Bucket": bucket, "Prefix": start}
            while True:
                answer = await self._client.list_objects_v2(**request)
                found += [f"{S3_SCHEME}{bucket}/{entry['Key']}" for entry in answer.get("Contents", [])]
                if not answer.get("IsTruncated"):
                    return sorted(found)
                if len(found) >= MOST_NAMES:
                    message = f"more than {MOST_NAMES:,} objects begin with this prefix."
                    raise ObjectError(prefix, message, code="TooLarge", advice="Name a longer prefix.")
                request["ContinuationToken"] = answer["NextContinuationToken"]

        return await self._call("ListObjectsV2", where, attempt)

    async def look(self, uri: ObjectUri, *, head: int = 0) -> tuple[ObjectFacts, bytes] | None:
        async def attempt(_: asyncio.Timeout) -> tuple[ObjectFacts, bytes]:
            # Not HeadObject: its errors have no body, so a missing bucket would look like a missing key.
            answer = await self._client.get_object(Bucket=uri.bucket, Key=uri.key)
            first = bytearray()
            body = answer["Body"]
            async with body:
                while len(first) < head and (chunk := await body.read(head - len(first))):
                    first += chunk
            return _facts(answer), bytes(first)

        try:
            return await self._call("GetObject", uri, attempt)
        except ObjectError as error:
            if error.missing:
                return None
            raise

    async def put(
        self,
        uri: ObjectUri,
        body: Path | bytes,
        *,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
        if_match: str | None = None,
        if_none_match: bool = False,
    ) -> str:
        request: dict[str, Any] = {
            "Bucket": uri.bucket,
            "Key": uri.key,
            "ContentType": content_type,
            "ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256)).decode(),
            "Metadata": dict(metadata),
            **self._encryption,
        }
        if if_match is not None:
            request["IfMatch"] = if_match
        if if_none_match:
            request["IfNoneMatch"] = "*"

        async def attempt(_: asyncio.Timeout) -> str:
            with ExitStack() as stack:
                whole = stack.enter_context(body.open("rb")) if isinstance(body, Path) else body
                answer = await self._client.put_object(Body=whole, **request)
            return str(_whole("PutObject", answer, "ETag")["ETag"])

        return await self._call("PutObject", uri, attempt, size=_size(body))

    async def remove(self, uri: ObjectUri) -> None:
        async def attempt(_: asyncio.Timeout) -> None:
            await self._client.delete_object(Bucket=uri.bucket, Key=uri.key)

        await self._call("DeleteObject", uri, attempt)

    async def copy(self, source: ObjectUri, to: ObjectUri, *, if_match: str) -> None:
        async def attempt(_: asyncio.Timeout) -> None:
            await self._client.copy_object(
                Bucket=to.bucket,
                Key=to.key,
                CopySource={"Bucket": source.bucket, "Key": source.key},
                CopySourceIfMatch=if_match,
                **self._encryption,
            )

        await self._call("CopyObject", to, attempt)

    async def _call(
        self, operation: str, uri: ObjectUri, attempt: Callable[[asyncio.Timeout], Awaitable[T]], *, size: int = 0
    ) -> T:
        """`size`: bytes to send. The attempt has time for them, and then for the response."""
        region = str(self._client.meta.region_name)

        async def once() -> T:
            try:
                async with asyncio.timeout(self._patience + size / SLOWEST) as clock:
                    with Traced(operation, self._credentials, service="s3", region=region):
                        return await attempt(clock)
            except CallerFault as error:
                raise CallerError(f"{uri}: {error.message}", code=error.code, advice=error.advice) from None
            except (ClientError, BotoCoreError, HttpError, ResponseParserError, TimeoutError) as error:
                translated = translate(error, operation, region)
            if translated.code in object_errors.CALLERS:  # before any repeating: these stay as they are
                raise object_errors.of_caller(translated, uri)
            raise translated

        try:
            return await self._retry(once)
        except ServiceError as error:
            raise object_errors.of_object(error, uri, operation) from None


def _size(body: Path | bytes) -> int:
    return body.stat().st_size if isinstance(body, Path) else len(body)


def _encryption(settings: Settings) -> dict[str, str]:
    """Raises SettingsError."""
    way, key = settings.s3_sse, settings.s3_sse_kms_key_id
    if key is None:
        return {"ServerSideEncryption": way} if way else {}
    if way == "AES256":
        advice = "Omit one of the two, or use --s3-sse aws:kms."
        raise SettingsError([Problem("settings", 0, "--s3-sse-kms-key-id", "AES256 takes no KMS key.", advice)])
    return {"ServerSideEncryption": way or "aws:kms", "SSEKMSKeyId": key}


def _whole(operation: str, answer: Mapping[str, Any], *needed: str) -> Mapping[str, Any]:
    """Raises ServiceError for a 200 that is not S3's."""
    missing = [name for name in needed if name not in answer]
    if missing:
        message = f"The response lacks {missing[0]}."
        raise ServiceError(message, code="MalformedAnswer", operation=operation, retryable=True)
    return answer


def _facts(answer: Mapping[str, Any]) -> ObjectFacts:
    answer = _whole("GetObject", answer, "ETag", "ContentLength", "LastModified")
    return ObjectFacts(
        etag=str(answer["ETag"]),
        size=int(answer["ContentLength"]),
        modified=answer["LastModified"],
        metadata=dict(answer.get("Metadata", {})),
    )
