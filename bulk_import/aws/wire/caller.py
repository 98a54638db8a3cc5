"""The caller's own credentials, and what is wrong where they cannot be had: which provider, variable or file.

A fault of theirs is never a fault of the network and never a defect of the program: it ends the run at once, also in
the middle of it. No message quotes what a process, a file or an endpoint answered: that may be a secret.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    CredentialRetrievalError,
    InfiniteLoopConfigError,
    InvalidConfigError,
    PartialCredentialsError,
    RefreshWithMFAUnsupportedError,
    SSOError,
    TokenRetrievalError,
    UnknownCredentialError,
)

from bulk_import.aws.wire.faults import NetworkFault
from bulk_import.codes import THROTTLED, advice_for
from bulk_import.errors import BulkImportError, CallerFault, ServiceError

LIMIT = 180.0  # seconds for one provider; a credential process has a limit of its own, below this one
_SIGNABLE = re.compile(r"[\x21-\x7e]+")
_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

# What STS and IAM Identity Center say of the caller's own request for credentials.
# https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
_ADVICE = {
    "ExpiredToken": "The token or the source credentials have expired. Let the pipeline get a new OIDC token right "
    "before the run (and again for a long one), or renew the source credentials.",
    "InvalidIdentityToken": "STS does not accept the OIDC token. Check the identity provider in IAM: its URL must be "
    "the token's issuer, its audience the token's `aud`; and that the token file is the pipeline's current one.",
    "IDPCommunicationError": "STS could not reach the token's issuer. Check that its keys are published, then run "
    "again.",
    "IDPRejectedClaim": "The token's issuer or audience is not the one that IAM knows. Check the identity provider.",
    "ValidationError": "STS refused a value of the profile or of AWS_ROLE_*: check role_arn (AWS_ROLE_ARN), "
    "role_session_name (AWS_ROLE_SESSION_NAME), external_id, mfa_serial and duration_seconds.",
    "AccessDenied": "The trust policy of the role does not allow this caller or token. Check its Principal, and its "
    "conditions on `sub` and `aud`.",
}
_ADVICE |= {"ExpiredTokenException": _ADVICE["ExpiredToken"], "InvalidIdentityTokenException":
            _ADVICE["InvalidIdentityToken"]}  # fmt: skip


class CallerCredentials:
    """The caller's own, as one provider gives and renews them. `source`: that provider, for messages."""

    def __init__(self, credentials: Any, method: str, source: str) -> None:
        self._credentials = credentials
        self._method = method
        self._source = source
        self._checked: Any = None

    async def get_frozen_credentials(self) -> Any:
        """botocore's tuple of key, secret and token. Raises CallerFault; ServiceError where a repeat can help."""
        try:
            async with asyncio.timeout(LIMIT):
                frozen = await self._credentials.get_frozen_credentials()
        except Exception as error:  # noqa: BLE001 - every provider has exceptions of its own
            raise told(error, self._method, self._source) from None
        if frozen != self._checked:
            self._check(frozen)
            self._checked = frozen
        return frozen

    def _check(self, frozen: Any) -> None:
        """They go into headers and signatures. Raises CallerFault."""
        for name, value in zip(_NAMES, (frozen.access_key, frozen.secret_key, frozen.token), strict=True):
            if not value and name == "AWS_SESSION_TOKEN":
                continue  # long-term keys have none, and some processes print it empty
            if not isinstance(value, str) or not value or not _SIGNABLE.fullmatch(value):
                what = "is missing" if not value else "is not one line of printable ASCII without blanks"
                raise CallerFault(
                    f"{name} of {self._source} {what}.",
                    code="CallerCredentialsInvalid",
                    advice="Check for a line break, a blank or a quote that was copied with the value.",
                )


async def load(providers: Iterable[Any], profile: str) -> CallerCredentials:
    """Those of the first provider that has some. Raises CallerFault, ServiceError."""
    for provider in providers:
        source = _source(provider.METHOD, profile)
        try:
            async with asyncio.timeout(LIMIT):
                found = await provider.load()
        except Exception as error:  # noqa: BLE001 - every provider has exceptions of its own
            raise told(error, provider.METHOD, source) from None
        if found is not None:
            return CallerCredentials(found, provider.METHOD, source)
    raise CallerFault("No AWS credentials were found.", code="CallerCredentialsMissing")


