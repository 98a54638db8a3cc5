"""Whether a response is about the key that was asked for. The KMS port checks every response here.

A connection that is off by one response, or a proxy with a cache, gives the right form of answer for the wrong key.
So every ARN and key ID in a response is compared with the request's:

- an ARN of another partition, account or Region than the lane's: LaneError (WrongAccount), which ends the lane;
- another key than the requested one: ServiceError (WrongKey). Where the request names an alias, its first response
  decides which key that is, and every later one must name the same;
- a key whose spec, origin or manager is not what an earlier response said: ServiceError (WrongKey);
- a key that CreateKey did not create, because it was known before or is not as requested: ServiceError (WrongKey).

https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id-key-ARN
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bulk_import.aws.answers import texts
from bulk_import.errors import LaneError, ServiceError
from bulk_import.model import Lane

# What never changes about a key, by the names of KeyMetadata; GetPublicKey repeats KeySpec.
_FIXED = ("KeySpec", "Origin", "KeyManager")
# What CreateKey's response repeats of its request.
_REQUESTED = ("KeySpec", "KeyUsage", "Origin", "MultiRegion", "Description")
_NAMES = ("Arn", "KeyId")  # how the names of members end that hold an ARN or a key ID
_NESTED = (dict, list)
_MAY_BE_IN_IT = (
    " The material may be in that key: before you use either key, look both up in CloudTrail by the request IDs."
)


class _Named(NamedTuple):
    """One ARN or key ID in a response. `path`: the members around it, outermost first; `value` empty: not a text."""

    path: tuple[str, ...]
    name: str
    value: str


class SameKey:
    """Remembers, for one lane, what each alias was resolved to and what each key is."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._keys = f"arn:{lane.partition}:kms:{lane.region}:{lane.account}:key/"
        self._resolved: dict[str, str] = {}  # alias or alias ARN, as requested → key ID
        self._facts: dict[str, tuple[str | None, ...]] = {}  # key ARN → the values of _FIXED
        self._shared: dict[tuple[str | None, ...], tuple[str | None, ...]] = {}  # one tuple for all keys of a kind

    def check(
        self, operation: str, request: Mapping[str, Any], answer: dict[str, Any], *, changes: bool, request_id: str
    ) -> None:
        """Raises LaneError or ServiceError (see above). `changes`: whether the operation may have changed a key."""

        def wrong(what: str) -> ServiceError:
            about = f" for {asked}" if asked is not None else ""
            found = f"{operation} was sent{about}, but {what}."
            return ServiceError(
                found + (_MAY_BE_IN_IT if operation == "ImportKeyMaterial" else ""),
                code="WrongKey",
                operation=operation,
                outcome_unknown=changes,
                request_id=request_id,
            )

        if operation == "ListKeys":
            return  # it may name keys that other accounts share: who asked leaves them out
        asked = request.get("KeyId")
        asked_id = None if asked is None else _key_id(asked)
        wanted = asked_id or self._resolved.get(asked or "")  # None: not known yet, or the request names no key
        found = _named(answer, [])
        for named in found:
            if not named.value:
                raise wrong(f"its {named.name} is empty or not a text")
            self._check_place(operation, named)
        keys = [named for named in found if named.name != "AliasArn"]
        for named in keys:
            key_id = _key_id(named.value)
            if key_id is None:
                raise wrong(f"the response names {named.value}, which is not a KMS key")
            if asked is not None and wanted is None:
                wanted = key_id  # an alias, for the first time: the response must agree with itself
            if wanted is not None and key_id != wanted:
                raise wrong(f"the response is for {named.value}")
        if operation == "CreateKey":
            self._check_new(request, answer, wrong)
        self._check_facts(operation, answer, asked, wrong, changes=changes)
        self._check_replica(answer, request, wrong)
        if asked is not None and wanted is not None and asked_id is None:
            self._resolved[asked] = wanted

    def check_lane(self, operation: str, arn: str | None) -> None:
        """Raises LaneError where the ARN, of any service, is not in the lane. Text that is not an ARN says nothing."""
        parts = (arn or "").split(":", 5)
        if len(parts) == 6:
            self._compare(operation, arn, parts, self._lane.region)

    def _check_place(self, operation: str, named: _Named) -> None:
        if named.value.startswith(self._keys):
            return
        parts = named.value.split(":", 5)
        if len(parts) != 6:
            return
        region: str | None = self._lane.region
        if "MultiRegionConfiguration" in named.path or "ReplicaKeyMetadata" in named.path:
            region = None  # related keys are in other Regions, with the same key ID; see also _check_replica
        self._compare(operation, named.value, parts, region)

    def _compare(self, operation: str, arn: str | None, parts: list[str], region: str | None) -> None:
        lane = self._lane
        _, partition, _, its_region, account, _ = parts
        if (partition, account) != (lane.partition, lane.account) or region not in (None, its_region):
            raise LaneError(
                f"{operation} answered {arn}, which is not in {lane.partition}, {lane.account}/{region or its_region}.",
                code="WrongAccount",
                operation=operation,
            )

    def _check_new(
        self, request: Mapping[str, Any], answer: Mapping[str, Any], wrong: Callable[[str], ServiceError]
    ) -> None:
        found = answer.get("KeyMetadata") or {}
        if found.get("Arn") in self._facts:
            raise wrong(f"the response is for {found['Arn']}, which existed before")
        for name in _REQUESTED:
            if name in request and found.get(name) != request[name]:
                raise wrong(f"the response is for {found.get('Arn')}, whose {name} is not the requested one")

    def _check_replica(
        self, answer: Mapping[str, Any], request: Mapping[str, Any], wrong: Callable[[str], ServiceError]
    ) -> None:
        """A new replica is in the Region that was requested, and of its primary's spec, origin and manager."""
        found = answer.get("ReplicaKeyMetadata")
        if not isinstance(found, dict) or not found.get("Arn"):
            return
        arn, region = str(found["Arn"]), request.get("ReplicaRegion")
        if arn.split(":")[3:4] != [region]:
            raise wrong(f"the response is for {arn}, which is not in {region}")
        facts = tuple(found.get(name) for name in _FIXED)
        primary = arn.replace(f":{region}:", f":{self._lane.region}:", 1)
        if (known := self._facts.get(primary, facts)) != facts:
            raise wrong(_difference(known, facts))

    def _check_facts(
        self, operation: str, answer: Mapping[str, Any], asked: str | None, wrong: Callable[[str], ServiceError],
        *, changes: bool,
    ) -> None:  # fmt: skip
        for member in ("KeyMetadata", "ReplicaKeyMetadata"):
            found = answer.get(member)
            if isinstance(found, dict) and found.get("Arn"):
                facts = tuple(found.get(name) for name in _FIXED)
                known = self._facts.get(found["Arn"])
                if known == facts:
                    continue
                texts(operation, found, *_FIXED, outcome_unknown=changes)
                if known is not None:
                    raise wrong(_difference(known, facts))
                self._facts[found["Arn"]] = self._shared.setdefault(facts, facts)
        spec, arn = answer.get("KeySpec"), answer.get("KeyId")
        known_facts = self._facts.get(arn or asked or "")
        if spec is not None and known_facts is not None and spec != known_facts[0]:
            raise wrong(_difference(known_facts, (spec, *known_facts[1:])))


