"""Guards and selections that would fail open: an empty value is an error, not unset."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulk_import import settings
from bulk_import.errors import UsageError
from bulk_import.settings import load
from tests.settings.ways import (
    GUARDS,
    LISTS,
    config,
    problems,
    variable,
)


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


@pytest.mark.parametrize("value", ["", " ", "\t", "\u00a0"])
def test_an_empty_name_of_the_file_is_wrong_usage(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a shell's variable that is not set: the guards may be in the file."""
    for also in ("", "settings.toml"):
        monkeypatch.setenv("BULK_IMPORT_CONFIG", also)
        with pytest.raises(UsageError, match="--config: is empty"):
            load({}, value)


@pytest.mark.parametrize("name", ["role", "report", "journal", "endpoint_url", "profile", "shard"])
def test_blanks_are_no_value(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [problem.field for problem in problems({}, config(tmp_path, f'{name} = " "\n'))] == [name]
    monkeypatch.setenv(variable(name), "  ")
    assert [problem.field for problem in problems()] == [variable(name)]