def told(error: Exception, method: str, source: str) -> BulkImportError:
    """The advice for the caller. `method`: botocore's name of the provider. Most specific first."""
    if isinstance(error, BulkImportError):
        return error
    if isinstance(error, NetworkFault):
        message = f"Credentials from {source}: {error.message}"
        if error.retryable:
            return ServiceError(
                message, code=error.code, operation="AssumeRole", retryable=True, advice=error.advice
            )  # fmt: skip
        return CallerFault(message, code=error.code, advice=error.advice)
    if isinstance(error, ClientError):
        return _refused(error, source)
    if isinstance(error, SSOError | TokenRetrievalError):
        return _invalid(
            f"The SSO session of {source} is missing or has expired.",
            "Log in again with `aws sso login` and the same --profile. Pipelines need a role instead (OIDC).",
        )
    if isinstance(error, RefreshWithMFAUnsupportedError):
        return _invalid(
            f"The session of {source} has ended, and a new one needs an MFA code.",
            "Give the run credentials that outlive it, and continue with --resume.",
        )
    return _invalid(f"The credentials of {source} cannot be used: {_reason(error, method)}.", None)


def _refused(error: ClientError, source: str) -> BulkImportError:
    answer = error.response.get("Error", {})
    code = str(answer.get("Code") or "Unknown")
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    operation = error.operation_name
    message = f"{operation} for {source}: {code}: {str(answer.get('Message') or '').strip() or '(no message)'}"
    if code in THROTTLED or status >= 500:
        return ServiceError(message, code=code, operation=operation, retryable=status != 501)
    return CallerFault(message, code=code, advice=_ADVICE.get(code) or advice_for(code))


def _reason(error: Exception, method: str) -> str:
    """Without a byte of what was read."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, TimeoutError):
        return f"{error.filename or method}: {error.strerror}"
    if isinstance(error, TimeoutError):
        return f"no answer within {LIMIT:g} s"
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    if isinstance(error, RuntimeError) and "expired" in str(error):
        return "they have expired already"
    if isinstance(error, PartialCredentialsError):
        return f"{error.kwargs.get('cred_var')} is missing"
    if isinstance(error, InvalidConfigError | InfiniteLoopConfigError | UnknownCredentialError | ConfigNotFound):
        return str(error).rstrip(".")
    if method == "custom-process":
        return "it did not print credentials as JSON (version 1)"
    if method == "env":
        return "AWS_CREDENTIAL_EXPIRATION is not a time"
    if method == "container-role" and isinstance(error, ValueError) and "header" in str(error):
        return "AWS_CONTAINER_AUTHORIZATION_TOKEN or its file holds a line break"
    if isinstance(error, CredentialRetrievalError | BotoCoreError):
        return f"no response with credentials ({type(error).__name__})"
    return f"the response is not credentials ({type(error).__name__})"


def _invalid(message: str, advice: str | None) -> CallerFault:
    return CallerFault(message, code="CallerCredentialsInvalid", advice=advice)


def _source(method: str, profile: str) -> str:
    """The provider as its user knows it: a variable, a file, a profile's setting."""
    environment = os.environ
    if method == "assume-role-with-web-identity":
        file = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE")
        return f"AWS_WEB_IDENTITY_TOKEN_FILE ({file})" if file else f"web_identity_token_file of profile {profile!r}"
    if method == "container-role":
        names = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
        named = next((name for name in names if name in environment), names[1])
        file = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        return f"{named} (token file {file})" if file else named
    return {
        "env": "the environment (AWS_ACCESS_KEY_ID)",
        "custom-process": f"credential_process of profile {profile!r}",
        "assume-role": f"role_arn of profile {profile!r}",
        "sso": f"profile {profile!r}",
        "shared-credentials-file": f"profile {profile!r} in the credentials file",
        "config-file": f"profile {profile!r} in the configuration file",
        "iam-role": "the instance metadata service",
    }.get(method, f"the provider {method} (profile {profile!r})")
