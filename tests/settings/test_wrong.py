"""Names that are no setting and values that none takes: each is named, with its place and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_import import settings
from bulk_import.errors import UsageError
from bulk_import.settings import load
from tests.settings.ways import (
    WAYS,
    config,
    problems,
    variable,
)

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
    **{
        name: ["a" * 256, "/".join(["a" * 200] * 25)]
        for name in ("known", "material_root", "only_failed", "plan", "seed")
    },
    **{name: ["a" * 201 + ".json"] for name in ("journal", "out", "output", "report")},
}
WRONG["render"].append("html=" + "a" * 256)
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


@pytest.mark.parametrize("name", ["journal", "known", "material_root", "out", "plan", "report", "signed_by"])
def test_no_path_holds_a_null_character(name: str, tmp_path: Path) -> None:
    """TOML can write one."""
    (problem,) = problems({}, config(tmp_path, f'{name} = "a\\u0000b"\n'))
    assert (problem.field, "null character" in problem.message) == (name, True)


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
