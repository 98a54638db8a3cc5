"""Every default of the program, once. A flag wins over its BULK_IMPORT_* variable, that over --config, that over
the default here. The command line makes its options from this model, so that no name stands twice."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from bulk_import.errors import Problem, SettingsError, UsageError
from bulk_import.model import ObjectUri, in_s3
from bulk_import.text import harmless

PREFIX = "BULK_IMPORT_"
RENDERINGS = ("html", "junit", "markdown", "github", "csv")  # of a report
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def _duration(value: Any) -> Any:
    """`2`, `2s`, `500ms`, `10m` or `1h` → seconds."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            raise ValueError("write a number of seconds, or a number with ms, s, m or h: 2s, 10m")
        return float(match[1]) * _SECONDS[match[2]]
    return value


def _listed(value: Any) -> Any:
    """A variable's commas → a list."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _mapping(value: Any) -> Any:
    """`["A=1", "B=2"]` or `"A=1,B=2"` → {"A": "1", "B": "2"}. A name that comes twice is a mistake: whichever of the
    two was meant, the other would be forgotten in silence."""
    value = _listed(value)
    if not isinstance(value, list | tuple):
        return value
    found: dict[str, str] = {}
    for item in value:
        name, equals, text = (part.strip() for part in str(item).partition("="))
        if not (name and equals):
            raise ValueError(f"{name!r} is not NAME=VALUE")
        if name in found:
            raise ValueError(f"{name} is given twice, as {found[name]} and as {text}. Keep one of them")
        found[name] = text
    return found


Seconds = Annotated[float, BeforeValidator(_duration)]
Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
Mapped = Annotated[dict[str, str], NoDecode, BeforeValidator(_mapping)]
Rates = Annotated[dict[str, float], NoDecode, BeforeValidator(_mapping)]


def _option(default: Any, help_text: str, group: str, **kwargs: Any) -> Any:
    return Field(default, description=help_text, json_schema_extra={"group": group}, **kwargs)


class Settings(BaseSettings):
    """All settings of all commands. `group` says which commands take a field as an option (see commands/)."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True, case_sensitive=False
    )

    # common
    log_format: Literal["text", "json"] = _option("text", "Form of the log on stderr.", "common")
    log_level: Literal["debug", "info", "warning", "error"] = _option("info", "Least level that is logged.", "common")
    quiet: bool = _option(False, "Errors only, and of a long run a line a minute: no live view, no summary.", "common")  # noqa: FBT003

    # caller: for every command that may ask S3 or AWS for something
    profile: str | None = _option(None, "Profile of the AWS configuration files.", "caller")
    endpoint_url: str | None = _option(
        None, "Endpoint of all services; {region} is replaced. http:// on loopback only.", "caller"
    )
    sts_region: str | None = _option(
        None, "Region of STS, and of S3 at first. Default: AWS_REGION, AWS_DEFAULT_REGION, the profile's.", "caller"
    )
    connect_timeout: Seconds = _option(5.0, "Longest wait for a connection.", "caller", gt=0, le=60)
    read_timeout: Seconds = _option(15.0, "Longest wait for an answer.", "caller", gt=0, le=120)
    retry_timeout: Seconds = _option(
        300.0, "How long a call is repeated after throttling, 5xx or a lost connection.", "caller", ge=0, le=3600
    )

    # aws
    max_in_flight: int = _option(256, "Most calls on the wire at once, over all lanes.", "aws", ge=1, le=10_000)
    quota: Rates = _option({}, "OPERATION=RATE: requests a second and lane, in place of KMS's default.", "aws")
    quotas: Literal["default", "service-quotas"] = _option(
        "default", "Whose rates a lane keeps to: KMS's defaults, or its account's, read from Service Quotas.", "aws"
    )
    pacing_margin: float = _option(
        0.01, "Share by which calls are sent slower than the quota allows.", "aws", ge=0, le=1
    )
    consistency_timeout: Seconds = _option(
        10.0, "How long 'not found' and 'wrong state' are asked again: KMS is eventually consistent.", "aws", ge=0,
        le=600,
    )  # fmt: skip

    # manifest
    manifest_format: Literal["yaml", "json", "jsonl", "csv"] | None = _option(
        None, "Format, where the name's extension does not tell.", "manifest"
    )
    material_root: str | None = _option(None, "Folder that relative material paths start from.", "manifest")
    role: str | None = _option(None, "Role (name or ARN template) of accounts that state none.", "manifest")
    external_id: str | None = _option(None, "External ID of accounts that state none.", "manifest")
    only_account: Listed = _option((), "Only targets of this account (repeatable).", "manifest")
    only_region: Listed = _option((), "Only targets of this Region (repeatable).", "manifest")
    only_id: Listed = _option((), "Only targets of this id (repeatable).", "manifest")
    allow_account: Listed = _option((), "A manifest naming any other account is an error (repeatable).", "manifest")
    allow_source: Listed = _option(
        ("file:", "env:"),
        "Beginning of the material URIs that the manifest may name, such as vault:byok/ (repeatable; replaces the "
        "default). Sources: {sources}.",
        "manifest",
    )
    max_targets: int | None = _option(None, "A manifest with more selected targets is an error.", "manifest", ge=1)

    # what several commands share
    format: (
        Literal[
            "table", "json", "cloudformation", "cloudformation-caller", "html", "junit", "markdown", "github", "csv"
        ]
        | None
    ) = _option(None, "Form of the result on stdout.", "format")
    prove: Literal["auto", "changed", "all", "none"] = _option(
        "auto",
        "Which targets' material is compared with KMS's. `all` imports unchanged symmetric material again.",
        "prove",
    )
    reads: int = _option(3, "Consecutive good reads that verify an import.", "decide", ge=1, le=100)
    read_interval: Seconds = _option(2.0, "Time between these reads.", "decide", ge=0, le=300)

    # run
    report: str = _option("report.json", "Where the report goes: a path, s3://bucket/key, or - for stdout.", "run")
    s3_sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = _option(
        None, "How S3 encrypts what is written there. Default: the bucket's own way.", "s3"
    )
    s3_sse_kms_key_id: str | None = _option(
        None, "KMS key that S3 encrypts with (then aws:kms, if --s3-sse says nothing else).", "s3"
    )
    journal: str | None = _option(None, "Where the journal goes. Default: beside the report.", "run")
    resume: bool = _option(False, "Go on with the journal of a run that did not come to its end.", "run")  # noqa: FBT003
    checkpoint: str | None = _option(
        None, "s3://bucket/key: a copy of the journal, from which another machine can resume.", "run"
    )
    checkpoint_interval: Seconds = _option(30.0, "Time between two such copies.", "run", gt=0, le=3600)
    dry_run: bool = _option(False, "Reads only: prints what would be done, as `plan` does.", "run")  # noqa: FBT003
    require_proof: bool = _option(False, "Fail every target without a proof.", "run")  # noqa: FBT003
    prove_use: bool = _option(False, "Also encrypt and decrypt once with each symmetric key.", "prove_use")  # noqa: FBT003
    verify_timeout: Seconds = _option(600.0, "Longest wait for the wanted state after an import.", "run", gt=0)
    max_failures: int | None = _option(None, "Start no new target once N have failed.", "run", ge=1)
    deadline: Seconds | None = _option(None, "Stop in good order after this time (exit code 7).", "run", gt=0)
    grace: Seconds = _option(20.0, "How long calls in flight may take after a stop.", "run", ge=0, le=3600)
    render: Mapped = _option(
        {},
        "FORMAT=PATH: also write the report as html, junit, markdown, github or csv, to a path or s3://bucket/key "
        "(repeatable).",
        "run",
    )
    label: Mapped = _option({}, "KEY=VALUE kept in the report (repeatable).", "run")
    shard: str | None = _option(None, "I/N: only every N-th lane, counted from 1.", "run")

    # plan
    detailed_exitcode: bool = _option(False, "Exit 10 where changes are pending, none blocked.", "plan_only")  # noqa: FBT003

    # validate
    material: bool = _option(False, "Also read {offline_sources} and check the shape of the material.", "validate")  # noqa: FBT003

    # report
    output: str = _option("-", "Where the result goes: a path, s3://bucket/key, or - for stdout.", "report")

    # iam
    caller_arn: str | None = _option(None, "Role, user or account that assumes the importer roles.", "iam")

    # the settings file alone: a command of an exec: source is never an option, a variable or the manifest's
    exec: dict[str, dict[str, Any]] = _option({}, "Commands of exec: sources: [exec.NAME].", "file")

    # sandbox
    port: int = _option(0, "Port on 127.0.0.1; 0 takes a free one.", "sandbox", ge=0, le=65535)
    seed: str | None = _option(None, "YAML file of accounts, roles and keys to begin with.", "sandbox")
    enforce_quotas: bool = _option(False, "Throttle as KMS does.", "sandbox")  # noqa: FBT003 - a default
    lag: Seconds = _option(0.0, "Reads may show a state this old.", "sandbox", ge=0)

    @field_validator("quota")
    @classmethod
    def _rates(cls, rates: dict[str, float]) -> dict[str, float]:
        wrong = [name for name, rate in rates.items() if not 0 < rate <= 100_000]
        if wrong:
            raise ValueError(f"the rate of {wrong[0]} must be above 0 and at most 100000 a second")
        return rates

    @field_validator("allow_source")
    @classmethod
    def _prefixes(cls, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in prefixes:
            if not re.fullmatch(r"[a-z][a-z0-9]*:.*", prefix):
                raise ValueError(f"{prefix!r} must begin with a source and its colon, such as vault: or vault:byok/")
        return prefixes

    @field_validator("label")
    @classmethod
    def _labels(cls, labels: dict[str, str]) -> dict[str, str]:
        if len(labels) > 50 or any(len(k) > 128 or len(v) > 1024 for k, v in labels.items()):
            raise ValueError("at most 50 labels, names of at most 128 and values of at most 1024 characters")
        return {harmless(name): harmless(value) for name, value in labels.items()}

    @field_validator("render")
    @classmethod
    def _renderings(cls, renderings: dict[str, str]) -> dict[str, str]:
        for name, path in renderings.items():
            if name not in RENDERINGS:
                raise ValueError(f"{name!r} is no rendering. Use one of: {', '.join(RENDERINGS)}")
            if path in ("", "-"):
                raise ValueError(f"{name} needs a path, such as {name}=report.{name}")
            if in_s3(path):
                ObjectUri.parse(path)
        return renderings

    @field_validator("report", "checkpoint", "output")
    @classmethod
    def _objects(cls, uri: str | None, info: ValidationInfo) -> str | None:
        if uri is not None and (in_s3(uri) or info.field_name == "checkpoint"):
            ObjectUri.parse(uri)
        return uri

    @field_validator("journal")
    @classmethod
    def _local(cls, journal: str | None) -> str | None:
        if in_s3(journal):
            raise ValueError("the journal is a local file; --checkpoint keeps a copy of it in S3")
        return journal

    @field_validator("shard")
    @classmethod
    def _shard(cls, shard: str | None) -> str | None:
        if shard is not None:
            match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", shard)
            if match is None or not 1 <= int(match[1]) <= int(match[2]):
                raise ValueError("write I/N with 1 <= I <= N, such as 2/8")
        return shard

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
        """Flags, then variables. --config is folded in by `load`: a .env file is never read by itself."""
        return init_settings, env_settings


def fields(*groups: str) -> dict[str, FieldInfo]:
    """The settings of these groups, in the model's order."""
    return {name: info for name, info in Settings.model_fields.items() if group_of(info) in groups}


def group_of(info: FieldInfo) -> str:
    extra = info.json_schema_extra
    return str(extra["group"]) if isinstance(extra, dict) else ""


def flag_of(name: str) -> str:
    return "--" + name.replace("_", "-")


def load(flags: Mapping[str, Any] | None = None, config: str | None = None) -> Settings:
    """Merges flags (only those given), variables, the file `config` and the defaults.

    Raises UsageError for a flag's value, SettingsError for a variable's or the file's, naming each place.
    """
    flags = dict(flags or {})
    empty = [flag_of(name) for name, value in flags.items() if value in ("", [""])]
    if empty:
        raise UsageError("\n".join(f"{flag}: is empty. Give a value, or leave it out." for flag in empty))
    config = config or os.environ.get(PREFIX + "CONFIG") or None
    problems = _unknown_variables()
    if any(problem.field.removeprefix(PREFIX).lower() in fields("file") for problem in problems):
        raise SettingsError(problems)  # pydantic-settings would read such a variable
    from_file = _read_config(config, problems) if config else {}
    variables = {name for name in Settings.model_fields if os.environ.get(PREFIX + name.upper())}
    merged = {name: value for name, value in from_file.items() if name not in variables} | flags
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        wrong_flags = []
        for item in error.errors(include_url=False, include_input=False):
            name = str(item["loc"][0])
            text = ": ".join([*map(str, item["loc"][1:]), item["msg"].removeprefix("Value error, ")])
            if name in flags:
                wrong_flags.append(f"{flag_of(name)}: {text}")
            elif name in variables:
                problems.append(Problem("environment", 0, PREFIX + name.upper(), text, ""))
            elif name in from_file:
                problems.append(Problem(str(config), _line_of(str(config), name), name, text, ""))
        if wrong_flags:
            raise UsageError("\n".join(wrong_flags)) from None
        raise SettingsError(problems) from None
    if problems:
        raise SettingsError(problems)
    return settings


def _unknown_variables() -> list[Problem]:
    """Also those in small letters, which pydantic-settings would take and other systems would not."""
    known = {name.upper() for name in Settings.model_fields.keys() - fields("file").keys()} | {"CONFIG"}
    return [
        Problem("environment", 0, name, "is no setting.", _nearest(name[len(PREFIX) :].upper(), known, PREFIX))
        for name in sorted(os.environ)
        if name.upper().startswith(PREFIX) and name.removeprefix(PREFIX) not in known
    ]


def _nearest(name: str, known: set[str], prefix: str = "") -> str:
    """Compared without the prefix, by which all are alike."""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"Did you mean {prefix}{near[0]}?" if near else "Remove it, or see `bulk-import run --help`."


def _read_config(path: str, problems: list[Problem]) -> dict[str, Any]:
    try:
        values = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise SettingsError(
            [Problem(path, 0, "--config", f"cannot be read: {error.strerror}.", "Check its path.")]
        ) from None
    except UnicodeDecodeError:
        raise SettingsError([Problem(path, 0, "--config", "is not UTF-8.", "Save it as UTF-8.")]) from None
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise SettingsError(
            [Problem(path, int(line[1]) if line else 0, "", f"is not TOML: {error}.", "Mend it.")]
        ) from None
    known: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name in Settings.model_fields:
            known[name] = value
        else:
            problems.append(
                Problem(path, _line_of(path, key), key, "is no setting.", _nearest(name, set(Settings.model_fields)))
            )
    return known


def _line_of(path: str, name: str) -> int:
    """The line that sets `name`, for messages: tomllib keeps no positions. 0 where it cannot be told."""
    pattern = re.compile(rf"^\s*\[?\"?{re.escape(name).replace('_', '[_-]')}\"?\s*[\]=.]")
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    return next((number for number, line in enumerate(lines, 1) if pattern.match(line)), 0)
