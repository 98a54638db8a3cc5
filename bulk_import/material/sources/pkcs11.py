"""`pkcs11:…`: a key in an HSM, sealed there by C_WrapKey. RFC 7512.

Only which token and which object come from the URI. The module and the PIN come from the settings. Each token has a
process of its own (bulk_import/token/process.py), which logs in once, before the lanes start.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from bulk_import.errors import MaterialError
from bulk_import.material import shape
from bulk_import.material.evidence import Evidence, checked_text, mac_algorithm_of
from bulk_import.material.secret import Secret
from bulk_import.material.sources.base import Kind, Offer, Opened, Opening
from bulk_import.material.sources.pkcs11_process import PIN_VARIABLE, TokenProcess, pin
from bulk_import.material.sources.pkcs11_uri import Place, covers, parse
from bulk_import.material.wrapping import RSA_BITS, Family, allowed
from bulk_import.model import KeySpec, Target, WrappingAlgorithm, WrappingKeySpec
from bulk_import.settings import Settings

# KMS also takes ECC keys under plain OAEP, but tokens wrap only secret keys that way.
_HYBRID: Final = (WrappingAlgorithm.RSA_AES_KEY_WRAP_SHA_256, WrappingAlgorithm.RSA_AES_KEY_WRAP_SHA_1)


_Names = tuple[tuple[str, str], ...]


class Pkcs11Sealer:
    """The tokens of one run."""

    def __init__(self, opening: Opening) -> None:
        self._settings = opening.settings
        self._variables = opening.variables
        self._processes: list[TokenProcess] = []
        self._named: dict[_Names, TokenProcess | MaterialError] = {}  # by what URIs say
        self._tokens: dict[_Names, TokenProcess | MaterialError] = {}  # by what the token says of itself

    async def begin(self, targets: Sequence[Target]) -> None:
        """Opens every token that a target names, with one login attempt each. A token that fails fails its targets."""
        secret = pin(self._settings)
        for target in targets:
            token = parse(target.material.partition(":")[2]).token
            if _names(token) not in self._named:
                self._named[_names(token)] = await self._opened(token, secret)

    async def _opened(self, token: dict[str, str], secret: str) -> TokenProcess | MaterialError:
        try:
            process = TokenProcess(self._variables)
        except MaterialError as error:
            return error
        self._processes.append(process)
        settings = self._settings
        identity: _Names | None = None
        try:
            found = await process.ask(
                "open", module=settings.pkcs11_module, init_args=settings.pkcs11_init_args, token=token
            )
            identity = _names(found["token"])
            if identity in self._tokens:  # the same token by another name: it gets no second login attempt
                await process.close()
                return self._tokens[identity]
            self._tokens[identity] = process
            await process.ask("login", pin=secret)
        except MaterialError as error:
            await process.close()
            if identity is not None:
                self._tokens[identity] = error
            return error
        return process

    async def close(self) -> None:
        for process in self._processes:
            await process.close()

    async def offer(self, rest: str, target: Target, key_spec: KeySpec, *, key_arn: str = "") -> Offer:
        """`key_arn`: of the key that it is for, where it is known: the evidence then has a material_check."""
        found, message = await self._look(rest, target, key_spec, key_arn)
        algorithm = _algorithm(found, target, key_spec)
        _check_probe(found, key_spec)
        return Offer(_evidence(found, target, key_spec, message=message, key_arn=key_arn), algorithm)

    async def ability(self, rest: str, target: Target) -> str:
        """One line for people: what the token can do with the key. Raises MaterialError where it cannot be sealed."""
        found, _ = await self._look(rest, target, target.key_spec, "")
        key_spec = KeySpec(found["key_spec"])
        algorithm = _algorithm(found, target, key_spec)
        _check_probe(found, key_spec)
        able = ", ".join(f"{name} ({by})" for name, by in found["algorithms"].items())
        said = [f"{found['what']}, for {key_spec}", f"the token wraps with {able}", f"used: {algorithm}"]
        said.append(_proof(found, key_spec))
        if found["readable"]:
            said.append("warning: CKA_SENSITIVE=false, so anyone with the PIN can read this key")
        return "; ".join(said)

    async def _look(
        self, rest: str, target: Target, key_spec: KeySpec | None, key_arn: str
    ) -> tuple[dict[str, Any], bytes]:
        place, message = parse(rest), os.urandom(32)
        found = await self._of(place).ask(
            "look", attributes=place.attributes, key_spec=key_spec.value if key_spec else None, message=message.hex(),
            zeros=bool(target.expect and target.expect.kcv), check=checked_text(key_arn),
        )  # fmt: skip
        expected = target.expect.kcv if target.expect else None
        if expected is not None and found.get("kcv", expected) != expected:
            raise MaterialError("the material's KCV is not the one in expect.kcv", code="CheckValueMismatch")
        return found, message

    async def seal(
        self, rest: str, key_spec: KeySpec, *, public_key: bytes, algorithm: WrappingAlgorithm,
        wrapping_key_spec: WrappingKeySpec,
    ) -> bytes:  # fmt: skip
        del wrapping_key_spec  # it was compared with the wrapping key before
        place = parse(rest)
        answer = await self._of(place).ask(
            "seal", attributes=place.attributes, key_spec=key_spec.value, public_key=public_key.hex(),
            algorithm=algorithm.value,
        )  # fmt: skip
        return bytes.fromhex(answer["sealed"])

    def _of(self, place: Place) -> TokenProcess:
        token = self._named[_names(place.token)]
        if isinstance(token, MaterialError):
            raise MaterialError(token.message, code=token.code, advice=token.advice)
        return token


def _names(token: dict[str, str]) -> _Names:
    return tuple(sorted(token.items()))


def _algorithm(found: dict[str, Any], target: Target, key_spec: KeySpec) -> WrappingAlgorithm:
    """The strongest that token and KMS have, or the one that the manifest specifies. Raises MaterialError."""
    able = [WrappingAlgorithm(name) for name in found["algorithms"]]
    wanted = target.wrapping_algorithm
    bits, largest = RSA_BITS[target.wrapping_key_spec], found["largest_rsa"]
    if able and largest and bits > largest:
        raise MaterialError(
            f"the token wraps under RSA keys of at most {largest} bits; the wrapping key is {target.wrapping_key_spec}",
            code="WrappingNotAllowed", advice="Set a smaller wrapping_key_spec.",
        )  # fmt: skip
    if able and wanted in (None, *able):
        return wanted or able[0]
    without = f" ({'; '.join(found['without'])})" if found["without"] else ""
    message = (
        f"the token can wrap this key with {', '.join(able) or 'nothing that KMS accepts'}{without}; "
        f"{f'{wanted} is specified' if wanted else 'nothing is specified'}; "
        f"KMS accepts {', '.join(allowed(key_spec))} for {key_spec}"
    )
    advice = _ENABLE[Family.of(key_spec) is Family.BYTES]
    if able:
        advice = f"Set wrapping_algorithm to {able[0]}, or leave it out; in a ceremony, set it in both manifests and "
        advice += "prepare again."
    raise MaterialError(message, code="WrappingNotAllowed", advice=advice)


_ENABLE: Final = {
    True: "The HSM's administrator must enable CKM_RSA_PKCS_OAEP for C_WrapKey.",
    False: (
        "The HSM's administrator must enable CKM_RSA_AES_KEY_WRAP, or CKM_AES_KEY_WRAP_KWP as RFC 5649 defines it and "
        "CKM_RSA_PKCS_OAEP; this may need newer firmware. Otherwise use another source for this key."
    ),
}


def _check_probe(found: dict[str, Any], key_spec: KeySpec) -> None:
    """Whether this token writes private keys as KMS needs them, by a temporary key. Raises MaterialError."""
    if not found["probe"]:
        return
    probed = KeySpec.RSA_2048 if Family.of(key_spec) is Family.RSA else key_spec
    try:
        with Secret(bytearray.fromhex(found["probe"])) as secret:
            shape.check(secret, probed)
    except MaterialError as error:
        raise MaterialError(
            f"this token writes private keys in a form that KMS does not accept: {error.message}",
            code="WrappingNotAllowed", advice="Use another source for this key.",
        ) from None  # fmt: skip


def _evidence(found: dict[str, Any], target: Target, key_spec: KeySpec, *, message: bytes, key_arn: str) -> Evidence:
    remarks = []
    if target.expect is not None and target.expect.kcv is not None and "kcv" not in found:
        remarks.append("expect_kcv_not_compared: CKM_AES_ECB is not allowed with the key in the token")
    if key_spec.symmetric and key_arn and "material_check" not in found:
        remarks.append("no_material_check: neither CKM_AES_CMAC nor CKM_AES_ECB is allowed with the key in the token")
    return Evidence(
        key_spec,
        message=message if key_spec.hmac else b"",
        mac_algorithm=mac_algorithm_of(key_spec) if key_spec.hmac else "",
        mac=bytes.fromhex(found.get("mac", "")),
        public_key=bytes.fromhex(found.get("public_key", "")),
        material_check=found.get("material_check", ""),
        hmac_check=found.get("hmac_check", ""),
        remark="; ".join(remarks),
    )


def _proof(found: dict[str, Any], key_spec: KeySpec) -> str:
    if key_spec.hmac:
        return "proof: hmac, by the token"
    if key_spec.asymmetric:
        return "proof: public_key, from the token"
    checks = "yes" if "material_check" in found else "no: neither CKM_AES_CMAC nor CKM_AES_ECB is allowed with the key"
    return f"proof: material_id; material_check: {checks}"


def settings_problems(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """What is missing before a token can be opened."""
    for name in ("pkcs11_module", "pkcs11_pin_file"):
        path = getattr(settings, name)
        option = f"--{name.replace('_', '-')}"
        from_environment = name == "pkcs11_pin_file" and os.environ.get(PIN_VARIABLE)
        if not path and not from_environment:
            more = f", or set {PIN_VARIABLE}" if name == "pkcs11_pin_file" else ""
            yield option, "is missing, and pkcs11: sources need it", f"Name the file{more}."
        elif path and from_environment:
            yield PIN_VARIABLE, f"is set in addition to {option}", "Leave one of the two out."
        elif path and not Path(path).is_file():
            yield option, "names no file", "Correct the path."


def check(target: Target, _settings: Settings) -> Iterator[tuple[str, str, str]]:
    """What a manifest may not ask of a token."""
    algorithm, key_spec = target.wrapping_algorithm, target.key_spec
    if key_spec is not None:
        if Family.of(key_spec) is Family.ECC and algorithm not in (None, *_HYBRID):
            advice = f"Use {' or '.join(_HYBRID)}, or leave it out."
            yield "wrapping_algorithm", f"a token does not wrap private keys with {algorithm}", advice
        kind = parse(target.material.partition(":")[2]).attributes.get("type")
        fitting = "private" if key_spec.asymmetric else "secret-key"
        if kind not in (None, fitting):
            yield "material", f"type={kind} does not fit {key_spec}", f"Use type={fitting}, or leave it out."
    if target.encoding is not None:
        yield "encoding", "has no effect: the material never leaves the token in the clear", "Leave it out."


def _open(opening: Opening) -> Opened:
    sealer = Pkcs11Sealer(opening)
    return Opened(sealer=sealer, begin=sealer.begin, close=sealer.close, ability=sealer.ability)


KIND = Kind(
    scheme="pkcs11",
    form="pkcs11:token=…;object=…",
    summary="a key in an HSM (RFC 7512), sealed there by C_WrapKey",
    parse=parse,
    covers=covers,
    open=_open,
    seals=True,
    checked_offline=True,
    extra="pkcs11",
    module="PyKCS11",
    settings=("--pkcs11-module", "--pkcs11-pin-file", PIN_VARIABLE, "--pkcs11-init-args"),
    settings_problems=settings_problems,
    check=check,
)
