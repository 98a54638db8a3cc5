"""One table of error codes: what a person should do, and what the program does differently because of the code.

Every other set of codes is derived from this table. Codes that end with `Exception`, and those of STS, are AWS's own:
https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Flag, auto


class Trait(Flag):
    """What the program does differently because of a code."""

    NONE = 0
    GRAVE = auto()  # shown before all other failures, in the order of the table
    CUTS_SHORT = auto()  # the end of the run cut the target short: work was left
    ENDS_ALL = auto()  # no target can succeed after it: the run ends with this one error
    NEVER_RETRIED = auto()  # a repeat cannot help, and may do harm (a locked password, a longer run)
    THROTTLED = auto()  # KMS or STS refused for the rate only; nothing was carried out
    NOT_YET_CONSISTENT = auto()  # may become right by itself a moment after a change: KMS is eventually consistent
    SETTLES = auto()  # may pass by itself for minutes on a key whose alias, tags or policy were just set
    STALE_CREDENTIALS = auto()  # the session's credentials are too old or were revoked: assume the role again
    UNSUPPORTED = auto()  # the endpoint does not have the operation at all
    TOKEN_REFUSED = auto()  # KMS refused the import token: a new set of import parameters may be accepted


@dataclass(frozen=True, slots=True)
class Code:
    """`advice`: what the person who reads the report at 3 a.m. should do, in complete sentences."""

    advice: str
    traits: Trait = Trait.NONE


# For a code without a row. An error may also carry its own, more specific advice.
DEFAULT_ADVICE = "Look up the code in the KMS API reference, and the request ID in CloudTrail."

CODES: dict[str, Code] = {
    # What must not be lost among a thousand denials: keys that may hold the wrong bytes, and what no one knows.
    # The order here is the order in every rendering: the gravest first.
    "MaterialMismatch": Code(
        "KMS holds OTHER key material than the source. Do not use the key until you know which is right. "
        "Asymmetric and HMAC keys can never get other material: create a new key.",
        Trait.GRAVE,
    ),
    "RoundTripFailed": Code(
        "Do not use the key until you know why it does not decrypt what it encrypted.",
        Trait.GRAVE,
    ),
    "IncorrectKeyMaterialException": Code(
        "KMS holds or expects other material for this key. Check which file belongs to it; asymmetric and "
        "HMAC keys can never get other material.",
        Trait.GRAVE,
    ),
    "WrongAccount": Code(
        "The response came from another account, Region or partition than requested. Check the role's "
        "ARN, the endpoint and key_id.",
        Trait.GRAVE,
    ),
    "WrongKey": Code(
        "A response was not for the requested key. Something between this machine and KMS (a proxy, a gateway, "
        "an endpoint) mixes up responses. Do not use the keys of this run until that is repaired and a new run "
        "has verified them.",
        Trait.GRAVE,
    ),
    "OutcomeUnknown": Code(
        "It is unknown whether a change took effect. Run again with --resume: the run reads the key "
        "first and repeats only what is needed.",
        Trait.GRAVE | Trait.CUTS_SHORT,
    ),
    "InternalError": Code("This is a defect of bulk-import. Keep the log and the journal, and report it.", Trait.GRAVE),
    "KeyStateChanged": Code(
        "Somebody else changed the key during the run. Find out who (CloudTrail), then run again.",
        Trait.GRAVE,
    ),
    "NotVerified": Code(
        "KMS accepted the import, but the run was stopped before it was verified. Run again, or continue "
        "with --resume: the run reads the key first and imports only if needed.",
        Trait.GRAVE | Trait.CUTS_SHORT,
    ),
    "VerificationTimeout": Code(
        "KMS accepted the import, but did not show the wanted state consistently in time. Run again: the "
        "run reads the key first and imports only if needed. Raise --verify-timeout if it happens again.",
        Trait.GRAVE,
    ),
    # The wanted and the found
    "AliasMoved": Code(
        "The alias no longer points to the key of the start of the run. Find out who moved it, then start a new run.",
    ),
    "Drift": Code(
        "The key differs from `create` in the manifest. Correct the key or the manifest: somebody may have changed the "
        "key on purpose.",
    ),
    "DuplicateKey": Code("Two targets name the same KMS key. Keep one of them in the manifest."),
    "ExpiryTooClose": Code("The wanted ValidTo is less than an hour ahead. Set a later valid_to, or a valid_for."),
    "Interrupted": Code(
        "The run was stopped while it worked on this target; no import took effect. Run again, or "
        "continue with --resume.",
        Trait.CUTS_SHORT,
    ),
    "KeyContradiction": Code(
        "The key is of another kind than the manifest wants, and a key's kind never changes. Point the alias to the "
        "right key, or correct the manifest. The program never moves an alias.",
    ),
    "OrphanedKey": Code(
        "Another run created the alias at the same time. Delete the key that this run created (the message names it), "
        "then run again.",
    ),
    "JournalError": Code(
        "Check that the path names the journal of this run, and that its disk is writable and not full.",
    ),
    "KeyDisabled": Code(
        "Somebody disabled the key on purpose. Give --disabled-too if its material is to be deleted all the same.",
    ),
    "NoSuchMaterial": Code("Correct --material-name: the message lists the names that the key has."),
    "KeySpecMismatch": Code("Correct key_spec in the manifest, or let key_id name the intended key."),
    "KeyStateNotImportable": Code(
        "First bring the key to PendingImport, Enabled or Disabled (cancel its deletion, reconnect its "
        "key store), then run again.",
    ),
    "MaxFailures": Code("The run stopped because --max-failures was reached. Fix the failures, then run again."),
    "NotImportableOrigin": Code(
        "Only keys with Origin EXTERNAL take imported material. Create such a key, and name it here.",
    ),
    "PlanStale": Code(
        "Find out who changed it (CloudTrail) and why. Then make a new plan and have it approved, or run without "
        "--plan.",
    ),
    "PrimaryNotReady": Code(
        "A replica gets its first material, and newer material, only after its primary. Select the primary too, and "
        "fix what the message says of it.",
    ),
    "ProofMissing": Code(
        "--require-proof was given and no proof was possible. Grant the operation of the proof to the "
        "role (kms:GenerateMac, kms:GetPublicKey), or specify key_material_id.",
    ),
    "ReportNotWritten": Code("Use the report that the message names, and make the requested place writable."),
    "ResumedElsewhere": Code(
        "Resume with the credentials and endpoints that the run started with, or run without --resume.",
    ),
    "RotatedKey": Code(
        "The key has several key materials. List all of them under `materials` in the manifest, oldest first; "
        "ListKeyRotations with IncludeKeyMaterial=ALL_KEY_MATERIAL shows them.",
    ),
    "RotationConflict": Code(
        "The key's materials contradict the list in the manifest. Nothing was rotated. Correct the list, or undo what "
        "somebody else has begun.",
    ),
    "ShardMissing": Code(
        "Merge the reports of all shards. If a shard left no report, rebuild it from its journal or run "
        "that shard again.",
    ),
    "Stopped": Code(
        "The run was stopped before this target was started. Run again, or continue with --resume.",
        Trait.CUTS_SHORT,
    ),
    # Key material
    "AmbiguousEncoding": Code("Specify `encoding: raw`, `hex` or `base64`: wrong material might never be replaceable."),
    "CheckValueMismatch": Code(
        "The material is not the one that `expect` describes. Check which file belongs to the key.",
    ),
    "MaterialChanged": Code("Nothing may write to the material while the run uses it. Then run again."),
    "MaterialInvalid": Code(
        "Provide the material in the form that the key spec requires (see the page on manifests, key specs).",
    ),
    "MaterialNotFound": Code("Check the URI in `material`, and that the pipeline provides the file or variable."),
    "MaterialOutsideRoot": Code("Material must be inside the manifest's folder (or --material-root)."),
    "MaterialUnreadable": Code("Check the file's permissions and type."),
    "MaterialWrongLength": Code("Check `encoding`, and that the file belongs to this key."),
    "MaterialNotExportable": Code("Ask the owner of the key at its source to allow its export, or use another key."),
    "SourceFailed": Code("Read the message of the source, and try the source by hand."),
    "SourceUnavailable": Code(
        "The source of the material cannot be reached or is overloaded. Check its address and state, then run again."
    ),
    "SourceDenied": Code("Grant the identity that this run uses at the source the right to read this material."),
    "InvalidWrappingKey": Code(
        "The endpoint returned a different wrapping key than requested. Check the endpoint, then run again.",
    ),
    "WrappingNotAllowed": Code(
        "Choose a wrapping_algorithm and wrapping_key_spec that the key spec allows, or omit them.",
    ),
    # The caller, the network, and what is between
    "CallerCredentialsInvalid": Code(
        "Correct what the message names, then run again (with --resume, if the run had begun).",
    ),
    "CallerCredentialsMissing": Code(
        "Give the pipeline an OIDC or task role. At a terminal: --profile (after `aws sso login`) or AWS_* variables.",
    ),
    "ClientFailure": Code(
        "The AWS library could not make the call. Check the endpoint, the proxy and AWS_CA_BUNDLE; "
        "otherwise it is a defect of bulk-import.",
    ),
    "ClockSkew": Code(
        "Set this machine's clock (NTP): AWS refuses signatures that are more than five minutes off.",
        Trait.ENDS_ALL,
    ),
    "ConnectionFailed": Code("Check the network path to the endpoint: proxy, VPC endpoint, firewall, DNS."),
    "MalformedAnswer": Code(
        "Something between this machine and KMS changes its responses: check proxies and endpoints.",
    ),
    "WrongPartition": Code("Start the run with credentials of the manifest's partition."),
    # The ceremony
    "BundleContradiction": Code(
        "The custodian's manifest decides. Find out why the prepared manifest differs, then prepare again."
    ),
    "NotPrepared": Code("Correct what the message names, then run `prepare` again for this target."),
    "NotSealed": Code("Ask the custodian of this target for a sealed file, and give it to `submit` as well."),
    "ParametersExpired": Code("Run `prepare` and `seal` again for this target, and submit within 24 hours."),
    # KMS and STS: their own codes
    "AccessDenied": Code(
        "Check the role's trust policy (principal, external ID) and that the caller may call sts:AssumeRole on it.",
    ),
    "AccessDeniedException": Code(
        "Grant the operation to the role in its policy and in the key policy: `bulk-import iam` prints "
        "both. An SCP or the policy of a VPC endpoint may also deny it.",
        Trait.SETTLES,
    ),
    "DependencyTimeoutException": Code("KMS itself timed out. Run again, or continue with --resume."),
    "DisabledException": Code("The key is disabled. Enable it if it is to be used, then run again."),
    "ExpiredImportTokenException": Code(
        "The import token was too old. Run again; if it happens again, set the clock (NTP).",
        Trait.TOKEN_REFUSED,
    ),
    "ExpiredToken": Code(
        "The session ended and could not be renewed. Check the session durations of the role and the "
        "caller, then run again with --resume.",
        Trait.STALE_CREDENTIALS,
    ),
    "ExpiredTokenException": Code(
        "The session ended and could not be renewed. Check the session durations of the role and the "
        "caller, then run again with --resume.",
        Trait.STALE_CREDENTIALS,
    ),
    "InvalidArnException": Code("Correct key_id: KMS does not accept this ARN in this account and Region."),
    "InvalidCiphertextException": Code("KMS could not unwrap the sealed material. Check wrapping_algorithm."),
    "InvalidClientTokenId": Code(
        "AWS does not know these credentials there. Check them, and that the Region is enabled for the "
        "account (opt-in Regions).",
        Trait.STALE_CREDENTIALS,
    ),
    "InvalidIdentityToken": Code(
        "STS does not accept the OIDC token. Check the token file and the identity provider in IAM: its URL must be "
        "the token's issuer, its audience the token's `aud`.",
    ),
    "InvalidImportTokenException": Code(
        "KMS refused the import token. Run again; if it happens again, check proxies and endpoints.",
        Trait.TOKEN_REFUSED,
    ),
    "KMSInternalException": Code(
        "KMS itself failed. Run again, or continue with --resume; if it happens again, see AWS Health.",
    ),
    "KMSInvalidStateException": Code(
        "The key's state changed or does not allow the operation. Check its state, then run again.",
        Trait.NOT_YET_CONSISTENT,
    ),
    "LimitExceededException": Code("A quota of the account is used up. Request a higher one (Service Quotas)."),
    "MalformedPolicyDocumentException": Code(
        "KMS refused the key policy. Every principal in it must exist, and it must let this role change the policy "
        "later (kms:PutKeyPolicy): correct `create.policy`, then run again.",
    ),
    "NotFoundException": Code(
        "Check key_id, account and Region: the key or alias does not exist there.",
        Trait.NOT_YET_CONSISTENT | Trait.SETTLES,
    ),
    "OptInRequired": Code("Enable the Region for the account, or remove it from the manifest."),
    "PackedPolicyTooLarge": Code(
        "The session policy and the session tags of the caller are together too large for STS. Let the pipeline pass "
        "fewer session tags, or use --session-policy off.",
    ),
    "RegionDisabledException": Code("Activate STS in the Region of --sts-region, or specify another."),
    "RequestLimitExceeded": Code(
        "Others share this account's quota. Run again later, or set a lower --quota for the operation.",
        Trait.THROTTLED,
    ),
    "RequestThrottled": Code(
        "Others share this account's quota. Run again later, or set a lower --quota for the operation.",
        Trait.THROTTLED,
    ),
    "SignatureDoesNotMatch": Code(
        "The secret access key is wrong, or something on the network path (a proxy) changes requests.",
    ),
    "Throttling": Code(
        "Others share this account's quota. Run again later, or set a lower --quota for the operation.",
        Trait.THROTTLED,
    ),
    "ThrottlingException": Code(
        "Others share this account's quota. Run again later, or set a lower --quota for the operation.",
        Trait.THROTTLED,
    ),
    "TooManyRequestsException": Code(
        "Others share this account's quota. Run again later, or set a lower --quota for the operation.",
        Trait.THROTTLED,
    ),
    "UnrecognizedClientException": Code(
        "AWS does not know these credentials there. Check them, and that the Region is enabled for the "
        "account (opt-in Regions).",
        Trait.STALE_CREDENTIALS,
    ),
    "UnknownOperationException": Code(
        "The endpoint does not support the operation. Check --endpoint-url and AWS_ENDPOINT_URL*: the service at that "
        "address is not KMS, or not all of it.",
        Trait.UNSUPPORTED,
    ),
    "UnsupportedOperationException": Code("The key does not support the operation. Check its origin and key spec."),
    "ValidationException": Code("KMS refused a value. The message names it: correct the manifest, then run again."),
}


def advice_for(code: str) -> str:
    """What a person should do about `code`."""
    row = CODES.get(code)
    return row.advice if row else DEFAULT_ADVICE


def having(trait: Trait) -> tuple[str, ...]:
    """The codes with this trait, in the order of the table."""
    return tuple(code for code, row in CODES.items() if trait in row.traits)


GRAVE = having(Trait.GRAVE)
CUTS_SHORT = frozenset(having(Trait.CUTS_SHORT))
ENDS_ALL = frozenset(having(Trait.ENDS_ALL))
NEVER_RETRIED = frozenset(having(Trait.NEVER_RETRIED))
THROTTLED = frozenset(having(Trait.THROTTLED))
NOT_YET_CONSISTENT = frozenset(having(Trait.NOT_YET_CONSISTENT))
SETTLES = frozenset(having(Trait.SETTLES))
STALE_CREDENTIALS = frozenset(having(Trait.STALE_CREDENTIALS))
UNSUPPORTED = frozenset(having(Trait.UNSUPPORTED))
TOKEN_REFUSED = frozenset(having(Trait.TOKEN_REFUSED))
