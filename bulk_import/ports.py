"""What a stage asks of the world, as Protocols. commands/ hands the implementations in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from bulk_import.model import (
    AmongSeveral,
    ImportParameters,
    KeyRotation,
    KeyView,
    Lane,
    NewKey,
    NewReplica,
    ObjectFacts,
    ObjectUri,
)  # fmt: skip

T = TypeVar("T")


class Trace(Protocol):
    """What calls leave behind in their target's entry."""

    settling_until: float  # by the loop's clock: until then a refusal may pass by itself, and calls are repeated

    def sent(self, operation: str) -> None:
        """A request went out, or began to; said before its answer is, and of an import only where it did leave."""
        ...

    def note(self, operation: str, request_id: str) -> None:
        """It was answered, well or not."""
        ...


class KeyService(Protocol):
    """KMS as one lane sees it. Every call takes its permit first; reads are retried inside, imports are not.

    Every method raises ServiceError; LaneError where an answer carries another account's or Region's
    ARN, and ServiceError (WrongKey) where it is about another key than requested.
    API: https://docs.aws.amazon.com/kms/latest/APIReference/
    """

    lane: Lane

    async def describe_key(self, key_id: str, trace: Trace, *, at_once: bool = False) -> KeyView:
        """`key_id` may be an alias. Never over a connection that carried an import.

        `at_once`: a key that is not found is not waited for.
        """
        ...

    async def list_key_rotations(self, key_id: str, trace: Trace) -> list[KeyRotation]: ...

    async def get_parameters_for_import(
        self, key_id: str, trace: Trace, *, wrapping_algorithm: str, wrapping_key_spec: str
    ) -> ImportParameters: ...

    async def import_key_material(
        self,
        key_id: str,
        trace: Trace,
        *,
        token: bytes,
        sealed: bytes,
        valid_to: datetime | None,
        among: AmongSeveral | None = None,
        import_type: str | None = None,
    ) -> str | None:
        """One attempt, never repeated inside. Returns KeyMaterialId (symmetric keys), else None."""
        ...

    async def create_key(self, trace: Trace, *, wanted: NewKey) -> KeyView:
        """One attempt, never repeated inside: a repeat would make a second key."""
        ...

    async def create_alias(self, key_id: str, trace: Trace, *, alias: str) -> None:
        """One attempt, never repeated inside."""
        ...

    async def update_key_description(self, key_id: str, trace: Trace, *, description: str) -> None:
        """One attempt, never repeated inside."""
        ...

    async def tag_resource(self, key_id: str, trace: Trace, *, tags: Mapping[str, str]) -> None:
        """Other tags of the key stay. One attempt, never repeated inside."""
        ...

    async def put_key_policy(self, key_id: str, trace: Trace, *, policy: str) -> None:
        """Replaces the key policy; the lockout check is never bypassed. One attempt, never repeated inside."""
        ...

    async def delete_imported_key_material(self, key_id: str, trace: Trace, *, key_material_id: str | None) -> None:
        """`key_material_id` None: for material without an ID. One attempt, never repeated inside."""
        ...

    async def get_key_policy(self, key_id: str, trace: Trace) -> str:
        """JSON, as KMS normalises it."""
        ...

    async def rotate_key_on_demand(self, key_id: str, trace: Trace) -> None:
        """One attempt, never repeated inside. KMS answers before the pending material is the current one."""
        ...

    async def replicate_key(self, key_id: str, trace: Trace, *, wanted: NewReplica) -> KeyView:
        """One attempt, never repeated inside. Called in the primary's lane; returns the replica."""
        ...

    async def count_replica(self) -> None:
        """Takes the permits that KMS counts in the replica's lane for one ReplicateKey elsewhere: two of CreateKey."""
        ...

    async def list_aliases(self, key_id: str, trace: Trace) -> list[str]:
        """`alias/…` of one key."""
        ...

    async def list_keys(self, trace: Trace) -> list[str]:
        """ARNs of the lane's own keys."""
        ...

    async def aliases_of_all(self, trace: Trace) -> dict[str, list[str]]:
        """`alias/…` of every key of the lane, by key ID."""
        ...

    async def list_resource_tags(self, key_id: str, trace: Trace) -> dict[str, str]: ...

    async def keys_tagged(self, tag: str, trace: Trace) -> dict[str, list[str]]:
        """The lane's keys that have the tag: ARNs by the tag's value. Resource Groups Tagging API, GetResources."""
        ...

    async def generate_mac(self, key_id: str, trace: Trace, *, message: bytes, mac_algorithm: str) -> bytes: ...

    async def get_public_key(self, key_id: str, trace: Trace) -> bytes:
        """DER SubjectPublicKeyInfo."""
        ...

    async def encrypt(
        self, key_id: str, trace: Trace, *, plaintext: bytes, context: dict[str, str], algorithm: str
    ) -> bytes: ...

    async def decrypt(
        self, key_id: str, trace: Trace, *, ciphertext: bytes, context: dict[str, str], algorithm: str
    ) -> bytes: ...


class Retrier(Protocol):
    """Repeats what may be repeated without harm, with back-off and full jitter."""

    async def __call__(self, attempt: Callable[[], Awaitable[T]], *, settling_until: float = 0.0) -> T:
        """Raises the last ServiceError of `attempt` that is not to be repeated any more. See Trace.settling_until."""
        ...


class Sink(Protocol):
    """The journal: every stage writes to it, the report is a fold of it. No secret ever goes in."""

    def write(self, event: str, /, **fields: Any) -> None:
        """Appends one event, in order, buffered. Values: what orjson serialises."""
        ...

    async def sync(self) -> None:
        """Returns when all that was written is on disk. Raises JournalError where it cannot be."""
        ...


class Stores(Protocol):
    """Secrets Manager, Parameter Store and S3 as sources of key material, as the caller or one of its roles."""

    async def get(
        self, operation: str, request: Mapping[str, Any], *, region: str | None, role: str | None, limit: int
    ) -> Mapping[str, Any]:
        """The response of one request (GetSecretValue, GetParameter, GetObject), not repeated. `region` None: the
        caller's own. `role`: the ARN to assume first. S3's `Body` is bytes, at most one more than `limit`.

        Raises MaterialError.
        """
        ...

    async def close(self) -> None: ...


class ObjectStore(Protocol):
    """S3, as the caller (never as a lane). Every call is repeated inside, as far as that does no harm.

    Every method raises ObjectError, or CallerError where the caller's credentials do not work.
    API: https://docs.aws.amazon.com/AmazonS3/latest/API/
    """

    async def get(self, uri: ObjectUri, into: BinaryIO, *, limit: int) -> ObjectFacts:
        """Writes the object into `into`, from its beginning; more than `limit` bytes are an ObjectError."""
        ...

    async def look(self, uri: ObjectUri, *, head: int = 0) -> tuple[ObjectFacts, bytes] | None:
        """What is known of an object, and its first `head` bytes. None: there is none."""
        ...

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
        """Writes an object, and returns its ETag. `sha256` (hex) is what S3 checks the body by.

        `if_match`: only in the place of the object with this ETag; `if_none_match`: only where there is none. Else
        ObjectError with `conflict`.
        """
        ...

    async def remove(self, uri: ObjectUri) -> None:
        """Deletes an object; none there is no error."""
        ...

    async def copy(self, source: ObjectUri, to: ObjectUri, *, if_match: str) -> None:
        """Copies an object as long as its ETag is `if_match`, its metadata with it."""
        ...
