"""An STS that lets everybody in. Credentials are distinguished by their access key ID; signatures are not checked."""

from __future__ import annotations

import time
from urllib.parse import parse_qsl

from tests.bench.simulated_kms import Refusal

CALLER = "000000000000"  # the account of credentials that no AssumeRole of ours gave out


def account_of(access_key_id: str) -> str:
    """The account whose credentials these are: its number is in the access key IDs that AssumeRole gives out."""
    digits = access_key_id[4:16]
    return digits if access_key_id.startswith("ASIA") and digits.isdigit() else CALLER


def answer_sts(form: dict[str, str], account: str, request_id: str) -> str:
    """The XML of AssumeRole or GetCallerIdentity. Raises Refusal.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
    """
    action = form.get("Action", "")
    if action == "GetCallerIdentity":
        result = f"<Arn>arn:aws:iam::{account}:user/bench</Arn><UserId>AIDABENCH</UserId><Account>{account}</Account>"
    elif action == "AssumeRole":
        result = _assumed(form)
    else:
        raise Refusal("InvalidAction", f"Could not find operation {action}")
    return (
        f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    )


def _assumed(form: dict[str, str]) -> str:
    arn, session = form["RoleArn"], form["RoleSessionName"]
    account, role = arn.split(":")[4], arn.rsplit("/", 1)[-1]
    ends = time.time() + int(form.get("DurationSeconds", "3600"))
    expiration = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends))
    return (
        f"<AssumedRoleUser><Arn>arn:aws:sts::{account}:assumed-role/{role}/{session}</Arn>"
        f"<AssumedRoleId>AROABENCH:{session}</AssumedRoleId></AssumedRoleUser>"
        f"<Credentials><AccessKeyId>ASIA{account}BNCH</AccessKeyId><SecretAccessKey>{'s' * 40}</SecretAccessKey>"
        f"<SessionToken>{'t' * 400}</SessionToken><Expiration>{expiration}</Expiration></Credentials>"
    )


def form_of(body: bytes) -> dict[str, str]:
    return dict(parse_qsl(body.decode()))
