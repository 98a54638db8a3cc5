"""Signature Version 4 of a request, computed again and compared.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import parse_qsl, quote, urlsplit

from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.calls import Call

ALGORITHM = "AWS4-HMAC-SHA256"
FIELDS = re.compile(r"Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]+)")
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)


def verify(call: Call, secret: str) -> None:
    """Raises AwsError unless `call` was signed with `secret`. A signed URL is not checked."""
    authorization = call.headers.get("Authorization", "")
    if not authorization:
        return
    match = FIELDS.search(authorization)
    if not match or not authorization.startswith(ALGORITHM) or "host" not in match[2].split(";"):
        raise AwsError(
            "IncompleteSignatureException", "Authorization header requires Credential, SignedHeaders and Sig"
        )
    credential, names, signature = match.groups()
    _, day, region, service, _ = credential.split("/")
    scope = f"{day}/{region}/{service}/aws4_request"
    request = hashlib.sha256(_canonical(call, names).encode()).hexdigest()
    text = "\n".join([ALGORITHM, call.headers.get("X-Amz-Date", ""), scope, request])
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    if not hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(), signature):
        if call.service in ("sts", "iam", "s3"):
            raise AwsError("SignatureDoesNotMatch", MISMATCH, 403)
        raise AwsError("InvalidSignatureException", MISMATCH)


def _canonical(call: Call, names: str) -> str:
    parts = urlsplit(call.path)
    path = parts.path or "/"
    path = quote(path, safe="/%~") if call.service == "s3" else quote(path, safe="/~")
    query = sorted(
        (quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in parse_qsl(parts.query, keep_blank_values=True)
    )
    headers = "".join(f"{name}:{' '.join(call.headers.get(name, '').split())}\n" for name in names.split(";"))
    payload = hashlib.sha256(call.body).hexdigest()
    if call.service == "s3":  # S3 signs the digest that the header states
        payload = call.headers.get("X-Amz-Content-SHA256", payload)
    return "\n".join([call.method, path, "&".join("=".join(pair) for pair in query), headers, names, payload])
