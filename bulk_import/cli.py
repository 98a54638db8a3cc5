"""argv → exit code. Thin: the command's module does the work, and is loaded only when it is called."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from io import UnsupportedOperation
from types import ModuleType
from typing import Annotated, Any

import typer

from bulk_import import __version__
from bulk_import.commands.help import Grouped
from bulk_import.commands.options import as_option
from bulk_import.commands.wrong_usage import clear, clear_by
from bulk_import.errors import BulkImportError, ExitCode, InputError, Interrupted, SettingsError, UsageError
from bulk_import.shown import shown_lines

# Command → what it does. Its module is bulk_import.commands.<name>.
COMMANDS: dict[str, str] = {
    "validate": "Read, check and expand a manifest. Calls AWS only for s3:// URIs.",
    "plan": "Show what `run` would do per target, and how long it would take. Only reads.",
    "run": "Import what is not as wanted, verify it, and write the report.",
    "status": "Show state, expiry and drift of every key. Only reads.",
    "delete": "Delete imported key material of the selected targets, verify it, and write the report.",
    "prepare": "Get import parameters for a later `seal` and `submit`. Writes a bundle and changes nothing.",
    "seal": "Seal material for the keys of a bundle, on a machine without a network.",
    "submit": "Import what was sealed for a bundle, verify it, and write the report.",
    "report": "Render reports, merge them, or rebuild one from a journal. Calls AWS only for s3:// URIs.",
    "discover": "Print a manifest of the keys of Origin EXTERNAL that exist. Only reads.",
    "iam": "Print least-privilege policies for exactly this manifest. Calls AWS only for s3:// URIs.",
    "template": "Print a ready-to-use file for a pipeline or a batch engine.",
    "schema": "Print the JSON Schema of the manifest, the report, the plan, the status, or a ceremony's files.",
    "sandbox": "Run a local AWS on 127.0.0.1 until stopped. Needs the extra `sandbox`.",
}
_WrongUsage: Any = typer.BadParameter.__bases__[0]  # typer brings its own click, and names this one of its errors
COMPLETE = "_BULK_IMPORT_COMPLETE"  # what typer's shell scripts set
EPILOG = (
    "Every option also has a variable, BULK_IMPORT_ and its name in capitals (commas separate the values of a list), "
    "and a key in the TOML file that --config names. A flag overrides the variable, the variable overrides the file."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. Never lets a traceback out: it could quote a secret."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _refuse(argv)
        result = _app(argv)(args=argv, prog_name="bulk-import", standalone_mode=False)
        return int(result or 0)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else ExitCode.USAGE
    except Interrupted as interrupted:
        _say(str(interrupted))
        return interrupted.exit_code
    except KeyboardInterrupt:
        _say("Stopped by SIGINT before anything was changed.")
        return ExitCode.SIGINT
    except _WrongUsage as error:
        if argv and argv[0] in COMMANDS:
            clear_by(importlib.import_module(f"bulk_import.commands.{argv[0]}"), argv)
        error.message = shown_lines(error.message)
        error.show()
        return ExitCode.USAGE
    except BulkImportError as error:
        _say(_told(error))
        return error.exit_code
    except (BrokenPipeError, UnsupportedOperation):
        # Anyone who read stdout has gone. Python's own flush at exit must not complain about it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.INTERNAL
    except Exception as error:  # noqa: BLE001 - the last line of defence: a message, not a traceback
        frames = inspect.getinnerframes(error.__traceback__) if error.__traceback__ else []
        where = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""  # noqa: PTH119
        _say(f"Internal error: {type(error).__name__}{where}. This is a defect of bulk-import; please report it.")
        return ExitCode.INTERNAL


def _told(error: BulkImportError) -> str:
    if isinstance(error, InputError | UsageError):
        return str(error)  # every problem says itself what to do
    return f"{error.code}: {error.message}\n{error.advice}"


def _say(text: str) -> None:
    sys.stderr.write(text.rstrip() + "\n")


def _refuse(argv: Sequence[str]) -> None:
    if argv and argv[0] not in COMMANDS and not argv[0].startswith("-"):
        near = difflib.get_close_matches(argv[0], COMMANDS, n=1, cutoff=0.5)
        meant = f"Did you mean `{near[0]}`? " if near else ""
        raise UsageError(f"There is no command `{argv[0]}`. {meant}The commands are {', '.join(COMMANDS)}.")
    asked = any(argument == "--region" or argument.startswith("--region=") for argument in argv)
    if asked and argv[0] != "discover":
        raise UsageError(
            "There is no --region: the manifest says where its keys are. --sts-region is where roles are assumed; "
            "--only-region selects targets."
        )


def _app(argv: Sequence[str]) -> typer.Typer:
    """All commands by name and help; only the one that is called by its module and options."""
    app = typer.Typer(
        name="bulk-import",
        help="Import key material (BYOK) into AWS KMS for many keys at once, across accounts and Regions.",
        epilog=EPILOG,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(_version_option)
    called = argv[:1] or _completing()
    for name, help_text in COMMANDS.items():
        callback = _callback(importlib.import_module(f"bulk_import.commands.{name}")) if name in called else _stub
        app.command(name, cls=Grouped, help=help_text, epilog=EPILOG)(callback)
    return app


def _completing() -> list[str]:
    """The command on the line that a shell wants completed: typer's scripts hand it over in variables, not in argv."""
    if not os.environ.get(COMPLETE):
        return []
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    return line.split()[1:2]


