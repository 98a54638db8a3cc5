"""S3's errors as this program's: what they mean for an object, or for the caller, and what to do."""

from __future__ import annotations

from bulk_import.errors import CallerError, ObjectError, ServiceError
from bulk_import.model import ObjectUri

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
CALLERS = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "InvalidClientTokenId",
     "CallerCredentialsMissing", "ClockSkew"}
)  # fmt: skip
ADVICE = {
    "NoSuchBucket": "Check the bucket's name and the partition; it is not made by this program.",
    "NoSuchKey": "Check the key, and that the step before has uploaded it.",
    "PreconditionFailed": "Another run writes to the same place. Use a separate key for each run.",
    "ConditionalRequestConflict": "Another run writes to the same place. Use a separate key for each run.",
    "ConnectionFailed": "Check the network path to S3: proxy, VPC endpoint, firewall, DNS.",
    "MalformedAnswer": "Something on the network path responds instead of S3: check the proxy and the endpoint.",
    "InvalidURI": "Nothing in the key is percent-decoded: write it as `aws s3 ls` shows it.",
    "TooLarge": "Check that this is the object that was meant; a manifest can be split into several.",
}
_DENIED = {
    "GetObject": "Grant the caller s3:GetObject on it, and kms:Decrypt on the key that it is encrypted with. "
    "Without s3:ListBucket, S3 calls a missing object denied, too: check the key.",
    "PutObject": "Grant the caller s3:PutObject and s3:GetObject on it (and on the names next to it), and "
    "kms:GenerateDataKey and kms:Decrypt on the KMS key of --s3-sse-kms-key-id; or look at the bucket's policy, "
    "which may ask for an encryption (--s3-sse).",
}
_DENIED["DeleteObject"] = "Grant the caller s3:DeleteObject on it."
_DENIED["ListObjectsV2"] = "Grant the caller s3:ListBucket on the bucket."
_DENIED["CopyObject"] = _DENIED["PutObject"]
_CALLERS_ADVICE = "Look at the credentials that this program was started with: they do not work at S3."
_ELSE = "Look the code up in the S3 API reference."


def of_object(error: ServiceError, uri: ObjectUri, operation: str) -> ObjectError:
    """What went wrong with the object."""
    advice = _DENIED[operation] if error.code == "AccessDenied" else ADVICE.get(error.code, _ELSE)
    return ObjectError(str(uri), f"{error.code}: {error.message} ({operation})", code=error.code, advice=advice)


def of_caller(error: ServiceError, uri: ObjectUri) -> CallerError:
    """The caller's credentials do not work."""
    advice = error.advice if error.code in ("CallerCredentialsMissing", "ClockSkew") else _CALLERS_ADVICE
    return CallerError(
        f"{uri}: the caller's credentials do not work: {error.message} ({error.operation})",
        code=error.code,
        advice=advice,
    )