def _difference(known: tuple[str | None, ...], found: tuple[str | None, ...]) -> str:
    changed = [
        f"{name} is {new}, and was {old}" for name, old, new in zip(_FIXED, known, found, strict=True) if old != new
    ]
    return f"the response describes another key: {'; '.join(changed)}"


def _key_id(text: str) -> str | None:
    """The key ID in a key ARN, or the text itself; None for an alias and for what is neither."""
    if not text.startswith("arn:"):
        return None if ":" in text or "/" in text or not text else text.lower()
    parts = text.split(":", 5)
    if len(parts) != 6 or parts[2] != "kms" or not parts[5].startswith("key/"):
        return None
    return parts[5].removeprefix("key/").lower()


def _named(value: dict[str, Any] | list[Any], found: list[_Named], path: tuple[str, ...] = ()) -> list[_Named]:
    """`found`, and every ARN and key ID in a response, however deep. AWS's names for them end with Arn or KeyId."""
    if isinstance(value, list):
        for member in value:
            if isinstance(member, _NESTED):
                _named(member, found, path)
        return found
    for name, member in value.items():
        if name.endswith(_NAMES):
            found.append(_Named(path, name, member if isinstance(member, str) else ""))
        elif isinstance(member, _NESTED) and name != "ResponseMetadata":
            _named(member, found, (*path, name))
    return found