def _stub() -> None:
    """Stands for a command that does not come first, so that --help can list it without loading it."""
    raise UsageError("The command comes first: bulk-import COMMAND [OPTIONS].")


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer's signature of a callback
    if wanted:
        typer.echo(f"bulk-import {__version__}")
        raise typer.Exit


def _version_option(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Options before the command."""


def _callback(module: ModuleType) -> Callable[..., None]:
    """A function whose signature typer reads: the command's arguments, and an option for each of its settings."""
    from bulk_import import settings  # noqa: PLC0415 - pydantic is loaded only by a command that needs it
    from bulk_import.commands.signals import at_once  # noqa: PLC0415 - asyncio, too

    chosen = settings.fields(*module.GROUPS)
    formats: tuple[str, ...] = getattr(module, "FORMATS", ())  # what --format may be here, the default first
    parameters = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation)
        for name, annotation in module.ARGUMENTS.items()
    ]
    parameters += [
        as_option(settings.flag_of(name), name, info, settings.heading_of(name), formats if name == "format" else ())
        for name, info in chosen.items()
    ]
    config = Annotated[str | None, typer.Option("--config", metavar="FILE", help="TOML file of settings.")]
    parameters.append(inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, annotation=config, default=None))

    def command(**given: Any) -> None:
        arguments = {name: given[name] for name in module.ARGUMENTS}
        flags = {name: given[name] for name in chosen if given[name] not in (None, [])}
        try:
            loaded = settings.load(flags, given["config"])
            if "shard" in chosen:
                loaded = settings.with_shard(loaded)
            if formats and loaded.format not in (None, *formats):
                kinds = " or ".join(formats)
                raise UsageError(f"--format: {loaded.format} is not a format of this result. Use {kinds}.")
            without_effect = getattr(module, "without_effect", lambda _: ())
            # Flags only: variables and the file are for all commands of a pipeline.
            idle = [
                f"{settings.flag_of(name)} has no effect {why}" for name, why in without_effect(loaded) if name in flags
            ]
            if idle:
                raise UsageError("\n".join(idle))
            with at_once():
                code = module.execute(loaded, **arguments)
        except (SettingsError, UsageError):
            clear(module, arguments | flags, given["config"])
            raise
        raise typer.Exit(int(code))

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer looks at
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command
