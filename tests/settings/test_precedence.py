"""One model of every default: flag over variable over --config over default, for each setting there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_import import cli, settings
from bulk_import.settings import Settings, load
from tests.settings.ways import (
    FIELDS,
    GUARDS,
    HERE,
    WAYS,
    as_flag,
    config,
    default,
    variable,
)


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
