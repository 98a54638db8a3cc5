"""What the program says, kept as files: read them aloud. `python -m tests.golden.transcripts` writes them again.

What differs from run to run is masked: folders, run IDs, times, ports, key IDs.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bulk_import.cli import COMMANDS
from tests.e2e.support import Result, Workplace
from tests.sandbox_client import Sandbox, clean_environment

HERE = Path(__file__).parent
TYPING_ERROR = """\
version: 1
defaults: {role: Importer}
keys:
  - id: payments
    account: 111122223333
    region: us-esat-1
    key_id: alias/payments
    material: file:payments.key
    key_sepc: HMAC_256
"""
MASKS = (
    (r"\d{8}T\d{6}Z-[0-9a-f]{8}", "RUN_ID"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "KEY"),
    (r"(?m)^\d\d:\d\d:\d\d ", "TIME "),
    (r" in [0-9.]+ s\. ", " in SECONDS. "),
)


def _help(*command: str) -> Callable[[Sandbox, Workplace], Result]:
    return lambda sandbox, work: work.call(*command, "--help", COLUMNS="100")


def _material(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def _keys(sandbox: Sandbox, work: Workplace) -> None:
    """Three good keys, one without its material, one that does not exist, one that holds other material."""
    for number in range(3):
        work.key(sandbox.key(key_spec="HMAC_256")["key_id"], _material(number), name=f"good-{number}")
    work.key(sandbox.key(key_spec="HMAC_256")["key_id"], b"", name="no-material")
    work.keys[-1]["material"] = "file:nowhere.key"
    work.key("alias/nobody", _material(5), name="no-key")
    held = sandbox.key(key_spec="HMAC_256", material={"hex": _material(3).hex()})
    work.key(held["key_id"], _material(4), name="other-material")


def _plan(sandbox: Sandbox, work: Workplace) -> Result:
    _keys(sandbox, work)
    work.write()
    return work.call("plan", "manifest.json", "--consistency-timeout", "0")


def _run(sandbox: Sandbox, work: Workplace) -> Result:
    _keys(sandbox, work)
    return work.run()


def _report(sandbox: Sandbox, work: Workplace) -> Result:
    _keys(sandbox, work)
    work.run()
    return work.call("report", "report.journal.jsonl")


def _typing_error(sandbox: Sandbox, work: Workplace) -> Result:
    (work.folder / "keys.yaml").write_text(TYPING_ERROR)
    return work.call("validate", "keys.yaml")


def _missing_file(sandbox: Sandbox, work: Workplace) -> Result:
    return work.call("run", "keys.yaml")


def _no_credentials(sandbox: Sandbox, work: Workplace) -> Result:
    work.key("alias/nobody", _material(5), name="one")
    return work.run(AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")


def _rendering(sandbox: Sandbox, work: Workplace) -> Result:
    work.key("alias/nobody", _material(5), name="one")
    return work.run("--render", "pdf=report.pdf")


TRANSCRIPTS: dict[str, Callable[[Sandbox, Workplace], Result]] = {
    "help": _help(),
    **{f"help-{command}": _help(command) for command in COMMANDS},
    "plan": _plan,
    "run-with-failures": _run,
    "report-of-a-journal": _report,
    "typing-error": _typing_error,
    "missing-file": _missing_file,
    "no-credentials": _no_credentials,
    "unknown-rendering": _rendering,
}


def take(name: str, sandbox: Sandbox, folder: Path) -> str:
    """The transcript as it is now: exit code, stdout, stderr."""
    result = TRANSCRIPTS[name](sandbox, Workplace(folder, sandbox.url))
    text = f"exit code {result.code}\n"
    for stream, said in (("stdout", result.stdout.decode()), ("stderr", result.stderr)):
        text += f"--- {stream}\n{said}" if said else ""
    text = text.replace(str(folder), "FOLDER")
    for pattern, mask in MASKS:
        text = re.sub(pattern, mask, text)
    return _failures_in_order(text)


def _failures_in_order(text: str) -> str:
    """Failures come as they come: lines that follow each other are sorted."""
    lines = text.splitlines()
    at = [number for number, line in enumerate(lines) if line.startswith("TIME ERROR")]
    for number, line in zip(at, sorted(lines[n] for n in at), strict=True):
        lines[number] = line
    return "\n".join(lines) + "\n"


def main() -> None:
    clean_environment()
    with Sandbox() as sandbox:
        for name in TRANSCRIPTS:
            sandbox.reset()
            with tempfile.TemporaryDirectory() as folder:
                (HERE / f"{name}.txt").write_text(take(name, sandbox, Path(folder)), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
