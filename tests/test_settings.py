"""One model of every default: flag over variable over --config over default, for each setting there is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_import import cli, settings
from bulk_import.errors import Problem, SettingsError, UsageError
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


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(settings.PREFIX):
            monkeypatch.delenv(name)


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


# --- precedence


def test_every_setting_is_here() -> None:
    assert set(WAYS) == set(FIELDS)


def test_every_setting_is_an_option_of_some_command_under_its_own_name() -> None:
    groups = {settings.group_of(info) for info in Settings.model_fields.values()}
    taken = {group for name in cli.COMMANDS for group in _groups(name)}
    assert groups - {"file"} == taken  # what only the settings file can hold is not an option


def _groups(command: str) -> tuple[str, ...]:
    import importlib  # noqa: PLC0415 - as the command line does

    found: tuple[str, ...] = importlib.import_module(f"bulk_import.commands.{command}").GROUPS
    return found


@pytest.mark.parametrize("name", HERE)
def test_flag_over_variable_over_file_over_default(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    way = WAYS[name]
    assert getattr(load(), name) == default(name)
    file = config(tmp_path, f"{name} = {way.toml(0)}\n")
    assert getattr(load({}, file), name) == way.means[0] != default(name)
    monkeypatch.setenv(variable(name), way.texts[1])
    assert getattr(load({}, file), name) == way.means[1]
    assert getattr(load(), name) == way.means[1]
    assert getattr(load({name: as_flag(name, 2)}, file), name) == way.means[2]
    assert getattr(load({name: as_flag(name, 2)}), name) == way.means[2]


@pytest.mark.parametrize("name", [name for name in HERE if isinstance(default(name), bool)])
def test_a_nearer_no_wins_over_a_yes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = config(tmp_path, f"{name} = true\n")
    assert getattr(load({}, file), name) is True
    monkeypatch.setenv(variable(name), "false")
    assert getattr(load({}, file), name) is False
    assert getattr(load({name: True}, file), name) is True


@pytest.mark.parametrize("name", [name for name in HERE if name not in GUARDS])
def test_an_empty_variable_is_unset(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(name), "")
    assert getattr(load(), name) == default(name)
    file = config(tmp_path, f"{name} = {WAYS[name].toml(0)}\n")
    assert getattr(load({}, file), name) == WAYS[name].means[0]


@pytest.mark.parametrize("name", [name for name in HERE if WAYS[name].repeatable])
def test_lists_have_commas_in_variables_and_spaces_do_no_harm(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(name), " " + WAYS[name].texts[1].replace(",", " , ") + " ,")
    assert getattr(load(), name) == WAYS[name].means[1]


# --- guards and selections that would fail open


@pytest.mark.parametrize("name", GUARDS)
@pytest.mark.parametrize("value", ["", " ", "\t", "\n"])
def test_an_empty_variable_of_a_guard_is_an_error(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(name), value)
    (problem,) = problems()
    assert problem.field == variable(name)
    assert "guard" in problem.advice


EMPTY_LISTS = [",", ",,", " , ", " ", "\t", ",\n,"]
EMPTY_IN_THE_FILE = ["[]", '""', '" "', '","', '[""]', '[" "]', '["a", ""]', '["", "a"]']


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("value", EMPTY_LISTS)
def test_a_list_without_a_value_is_an_error(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=f"{settings.flag_of(name)}: is empty"):
        load({name: [value]})
    monkeypatch.setenv(variable(name), value)
    assert [problem.field for problem in problems()] == [variable(name)]
    with pytest.raises(UsageError):  # a flag does not hide it either
        load({name: [""]})


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("value", EMPTY_IN_THE_FILE)
def test_a_list_without_a_value_in_the_file_is_an_error(name: str, value: str, tmp_path: Path) -> None:
    found = problems({}, config(tmp_path, f"{name} = {value}\n"))
    assert {(problem.field, problem.line) for problem in found} == {(name, 1)}


@pytest.mark.parametrize("name", ["quota", "label", "render"])
def test_an_empty_table_in_the_file_is_an_error(name: str, tmp_path: Path) -> None:
    assert [problem.field for problem in problems({}, config(tmp_path, f"[{name}]\n"))] == [name]


@given(st.text(" \t,\n\r\v\f\u00a0\u2003", min_size=1, max_size=9), st.sampled_from(LISTS))
def test_no_blank_and_no_comma_is_a_value(value: str, name: str) -> None:
    with pytest.raises(UsageError):
        load({name: [value]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable(name), value)
        assert problems()[0].field == variable(name)


@pytest.mark.parametrize(
    "value", ["11112222333", "1111-2222-3333", "1.11122E+11", "*", "all", "111122223333 444455556666"]
)
@pytest.mark.parametrize("name", ["allow_account", "only_account"])
def test_what_is_not_an_account_guards_nothing(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="12 digits"):
        load({name: ["111122223333", value]})
    monkeypatch.setenv(variable(name), f"{value},111122223333")
    (problem,) = problems()
    assert "12 digits" in problem.message
    assert value not in problem.message


@pytest.mark.parametrize("value", ["true", "1", "false", "no", " "])
def test_a_dry_run_is_an_option_only(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = config(tmp_path, "dry_run = true\n")
    assert [(problem.field, problem.line) for problem in problems({}, file)] == [("dry_run", 1)]
    assert load({"dry_run": True}).dry_run
    monkeypatch.setenv("BULK_IMPORT_DRY_RUN", value)
    (problem,) = problems()
    assert "--dry-run has no variable" in problem.message
    monkeypatch.setenv("BULK_IMPORT_DRY_RUN", "")
    assert not load().dry_run


@pytest.mark.parametrize("name", ["role", "report", "journal", "endpoint_url", "profile", "shard"])
def test_blanks_are_no_value(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [problem.field for problem in problems({}, config(tmp_path, f'{name} = " "\n'))] == [name]
    monkeypatch.setenv(variable(name), "  ")
    assert [problem.field for problem in problems()] == [variable(name)]


def test_a_flag_of_a_list_replaces_the_variables_whole_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULK_IMPORT_ONLY_ID", "a,b")
    assert load({"only_id": ["c"]}).only_id == ("c",)
    monkeypatch.setenv("BULK_IMPORT_LABEL", "a=1,b=2")
    assert load({"label": ["c=3"]}).label == {"c": "3"}


def test_names_with_hyphens_in_the_file(tmp_path: Path) -> None:
    assert load({}, config(tmp_path, 'only-id = ["a"]\nread-interval = "500ms"\n')).read_interval == 0.5


def test_a_table_in_the_file(tmp_path: Path) -> None:
    loaded = load({}, config(tmp_path, "reads = 5\n[quota]\nDescribeKey = 10\n[label]\nteam = 'x'\n"))
    assert (loaded.reads, loaded.quota, loaded.label) == (5, {"DescribeKey": 10.0}, {"team": "x"})


def test_the_file_is_named_by_variable_too_and_never_found_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = config(tmp_path, "reads = 9\n")
    for name in ("bulk-import.toml", "settings.toml", ".env", "pyproject.toml"):
        (tmp_path / name).write_text("reads = 9\nBULK_IMPORT_READS=9\n" if name == ".env" else "reads = 9\n")
    monkeypatch.chdir(tmp_path)
    assert load().reads == 3
    monkeypatch.setenv("BULK_IMPORT_CONFIG", file)
    assert load().reads == 9
    monkeypatch.setenv("BULK_IMPORT_CONFIG", "")
    assert load().reads == 3


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("2", 2), ("2s", 2), ("2.5", 2.5), ("500ms", 0.5), ("1m", 60), ("1min", 60), ("0.05h", 180), (" 2 s ", 2)],
)
def test_durations(written: str, seconds: float) -> None:
    assert load({"grace": written}).grace == pytest.approx(seconds)


# --- names that are none


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("BULK_IMPORT_READ", "BULK_IMPORT_READS"),
        ("BULK_IMPORT_ONLY_ACCOUNTS", "BULK_IMPORT_ONLY_ACCOUNT"),
        ("BULK_IMPORT_PROFIL", "BULK_IMPORT_PROFILE"),
        ("BULK_IMPORT_CONFIGG", "BULK_IMPORT_CONFIG"),
        ("BULK_IMPORT_SURE", "--help"),
        ("BULK_IMPORT_MANIFEST", "BULK_IMPORT_MANIFEST_FORMAT"),
        ("BULK_IMPORT_reads", "BULK_IMPORT_READS"),
        ("bulk_import_reads", "BULK_IMPORT_READS"),  # else it would count, or not, by the system
        ("BULK_IMPORT_XYZZY", "--help"),
    ],
)
def test_an_unknown_variable_names_the_nearest(name: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    (problem,) = problems()
    assert (problem.file, problem.field) == ("environment", name)
    assert "is not a setting" in problem.message
    assert hint in problem.advice


def test_a_wrong_value_under_a_name_in_small_letters_is_told_by_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("bulk_import_reads", "x")
    assert [problem.field for problem in problems()] == ["bulk_import_reads"]


def test_a_wrong_rate_names_its_operation() -> None:
    with pytest.raises(UsageError, match="--quota: DescribeKey: "):
        load({"quota": ["ImportKeyMaterial=1", "DescribeKey=x"]})


@pytest.mark.parametrize("name", ["quota", "label", "render"])
def test_a_name_that_is_given_twice_is_a_contradiction(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = {"quota": "DescribeKey", "label": "team", "render": "html"}[name]
    said = f"{key} is given twice, as 1 and as 2. Keep one of them"
    with pytest.raises(UsageError, match=f"{settings.flag_of(name)}: {said}"):
        load({name: [f"{key}=1", f"{key} = 2"]})
    monkeypatch.setenv(variable(name), f"{key}=1,{key}=2")
    assert [(problem.field, problem.message) for problem in problems()] == [(variable(name), said)]


def test_an_unknown_variable_is_an_error_even_where_it_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULK_IMPORT_REEDS", "")
    assert problems()[0].field == "BULK_IMPORT_REEDS"


def test_an_unknown_key_of_the_file_with_its_line(tmp_path: Path) -> None:
    file = config(tmp_path, "# settings\nquiet = true\n\nreeds = 5\nonly-idd = ['a']\n[aws]\nprofile = 'x'\n")
    found = {problem.field: problem for problem in problems({}, file)}
    assert {name: problem.line for name, problem in found.items()} == {"reeds": 4, "only-idd": 5, "aws": 6}
    assert all(problem.file == file for problem in found.values())
    assert "Did you mean reads?" in found["reeds"].advice
    assert "Did you mean only_id?" in found["only-idd"].advice


# --- values that are none

WRONG: dict[str, list[str]] = {
    "log_format": ["xml"],
    "log_level": ["loud"],
    "quiet": ["perhaps"],
    "connect_timeout": ["0", "-1", "61", "x", "1d"],
    "read_timeout": ["0", "121"],
    "max_in_flight": ["0", "10001", "1.5", "x"],
    "quota": ["DescribeKey", "DescribeKey=x", "DescribeKey=0", "DescribeKey=-1", "DescribeKey=nan", "DescribeKey=inf"],
    "quotas": ["mine", "service_quotas"],
    "pacing_margin": ["-0.1", "1.1", "nan", "x"],
    "retry_timeout": ["-1", "2h"],
    "consistency_timeout": ["601"],
    "manifest_format": ["toml"],
    "max_targets": ["0", "x"],
    "prove": ["maybe"],
    "reads": ["0", "101", "x", "2.5"],
    "read_interval": ["-1", "301", "inf"],
    "verify_timeout": ["0"],
    "max_failures": ["0"],
    "deadline": ["0", "soon"],
    "grace": ["-1", "2h"],
    "render": ["html", "pdf=x.pdf", "html=", "html=-"],
    "label": ["x", "=1"],
    "shards": ["0", "10000", "x"],
    "shard": ["0/3", "4/3", "x", "1", "1/0"],
    "format": ["yaml"],
    "port": ["-1", "65536"],
    "lag": ["-1"],
    "authorization_lag": ["-1"],
}
WRONG_VALUES = [(name, value) for name, values in WRONG.items() for value in values]


@pytest.mark.parametrize(("name", "value"), WRONG_VALUES)
def test_a_wrong_flag_is_wrong_usage(name: str, value: str) -> None:
    flag = [value] if WAYS[name].repeatable else value
    with pytest.raises(UsageError, match=settings.flag_of(name)) as caught:
        load({name: flag})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("name", "value"), WRONG_VALUES)
def test_a_wrong_variable_names_itself(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(name), value)
    (problem,) = problems()
    assert (problem.file, problem.line, problem.field) == ("environment", 0, variable(name))


@pytest.mark.parametrize(("name", "value"), WRONG_VALUES)
def test_a_wrong_value_in_the_file_with_its_line(name: str, value: str, tmp_path: Path) -> None:
    key = name.replace("_", "-")
    file = config(tmp_path, f'# one\n# two\n{key} = "{value}"\n')
    (problem,) = problems({}, file)
    assert (problem.file, problem.line, problem.field) == (file, 3, name)


def test_a_nearer_good_value_hides_no_wrong_one_that_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a variable replaces in the file is not looked at, nor what a flag replaces."""
    file = config(tmp_path, 'reads = "x"\n')
    monkeypatch.setenv("BULK_IMPORT_READS", "5")
    assert load({}, file).reads == 5
    monkeypatch.setenv("BULK_IMPORT_READS", "y")
    assert load({"reads": "7"}, file).reads == 7


def test_every_problem_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = config(tmp_path, 'reads = "x"\nreeds = 1\n')
    monkeypatch.setenv("BULK_IMPORT_GRACE", "y")
    monkeypatch.setenv("BULK_IMPORT_GRAZE", "1")
    fields = {problem.field for problem in problems({}, file)}
    assert fields == {"reads", "reeds", "BULK_IMPORT_GRACE", "BULK_IMPORT_GRAZE"}


@pytest.mark.parametrize(
    ("content", "line", "part"),
    [
        (b"reads = \n", 1, "is not TOML"),
        (b"quiet = true\nquiet = false\n", 2, "is not TOML"),
        (b"\xff\xfe", 0, "is not UTF-8"),
    ],
)
def test_a_file_that_is_no_toml(content: bytes, line: int, part: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(content)
    (problem,) = problems({}, str(file))
    assert (problem.file, problem.line) == (str(file), line)
    assert part in problem.message


def test_a_file_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        (problem,) = problems({}, str(path))
        assert problem.file == str(path)
        assert "cannot be read" in problem.message
