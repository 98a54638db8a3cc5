"""What AWS refuses before a service other than KMS acts, and moto does not: access to another account's things.

Without a policy on the thing itself, no one outside its account may touch it.
"""

from __future__ import annotations

import re

from moto.s3.models import s3_backends

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.calls import Call
from bulk_import.sandbox.identity import Principal

# Which parameter names the thing, by service.
NAMED_BY = {"secretsmanager": "SecretId", "ssm": "Name"}
ARN = re.compile(r"arn:[a-z-]+:[a-z]+:[a-z0-9-]*:(\d{12}):")


def check_account(call: Call, who: Principal) -> None:
    """Raises AwsError (AccessDenied) where `call` names a thing of another account."""
    if call.service == "s3":
        _check_bucket(call, who)
        return
    named = str(call.params.get(NAMED_BY.get(call.service, ""), ""))
    match = ARN.match(named)
    if match and match[1] != who.account:
        action = f"{call.service}:{call.operation}"
        raise AwsError(
            "AccessDeniedException",
            f"User: {who.arn} is not authorized to perform: {action} on resource: {named} because no resource-based "
            f"policy allows the {action} action",
        )


def _check_bucket(call: Call, who: Principal) -> None:
    """A bucket with a policy of its own is left to that policy, which moto does not evaluate."""
    name = bucket_of(call)
    owner = s3_backends.bucket_accounts.get(name)
    if owner is None or owner[1] == who.account:
        return
    partition, account = owner
    if s3_backends[account][partition].buckets[name].policy is None:
        raise AwsError("AccessDenied", "Access Denied", 403)


def bucket_of(call: Call) -> str:
    """The bucket that an S3 request names, in its path or as a name under localhost."""
    host = call.headers.get("Host", "").split(":")[0]
    if host.endswith(".localhost"):
        return host.removesuffix(".localhost").removesuffix(".s3")
    return call.path.lstrip("/").split("?")[0].split("/")[0]
