"""The AWS CLI and openssl import a key of every spec, as AWS's guide shows it; openssl checks what KMS then does.

https://docs.aws.amazon.com/kms/latest/developerguide/importing-keys-encrypt-key-material.html
"""

from __future__ import annotations

import json

import pytest

from tests.clients.conftest import Command
from tests.sandbox_client import Sandbox

# GetParametersForImport, sealing by openssl, ImportKeyMaterial. $KEY, $ALGORITHM; the material is in material.bin.
IMPORT = """
hex() { od -An -vtx1 "$1" | tr -d ' \\n'; }
aws kms get-parameters-for-import --key-id "$KEY" --wrapping-algorithm "$ALGORITHM" --wrapping-key-spec RSA_3072 \
    --query '[ImportToken,PublicKey]' --output text > parameters.txt
cut -f1 parameters.txt | openssl base64 -d -A > token.bin
cut -f2 parameters.txt | openssl base64 -d -A > wrapping.der
oaep() { openssl pkeyutl -encrypt -pubin -inkey wrapping.der -keyform DER -pkeyopt rsa_padding_mode:oaep \
    -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256; }
if [ "$ALGORITHM" = RSAES_OAEP_SHA_256 ]; then
    oaep < material.bin > sealed.bin
else
    openssl rand 32 > aes.bin
    openssl enc -id-aes256-wrap-pad -iv A65959A6 -K "$(hex aes.bin)" -in material.bin > wrapped.bin
    oaep < aes.bin | cat - wrapped.bin > sealed.bin
fi
aws kms import-key-material --key-id "$KEY" --import-token fileb://token.bin \
    --encrypted-key-material fileb://sealed.bin --expiration-model KEY_MATERIAL_DOES_NOT_EXPIRE
"""
RAW = {"HMAC_224": 28, "HMAC_256": 32, "HMAC_384": 48, "HMAC_512": 64}
PKCS8 = {
    "RSA_2048": "RSA -pkeyopt rsa_keygen_bits:2048",
    "RSA_3072": "RSA -pkeyopt rsa_keygen_bits:3072",
    "RSA_4096": "RSA -pkeyopt rsa_keygen_bits:4096",
    "ECC_NIST_P256": "EC -pkeyopt ec_paramgen_curve:P-256",
    "ECC_NIST_P384": "EC -pkeyopt ec_paramgen_curve:P-384",
    "ECC_NIST_P521": "EC -pkeyopt ec_paramgen_curve:P-521",
    "ECC_SECG_P256K1": "EC -pkeyopt ec_paramgen_curve:secp256k1",
    "ECC_NIST_EDWARDS25519": "ED25519",
}
HYBRID = "RSA_AES_KEY_WRAP_SHA_256"


def test_a_symmetric_key(sandbox: Sandbox, shell: Command) -> None:
    made = shell(
        'aws kms create-key --origin EXTERNAL --description "by the CLI" --tags TagKey=team,TagValue=a'
        " --query KeyMetadata.KeyId --output text"
    )
    fields = {"KEY": made.strip(), "ALGORITHM": "RSAES_OAEP_SHA_256"}
    answer = json.loads(shell("openssl rand 32 > material.bin" + IMPORT, **fields))
    assert len(answer["KeyMaterialId"]) == 64
    shell(
        "aws kms create-alias --alias-name alias/cli --target-key-id $KEY\n"
        "echo -n secret > plain.txt\n"
        "aws kms encrypt --key-id alias/cli --plaintext fileb://plain.txt --query CiphertextBlob --output text"
        " | openssl base64 -d -A > cipher.bin\n"
        "aws kms decrypt --ciphertext-blob fileb://cipher.bin --query Plaintext --output text"
        " | openssl base64 -d -A | cmp - plain.txt",
        **fields,
    )
    [key] = sandbox.keys()
    assert (key["state"], key["description"], key["tags"]) == ("Enabled", "by the CLI", {"team": "a"})


@pytest.mark.parametrize("spec", RAW)
def test_an_hmac_key(sandbox: Sandbox, shell: Command, spec: str) -> None:
    bits = spec.removeprefix("HMAC_")
    fields = {"KEY": sandbox.key(key_spec=spec)["key_id"], "ALGORITHM": "RSAES_OAEP_SHA_256", "BITS": bits}
    shell(
        f"openssl rand {RAW[spec]} > material.bin{IMPORT}"
        "echo -n message > message.txt\n"
        "aws kms generate-mac --key-id $KEY --message fileb://message.txt --mac-algorithm HMAC_SHA_$BITS"
        " --query Mac --output text | openssl base64 -d -A > kms.bin\n"
        "openssl mac -digest SHA$BITS -macopt hexkey:$(hex material.bin) -in message.txt -binary HMAC"
        " | cmp - kms.bin",
        **fields,
    )


@pytest.mark.parametrize("spec", PKCS8)
def test_an_asymmetric_key(sandbox: Sandbox, shell: Command, spec: str) -> None:
    """Its public key, and a signature that openssl verifies."""
    key = sandbox.key(key_spec=spec, key_usage="SIGN_VERIFY")["key_id"]
    bits = {"ECC_NIST_P384": "384", "ECC_NIST_P521": "512"}.get(spec, "256")
    algorithm = f"RSASSA_PKCS1_V1_5_SHA_{bits}" if spec.startswith("RSA") else f"ECDSA_SHA_{bits}"
    verify = f"openssl dgst -sha{bits} -verify public.pem -signature signature.bin message.txt"
    if "25519" in spec:
        algorithm = "ED25519_SHA_512"
        verify = "openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in message.txt -sigfile signature.bin"
    said = shell(
        f"openssl genpkey -algorithm {PKCS8[spec]} -out private.pem 2> /dev/null\n"
        f"openssl pkcs8 -topk8 -nocrypt -in private.pem -outform DER -out material.bin{IMPORT}"
        "aws kms get-public-key --key-id $KEY --query PublicKey --output text | openssl base64 -d -A > public.der\n"
        "openssl pkey -in private.pem -pubout -outform DER | cmp - public.der\n"
        "openssl pkey -pubin -inform DER -in public.der -out public.pem\n"
        "echo -n message > message.txt\n"
        "aws kms sign --key-id $KEY --message fileb://message.txt --signing-algorithm $SIGNING"
        " --query Signature --output text | openssl base64 -d -A > signature.bin\n"
        f"{verify}",
        KEY=key,
        ALGORITHM=HYBRID,
        SIGNING=algorithm,
    )
    assert "Verified OK" in said or "Signature Verified Successfully" in said
