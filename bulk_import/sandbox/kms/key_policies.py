"""Key policies: read, replaced, and refused where KMS refuses them.

https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html
"""

from __future__ import annotations

import json
import re
from typing import Any

from bulk_import.sandbox.access.conditions import known
from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.kms.requests import Request

LARGEST = 32 * 1024  # bytes: https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html
LOCKOUT = "The new key policy will not allow you to update the key policy in the future."
PRINCIPALS = "Policy contains a statement with one or more invalid principals."
ALLOWED_FIELDS = frozenset(
    "Sid Effect Principal NotPrincipal Action NotAction Resource NotResource Condition".split()  # noqa: SIM905
)
PRINCIPAL = re.compile(
    r"\*|\d{12}|A[A-Z0-9]{15,}|arn:[a-z-]+:(iam|sts)::\d{12}:(root|(user|role|assumed-role|federated-user)/.+)"
)
PRINCIPAL_KINDS = frozenset(["AWS", "Service", "Federated", "CanonicalUser"])


class KeyPolicies:
    """The operations on key policies."""

    def do_put_key_policy(self, request: Request) -> None:
        params = request.params
        _only_default(params)
        accept(params["Policy"], request, bypass=params.get("BypassPolicyLockoutSafetyCheck", False))
        request.key.policy.set(params["Policy"], request.key.clock.now())

    def do_get_key_policy(self, request: Request) -> dict[str, Any]:
        _only_default(request.params)
        return {"Policy": request.key.policy.at(request.at), "PolicyName": "default"}

    def do_list_key_policies(self, _: Request) -> dict[str, Any]:
        return {"PolicyNames": ["default"], "Truncated": False}


def _only_default(params: dict[str, Any]) -> None:
    if params.get("PolicyName", "default") != "default":
        raise AwsError("NotFoundException", "No such policy exists")


def accept(text: str, request: Request, *, bypass: bool) -> None:
    """Raises AwsError for a key policy that KMS refuses; without `bypass`, also for one that locks out the caller."""
    if len(text.encode()) > LARGEST:
        raise AwsError("LimitExceededException", f"The key policy is larger than {LARGEST} bytes.")
    statements = parse(text)
    if not all(request.is_principal(name) for statement in statements for name in _named(statement)):
        raise _malformed(PRINCIPALS)
    if not bypass and not any(_lets_put(statement, request) for statement in statements):
        raise _malformed(LOCKOUT)


def parse(text: str) -> list[dict[str, Any]]:
    """The statements of a key policy. Raises MalformedPolicyDocumentException."""
    try:
        document = json.loads(text, object_pairs_hook=_once)
    except ValueError:
        raise _malformed("Policy contains invalid JSON.") from None
    if not isinstance(document, dict) or not set(document) <= {"Version", "Id", "Statement"}:
        raise _malformed("Policy is not a valid policy document.")
    if document.get("Version", "2008-10-17") not in ("2008-10-17", "2012-10-17"):
        raise _malformed("Policy document contains an unsupported version.")
    statements = document.get("Statement")
    statements = [statements] if isinstance(statements, dict) else statements
    if not isinstance(statements, list) or not statements:
        raise _malformed("Policy contains no statement.")
    for statement in statements:
        _check_statement(statement)
    return statements


def _check_statement(statement: Any) -> None:
    if not isinstance(statement, dict) or not set(statement) <= ALLOWED_FIELDS:
        raise _malformed("Policy contains a statement with an unknown element.")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise _malformed("Policy contains a statement with an invalid effect.")
    if ("Principal" in statement) == ("NotPrincipal" in statement):
        raise _malformed("Policy contains a statement with no principal.")
    if ("Action" in statement) == ("NotAction" in statement):
        raise _malformed("Policy contains a statement with no action.")
    if ("Resource" in statement) == ("NotResource" in statement):
        raise _malformed("Policy contains a statement with no resource.")
    for field in ("Action", "NotAction", "Resource", "NotResource"):
        if field in statement and not texts(statement[field]):
            raise _malformed(f"Policy contains a statement with an invalid {field.lower()}.")
    for action in texts(statement.get("Action", statement.get("NotAction"))):
        if action != "*" and not re.fullmatch(r"[a-zA-Z0-9-]+:[\w*?]+", action):
            raise _malformed("Policy contains a statement with one or more invalid actions.")
    _check_condition(statement.get("Condition", {}))
    _check_principal(statement.get("Principal", statement.get("NotPrincipal")))


def _check_condition(given: Any) -> None:
    if not isinstance(given, dict):
        raise _malformed("Policy contains a statement with an invalid condition.")
    if not all(known(operator) and isinstance(block, dict) for operator, block in given.items()):
        raise _malformed("Policy contains a statement with an invalid condition operator.")


def _check_principal(given: Any) -> None:
    wrong = _malformed(PRINCIPALS)
    if given == "*":
        return
    if not isinstance(given, dict) or not given or not set(given) <= PRINCIPAL_KINDS:
        raise wrong
    for kind, value in given.items():
        names = texts(value)
        if not names or (kind == "AWS" and not all(PRINCIPAL.fullmatch(name) for name in names)):
            raise wrong
        if kind == "Service" and not all("." in name for name in names):
            raise wrong


def texts(value: Any) -> list[str]:
    """A string or a list of strings as a list; empty for anything else."""
    values = value if isinstance(value, list) else [value]
    return values if values and all(isinstance(item, str) and item for item in values) else []


def _named(statement: dict[str, Any]) -> list[str]:
    """The AWS principals that a statement names."""
    given = statement.get("Principal", statement.get("NotPrincipal"))
    return texts(given.get("AWS", [])) if isinstance(given, dict) else []


def _lets_put(statement: dict[str, Any], request: Request) -> bool:
    """Whether a statement, its conditions aside, lets the caller put a key policy, directly or by way of IAM."""
    if statement["Effect"] != "Allow" or "Principal" not in statement:
        return False
    given = statement["Principal"]
    names = ["*"] if given == "*" else texts(given.get("AWS", []))
    who = request.who
    partition = who.arn.split(":")[1]
    mine = {"*", who.account, f"arn:{partition}:iam::{who.account}:root", who.arn, *who.role_arns}
    actions = [action.lower() for action in texts(statement.get("Action"))]
    may = any(re.fullmatch(_pattern(action), "kms:putkeypolicy") for action in actions)
    return may and not mine.isdisjoint(names)


def _pattern(action: str) -> str:
    return re.escape(action).replace(r"\*", ".*").replace(r"\?", ".")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a repeated name")
    return dict(pairs)


def _malformed(message: str) -> AwsError:
    return AwsError("MalformedPolicyDocumentException", message)
