"""Three values of every setting, and how each is said: by flag, variable and file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bulk_import import settings
from bulk_import.errors import Problem, SettingsError
from bulk_import.settings import Settings, load

FIELDS = [name for name in Settings.model_fields if name not in settings.fields("file")]


@dataclass(frozen=True)
class Way:
    """Three values of one setting, each as text, as TOML, and as what it means; none is the default."""

    texts: tuple[str, str, str]
    means: tuple[Any, Any, Any]
    repeatable: bool = False

    def toml(self, index: int) -> str:
        value = self.means[index]
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, tuple):
            return "[" + ", ".join(f'"{item}"' for item in value) + "]"
        if isinstance(value, dict):
            return "{" + ", ".join(f'{key} = "{item}"' for key, item in value.items()) + "}"
        return str(value) if isinstance(value, int | float) else f'"{value}"'


def text(*three: str) -> Way:
    return Way((three[0], three[1], three[2]), (three[0], three[1], three[2]))


def number(*three: float) -> Way:
    return Way((str(three[0]), str(three[1]), str(three[2])), (three[0], three[1], three[2]))


def several(*three: str) -> Way:
    parts = [tuple(each.split(",")) for each in three]
    return Way((three[0], three[1], three[2]), (parts[0], parts[1], parts[2]), repeatable=True)


def pairs(*three: str, kind: type = str) -> Way:
    means = [{k: kind(v) for k, _, v in (pair.partition("=") for pair in each.split(","))} for each in three]
    return Way((three[0], three[1], three[2]), (means[0], means[1], means[2]), repeatable=True)


SWITCH = Way(("true", "true", "true"), (True, True, True))
# A setting that is added to the program without a line here fails test_every_setting_is_here.
WAYS: dict[str, Way] = {
    "log_format": text("json", "json", "json"),
    "log_level": text("debug", "warning", "error"),
    "quiet": SWITCH,
    "profile": text("one", "two", "three"),
    "endpoint_url": text("https://a.example", "https://b.example", "https://{region}.example"),
    "sts_region": text("eu-west-1", "eu-west-2", "eu-west-3"),
    "connect_timeout": number(1, 2.5, 3),
    "read_timeout": number(1, 2.5, 3),
    "max_in_flight": number(1, 2, 10_000),
    "quota": pairs("DescribeKey=1", "ImportKeyMaterial=2.5,DescribeKey=7", "AssumeRole=3", kind=float),
    "quotas": text("service-quotas", "service-quotas", "service-quotas"),
    "pacing_margin": number(0.0, 0.1, 1.0),
    "retry_timeout": number(0, 1, 2),
    "consistency_timeout": number(0, 1, 2),
    "manifest_format": text("yaml", "csv", "jsonl"),
    "material_root": text("a", "b", "c"),
    "role": text("A", "B", "C"),
    "external_id": text("ab", "cd", "ef"),
    "only_account": several("111122223333", "444455556666,777788889999", "000000000001"),
    "only_region": several("eu-west-1", "eu-west-2,eu-west-3", "us-east-1"),
    "only_id": several("a", "b,c", "d"),
    "only_failed": text("a.json", "b.json", "s3://bucket/c.json"),
    "command": text("plan", "status", "discover"),
    "out": text("a.json", "b", "s3://bucket/plan.json"),
    "plan": text("a.json", "b", "s3://bucket/plan.json"),
    "plan_max_age": number(1, 2.5, 86_400),
    "within": number(0, 3600, 2.5),
    "pkcs11_init_args": text("a", "b", "c"),
    "pkcs11_module": text("a", "b", "c"),
    "pkcs11_pin_file": text("a", "b", "c"),
    "allow_source_role": several("arn:a", "arn:a,arn:b", "arn:c"),
    "vault_auth": text("approle", "jwt", "approle"),
    "vault_auth_mount": text("a", "b", "c"),
    "vault_role": text("a", "b", "c"),
    "vault_jwt_file": text("a", "b", "c"),
    "allow_source": several("env:", "file:keys/,env:", "file:"),
    "allow_account": several("111122223333", "444455556666,777788889999", "000000000001"),
    "max_targets": number(1, 2, 3),
    "prove": text("changed", "all", "none"),
    "session_policy": text("off", "operations", "off"),
    "reads": number(1, 2, 100),
    "read_interval": number(0, 1, 1.5),
    "report": text("a.json", "-", "c.json"),
    "s3_sse": text("AES256", "aws:kms", "aws:kms:dsse"),
    "s3_sse_kms_key_id": text("a", "alias/b", "arn:aws:kms:eu-west-1:111122223333:key/c"),
    "journal": text("a", "b", "c"),
    "checkpoint": text("s3://bucket/a", "s3://bucket/b/c", "s3://bucket/d.jsonl"),
    "checkpoint_interval": number(1, 2.5, 3600),
    "resume": SWITCH,
    "dry_run": SWITCH,
    "account": several("111122223333", "444455556666", "777788889999"),
    "region": several("eu-west-1", "eu-west-2", "us-east-1"),
    "require_proof": SWITCH,
    "prove_use": SWITCH,
    "verify_timeout": number(1, 2, 3),
    "max_failures": number(1, 2, 3),
    "deadline": number(1, 2, 3),
    "grace": number(0, 1, 2),
    "render": pairs("html=a.html", "junit=j.xml,csv=c.csv", "markdown=m.md"),
    "all": SWITCH,
    "yes": SWITCH,
    "disabled_too": SWITCH,
    "material_name": text("2026", "2027", "v 1"),
    "correct": several("tags", "policy,tags", "description"),
    "known": several("a.json", "b.json,reports", "s3://bucket/nightly/"),
    "label": pairs("a=1", "b=2,c=3", "d=x=y"),
    "shard": text("1/2", "2/2", "3/7"),
    "shards": number(1, 2, 9_999),
    "format": text("json", "table", "cloudformation"),
    "caller_arn": text("arn:aws:iam::1:role/a", "arn:aws:iam::2:role/b", "arn:aws:iam::3:role/c"),
    "detailed_exitcode": SWITCH,
    "material": SWITCH,
    "standby": SWITCH,
    "fingerprint": several("a" * 64, "b" * 64 + "," + "c" * 64, "d" * 64),
    "signed_by": several("a.pem", "b.pem,c.pem", "d.pem"),
    "sign_with": text("a.pem", "b.pem", "c.pem"),
    "output": text("a", "b", "c"),
    "allow_stale": SWITCH,
    "port": number(1, 2, 65535),
    "seed": text("a", "b", "c"),
    "enforce_quotas": SWITCH,
    "lag": number(1, 2, 3),
    "authorization_lag": number(1, 2, 3),
    "enforce_policies": SWITCH,
}


HERE = [name for name in FIELDS if name in WAYS and settings.marks.marked(name, "variable")]
GUARDS = ["allow_account", "allow_source", "max_targets"]
LISTS = [name for name in HERE if settings.marks.several(name)]


def variable(name: str) -> str:
    return settings.PREFIX + name.upper()


def config(tmp_path: Path, toml: str) -> str:
    path = tmp_path / "settings.toml"
    path.write_text(toml, "utf-8")
    return str(path)


def default(name: str) -> Any:
    return Settings.model_fields[name].default


def as_flag(name: str, index: int) -> Any:
    """What the command line hands over: a list where the option is repeatable, True for a switch, else the text."""
    way = WAYS[name]
    if way.repeatable:
        return way.texts[index].split(",")
    return True if way.means[index] is True else way.texts[index]


def problems(flags: dict[str, Any] | None = None, file: str | None = None) -> tuple[Problem, ...]:
    with pytest.raises(SettingsError) as caught:
        load(flags, file)
    assert caught.value.exit_code == 3
    return caught.value.problems
