"""The verdict on a request: deny before allow, and who has to allow it. AWS's words for a refusal.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics-single-account.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
https://docs.aws.amazon.com/kms/latest/developerguide/policy-evaluation.html
"""

from __future__ import annotations

from functools import lru_cache

from bulk_import.sandbox.access.documents import Asked, Document, Voice, listen, parse
from bulk_import.sandbox.answers import AwsError
from bulk_import.sandbox.identity import EVERYTHING, Principal


def judge(
    who: Principal, identity: list[Document], asked: Asked, key_policy: Document | None = None, *, granted: bool = False
) -> None:
    """Raises AwsError (AccessDenied) unless `who` may do what is `asked`.

    `key_policy`: of the key that `asked` is about; it must allow the principal, or its account and so IAM.
    `granted`: a grant allows it.
    """
    mine = listen(identity, asked)
    session = listen([_parsed(who.policy)], asked) if who.policy else None
    theirs = listen([key_policy], asked, who) if key_policy is not None else None
    for voice, kind in ((mine, "an identity-based"), (session, "a session"), (theirs, "a resource-based")):
        if voice is not None and voice.denied:
            raise denied(who, asked, f"with an explicit deny in {kind} policy")
    if granted:
        return
    if session is not None and not session.allowed:
        raise denied(who, asked, f"because no session policy allows the {asked.action} action")
    _allowed(who, asked, mine, theirs)


def judge_session(who: Principal, asked: Asked) -> None:
    """The same by the session's policy alone, as if the role were allowed everything."""
    judge(who, [EVERYTHING], asked)


@lru_cache(maxsize=1024)
def _parsed(policy: str) -> Document:
    """Each call of a session is judged by the same policy."""
    return parse(policy)


def _allowed(who: Principal, asked: Asked, mine: Voice, theirs: Voice | None) -> None:
    if theirs is not None and theirs.direct:
        return
    if not mine.allowed:
        raise denied(who, asked, f"because no identity-based policy allows the {asked.action} action")
    if theirs is not None and not theirs.allowed:
        raise denied(who, asked, f"because no resource-based policy allows the {asked.action} action")


def denied(who: Principal, asked: Asked, reason: str) -> AwsError:
    """The refusal in the form of the service that the action belongs to."""
    message = f"User: {who.arn} is not authorized to perform: {asked.action} on resource: {asked.resource}"
    if asked.action.startswith(("s3:", "iam:")):
        return AwsError("AccessDenied", f"{message} {reason}", 403)
    return AwsError("AccessDeniedException", f"{message} {reason}")
