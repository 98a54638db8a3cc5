"""Tags of keys, and the search by tag of the Resource Groups Tagging API.

https://docs.aws.amazon.com/kms/latest/developerguide/tagging-keys.html
https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html
"""

from __future__ import annotations

from typing import Any

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.kms import states
from bulk_import.sandbox.kms.keys import SandboxKey
from bulk_import.sandbox.kms.pages import page
from bulk_import.sandbox.kms.requests import Request

MOST = 50


class Tags:
    """The operations on tags."""

    def do_tag_resource(self, request: Request) -> None:
        key = request.key
        states.check("TagResource", key.arn, key.now().state)
        put(key, checked(request.params["Tags"], key.tags.now))

    def do_untag_resource(self, request: Request) -> None:
        key, gone = request.key, request.params["TagKeys"]
        states.check("UntagResource", key.arn, key.now().state)
        if any(name.lower().startswith("aws:") for name in gone):
            raise AwsError("TagException", "Tags beginning with aws: are reserved")
        put(key, {name: value for name, value in key.tags.now.items() if name not in gone})

    def do_list_resource_tags(self, request: Request) -> dict[str, Any]:
        tags = request.key.tags.at(request.at)
        return page("Tags", listed(tags), request.params, default=50)


def put(key: SandboxKey, tags: dict[str, str]) -> None:
    key.tags.set(tags, key.clock.now())


def listed(tags: dict[str, str]) -> list[dict[str, Any]]:
    return [{"TagKey": name, "TagValue": value} for name, value in tags.items()]


def checked(given: list[dict[str, str]], before: dict[str, str] | None = None) -> dict[str, str]:
    """All tags after `given` are set over `before`. Raises TagException."""
    names = [tag["TagKey"] for tag in given]
    if any(name.lower().startswith("aws:") for name in names):
        raise AwsError("TagException", "Tags beginning with aws: are reserved")
    if len(set(names)) < len(names):
        raise AwsError("TagException", "Duplicate tag keys")
    after = (before or {}) | {tag["TagKey"]: tag["TagValue"] for tag in given}
    if len(after) > MOST:
        raise AwsError("TagException", "Too many tags")
    return after


def get_resources(keys: list[SandboxKey], params: dict[str, Any], at: float | None) -> dict[str, Any]:
    """GetResources over KMS keys that have tags. `at`: the moment that the answering host knows; None: now."""
    wanted = [(entry["Key"], entry.get("Values") or []) for entry in params.get("TagFilters", [])]
    found = []
    for key in keys:
        tags = key.tags.at(at)
        if tags and all(name in tags and (not values or tags[name] in values) for name, values in wanted):
            found.append(
                {"ResourceARN": key.arn, "Tags": [{"Key": name, "Value": value} for name, value in tags.items()]}
            )
    token = params.get("PaginationToken") or "0"
    if not token.isdigit():
        raise AwsError("PaginationTokenExpiredException", "The token is not valid")
    start, size = int(token), int(params.get("ResourcesPerPage", 50))
    after = str(start + size) if start + size < len(found) else ""
    return {"PaginationToken": after, "ResourceTagMappingList": found[start : start + size]}
