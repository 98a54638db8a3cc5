"""Merges flag, BULK_IMPORT_* variable, --config and default, and reports every mistake with its place."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bulk_import.errors import Problem, SettingsError, UsageError
from bulk_import.settings.marks import fields, flag_of, marked, several
from bulk_import.settings.model import PREFIX, Settings
from bulk_import.settings.values import gives_nothing
from bulk_import.shards import AUTO, from_environment


def load(flags: Mapping[str, Any] | None = None, config: str | None = None) -> Settings:
    """Merges flags (only those given), variables, the file `config` and the defaults.

    Raises UsageError for a flag's value, SettingsError for a variable's or the file's, naming each place.
    """
    flags = dict(flags or {})
    empty = [flag_of(name) for name, value in flags.items() if gives_nothing(value, several=several(name))]
    if config is not None and not config.strip():
        empty.append("--config")  # the file may hold the guards
    if empty:
        raise UsageError("\n".join(f"{flag}: is empty. Give a value, or omit it." for flag in empty))
    config = config or os.environ.get(PREFIX + "CONFIG") or None
    problems = [*_unknown_variables(), *_empty_variables()]
    from_file = _read_config(config, problems) if config else {}
    variables = {name for name in Settings.model_fields if os.environ.get(PREFIX + name.upper())}
    variables = {name for name in variables if not any(problem.field == PREFIX + name.upper() for problem in problems)}
    # pydantic-settings would read every variable: what is given here instead wins over it.
    merged = {name: info.default for name, info in Settings.model_fields.items() if name not in variables}
    merged |= {name: value for name, value in from_file.items() if name not in variables} | flags
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
    settings.read_from(config)
    return settings


def places(flags: Mapping[str, Any], config: str | None) -> Settings | None:
    """Where the results of a command would go whose settings `load` refuses; all other settings have their defaults.

    A file that cannot be read is taken as empty, and of --render what is wrong is left out. None where the place of the
    report is wrong itself.
    """
    config = config or os.environ.get(PREFIX + "CONFIG") or None
    try:
        from_file = _read_config(config, []) if config else {}
    except SettingsError:
        from_file = {}
    given = {name: info.default for name, info in Settings.model_fields.items()}
    for name in _PLACES:
        given[name] = flags.get(name) or os.environ.get(PREFIX + name.upper()) or from_file.get(name, given[name])
    renderings = given["render"]
    if isinstance(renderings, dict):
        renderings = [f"{form}={path}" for form, path in renderings.items()]
    elif isinstance(renderings, str):
        renderings = renderings.split(",")
    given["render"] = []
    if not _valid(given):
        given["format"] = None  # it is no place itself
    for item in renderings:
        if _valid(given | {"render": [*given["render"], item]}):
            given["render"].append(item)
    return Settings(**given) if _valid(given) else None


def _valid(given: Mapping[str, Any]) -> bool:
    try:
        Settings(**given)
    except ValidationError:
        return False
    return True


_PLACES = ("report", "render", "output", "format", "out")


def with_shard(settings: Settings) -> Settings:
    """`--shard auto` as I/N, from the engine's variables. Raises UsageError."""
    if settings.shard != AUTO:
        return settings
    return settings.model_copy(update={"shard": from_environment(os.environ)})


def _unknown_variables() -> list[Problem]:
    """Also those in small letters, which pydantic-settings would take and other systems would not."""
    known = {name.upper() for name in Settings.model_fields if marked(name, "variable")} | {"CONFIG"}
    found = []
    for name in sorted(os.environ):
        setting = name[len(PREFIX) :].upper()
        if not name.upper().startswith(PREFIX) or name.removeprefix(PREFIX) in known:
            continue
        message, advice = "is not a setting.", _nearest(setting, known, PREFIX)
        if _option_only(setting.lower()):
            if not os.environ[name]:
                continue  # not set
            message = f"is not a setting: {flag_of(setting.lower())} has no variable."
            advice = f"Give {flag_of(setting.lower())} itself, so that the command line shows it."
        found.append(Problem("environment", 0, name, message, advice))
    return found


def _option_only(name: str) -> bool:
    return name in Settings.model_fields and not marked(name, "variable") and name not in fields("file")


def _empty_variables() -> list[Problem]:
    """Empty is not set, except for a guard. Blanks and bare commas are a mistake everywhere."""
    found = []
    for name in Settings.model_fields:
        value = os.environ.get(PREFIX + name.upper())
        if value is None or not marked(name, "variable") or not gives_nothing(value, several=several(name)):
            continue
        if value or marked(name, "guard"):
            message = "is empty." if not value else "holds no value."
            why = "It is a guard: unset it to have none." if marked(name, "guard") else "Give a value, or unset it."
            found.append(Problem("environment", 0, PREFIX + name.upper(), message, why))
    return found


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
            [Problem(path, int(line[1]) if line else 0, "", f"is not TOML: {error}.", "Correct it.")]
        ) from None
    known: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if _option_only(name):
            flag = flag_of(name)
            advice = f"Give {flag} itself, so that the command line shows it."
            problems.append(Problem(path, _line_of(path, key), key, "can be an option only.", advice))
        elif name in Settings.model_fields and gives_nothing(value, several=several(name)):
            problems.append(Problem(path, _line_of(path, key), key, "is empty.", "Give a value, or remove the line."))
        elif name in Settings.model_fields:
            known[name] = value
        else:
            problems.append(
                Problem(path, _line_of(path, key), key, "is not a setting.", _nearest(name, set(Settings.model_fields)))
            )
    return known


def _line_of(path: str, name: str) -> int:
    """The line that sets `name`, for messages: tomllib keeps no positions. 0 where it cannot be known."""
    pattern = re.compile(rf"^\s*\[?\"?{re.escape(name).replace('_', '[_-]')}\"?\s*[\]=.]")
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    return next((number for number, line in enumerate(lines, 1) if pattern.match(line)), 0)
