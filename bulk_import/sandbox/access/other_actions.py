"""What a request to another service needs, as far as the program and its sources use them.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from moto.utilities.utils import get_partition

from bulk_import.sandbox.access.documents import Asked
from bulk_import.sandbox.calls import Call
from bulk_import.sandbox.identity import Principal
from bulk_import.sandbox.other_services import bucket_of

# S3's action by HTTP method, for an object and for a bucket.
ON_OBJECT = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "POST": "PutObject", "DELETE": "DeleteObject"}
ON_BUCKET = {"GET": "ListBucket", "HEAD": "ListBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}


def asked_of(call: Call, who: Principal) -> Asked | None:
    """What `call` asks for; None: its service is not judged."""
    partition = get_partition(call.region)
    place = f"{call.region}:{who.account}"
    if call.service == "s3":
        return _s3(call, partition)
    if call.service == "secretsmanager":
        name = str(call.params.get("SecretId", "*"))
        # Secrets Manager ends a secret's ARN in six random characters.
        arn = name if name.startswith("arn:") else f"arn:{partition}:secretsmanager:{place}:secret:{name}-AbCdEf"
        return Asked(f"secretsmanager:{call.operation}", arn)
    if call.service == "ssm" and "Parameter" in call.operation:
        name = str(call.params.get("Name", "*"))
        arn = name if name.startswith("arn:") else f"arn:{partition}:ssm:{place}:parameter/{name.lstrip('/')}"
        return Asked(f"ssm:{call.operation}", arn.split(":parameter")[0] + ":parameter" + arn.split(":parameter")[1])
    if call.service == "servicequotas":
        codes = "/".join(str(call.params[name]) for name in ("ServiceCode", "QuotaCode") if name in call.params)
        resource = f"arn:{partition}:servicequotas:{place}:{codes}" if call.operation == "GetServiceQuota" else "*"
        return Asked(f"servicequotas:{call.operation}", resource)
    if call.service == "tagging":
        return Asked(f"tag:{call.operation}", "*")
    return None


def _s3(call: Call, partition: str) -> Asked:
    parts = urlsplit(call.path)
    bucket = bucket_of(call)
    in_path = parts.path.lstrip("/").removeprefix(bucket).lstrip("/")
    key = in_path if parts.path.lstrip("/").startswith(bucket) else parts.path.lstrip("/")
    context: dict[str, Any] = {}
    if not bucket:
        return Asked("s3:ListAllMyBuckets", "*")
    if not key:
        return Asked(f"s3:{ON_BUCKET.get(call.method, call.method)}", f"arn:{partition}:s3:::{bucket}")
    action = ON_OBJECT.get(call.method, call.method)
    if "versionId" in parse_qs(parts.query) and action == "GetObject":
        action = "GetObjectVersion"
    return Asked(f"s3:{action}", f"arn:{partition}:s3:::{bucket}/{unquote(key)}", context)
