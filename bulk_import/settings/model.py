"""Every default of the program, defined once. A flag overrides its BULK_IMPORT_* variable, the variable overrides
--config, --config overrides the default here. The command line creates its options from this model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PrivateAttr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bulk_import.model import in_s3
from bulk_import.settings.checks import Checked
from bulk_import.settings.values import Listed, Mapped, Rates, Seconds
from bulk_import.shards import LARGEST

PREFIX = "BULK_IMPORT_"


def _option(
    default: Any, help_text: str, group: str, *, guard: bool = False, variable: bool = True, **kwargs: Any
) -> Any:
    """`guard`: an empty variable is an error, not unset. `variable`: False for what only the option can say."""
    marks: dict[str, Any] = {"group": group, "guard": guard, "variable": variable}
    return Field(default, description=help_text, json_schema_extra=marks, **kwargs)


class Settings(Checked):
    """All settings of all commands. `group` says which commands take a field as an option (see commands/)."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True, case_sensitive=False
    )

    _config_file: str | None = PrivateAttr(None)

    # common
    log_format: Literal["text", "json"] = _option("text", "Format of the log on stderr.", "common")
    log_level: Literal["debug", "info", "warning", "error"] = _option("info", "Lowest level to log.", "common")
    quiet: bool = _option(False, "Errors only, plus one progress line per minute: no live view, no summary.", "common")  # noqa: FBT003

    # caller: for every command that may ask S3 or AWS for something
    profile: str | None = _option(None, "Profile in the AWS configuration files.", "caller")
    endpoint_url: str | None = _option(
        None, "Endpoint for all services; {region} is replaced. http:// only on loopback.", "caller"
    )
    sts_region: str | None = _option(
        None,
        "Region for STS, first Region for S3. Default: AWS_REGION, AWS_DEFAULT_REGION, the profile's.",
        "caller",
    )
    connect_timeout: Seconds = _option(5.0, "Maximum time to open a connection.", "caller", gt=0, le=60)
    read_timeout: Seconds = _option(15.0, "Maximum time to wait for a response.", "caller", gt=0, le=120)
    retry_timeout: Seconds = _option(
        300.0, "How long to retry a call after throttling, 5xx or a lost connection.", "caller", ge=0, le=3600
    )

    # aws
    max_in_flight: int = _option(256, "Maximum number of concurrent AWS calls.", "aws", ge=1, le=10_000)
    quota: Rates = _option({}, "OPERATION=RATE: requests per second and lane (repeatable). Default: KMS's.", "aws")
    quotas: Literal["default", "service-quotas"] = _option(
        "default",
        "Which request rates to use: KMS's defaults, or each account's, read from Service Quotas.",
        "aws",
    )
    pacing_margin: float = _option(0.01, "Share by which calls are slower than the quota allows.", "aws", ge=0, le=1)
    consistency_timeout: Seconds = _option(
        10.0, "How long to retry after 'not found' or 'wrong state': KMS is eventually consistent.", "aws", ge=0,
        le=600,
    )  # fmt: skip

    session_policy: Literal["keys", "operations", "off"] = _option(
        "keys",
        "Limit assumed sessions to this command's operations, on the manifest's keys or on any; or not at all.",
        "aws",
    )

    # manifest
    manifest_format: Literal["yaml", "json", "jsonl", "csv"] | None = _option(
        None, "Format of the manifest. Default: as its file name's extension says.", "manifest"
    )
    material_root: str | None = _option(
        None, "Folder for relative material paths. Default: the manifest's.", "manifest"
    )
    role: str | None = _option(None, "Role (name or ARN template) for accounts without one.", "role")
    external_id: str | None = _option(None, "External ID for accounts without one.", "role")
    only_account: Listed = _option((), "Select only targets in this account (repeatable).", "manifest")
    only_region: Listed = _option((), "Select only targets in this Region (repeatable).", "manifest")
    only_id: Listed = _option((), "Select only targets with this id (repeatable).", "manifest")
    only_failed: str | None = _option(
        None, "Report (path or s3://bucket/key). Select only targets that failed or were not attempted in it.", "failed"
    )
    allow_account: Listed = _option(
        (), "Refuse a manifest that names any other account (repeatable).", "manifest", guard=True
    )
    allow_source: Listed = _option(
        ("file:", "env:"),
        "Prefix of the material URIs that the manifest may name, such as vault:byok/ (repeatable; replaces the "
        "default). Sources: {sources}.",
        "manifest",
        guard=True,
    )
    max_targets: int | None = _option(
        None, "Refuse a manifest with more selected targets.", "manifest", guard=True, ge=1
    )

    # what several commands share
    format: (
        Literal[
            "table",
            "json",
            "cloudformation",
            "cloudformation-caller",
            "vault-policy",
            "html",
            "junit",
            "markdown",
            "github",
            "csv",
        ]
        | None
    ) = _option(None, "Format of the result.", "format")
    prove: Literal["auto", "changed", "all", "none"] = _option(
        "auto",
        "Which targets' material to compare with KMS's. `all` imports unchanged symmetric material again.",
        "prove",
    )
    reads: int = _option(3, "Number of consecutive good reads that verify a target.", "decide", ge=1, le=100)
    read_interval: Seconds = _option(2.0, "Time between these reads.", "decide", ge=0, le=300)

    correct: Listed = _option(
        ("description",),
        "What to set where a key differs from `create`: description, tags or policy (repeatable; replaces the "
        "default). Other differences fail the target.",
        "correct",
    )

    # run
    report: str = _option("report.json", "Where to write the report: a path, s3://bucket/key, or - for stdout.", "run")
    s3_sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = _option(
        None, "How S3 encrypts what is written. Default: as the bucket says.", "s3"
    )
    s3_sse_kms_key_id: str | None = _option(
        None, "KMS key for S3's encryption (then aws:kms, unless --s3-sse says otherwise).", "s3"
    )
    journal: str | None = _option(None, "Where to write the journal. Default: next to the report.", "run")
    resume: bool = _option(False, "Continue an interrupted run.", "run")  # noqa: FBT003
    checkpoint: str | None = _option(
        None, "s3://bucket/key: keep a copy of the journal, so that another machine can resume.", "run"
    )
    checkpoint_interval: Seconds = _option(30.0, "Time between two checkpoints.", "run", gt=0, le=3600)
    dry_run: bool = _option(
        False,  # noqa: FBT003 - a default
        "Only read, and show what would be done, as `plan` does. It has no variable.",
        "dry_run",
        variable=False,
    )
    plan: str | None = _option(
        None,
        "Saved plan (path or s3://bucket/key). Make only the changes that it shows, and fail a target that differs "
        "from what it saw.",
        "approved",
    )
    plan_max_age: Seconds = _option(
        86_400.0, "Refuse a plan that was made longer ago.", "approved", gt=0, le=31_536_000
    )
    require_proof: bool = _option(False, "Fail every target without a proof.", "proof")  # noqa: FBT003
    prove_use: bool = _option(False, "Also encrypt and decrypt once with each symmetric key.", "prove_use")  # noqa: FBT003
    verify_timeout: Seconds = _option(
        600.0, "Maximum time to wait for the wanted state after an import.", "steady", gt=0
    )
    max_failures: int | None = _option(None, "Start no new target after N have failed.", "run", ge=1)
    deadline: Seconds | None = _option(None, "Stop in an orderly way after this time (exit code 7).", "run", gt=0)
    grace: Seconds = _option(20.0, "How long calls in flight may take after a stop.", "run", ge=0, le=3600)
    render: Mapped = _option(
        {},
        "FORMAT=PATH: also write the report as html, junit, markdown, github or csv, to a path or s3://bucket/key "
        "(repeatable).",
        "render",
    )
    known: Listed = _option(
        (),
        "Report, folder of reports or s3:// prefix. What it proved shows whether a source still holds what was "
        "imported (repeatable).",
        "known",
    )
    label: Mapped = _option({}, "KEY=VALUE to store in the report (repeatable).", "run")
    shard: str | None = _option(
        None, "I/N: work on shard I of N only; auto: as the engine that started this array says.", "shard"
    )
    shards: int | None = _option(
        None,
        "Show how the lanes divide among N machines, and the least time of each.",
        "validate",
        ge=1,
        le=LARGEST,
    )

    # delete
    all: bool = _option(False, "Select all targets of the manifest.", "delete")  # noqa: FBT003 - a default
    yes: bool = _option(
        False,  # noqa: FBT003 - a default
        "Do not ask for the number of targets. It has no variable.",
        "delete",
        variable=False,
    )
    disabled_too: bool = _option(False, "Also delete material of Disabled keys.", "delete")  # noqa: FBT003 - a default
    material_name: str | None = _option(
        None, "Name (KeyMaterialDescription) of the material to delete, for keys with several.", "delete"
    )

    # plan
    out: str | None = _option(
        None,
        "Also save the plan, for `run --plan`: a path or s3://bucket/key. Not if anything could not be read.",
        "out",
    )
    detailed_exitcode: bool = _option(False, "Exit with 10 if changes are pending and none is blocked.", "plan_only")  # noqa: FBT003

    # status
    within: Seconds | None = _option(
        None, "Material that expires within this time counts as expiring. Default: renew_before, otherwise 30d.",
        "status", ge=0,
    )  # fmt: skip

    # discover
    account: Listed = _option((), "Look in this account (repeatable). It has no variable.", "discover", variable=False)
    region: Listed = _option((), "Look in this Region (repeatable). It has no variable.", "discover", variable=False)

    # validate
    material: bool = _option(False, "Also read {offline_sources} and check the shape of the material.", "validate")  # noqa: FBT003

    # the ceremony
    standby: bool = _option(False, "Prepare every target, also those that are as wanted.", "prepare")  # noqa: FBT003
    fingerprint: Listed = _option(
        (), "Fingerprint of an input file, as a person gave it: 64 hex digits (repeatable).", "trust"
    )
    signed_by: Listed = _option(
        (),
        "PEM file of a public key (Ed25519, ECDSA P-256). Every input must have its signature (repeatable).",
        "trust",
    )
    sign_with: str | None = _option(None, "PEM file of a private key that signs the written file.", "sign")

    # report
    output: str = _option("-", "Where to write the result: a path, s3://bucket/key, or - for stdout.", "report")
    allow_stale: bool = _option(False, "Also merge reports of runs that began more than a day apart.", "report")  # noqa: FBT003

    # iam
    command: Literal["run", "prepare", "submit", "plan", "status", "discover", "delete"] = _option(
        "run", "Which command the roles are for.", "iam"
    )
    caller_arn: str | None = _option(None, "Role, user or account that assumes the importer roles.", "iam")

    allow_source_role: Listed = _option(
        (), "Role that a material URI may name with role= (ARN; repeatable).", "manifest"
    )

    pkcs11_module: str | None = _option(None, "PKCS#11 library of the HSM, for pkcs11: sources.", "hsm")
    pkcs11_pin_file: str | None = _option(
        None, "File with the PIN for pkcs11: sources; or set PKCS11_PIN. One login attempt per token and run.", "hsm"
    )
    pkcs11_init_args: str | None = _option(
        None, "Text that the PKCS#11 library gets when it is initialized. Only NSS needs it.", "hsm"
    )

    # sources of key material, for commands that may ask a server for it
    vault_auth: Literal["token", "approle", "jwt"] = _option(
        "token", "How to log in to Vault or OpenBao: VAULT_TOKEN, or VAULT_ROLE_ID and VAULT_SECRET_ID, or a JWT.",
        "sources",
    )  # fmt: skip
    vault_auth_mount: str | None = _option(
        None, "Path of the auth method in Vault. Default: approle or jwt.", "sources"
    )
    vault_role: str | None = _option(None, "Role of the JWT auth method.", "sources")
    vault_jwt_file: str | None = _option(None, "File with the JSON Web Token for --vault-auth jwt.", "sources")

    # the settings file alone: a command of an exec: source is never an option, a variable or the manifest's
    exec: dict[str, dict[str, Any]] = _option({}, "Commands of exec: sources: [exec.NAME].", "file", variable=False)

    # sandbox
    port: int = _option(0, "Port on 127.0.0.1; 0: any free port.", "sandbox", ge=0, le=65535)
    seed: str | None = _option(None, "YAML file of accounts, roles and keys to start with.", "sandbox")
    enforce_quotas: bool = _option(False, "Throttle requests as KMS does.", "sandbox")  # noqa: FBT003 - a default
    lag: Seconds = _option(0.0, "Reads may show a state that is up to this old.", "sandbox", ge=0)
    authorization_lag: Seconds = _option(
        0.0, "New aliases, tags, key policies and grants count for permissions after this time.", "sandbox", ge=0
    )
    enforce_policies: bool = _option(
        False,  # noqa: FBT003 - a default
        "Check signatures, and evaluate trust, identity, session and key policies.",
        "sandbox",
    )

    @property
    def config_file(self) -> str | None:
        """The --config file that was read."""
        return self._config_file

    def read_from(self, config: str | None) -> None:
        """For `load`: which file."""
        self._config_file = config

    @property
    def uploads(self) -> list[str]:
        """The s3:// URIs that a run writes to."""
        return [uri for uri in (self.report, self.checkpoint, *self.render.values()) if uri and in_s3(uri)]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings' signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings' signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then variables. --config is merged by `load`: a .env file is never read by itself."""
        return init_settings, env_settings
