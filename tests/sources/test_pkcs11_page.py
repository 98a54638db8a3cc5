"""The page's lines for a token to try it with, run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox
from tests.sources import components
from tests.sources.page import PAGE
from tests.sources.tokens import Nss, SoftHsm


def block(heading: str) -> list[str]:
    section = PAGE.read_text("utf-8").split(f"### {heading}\n")[1].split("\n### ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def test_the_lines_for_softhsm(sandbox: Sandbox, work: Workplace, softhsm: SoftHsm) -> None:
    assert softhsm.module
    components.need("OpenSC")
    key = sandbox.key()["key_id"]
    sandbox.client().create_alias(AliasName="alias/payments", TargetKeyId=key)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-eu", "-c", block("A token to try it with")[0]], cwd=work.folder, capture_output=True, text=True,
        env=work.environment(PATH=path, BULK_IMPORT_READ_INTERVAL="20ms"), check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "an AES key of 32 bytes, for SYMMETRIC_DEFAULT" in done.stderr
    assert "1 imported" in done.stderr
    assert sandbox.client().describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"


def test_the_text_for_nss(nss: Nss) -> None:
    """The tests initialize NSS with the text that the page shows."""
    shown = re.search(r'INIT_ARGS="(.*)"', block("A token to try it with")[1])
    assert shown is not None
    assert shown[1].replace("/path/to/db", str(nss.folder)) == nss.init_args
