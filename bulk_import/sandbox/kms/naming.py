"""Which key a request names: by key ID, key ARN, alias or alias ARN, and KMS's refusals of anything else.

https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id
"""

from __future__ import annotations

import re

from moto.utilities.utils import get_partition

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.kms.keys import SandboxKey
from bulk_import.sandbox.kms.quotas import CRYPTOGRAPHIC
from bulk_import.sandbox.kms.requests import Request

# Operations whose key may be named by an alias; all others take a key ID or key ARN.
ALIAS_ALLOWED = (CRYPTOGRAPHIC - {"GenerateRandom"}) | {"DescribeKey", "GetPublicKey", "ListAliases"}
KEY_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32}")


def resolve(request: Request, key_id: str) -> SandboxKey:
    """The key that `key_id` names in the caller's account and Region, as the answering host knows it.

    Raises AwsError: NotFoundException, InvalidArnException; AccessDeniedException for another account's key.
    """
    store = request.store
    name = key_id
    if key_id.startswith("arn:"):
        name = _inside(request, key_id)
    if name.startswith("alias/"):
        if request.operation not in ALIAS_ALLOWED:
            raise AwsError("NotFoundException", f"Invalid keyId '{key_id}'")
        target = store.alias_target(name, request.at)
        if target is None:
            raise alias_missing(store.alias_arn(name))
        name = target
    elif name not in store.keys and not KEY_ID.fullmatch(name):
        raise AwsError("NotFoundException", f"Invalid keyId '{name}'")
    found = store.find(name)
    if found is None or (request.at is not None and found.as_of(request.at) is None):
        raise missing(store.key_arn(name))
    return found


def _inside(request: Request, arn: str) -> str:
    """The key ID or alias name of an ARN."""
    parts = arn.split(":", 5)
    if len(parts) < 6 or parts[2] != "kms" or not parts[5].startswith(("key/", "alias/")):
        raise AwsError("InvalidArnException", f"Invalid arn {arn}")
    _, partition, _, region, account, resource = parts
    here = request.store.region_name
    if partition != get_partition(here):
        raise AwsError("NotFoundException", f"Invalid arn {partition}")
    if region != here:
        raise AwsError("NotFoundException", f"Invalid arn {region}")
    if account != request.who.account:
        raise AwsError(
            "AccessDeniedException",
            f"User: {request.who.arn} is not authorized to perform: kms:{request.operation} on resource: {arn} because "
            f"no resource-based policy allows the kms:{request.operation} action",
        )
    return resource.removeprefix("key/")


def missing(arn: str) -> AwsError:
    return AwsError("NotFoundException", f"Key '{arn}' does not exist")


def alias_missing(arn: str) -> AwsError:
    return AwsError("NotFoundException", f"Alias {arn} is not found.")
