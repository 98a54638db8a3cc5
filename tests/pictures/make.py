"""Makes the README's pictures again: `python -m tests.pictures.make`. Needs Chromium (Debian's `chromium`).

The page is the html rendering of a made report of 1,000 targets, the terminal a real run at a pseudo-terminal.
before/ has both as they were before the page and the terminal were redesigned.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from bulk_import.report.formats import render
from tests.e2e import materials
from tests.e2e.support import Workplace, quick
from tests.formats.chromium import find
from tests.formats.make_report import make_report
from tests.sandbox_client import Sandbox, clean_environment
from tests.terminal import pseudo

HERE = Path(__file__).resolve().parent
LANES = (("111122223333", "us-east-1"), ("111122223333", "eu-central-1"), ("444455556666", "us-east-1"))
SLOWLY = ("--quota", "GetParametersForImport=4")
CURSOR = re.compile(r"\x1b\[\?25[hl]")
REDRAWN = re.compile(r"(?:\r?\x1b\[2K(?:\x1b\[1A\x1b\[2K)*)+")  # how the live view is taken away


def page() -> None:
    """The upper part of the page at 1,000 targets: light, and dark on a phone."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "report.html"
        render("html", make_report(1000), file)
        browser = playwright.chromium.launch(executable_path=find(), args=["--no-sandbox"])
        for name, width, scheme in (("page", 1200, "light"), ("page-phone", 390, "dark")):
            view = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            view.goto(file.as_uri())
            view.screenshot(path=HERE / f"{name}.png")
        browser.close()


def terminal() -> None:
    """A run at a pseudo-terminal of 110 columns: the live view half-way through, then the end."""
    clean_environment()
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        work = Workplace(Path(folder), sandbox.url)
        for number, (account, region) in enumerate(LANES):
            for key in range(8 + 4 * number):
                made = sandbox.key(account, region, key_spec="HMAC_256")
                work.key(made["key_id"], materials.make("HMAC_256"), name=f"payments-{number}-{key}", account=account,
                         region=region)  # fmt: skip
        work.key("alias/tokens", materials.make("HMAC_256"), name="tokens")
        held = sandbox.key(key_spec="HMAC_256", material={"hex": materials.make("HMAC_256").hex()})
        work.key(held["key_id"], materials.make("HMAC_256"), name="ledger")
        path = str(work.write())
        options = ("--render", "html=report.html")
        command = work.command("run", path, *options, *quick(SLOWLY), *SLOWLY)
        seen = pseudo.run(command, work.folder, work.environment(), columns=110, rows=40)
    raw = CURSOR.sub("", seen.raw.replace("\r\n", "\n"))
    drawn = REDRAWN.split(raw)
    frames = [frame for frame in drawn if "imports/s of" in frame]
    shown = f"$ bulk-import run keys.yaml {' '.join(options)}\n\n{frames[len(frames) // 2]}\n\n{drawn[-1]}"
    for secret, stand_in in ((folder, "/work"), (path, "keys.yaml"), ("manifest.json", "keys.yaml")):
        shown = shown.replace(secret, stand_in)
    console = Console(record=True, width=110, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(shown))
    svg = console.export_svg(title="bulk-import", theme=MONOKAI)
    # rich puts web fonts into it: the picture must make no request.
    (HERE / "terminal.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


if __name__ == "__main__":
    page()
    terminal()
    sys.exit(0)
