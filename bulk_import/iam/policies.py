"""Policy documents of one account: the importer role's permissions, its trust policy, its keys' policies.

How a key is named decides how its statement finds it:
- by key ID or key ARN: the ARN is in Resource, and nothing else is allowed.
- by alias: an alias in Resource grants nothing on the key behind it. So Resource is every key of the account and
  Region, and kms:ResourceAliases, the aliases that the key has, not the name in the request, narrows it.
  kms:RequestAlias would not do: it is the alias in the request, and a run names the key by alias only once, in its
  first DescribeKey; all its other calls name the ARN.
https://docs.aws.amazon.com/kms/latest/developerguide/alias-authorization.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bulk_import.iam import creation, replicas
from bulk_import.iam.caller import PLACEHOLDER
from bulk_import.iam.grants import RUN, Asked, Condition, Grant, grants
from bulk_import.iam.material import statements
from bulk_import.iam.packing import (
    MANAGED_POLICIES,
    MANAGED_POLICY,
    TRUST_POLICY,
    Document,
    Statement,
    pack,
    policy,
    size,
)
from bulk_import.model import AccountAccess, Lane, Manifest, Target

ORDER = (
    "Read",
    "SetPolicy",
    "SetTags",
    "SetDescription",
    "Parameters",
    "Import",
    "Rotate",
    "ProveUse",
    "Delete",
)  # of the grants in a policy: that of a run
EXTERNAL: Condition = ("StringEquals", "kms:KeyOrigin", ("EXTERNAL",))


LISTS = ("kms:ListAliases", "kms:ListKeys")  # what `discover` calls
READS = ("kms:DescribeKey", "kms:ListKeyRotations")


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """Statements for the key policy of each of these keys, which differ in nothing that the statements say."""

    targets: tuple[Target, ...]
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """Everything that one account needs. `trust` None: the account is entered with the caller's own credentials."""

    account: AccountAccess
    asked: Asked
    targets: tuple[Target, ...]
    permissions: tuple[Document, ...]
    trust: Document | None
    key_policies: tuple[KeyPolicy, ...]
    warnings: tuple[str, ...]


def access(manifest: Manifest, account: str, asked: Asked, caller_arn: str | None) -> Access:
    """The policies of one of the manifest's accounts. `caller_arn` None: a placeholder that IAM refuses."""
    entered = manifest.accounts[account]
    targets = tuple(target for target in manifest.targets if target.lane.account == account)
    warnings: list[str] = []
    permissions = _permissions(account, targets, asked, warnings)
    caller = caller_arn or PLACEHOLDER
    trust = None if entered.role_arn is None else trust_policy(caller, entered.external_id)
    if trust is not None and size(trust) > TRUST_POLICY:
        warnings.append(
            f"Account {account}: the trust policy is longer than the {TRUST_POLICY:,} characters of the quota."
        )
    key_policies = _key_policies(targets, asked, entered.role_arn or caller)
    return Access(entered, asked, targets, permissions, trust, key_policies, tuple(warnings))


def trust_policy(caller: Any, external_id: str | None) -> Document:
    """Who may assume the role. https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_common-scenarios_third-party.html"""
    statement: Statement = {
        "Sid": "Caller",
        "Effect": "Allow",
        "Principal": {"AWS": caller},
        "Action": "sts:AssumeRole",
    }
    if external_id is not None:
        statement["Condition"] = {"StringEquals": {"sts:ExternalId": external_id}}
    return policy([statement])


def caller_policies(manifest: Manifest, caller_arn: str | None, asked: Asked = RUN) -> list[Document]:
    """What the caller needs: sts:AssumeRole on exactly the roles of the manifest, and what its sources of material
    need. Empty if that is nothing.
    """
    material = statements(manifest, caller_arn.split(":")[4] if caller_arn else None) if asked.opens_sources else {}
    roles = {entered.role_arn for entered in manifest.accounts.values() if entered.role_arn is not None}
    roles |= {role for role in material if role is not None}
    needed = list(material.get(None, []))
    if roles:
        assume = {"Sid": "AssumeImporters", "Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": sorted(roles)}
        needed.insert(0, assume)
    # More roles than ten policies hold is more than one caller may be given: the policies are all printed then.
    return (pack(needed, most=len(roles) + sum(len(one["Resource"]) for one in needed)) or []) if needed else []


