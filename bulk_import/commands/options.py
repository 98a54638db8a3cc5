"""A setting as an option of the command line: its help text, what stands for its value, and what a shell completes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, get_args, get_origin

import typer

_METAVARS = {
    "quota": "OPERATION=RATE",
    "known": "REPORT",
    "correct": "FIELD",
    "only_failed": "REPORT",
    "material_name": "NAME",
    "label": "KEY=VALUE",
    "render": "FORMAT=PATH",
    "output": "PATH",
    "out": "FILE",
    "plan": "FILE",
    "report": "PATH",
    "journal": "PATH",
    "checkpoint": "URI",
    "s3_sse_kms_key_id": "KEY",
    "seed": "PATH",
    "material_root": "FOLDER",
    "endpoint_url": "URL",
    "sts_region": "REGION",
    "external_id": "ID",
    "caller_arn": "ARN",
    "shard": "I/N",
    "pacing_margin": "SHARE",
    "within": "TIME",
    "allow_source": "PREFIX",
    "allow_source_role": "ARN",
    "vault_auth_mount": "PATH",
    "vault_role": "NAME",
    "pkcs11_module": "PATH",
    "pkcs11_pin_file": "PATH",
    "pkcs11_init_args": "TEXT",
    "vault_jwt_file": "PATH",
    "fingerprint": "HEX",
    "signed_by": "PATH",
    "sign_with": "PATH",
}


def as_option(flag: str, name: str, info: Any, heading: str, choices: Sequence[str] = ()) -> inspect.Parameter:
    """A parameter that typer reads. `choices`: what the option may be in this command, the default first."""
    kind: Any = str | None
    metavar: str | None = f"[{'|'.join(choices)}]" if choices else _metavar(name, info)
    if info.annotation is bool:
        kind, metavar = bool | None, None
    elif get_origin(info.annotation) in (tuple, dict):
        kind = list[str] | None
    default = "" if info.default in (None, False, (), {}) else f" [default: {_plain(info)}]"
    text = _with_sources(info.description)
    if choices:
        default = f" [default: {choices[0]}]"
    values = choices or _choices(info.annotation)
    option = typer.Option(
        flag,
        help=f"{text}{default}",
        metavar=metavar,
        show_default=False,
        autocompletion=_completer(values),
        rich_help_panel=heading,
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, option], default=None)


def _completer(values: Sequence[str]) -> Callable[[str], list[str]] | None:
    """What a shell offers for an option's value; None: files."""
    if not values:
        return None

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


def _metavar(name: str, info: Any) -> str:
    """What stands for the value in --help."""
    choices = _choices(info.annotation)
    if choices:
        return f"[{'|'.join(choices)}]"
    if name in _METAVARS:
        return _METAVARS[name]
    numbers = {int: "N", float: "TIME"}
    kinds = [number for number in numbers if number in _kinds(info.annotation)]
    return numbers[kinds[0]] if kinds else name.removeprefix("only_").removeprefix("allow_").upper()


def _kinds(annotation: Any) -> list[Any]:
    """A type and what it is made of: `Annotated[float, …] | None` is a float, too."""
    return [annotation, *(kind for argument in get_args(annotation) for kind in _kinds(argument))]


def _with_sources(text: str) -> str:
    """Help texts that list the sources of key material take them from their registry."""
    if "sources}" not in text:
        return text
    from bulk_import.material import sources  # noqa: PLC0415 - cryptography is loaded only for a help that needs it

    kinds = sources.KINDS.values()
    return text.format(
        sources=", ".join(f"{kind.scheme}:" for kind in kinds),
        offline_sources=" ".join(f"{kind.scheme}:" for kind in kinds if kind.checked_offline),
    )


def _plain(info: Any) -> str:
    if isinstance(info.default, tuple):
        return " ".join(info.default)
    return f"{info.default:g}" if isinstance(info.default, float) else str(info.default)


def _choices(annotation: Any) -> list[str]:
    """The texts of a Literal, also inside `Literal[…] | None`."""
    arguments = get_args(annotation)
    texts = [argument for argument in arguments if isinstance(argument, str)]
    return texts or [text for argument in arguments for text in _choices(argument)]
