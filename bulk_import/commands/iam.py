"""`iam MANIFEST`: least-privilege policies for exactly this manifest. Touches no AWS service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import orjson
import typer

from bulk_import import api, iam
from bulk_import.commands import output
from bulk_import.errors import ExitCode, UsageError
from bulk_import.iam.cloudformation import LARGEST_BODY
from bulk_import.model import Manifest
from bulk_import.settings import Settings

ARGUMENTS: dict[str, Any] = {
    "manifest": Annotated[str, typer.Argument(metavar="MANIFEST", help="Path, s3://bucket/key, or - for stdin.")]
}
GROUPS = ("common", "caller", "manifest", "role", "failed", "prove", "correct", "prove_use", "format", "iam")
FORMATS = ("json", "cloudformation", "cloudformation-caller", "vault-policy")


def without_effect(settings: Settings) -> Iterator[tuple[str, str]]:
    """Settings that would do nothing next to the others, and why."""
    if settings.command == "prepare":
        for name in ("prove", "prove_use"):
            yield name, "with --command prepare: it proves nothing."
    elif settings.command not in ("run", "submit"):
        yield "prove_use", f"with --command {settings.command}, which encrypts nothing."


def execute(settings: Settings, manifest: str) -> ExitCode:
    output.configure(settings)
    loaded = api.load_manifest(manifest, settings, check_dates=False)
    iam.check_caller(settings.caller_arn, loaded.partition)
    asked = iam.Asked(settings.prove, settings.prove_use, settings.command, frozenset(settings.correct))
    accounts = [iam.access(loaded, account, asked, settings.caller_arn) for account in loaded.accounts]
    result = _result(settings, loaded, accounts, asked)
    _warn(settings, accounts, result)
    output.result(result)
    return ExitCode.OK


def _result(settings: Settings, manifest: Manifest, accounts: Sequence[iam.Access], asked: iam.Asked) -> bytes:
    if settings.format == "cloudformation":
        if len(accounts) > 1:
            raise UsageError(
                "--format cloudformation prints the template of one account: choose one with --only-account. "
                f"The manifest has {', '.join(manifest.accounts)}."
            )
        return iam.importer_template(accounts[0], settings.caller_arn).encode()
    if settings.format == "vault-policy":
        if not asked.opens_sources:
            raise UsageError(f"--format vault-policy: `{asked.command}` reads no key material.")
        text = iam.vault_policy(manifest)
        if text is None:
            raise UsageError("--format vault-policy: no material of this manifest comes from vault: or transit:.")
        return text.encode()
    if settings.format == "cloudformation-caller":
        template = iam.caller_template(manifest, settings.caller_arn, asked)
        if template is None:
            raise UsageError(
                "--format cloudformation-caller: the manifest has no role to assume (role: null). The policies that "
                "the caller needs are those of --format cloudformation."
            )
        return template.encode()
    found = iam.document(manifest, accounts, settings.caller_arn, asked)
    return orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _warn(settings: Settings, accounts: Sequence[iam.Access], result: bytes) -> None:
    """A policy wider than the manifest is never printed silently, --quiet or not."""
    for access in accounts:
        for warning in access.warnings:
            output.say(f"Warning: {warning}")
    role_less = any(access.trust is None for access in accounts)
    if settings.caller_arn is None and (role_less or settings.format in (None, "json")):
        output.say("Warning: without --caller-arn a placeholder stands for the caller, which IAM refuses.")
    if settings.format not in (None, "json") and len(result) > LARGEST_BODY:
        output.say(
            f"Warning: the template is longer than the {LARGEST_BODY:,} bytes that CloudFormation takes directly. "
            "Deploy it through S3 (aws cloudformation deploy --s3-bucket)."
        )
