"""Answers and errors in the three shapes that AWS's services use: JSON, query XML, S3's XML."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

JSON_TYPE = "application/x-amz-json-1.1"


class AwsError(Exception):
    """An error as AWS answers it. `status` is the HTTP status; an empty message is left out, as KMS does."""

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


@dataclass(slots=True)
class Answer:
    """One HTTP answer. `code` is AWS's error code, for the log of calls."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: list[tuple[str, str]] = field(default_factory=list)
    code: str = ""


def json_answer(value: Any, status: int = 200, content_type: str = JSON_TYPE) -> Answer:
    return Answer(status, json.dumps(value, separators=(",", ":")).encode(), content_type)


def xml_answer(operation: str, result: str, request_id: str) -> Answer:
    """An STS answer; `result` is the inside of the OperationResult element."""
    body = (
        f'<{operation}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{operation}Result>{result}'
        f"</{operation}Result><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        f"</{operation}Response>"
    )
    return Answer(200, body.encode(), "text/xml")


def error_answer(error: AwsError, service: str, request_id: str) -> Answer:
    """`error` in the protocol of `service` (the signing name: kms, sts, s3, …)."""
    if service == "s3":
        inner = (
            f"<Code>{error.code}</Code><Message>{escape(error.message)}</Message><RequestId>{request_id}</RequestId>"
        )
        return Answer(error.status, f"<Error>{inner}</Error>".encode(), "application/xml", code=error.code)
    if service in ("sts", "iam"):
        kind = "Sender" if error.status < 500 else "Receiver"
        body = (
            '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
            f"<Type>{kind}</Type><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return Answer(error.status, body.encode(), "text/xml", code=error.code)
    value = {"__type": error.code} | ({"message": error.message} if error.message else {})
    answer = json_answer(value, error.status)
    answer.code = error.code
    answer.headers.append(("x-amzn-ErrorType", error.code))
    return answer
