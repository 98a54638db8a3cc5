"""Inline session policies: they limit an assumed session to the operations of one command.

A session can do only what both the role's policies and this policy allow. The operations come from the table that
`iam` prints from (grants.py, creation.py, material.py), so that a command that is added there is limited here.
https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies.html#policies_session
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from bulk_import.iam import creation, replicas
from bulk_import.iam.grants import Asked, grants
from bulk_import.iam.material import statements
from bulk_import.iam.packing import Statement, policy
from bulk_import.iam.policies import LISTS, READS, key_arn
from bulk_import.model import Manifest, SessionPolicy, Target
from bulk_import.settings import Settings

LONGEST: Final = 2048  # characters: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html


def session_policies(manifest: Manifest, command: str, settings: Settings) -> dict[str, tuple[SessionPolicy, ...]]:
    """By account: the policies to assume its role with, the narrowest first. By the ARN of a role that material URIs
    name: the same for that role.

    An empty tuple: the role is assumed without a policy.
    """
    asked = Asked(settings.prove, settings.prove_use, command, frozenset(settings.correct))
    accounts: dict[str, list[Target]] = {}
    for target in manifest.targets:
        accounts.setdefault(target.lane.account, []).append(target)
    found = {account: _importer(targets, asked, settings) for account, targets in accounts.items()}
    sources = statements(manifest, None) if asked.opens_sources else {}
    return found | {role: _source(made, settings) for role, made in sources.items() if role is not None}


def discovery_policies(accounts: Iterable[str], settings: Settings) -> dict[str, tuple[SessionPolicy, ...]]:
    """The same for `discover`, which knows no keys before."""
    wide = [_allow([*LISTS, *READS], ["*"])]
    return {account: _chosen(None, wide, settings) for account in accounts}


def _importer(targets: Sequence[Target], asked: Asked, settings: Settings) -> tuple[SessionPolicy, ...]:
    operations = sorted(set(_operations(targets, asked, settings)))
    arns = [arn for target in targets if target.create is None and (arn := key_arn(target)) is not None]
    arns += [_primary(target) for target in targets if target.primary is not None]  # read, selected or not
    others = [name for name in operations if not name.startswith("kms:")]  # they name no key
    wanted = [_allow([name for name in operations if name.startswith("kms:")], sorted(set(arns)))]
    wanted += [_allow(others, ["*"])] if others else []
    known = all(target.create is None and key_arn(target) is not None for target in targets)
    return _chosen(wanted if known else None, [_allow(operations, ["*"])], settings)


def _primary(target: Target) -> str:
    """The ARN of the primary of a replica that is not named by alias."""
    if target.primary is None:
        raise RuntimeError("only a replica has a primary")
    lane = target.primary.lane
    key_id = target.primary.key_id.rsplit("/", 1)[-1].lower()
    return f"arn:{lane.partition}:kms:{lane.region}:{lane.account}:key/{key_id}"


def _source(made: Sequence[Statement], settings: Settings) -> tuple[SessionPolicy, ...]:
    """Of a role that reads material for the caller."""
    return _chosen(made, [statement | {"Resource": ["*"]} for statement in made], settings)


def _chosen(
    narrow: Sequence[Statement] | None, wide: Sequence[Statement], settings: Settings
) -> tuple[SessionPolicy, ...]:
    """`narrow` None: the keys are not known by their ARNs."""
    if settings.session_policy == "off":
        return ()
    found = [SessionPolicy("operations", _text(wide))]
    if narrow is not None and settings.session_policy == "keys":
        found.insert(0, SessionPolicy("keys", _text(narrow)))
    return tuple(one for one in found if len(one.document) <= LONGEST or one.scope == "operations")


def _operations(targets: Sequence[Target], asked: Asked, settings: Settings) -> Iterator[str]:
    for grant in dict.fromkeys(grant for target in targets for grant in grants(target, asked)):
        yield from (f"kms:{operation}" for operation in grant.operations)
    missing = creation.statements(targets, asked.command) if asked.finds_missing else ()
    for statement in (*missing, *replicas.statements(targets, creates=asked.creates)):
        yield from statement["Action"]
    if settings.quotas == "service-quotas":
        yield "servicequotas:GetServiceQuota"


def _allow(actions: Sequence[str], resources: Sequence[str]) -> Statement:
    """Without a Sid: it would cost characters."""
    return {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


def _text(made: Sequence[Statement]) -> str:
    bare = [{name: value for name, value in statement.items() if name != "Sid"} for statement in made]
    return json.dumps({"Version": policy([])["Version"], "Statement": bare}, separators=(",", ":"))
