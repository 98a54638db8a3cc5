"""`pkcs11:…`: an AES or HMAC key in an HSM, sealed there by C_WrapKey. RFC 7512.

Only which token and which object come from the URI. The module and the PIN come from the settings. Each token has a
process of its own (bulk_import/token/process.py), which logs in once, before the lanes start.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote_to_bytes

import bulk_import
from bulk_import.errors import MaterialError
from bulk_import.material import environment
from bulk_import.material.evidence import Evidence, mac_algorithm_of
from bulk_import.material.sources import uri
from bulk_import.material.sources.base import Kind, Offer, Opened, Opening
from bulk_import.model import KeySpec, Target, WrappingAlgorithm, WrappingKeySpec
from bulk_import.settings import Settings

_TOKEN: Final = ("token", "manufacturer", "serial", "model", "slot-id")
_OBJECT: Final = ("object", "id", "type")
_FROM_SETTINGS: Final = ("pin-value", "pin-source", "module-path", "module-name")
_SECONDS: Final = 60.0  # that one operation of a token may take
_ALGORITHMS: Final = {
    "SHA_256": WrappingAlgorithm.RSAES_OAEP_SHA_256,
    "SHA_1": WrappingAlgorithm.RSAES_OAEP_SHA_1,
}


class Place(NamedTuple):
    token: dict[str, str]
    attributes: dict[str, str]  # object, and id in hex


def parse(rest: str) -> Place:
    """Raises ValueError."""
    path, mark, query = rest.partition("?")
    for name in _FROM_SETTINGS:
        if name in query or name in path:
            raise ValueError(f"{name} cannot come from a manifest: use --pkcs11-module and --pkcs11-pin-file")
    if mark:
        raise ValueError("a pkcs11: URI has no query here")
    found: dict[str, str] = {}
    for part in path.split(";"):
        name, equals, value = part.partition("=")
        if not equals or not value or name not in (*_TOKEN, *_OBJECT):
            raise ValueError(f"write name=value pairs joined by ;, with the names {', '.join((*_TOKEN, *_OBJECT))}")
        if name in found:
            raise ValueError(f"{name}= is there twice")
        found[name] = unquote_to_bytes(value).hex() if name == "id" else uri.decoded(value)
    if "object" not in found and "id" not in found:
        raise ValueError("say which key: object= or id=")
    if found.get("type", "secret-key") != "secret-key":
        raise ValueError("only type=secret-key: this version seals AES and HMAC keys from a token")
    token = {name: value for name, value in found.items() if name in _TOKEN}
    if not token:
        raise ValueError("say which token: token= or serial=")
    return Place(token, {name: found[name] for name in ("object", "id") if name in found})


class TokenProcess:
    """One token. One request at a time; an answer that does not come in time ends the process."""

    def __init__(self, variables: frozenset[str]) -> None:
        root = str(Path(bulk_import.__file__).parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bulk_import.token.process"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=environment.of_token(variables) | {"PYTHONPATH": path}, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._lock = asyncio.Lock()

    async def ask(self, **request: Any) -> dict[str, Any]:
        """Raises MaterialError."""
        async with self._lock:
            try:
                async with asyncio.timeout(_SECONDS):
                    line = await asyncio.to_thread(self._exchange, json.dumps(request) + "\n")
            except TimeoutError:
                self._process.kill()
                raise _failed(f"the token did not respond within {_SECONDS:g} s") from None
        if not line:
            await asyncio.to_thread(self._process.wait)
            raise _failed(f"the process of the token has ended (exit code {self._process.returncode})")
        answer: dict[str, Any] = json.loads(line)
        if "code" in answer:
            raise MaterialError(answer["message"], code=answer["code"], advice=answer["advice"] or None)
        return answer

    def _exchange(self, line: str) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("a token without pipes")
        try:
            stdin.write(line)
            stdin.flush()
            return stdout.readline()
        except (BrokenPipeError, ValueError):
            return ""

    async def close(self) -> None:
        self._process.kill()
        await asyncio.to_thread(self._process.communicate)


class Pkcs11Sealer:
    """The tokens of one run."""

    def __init__(self, opening: Opening) -> None:
        self._settings = opening.settings
        self._variables = opening.variables
        self._tokens: dict[tuple[tuple[str, str], ...], TokenProcess | MaterialError] = {}

    async def begin(self, targets: Sequence[Target]) -> None:
        """Opens every token that a target names, with one login attempt each. A token that fails fails its targets."""
        pin = _pin(self._settings)
        for target in targets:
            token = parse(target.material.partition(":")[2]).token
            key = tuple(sorted(token.items()))
            if key in self._tokens:
                continue
            process = TokenProcess(self._variables)
            self._tokens[key] = process
            try:
                await process.ask(operation="open", module=self._settings.pkcs11_module, token=token, pin=pin)
            except MaterialError as error:
                self._tokens[key] = error
                await process.close()

    async def close(self) -> None:
        for token in self._tokens.values():
            if isinstance(token, TokenProcess):
                await token.close()

    async def offer(self, rest: str, target: Target, key_spec: KeySpec) -> Offer:
        if key_spec.asymmetric:
            raise MaterialError(f"this version cannot seal {key_spec} from a token", code="MaterialInvalid")
        place = parse(rest)
        message = os.urandom(32)
        expected = target.expect.kcv if target.expect else None
        found = await self._of(place).ask(
            operation="look", attributes=place.attributes, key_spec=key_spec.value, message=message.hex(),
            zeros=expected is not None,
        )  # fmt: skip
        if expected is not None and found["kcv"] != expected:
            raise MaterialError("the material's KCV is not the one in expect.kcv", code="CheckValueMismatch")
        evidence = Evidence(key_spec)
        if key_spec.hmac:
            evidence = Evidence(
                key_spec, message=message, mac_algorithm=mac_algorithm_of(key_spec), mac=bytes.fromhex(found["mac"])
            )
        return Offer(evidence, _algorithm(found["hashes"], target))

    async def seal(
        self, rest: str, key_spec: KeySpec, *, public_key: bytes, algorithm: WrappingAlgorithm,
        wrapping_key_spec: WrappingKeySpec,
    ) -> bytes:  # fmt: skip
        del wrapping_key_spec  # it was compared with the wrapping key before
        place = parse(rest)
        [digest] = [name for name, known in _ALGORITHMS.items() if known is algorithm]
        answer = await self._of(place).ask(
            operation="seal", attributes=place.attributes, key_spec=key_spec.value, public_key=public_key.hex(),
            digest=digest,
        )  # fmt: skip
        return bytes.fromhex(answer["sealed"])

    def _of(self, place: Place) -> TokenProcess:
        token = self._tokens[tuple(sorted(place.token.items()))]
        if isinstance(token, MaterialError):
            raise MaterialError(token.message, code=token.code, advice=token.advice)
        return token


def _algorithm(hashes: Sequence[str], target: Target) -> WrappingAlgorithm:
    """The strongest that token and KMS have, or the one that the manifest specifies."""
    able = [_ALGORITHMS[name] for name in hashes]
    wanted = target.wrapping_algorithm
    if not able or wanted not in (None, *able):
        raise MaterialError(
            f"the token can wrap with {', '.join(able) or 'nothing that KMS accepts'}; "
            f"{wanted or 'RSAES_OAEP_SHA_256 or RSAES_OAEP_SHA_1'} is wanted", code="WrappingNotAllowed",
            advice="Leave wrapping_algorithm out, or use a token with CKM_RSA_PKCS_OAEP for C_WrapKey.",
        )  # fmt: skip
    return wanted or able[0]


def _pin(settings: Settings) -> str:
    """Raises MaterialError."""
    try:
        return Path(settings.pkcs11_pin_file or "").read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        raise MaterialError(
            "--pkcs11-pin-file cannot be read", code="SourceDenied", advice="Check its path and permissions."
        ) from None


def _failed(message: str) -> MaterialError:
    return MaterialError(
        message, code="SourceFailed", advice="Look at the HSM and at its library's log; only its targets failed."
    )


def settings_problems(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """What is missing before a token can be opened."""
    for name in ("pkcs11_module", "pkcs11_pin_file"):
        path: Mapping[str, str | None] = {name: getattr(settings, name)}
        if not path[name]:
            yield f"--{name.replace('_', '-')}", "is missing, and pkcs11: sources need it", "Name the file."
        elif not Path(str(path[name])).is_file():
            yield f"--{name.replace('_', '-')}", "names no file", "Correct the path."


def check(target: Target, _settings: Settings) -> Iterator[tuple[str, str, str]]:
    """What a manifest may not ask of a token."""
    if target.key_spec is not None and target.key_spec.asymmetric:
        advice = "RSA and ECC keys can be sealed by transit:."
        yield "material", f"this version seals AES and HMAC keys from a token, not {target.key_spec}", advice
    if target.wrapping_algorithm is not None and target.wrapping_algorithm not in _ALGORITHMS.values():
        yield "wrapping_algorithm", "does not wrap AES and HMAC keys", f"Use {' or '.join(_ALGORITHMS.values())}."
    if target.encoding is not None:
        yield "encoding", "has no effect: the material never leaves the token in the clear", "Leave it out."


def _open(opening: Opening) -> Opened:
    sealer = Pkcs11Sealer(opening)
    return Opened(sealer=sealer, begin=sealer.begin, close=sealer.close)


KIND = Kind(
    scheme="pkcs11",
    form="pkcs11:token=…;object=…",
    summary="an AES or HMAC key in an HSM (RFC 7512), sealed there by C_WrapKey",
    parse=parse,
    open=_open,
    seals=True,
    checked_offline=True,
    extra="pkcs11",
    module="PyKCS11",
    settings=("--pkcs11-module", "--pkcs11-pin-file"),
    settings_problems=settings_problems,
    check=check,
)
