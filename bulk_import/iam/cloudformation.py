"""`iam --format cloudformation`: the importer role of one account, or the caller's policy, as a template in YAML.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-iam-role.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import yaml

from bulk_import.iam.caller import ARN_PATTERN
from bulk_import.iam.grants import RUN, Asked
from bulk_import.iam.packing import Document
from bulk_import.iam.policies import Access, caller_policies, trust_policy
from bulk_import.model import Manifest

_DOES: Final = {
    "run": "Imports key material into",
    "prepare": "Gets import parameters for",
    "delete": "Deletes key material of",
    **dict.fromkeys(("plan", "status", "discover"), "Reads"),
    "submit": "Imports sealed key material into",
}
LARGEST_BODY = 51_200  # bytes that CreateStack takes directly; a larger template goes through S3, up to 1 MB


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        """CloudFormation knows no YAML aliases: what is used twice is written twice."""
        return True


def importer_template(access: Access, caller_arn: str | None) -> str:
    """The account's role with its policies; for `role: null` the policies alone, attached to the caller.

    The statements for the key policies are in Metadata: CloudFormation cannot add one to a key that exists.
    """
    role_arn = access.account.role_arn
    if role_arn is None:
        attached, parameters, resources = _attachment(caller_arn), {}, {}
    else:
        attached, parameters = {"Roles": [{"Ref": "ImporterRole"}]}, {"CallerArn": _caller_parameter(caller_arn)}
        resources = {"ImporterRole": _role(access, role_arn)}
    resources |= _managed("ImporterPolicy", access.permissions, attached)
    key_policies = [
        {
            "Keys": [f"{target.lane.region} {target.key_id}" for target in each.targets],
            "Statements": list(each.statements),
        }
        for each in access.key_policies
    ]
    return _yaml(
        f"{_DOES[access.asked.command]} {len(access.targets)} keys of account {access.account.account}.",
        Metadata={"KeyPolicies": key_policies},
        Parameters=parameters,
        Resources=resources,
        Outputs={"RoleArn": {"Value": {"Fn::GetAtt": ["ImporterRole", "Arn"]}}} if role_arn else {},
    )


def caller_template(manifest: Manifest, caller_arn: str | None, asked: Asked = RUN) -> str | None:
    """What lets the caller assume the manifest's roles; None where it has no role."""
    policies = caller_policies(manifest, caller_arn, asked)
    if not policies:
        return None
    return _yaml(
        "Assumes the roles that import key material.",
        Resources=_managed("CallerPolicy", policies, _attachment(caller_arn)),
    )


def _role(access: Access, role_arn: str) -> dict[str, Any]:
    path, _, name = role_arn.split(":role", 1)[1].rpartition("/")
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "RoleName": name,
            "Path": f"{path}/",
            "MaxSessionDuration": 3600,  # role chaining allows no more
            "AssumeRolePolicyDocument": trust_policy({"Ref": "CallerArn"}, access.account.external_id),
        },
    }


def _managed(name: str, policies: Sequence[Document], attached: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{name}{number}": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"PolicyDocument": document, **attached},
        }
        for number, document in enumerate(policies, 1)
    }


def _attachment(caller_arn: str | None) -> dict[str, Any]:
    """To the caller, where it is a role or a user; a policy is attached by the name, without the path."""
    kind, _, name = (caller_arn or "").rsplit(":", 1)[-1].partition("/")
    attached = {"role": "Roles", "user": "Users"}.get(kind)
    return {attached: [name.rsplit("/", 1)[-1]]} if attached else {}


def _caller_parameter(caller_arn: str | None) -> dict[str, str]:
    default = {} if caller_arn is None else {"Default": caller_arn}
    return {
        "Type": "String",
        "Description": "ARN of the role, user or account that may assume the importer role.",
        "AllowedPattern": ARN_PATTERN,
        **default,
    }


def _yaml(description: str, **sections: dict[str, Any]) -> str:
    template = {"AWSTemplateFormatVersion": "2010-09-09", "Description": description}
    return yaml.dump(
        template | {name: section for name, section in sections.items() if section},
        Dumper=_Dumper,
        sort_keys=False,
        width=120,
    )
