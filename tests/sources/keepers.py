"""One keeper for each source that gives material: it stores what a test hands it, and names it as a manifest does."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.e2e.support import Workplace
from tests.sandbox_client import Sandbox
from tests.sources.bao import Bao


class Keeper:
    """`put` stores text and returns its URI. `has_fields`: whether `put` may store JSON and name one field of it."""

    options: Sequence[str] = ()
    server = "sandbox"  # a fixture
    has_fields = False

    def __init__(self, work: Workplace, outside: Path, server: Any) -> None:
        """`outside`: a folder that the run does not write to."""
        self.work, self.outside, self.at = work, outside, server
        self.environment: dict[str, str] = {}
        self.own_files: set[str] = set()  # names of files that hold the material because the source is a file

    def put(self, name: str, text: str) -> str:
        raise NotImplementedError


class File(Keeper):
    options = ("--allow-source", "file:")

    def put(self, name: str, text: str) -> str:
        path = self.work.folder / f"{name}.key"
        path.write_text(text)
        path.chmod(0o600)
        self.own_files.add(path.name)
        return f"file:{path.name}"


class Env(Keeper):
    options = ("--allow-source", "env:")

    def put(self, name: str, text: str) -> str:
        self.environment[f"CANARY_{name}"] = text
        return f"env:CANARY_{name}"


class Exec(Keeper):
    """The command writes its environment and its arguments into the run's folder, then prints the material."""

    options = ("--allow-source", "exec:", "--config", "settings.toml")

    def put(self, name: str, text: str) -> str:
        printed = self.outside / f"{name}.printed"
        printed.write_text(text)
        command = self.outside / f"{name}.py"
        command.write_text(
            textwrap.dedent(f"""\
            #!{sys.executable}
            import os, sys
            with open({str(self.work.folder / f"environment-of-{name}")!r}, "wb") as output:
                output.write(b"\\n".join(b"=".join(pair) for pair in os.environb.items()) + repr(sys.argv).encode())
            sys.stderr.write("exported " + open({str(printed)!r}).read())
            sys.stdout.write(open({str(printed)!r}).read())
            sys.exit({name.startswith("exits")})
            """)
        )
        command.chmod(0o700)
        with (self.work.folder / "settings.toml").open("a") as settings:
            settings.write(f"[exec.{name}]\nargv = [{json.dumps(str(command))}]\n")
        return f"exec:{name}"


class Aws(Keeper):
    options = ("--allow-source", "secretsmanager:", "--allow-source", "ssm:", "--allow-source", "s3:")

    def client(self, service: str) -> Any:
        sandbox: Sandbox = self.at
        return sandbox.client(service, None)


class SecretsManager(Aws):
    has_fields = True

    def put(self, name: str, text: str) -> str:
        self.client("secretsmanager").create_secret(Name=name, SecretString=text)
        return f"secretsmanager:{name}"


class Ssm(Aws):
    def put(self, name: str, text: str) -> str:
        self.client("ssm").put_parameter(Name=name, Value=text, Type="SecureString")
        return f"ssm:{name}"


class S3(Aws):
    def put(self, name: str, text: str) -> str:
        s3 = self.client("s3")
        s3.create_bucket(Bucket="byok-canary")
        s3.put_object(Bucket="byok-canary", Key=name, Body=text.encode())
        return f"s3://byok-canary/{name}"


class Vault(Keeper):
    """Each secret has one field, so a missing field is another name in the URI."""

    options = ("--allow-source", "vault:")

    server = "bao"
    has_fields = True

    def __init__(self, work: Workplace, outside: Path, server: Bao) -> None:
        super().__init__(work, outside, server)
        self.environment = server.environment()

    def put(self, name: str, text: str) -> str:
        self.at.write(f"canary-{name}", **{"other" if name == "field" else "key": text})
        return f"vault:secret/canary-{name}?field=key"


KEEPERS = {
    "file": File,
    "env": Env,
    "exec": Exec,
    "secretsmanager": SecretsManager,
    "ssm": Ssm,
    "s3": S3,
    "vault": Vault,
}
