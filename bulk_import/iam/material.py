"""What the sources of key material need: statements for AWS's stores, a policy for Vault and OpenBao.

https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_iam-policies.html
https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-access.html
https://developer.hashicorp.com/vault/docs/concepts/policies
"""

from __future__ import annotations

from bulk_import.iam.packing import Statement
from bulk_import.material.sources import OF_AWS, transit, vault
from bulk_import.model import Manifest

_OPERATIONS = {"secretsmanager": "secretsmanager:GetSecretValue", "ssm": "ssm:GetParameter", "s3": "s3:GetObject"}


def statements(manifest: Manifest, account: str | None) -> dict[str | None, list[Statement]]:
    """By the role that asks (None: the caller): what it must be allowed to read. `account`: the caller's, if known.

    kms:Decrypt is needed only if a customer managed key encrypts the secret; the manifest does not say which key, so it
    is limited to use through the service.
    """
    found: dict[str | None, dict[str, dict[str, None]]] = {}
    for uri in dict.fromkeys(part.material for target in manifest.targets for part in target.parts):
        scheme, _, rest = uri.partition(":")
        if scheme in _OPERATIONS:
            role, resource = _resource(scheme, rest, manifest.partition, account or "*")
            found.setdefault(role, {}).setdefault(scheme, {})[resource] = None
    return {role: list(_of(by_scheme)) for role, by_scheme in found.items()}


def _resource(scheme: str, rest: str, partition: str, account: str) -> tuple[str | None, str]:
    asked = OF_AWS[scheme](rest)
    region = asked.region or "*"
    of_whom = asked.role.split(":")[4] if asked.role else account
    if scheme == "s3":
        return asked.role, f"arn:{partition}:s3:::{asked.path.removeprefix('//')}"
    if scheme == "ssm":
        return asked.role, f"arn:{partition}:ssm:{region}:{of_whom}:parameter/{asked.path.removeprefix('/')}"
    if asked.path.startswith("arn:"):
        return asked.role, asked.path
    # Secrets Manager ends a secret's ARN with a hyphen and six characters of its own.
    return asked.role, f"arn:{partition}:secretsmanager:{region}:{of_whom}:secret:{asked.path}-??????"


def _of(by_scheme: dict[str, dict[str, None]]) -> list[Statement]:
    made: list[Statement] = [
        {
            "Sid": f"Material{scheme.capitalize()}",
            "Effect": "Allow",
            "Action": [_OPERATIONS[scheme], *(["s3:GetObjectVersion"] if scheme == "s3" else [])],
            "Resource": list(resources),
        }
        for scheme, resources in by_scheme.items()
    ]
    services = [f"{scheme}.*.amazonaws.com*" for scheme in by_scheme]
    made.append(
        {
            "Sid": "MaterialDecrypt",
            "Effect": "Allow",
            "Action": ["kms:Decrypt"],
            "Resource": ["*"],
            "Condition": {"StringLike": {"kms:ViaService": services}},
        }
    )
    return made


def vault_policy(manifest: Manifest) -> str | None:
    """The policy of the token that a run uses at Vault or OpenBao, in HCL; None if no material comes from there.

    In a path, `+` is one complete segment, and `*` at the end is any ending.
    """
    rules: dict[str, str] = {}
    for uri in dict.fromkeys(part.material for target in manifest.targets for part in target.parts):
        scheme, _, rest = uri.partition(":")
        if scheme == "vault":
            place = vault.parse(rest)
            rules[f"{place.mount}/data/{place.path}"] = '"read"'
        elif scheme == "transit":
            key = transit.parse(rest)
            rules[f"{key.mount}/keys/{key.key}"] = '"read"'
            rules[f"{key.mount}/byok-export/+/{key.key}/{key.version}"] = '"read"'
            rules[f"{key.mount}/keys/kms-*"] = '"create", "read", "update", "delete"'
    if not rules:
        return None
    head = (
        "# Made by bulk-import. Wrapping keys that KMS gives are imported as kms-*, used once and deleted.\n"
        "# Anyone who may import a public key and export under it can export to themselves: see the page on sources.\n"
    )
    return head + "".join(
        f'path "{path}" {{\n  capabilities = [{capabilities}]\n}}\n' for path, capabilities in rules.items()
    )