def _permissions(account: str, targets: Sequence[Target], asked: Asked, warnings: list[str]) -> tuple[Document, ...]:
    if asked.command == "discover":
        return _to_discover(targets)
    aliased = sum(alias_of(target) is not None and not replicas.by_alias(target) for target in targets)
    if aliased:
        warnings.append(
            f"Account {account}: {aliased} of {len(targets)} keys are named by alias. Their policy allows any "
            "EXTERNAL key that has the alias, so anyone who may move the alias moves the permission. For a policy on "
            "exactly these keys, specify key ARNs in the manifest."
        )
    unaliased = sum(replicas.by_alias(target) for target in targets)
    if unaliased:
        warnings.append(
            f"Account {account}: {unaliased} replicas are named by their primary's alias, so that their key ID is not "
            "known here. Their policy allows any EXTERNAL replica of the Region. For a policy on exactly these keys, "
            "specify the key ID (mrk-…) in the manifest."
        )
    creating = [*(creation.statements(targets, asked.command) if asked.finds_missing else ())]
    creating += replicas.statements(targets, creates=asked.creates)
    if asked.creates and any(target.create is not None for target in targets):
        warnings.append(
            f"Account {account}: the role may create KMS keys, each of which costs money, for aliases of the manifest."
        )
    administered = sum(target.create is not None and target.create.policy is not None for target in targets)
    if administered and asked.creates:
        warnings.append(
            f"Account {account}: the role may replace the key policies of {administered} of {len(targets)} keys "
            "(create.policy). This makes it an administrator of those keys: it can give anyone access to them."
        )
    exact = pack([*_exact_statements(_by_grant(targets, asked)), *creating])
    if exact is not None:
        return tuple(exact)
    lanes = sorted({target.lane for target in targets})
    warnings.append(
        f"Account {account}: policies on exactly its {len(targets)} keys are longer than {MANAGED_POLICIES} managed "
        f"policies of {MANAGED_POLICY:,} characters. What is printed allows EVERY key of Origin EXTERNAL in "
        f"{', '.join(lane.region for lane in lanes)}. Split the work over several roles to keep it narrow."
    )
    parts = (part for target in targets for part in target.parts)
    fixed = [part.expiry.valid_to for part in parts if part.expiry.valid_to is not None]
    grouped = _by_grant(targets, asked, latest=max(fixed, default=None))
    everything = [_any_key(lane) for lane in lanes]
    wide = [*(_statement(grant, everything, (EXTERNAL,)) for grant in grouped), *creating]
    return tuple(pack(wide, most=len(wide)) or [policy(wide)])


def _to_discover(targets: Sequence[Target]) -> tuple[Document, ...]:
    """To list the keys of the targets' lanes, and to read each: ListKeys and ListAliases know no resources."""
    keys = [_any_key(lane) for lane in dict.fromkeys(target.lane for target in targets)]
    statements: list[Statement] = [
        {"Sid": "List", "Effect": "Allow", "Action": list(LISTS), "Resource": ["*"]},
        {"Sid": "Read", "Effect": "Allow", "Action": list(READS), "Resource": keys},
    ]
    return tuple(pack(statements, most=len(statements)) or [policy(statements)])


def _by_grant(targets: Iterable[Target], asked: Asked, **options: Any) -> dict[Grant, list[Target]]:
    grouped: dict[Grant, list[Target]] = {}
    for target in targets:
        for grant in grants(target, asked, **options):
            grouped.setdefault(grant, []).append(target)
    return grouped


def _exact_statements(grouped: dict[Grant, list[Target]]) -> Iterable[Statement]:
    for grant, targets in sorted(grouped.items(), key=lambda item: ORDER.index(item[0].name)):
        arns = dict.fromkeys(arn for target in targets if (arn := key_arn(target)) is not None)
        if arns:
            yield _statement(grant, list(arns), ())
        related = dict.fromkeys(replicas.keys(target.lane) for target in targets if replicas.by_alias(target))
        if related:
            yield _statement(grant, list(related), (EXTERNAL, replicas.REPLICA))
        aliases: dict[Lane, dict[str, None]] = {}
        for target in targets:
            if replicas.by_alias(target):
                continue
            if (alias := alias_of(target)) is not None:
                aliases.setdefault(target.lane, {})[alias] = None
        alike: dict[tuple[str, ...], list[str]] = {}
        for lane, names in aliases.items():
            alike.setdefault(tuple(names), []).append(_any_key(lane))
        for names_, keys in alike.items():
            yield _statement(grant, keys, (EXTERNAL, ("ForAnyValue:StringEquals", "kms:ResourceAliases", names_)))


def _statement(grant: Grant, resources: list[str], narrowed: tuple[Condition, ...]) -> Statement:
    statement: Statement = {
        "Sid": grant.name,
        "Effect": "Allow",
        "Action": [f"kms:{operation}" for operation in grant.operations],
        "Resource": resources,
    }
    conditions = _conditions((*grant.conditions, *narrowed))
    return statement | {"Condition": conditions} if conditions else statement


def _key_policies(targets: Sequence[Target], asked: Asked, principal: str) -> tuple[KeyPolicy, ...]:
    """In a key policy Resource "*" is the key itself. https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html"""
    alike: dict[tuple[Grant, ...], list[Target]] = {}
    for target in targets:
        alike.setdefault(grants(target, asked), []).append(target)
    found = []
    for needed, those in alike.items():
        statements = []
        for grant in needed:
            statement = _statement(grant, ["*"], ())
            named = {"Sid": f"BulkImport{grant.name}", "Effect": "Allow", "Principal": {"AWS": principal}}
            statements.append(named | {name: value for name, value in statement.items() if name not in named})
        found.append(KeyPolicy(tuple(those), tuple(statements)))
    return tuple(found)


def _conditions(conditions: Iterable[Condition]) -> dict[str, dict[str, list[str]]]:
    joined: dict[str, dict[str, list[str]]] = {}
    for operator, key, values in conditions:
        joined.setdefault(operator, {})[key] = list(values)
    return joined


def _any_key(lane: Lane) -> str:
    return f"arn:{lane.partition}:kms:{lane.region}:{lane.account}:key/*"


def alias_of(target: Target) -> str | None:
    """`alias/…`, where the manifest names the key by an alias or its ARN."""
    name = target.key_id.rsplit(":", 1)[-1]
    return name if name.startswith("alias/") else None


def key_arn(target: Target) -> str | None:
    """The key's ARN, where the manifest names it by key ID or ARN; in lower case, as KMS writes it and IAM compares."""
    if alias_of(target) is not None:
        return None
    return _any_key(target.lane).removesuffix("*") + target.key_id.rsplit("/", 1)[-1].lower()
