"""Commands that messages recommend, for what people hand in instead of key material. A test runs every one of them.

KEY is the file that holds what was handed in. Each command writes another file and leaves KEY as it is; ssh-keygen
alone can only replace it. The escapes are octal, because POSIX printf has no others.
"""

from __future__ import annotations

from typing import Final

from bulk_import.model import KeySpec

_PKCS8: Final = "openssl pkcs8 -topk8 -nocrypt"
_TO_DER: Final = f"{_PKCS8} -inform DER -outform DER -out KEY.der"

# --- private keys; openssl 3 sees by itself whether KEY is PEM or DER ---
PKCS8: Final = f"Convert it first: {_PKCS8} -in KEY -out KEY.pem"
ENCRYPTED: Final = f"Decrypt it first (openssl asks for the password): {_PKCS8} -in KEY -out KEY.pem"
NAMED_CURVE: Final = f"Convert it first: openssl ec -in KEY -param_enc named_curve | {_PKCS8} -out KEY.pem"
RSA_PSS: Final = f"Convert it first: openssl rsa -in KEY -traditional -outform DER | {_TO_DER}"
RSA_PSS_LABEL: Final = "Rename it first: sed 's/RSA-PSS/RSA/' KEY > KEY.pem"
MULTI_PRIME: Final = (
    "It cannot be converted. Create a key of two primes: openssl genpkey -algorithm RSA "
    "-pkeyopt rsa_keygen_bits:BITS -out KEY.pem"
)
PKCS12: Final = (
    "Take the private key out of it (openssl asks for the password; add -legacy if the file is old): "
    f"openssl pkcs12 -in KEY -nocerts -nodes | {_PKCS8} -out KEY.pem"
)
JAVA_KEYSTORE: Final = (
    "Convert it first (keytool and openssl ask for the password): "
    "keytool -importkeystore -srckeystore KEY -destkeystore KEY.p12 -deststoretype PKCS12, "
    f"then: openssl pkcs12 -in KEY.p12 -nocerts -nodes | {_PKCS8} -out KEY.pem"
)
OPENSSH: Final = "Convert it in place: ssh-keygen -p -m PKCS8 -N '' -f KEY"
OPENSSH_ENCRYPTED: Final = (
    "Remove its passphrase first, in place (ssh-keygen asks for it): ssh-keygen -p -N '' -f KEY, then validate again."
)
_ED25519: Final = r"printf '\060\056\002\001\000\060\005\006\003\053\145\160\004\042\004\040'"
OPENSSH_ED25519: Final = (
    f"ssh-keygen cannot convert Ed25519. Use: ({_ED25519}; sed '/^-----/d' KEY | openssl base64 -d | tail -c +162 | "
    "head -c 32) > KEY.der"
)
PUTTY: Final = "Convert it first: puttygen KEY -O private-openssh -o KEY.pem"

# --- private numbers without any frame: the header of SEC 1 (RFC 5915) or PKCS#8 (RFC 8410) is put before them ---
_SCALARS: Final = {
    # key spec → (bytes, header, trailer with the curve), octal
    KeySpec.ECC_NIST_P256: (32, r"\060\061\002\001\001\004\040", r"\240\012\006\010\052\206\110\316\075\003\001\007"),
    KeySpec.ECC_SECG_P256K1: (32, r"\060\056\002\001\001\004\040", r"\240\007\006\005\053\201\004\000\012"),
    KeySpec.ECC_NIST_P384: (48, r"\060\076\002\001\001\004\060", r"\240\007\006\005\053\201\004\000\042"),
    KeySpec.ECC_NIST_P521: (66, r"\060\120\002\001\001\004\102", r"\240\007\006\005\053\201\004\000\043"),
}


def bare(size: int, key_spec: KeySpec) -> str | None:
    """How to frame `size` bytes that are a bare private number of this key spec; None where they cannot be one."""
    if key_spec is KeySpec.ECC_NIST_EDWARDS25519:
        if size not in (32, 64):  # 64: the seed, and the public key after it
            return None
        return f"If it is the bare seed, frame it: ({_ED25519}; head -c 32 KEY) > KEY.der"
    length, header, trailer = _SCALARS.get(key_spec, (0, "", ""))
    if size != length:
        return None
    return f"If it is the bare private number, frame it: (printf '{header}'; cat KEY; printf '{trailer}') | {_TO_DER}"


# --- text ---
UTF16: Final = "Convert it first: iconv -f UTF-16 -t UTF-8 KEY > KEY.txt"
UTF16_NO_BOM: Final = "Convert it first: iconv -f UTF-16LE -t UTF-8 KEY > KEY.txt"
BOM: Final = "Remove it: tail -c +4 KEY > KEY.txt"
QUOTES: Final = r"Remove them: tr -d '\042\047\140' < KEY > KEY.txt"
LITERAL_NEWLINE: Final = "Convert it first: printf '%b' \"$(cat KEY)\" > KEY.txt"
BLANKS: Final = r"Remove blanks and line ends: tr -d ' \t\r\n\v\f' < KEY > KEY.txt"
BASE64URL: Final = (
    "Convert it first: tr -- '-_' '+/' < KEY | awk '{while (length($0) % 4) $0 = $0 \"=\"; print}' > KEY.txt"
)
PADDING: Final = (
    "If it is complete, pad it: awk '{while (length($0) % 4) $0 = $0 \"=\"; print}' KEY > KEY.txt"
)  # fmt: skip
HEX_PREFIX: Final = "Remove it: sed 's/^0[xX]//' KEY > KEY.txt"
HEX_SEPARATORS: Final = "Remove them: tr -d ':,;._-' < KEY > KEY.txt"
PEM_LINES: Final = "Remove them: sed -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' -e '/^$/d' KEY > KEY.txt"
PEM_CR: Final = r"Convert them: tr '\r' '\n' < KEY | sed '/^$/d' > KEY.txt"
PEM_ONE_LINE: Final = (
    "Convert it first: sed -e 's/-----[A-Z ]*-----//g' KEY | tr -d ' \\t\\r\\n' | openssl base64 -d -A | "
    f"{_PKCS8} -inform DER -out KEY.pem"
)
