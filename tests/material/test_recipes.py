"""Each command that a message recommends, run as it stands with the tool that it names; then the result is loaded."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)

from bulk_import.errors import MaterialError
from bulk_import.material import recipes, shape
from bulk_import.material.evidence import Evidence
from bulk_import.material.secret import Secret
from bulk_import.model import Encoding as Stated
from bulk_import.model import KeySpec, Lane, Target
from tests.material.keys import assert_silent, spki
from tests.material.support import load

LANE = Lane("aws", "111122223333", "eu-west-1")
P256 = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
ED = ed25519.Ed25519PrivateKey.generate()
PASSWORD = "pass word"
PLAIN = NoEncryption()
EC_SPECS = {
    KeySpec.ECC_NIST_P256: ec.SECP256R1(),
    KeySpec.ECC_NIST_P384: ec.SECP384R1(),
    KeySpec.ECC_NIST_P521: ec.SECP521R1(),
    KeySpec.ECC_SECG_P256K1: ec.SECP256K1(),
}


def pem(key=RSA, form: PrivateFormat = PrivateFormat.PKCS8, lock=PLAIN) -> bytes:
    return key.private_bytes(Encoding.PEM, form, lock)


def der(key=RSA, form: PrivateFormat = PrivateFormat.PKCS8, lock=PLAIN) -> bytes:
    return key.private_bytes(Encoding.DER, form, lock)


def shell(command: str, folder: Path, answers: str = "") -> bytes:
    """Runs it without a terminal, so that it asks on stdin what it must ask."""
    done = subprocess.run(
        ["setsid", "sh", "-c", command],
        cwd=folder,
        input=answers.encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def openssl(*arguments: str, given: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout


def explicit(*more: str) -> bytes:
    return openssl("ecparam", "-name", "prime256v1", "-genkey", "-param_enc", "explicit", *more)


def without_null() -> bytes:
    inner = der(form=PrivateFormat.TraditionalOpenSSL)
    octets = b"\x04\x82" + len(inner).to_bytes(2, "big") + inner
    body = bytes.fromhex("020100300b06092a864886f70d010101") + octets
    return b"\x30\x82" + len(body).to_bytes(2, "big") + body


def with_attributes() -> bytes:
    data = der(P256)
    body = data[3:] + b"\xa0\x00"
    return b"\x30\x81" + bytes([len(body)]) + body


def certificate() -> bytes:
    done = ["req", "-x509", "-new", "-key", "/dev/stdin", "-subj", "/CN=x"]
    return openssl(*done, given=pem())


def bag(folder: Path) -> bytes:
    (folder / "in.p12").write_bytes(pkcs12_of(RSA))
    return shell("openssl pkcs12 -in in.p12 -nocerts -nodes", folder, f"{PASSWORD}\n")


def pkcs12_of(key) -> bytes:
    return pkcs12.serialize_key_and_certificates(
        b"payments", key, None, None, BestAvailableEncryption(PASSWORD.encode())
    )


def keystore(folder: Path, kind: str) -> bytes:
    shell(
        f"keytool -genkeypair -keyalg RSA -keysize 2048 -alias a -dname CN=x -keystore store -storetype {kind} "
        f"-storepass '{PASSWORD}' -keypass '{PASSWORD}'",
        folder,
    )
    return (folder / "store").read_bytes()


def openssh(folder: Path, kind: str, password: str = "") -> bytes:
    shell(f"ssh-keygen -q -t {kind} -C me@here -N '{password}' -f ssh", folder)
    return (folder / "ssh").read_bytes()


# name → (recipe, key spec, what is handed in, its public key or None, answers to what the tools ask)
Handed = bytes | Callable[[Path], bytes]
KEYS: dict[str, tuple[str, KeySpec, Handed, object, str]] = {
    "encrypted": (
        recipes.ENCRYPTED,
        KeySpec.RSA_2048,
        pem(lock=BestAvailableEncryption(PASSWORD.encode())),
        RSA,
        f"{PASSWORD}\n",
    ),
    "encrypted, traditional": (
        recipes.ENCRYPTED,
        KeySpec.ECC_NIST_P256,
        pem(P256, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(PASSWORD.encode())),
        P256,
        f"{PASSWORD}\n",
    ),
    "encrypted DER": (
        recipes.ENCRYPTED,
        KeySpec.RSA_2048,
        der(lock=BestAvailableEncryption(PASSWORD.encode())),
        RSA,
        f"{PASSWORD}\n",
    ),
    "traditional DER of RSA": (recipes.PKCS8, KeySpec.RSA_2048, der(form=PrivateFormat.TraditionalOpenSSL), RSA, ""),
    "traditional DER of EC": (
        recipes.PKCS8,
        KeySpec.ECC_NIST_P256,
        der(P256, PrivateFormat.TraditionalOpenSSL),
        P256,
        "",
    ),
    "without NULL": (recipes.PKCS8, KeySpec.RSA_2048, without_null(), RSA, ""),
    "with attributes": (recipes.PKCS8, KeySpec.ECC_NIST_P256, with_attributes(), P256, ""),
    "explicit parameters, two blocks": (recipes.NAMED_CURVE, KeySpec.ECC_NIST_P256, explicit(), None, ""),
    "explicit parameters, DER": (
        recipes.NAMED_CURVE,
        KeySpec.ECC_NIST_P256,
        openssl("pkcs8", "-topk8", "-nocrypt", "-outform", "DER", given=explicit("-noout")),
        None,
        "",
    ),
    "explicit parameters, PKCS#8 PEM": (
        recipes.NAMED_CURVE,
        KeySpec.ECC_NIST_P256,
        openssl("pkcs8", "-topk8", "-nocrypt", given=explicit("-noout")),
        None,
        "",
    ),
    "RSA-PSS": (
        recipes.RSA_PSS,
        KeySpec.RSA_2048,
        openssl("genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-outform", "DER"),
        None,
        "",
    ),
    "RSA-PSS, PEM": (
        recipes.RSA_PSS,
        KeySpec.RSA_2048,
        openssl("genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"),
        None,
        "",
    ),
    "RSA-PSS, traditional PEM": (
        recipes.RSA_PSS_LABEL,
        KeySpec.RSA_2048,
        pem(form=PrivateFormat.TraditionalOpenSSL).replace(b" RSA ", b" RSA-PSS "),
        RSA,
        "",
    ),
    "PKCS#12": (recipes.PKCS12, KeySpec.RSA_2048, pkcs12_of(RSA), RSA, f"{PASSWORD}\n"),
    "PKCS#12 with EC": (recipes.PKCS12, KeySpec.ECC_NIST_P256, pkcs12_of(P256), P256, f"{PASSWORD}\n"),
    "OpenSSH RSA": (recipes.OPENSSH, KeySpec.RSA_2048, lambda folder: openssh(folder, "rsa -b 2048"), None, ""),
    "OpenSSH ECDSA": (recipes.OPENSSH, KeySpec.ECC_NIST_P384, lambda folder: openssh(folder, "ecdsa -b 384"), None, ""),
    "OpenSSH Ed25519": (
        recipes.OPENSSH_ED25519,
        KeySpec.ECC_NIST_EDWARDS25519,
        lambda folder: openssh(folder, "ed25519"),
        None,
        "",
    ),
    "OpenSSH Ed25519 by another writer": (
        recipes.OPENSSH_ED25519,
        KeySpec.ECC_NIST_EDWARDS25519,
        pem(ED, PrivateFormat.OpenSSH),
        ED,
        "",
    ),
    "text before it": (recipes.PKCS8, KeySpec.RSA_2048, bag, RSA, ""),
    "text after it": (recipes.PKCS8, KeySpec.RSA_2048, pem() + b"copied from the vault\n", RSA, ""),
    "a certificate after it": (recipes.PKCS8, KeySpec.RSA_2048, lambda _: pem() + certificate(), RSA, ""),
    "a certificate before it": (recipes.PKCS8, KeySpec.RSA_2048, lambda _: certificate() + pem(), RSA, ""),
    "UTF-16": (recipes.UTF16, KeySpec.RSA_2048, pem().decode().encode("utf-16"), RSA, ""),
    "UTF-16 without BOM": (recipes.UTF16_NO_BOM, KeySpec.RSA_2048, pem().decode().encode("utf-16-le"), RSA, ""),
    "BOM": (recipes.BOM, KeySpec.RSA_2048, b"\xef\xbb\xbf" + pem(), RSA, ""),
    "a blank line before it": (recipes.PEM_LINES, KeySpec.RSA_2048, b"\n" + pem(), RSA, ""),
    "an indent": (
        recipes.PEM_LINES,
        KeySpec.RSA_2048,
        b"".join(b"    " + line for line in pem().splitlines(keepends=True)),
        RSA,
        "",
    ),
    "an indent by tabs, CR LF": (
        recipes.PEM_LINES,
        KeySpec.RSA_2048,
        b"".join(b"\t" + line + b"\r\n" for line in pem().splitlines()),
        RSA,
        "",
    ),
    "blanks at the end of lines": (recipes.PEM_LINES, KeySpec.RSA_2048, pem().replace(b"\n", b"  \n"), RSA, ""),
    "CR alone": (recipes.PEM_CR, KeySpec.RSA_2048, pem().replace(b"\n", b"\r"), RSA, ""),
    "one line": (recipes.PEM_ONE_LINE, KeySpec.RSA_2048, pem().replace(b"\n", b" "), RSA, ""),
    "one line, traditional": (
        recipes.PEM_ONE_LINE,
        KeySpec.ECC_NIST_P256,
        pem(P256, PrivateFormat.TraditionalOpenSSL).replace(b"\n", b""),
        P256,
        "",
    ),
    "literal \\n": (recipes.LITERAL_NEWLINE, KeySpec.RSA_2048, pem().replace(b"\n", b"\\n"), RSA, ""),
    "quoted": (recipes.QUOTES, KeySpec.RSA_2048, b'"' + pem().strip() + b'"\n', RSA, ""),
    "bare seed": (
        recipes.bare(32, KeySpec.ECC_NIST_EDWARDS25519),
        KeySpec.ECC_NIST_EDWARDS25519,
        ED.private_bytes_raw(),
        ED,
        "",
    ),
    "seed and public key": (
        recipes.bare(64, KeySpec.ECC_NIST_EDWARDS25519),
        KeySpec.ECC_NIST_EDWARDS25519,
        ED.private_bytes_raw() + ED.public_key().public_bytes_raw(),
        ED,
        "",
    ),
}
if shutil.which("keytool"):
    for kind in ("JKS", "JCEKS"):
        KEYS[f"keystore {kind}"] = (
            recipes.JAVA_KEYSTORE, KeySpec.RSA_2048, lambda folder, kind=kind: keystore(folder, kind), None, "",
        )  # fmt: skip
for _spec, _curve in EC_SPECS.items():
    _key = ec.generate_private_key(_curve)
    _size = (_curve.key_size + 7) // 8
    _number = _key.private_numbers().private_value.to_bytes(_size, "big")
    KEYS[f"bare scalar {_spec}"] = (recipes.bare(_size, _spec), _spec, _number, _key, "")


def target(spec: KeySpec, name: str, encoding: Stated | None) -> Target:
    return Target(0, "k", LANE, "alias/k", f"file:{name}", encoding=encoding, key_spec=spec)


async def prepare(wanted: Target, spec: KeySpec, folder: Path) -> tuple[Secret, Evidence]:
    """What the product does between reading and sealing."""
    secret = await load(wanted.material, root=folder, encoding=wanted.encoding, key_spec=spec)
    shape.check(secret, spec)
    return secret, Evidence.prepare(secret, spec)


async def refused(spec: KeySpec, folder: Path, encoding: Stated | None) -> MaterialError:
    with pytest.raises(MaterialError) as caught:
        await prepare(target(spec, "KEY", encoding), spec, folder)
    assert_silent(caught.value, (folder / "KEY").read_bytes())
    return caught.value


def newest(folder: Path) -> str:
    """The name of the file that the last command wrote."""
    written = [path for path in folder.glob("KEY*") if path.suffix != ".p12"]
    return max(written, key=lambda path: path.stat().st_mtime_ns).name


def commands(recipe: str) -> list[str]:
    """Those of an advice: what follows a colon or `Use:`, each to the end."""
    parts = recipe.split(": ", 1)[1].split(", then: ")
    return [part.split(", then ")[0].removesuffix(".") for part in parts]


@pytest.mark.parametrize("name", KEYS)
async def test_the_recommended_command_works(name: str, tmp_path: Path) -> None:
    recipe, spec, handed, key, answers = KEYS[name]
    data = handed(tmp_path) if callable(handed) else handed
    (tmp_path / "KEY").write_bytes(data)
    (tmp_path / "KEY").chmod(0o600)  # ssh-keygen asks for it
    error = await refused(spec, tmp_path, Stated.RAW if name.startswith(("bare", "seed")) else None)
    assert error.advice == recipe, (error.message, error.advice)
    for number, command in enumerate(commands(recipe)):
        if "keytool" in command:
            answers = f"{PASSWORD}\n" * 4
        elif number:
            answers = f"{PASSWORD}\n"
        shell(command, tmp_path, answers)
    secret, evidence = await prepare(target(spec, newest(tmp_path), None), spec, tmp_path)
    secret.wipe()
    assert key is None or evidence.public_key_matches(spki(key))


async def test_an_encrypted_openssh_key_takes_two_steps(tmp_path: Path) -> None:
    (tmp_path / "KEY").write_bytes(openssh(tmp_path, "ed25519", PASSWORD))
    (tmp_path / "KEY").chmod(0o600)
    error = await refused(KeySpec.ECC_NIST_EDWARDS25519, tmp_path, None)
    assert error.advice == recipes.OPENSSH_ENCRYPTED
    shell("ssh-keygen -p -P 'pass word' -N '' -f KEY", tmp_path)  # -P answers what it asks at the terminal
    assert (await refused(KeySpec.ECC_NIST_EDWARDS25519, tmp_path, None)).advice == recipes.OPENSSH_ED25519


SECRET = os.urandom(32)
B64, HEX = base64.b64encode(SECRET), SECRET.hex().encode()
URL = base64.urlsafe_b64encode(b"\xff\xef" + SECRET[2:])
TEXTS: dict[str, tuple[str, Stated, bytes, bytes]] = {
    "base64, quoted": (recipes.QUOTES, Stated.BASE64, b"'" + B64 + b"'\n", SECRET),
    "hex, quoted": (recipes.QUOTES, Stated.HEX, b'"' + HEX + b'"', SECRET),
    "base64, CR": (recipes.BLANKS, Stated.BASE64, B64 + b"\r", SECRET),
    "base64 in lines": (recipes.BLANKS, Stated.BASE64, base64.encodebytes(SECRET * 2), SECRET * 2),
    "hex, a blank before": (recipes.BLANKS, Stated.HEX, b" " + HEX, SECRET),
    "hex, a tab after": (recipes.BLANKS, Stated.HEX, HEX + b"\t\n", SECRET),
    "hex with blanks": (recipes.BLANKS, Stated.HEX, SECRET.hex(" ").encode(), SECRET),
    "hex, two line ends": (recipes.BLANKS, Stated.HEX, HEX + b"\n\n", SECRET),
    "hex with colons": (recipes.HEX_SEPARATORS, Stated.HEX, SECRET.hex(":").encode(), SECRET),
    "hex with dashes": (recipes.HEX_SEPARATORS, Stated.HEX, SECRET.hex("-", 4).encode(), SECRET),
    "hex with 0x": (recipes.HEX_PREFIX, Stated.HEX, b"0x" + HEX, SECRET),
    "base64url": (recipes.BASE64URL, Stated.BASE64, URL, b"\xff\xef" + SECRET[2:]),
    "base64url without padding": (recipes.BASE64URL, Stated.BASE64, URL.rstrip(b"="), b"\xff\xef" + SECRET[2:]),
    "base64 without padding": (recipes.PADDING, Stated.BASE64, B64.rstrip(b"="), SECRET),
    "base64 with a BOM": (recipes.BOM, Stated.BASE64, b"\xef\xbb\xbf" + B64, SECRET),
    "hex in UTF-16": (recipes.UTF16, Stated.HEX, HEX.decode().encode("utf-16"), SECRET),
    "base64 in UTF-16 without BOM": (recipes.UTF16_NO_BOM, Stated.BASE64, B64.decode().encode("utf-16-le"), SECRET),
    "base64 with a literal \\n": (recipes.LITERAL_NEWLINE, Stated.BASE64, B64 + b"\\n", SECRET),
}


@pytest.mark.parametrize("name", TEXTS)
async def test_the_recommended_command_makes_the_text_right(name: str, tmp_path: Path) -> None:
    recipe, encoding, text, means = TEXTS[name]
    (tmp_path / "KEY").write_bytes(text)
    spec = KeySpec.HMAC_512 if len(means) == 64 else KeySpec.HMAC_256
    assert (await refused(spec, tmp_path, encoding)).advice == recipe
    shell(commands(recipe)[0], tmp_path)
    with (await prepare(target(spec, "KEY.txt", encoding), spec, tmp_path))[0] as secret:
        assert bytes(secret.view()) == means


def test_no_recipe_is_without_a_test() -> None:
    tested = {recipe for recipe, *_ in KEYS.values()} | {recipe for recipe, *_ in TEXTS.values()}
    known = {value for name, value in vars(recipes).items() if name.isupper() and not name.startswith("_")}
    by_another_test = {recipes.OPENSSH_ENCRYPTED, recipes.MULTI_PRIME, recipes.PUTTY}
    assert known - tested - by_another_test == set()


# --- what is converted by the program itself, and what no command converts --------------------------------------------


def ed25519_v2(key: ed25519.Ed25519PrivateKey = ED, public: bytes | None = None, attributes: bytes = b"") -> bytes:
    """RFC 5958 and RFC 8410, 10.3."""
    body = bytes.fromhex("020101300506032b657004220420") + key.private_bytes_raw() + attributes
    body += b"\x81\x21\x00" + (public or key.public_key().public_bytes_raw())
    return b"\x30" + bytes([len(body)]) + body


@pytest.mark.parametrize("attributes", [b"", bytes.fromhex("a000")])
@pytest.mark.parametrize("form", ["DER", "PEM", "base64", "hex"])
async def test_ed25519_with_its_public_key_is_converted(form: str, attributes: bytes, tmp_path: Path) -> None:
    data = ed25519_v2(attributes=attributes)
    text = {
        "DER": data,
        "PEM": b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(data) + b"-----END PRIVATE KEY-----\n",
        "base64": base64.b64encode(data),
        "hex": data.hex().encode(),
    }[form]
    (tmp_path / "KEY").write_bytes(text)
    encoding = Stated(form) if form in ("base64", "hex") else None
    spec = KeySpec.ECC_NIST_EDWARDS25519
    secret, evidence = await prepare(target(spec, "KEY", encoding), spec, tmp_path)
    assert bytes(secret.view()) == der(ED)
    assert evidence.public_key_matches(spki(ED))


async def test_ed25519_with_another_keys_public_key_is_refused(tmp_path: Path) -> None:
    other = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    (tmp_path / "KEY").write_bytes(ed25519_v2(public=other))
    assert "not that of its private key" in (await refused(KeySpec.ECC_NIST_EDWARDS25519, tmp_path, None)).message


@pytest.mark.parametrize(("name", "spec"), [("prime256v1", KeySpec.ECC_NIST_P256), ("secp384r1", KeySpec.ECC_NIST_P384),
                                            ("secp521r1", KeySpec.ECC_NIST_P521),
                                            ("secp256k1", KeySpec.ECC_SECG_P256K1)])  # fmt: skip
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
async def test_a_block_that_names_the_curve_is_accepted(
    name: str, spec: KeySpec, newline: bytes, tmp_path: Path
) -> None:
    made = openssl("ecparam", "-name", name, "-genkey")
    assert made.startswith(b"-----BEGIN EC PARAMETERS")
    (tmp_path / "KEY").write_bytes(made.replace(b"\n", newline))
    (await prepare(target(spec, "KEY", None), spec, tmp_path))[0].wipe()


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
async def test_empty_lines_within_the_block_are_harmless(newline: str, tmp_path: Path) -> None:
    (tmp_path / "KEY").write_bytes(pem().replace(b"\n", newline.encode() * 2, 3))
    (await prepare(target(KeySpec.RSA_2048, "KEY", None), KeySpec.RSA_2048, tmp_path))[0].wipe()


async def test_a_block_that_names_another_curve_is_refused(tmp_path: Path) -> None:
    one, other = (openssl("ecparam", "-name", name, "-genkey") for name in ("prime256v1", "secp384r1"))
    (tmp_path / "KEY").write_bytes(
        other[: other.index(b"-----BEGIN EC PRIV")] + one[one.index(b"-----BEGIN EC PRIV") :]
    )
    assert "another curve" in (await refused(KeySpec.ECC_NIST_P256, tmp_path, None)).message


@pytest.mark.parametrize("form", [[], ["-traditional"], ["DER"]])
async def test_a_multi_prime_key_is_named(form: list[str], tmp_path: Path) -> None:
    made = openssl("genrsa", "-primes", "3", *(["-traditional"] if form == ["-traditional"] else []), "2048")
    if form == ["DER"]:
        made = openssl("pkey", "-outform", "DER", given=made)
    (tmp_path / "KEY").write_bytes(made)
    error = await refused(KeySpec.RSA_2048, tmp_path, None)
    assert "multi-prime" in error.message
    assert error.advice == recipes.MULTI_PRIME


CAUSES: dict[str, tuple[bytes, str]] = {
    "public key": (P256.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "a public key"),
    "public key, DER": (P256.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), "public key"),
    "public key, PKCS#1": (RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1), "a public key"),
    "PuTTY": (b"PuTTY-User-Key-File-3: ssh-rsa\nEncryption: none\n-----BEGIN \n", "PuTTY"),
    "dashes of a word processor": (pem().replace(b"-----", "\u2014\u2014-".encode()), "no encoding"),
    "cut": (pem()[: len(pem()) // 2], "no END line"),
    "two keys": (pem() + pem(P256), "2 PEM blocks"),
    "base64 of PEM": (base64.b64encode(pem()), "no encoding"),
    "masked": (pem().replace(b"M", b"***", 1), "masks"),
    "zero width": (pem().replace(b"A", "\u200b".encode(), 1), "zero-width"),
    "no-break space": (pem().replace(b"-----\n", b"-----\xc2\xa0\n", 1), "no-break"),
    "empty": (b"", "is empty"),
}


@pytest.mark.parametrize("name", CAUSES)
async def test_the_cause_is_named(name: str, tmp_path: Path) -> None:
    handed, says = CAUSES[name]
    (tmp_path / "KEY").write_bytes(handed)
    with pytest.raises(MaterialError) as caught:
        await prepare(target(KeySpec.ECC_NIST_P256, "KEY", None), KeySpec.ECC_NIST_P256, tmp_path)
    assert says in caught.value.message
    assert caught.value.advice
